//! The types of parameters: each reads its own text.

use chrono_tz::Tz;
use lastseen_event::limits::NAME_BYTES_MAX;
use lastseen_event::{EventType, Position, Provenance, UtcInstant};
use lastseen_projections::{Condition, Day, Period, Status, TypeSet, WeekStart, Window};
use lastseen_store::{EventTypes, LogId};
use schemars::{Schema, json_schema};

use crate::http::schema::{integer_from, list_of, one_of, position_from};
use crate::questions::moment::{KnownAt, Moment};
use crate::questions::tenants::{Column, TenantSort};
use crate::questions::users::{Sort, UsersColumn};

/// A value of a parameter.
pub(in crate::http) trait Value: Sized {
    /// The form of the text, in words that go after "expected".
    const FORM: &'static str;
    /// True if it is, or may be, a position. Keys that are bound to tenants see those sealed.
    const IS_POSITION: bool = false;

    /// The schema of the value: not every text that has it has the form, but every text of the form has it.
    fn schema() -> Schema;

    /// Reads the text. `None`: it has not the form.
    fn parse(text: &str) -> Option<Self>;
}

/// A duration, such as `30d`.
const DURATION: &str = "^[1-9][0-9]*(us|ms|s|m|h|d|w)$";

impl Value for Moment {
    const FORM: &'static str = "an RFC 3339 instant (2026-01-06T16:00:00Z), a date (2026-01-06: its first instant) \
                                or a time before now (90d)";

    fn schema() -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "format": "date-time" },
            { "type": "string", "format": "date" },
            { "type": "string", "pattern": DURATION },
        ] })
    }

    fn parse(text: &str) -> Option<Self> {
        let instant = || UtcInstant::parse(text).ok().map(Self::Instant);
        let date = || text.parse().ok().map(Self::Date);
        let before = || text.parse::<Window>().ok().map(|window| Self::Before(window.span));
        instant().or_else(date).or_else(before)
    }
}

impl Value for KnownAt {
    const FORM: &'static str =
        "a position (an integer), an RFC 3339 instant, a date or a time before now (90d)";
    const IS_POSITION: bool = true;

    fn schema() -> Schema {
        json_schema!({ "anyOf": [position_from(0), Moment::schema()] })
    }

    fn parse(text: &str) -> Option<Self> {
        let position = Position::parse(text).map(Self::Position);
        position.or_else(|| Moment::parse(text).map(Self::Moment))
    }
}

impl Value for String {
    const FORM: &'static str = "text";

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Value for Window {
    const FORM: &'static str = "an integer of at least 1 with a unit (us, ms, s, m, h, d, w), at most 36500d";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": DURATION })
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for Position {
    const FORM: &'static str = "a position, an integer of at least 0";
    const IS_POSITION: bool = true;

    fn schema() -> Schema {
        position_from(0)
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text).map(Self::new)
    }
}

impl Value for LogId {
    const FORM: &'static str = "the id of a log, a UUID with hyphens";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "format": "uuid" })
    }

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

/// A count, from 0.
impl Value for u64 {
    const FORM: &'static str = "an integer of at least 0";

    fn schema() -> Schema {
        integer_from(0)
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text)
    }
}

/// Digits alone: no sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The position of the last event on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct EventCursor(pub(in crate::http) Position);

impl Value for EventCursor {
    const FORM: &'static str = "an integer of at least 1";
    const IS_POSITION: bool = true;

    fn schema() -> Schema {
        position_from(1)
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text).filter(|position| *position > 0).map(|position| Self(Position::new(position)))
    }
}

/// Most rows of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct PageLimit(pub(in crate::http) usize);

impl Default for PageLimit {
    fn default() -> Self {
        Self(100)
    }
}

impl Value for PageLimit {
    const FORM: &'static str = "an integer from 1 to 1000";

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 1_000 })
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text)
            .filter(|limit| (1..=1_000).contains(limit))
            .and_then(|it| usize::try_from(it).ok())
            .map(Self)
    }
}

/// A number of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct DayCount(pub(in crate::http) u32);

impl Default for DayCount {
    fn default() -> Self {
        Self(30)
    }
}

impl Value for DayCount {
    const FORM: &'static str = "an integer from 1 to 366";

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 366 })
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text).filter(|days| (1..=366).contains(days)).and_then(|it| u32::try_from(it).ok()).map(Self)
    }
}

/// Most events of a replay, or messages of an answer that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct EventLimit(pub(in crate::http) u64);

impl Value for EventLimit {
    const FORM: &'static str = "an integer of at least 1";

    fn schema() -> Schema {
        integer_from(1)
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text).filter(|limit| *limit > 0).map(Self)
    }
}

/// Observed activity types.
impl Value for TypeSet {
    const FORM: &'static str = "a comma list of login, token_refresh, tenant_switch, signup_complete";

