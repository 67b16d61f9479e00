//! Idempotency, in one place: whether an event is in the log already.
//!
//! 1. an append asks [`Ids::suspects`] on its own thread: the id within the tenant of each row, and the rows that are kept
//!    below [`LookUp::until`], by the [`runs`] on disk;
//! 2. the writer asks the [recent window](recent) about the rest, in order, and stages what is new;
//! 3. once a group is durable its ids are committed; ids leave the window only below what look-ups were told before;
//! 4. where a look-up was overtaken by that all the same, the append looks again, only at what is new since.
//!
//! Sealed records are looked up in runs, so an id may leave the window once it is in one.

mod budget;
mod piece_deque;
pub(crate) mod recent;
pub(crate) mod run;
pub(crate) mod runs;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lastseen_event::{EventBatch, MemberRef, UtcInstant};
use lastseen_store::{AppendError, ReadError};
use parking_lot::{Mutex, RwLock};

pub(crate) use self::budget::Budget;
use self::run::RunEntry;
use self::runs::{Runs, Suspect};
use crate::identity::{IdKey, OwnId};
use crate::place::Place;
use crate::segment::entry::Entry;

/// The ids of a log, for everybody who appends. The writer owns the recent window, the sealer makes the runs.
pub(crate) struct Ids {
    pub(crate) key: IdKey,
    pub(crate) budget: Arc<Budget>,
    /// Events below this place may have left the recent window.
    recent_from: AtomicU64,
    sealed: RwLock<Arc<SealedIds>>,
    /// Runs that could not be read, for the one who makes them anew.
    damaged: Mutex<Vec<RunEntry>>,
}

/// The ids of sealed history at one moment.
#[derive(Default)]
pub(crate) struct SealedIds {
    pub(crate) runs: Runs,
    /// Segments whose ids are in no run: of version 1, or where a run was damaged. Their runs are being made.
    pub(crate) unindexed: Vec<Arc<Entry>>,
    /// The first place of each segment, and the greatest `occurred_at` of it and of all in front of it.
    greatest: Vec<(Place, UtcInstant)>,
}

impl SealedIds {
    /// The ids of these segments, which are all that are sealed, by these runs.
    pub(crate) fn new(segments: &[Arc<Entry>], runs: Runs) -> Self {
        let mut greatest = Vec::with_capacity(segments.len());
        let mut so_far = UtcInstant::EARLIEST;
        for entry in segments {
            so_far = so_far.max(entry.occurred.bounds().1);
            greatest.push((entry.first(), so_far));
        }
        let is_indexed = |entry: &&Arc<Entry>| {
            runs.iter().any(|run| run.entry.first() <= entry.first() && entry.last() <= run.entry.last())
        };
        let unindexed = segments.iter().filter(|entry| !is_indexed(entry)).cloned().collect();
        Self { runs, unindexed, greatest }
    }

    /// The greatest `occurred_at` among segments that begin below `until`. Costs the logarithm of their number.
    fn greatest_below(&self, until: Place) -> Option<UtcInstant> {
        let below = self.greatest.partition_point(|(first, _)| *first < until);
        Some(self.greatest.get(below.checked_sub(1)?)?.1)
    }
}

/// The ids of a batch, and those of its rows that are known, before the writer sees it.
#[derive(Debug, Default)]
pub(crate) struct LookUp {
    /// The id within its tenant of each row.
    pub(crate) own: Vec<OwnId>,
    /// The rows that are kept at places below `until`; empty for none.
    pub(crate) known: Vec<bool>,
    /// The end of what was looked at: the window has to hold all ids from here on.
    pub(crate) until: Place,
    /// Number of times that this look-up was overtaken.
    pub(crate) overtaken: u32,
}

/// Rows that may be kept in sealed history.
pub(crate) struct Suspects {
    rows: Vec<Suspect>,
    sealed: Arc<SealedIds>,
    /// Only places at this one and above are new to the look-up.
    since: Place,
    until: Place,
}

/// Why it cannot be said whether an event is kept.
#[derive(Debug)]
pub(crate) enum LookUpError {
    /// The ids cannot be read.
    Read(ReadError),
    /// The ids of a segment are being indexed.
    Unindexed {
        /// Segments that are not indexed yet.
        segments: usize,
    },
}

