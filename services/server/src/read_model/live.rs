//! The live views: one owner changes them, many read them, and they are replaced as a whole.

use std::sync::Arc;

use lastseen_event::Fact;
use lastseen_projections::Views;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::tasks;

/// Facts folded under one hold: a few microseconds.
const HELD_FACTS: usize = 16;
/// Facts folded before other threads get a turn on this core. What they need stays in the processor's caches meanwhile.
const TURN_FACTS: usize = 256;
/// Tries to look at the views between two holds of the fold, before the thread sleeps until it is woken up.
const TRIES: u32 = 256;
/// Pauses of the processor between two holds, so that a question that tries finds the views free.
const GAP_PAUSES: u32 = 8;

/// Views that many read and the fold thread alone changes.
pub(crate) type SharedViews = Arc<RwLock<Views>>;

/// The views that questions are asked of now. A reader keeps the views it took; a replacement is seen by the next.
pub(super) struct Live(RwLock<SharedViews>);

impl Live {
    pub(super) fn new(views: Views) -> Self {
        Self(RwLock::new(Arc::new(RwLock::new(views))))
    }

    pub(super) fn get(&self) -> SharedViews {
        self.0.read().clone()
    }

    /// Puts `views` in place and returns those before.
    pub(super) fn replace(&self, views: SharedViews) -> SharedViews {
        std::mem::replace(&mut self.0.write(), views)
    }
}

/// Holds views to look at them.
///
/// The fold holds them for microseconds, so trying again beats sleeping: a question that sleeps keeps the thread of its
/// neighbours, and waits for a core once more when it is woken up.
pub(super) fn hold(views: &RwLock<Views>) -> RwLockReadGuard<'_, Views> {
    for _ in 0..TRIES {
        if let Some(views) = views.try_read() {
            return views;
        }
        std::hint::spin_loop();
    }
    views.read()
}

/// Folds facts into views, a few under each hold.
pub(super) fn fold(views: &RwLock<Views>, facts: &[Fact]) {
    for (turn, facts) in facts.chunks(TURN_FACTS).enumerate() {
        if turn > 0 {
            tasks::give_way();
        }
        // Memory is waited for before the hold: a fold that loses its core while it holds the views keeps all waiting.
        views.read().touch(facts);
        for facts in facts.chunks(HELD_FACTS) {
            let mut held = views.write();
            held.apply_all(facts);
            RwLockWriteGuard::unlock_fair(held);
            (0..GAP_PAUSES).for_each(|_| std::hint::spin_loop());
        }
    }
}
