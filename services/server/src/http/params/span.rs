//! The parameters of series and cohorts.

use chrono_tz::Tz;
use lastseen_event::Position;
use lastseen_projections::{Day, TypeSet, WeekStart};

use super::params;
use super::value::{CohortLength, Everyone, Length, ObservedOnly, Of, TableFormat};
use crate::questions::moment::{KnownAt, Moment};
use crate::questions::span::Dates;

params! {
    /// The days, and the events that count, whatever was known.
    DaysParams {
        /// a date such as `2026-01-31`
        from: Day = "29 days before `to`",
        /// a date
        to: Day = "the day of `as_of`, or today, in `tz`",
        /// an IANA time zone such as `Europe/Berlin`
        tz: Tz = "`UTC`",
        /// an instant, inclusive; a date is its first instant in `tz`
        as_of: Moment = "now, with all events",
        /// a comma list of `login`, `token_refresh`, `tenant_switch`, `signup_complete`
        types: TypeSet = "all, and estimates",
        /// `observed`: estimates do not count
        provenance: ObservedOnly = "all",
        /// `all`: users that are left out count as well
        counts: Everyone = "those that are not left out",
        /// `members`, or `persons`: a user in several tenants is one
        of: Of = "`members`",
        /// the first day of a week, `monday` or `sunday`
        week_start: WeekStart = "`monday`",
        /// a position
        min_position: Position = "none",
    }
}

params! {
    /// The days, and the events that count.
    SpanParams {
        ..days: DaysParams,
        /// a position or an instant, inclusive
        known_at: KnownAt = "all events",
    }
}

params! {
    /// A series at two positions.
    CorrectionsParams {
        ..days: DaysParams,
        /// `day`, `week`, `month`, `quarter` or `year`
        period: Length = "`day`",
        /// a position or an instant, inclusive: the rows as they were then
        since: KnownAt = "required",
        /// a position or an instant, inclusive: the rows that are compared with them
        until: KnownAt = "all events",
    }
}

params! {
    /// A series.
    SeriesParams {
        ..span: SpanParams,
        /// `day`, `week`, `month`, `quarter` or `year`
        period: Length = "`day`",
        /// `json` or `csv`
        format: TableFormat = "`json`",
    }
}

params! {
    /// Cohorts.
    CohortsParams {
        ..span: SpanParams,
        /// `week`, `month`, `quarter` or `year`
        period: CohortLength = "`week`",
        /// `json` or `csv`
        format: TableFormat = "`json`",
    }
}

impl DaysParams {
    /// The dates, in periods of this length, as they are known by a position or an instant.
    pub(in crate::http) fn dates(&self, length: Length, known_at: Option<KnownAt>) -> Dates {
        Dates {
            from: self.from,
            to: self.to,
            zone: self.tz.unwrap_or(Tz::UTC),
            period: length.period(self.week_start),
            of_persons: self.of == Some(Of::Persons),
            as_of: self.as_of,
            known_at,
            types: self.types.unwrap_or_default(),
            observed_only: self.provenance.is_some(),
            everyone: self.counts.is_some(),
        }
    }

    fn is_fixed(&self) -> bool {
        self.from.is_some() && self.to.is_some() && self.as_of.is_none_or(Moment::is_absolute)
    }
}

impl SpanParams {
    /// The dates, in periods of this length.
    pub(in crate::http) fn dates(&self, length: Length) -> Dates {
        self.days.dates(length, self.known_at)
    }

    /// True if the days are given, and no instant as a time before now.
    pub(in crate::http) fn is_fixed(&self) -> bool {
        self.days.is_fixed() && self.known_at.is_none_or(KnownAt::is_absolute)
    }
}

impl CorrectionsParams {
    /// True if the days are given, and no instant as a time before now.
    pub(in crate::http) fn is_fixed(&self) -> bool {
        let known_at = [self.since, self.until];
        self.days.is_fixed() && known_at.into_iter().flatten().all(KnownAt::is_absolute)
    }
}
