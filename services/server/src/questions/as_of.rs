//! The numbers as of an instant: from the live views, and the events of the two days at the ends of the window.

use lastseen_event::{EventType, Position, UtcInstant};
use lastseen_log::Log;
use lastseen_projections::{AsOf, Scope, Summary};
use lastseen_store::{Detail, EventReader, EventStore, EventTypes, Filter, Scan};

use super::admission::Deadline;
use super::error::QuestionError;
use super::scan::tenant_of;
use crate::read_model::Reading;
use crate::tasks;

/// Attempts to count from the live views before all of history is folded instead.
const TRIES: usize = 3;

/// The outcome of a count from the live views.
#[derive(Clone, Copy, Debug)]
pub(super) enum AsOfAnswer {
    Counted(Summary, Position),
    /// Late events kept coming that had occurred by the instant: the pieces do not fit together.
    Overtaken,
}

/// Counts as of `at`, for the window that begins with `since`, inclusive.
///
/// # Errors
/// [`QuestionError::Unreadable`], [`QuestionError::DeadlinePassed`].
pub(super) fn count(
    log: &Log,
    reading: &Reading,
    (scope, since, at): (Scope, UtcInstant, UtcInstant),
    deadline: Deadline,
) -> Result<AsOfAnswer, QuestionError> {
    for _ in 0..TRIES {
        if let counted @ AsOfAnswer::Counted(..) = count_once(log, reading, (scope, since, at), deadline)? {
            return Ok(counted);
        }
    }
    Ok(AsOfAnswer::Overtaken)
}

fn count_once(
    log: &Log,
    reading: &Reading,
    (scope, since, at): (Scope, UtcInstant, UtcInstant),
    deadline: Deadline,
) -> Result<AsOfAnswer, QuestionError> {
    let (mut as_of, before) = {
        let views = reading.views();
        (AsOf::new(&views, scope, since..=at), views.position())
    };
    let activity = EventType::ALL.into_iter().filter(|of| of.activity().is_some());
    let types = Some(activity.collect::<EventTypes>());
    for part in as_of.parts() {
        let (first, last) = part.into_inner();
        // Events after this position occurred later than `last`.
        let until = reading.views().reach_of(last).min(before);
        let filter = Filter {
            tenant: tenant_of(scope),
            types,
            occurred_since: Some(first),
            occurred_until: Some(last),
            ..Filter::default()
        };
        let mut reader =
            log.scan(Scan { after: Position::START, until: Some(until), detail: Detail::Facts, filter });
        while let Some(batch) = reader.next_batch()? {
            deadline.check()?;
            batch.facts.iter().for_each(|fact| as_of.see(fact));
            tasks::give_way();
        }
    }
    as_of.put_together();
    loop {
        deadline.check()?;
        tasks::give_way();
        let views = reading.views();
        if !as_of.step(&views) {
            if views.reach_of(at) > before {
                return Ok(AsOfAnswer::Overtaken);
            }
            return Ok(AsOfAnswer::Counted(as_of.finish(), views.position()));
        }
    }
}
