//! The numbers as of instants: from the live views, and the events of the days at the ends of the windows. Events that
//! come meanwhile are folded in, so nothing is begun again, and all of the numbers are of one position.

use std::ops::RangeInclusive;

use lastseen_event::{EventType, Position, UtcInstant};
use lastseen_projections::{AsOf, Behind, Scope, Summary};
use lastseen_store::{Detail, EventReader, EventStore, Filter, RecordedBatch, Scan};

use super::admission::Deadline;
use super::error::QuestionError;
use super::scan::tenant_of;
use crate::read_model::Reading;
use crate::tasks;

/// Numbers that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) scope: Scope,
    /// True if nobody is left out.
    pub(super) everyone: bool,
    /// Numbers at its end, of the members last seen in it; both ends are inclusive.
    pub(super) window: RangeInclusive<UtcInstant>,
}

/// Numbers of one position.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    /// One for each that was asked for.
    pub(super) then: Vec<Summary>,
    /// The numbers of now, where they were asked for.
    pub(super) now: Option<Summary>,
    /// The last position that all of them reflect.
    pub(super) position: Position,
}

/// Finds the members that are active: a count that is frozen, and the position that it reflects.
///
/// # Errors
/// [`QuestionError::Unreadable`], [`QuestionError::DeadlinePassed`].
pub(super) fn active(
    log: &dyn EventStore,
    reading: &Reading,
    asked: &Asked,
    deadline: Deadline,
) -> Result<(Option<AsOf>, Position), QuestionError> {
    let (mut counts, position, _) = look(log, reading, (std::slice::from_ref(asked), None), deadline)?;
    counts.iter_mut().for_each(AsOf::freeze);
    Ok((counts.pop(), position))
}

/// Counts all that is asked for, and the numbers of `now`: a scope, and the lower edge of a window.
///
/// # Errors
/// [`QuestionError::Unreadable`], [`QuestionError::DeadlinePassed`].
pub(super) fn count(
    log: &dyn EventStore,
    reading: &Reading,
    asked: (&[Asked], Option<(Scope, UtcInstant)>),
    deadline: Deadline,
) -> Result<Counted, QuestionError> {
    let (counts, position, now) = look(log, reading, asked, deadline)?;
    let mut then = Vec::with_capacity(counts.len());
    for mut count in counts {
        count.freeze();
        while count.look_at_scopes(&reading.views()) {
            deadline.check()?;
            tasks::give_way();
        }
        let mut last_estimate_at = None;
        if let Some(among) = count.latest_estimates() {
            let filter = occurred_in([EventType::EstimatedActivity], among);
            each(log, (Position::START, position), filter, deadline, |batch| {
                let counting = batch.facts.iter().filter(|fact| {
                    !reading.retracted.has(fact) && count.only_estimated().contains(fact.member.member.get())
                });
                last_estimate_at = last_estimate_at.max(counting.map(|fact| fact.occurred_at).max());
            })?;
        }
        then.push(count.finish(last_estimate_at));
    }
    Ok(Counted { then, now, position })
}

/// Facts that are followed under one hold of the views.
const HELD_FACTS: usize = 1_024;

/// The events of these types that occurred in these instants.
fn occurred_in(types: impl IntoIterator<Item = EventType>, instants: RangeInclusive<UtcInstant>) -> Filter {
    Filter {
        types: Some(types.into_iter().collect()),
        occurred_since: Some(*instants.start()),
        occurred_until: Some(*instants.end()),
        ..Filter::default()
    }
}

/// Reads the facts between two positions that `filter` chooses.
fn each(
    log: &dyn EventStore,
    (after, until): (Position, Position),
    filter: Filter,
    deadline: Deadline,
    mut take: impl FnMut(&RecordedBatch),
) -> Result<(), QuestionError> {
    let mut reader = log.scan(Scan { after, until: Some(until), detail: Detail::Facts, filter });
    while let Some(batch) = reader.next_batch()? {
        deadline.check()?;
        take(&batch);
        tasks::give_way();
    }
    Ok(())
}

/// Looks at all members for each count, until all are of one position; also at the numbers of now at that position.
fn look(
    log: &dyn EventStore,
    reading: &Reading,
    (asked, now): (&[Asked], Option<(Scope, UtcInstant)>),
    deadline: Deadline,
) -> Result<(Vec<AsOf>, Position, Option<Summary>), QuestionError> {
    let (mut counts, begun): (Vec<AsOf>, _) = {
        let views = reading.views();
        let begin = |asked: &Asked| AsOf::new(&views, asked.scope, asked.everyone, asked.window.clone());
        (asked.iter().map(begin).collect(), views.position())
    };
    for (count, asked) in counts.iter_mut().zip(asked) {
        for part in count.parts() {
            // Events after this position occurred later than the part.
            let until = reading.views().reach_of(*part.end()).min(begun);
            let activity = EventType::ALL.into_iter().filter(|of| of.activity().is_some());
            let filter = Filter { tenant: tenant_of(asked.scope), ..occurred_in(activity, part) };
            each(log, (Position::START, until), filter, deadline, |batch| {
                batch.facts.iter().for_each(|fact| count.see(fact));
            })?;
        }
        count.put_together();
    }
    let mut reached = vec![begun; counts.len()];
    let (position, now) = loop {
        deadline.check()?;
        tasks::give_way();
        let views = reading.views();
        let (mut more, mut behind) = (false, Vec::new());
        // All of them, also those that have looked at all: they follow until the last one has.
        for (number, (count, reached)) in counts.iter_mut().zip(&mut reached).enumerate() {
            match count.look(&views) {
                Ok(looks) => more |= looks,
                Err(Behind) => behind.push((number, *reached)),
            }
            *reached = views.position();
        }
        if !more && behind.is_empty() {
            break (views.position(), now.map(|(scope, since)| views.summary(scope, since)));
        }
        let until = views.position();
        drop(views);
        for (number, after) in behind {
            each(log, (after, until), Filter::default(), deadline, |batch| {
                for facts in batch.facts.chunks(HELD_FACTS) {
                    counts[number].follow(&reading.views(), facts);
                }
            })?;
        }
    };
    Ok((counts, position, now))
}
