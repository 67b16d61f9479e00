//! Decay: how many of the active stay so after each of the next days, if nobody came back.

use std::sync::Arc;
use std::time::Duration;

use lastseen_event::{EventType, Position, Provenance, UtcInstant};
use lastseen_projections::{Scope, Summary};
use lastseen_store::Filter;

use super::Questions;
use super::admission::{Cost, Kind, Permit};
use super::as_of::{self, Asked};
use super::error::QuestionError;
use super::question::{Question, Way};
use super::scan::tenant_of;
use crate::read_model::Reading;
use crate::read_model::halves::each_half;

/// Those who are still active at an instant, if nobody came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StillActive {
    pub(crate) at: UtcInstant,
    /// Through an observation.
    pub(crate) observed: u64,
    /// Only through an estimate.
    pub(crate) estimated: u64,
}

/// The numbers of the days to come.
#[derive(Debug)]
pub(crate) struct Decay {
    /// One for each day, in order.
    pub(crate) rows: Vec<StillActive>,
    /// The last position that they reflect.
    pub(crate) position: Position,
    /// The instant from which on nobody comes back.
    pub(crate) at: UtcInstant,
}

const DAY: Duration = Duration::from_hours(24);

/// Bytes that a count of the past takes a member: bitmaps, a byte of what it was, and its last day.
const BYTES_A_MEMBER: usize = 5;

impl Questions {
    /// The numbers of so many days.
    ///
    /// # Errors
    /// [`QuestionError`] where history is read.
    pub(crate) async fn decay(
        self: &Arc<Self>,
        reading: &Reading,
        (scope, days): (Scope, u32),
        question: &Question,
    ) -> Result<Arc<Decay>, QuestionError> {
        let question = question.of(self.by_position(reading, question.selection).await?);
        let at = question.at(reading.at);
        let instants = move || (1..=days).map(move |day| at.saturating_add(DAY * day));
        // Whoever was last seen from then on is in the window of that day.
        let since = move |then: UtcInstant| question.since(then);
        let row = |then, summary: Summary| StillActive {
            at: then,
            observed: summary.observed_users,
            estimated: summary.estimated_users,
        };
        match question.way() {
            Way::Live => {
                let views = reading.views();
                let rows = instants().map(|then| row(then, views.summary(scope, since(then)))).collect();
                Ok(Arc::new(Decay { rows, position: views.position(), at }))
            }
            Way::Scan => {
                let source = self.source(reading, scope, &question).await?;
                let views = source.hold();
                let rows = instants().map(|then| row(then, views.summary(scope, since(then)))).collect();
                Ok(Arc::new(Decay { rows, position: source.position_of_now(), at }))
            }
            Way::AsOf => {
                let bytes = self.model.log().members().len() * BYTES_A_MEMBER;
                let key = (format!("{scope:?} {days} {question:?} {at:?}"), reading);
                let cost = Cost { kind: Kind::Scan, bytes };
                self.shared(&self.flights.decay, key, cost, move |asking, reading, permit| {
                    asking.decay_as_of(&reading, (scope, days), (&question, at), &permit).map(Arc::new)
                })
                .await
            }
        }
    }

    /// Finds the active members as of an instant, and reads when each was last seen.
    fn decay_as_of(
        &self,
        reading: &Reading,
        (scope, days): (Scope, u32),
        (question, at): (&Question, UtcInstant),
        permit: &Permit,
    ) -> Result<Decay, QuestionError> {
        let (log, deadline) = (self.model.log(), permit.deadline());
        let asked: Asked = question.asked(scope, at);
        let (first, until) = (question.since(at), *asked.window.end());
        let (active, position) = as_of::active(log, reading, &asked, deadline)?;
        let Some(active) = active else { return Ok(Decay { rows: Vec::new(), position, at }) };
        let (observed, estimated) = (active.observed(), active.only_estimated());
        // Of each member the last of the days on which it is still active; 0: not on the first.
        let slots = observed.max().max(estimated.max()).map_or(0, |last| last as usize + 1);
        let mut last_day = vec![0_u16; slots];
        let activity = EventType::ALL.into_iter().filter(|of| of.activity().is_some());
        let filter = Filter {
            tenant: tenant_of(scope),
            types: Some(activity.collect()),
            occurred_since: Some(first),
            occurred_until: Some(until),
            ..Filter::default()
        };
        let span_us = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
        each_half(
            log,
            (position, filter),
            || deadline.check(),
            |batch| {
                for fact in batch.facts.iter().filter(|fact| !reading.retracted.has(fact)) {
                    let member = fact.member.member;
                    let counts = match fact.event_type.activity() {
                        Some(Provenance::Observed) => observed.contains(member.get()),
                        Some(Provenance::Estimated) => estimated.contains(member.get()),
                        None => false,
                    };
                    let day = (fact.occurred_at.as_micros() - first.as_micros()) / span_us;
                    if let Some(last) = last_day.get_mut(member.index()).filter(|_| counts) {
                        *last = (*last).max(u16::try_from(day).unwrap_or(u16::MAX));
                    }
                }
            },
        )?;
        let mut still = vec![(0_u64, 0_u64); days as usize + 1];
        let last_of = |member: u32| usize::from(last_day[member as usize]).min(days as usize);
        for member in observed {
            still[last_of(member)].0 += 1;
        }
        for member in estimated {
            still[last_of(member)].1 += 1;
        }
        // Whoever is active on a day is active on those before it.
        for day in (0..days as usize).rev() {
            still[day].0 += still[day + 1].0;
            still[day].1 += still[day + 1].1;
        }
        let rows = (1..=days).zip(still.into_iter().skip(1));
        let rows = rows.map(|(day, (observed, estimated))| StillActive {
            at: at.saturating_add(DAY * day),
            observed,
            estimated,
        });
        Ok(Decay { rows: rows.collect(), position, at })
    }
}
