//! One row of a users table, and the events it stands for. Pure: what is read, and when, is an argument.

use lastseen_event::{BatchName, Event, EventId, EventType, TenantId, UserId, UtcInstant};

use super::condition::Clauses;
use super::notes::Notes;
use super::values::{Member, Values};
use crate::backfill::formats::record::{At, Fault};

/// The meaning of the columns of a users table.
#[derive(Clone, Debug)]
pub(crate) struct UserRules {
    pub(crate) member: Member,
    pub(crate) confirmation: Confirmation,
    pub(crate) created: Option<At>,
    /// The creation of rows that do not tell it.
    pub(crate) created_otherwise: Option<CreatedOtherwise>,
    pub(crate) modified: Option<At>,
    pub(crate) deleted: Option<At>,
    /// Rows that are deleted as well.
    pub(crate) deleted_where: Clauses,
    /// Since when those are.
    pub(crate) deleted_since: Option<At>,
    /// Instants at which users were really seen.
    pub(crate) observed: Vec<At>,
    /// True if users who were never seen by those get an estimate all the same.
    pub(crate) estimates_unseen: bool,
    pub(crate) left_out: Option<At>,
    /// Rows that are left out as well.
    pub(crate) left_out_where: Clauses,
    /// Rows that are nobody.
    pub(crate) skipped: Clauses,
}

/// The way in which a table says who is confirmed.
#[derive(Clone, Debug)]
pub(crate) enum Confirmation {
    All,
    None,
    /// A column says it.
    Told(At),
    /// A column says since when; where there are clauses, one must hold as well.
    Since(At, Clauses),
    Where(Clauses),
}

/// The creation of a row that does not tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CreatedOtherwise {
    At(UtcInstant),
    /// At the earliest other instant of the row.
    Earliest,
}

/// A user as the application's table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) tenant_id: TenantId<'a>,
    pub(crate) user_id: UserId<'a>,
    pub(crate) confirmed: bool,
    /// When the user was confirmed, if later than created.
    pub(crate) confirmed_at: Option<UtcInstant>,
    pub(crate) created_at: UtcInstant,
    /// When the user was active at a guess.
    pub(crate) estimated_at: Option<UtcInstant>,
    /// The last change that the row tells of.
    pub(crate) changed_at: Option<UtcInstant>,
    pub(crate) deletion: Deletion,
    /// When the user was really seen, each instant once.
    pub(crate) observed_at: Vec<UtcInstant>,
    /// True if it is left out of all numbers.
    pub(crate) left_out: bool,
}

/// The deletion of a user, by its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    None,
    /// Deleted at an instant that the row tells.
    At(UtcInstant),
    /// Deleted, and the row does not tell when.
    Sometime,
}

/// When a row says something else than this batch said before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// When the user came back from a deletion, or, where the row is deleted, when it went again after a return, or when it went
    /// if the row does not say it.
    pub(crate) deletion: Option<UtcInstant>,
    /// When the user counted again, or, where the row is left out, when it was left out again.
    pub(crate) left_out: Option<UtcInstant>,
}

impl UserRules {
    /// True if a table with these columns says who is deleted.
    pub(crate) fn tells_deletions(&self, is_there: impl Fn(At) -> bool) -> bool {
        self.deleted.is_some_and(&is_there) || self.deleted_where.has(is_there)
    }

    /// True if a table with these columns says who is left out of all numbers.
    pub(crate) fn tells_left_out(&self, is_there: impl Fn(At) -> bool) -> bool {
        self.left_out.is_some_and(&is_there) || self.left_out_where.has(is_there)
    }
}

impl<'a> Row<'a> {
    /// Reads a row. `None`: it is skipped.
    ///
    /// # Errors
    /// The first fault.
    pub(crate) fn read(
        values: Values<'a>,
        rules: &'a UserRules,
        notes: &mut Notes,
    ) -> Result<Option<Self>, Fault> {
        if values.hold(&rules.skipped)? {
            return Ok(None);
        }
        let (tenant_id, user_id) = values.member(&rules.member, notes)?;
        let (confirmed, confirmed_at) = rules.confirmation.read(values, notes)?;
        let created = values.instant_if(rules.created, notes)?;
        let modified_at = values.instant_if(rules.modified, notes)?;
        let deletion = deletion(values, rules, notes)?;
        let mut observed_at = Vec::new();
        for at in &rules.observed {
            observed_at.extend(values.observed(*at, notes)?);
        }
        observed_at.sort_unstable();
        observed_at.dedup();
        let created_at = if let Some(at) = created {
            at
        } else {
            let deleted_at = if let Deletion::At(at) = deletion { Some(at) } else { None };
            let others = [modified_at, confirmed_at, deleted_at].into_iter().flatten();
            otherwise((values, rules), others.chain(observed_at.iter().copied()), notes)?
        };
        let is_unseen = !rules.observed.is_empty() && observed_at.is_empty() && !rules.estimates_unseen;
        let left_out = match rules.left_out {
            Some(at) => values.optional_truth(at)?.unwrap_or_default(),
            None => false,
        };
        let left_out = left_out || values.hold(&rules.left_out_where)?;
        let changes = (modified_at.or(confirmed_at), created);
        Ok(Some(Self {
            tenant_id,
            user_id,
            confirmed,
            confirmed_at: confirmed_at.filter(|at| *at > created_at),
            created_at,
            estimated_at: confirmed.then(|| estimate(is_unseen, changes, notes)).flatten(),
            changed_at: modified_at.map(|at| observed_at.last().map_or(at, |seen| at.max(*seen))),
            deletion,
            observed_at,
            left_out,
        }))
    }

