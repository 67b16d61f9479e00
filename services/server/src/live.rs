//! The views that questions are asked of: one owner changes them, many read them, and they are replaced as a whole.

use std::sync::Arc;

use lastseen_projections::Views;
use parking_lot::RwLock;

/// Views that are shared: read by many, changed by the fold thread alone.
pub(crate) type SharedViews = Arc<RwLock<Views>>;

/// The views that questions are asked of now. They are replaced as a whole: whoever has some goes on with them, so that no
/// answer is made of two.
pub(crate) struct Live(RwLock<SharedViews>);

impl Live {
    pub(crate) fn new(views: Views) -> Self {
        Self(RwLock::new(Arc::new(RwLock::new(views))))
    }

    pub(crate) fn get(&self) -> SharedViews {
        self.0.read().clone()
    }

    /// Puts others in their place; those before.
    pub(crate) fn replace(&self, views: SharedViews) -> SharedViews {
        std::mem::replace(&mut self.0.write(), views)
    }
}
