//! Catch-up subscription: history from a position, then live, with no gap and no repeat between the two. Both
//! are the same cursor, so a slow reader falls behind and never misses anything.

use lastseen_event::Position;

use crate::{Detail, EventReader, EventStore, ReadError, RecordedBatch, Tail};

/// Reads on from a position for as long as the store is open.
#[derive(Debug)]
pub struct Subscription<R> {
    reader: R,
    tail: Tail,
    reached: Position,
}

impl<R: EventReader> Subscription<R> {
    /// Events of `store` above `after`.
    pub fn new<S: EventStore<Reader = R>>(store: &S, after: Position, detail: Detail) -> Self {
        Self { reader: store.read(after, detail), tail: store.tail(), reached: after }
    }

    /// The next events; waits for them at the tail. `None` once the store is closed and everything was read.
    /// Reading blocks the calling thread on I/O.
    ///
    /// # Errors
    /// [`ReadError`], as from the store's reader.
    pub async fn next(&mut self) -> Result<Option<RecordedBatch>, ReadError> {
        loop {
            if let Some(batch) = self.reader.next_batch()? {
                self.reached = batch.reached;
                return Ok(Some(batch));
            }
            if !self.tail.wait_past(self.reached).await {
                return self.reader.next_batch();
            }
        }
    }
}
