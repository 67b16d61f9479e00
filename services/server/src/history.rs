//! Questions about a part of history: the log is read up to a fixed position and folded into views of its own,
//! beside the live ones.

use std::ops::RangeInclusive;
use std::sync::Arc;

use lastseen_event::{EventType, Position, TenantOrdinal, UtcInstant};
use lastseen_projections::{
    AsOf, Calendar, Day, DaySets, DaysBuilder, Retracted, Scope, Selection, Summary, TypeSet, Views,
    ViewsBuilder,
};
use lastseen_store::{Detail, EventReader, EventStore, EventTypes, Filter, ReadError, RecordedBatch, Scan};

use crate::engine::Engine;
use crate::live::SharedViews;
use crate::problem::Problem;
use crate::query::span::Span;
use crate::tasks;

/// Views of a part of history and the last position they reflect.
pub(crate) struct Folded {
    pub(crate) views: Views,
    pub(crate) position: Position,
}

/// Folds what `selection` chooses of the log up to its present tail, as far as the members of `scope` need it, without the
/// batches that the live views leave out.
///
/// # Errors
/// A [`Problem`] where the log cannot be read.
pub(crate) async fn fold(
    engine: &Arc<Engine>,
    live: &SharedViews,
    scope: Scope,
    selection: Selection,
) -> Result<Folded, Problem> {
    let permit = engine.scans.clone().acquire_owned().await.map_err(|_| Problem::closing())?;
    let (engine, retracted, persons) = {
        let views = live.read();
        (engine.clone(), views.retracted().clone(), views.persons())
    };
    let folded = tasks::blocking(move || {
        let _permit = permit;
        match (scope, selection.recorded_until) {
            // Which position was the last one by then, all events tell.
            (Scope::All, _) | (_, Some(_)) => {
                scan(&engine, ViewsBuilder::new(selection, retracted, persons), &selection)
            }
            (Scope::Tenant(tenant), None) => {
                scan_tenant(&engine, tenant, ViewsBuilder::new(selection, retracted, persons), &selection)
            }
        }
    });
    folded.await.map_err(|error| Problem::unreadable(&error))
}

/// How often numbers as of an instant are counted piece by piece before everything is folded again.
const AS_OF_TRIES: usize = 3;

/// The numbers as of `at`, for the window that begins with `since`, and the position they reflect: from the live views
/// and the events of the two days at the ends of the window. `None` while events keep coming that had occurred by then.
///
/// # Errors
/// A [`Problem`] where the log cannot be read.
pub(crate) async fn as_of(
    engine: &Arc<Engine>,
    live: &SharedViews,
    scope: Scope,
    window: (UtcInstant, UtcInstant),
) -> Result<Option<(Summary, Position)>, Problem> {
    let permit = engine.counts.clone().acquire_owned().await.map_err(|_| Problem::closing())?;
    let (engine, live) = (engine.clone(), live.clone());
    let counted = tasks::blocking(move || {
        let _permit = permit;
        for _ in 0..AS_OF_TRIES {
            if let Some(counted) = count_as_of((&engine, &live), scope, window)? {
                return Ok(Some(counted));
            }
        }
        Ok(None)
    });
    counted.await.map_err(|error| Problem::unreadable(&error))
}

fn count_as_of(
    (engine, live): (&Engine, &SharedViews),
    scope: Scope,
    (since, at): (UtcInstant, UtcInstant),
) -> Result<Option<(Summary, Position)>, ReadError> {
    let (mut as_of, before) = {
        let views = live.read();
        (AsOf::new(&views, scope, since..=at), views.position())
    };
    let activity = EventType::ALL.into_iter().filter(|of| of.activity().is_some());
    let types = Some(activity.collect::<EventTypes>());
    for part in as_of.parts() {
        let (first, last) = part.into_inner();
        // What was folded behind this position occurred later.
        let until = live.read().reach_of(last).min(before);
        let filter = Filter {
            tenant: tenant_of(scope),
            types,
            occurred_since: Some(first),
            occurred_until: Some(last),
            ..Filter::default()
        };
        let mut reader = engine.log.scan(Scan {
            after: Position::START,
            until: Some(until),
            detail: Detail::Facts,
            filter,
        });
        while let Some(batch) = reader.next_batch()? {
            batch.facts.iter().for_each(|fact| as_of.see(fact));
        }
    }
    as_of.put_together();
    loop {
        let views = live.read();
        if !as_of.step(&views) {
            let is_whole = views.reach_of(at) <= before;
            return Ok(is_whole.then(|| (as_of.finish(), views.position())));
        }
    }
}

