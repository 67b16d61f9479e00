//! The days that the live views follow besides those of UTC, of activity and of traffic: made of history at their first
//! question, kept while they are asked for.

use std::sync::Arc;
use std::sync::mpsc::channel;

use chrono_tz::Tz;
use lastseen_event::{Fact, Position};
use lastseen_projections::{ActivityScan, Calendar, Definition, Following, Subject, Traffic, Views};
use lastseen_store::{Detail, EventReader, Filter, ReadError, Scan};
use parking_lot::Mutex;

use super::ReadModel;
use super::fold::{Follow, Work};
use super::halves::{each_half, sightings_by_half};
use super::live::SharedViews;
use crate::tasks;

/// Bounds on what is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefinitionLimits {
    /// Most subjects besides those of UTC.
    pub(crate) number: usize,
    /// Most bytes of their days. `None`: as many as the views take, about.
    pub(crate) bytes: Option<usize>,
}

impl DefinitionLimits {
    /// Most bytes where there are so many members.
    pub(crate) fn bytes_of(&self, members: usize) -> usize {
        const BYTES_A_MEMBER: usize = 256;
        const LEAST: usize = 64 << 20;
        self.bytes.unwrap_or(LEAST + members * BYTES_A_MEMBER)
    }
}

/// The subjects in the order in which they were asked for, the latest last.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<Vec<Subject>>);

impl Asked {
    fn touch(&self, subject: Subject) {
        let mut asked = self.0.lock();
        asked.retain(|of| *of != subject);
        asked.push(subject);
    }

    fn forget(&self, subject: Subject) {
        self.0.lock().retain(|of| *of != subject);
    }

    /// All of them, the latest last.
    fn all(&self) -> Vec<Subject> {
        self.0.lock().clone()
    }

    /// The one among these that was asked for longest ago, but for `kept`.
    fn oldest(&self, among: &[(Subject, usize)], kept: Subject) -> Option<Subject> {
        let asked = self.0.lock();
        let age = |subject: &Subject| asked.iter().position(|of| of == subject);
        among.iter().map(|(of, _)| *of).filter(|of| *of != kept).min_by_key(age)
    }
}

/// The outcome of following a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// The live views have its days from now on.
    Yes,
    /// It alone is beyond the bounds, or none may be followed.
    TooLarge,
}

/// Most records that the fold thread is left with when days are handed over.
const LEFT_MAX: u64 = 4_096;
/// Most catch-up reads while more events come.
const CATCH_UPS_MAX: usize = 64;
/// Facts that are caught up under one hold of the views.
const HELD_FACTS: usize = 1_024;

impl ReadModel {
    /// Notes that a subject is asked for. Returns whether the live views follow it.
    pub(crate) fn follows(&self, subject: Subject) -> bool {
        let follows = self.live.get().read().follows_subject(subject);
        let is_utc = matches!(subject, Subject::Activity(Definition::UTC) | Subject::Traffic(Tz::UTC));
        if follows && !is_utc {
            self.asked.touch(subject);
        }
        follows
    }

    /// The number of subjects that are followed besides those of UTC.
    pub(crate) fn definitions(&self) -> usize {
        self.asked.0.lock().len()
    }

    /// The next subject that was followed before the start and was not tried again since. `None`: there is none.
    pub(crate) fn next_expected(&self) -> Option<Subject> {
        self.remembered.next_expected()
    }

    /// Notes that a subject was tried again, whether or not it is followed now. Writes a file.
    pub(crate) fn was_tried(&self, subject: Subject) {
        self.remembered.was_tried(subject);
        self.remembered.write(&self.asked.all());
    }

    /// The subjects that are followed, and the bytes that each takes.
    pub(crate) fn followed(&self) -> Vec<(Subject, usize)> {
        self.live.get().read().followed()
    }