impl From<LookUpError> for AppendError {
    fn from(error: LookUpError) -> Self {
        match error {
            LookUpError::Read(error) => Self::Unreadable(error),
            LookUpError::Unindexed { segments } => {
                let cause = format!("the ids of {segments} segments are being indexed");
                Self::Unavailable(std::io::Error::other(cause).into())
            }
        }
    }
}

impl Suspects {
    /// The end of what was looked at once these are found or not.
    pub(crate) fn until(&self) -> Place {
        self.until
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Ids {
    pub(crate) fn new(key: IdKey, budget: Arc<Budget>, recent_from: Place, sealed: SealedIds) -> Self {
        Self {
            key,
            budget,
            recent_from: AtomicU64::new(recent_from.get()),
            sealed: RwLock::new(Arc::new(sealed)),
            damaged: Mutex::default(),
        }
    }

    /// The place from which the window holds all ids, for a look-up that begins now. Read before anything else of it.
    pub(crate) fn recent_from(&self) -> Place {
        Place::new(self.recent_from.load(Ordering::Acquire))
    }

    /// Tells look-ups that begin from now on that ids below a place are about to leave the window.
    pub(crate) fn leave(&self, recent_from: Place) {
        self.recent_from.store(recent_from.get(), Ordering::Release);
    }

    pub(crate) fn sealed(&self) -> Arc<SealedIds> {
        self.sealed.read().clone()
    }

    /// Bytes of memory of the filters and fences of all runs.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.sealed().runs.iter().map(|run| run.memory_bytes()).sum()
    }

    /// Puts the ids of one segment more, or the same in other runs, in the place of those before.
    pub(crate) fn replace(&self, sealed: SealedIds) {
        *self.sealed.write() = Arc::new(sealed);
    }

    /// Takes the runs that could not be read.
    pub(crate) fn take_damaged(&self) -> Vec<RunEntry> {
        std::mem::take(&mut *self.damaged.lock())
    }

    /// The rows of known members that may be kept in sealed history, below `until` and not below what `look_up` has seen.
    /// None for events of the present: their instants are after all that has left the window.
    pub(crate) fn suspects(
        &self,
        batch: &EventBatch,
        members: &[Option<MemberRef>],
        (look_up, until): (&LookUp, Place),
    ) -> Suspects {
        let (sealed, since) = (self.sealed(), look_up.until);
        let mut rows = Vec::new();
        if let Some(greatest) = sealed.greatest_below(until) {
            let of_any_content = self.key.is_by_id_alone();
            for (row, (occurred_at, member)) in batch.instants().zip(members).enumerate() {
                let is_known = look_up.known.get(row) == Some(&true);
                // An event of a member that nobody knew below `until` is new.
                let may_be_kept = of_any_content || (occurred_at <= greatest && member.is_some());
                if may_be_kept && !is_known {
                    let digest = self.key.digest(look_up.own[row], batch.identity(row).1);
                    let occurred_at = (!of_any_content).then_some(occurred_at);
                    rows.push(Suspect { row, occurred_at, digest });
                }
            }
        }
        Suspects { rows, sealed, since, until }
    }

    /// Looks for suspects on disk and notes those that are kept. Blocks.
    ///
    /// # Errors
    /// [`LookUpError`]; the look-up is as it was.
    pub(crate) fn find(&self, suspects: Suspects, look_up: &mut LookUp) -> Result<(), LookUpError> {
        let Suspects { rows, sealed, since, until } = suspects;
        let may_hold = |entry: &&Arc<Entry>| {
            entry.first() < until
                && entry.last() >= since
                && rows.iter().any(|suspect| suspect.occurred_at.is_none_or(|at| entry.may_hold(at)))
        };
        if sealed.unindexed.iter().any(|entry| may_hold(&entry)) {
            return Err(LookUpError::Unindexed { segments: sealed.unindexed.len() });
        }
        let mut known = std::mem::take(&mut look_up.known);
        known.resize(look_up.own.len(), false);
        let found = sealed.runs.find(rows, (since, until), |row| known[row] = true);
        look_up.known = known;
        found.map_err(|(run, error)| {
            // The file is open, so whatever keeps from reading it is its own: it follows from the segments.
            self.damaged.lock().push(run);
            LookUpError::Read(error)
        })
    }
}
