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
        from: Day,
        to: Day,
        tz: Tz,
        types: TypeSet,
        provenance: ObservedOnly,
        min_position: Position,
    }
}

params! {
    /// A series.
    SeriesParams {
        ..span: SpanParams,
        period: Period,
    }
}

params! {
    /// Cohorts.
    CohortsParams {
        ..span: SpanParams,
        period: CohortPeriod,
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
