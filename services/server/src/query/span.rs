//! What series and cohorts have in common: which days, of whose wall clock, and which events count.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono_tz::Tz;
use lastseen_event::UtcInstant;
use lastseen_projections::{Calendar, Day, InvalidDay, Period, Selection};
use parking_lot::Mutex;
use serde::Serialize;

use super::params::{self, Params};
use crate::problem::Problem;

/// Names of the parameters read here.
pub(crate) const PARAMS: [&str; 7] = ["from", "to", "tz", "period", "types", "provenance", "min_position"];

/// Most days of an answer.
const DAYS_MAX: i32 = 3_660;
/// Days before the last one, where the first is not said.
const DAYS_BEFORE: i32 = 29;

/// The days as they were asked for; what is today is not known yet.
pub(crate) struct Dates {
    from: Option<Day>,
    to: Option<Day>,
    zone: Tz,
    period: Period,
    selection: Selection,
}

/// Days of a calendar and the events that count.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) days: RangeInclusive<Day>,
    pub(crate) period: Period,
    pub(crate) zone: Tz,
    pub(crate) calendar: Arc<Calendar>,
    pub(crate) selection: Selection,
}

/// The calendars that were asked for: making one takes some milliseconds, and there are some hundreds.
#[derive(Debug, Default)]
pub(crate) struct Calendars(Mutex<HashMap<Tz, Arc<Calendar>>>);

impl Calendars {
    fn of(&self, zone: Tz) -> Arc<Calendar> {
        if let Some(known) = self.0.lock().get(&zone) {
            return Arc::clone(known);
        }
        let calendar = Calendar::of_zone(zone);
        // Many names are of the same clock; that one has no table to look into.
        let calendar = Arc::new(if calendar.is_utc() { Calendar::utc() } else { calendar });
        Arc::clone(self.0.lock().entry(zone).or_insert(calendar))
    }
}

/// How an answer begins.
#[derive(Serialize)]
pub(crate) struct Head<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<&'a str>,
    tz: &'static str,
    period: &'static str,
    from: String,
    to: String,
}

impl Dates {
    /// Rows are days unless `default` or the request says otherwise; with a default of weeks, they cannot be days.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub(crate) fn parse(params: &Params, default: Period) -> Result<Self, Problem> {
        let day = |text: &str| text.parse::<Day>();
        let (from, to): (Option<Day>, Option<Day>) =
            (params.get::<_, InvalidDay>("from", day)?, params.get("to", day)?);
        let zone = |text: &str| {
            text.parse::<Tz>().map_err(|_| "expected an IANA time zone such as UTC or Europe/Berlin")
        };
        let period = |text: &str| match (text, default) {
            ("day", Period::Day) => Ok(Period::Day),
            ("week", _) => Ok(Period::Week),
            ("month", _) => Ok(Period::Month),
            (_, Period::Day) => Err("expected day, week or month"),
            _ => Err("expected week or month"),
        };
        let mut selection = Selection::default();
        if let Some(types) = params.get("types", params::types)? {
            selection.types = types;
        }
        selection.observed_only = params.get("provenance", params::observed_only)?.unwrap_or(false);
        Ok(Self {
            from,
            to,
            zone: params.get("tz", zone)?.unwrap_or(Tz::UTC),
            period: params.get("period", period)?.unwrap_or(default),
            selection,
        })
    }

    /// The days, where it is that late.
    ///
    /// # Errors
    /// `invalid_parameter`: none, or too many.
    pub(crate) fn at(self, now: UtcInstant, calendars: &Calendars) -> Result<Span, Problem> {
        let Self { from, to, zone, period, selection } = self;
        let calendar = calendars.of(zone);
        let last = to.unwrap_or_else(|| calendar.date(now));
        let first = from.unwrap_or_else(|| last.plus(-DAYS_BEFORE));
        if first > last {
            let detail = format_args!("expected a date not after {last}, the last day");
            return Err(Problem::invalid_parameter("from", detail));
        }
        if last.number() - first.number() >= DAYS_MAX {
            let detail = format_args!("expected at most {DAYS_MAX} days, found {first} to {last}");
            return Err(Problem::invalid_parameter("from", detail));
        }
        Ok(Span { days: first..=last, period, zone, calendar, selection })
    }
}

impl Span {
    /// Whether the live views answer it.
    pub(crate) fn is_live(&self) -> bool {
        self.selection == Selection::default() && self.calendar.is_utc()
    }

    pub(crate) fn head<'a>(&self, tenant_id: Option<&'a str>) -> Head<'a> {
        Head {
            tenant_id,
            tz: self.zone.name(),
            period: match self.period {
                Period::Day => "day",
                Period::Week => "week",
                Period::Month => "month",
            },
            from: self.days.start().to_string(),
            to: self.days.end().to_string(),
        }
    }
}
