//! One person, with its memberships in all tenants.

use std::sync::Arc;

use lastseen_event::{MemberOrdinal, PersonOrdinal, Position};
use lastseen_projections::{MemberState, Persons, Scope, Selection, Views};

use super::Questions;
use super::admission::{Cost, Kind};
use super::error::QuestionError;
use super::kept::Folded;
use super::question::Question;
use super::scan;
use super::users::NamedUser;
use crate::read_model::Reading;

/// A person and its memberships.
#[derive(Clone, Debug)]
pub(crate) struct FoundPerson {
    pub(crate) person: NamedUser,
    /// All of them, by bytes of the tenant id.
    pub(crate) memberships: Vec<(Box<str>, MemberState)>,
    /// The last position that they reflect.
    pub(crate) position: Position,
}

impl Questions {
    /// # Errors
    /// [`QuestionError::NoPersons`] where ids are of their tenant.
    pub(crate) fn check_persons(&self) -> Result<(), QuestionError> {
        if self.persons == Persons::Off { Err(QuestionError::NoPersons) } else { Ok(()) }
    }

    /// The person of this user id.
    ///
    /// # Errors
    /// [`QuestionError::NoPersons`], [`QuestionError::UnknownPerson`]; others where history is read.
    pub(crate) async fn person(
        self: &Arc<Self>,
        reading: &Reading,
        user_id: &str,
        question: &Question,
    ) -> Result<FoundPerson, QuestionError> {
        self.check_persons()?;
        let person = self.model.log().members().find_person(user_id).ok_or(QuestionError::UnknownPerson)?;
        if question.is_live() {
            let views = reading.views();
            let first = views.members_of_person(person).next().ok_or(QuestionError::UnknownPerson)?;
            return self.person_of(&views, first, views.position()).ok_or(QuestionError::UnknownPerson);
        }
        let selection = self.by_position(reading, question.selection).await?;
        let selection = question.of(selection).known_until(reading.position).selection;
        let position = selection.position_until.unwrap_or(reading.position).min(reading.position);
        let views = match self.kept.folded(Scope::All, selection) {
            Some(folded) => folded,
            None => self.folded_person(reading, person, selection).await?,
        };
        let first = views.views.members_of_person(person).next().ok_or(QuestionError::UnknownPerson)?;
        self.person_of(&views.views, first, position).ok_or(QuestionError::UnknownPerson)
    }

    fn person_of(&self, views: &Views, member: MemberOrdinal, position: Position) -> Option<FoundPerson> {
        let states: Vec<_> = views.memberships(member).collect();
        let members = self.model.log().members();
        let mut memberships: Vec<(Box<str>, MemberState)> = Vec::with_capacity(states.len());
        for (member, state) in &states {
            let tenant = members.member_ref(*member)?.tenant;
            memberships.push((members.tenant_id(tenant).as_str().into(), *state));
        }
        memberships.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let all: Vec<_> = memberships.iter().map(|(_, state)| *state).collect();
        let person = NamedUser {
            tenant_id: Box::default(),
            user_id: members.user_id(members.member_ref(member)?.person).as_str().into(),
            state: MemberState::of_person(&all)?,
            memberships: all.len(),
        };
        Some(FoundPerson { person, memberships, position })
    }

    /// Folds the events of one person.
    async fn folded_person(
        self: &Arc<Self>,
        reading: &Reading,
        person: PersonOrdinal,
        selection: Selection,
    ) -> Result<Arc<Folded>, QuestionError> {
        let key = (format!("{person:?} {selection:?}"), reading);
        let cost = Cost { kind: Kind::Scan, bytes: 0 };
        self.shared(&self.flights.folded, key, cost, move |asking, reading, permit| {
            let retracted = asking.retracted_by(&reading, &selection);
            let folded = scan::fold_person(
                asking.model.log(),
                (person, selection),
                (retracted, asking.persons),
                permit.deadline(),
            )?;
            Ok(Arc::new(folded))
        })
        .await
    }
}
