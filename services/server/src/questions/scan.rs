//! Scans: the log is read up to a fixed position and folded into views or days of their own, beside the live ones.
//! All of it blocks, and is broken off at its deadline.

use lastseen_event::{MemberOrdinal, PersonOrdinal, Position, TenantOrdinal, UtcInstant};
use lastseen_projections::{DaysBuilder, MemberState, Persons, Retracted, Scope, Selection, ViewsBuilder};
use lastseen_store::{Detail, EventReader, EventStore, Filter, Scan};

use super::admission::Deadline;
use super::error::QuestionError;
use super::kept::{Folded, Scanned};
use super::span::Span;
use crate::read_model::halves::each_half;

/// The last position that was recorded by an instant, of those up to `until`.
///
/// # Errors
/// [`QuestionError::Unreadable`], [`QuestionError::DeadlinePassed`].
pub(super) fn recorded_by(
    log: &dyn EventStore,
    (at, until): (UtcInstant, Position),
    deadline: Deadline,
) -> Result<Position, QuestionError> {
    let filter = Filter { recorded_until: Some(at), ..Filter::default() };
    let mut until = until;
    let last = until;
    for after in log.parts().into_iter().rev().filter(|after| *after < last) {
        let mut found = None;
        let mut reader = log.scan(Scan { after, until: Some(until), detail: Detail::Facts, filter });
        while let Some(batch) = reader.next_batch()? {
            deadline.check()?;
            let facts = batch.facts.iter().map(|fact| fact.position);
            found = found.max(facts.chain(batch.retractions.iter().map(|it| it.position)).max());
        }
        if let Some(found) = found {
            return Ok(found);
        }
        until = after;
    }
    Ok(Position::START)
}

/// Returns the batches that were taken back by a position, and count no more from then on; without one those that the
/// views leave out.
pub(super) fn retracted_by(log: &dyn EventStore, until: Option<Position>, live: &Retracted) -> Retracted {
    let Some(until) = until else { return live.clone() };
    let batches = log.batches();
    let taken_back = batches.iter().filter(|(_, batch)| batch.retracted.is_some_and(|at| at <= until));
    taken_back.map(|(number, _)| number).collect()
}

/// Folds the events that `selection` chooses, without the batches in `retracted`. For one tenant only its events are
/// read.
///
/// # Errors
/// [`QuestionError::Unreadable`], [`QuestionError::DeadlinePassed`].
pub(super) fn fold(
    log: &dyn EventStore,
    (scope, selection): (Scope, Selection),
    (retracted, persons): (Retracted, Persons),
    deadline: Deadline,
) -> Result<Folded, QuestionError> {
    let builder = ViewsBuilder::new(selection, retracted, persons).without_days();
    let filter = Filter { tenant: tenant_of(scope), ..Filter::default() };
    fold_some(log, (selection, filter), builder, deadline)
}

/// Folds the events about one person that `selection` chooses.
///
/// # Errors
/// [`QuestionError::Unreadable`], [`QuestionError::DeadlinePassed`].
pub(super) fn fold_person(
    log: &dyn EventStore,
    (person, selection): (PersonOrdinal, Selection),
    (retracted, persons): (Retracted, Persons),
    deadline: Deadline,
) -> Result<Folded, QuestionError> {
    let builder = ViewsBuilder::new(selection, retracted, persons).without_days();
    let filter = Filter { person: Some(person), ..Filter::default() };
    fold_some(log, (selection, filter), builder, deadline)
}

/// Folds the events about one member that `selection` chooses. `None`: there is none.
///
/// # Errors
/// [`QuestionError::Unreadable`], [`QuestionError::DeadlinePassed`].
pub(super) fn fold_member(
    log: &dyn EventStore,
    (member, selection): (MemberOrdinal, Selection),
    retracted: Retracted,
    deadline: Deadline,
) -> Result<Option<MemberState>, QuestionError> {
    let builder = ViewsBuilder::new(selection, retracted, Persons::Off).without_days();
    let filter = Filter { member: Some(member), ..Filter::default() };
    let folded = fold_some(log, (selection, filter), builder, deadline)?;
    Ok(folded.views.member(member))
}

fn fold_some(
    log: &dyn EventStore,
    (selection, filter): (Selection, Filter),
    mut builder: ViewsBuilder,
    deadline: Deadline,
) -> Result<Folded, QuestionError> {
    let position = until(log, &selection);
    let filter = Filter { occurred_until: selection.occurred_until, ..filter };
    each_half(log, (position, filter), || deadline.check(), |batch| builder.apply_all(&batch.facts))?;
    Ok(Folded { views: builder.finish(), position, memory: None })
}

/// The last position to read.
fn until(log: &dyn EventStore, selection: &Selection) -> Position {
    let tail = log.tail().position();
    selection.position_until.map_or(tail, |until| until.min(tail))
}

/// Folds everything that rows of a span need.
///
/// # Errors
/// [`QuestionError::Unreadable`], [`QuestionError::DeadlinePassed`].
pub(super) fn days(
    log: &dyn EventStore,
    (scope, span): (Scope, &Span),
    retracted: Retracted,
    deadline: Deadline,
) -> Result<Scanned, QuestionError> {
    let selection = span.selection;
    let until = until(log, &selection);
    let persons = if span.of_persons && scope == Scope::All { Persons::UserId } else { Persons::Off };
    let mut builder = DaysBuilder::new(selection, retracted, span.calendar.clone(), persons);
    let filter =
        Filter { tenant: tenant_of(scope), occurred_until: selection.occurred_until, ..Filter::default() };
    each_half(log, (until, filter), || deadline.check(), |batch| builder.apply_all(&batch.facts))?;
    Ok(Scanned { days: builder.finish(), scope, position: until, memory: None })
}

/// The tenant of a filter for the events of a scope.
pub(super) fn tenant_of(scope: Scope) -> Option<TenantOrdinal> {
    match scope {
        Scope::All => None,
        Scope::Tenant(tenant) => Some(tenant),
    }
}
