//! Corrections: the rows of a series that came out otherwise later, and the events that made them differ.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{BatchOrdinal, MemberOrdinal, Position, UtcInstant};
use lastseen_projections::{Day, Periods, Retracted, Scope, Selection, SeriesRow};
use lastseen_store::{Batch, Detail, EventReader, Filter, Scan};

use super::Questions;
use super::admission::{Cost, Deadline, Kind};
use super::error::QuestionError;
use super::kept::Scanned;
use super::scan::tenant_of;
use super::span::{Dates, Span};
use crate::read_model::Reading;
use crate::tasks;

/// Most positions of events that are told.
const EVENTS_MAX: usize = 100;

/// A row as it was, and as it came out later.
#[derive(Clone, Debug)]
pub(crate) struct Corrected {
    pub(crate) before: SeriesRow,
    pub(crate) after: SeriesRow,
}

/// The rows of a series that differ between two positions.
#[derive(Debug)]
pub(crate) struct Corrections {
    pub(crate) span: Arc<Span>,
    /// In order of days.
    pub(crate) rows: Vec<Corrected>,
    /// Positions of the events that made them differ, ascending: the first of them. Retractions are among them.
    pub(crate) events: Vec<Position>,
    /// The number of all of them.
    pub(crate) events_total: u64,
    /// The position that the rows before reflect.
    pub(crate) since: Position,
    /// The position that the rows after reflect.
    pub(crate) position: Position,
    pub(crate) at: UtcInstant,
}

/// The events between two positions that are looked for.
struct Wanted<'a> {
    scope: Scope,
    /// Exclusive, inclusive.
    span: (Position, Position),
    /// True for a member whose days differ.
    is_other: &'a dyn Fn(MemberOrdinal) -> bool,
    /// The last instant of the rows.
    until: UtcInstant,
}

/// Positions of events, the first of them, and the number of all.
#[derive(Debug, Default)]
struct Causes {
    first: Vec<Position>,
    total: u64,
}

impl Questions {
    /// The rows of a scope that differ between what was known by `dates.0` and by `dates.1`.
    ///
    /// # Errors
    /// [`QuestionError::Backwards`]; others as for a series.
    pub(crate) async fn corrections(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        (before, after): (Dates, Dates),
    ) -> Result<Arc<Corrections>, QuestionError> {
        let (before, since) = bounded(&*self.span(before, reading).await?, reading.position);
        let (after, until) = bounded(&*self.span(after, reading).await?, reading.position);
        if since > until {
            return Err(QuestionError::Backwards);
        }
        let was = self.scanned(reading, scope, before.clone()).await?;
        let is = self.scanned(reading, scope, after.clone()).await?;
        let key = (format!("{scope:?} {} {}", before.key(), after.key()), reading);
        let bytes = self.members_of(reading, scope);
        let cost = Cost { kind: Kind::Scan, bytes };
        self.shared(&self.flights.corrections, key, cost, move |asking, reading, permit| {
            let positions = (since, until);
            asking
                .compare(&reading, (scope, &after), ((&was, &is), positions), permit.deadline())
                .map(Arc::new)
        })
        .await
    }

    fn compare(
        &self,
        reading: &Reading,
        (scope, span): (Scope, &Arc<Span>),
        ((was, is), (since, position)): ((&Scanned, &Scanned), (Position, Position)),
        deadline: Deadline,
    ) -> Result<Corrections, QuestionError> {
        let at = span.at(reading.at);
        let open = span.open(at);
        let rows = |scanned: &Scanned| {
            let members = if scanned.scope == scope { None } else { reading.views().members_of_scope(scope) };
            scanned.days.days(&span.periods, members).rows(open)
        };
        let rows = rows(was).into_iter().zip(rows(is)).filter(|(before, after)| before != after);
        let rows: Vec<_> = rows.map(|(before, after)| Corrected { before, after }).collect();
        let mut causes = Causes::default();
        if let [first, ..] = rows.as_slice() {
            let last = rows.last().unwrap_or(first);
            let days: RangeInclusive<Day> = *first.before.days.start()..=*last.before.days.end();
            let periods = Periods { days, period: span.periods.period };
            let mut members = was.days.differing(&is.days, &periods);
            if let Some(of_scope) = reading.views().members_of_scope(scope) {
                members &= of_scope;
            }
            let end = span.calendar.end(*periods.reach().end());
            let until = span.selection.occurred_until.map_or(end, |at| at.min(end));
            let is_other = |member: MemberOrdinal| members.contains(member.get());
            let wanted = Wanted { scope, span: (since, position), is_other: &is_other, until };
            causes = self.causes(&wanted, deadline)?;
        }
        let Causes { first: events, total: events_total } = causes;
        Ok(Corrections { span: span.clone(), rows, events, events_total, since, position, at })
    }

    /// The events between two positions about these members, and the retractions of batches with some about them.
    fn causes(&self, wanted: &Wanted<'_>, deadline: Deadline) -> Result<Causes, QuestionError> {
        let Wanted { scope, span: (since, until), is_other, until: last } = *wanted;
        let log = self.model.log();
        let retracted: Vec<(BatchOrdinal, Position)> = {
            let between = |at: &Position| since < *at && *at <= until;
            let at = |batch: &Batch| batch.retracted.filter(between);
            log.batches().iter().filter_map(|(number, batch)| Some((number, at(batch)?))).collect()
        };
        let of_batches: Retracted = retracted.iter().map(|(number, _)| *number).collect();
        // What a batch said before is gone with it.
        let after = if retracted.is_empty() { since } else { Position::START };
        let filter = Filter { tenant: tenant_of(scope), occurred_until: Some(last), ..Filter::default() };
        let mut reader = log.scan(Scan { after, until: Some(until), detail: Detail::Facts, filter });
        let (mut causes, mut taken_back) = (Causes::default(), HashSet::new());
        while let Some(batch) = reader.next_batch()? {
            deadline.check()?;
            for fact in batch.facts.iter().filter(|fact| is_other(fact.member.member)) {
                if of_batches.has(fact) {
                    if let Some(batch) = fact.batch.filter(|_| fact.position <= since) {
                        taken_back.insert(batch);
                    }
                } else if fact.position > since {
                    causes.total += 1;
                    if causes.first.len() < EVENTS_MAX {
                        causes.first.push(fact.position);
                    }
                }
            }
            tasks::give_way();
        }
        for (_, at) in retracted.iter().filter(|(number, _)| taken_back.contains(number)) {
            causes.total += 1;
            causes.first.push(*at);
        }
        causes.first.sort_unstable();
        causes.first.truncate(EVENTS_MAX);
        Ok(causes)
    }
}

/// The same span of what is known by a position: its own, or the last one.
fn bounded(span: &Span, last: Position) -> (Arc<Span>, Position) {
    let until = span.selection.position_until.map_or(last, |until| until.min(last));
    let selection = Selection { position_until: Some(until), ..span.selection };
    (Arc::new(Span { selection, ..span.clone() }), until)
}
