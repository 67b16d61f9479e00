//! The common part of commands that send batches: a thread that makes the next batch while the current one is
//! on its way, and the loop that deals with them until there are no more or a signal comes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;

use crate::Outcome;
use crate::signals::Interrupt;

/// Batches that wait between the two.
pub(crate) const QUEUE_BATCHES: usize = 1;
/// The time for which a signal may go unnoticed while a batch is made.
const POLL: Duration = Duration::from_millis(100);

/// A message of a reader.
pub(crate) enum Message<B> {
    Batch(B),
    /// It cannot go on; everything before was in a batch.
    Failed(anyhow::Error),
}

/// Why a reader ends before its input does.
pub(crate) enum Stop {
    /// The other end of the queue is gone: the command has ended.
    NobodyListens,
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl<B> From<SendError<Message<B>>> for Stop {
    fn from(_: SendError<Message<B>>) -> Self {
        Self::NobodyListens
    }
}

/// The reader's end of the queue of batches.
pub(crate) struct Batches<B>(SyncSender<Message<B>>);

impl<B> Batches<B> {
    /// Waits for room.
    ///
    /// # Errors
    /// [`Stop::NobodyListens`].
    pub(crate) fn send(&self, batch: B) -> Result<(), Stop> {
        Ok(self.0.send(Message::Batch(batch))?)
    }
}

/// Reads on a thread of its own.
///
/// # Errors
/// The operating system's error about the thread.
pub(crate) fn start<B: Send + 'static>(
    read: impl FnOnce(Batches<B>) -> Result<(), Stop> + Send + 'static,
) -> io::Result<Receiver<Message<B>>> {
    let (sender, messages) = sync_channel(QUEUE_BATCHES);
    thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let batches = Batches(sender.clone());
        // An end that nobody reached must not look like that of the input.
        let read = catch_unwind(AssertUnwindSafe(|| read(batches)));
        let failed = match read {
            Ok(Ok(()) | Err(Stop::NobodyListens)) => return,
            Ok(Err(Stop::Failed(error))) => error,
            Err(_) => anyhow!("the thread that reads panicked"),
        };
        // Whether somebody listens or not, this was the last word.
        let _ = sender.send(Message::Failed(failed));
    })?;
    Ok(messages)
}

/// The end of sending, failures apart.
pub(crate) enum Ended {
    AtTheEnd,
    Interrupted,
}

impl Ended {
    /// Returns the outcome of the command, after so much was refused.
    pub(crate) fn outcome(self, refused: u64) -> Outcome {
        match self {
            Self::AtTheEnd if refused > 0 => Outcome::Findings,
            Self::AtTheEnd => Outcome::Done,
            Self::Interrupted => Outcome::Interrupted,
        }
    }
}

/// Calls `deal` with each thing that was made, and with `None` while nothing comes, until no more can come, a signal has come, or
/// `deal` was interrupted.
///
/// # Errors
/// The error of `deal`.
pub(crate) fn take_all<T>(
    made: &Receiver<T>,
    interrupt: &Interrupt,
    mut deal: impl FnMut(Option<T>) -> anyhow::Result<Ended>,
) -> anyhow::Result<Ended> {
    loop {
        let next = match made.recv_timeout(POLL) {
            Err(RecvTimeoutError::Disconnected) => return Ok(Ended::AtTheEnd),
            _ if interrupt.is_set() => return Ok(Ended::Interrupted),
            Ok(thing) => Some(thing),
            Err(RecvTimeoutError::Timeout) => None,
        };
        if let Ended::Interrupted = deal(next)? {
            return Ok(Ended::Interrupted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_reader_is_no_end_of_the_input() {
        let messages = start(|batches| {
            batches.send(1)?;
            panic!("on purpose");
        });
        let messages: Vec<Message<i32>> = messages.unwrap().into_iter().collect();
        assert!(matches!(messages.as_slice(), [Message::Batch(1), Message::Failed(_)]));
        let messages = start(|batches| batches.send(1));
        let messages: Vec<Message<i32>> = messages.unwrap().into_iter().collect();
        assert!(matches!(messages.as_slice(), [Message::Batch(1)]));
    }
}
