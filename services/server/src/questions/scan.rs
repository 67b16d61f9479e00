//! Scans: the log is read up to a fixed position and folded into views or days of their own, beside the live ones.
//! All of it blocks, and is broken off at its deadline.

use std::ops::RangeInclusive;

use lastseen_event::{EventType, Fact, Position, TenantOrdinal};
use lastseen_log::Log;
use lastseen_projections::{
    Calendar, Day, DaySets, DaysBuilder, Persons, Retracted, Scope, Selection, TypeSet, Views, ViewsBuilder,
};
use lastseen_store::{Detail, EventReader, EventStore, EventTypes, Filter, RecordedBatch, Scan};

use super::admission::Deadline;
use super::error::QuestionError;
use super::span::Span;
use crate::memory::Reserved;
use crate::tasks;

/// Views of a part of history, and the memory that they take.
pub(crate) struct Folded {
    pub(crate) views: Views,
    /// The last position they reflect.
    pub(crate) position: Position,
    pub(super) _memory: Reserved,
}

/// Folds the events that `selection` chooses, up to the present tail, without the batches in `retracted`. For one
/// tenant only its events are read. Returns the views and the last position they reflect.
///
/// # Errors
/// [`QuestionError::Unreadable`], [`QuestionError::DeadlinePassed`].
pub(super) fn fold(
    log: &Log,
    (scope, selection): (Scope, Selection),
    (retracted, persons): (Retracted, Persons),
    deadline: Deadline,
) -> Result<(Views, Position), QuestionError> {
    let builder = ViewsBuilder::new(selection, retracted, persons);
    match (scope, selection.recorded_until) {
        // Only a scan of all events tells the last position at an instant of recording.
        (Scope::All, _) | (_, Some(_)) => fold_all(log, builder, selection, deadline),
        (Scope::Tenant(tenant), None) => fold_tenant(log, (tenant, selection), builder, deadline),
    }
}

fn fold_all(
    log: &Log,
    mut builder: ViewsBuilder,
    selection: Selection,
    deadline: Deadline,
) -> Result<(Views, Position), QuestionError> {
    let (until, mut position) = (log.tail().position(), Position::START);
    let mut reader = log.scan(Scan { until: Some(until), ..Scan::after(Position::START, Detail::Facts) });
    let next = move || {
        deadline.check()?;
        reader.next_batch().map_err(QuestionError::from)
    };
    tasks::gather([next], |batch: RecordedBatch| {
        builder.apply_all(&batch.facts);
        let last = batch.facts.iter().rev().find(|fact| is_known(&selection, fact)).map(|fact| fact.position);
        let retracted = batch.retractions.iter().filter(|it| {
            selection.position_until.is_none_or(|until| it.position <= until)
                && selection.recorded_until.is_none_or(|until| it.recorded_at <= until)
        });
        let retracted = retracted.map(|it| it.position).max();
        position = position.max(last.max(retracted).unwrap_or(position));
    })?;
    Ok((builder.finish(), position))
}

fn fold_tenant(
    log: &Log,
    (tenant, selection): (TenantOrdinal, Selection),
    mut builder: ViewsBuilder,
    deadline: Deadline,
) -> Result<(Views, Position), QuestionError> {
    let tail = log.tail().position();
    let position = selection.position_until.map_or(tail, |until| until.min(tail));
    let filter =
        Filter { tenant: Some(tenant), occurred_until: selection.occurred_until, ..Filter::default() };
    each_half(log, (position, filter), deadline, |batch| builder.apply_all(&batch.facts))?;
    Ok((builder.finish(), position))
}

/// Folds everything that rows for some days of a span need from the events up to a position.
///
/// # Errors
/// [`QuestionError::Unreadable`], [`QuestionError::DeadlinePassed`].
pub(super) fn days(
    log: &Log,
    (scope, span, days): (Scope, &Span, RangeInclusive<Day>),
    (until, retracted): (Position, Retracted),
    deadline: Deadline,
) -> Result<DaySets, QuestionError> {
    let last = *span.period.around(*days.end()).end();
    let counted = span.selection.counted();
    let decides = [EventType::UserDeleted, EventType::UserRestored];
    let types = EventType::ALL.into_iter().filter(|of| counted.contains(*of) || decides.contains(of));
    // Where all activity counts, nearly every event does: a search for them costs more than it saves.
    let types = (counted != TypeSet::all()).then(|| types.collect::<EventTypes>());
    let filter = Filter {
        tenant: tenant_of(scope),
        types,
        occurred_until: Some(span.calendar.end(last)),
        ..Filter::default()
    };
    let mut builder = DaysBuilder::new(span.selection, retracted, Calendar::clone(&span.calendar));
    each_half(log, (until, filter), deadline, |batch| builder.apply_all(&batch.facts))?;
    Ok(builder.finish(days))
}

/// Reads the events up to a position that `filter` chooses, in two halves side by side. The fold of them must not
/// depend on their order.
fn each_half(
    log: &Log,
    (until, filter): (Position, Filter),
    deadline: Deadline,
    fold: impl FnMut(RecordedBatch),
) -> Result<(), QuestionError> {
    let parts = log.parts();
    let half = parts.partition_point(|part| part.get() < until.get() / 2);
    let half = parts.get(half).map_or(until, |part| (*part).min(until));
    let readers = [(Position::START, half), (half, until)].map(|(after, until)| {
        let mut reader = log.scan(Scan { after, until: Some(until), detail: Detail::Facts, filter });
        move || {
            deadline.check()?;
            reader.next_batch().map_err(QuestionError::from)
        }
    });
    tasks::gather(readers, fold)
}

/// The tenant of a filter for the events of a scope.
pub(super) fn tenant_of(scope: Scope) -> Option<TenantOrdinal> {
    match scope {
        Scope::All => None,
        Scope::Tenant(tenant) => Some(tenant),
    }
}

/// True if the fact was on record by the bounds of the selection, whenever it occurred.
fn is_known(selection: &Selection, fact: &Fact) -> bool {
    Selection { occurred_until: None, ..*selection }.keeps(fact)
}