/// What rows for some days of a span need, folded from the events up to a position.
///
/// # Errors
/// A [`Problem`] where the log cannot be read.
pub(crate) async fn days(
    engine: &Arc<Engine>,
    scope: Scope,
    (span, days): (Arc<Span>, RangeInclusive<Day>),
    (until, retracted): (Position, Retracted),
) -> Result<DaySets, Problem> {
    let permit = engine.scans.clone().acquire_owned().await.map_err(|_| Problem::closing())?;
    let engine = engine.clone();
    let folded = tasks::blocking(move || {
        let _permit = permit;
        scan_days(&engine, scope, (&span, days), (until, retracted))
    });
    folded.await.map_err(|error| Problem::unreadable(&error))
}

fn scan_days(
    engine: &Engine,
    scope: Scope,
    (span, days): (&Span, RangeInclusive<Day>),
    (until, retracted): (Position, Retracted),
) -> Result<DaySets, ReadError> {
    let last = *span.period.around(*days.end()).end();
    let counted = span.selection.counted();
    let decides = [EventType::UserDeleted, EventType::UserRestored];
    let types = EventType::ALL.into_iter().filter(|of| counted.contains(*of) || decides.contains(of));
    // Where all activity counts, nearly every event does: then looking for them first costs more than it spares.
    let types = (counted != TypeSet::all()).then(|| types.collect::<EventTypes>());
    let filter = Filter {
        tenant: tenant_of(scope),
        types,
        occurred_until: Some(span.calendar.end(last)),
        ..Filter::default()
    };
    let mut builder = DaysBuilder::new(span.selection, retracted, Calendar::clone(&span.calendar));
    each_half(engine, until, filter, |batch| builder.apply_all(&batch.facts))?;
    Ok(builder.finish(days))
}

fn scan(engine: &Engine, mut builder: ViewsBuilder, selection: &Selection) -> Result<Folded, ReadError> {
    let (until, mut position) = (engine.log.tail().position(), Position::START);
    let mut reader =
        engine.log.scan(Scan { until: Some(until), ..Scan::after(Position::START, Detail::Facts) });
    let fold = |batch: RecordedBatch| {
        builder.apply_all(&batch.facts);
        let last = batch.facts.iter().rev().find(|fact| known(selection, fact)).map(|fact| fact.position);
        let retracted = batch.retractions.iter().filter(|it| {
            selection.position_until.is_none_or(|until| it.position <= until)
                && selection.recorded_until.is_none_or(|until| it.recorded_at <= until)
        });
        let retracted = retracted.map(|it| it.position).max();
        position = position.max(last.max(retracted).unwrap_or(position));
    };
    tasks::gathered([|| reader.next_batch()], fold)?;
    Ok(Folded { views: builder.finish(), position })
}

/// The members of one tenant alone: their rows are found first, then the rest of them is read.
fn scan_tenant(
    engine: &Engine,
    tenant: TenantOrdinal,
    mut builder: ViewsBuilder,
    selection: &Selection,
) -> Result<Folded, ReadError> {
    let tail = engine.log.tail().position();
    let position = selection.position_until.map_or(tail, |until| until.min(tail));
    let filter =
        Filter { tenant: Some(tenant), occurred_until: selection.occurred_until, ..Filter::default() };
    each_half(engine, position, filter, |batch| builder.apply_all(&batch.facts))?;
    Ok(Folded { views: builder.finish(), position })
}

/// Reads what `filter` chooses of the events up to a position, in two halves side by side: what is folded from them does not
/// depend on their order.
fn each_half(
    engine: &Engine,
    until: Position,
    filter: Filter,
    fold: impl FnMut(RecordedBatch),
) -> Result<(), ReadError> {
    let parts = engine.log.parts();
    let half = parts.partition_point(|part| part.get() < until.get() / 2);
    let half = parts.get(half).map_or(until, |part| (*part).min(until));
    let readers = [(Position::START, half), (half, until)].map(|(after, until)| {
        let mut reader = engine.log.scan(Scan { after, until: Some(until), detail: Detail::Facts, filter });
        move || reader.next_batch()
    });
    tasks::gathered(readers, fold)
}

fn tenant_of(scope: Scope) -> Option<TenantOrdinal> {
    match scope {
        Scope::All => None,
        Scope::Tenant(tenant) => Some(tenant),
    }
}

/// Whether the fact was on record where the selection looks from, whenever it occurred.
fn known(selection: &Selection, fact: &lastseen_event::Fact) -> bool {
    Selection { occurred_until: None, ..*selection }.keeps(fact)
}