    /// Makes the days of a subject from history and lets the live views follow them. The calendar is that of its zone.
    /// `check` is asked again and again whether to go on. Blocks.
    ///
    /// # Errors
    /// Those of reading, and of `check`.
    pub(crate) fn follow<E: From<ReadError> + Send>(
        &self,
        subject: Subject,
        calendar: &Arc<Calendar>,
        check: impl Fn() -> Result<(), E> + Sync,
    ) -> Result<Followed, E> {
        if self.definition_limits.number == 0 {
            return Ok(Followed::TooLarge);
        }
        let bytes_max = self.definition_limits.bytes_of(self.log.members().len());
        loop {
            if self.follows(subject) {
                return Ok(Followed::Yes);
            }
            let (mut days, reached) = match subject {
                Subject::Activity(definition) => self.make_activity(definition, calendar, &check)?,
                Subject::Traffic(zone) => self.make_traffic(zone, calendar, &check)?,
            };
            if days.bytes() > bytes_max {
                return Ok(Followed::TooLarge);
            }
            let reached = self.catch_up(&mut days, reached, &check)?;
            if !self.hand_over(days, reached)? {
                // A retraction replaced the views meanwhile, or the server stops: then the check says so.
                check()?;
                continue;
            }
            self.asked.touch(subject);
            self.make_room(subject, bytes_max);
            self.remembered.write(&self.asked.all());
            return Ok(Followed::Yes);
        }
    }

    fn make_activity<E: From<ReadError> + Send>(
        &self,
        definition: Definition,
        calendar: &Arc<Calendar>,
        check: &(impl Fn() -> Result<(), E> + Sync),
    ) -> Result<(NewDays, Position), E> {
        let views = self.live.get();
        let (mut following, reached) = {
            let views = views.read();
            (Following::new(definition, calendar.clone(), &views), views.position())
        };
        let scans = [following.scan(), following.scan()];
        for scan in sightings_by_half(self.log.as_ref(), reached, scans, check, ActivityScan::see_all)? {
            following.join(scan);
        }
        while following.look_at_some(&views.read()) {
            check()?;
            tasks::give_way();
        }
        following.put_together();
        Ok((NewDays::Activity(Box::new(following), views), reached))
    }

    fn make_traffic<E: From<ReadError> + Send>(
        &self,
        zone: Tz,
        calendar: &Arc<Calendar>,
        check: &(impl Fn() -> Result<(), E> + Sync),
    ) -> Result<(NewDays, Position), E> {
        let (retracted, reached) = {
            let views = self.live.get();
            let views = views.read();
            (views.retracted().clone(), views.position())
        };
        let mut traffic = Box::new(Traffic::new(calendar.clone(), retracted));
        each_half(self.log.as_ref(), (reached, Filter::default()), check, |batch| {
            for fact in &batch.facts {
                traffic.count(fact);
            }
        })?;
        Ok((NewDays::Traffic(zone, traffic), reached))
    }

    /// Folds the events in that came meanwhile, all but the last few. Returns the position that is reached.
    fn catch_up<E: From<ReadError>>(
        &self,
        days: &mut NewDays,
        mut reached: Position,
        check: &impl Fn() -> Result<(), E>,
    ) -> Result<Position, E> {
        for _ in 0..CATCH_UPS_MAX {
            check()?;
            let position = self.live.get().read().position();
            // Events that the views do not have yet count as well: they are few, or reading once more helps nothing.
            if position <= reached || self.log.records_after(reached) <= LEFT_MAX {
                break;
            }
            let mut reader = self.log.scan(facts_between(reached, position));
            while let Some(batch) = reader.next_batch()? {
                for facts in batch.facts.chunks(HELD_FACTS) {
                    days.catch_up(facts);
                }
            }
            reached = position;
        }
        Ok(reached)
    }

    /// Gives the days to the fold thread. Returns whether the live views follow them now.
    fn hand_over(&self, days: NewDays, reached: Position) -> Result<bool, ReadError> {
        let Some(fold) = self.fold.lock().clone() else { return Ok(true) };
        let (done, handed_over) = channel();
        if fold.blocking_send(Work::Follow(Follow { days, reached, done })).is_err() {
            return Ok(true);
        }
        drop(fold);
        // What the days were made of comes back to be freed here.
        let Ok((_rest, follows)) = handed_over.recv() else { return Ok(true) };
        follows
    }

