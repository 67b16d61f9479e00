//! The members who were deleted or came back, or who were left out or counted, each with the event that decides: a row that says
//! otherwise than its own batch said before makes an event of its own.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use anyhow::bail;
use lastseen_event::{EventId, EventType, UtcInstant};
use serde::Deserialize;

use crate::upload::{Found, Uploader};

/// A question about a member that the latest of some events answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matter {
    /// Deleted, against restored.
    Deletion,
    /// Left out of all numbers, against counting.
    LeavingOut,
}

impl Matter {
    /// The types of the events that may answer it.
    fn types(self) -> &'static str {
        match self {
            Self::Deletion => "user_deleted,user_restored",
            Self::LeavingOut => "user_created,user_changed",
        }
    }

    /// True if an event says yes, false if it says no.
    fn holds(self, told: &Told) -> Option<bool> {
        match self {
            Self::Deletion => Some(told.event_type == EventType::UserDeleted.as_str()),
            Self::LeavingOut => told.counts.map(|counts| !counts),
        }
    }
}

/// Members of which events decided in one matter, by tenant and user, with what decides.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    by_member: HashMap<String, HashMap<String, Decision>>,
    /// The batch that was named last: most name the same.
    batch: Option<Arc<str>>,
    /// The batches that were taken back.
    dead: HashSet<String>,
}

/// Ordered as the server decides: the greatest holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Decision {
    pub(super) at: UtcInstant,
    id: EventId,
    /// True if the matter holds.
    pub(super) holds: bool,
    /// The backfill that told it.
    pub(super) batch: Option<Arc<str>>,
}

/// The fields of an event that are needed.
#[derive(Deserialize)]
struct Told {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    tenant_id: String,
    user_id: String,
    occurred_at: String,
    counts: Option<bool>,
    batch: Option<String>,
}

impl Decision {
    #[cfg(test)]
    pub(super) fn of_test(at: UtcInstant, holds: bool, batch: Option<&str>) -> Self {
        let id = EventId::parse("0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b").unwrap();
        Self { at, id, holds, batch: batch.map(Arc::from) }
    }
}

impl Decisions {
    /// Asks the server for all events that decide in a matter. `None`: a signal came first.
    ///
    /// # Errors
    /// If the server does not answer as Lastseen does.
    pub(super) fn ask(uploader: &Uploader, matter: Matter) -> anyhow::Result<Option<Self>> {
        let path = format!("/v1/events?types={}", matter.types());
        let Some(dead) = taken_back(uploader)? else { return Ok(None) };
        let events = uploader.get(&path, &|notice| eprintln!("{notice}"))?;
        events.map(|events| Self::read(events, matter, dead)).transpose()
    }

    /// Reads events but those of batches that were taken back.
    fn read(answer: impl Read, matter: Matter, dead: HashSet<String>) -> anyhow::Result<Self> {
        let mut decisions = Self { dead, ..Self::default() };
        for told in super::events::<Told>(answer, "users") {
            let told = told?;
            if let Some(holds) = matter.holds(&told)
                && told.batch.as_ref().is_none_or(|batch| !decisions.is_dead(batch))
            {
                decisions.add(told, holds)?;
            }
        }
        Ok(decisions)
    }

    /// True if the batch was taken back.
    pub(super) fn is_dead(&self, batch: &str) -> bool {
        self.dead.contains(batch)
    }

    fn add(&mut self, told: Told, holds: bool) -> anyhow::Result<()> {
        if self.batch.as_deref() != told.batch.as_deref() {
            self.batch = told.batch.map(Arc::from);
        }
        let decision = Decision {
            at: UtcInstant::parse(&told.occurred_at)?,
            id: EventId::parse(&told.id)?,
            holds,
            batch: self.batch.clone(),
        };
        let of_tenant = self.by_member.entry(told.tenant_id).or_default();
        let decides = of_tenant.entry(told.user_id).or_insert_with(|| decision.clone());
        if decision > *decides {
            *decides = decision;
        }
        Ok(())
    }

    /// Returns the decision about a member. `None` if no event tells of one.
    pub(super) fn of(&self, (tenant, user): (&str, &str)) -> Option<&Decision> {
        self.by_member.get(tenant)?.get(user)
    }

