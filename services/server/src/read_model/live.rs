//! The live views: one owner changes them, many read them, and they are replaced as a whole.

use std::sync::Arc;

use lastseen_projections::Views;
use parking_lot::RwLock;

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
