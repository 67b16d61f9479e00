//! One row of a users table, and the events it stands for. Pure: what is read, and when, is an argument.

use lastseen_event::{BatchName, Event, EventId, EventType, NameError, TenantId, UserId, UtcInstant};

use super::columns::{Column, Fault, Record};
use super::instant;

/// A user as the application's table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) tenant_id: TenantId<'a>,
    pub(super) user_id: UserId<'a>,
    pub(super) confirmed: bool,
    pub(super) created_at: UtcInstant,
    pub(super) modified_at: Option<UtcInstant>,
    pub(super) deleted_at: Option<UtcInstant>,
    /// When it was really seen, where the application knows.
    pub(super) observed_at: Option<UtcInstant>,
    /// True if it is left out of all numbers.
    pub(super) left_out: bool,
}

/// When a row says something else than this batch said before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turns {
    /// When the user came back from a deletion, or, where the row is deleted, when it went again after a return.
    pub(super) deletion: Option<UtcInstant>,
    /// When the user counted again, or, where the row is left out, when it was left out again.
    pub(super) left_out: Option<UtcInstant>,
}

/// Returns the tenant and the user of a row.
///
/// # Errors
/// The fault of the names.
pub(super) fn member(record: &Record) -> Result<(TenantId<'_>, UserId<'_>), Fault> {
    let name = |column| record.get(column).ok_or(NameError::Empty);
    let tenant_id = name(Column::Tenant).and_then(TenantId::new);
    let user_id = name(Column::User).and_then(UserId::new);
    Ok((
        tenant_id.map_err(|error| Fault::of(Column::Tenant, error))?,
        user_id.map_err(|error| Fault::of(Column::User, error))?,
    ))
}

/// An instant that must be there.
///
/// # Errors
/// If it is not there, or no event may have it.
pub(super) fn instant(record: &Record, column: Column, latest: UtcInstant) -> Result<UtcInstant, Fault> {
    optional_instant(record, column, latest)?
        .ok_or_else(|| Fault::of(column, "expected an instant, found null"))
}

fn optional_instant(
    record: &Record,
    column: Column,
    latest: UtcInstant,
) -> Result<Option<UtcInstant>, Fault> {
    // Text of JSON and Parquet may be empty where there is nothing.
    let Some(text) = record.get(column).filter(|text| !text.is_empty()) else { return Ok(None) };
    let at =
        instant::parse(text).map_err(|expected| Fault::of(column, format!("{expected}, found {text:?}")))?;
    if at < UtcInstant::EARLIEST {
        return Err(Fault::of(column, format!("expected {} or later, found {at}", UtcInstant::EARLIEST)));
    }
    if at > latest {
        return Err(Fault::of(column, format!("expected no instant ahead of now, found {at}")));
    }
    Ok(Some(at))
}

impl<'a> Row<'a> {
    /// Reads a row; instants later than `latest` are refused.
    ///
    /// # Errors
    /// The first fault.
    pub(super) fn read(record: &'a Record, latest: UtcInstant) -> Result<Self, Fault> {
        let (tenant_id, user_id) = member(record)?;
        let confirmed = boolean(Column::Confirmed, record.get(Column::Confirmed))?;
        let left_out = record.get(Column::LeftOut).filter(|text| !text.is_empty());
        let left_out =
            left_out.map(|text| boolean(Column::LeftOut, Some(text))).transpose()?.unwrap_or_default();
        let optional = |column| optional_instant(record, column, latest);
        Ok(Self {
            tenant_id,
            user_id,
            confirmed,
            created_at: instant(record, Column::Created, latest)?,
            modified_at: optional(Column::Modified)?,
            deleted_at: optional(Column::Deleted)?,
            observed_at: optional(Column::Observed)?,
            left_out,
        })
    }