    /// When it became so for a member that `holds` is true or false as its row says, which was modified at `modified_at`. `None`
    /// if this batch has not said the contrary. `now` is when the run began.
    pub(super) fn turned_at(
        &self,
        batch: &str,
        (member, holds): ((&str, &str), bool),
        (modified_at, now): (Option<UtcInstant>, UtcInstant),
    ) -> Option<UtcInstant> {
        let decides = self.of(member)?;
        let is_ours = decides.holds != holds && decides.batch.as_deref() == Some(batch);
        is_ours.then(|| modified_at.filter(|at| *at > decides.at).unwrap_or(now))
    }

    /// When a member went again whose row was deleted at `deleted_at`; `None` if this batch has not told of a return after that.
    /// `now` is when the run began.
    pub(super) fn deleted_again_at(
        &self,
        batch: &str,
        member: (&str, &str),
        (deleted_at, now): (UtcInstant, UtcInstant),
    ) -> Option<UtcInstant> {
        let decides = self.of(member)?;
        let is_ours = !decides.holds && decides.batch.as_deref() == Some(batch);
        (is_ours && decides.at >= deleted_at).then_some(now)
    }

    /// When a member went whose row does not say when: when it did by what decides; or else at `changed_at`, the last change of the
    /// row, if nothing later brought the member back; or else `now`, when the run began.
    pub(super) fn gone_at(
        &self,
        member: (&str, &str),
        (changed_at, now): (Option<UtcInstant>, UtcInstant),
    ) -> UtcInstant {
        match self.of(member) {
            Some(gone) if gone.holds => gone.at,
            Some(back) => changed_at.filter(|at| *at > back.at).unwrap_or(now),
            None => changed_at.unwrap_or(now),
        }
    }
}

