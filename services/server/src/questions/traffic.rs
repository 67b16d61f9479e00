//! Traffic: how many events of each type occurred in each period.

use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono_tz::Tz;
use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Day, EventCounts, Scope, Selection, Subject, Traffic};
use lastseen_store::Filter;

use super::Questions;
use super::admission::{Cost, Kind};
use super::error::{Overload, QuestionError};
use super::scan::tenant_of;
use super::span::Span;
use crate::read_model::Reading;
use crate::read_model::definitions::Followed;
use crate::read_model::halves::each_half;

/// The events of one period.
#[derive(Clone, Debug)]
pub(crate) struct TrafficRow {
    /// First to last day.
    pub(crate) days: RangeInclusive<Day>,
    pub(crate) counts: EventCounts,
}

/// The events of a span, period by period, and when they hold.
#[derive(Debug)]
pub(crate) struct EventTraffic {
    /// One for each period, in order.
    pub(crate) rows: Vec<TrafficRow>,
    /// The same number of periods right before, where they were asked for.
    pub(crate) previous: Option<Vec<TrafficRow>>,
    /// The last position that they reflect.
    pub(crate) position: Position,
    /// The instant that they hold for.
    pub(crate) at: UtcInstant,
}

/// Tries to count from days that may be followed no longer a moment later.
const TRIES: usize = 3;

impl Questions {
    /// The events of a span; with those of as many periods before, if they are asked for.
    ///
    /// # Errors
    /// [`QuestionError`] where history is read.
    pub(crate) async fn traffic(
        self: &Arc<Self>,
        reading: &Reading,
        (scope, span): (Scope, Arc<Span>),
        with_previous: bool,
    ) -> Result<EventTraffic, QuestionError> {
        let rows = move |traffic: &Traffic, span: &Span, position, at| {
            let periods = span.periods.all();
            let row = |days: &RangeInclusive<Day>| TrafficRow {
                days: days.clone(),
                counts: traffic.counts(scope, days.clone()),
            };
            let previous = with_previous.then(|| {
                let mut first = periods.first().map_or(Day::new(0), |first| *first.start());
                let mut before = Vec::with_capacity(periods.len());
                for _ in &periods {
                    let days = span.periods.period.around(first.plus(-1));
                    first = *days.start();
                    before.push(row(&days));
                }
                before.reverse();
                before
            });
            EventTraffic { rows: periods.iter().map(row).collect(), previous, position, at }
        };
        let at = reading.at;
        if !span.is_known_whole() {
            return self
                .traffic_then(reading, scope, span, move |traffic, span, position| {
                    rows(traffic, span, position, at)
                })
                .await;
        }
        let zone = if span.calendar.is_utc() { Tz::UTC } else { span.zone };
        for _ in 0..TRIES {
            {
                self.model.follows(Subject::Traffic(zone));
                let views = reading.views();
                if let Some(traffic) = views.traffic_of(zone) {
                    return Ok(rows(traffic, &span, views.position(), at));
                }
            }
            let subject = Subject::Traffic(zone);
            if self.follow(reading, subject, span.calendar.clone()).await? == Followed::TooLarge {
                let selection = span.selection;
                let until = Some(reading.position);
                let selection = Selection { position_until: until, ..selection };
                let span = Arc::new(Span { selection, ..Span::clone(&span) });
                return self
                    .traffic_then(reading, scope, span, move |traffic, span, position| {
                        rows(traffic, span, position, at)
                    })
                    .await;
            }
        }
        Err(QuestionError::Overloaded(Overload::Definitions))
    }

    /// Counts events up to a position from history.
    async fn traffic_then(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        span: Arc<Span>,
        rows: impl FnOnce(&Traffic, &Span, Position) -> EventTraffic,
    ) -> Result<EventTraffic, QuestionError> {
        let key = (format!("{scope:?} {} {:?}", span.zone, span.selection), reading);
        let cost = Cost { kind: Kind::Scan, bytes: 0 };
        let (calendar, selection) = (span.calendar.clone(), span.selection);
        let counted = self.shared(&self.flights.traffic, key, cost, move |asking, reading, permit| {
            let (log, deadline) = (asking.model.log(), permit.deadline());
            let until = selection.position_until.unwrap_or(reading.position).min(reading.position);
            let mut traffic = Traffic::new(calendar, asking.retracted_by(&reading, &selection));
            let filter = Filter { tenant: tenant_of(scope), ..Filter::default() };
            each_half(
                log,
                (until, filter),
                || deadline.check(),
                |batch| {
                    for fact in &batch.facts {
                        traffic.count(fact);
                    }
                },
            )?;
            Ok((Arc::new(traffic), until))
        });
        let (traffic, position) = counted.await?;
        Ok(rows(&traffic, &span, position))
    }
}
