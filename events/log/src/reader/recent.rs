//! The part of the cursor in the last groups, which are in memory: no step of it does I/O.

use std::sync::Arc;

use lastseen_store::{Filter, RecordedBatch, Scan};

use crate::history::History;
use crate::history::ring::RecentFrame;
use crate::place::{Place, following};
use crate::wal::cursor::{Decoded, FrameCursor};

/// A frame of the ring and where the cursor is in it.
pub(super) struct OpenFrame {
    frame: Arc<RecentFrame>,
    cursor: FrameCursor,
}

impl OpenFrame {
    /// The frame with the record above `reached`. `None`: it is not among the last ones.
    pub(super) fn find(history: &History, reached: Place) -> Option<Self> {
        let frame = history.ring.of(following(reached))?;
        Some(Self { cursor: frame.cursor(), frame })
    }

    /// True if the record above `reached` is in the frame, and the cursor not behind it.
    pub(super) fn holds(&self, reached: Place) -> bool {
        let header = self.cursor.header();
        !self.cursor.is_at_end()
            && header.first_place <= following(reached)
            && following(reached) < header.end()
    }

    /// The next records that are above `reached`, not above `end`, and wanted. `None`: the frame cannot be read, and reading its
    /// file says why.
    pub(super) fn next(
        &mut self,
        history: &History,
        scan: &Scan,
        (reached, end): (Place, Place),
    ) -> Option<Decoded> {
        self.cursor.decode(self.frame.bytes(), (history.names(), scan), (reached, end)).ok()
    }

    /// The same for a scan of everything: decoded once for all that read on from `reached`. `None`: there is no such batch.
    pub(super) fn shared(
        &self,
        history: &History,
        scan: &Scan,
        reached: Place,
    ) -> Option<(Arc<RecordedBatch>, Place)> {
        let of_all = scan.until.is_none() && scan.filter == Filter::default();
        of_all.then(|| self.frame.shared(scan.detail, reached, history.names()))?
    }
}
