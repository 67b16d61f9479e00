//! One row of a table of logins or sessions, and the event that it stands for. Pure.

use lastseen_event::{EventType, TenantId, UserId, UtcInstant};

use super::condition::Clauses;
use super::notes::Notes;
use super::values::{Member, Values};
use crate::backfill::formats::record::{At, Fault};

/// The meaning of the columns of a table of logins.
#[derive(Clone, Debug)]
pub(crate) struct LoginRules {
    pub(crate) member: Member,
    pub(crate) occurred: At,
    /// The rows that count, by what they count as; the first that holds decides. Without any, every row is a login.
    pub(crate) counted: [(EventType, Clauses); 3],
    /// The rows that do not count.
    pub(crate) skipped: Clauses,
}

impl LoginRules {
    /// True if every row is a login, as nothing says which ones are.
    pub(crate) fn counts_every_row(&self) -> bool {
        self.counted.iter().all(|(_, clauses)| clauses.is_empty())
    }
}

/// A row of a table of logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Login<'a> {
    pub(crate) event_type: EventType,
    pub(crate) member: (TenantId<'a>, UserId<'a>),
    pub(crate) at: UtcInstant,
}

impl<'a> Login<'a> {
    /// Reads a row. `None`: it does not count.
    ///
    /// # Errors
    /// The first fault.
    pub(crate) fn read(
        values: Values<'a>,
        rules: &'a LoginRules,
        notes: &mut Notes,
    ) -> Result<Option<Self>, Fault> {
        if values.hold(&rules.skipped)? {
            return Ok(None);
        }
        let is_chosen = !rules.counts_every_row();
        let mut event_type = (!is_chosen).then_some(EventType::Login);
        for (counted, clauses) in &rules.counted {
            if event_type.is_none() && values.hold(clauses)? {
                event_type = Some(*counted);
            }
        }
        let Some(event_type) = event_type else { return Ok(None) };
        if is_chosen && values.is_null(rules.member.user) {
            return Ok(None);
        }
        let member = values.member(&rules.member, notes)?;
        let at = values.observed(rules.occurred, notes)?;
        let at = at.ok_or_else(|| values.missing(rules.occurred, "expected an instant"))?;
        Ok(Some(Self { event_type, member, at }))
    }
}