    fn schema() -> Schema {
        let observed = |it: &EventType| it.activity() == Some(Provenance::Observed);
        list_of(EventType::ALL.into_iter().filter(observed).map(EventType::as_str))
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Event types.
impl Value for EventTypes {
    const FORM: &'static str = "a comma list of event types such as login,user_deleted";

    fn schema() -> Schema {
        list_of(EventType::ALL.map(EventType::as_str))
    }

    fn parse(text: &str) -> Option<Self> {
        text.split(',').map(EventType::parse).collect()
    }
}

/// `observed`, the only provenance that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct ObservedOnly;

impl Value for ObservedOnly {
    const FORM: &'static str = "observed";

    fn schema() -> Schema {
        one_of([Provenance::Observed.as_str()])
    }

    fn parse(text: &str) -> Option<Self> {
        (text == Provenance::Observed.as_str()).then_some(Self)
    }
}

/// `newest`: the newest events come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct NewestFirst;

impl Value for NewestFirst {
    const FORM: &'static str = "newest";

    fn schema() -> Schema {
        one_of(["newest"])
    }

    fn parse(text: &str) -> Option<Self> {
        (text == "newest").then_some(Self)
    }
}

/// `returning`: they are a part of the bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Returning;

impl Value for Returning {
    const FORM: &'static str = "returning";

    fn schema() -> Schema {
        one_of(["returning"])
    }

    fn parse(text: &str) -> Option<Self> {
        (text == "returning").then_some(Self)
    }
}

/// `all`: nobody is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Everyone;

impl Value for Everyone {
    const FORM: &'static str = "all";

    fn schema() -> Schema {
        one_of(["all"])
    }

    fn parse(text: &str) -> Option<Self> {
        (text == "all").then_some(Self)
    }
}

/// Whom rows count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) enum Of {
    /// Each membership.
    #[default]
    Members,
    /// People, in however many tenants.
    Persons,
}

impl Of {
    /// The word on the wire.
    pub(in crate::http) fn as_str(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Persons => "persons",
        }
    }
}

impl Value for Of {
    const FORM: &'static str = "members or persons";

    fn schema() -> Schema {
        one_of(["members", "persons"])
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Members, Self::Persons].into_iter().find(|of| of.as_str() == text)
    }
}

/// The first day of a week.
impl Value for WeekStart {
    const FORM: &'static str = "monday or sunday";

    fn schema() -> Schema {
        one_of(["monday", "sunday"])
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "monday" => Some(Self::Monday),
            "sunday" => Some(Self::Sunday),
            _ => None,
        }
    }
}

/// `previous`: the same numbers one window before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Previous;

impl Value for Previous {
    const FORM: &'static str = "previous";

    fn schema() -> Schema {
        one_of(["previous"])
    }

    fn parse(text: &str) -> Option<Self> {
        (text == "previous").then_some(Self)
    }
}

impl Value for Day {
    const FORM: &'static str = "a date such as 2026-01-31";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "format": "date" })
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for Tz {
    const FORM: &'static str = "an IANA time zone such as UTC or Europe/Berlin";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["Europe/Berlin"] })
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// The length of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) enum Length {
    #[default]
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Length {
    const ALL: [Self; 5] = [Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// The word on the wire.
    pub(in crate::http) fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The length of these periods.
    pub(in crate::http) fn of(period: Period) -> Self {
        match period {
            Period::Day => Self::Day,
            Period::Week(_) => Self::Week,
            Period::Month => Self::Month,
            Period::Quarter => Self::Quarter,
            Period::Year => Self::Year,
        }
    }

    /// Periods of this length.
    pub(in crate::http) fn period(self, week_start: Option<WeekStart>) -> Period {
        match self {
            Self::Day => Period::Day,
            Self::Week => Period::Week(week_start.unwrap_or_default()),
            Self::Month => Period::Month,
            Self::Quarter => Period::Quarter,
            Self::Year => Period::Year,
        }
    }
}

impl Value for Length {
    const FORM: &'static str = "day, week, month, quarter or year";

    fn schema() -> Schema {
        one_of(Self::ALL.map(Self::as_str))
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|length| length.as_str() == text)
    }
}

/// The period of cohorts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct CohortLength(pub(in crate::http) Length);

impl Value for CohortLength {
    const FORM: &'static str = "week, month, quarter or year";

    fn schema() -> Schema {
        one_of(["week", "month", "quarter", "year"])
    }

    fn parse(text: &str) -> Option<Self> {
        Length::parse(text).filter(|length| *length != Length::Day).map(Self)
    }
}

impl Value for Sort {
    const FORM: &'static str = "last_seen_at, -last_seen_at, created_at, -created_at or user_id";

    fn schema() -> Schema {
        one_of(["last_seen_at", "-last_seen_at", "created_at", "-created_at", "user_id"])
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let column = match name {
            "last_seen_at" => UsersColumn::LastSeen,
            "created_at" => UsersColumn::CreatedAt,
            "user_id" if !descending => UsersColumn::UserId,
            _ => return None,
        };
        Some(Self { column, descending })
    }
}

/// The beginning of an id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Prefix(pub(in crate::http) String);

impl Value for Prefix {
    const FORM: &'static str = "1 to 128 bytes";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }

    fn parse(text: &str) -> Option<Self> {
        (1..=NAME_BYTES_MAX).contains(&text.len()).then(|| Self(text.to_owned()))
    }
}

impl Value for TenantSort {
    const FORM: &'static str = "tenant_id, total_users, pending_users, never_seen_users, active_users, \
                                observed_users, estimated_users, inactive_users, deleted_users, left_out_users, \
                                or one of them after a -";

    fn schema() -> Schema {
        let both = |column: Column| [column.as_str().to_owned(), format!("-{}", column.as_str())];
        let names: Vec<_> = Column::ALL.into_iter().flat_map(both).collect();
        one_of(names.iter().map(String::as_str))
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let column = Column::ALL.into_iter().find(|column| column.as_str() == name)?;
        Some(Self { column, descending })
    }
}

/// Conditions that users of a list meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Conditions(pub(in crate::http) Vec<Condition>);

impl Value for Conditions {
    const FORM: &'static str = "a comma list of active, inactive, pending, never_seen, deleted, left_out";

    fn schema() -> Schema {
        list_of(Status::ALL.map(Status::as_str))
    }

    fn parse(text: &str) -> Option<Self> {
        let condition = |name| match name {
            "active" => Some(Condition::Active),
            "inactive" => Some(Condition::Inactive),
            "pending" => Some(Condition::Pending),
            "never_seen" => Some(Condition::NeverSeen),
            "deleted" => Some(Condition::Deleted),
            "left_out" => Some(Condition::LeftOut),
            _ => None,
        };
        text.split(',').map(condition).collect::<Option<Vec<_>>>().map(Self)
    }
}

/// The format of a list of users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) enum ListFormat {
    /// A page as JSON.
    #[default]
    Json,
    /// All users as exact CSV.
    Csv,
    /// All users as CSV for spreadsheets: a byte order mark, and no cell is a formula.
    Excel,
    /// All users, a line of JSON each.
    Ndjson,
}

impl Value for ListFormat {
    const FORM: &'static str = "json, csv, excel or ndjson";

