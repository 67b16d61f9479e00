//! The parameters of series and cohorts.

use chrono_tz::Tz;
use lastseen_event::Position;
use lastseen_projections::{Day, Period, Selection, TypeSet};

use super::params;
use super::value::{CohortPeriod, ObservedOnly};
use crate::questions::span::Dates;

params! {
    /// The days, and the events that count.
    SpanParams {
        /// a date such as `2026-01-31`
        from: Day = "29 days before `to`",
        /// a date
        to: Day = "today in `tz`",
        /// an IANA time zone such as `Europe/Berlin`
        tz: Tz = "`UTC`",
        /// a comma list of `login`, `token_refresh`, `tenant_switch`, `signup_complete`
        types: TypeSet = "all, and estimates",
        /// `observed`: estimates do not count
        provenance: ObservedOnly = "all",
        /// a position
        min_position: Position = "none",
    }
}

params! {
    /// A series.
    SeriesParams {
        ..span: SpanParams,
        /// `day`, `week` or `month`
        period: Period = "`day`",
    }
}

params! {
    /// Cohorts.
    CohortsParams {
        ..span: SpanParams,
        /// `week` or `month`
        period: CohortPeriod = "`week`",
    }
}

impl SpanParams {
    /// The dates, in periods of this length.
    pub(in crate::http) fn dates(&self, period: Period) -> Dates {
        let selection = Selection {
            types: self.types.unwrap_or_default(),
            observed_only: self.provenance.is_some(),
            ..Selection::default()
        };
        Dates { from: self.from, to: self.to, zone: self.tz.unwrap_or(Tz::UTC), period, selection }
    }
}
