//! Catch-up subscription: history from a position, then live, with no gap and no repeat between the two. Both are the same
//! cursor, so a slow reader falls behind and never misses anything.

use std::panic::resume_unwind;
use std::sync::Arc;

use lastseen_event::Position;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{Detail, EventReader, EventStore, ReadError, RecordedBatch, Tail};

/// The outcome of a step of a cursor.
type Read = Result<Option<RecordedBatch>, ReadError>;

/// Reads on from a position for as long as the store is open. Waiting for events costs nothing; those that have just been
/// appended are read where it runs, without I/O; older ones on a thread of the runtime for work that blocks.
pub struct Subscription {
    /// `None` while it is away.
    reader: Option<Box<dyn EventReader>>,
    /// The cursor on another thread. Whoever gives up waiting leaves it there, and the next call takes it back.
    away: Option<JoinHandle<(Box<dyn EventReader>, Read)>>,
    tail: Tail,
    reached: Position,
}

impl Subscription {
    /// Events of `store` above `after`.
    pub fn new(store: &dyn EventStore, after: Position, detail: Detail) -> Self {
        Self { reader: Some(store.read(after, detail)), away: None, tail: store.tail(), reached: after }
    }

    /// The next events; waits for them at the tail. `None` once the store is closed and everything was read, or the runtime
    /// shuts down. Blocks no thread of the runtime; a call that is dropped loses nothing.
    ///
    /// # Errors
    /// [`ReadError`], as from the store's reader.
    ///
    /// # Panics
    /// Outside of a tokio runtime, and if the store's reader does.
    pub async fn next(&mut self) -> Result<Option<Arc<RecordedBatch>>, ReadError> {
        loop {
            if let Some(reading) = &mut self.away {
                let ended = reading.await;
                self.away = None;
                let read = match ended {
                    Ok((reader, read)) => {
                        self.reader = Some(reader);
                        read?
                    }
                    Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                    Err(_) => None,
                };
                if let Some(batch) = read {
                    return Ok(Some(self.reach(Arc::new(batch))));
                }
            }
            let Some(reader) = &mut self.reader else { return Ok(None) };
            if self.tail.position() <= self.reached {
                if !self.tail.wait_past(self.reached).await {
                    return Ok(None);
                }
            } else if let Some(batch) = reader.next_recent() {
                return Ok(Some(self.reach(batch)));
            } else {
                self.away = self.reader.take().map(|mut reader| {
                    spawn_blocking(move || {
                        let read = reader.next_batch();
                        (reader, read)
                    })
                });
            }
        }
    }

    fn reach(&mut self, batch: Arc<RecordedBatch>) -> Arc<RecordedBatch> {
        self.reached = batch.reached;
        batch
    }
}
