//! The definitions of activity that the live views follow besides that of UTC: made of history at their first question,
//! kept while they are asked for.

use std::sync::Arc;
use std::sync::mpsc::channel;

use lastseen_event::{EventType, Fact, Position};
use lastseen_projections::{Calendar, Definition, Following};
use lastseen_store::{Detail, EventReader, EventStore, EventTypes, Filter, ReadError, Scan};
use parking_lot::Mutex;

use super::ReadModel;
use super::fold::{Follow, Work};
use super::halves::each_half;
use crate::tasks;

/// Bounds on what is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefinitionLimits {
    /// Most definitions besides that of UTC.
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

/// The definitions in the order in which they were asked for, the latest last.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<Vec<Definition>>);

impl Asked {
    fn touch(&self, definition: Definition) {
        let mut asked = self.0.lock();
        asked.retain(|of| *of != definition);
        asked.push(definition);
    }

    fn forget(&self, definition: Definition) {
        self.0.lock().retain(|of| *of != definition);
    }

    /// The one among these that was asked for longest ago, but for `kept`.
    fn oldest(&self, among: &[(Definition, usize)], kept: Definition) -> Option<Definition> {
        let asked = self.0.lock();
        let age = |definition: &Definition| asked.iter().position(|of| of == definition);
        among.iter().map(|(of, _)| *of).filter(|of| *of != kept).min_by_key(age)
    }
}

/// The outcome of following a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// The live views have its days from now on.
    Yes,
    /// It alone is beyond the bounds, or none may be followed.
    TooLarge,
}

/// Most facts that the fold thread is left with when a definition is handed over.
const LEFT_MAX: u64 = 4_096;
/// Most catch-up reads while more events come.
const CATCH_UPS_MAX: usize = 64;
/// Facts that are caught up under one hold of the views.
const HELD_FACTS: usize = 1_024;

impl ReadModel {
    /// Notes that a definition is asked for. Returns whether the live views follow it.
    pub(crate) fn follows(&self, definition: Definition) -> bool {
        let follows = self.live.get().read().follows(definition);
        if follows && definition != Definition::UTC {
            self.asked.touch(definition);
        }
        follows
    }

    /// The definitions that are followed, and the bytes that each takes.
    pub(crate) fn followed(&self) -> Vec<(Definition, usize)> {
        self.live.get().read().followed()
    }

    /// Makes the days of a definition from history and lets the live views follow them. The calendar is that of its zone.
    /// `check` is asked again and again whether to go on. Blocks.
    ///
    /// # Errors
    /// Those of reading, and of `check`.
    pub(crate) fn follow<E: From<ReadError> + Send>(
        &self,
        definition: Definition,
        calendar: &Arc<Calendar>,
        check: impl Fn() -> Result<(), E> + Sync,
    ) -> Result<Followed, E> {
        let limits = self.definition_limits;
        if limits.number == 0 {
            return Ok(Followed::TooLarge);
        }
        loop {
            if self.follows(definition) {
                return Ok(Followed::Yes);
            }
            let views = self.live.get();
            let (mut following, mut reached) = {
                let views = views.read();
                (Following::new(definition, calendar.clone(), &views), views.position())
            };
            let filter = Filter { types: Some(activity_types(definition)), ..Filter::default() };
            each_half(&self.log, (reached, filter), &check, |batch| following.see_all(&batch.facts))?;
            while following.look_at_some(&views.read()) {
                check()?;
                tasks::give_way();
            }
            following.put_together();
            let bytes_max = limits.bytes_of(self.log.members().len());
            if following.bytes() > bytes_max {
                return Ok(Followed::TooLarge);
            }
            for _ in 0..CATCH_UPS_MAX {
                check()?;
                let position = views.read().position();
                if position.get() - reached.get() <= LEFT_MAX {
                    break;
                }
                let mut reader = self.log.scan(facts_between(reached, position));
                while let Some(batch) = reader.next_batch()? {
                    for facts in batch.facts.chunks(HELD_FACTS) {
                        following.catch_up(&views.read(), facts);
                    }
                }
                reached = position;
            }
            if !self.hand_over(Box::new(following), reached)? {
                // A retraction replaced the views meanwhile, or the server stops: then the check says so.
                check()?;
                continue;
            }
            self.asked.touch(definition);
            self.make_room(definition, bytes_max);
            return Ok(Followed::Yes);
        }
    }

    /// Gives the days to the fold thread. Returns whether the live views follow them now.
    fn hand_over(&self, following: Box<Following>, reached: Position) -> Result<bool, ReadError> {
        let Some(fold) = self.fold.lock().clone() else { return Ok(true) };
        let (done, handed_over) = channel();
        if fold.send(Work::Follow(Follow { following, reached, done })).is_err() {
            return Ok(true);
        }
        drop(fold);
        // What the days were made of comes back to be freed here.
        let Ok((_rest, follows)) = handed_over.recv() else { return Ok(true) };
        follows
    }

    /// Lets those go that were asked for longest ago, until the bounds hold.
    fn make_room(&self, kept: Definition, bytes_max: usize) {
        loop {
            let followed = self.followed();
            let bytes: usize = followed.iter().map(|(_, bytes)| bytes).sum();
            if followed.len() <= self.definition_limits.number && bytes <= bytes_max {
                return;
            }
            let Some(oldest) = self.asked.oldest(&followed, kept) else { return };
            self.asked.forget(oldest);
            tracing::info!(zone = oldest.zone.name(), bytes, "a definition is followed no longer");
            let Some(fold) = self.fold.lock().clone() else { return };
            let (done, freed) = channel();
            if fold.send(Work::Unfollow(oldest, done)).is_err() {
                return;
            }
            drop(freed.recv());
        }
    }
}

/// The types that count in a definition.
fn activity_types(definition: Definition) -> EventTypes {
    EventType::ALL.into_iter().filter(|of| definition.counted.contains(*of)).collect()
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