    /// The events of the row, in the order of a life, and those of its turns.
    pub(super) fn events(&self, batch: BatchName<'a>, turns: Turns) -> impl Iterator<Item = Event<'a>> {
        let Self { confirmed, created_at, modified_at, deleted_at, observed_at, left_out, .. } = *self;
        let member = (self.tenant_id, self.user_id);
        let estimated = confirmed.then_some(modified_at.unwrap_or(created_at));
        [
            (EventType::UserCreated, Some(created_at)),
            (EventType::EstimatedActivity, estimated),
            (EventType::Login, observed_at),
            (EventType::UserDeleted, deleted_at),
            (
                if deleted_at.is_some() { EventType::UserDeleted } else { EventType::UserRestored },
                turns.deletion,
            ),
            (EventType::UserChanged, turns.left_out),
        ]
        .into_iter()
        .filter_map(move |(event_type, at)| {
            Some(event_of(batch, member, (event_type, at?), (confirmed, left_out)))
        })
    }
}

/// One event of a backfill; `confirmed` and `left_out` are of its row.
pub(super) fn event_of<'a>(
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

/// The truth of a column that must say it.
fn boolean(column: Column, text: Option<&str>) -> Result<bool, Fault> {
    text.and_then(truth).ok_or_else(|| {
        let found = text.map_or_else(|| "null".to_owned(), |text| format!("{text:?}"));
        Fault::of(column, format!("expected true or false (t or f, 1 or 0, yes or no), found {found}"))
    })
}

/// Reads the words that databases and languages write for true and false.
fn truth(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(["true", "t", "1", "yes", "y"]) {
        Some(true)
    } else if is_one_of(["false", "f", "0", "no", "n"]) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATEST: UtcInstant = UtcInstant::from_micros(1_800_000_000_000_000);

    fn record<const COUNT: usize>(values: [&str; COUNT]) -> Record {
        Record::of(values.map(|value| (!value.is_empty()).then_some(value)))
    }

    fn events(values: [&str; 7], restored_at: Option<&str>) -> Vec<(String, String, Option<bool>)> {
        let record = record(values);
        let row = Row::read(&record, LATEST).unwrap();
        let deletion = restored_at.map(|at| UtcInstant::parse(at).unwrap());
        let events = row.events(BatchName::new("users").unwrap(), Turns { deletion, left_out: None });
        events
            .map(|event| (event.event_type.to_string(), event.occurred_at.to_string(), event.confirmed))
            .collect()
    }

    fn event(event_type: &str, at: &str, confirmed: Option<bool>) -> (String, String, Option<bool>) {
        (event_type.to_owned(), at.to_owned(), confirmed)
    }

    #[test]
    fn an_unconfirmed_user_is_created_and_nothing_else() {
        assert_eq!(
            events(["t", "u", "false", "2023-01-01T00:00:00Z", "2023-05-05T00:00:00Z", "", ""], None),
            [event("user_created", "2023-01-01T00:00:00Z", Some(false))]
        );
    }

    #[test]
    fn a_confirmed_user_was_seen_when_its_row_was_written_last() {
        let created = event("user_created", "2023-01-01T00:00:00Z", Some(true));
        assert_eq!(
            events(["t", "u", "t", "2023-01-01 00:00:00+00", "2023-05-05 02:00:00.5+02", "", ""], None),
            [created.clone(), event("estimated_activity", "2023-05-05T00:00:00.500Z", None)]
        );
        assert_eq!(
            events(["t", "u", "1", "2023-01-01 00:00:00", "", "", ""], None),
            [created, event("estimated_activity", "2023-01-01T00:00:00Z", None)]
        );
    }

    #[test]
    fn deletion_return_and_real_activity_are_events_of_their_own() {
        let types = |deleted, turned| {
            let row = ["t", "u", "TRUE", "2023-01-01T00:00:00Z", "", deleted, "2023-02-02T00:00:00Z"];
            let all = events(row, turned);
            all.into_iter().map(|(event_type, ..)| event_type).collect::<Vec<_>>()
        };
        let [gone, turned] = ["2024-01-01T00:00:00Z", "2024-02-02T00:00:00Z"];
        let life = ["user_created", "estimated_activity", "login"];
        assert_eq!(types("", None), life);
        assert_eq!(types(gone, None), [&life[..], &["user_deleted"]].concat());
        assert_eq!(types("", Some(turned)), [&life[..], &["user_restored"]].concat());
        assert_eq!(types(gone, Some(turned)), [&life[..], &["user_deleted", "user_deleted"]].concat());
    }

    #[test]
    fn who_is_left_out_is_so_from_the_creation_on() {
        let counts = |left_out: &str, turned: Option<&str>| {
            let record = record(["t", "u", "false", "2023-01-01T00:00:00Z", "", "", "", left_out]);
            let row = Row::read(&record, LATEST).unwrap();
            let left_out = turned.map(|at| UtcInstant::parse(at).unwrap());
            let events = row.events(BatchName::new("users").unwrap(), Turns { deletion: None, left_out });
            events.map(|event| (event.event_type.to_string(), event.counts)).collect::<Vec<_>>()
        };
        let event = |event_type: &str, counts| (event_type.to_owned(), counts);
        let created = event("user_created", Some(false));
        assert_eq!(counts("", None), [event("user_created", None)]);
        assert_eq!(counts("f", None), [event("user_created", None)]);
        assert_eq!(counts("1", None).first(), Some(&event("user_created", Some(false))));
        let turned = Some("2024-01-01T00:00:00Z");
        assert_eq!(counts("YES", turned), [created, event("user_changed", Some(false))]);
        assert_eq!(counts("", turned), [event("user_created", None), event("user_changed", Some(true))]);
    }

    #[test]
    fn a_bad_row_is_refused_with_its_field() {
        let good = ["t", "u", "true", "2023-01-01T00:00:00Z", "", "", "", ""];
        for (column, value, field) in [
            (0, "", "tenant_id"),
            (0, "null", "tenant_id"),
            (1, "undefined", "user_id"),
            (2, "", "email_confirmed"),
            (2, "maybe", "email_confirmed"),
            (3, "", "created_at"),
            (3, "yesterday", "created_at"),
            (3, "0001-01-01T00:00:00Z", "created_at"),
            (4, "2199-01-01T00:00:00Z", "modified_at"),
            (5, "2023-02-30T00:00:00Z", "deleted_at"),
            (6, "1700000000", "last_login_at"),
            (7, "bot", "left_out"),
        ] {
            let mut bad = good;
            bad[column] = value;
            assert_eq!(Row::read(&record(bad), LATEST).unwrap_err().field, field, "{bad:?}");
        }
    }
}