/// The batches that were taken back. `None`: a signal came first.
fn taken_back(uploader: &Uploader) -> anyhow::Result<Option<HashSet<String>>> {
    #[derive(Deserialize)]
    struct Page {
        backfills: Vec<Backfill>,
        next_cursor: Option<String>,
    }
    #[derive(Deserialize)]
    struct Backfill {
        batch: String,
        state: String,
    }
    let (mut dead, mut cursor) = (HashSet::new(), String::new());
    loop {
        let path = format!("/v1/backfills?limit=1000{cursor}");
        let page = match uploader.ask::<Page>(&path, |notice| eprintln!("{notice}"))? {
            Found::Answer(page) => page,
            Found::Unknown => bail!("{path} is not known to the server"),
            Found::Interrupted => return Ok(None),
        };
        let gone = page.backfills.into_iter().filter(|backfill| backfill.state != "active");
        dead.extend(gone.map(|backfill| backfill.batch));
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(Some(dead)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcInstant = UtcInstant::from_micros(1_800_000_000_000_000);

    fn told(event_type: &str, at: &str, batch: Option<&str>) -> Told {
        Told {
            id: "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b".to_owned(),
            event_type: event_type.to_owned(),
            tenant_id: "t".to_owned(),
            user_id: "u".to_owned(),
            occurred_at: at.to_owned(),
            counts: None,
            batch: batch.map(str::to_owned),
        }
    }

    fn add(decisions: &mut Decisions, told: Told) {
        let holds = Matter::Deletion.holds(&told).unwrap();
        decisions.add(told, holds).unwrap();
    }

    fn restored_at(all: Vec<Told>, modified_at: Option<&str>) -> Option<UtcInstant> {
        let mut decisions = Decisions::default();
        for told in all {
            add(&mut decisions, told);
        }
        let modified_at = modified_at.map(|at| UtcInstant::parse(at).unwrap());
        decisions.turned_at("users", (("t", "u"), false), (modified_at, NOW))
    }

    #[test]
    fn who_is_gone_went_once() {
        let [early, late] = ["2024-01-01T00:00:00Z", "2024-03-01T00:00:00Z"];
        let at = |text: &str| UtcInstant::parse(text).unwrap();
        let gone_at = |all: Vec<Told>, changed_at: Option<&str>| {
            let mut decisions = Decisions::default();
            for told in all {
                add(&mut decisions, told);
            }
            decisions.gone_at(("t", "u"), (changed_at.map(at), NOW))
        };
        assert_eq!(gone_at(vec![], None), NOW);
        assert_eq!(gone_at(vec![], Some(late)), at(late));
        assert_eq!(gone_at(vec![told("user_deleted", early, Some("users"))], Some(late)), at(early), "once");
        assert_eq!(gone_at(vec![told("user_restored", early, None)], Some(late)), at(late));
        assert_eq!(gone_at(vec![told("user_restored", late, None)], Some(early)), NOW, "after it came back");
    }

    #[test]
    fn only_what_this_batch_deleted_comes_back() {
        let [early, late] = ["2024-01-01T00:00:00Z", "2024-03-01T00:00:00Z"];
        let ours = || told("user_deleted", early, Some("users"));
        assert_eq!(restored_at(vec![], None), None);
        assert_eq!(restored_at(vec![told("user_deleted", early, None)], None), None);
        assert_eq!(restored_at(vec![told("user_deleted", early, Some("others"))], None), None);
        assert_eq!(restored_at(vec![ours()], None), Some(NOW));
        assert_eq!(restored_at(vec![ours(), told("user_restored", late, None)], Some(late)), None);
        assert_eq!(restored_at(vec![told("user_deleted", late, None), ours()], Some(late)), None);
    }

    #[test]
    fn what_a_dead_batch_told_decides_nothing() {
        let line = |at: &str, batch: &str| {
            format!(
                r#"{{"id":"0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b","type":"user_deleted","tenant_id":"t","user_id":"u","occurred_at":"{at}","batch":"{batch}"}}"#
            ) + "\n"
        };
        let events = line("2024-01-01T00:00:00Z", "users") + &line("2024-02-01T00:00:00Z", "dead");
        let dead = HashSet::from(["dead".to_owned()]);
        let decides = |dead| {
            let decisions = Decisions::read(events.as_bytes(), Matter::Deletion, dead).unwrap();
            decisions.of(("t", "u")).unwrap().batch.clone()
        };
        assert_eq!(decides(dead).as_deref(), Some("users"));
        assert_eq!(decides(HashSet::new()).as_deref(), Some("dead"));
    }

    #[test]
    fn only_events_that_say_whether_a_user_counts_decide_that() {
        let line = |event_type: &str, at: &str, counts: &str| {
            format!(
                r#"{{"id":"0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b","type":"{event_type}","tenant_id":"t","user_id":"u","occurred_at":"{at}"{counts},"batch":"users"}}"#
            ) + "\n"
        };
        let turned_at = |lines: &[String], left_out| {
            let decisions =
                Decisions::read(lines.concat().as_bytes(), Matter::LeavingOut, HashSet::new()).unwrap();
            decisions.turned_at("users", (("t", "u"), left_out), (None, NOW))
        };
        let created = line("user_created", "2024-01-01T00:00:00Z", "");
        let left_out = line("user_created", "2024-01-01T00:00:00Z", r#","counts":false"#);
        let changed = line("user_changed", "2024-02-01T00:00:00Z", "");
        let counts = line("user_changed", "2024-03-01T00:00:00Z", r#","counts":true"#);
        assert_eq!(turned_at(&[created.clone(), changed.clone()], false), None);
        assert_eq!(turned_at(&[created, changed.clone()], true), None);
        assert_eq!(turned_at(&[left_out.clone(), changed.clone()], true), None);
        assert_eq!(turned_at(&[left_out.clone(), changed.clone()], false), Some(NOW));
        assert_eq!(turned_at(&[counts.clone(), left_out.clone(), changed.clone()], false), None);
        assert_eq!(turned_at(&[counts, left_out, changed], true), Some(NOW));
    }

    #[test]
    fn a_row_that_is_deleted_again_with_an_old_instant_went_when_the_run_began() {
        let again = |batch, deleted_at| {
            let mut decisions = Decisions::default();
            add(&mut decisions, told("user_deleted", "2024-01-01T00:00:00Z", Some("users")));
            add(&mut decisions, told("user_restored", "2024-02-01T00:00:00Z", Some(batch)));
            decisions.deleted_again_at("users", ("t", "u"), (UtcInstant::parse(deleted_at).unwrap(), NOW))
        };
        assert_eq!(again("users", "2024-01-01T00:00:00Z"), Some(NOW));
        assert_eq!(again("users", "2024-03-01T00:00:00Z"), None);
        assert_eq!(again("others", "2024-01-01T00:00:00Z"), None);
    }

    #[test]
    fn it_came_back_when_its_row_was_modified_if_that_is_later() {
        let ours = || vec![told("user_deleted", "2024-01-01T00:00:00Z", Some("users"))];
        let later = "2024-02-01T00:00:00Z";
        assert_eq!(restored_at(ours(), Some(later)), Some(UtcInstant::parse(later).unwrap()));
        assert_eq!(restored_at(ours(), Some("2024-01-01T00:00:00Z")), Some(NOW));
        assert_eq!(restored_at(ours(), Some("2023-01-01T00:00:00Z")), Some(NOW));
    }
}