    fn schema() -> Schema {
        one_of(["json", "csv", "excel", "ndjson"])
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "excel" => Some(Self::Excel),
            "ndjson" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

/// The format of an answer with a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) enum TableFormat {
    #[default]
    Json,
    /// The rows as CSV.
    Csv,
}

impl Value for TableFormat {
    const FORM: &'static str = "json or csv";

    fn schema() -> Schema {
        one_of(["json", "csv"])
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// The treatment of a request with bad events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) enum OnInvalid {
    /// Refuses all of it.
    #[default]
    Refuse,
    /// Stores the good events and lists the others.
    Skip,
}

impl Value for OnInvalid {
    const FORM: &'static str = "refuse or skip";

    fn schema() -> Schema {
        one_of(["refuse", "skip"])
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "refuse" => Some(Self::Refuse),
            "skip" => Some(Self::Skip),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_is_an_instant_a_date_or_a_time_before_now() {
        let now = UtcInstant::parse("2026-01-10T00:00:00Z").unwrap();
        for (text, expected) in [
            ("2026-01-06T16:00:00+01:00", "2026-01-06T15:00:00Z"),
            ("2026-01-06", "2026-01-06T00:00:00Z"),
            ("1969-12-31", "1969-12-31T00:00:00Z"),
            ("2d", "2026-01-08T00:00:00Z"),
            ("90m", "2026-01-09T22:30:00Z"),
        ] {
            let moment = Moment::parse(text).unwrap();
            assert_eq!(moment.at_utc(now), UtcInstant::parse(expected).unwrap(), "{text}");
            assert_eq!(moment.is_absolute(), !text.ends_with(['d', 'm']), "{text}");
        }
        for bad in ["", "now", "yesterday", "2026-1-6", "2026-01-06T16:00:00", "1767715200", "-2d", "2 d"] {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_are_digits_within_their_bounds() {
        assert_eq!(Position::parse("7"), Some(Position::new(7)));
        assert_eq!(PageLimit::parse("1000"), Some(PageLimit(1_000)));
        for bad in ["", "-1", "+1", "1.0", "x", "99999999999999999999"] {
            assert_eq!(Position::parse(bad), None, "{bad}");
            assert_eq!(PageLimit::parse(bad), None, "{bad}");
        }
        assert_eq!([PageLimit::parse("0"), PageLimit::parse("1001")], [None; 2]);
        assert_eq!(EventLimit::parse("0"), None);
        assert_eq!(KnownAt::parse("7"), Some(KnownAt::Position(Position::new(7))));
        assert_eq!(KnownAt::parse("7d"), Some(KnownAt::Moment(Moment::Before(Duration::from_hours(168)))));
    }

    #[test]
    fn every_column_sorts_both_ways() {
        for column in Column::ALL {
            let name = column.as_str();
            assert!(TenantSort::FORM.contains(name), "{name}");
            let (up, down) =
                (TenantSort::parse(name).unwrap(), TenantSort::parse(&format!("-{name}")).unwrap());
            assert_eq!((up.column, up.descending), (column, false));
            assert_eq!((down.column, down.descending), (column, true));
        }
        assert!(TenantSort::parse("--tenant_id").is_none());
    }
}