    /// The events of the row, in the order of a life, and those of its turns.
    pub(crate) fn events<'r>(
        &'r self,
        batch: BatchName<'a>,
        turns: Turns,
    ) -> impl Iterator<Item = Event<'a>> + use<'a, 'r> {
        let Self { confirmed, confirmed_at, created_at, estimated_at, deletion, left_out, .. } = *self;
        let member = (self.tenant_id, self.user_id);
        let deleted_at = match deletion {
            Deletion::At(at) => Some(at),
            Deletion::None | Deletion::Sometime => None,
        };
        let turned =
            if deletion == Deletion::None { EventType::UserRestored } else { EventType::UserDeleted };
        let before = [
            (EventType::UserCreated, Some(created_at)),
            (EventType::UserConfirmed, confirmed_at),
            (EventType::EstimatedActivity, estimated_at),
        ];
        let after = [
            (EventType::UserDeleted, deleted_at),
            (turned, turns.deletion),
            (EventType::UserChanged, turns.left_out),
        ];
        let seen = self.observed_at.iter().map(|at| (EventType::Login, Some(*at)));
        let is_confirmed = confirmed && confirmed_at.is_none();
        before.into_iter().chain(seen).chain(after).filter_map(move |(event_type, at)| {
            Some(event_of(batch, member, (event_type, at?), (is_confirmed, left_out)))
        })
    }
}

impl Confirmation {
    /// True if the row is confirmed, and since when, if it says that.
    fn read(&self, values: Values<'_>, notes: &mut Notes) -> Result<(bool, Option<UtcInstant>), Fault> {
        Ok(match self {
            Self::All => (true, None),
            Self::None => (false, None),
            Self::Told(at) => (values.truth(*at)?, None),
            Self::Since(at, clauses) => {
                let since = values.instant(*at, notes)?;
                let holds = clauses.is_empty() || values.hold(clauses)?;
                (holds && since.is_some(), since.filter(|_| holds))
            }
            Self::Where(clauses) => (values.hold(clauses)?, None),
        })
    }
}

fn deletion(values: Values<'_>, rules: &UserRules, notes: &mut Notes) -> Result<Deletion, Fault> {
    if let Some(at) = values.instant_if(rules.deleted, notes)? {
        return Ok(Deletion::At(at));
    }
    if !values.hold(&rules.deleted_where)? {
        return Ok(Deletion::None);
    }
    let since = values.instant_if(rules.deleted_since, notes)?;
    Ok(since.map_or(Deletion::Sometime, Deletion::At))
}

/// When a confirmed user was active at a guess: at the last change, or else at the creation that the row tells. A creation that
/// is given for all rows says nothing of this one.
fn estimate(
    is_unseen: bool,
    (changed, created): (Option<UtcInstant>, Option<UtcInstant>),
    notes: &mut Notes,
) -> Option<UtcInstant> {
    let (estimated_at, reason) = match (is_unseen, changed, created) {
        (true, ..) => (None, &mut notes.unseen),
        (false, Some(at), _) => (Some(at), &mut notes.estimates_at_change),
        (false, None, Some(at)) => (Some(at), &mut notes.estimates_at_creation),
        (false, None, None) => (None, &mut notes.without_instant),
    };
    *reason += 1;
    estimated_at
}

/// The creation of a row that does not tell it.
fn otherwise(
    (values, rules): (Values<'_>, &UserRules),
    others: impl Iterator<Item = UtcInstant>,
    notes: &mut Notes,
) -> Result<UtcInstant, Fault> {
    let missing = |expected| match rules.created {
        Some(at) => values.missing(at, expected),
        None => Fault::of_row(expected),
    };
    match rules.created_otherwise {
        Some(CreatedOtherwise::At(at)) if at > values.moment.latest => {
            Err(Fault::of_row(format!("--created: expected no instant ahead of now, found {at}")))
        }
        Some(CreatedOtherwise::At(at)) => {
            notes.created_given += 1;
            Ok(at)
        }
        Some(CreatedOtherwise::Earliest) => {
            notes.created_earliest += 1;
            others.min().ok_or_else(|| missing("expected an instant in some column"))
        }
        None => Err(missing("expected an instant; --created says one for rows without")),
    }
}

/// One event of a backfill; `confirmed` and `left_out` are of its row.
pub(crate) fn event_of<'a>(
    batch: BatchName<'a>,
    member: (TenantId<'a>, UserId<'a>),
    (event_type, at): (EventType, UtcInstant),
    (confirmed, left_out): (bool, bool),
) -> Event<'a> {
    let confirmed = (event_type == EventType::UserCreated).then_some(confirmed);
    let counts = match event_type {
        EventType::UserCreated => left_out.then_some(false),
        EventType::UserChanged => Some(!left_out),
        _ => None,
    };
    let id = EventId::of_backfill(batch, member, (event_type, at), (confirmed, counts));
    Event { confirmed, counts, batch: Some(batch), ..Event::new(id, event_type, member, at) }
}