    /// Lets those go that were asked for longest ago, until the bounds hold.
    fn make_room(&self, kept: Subject, bytes_max: usize) {
        loop {
            let followed = self.followed();
            let bytes: usize = followed.iter().map(|(_, bytes)| bytes).sum();
            if followed.len() <= self.definition_limits.number && bytes <= bytes_max {
                return;
            }
            let Some(oldest) = self.asked.oldest(&followed, kept) else { return };
            self.asked.forget(oldest);
            tracing::info!(?oldest, bytes, "days are followed no longer");
            let Some(fold) = self.fold.lock().clone() else { return };
            let (done, freed) = channel();
            if fold.blocking_send(Work::Unfollow(oldest, done)).is_err() {
                return;
            }
            drop(freed.recv());
        }
    }
}

/// Days that were made beside the live views.
pub(super) enum NewDays {
    /// With the views that they were made beside.
    Activity(Box<Following>, SharedViews),
    Traffic(Tz, Box<Traffic>),
}

impl NewDays {
    fn bytes(&self) -> usize {
        match self {
            Self::Activity(following, _) => following.bytes(),
            Self::Traffic(_, traffic) => traffic.bytes(),
        }
    }

    /// Folds facts in that came since, each once.
    fn catch_up(&mut self, facts: &[Fact]) {
        match self {
            Self::Activity(following, views) => following.catch_up(&views.read(), facts),
            Self::Traffic(_, traffic) => {
                for fact in facts {
                    traffic.count(fact);
                }
            }
        }
    }

    /// Lets views follow them, which hold the facts since.
    pub(super) fn follow(&mut self, views: &mut Views, since: &[Fact]) -> bool {
        match self {
            Self::Activity(following, _) => views.follow(following, since),
            Self::Traffic(zone, traffic) => views.follow_traffic(*zone, traffic, since),
        }
    }
}

/// A scan of the facts between two positions.
pub(super) fn facts_between(after: Position, until: Position) -> Scan {
    Scan { until: Some(until), ..Scan::after(after, Detail::Facts) }
}

/// The facts between two positions, of which there are few.
pub(super) fn few_facts(mut reader: impl EventReader) -> Result<Vec<Fact>, ReadError> {
    let mut facts = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        facts.extend(batch.facts);
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use lastseen_projections::Retracted;
    use tokio::runtime::Handle;

    use super::*;
    use crate::testing::{Model, Replica};

    /// The rest was a difference of positions: one event was too much to be left to the fold thread, so that each that came
    /// meanwhile was read on its own.
    #[tokio::test]
    async fn a_few_events_that_come_meanwhile_are_left_to_the_fold_thread_whatever_gaps_positions_have() {
        let mut replica = None;
        let model = Model::over(|disk, _| Ok(replica.insert(Replica::new(disk)).log.clone()));
        let replica = replica.unwrap();
        let tail = replica.take_in(10, Replica::GAP).await;
        assert!(model.inner.reach(tail, Duration::from_mins(1)).await);
        let (inner, checks) = (model.inner.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = checks.clone();
        let follow = move || {
            let one_more = || {
                counted.fetch_add(1, Ordering::Relaxed);
                Handle::current().block_on(async {
                    let tail = replica.take_in(1, Replica::GAP).await;
                    assert!(inner.reach(tail, Duration::from_mins(1)).await);
                });
                Ok::<_, ReadError>(())
            };
            let zone = Tz::Europe__Vienna;
            let traffic = Traffic::new(Arc::new(Calendar::utc()), Retracted::default());
            let mut days = NewDays::Traffic(zone, Box::new(traffic));
            inner.catch_up(&mut days, tail, &one_more).unwrap()
        };
        let reached = tokio::task::spawn_blocking(follow).await.unwrap();
        assert_eq!((reached, checks.load(Ordering::Relaxed)), (tail, 1), "it is left to the fold thread");
    }
}
