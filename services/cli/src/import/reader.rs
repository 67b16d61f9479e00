//! The thread that reads ahead: files in, batches out. It ends when nobody takes its batches any more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread;

use anyhow::Context;
use lastseen_event::limits::EVENT_BYTES_MAX;

use crate::input;
use crate::lines::{Line, Lines};
use crate::upload::BODY_BYTES_MAX;

/// Batches that wait between the reader and the sender.
const QUEUE_BATCHES: usize = 1;

/// What the reader has to say.
pub(super) enum Message {
    Batch(Batch),
    /// A file cannot be read any further; every line before it was in a batch.
    Failed(anyhow::Error),
}

/// The lines of one request and where they came from.
#[derive(Default)]
pub(super) struct Batch {
    /// NDJSON; empty if every line of the batch was too long.
    pub(super) body: Vec<u8>,
    /// Origin of the events in `body`, by their index.
    pub(super) origins: Vec<Origin>,
    /// Lines that are refused without asking the server.
    pub(super) too_long: Vec<Origin>,
    /// Bytes of all files read when the batch was complete.
    pub(super) bytes_read: u64,
}

/// A line of one of the files.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    /// Which file of the command line, from 0.
    pub(super) file: usize,
    /// Which line of it, from 1.
    pub(super) line: u64,
}

/// Starts reading `files` in order, into batches of at most `batch_events` events.
pub(super) fn start(files: Vec<PathBuf>, batch_events: usize) -> io::Result<Receiver<Message>> {
    let (batches, messages) = sync_channel(QUEUE_BATCHES);
    let reader = Reader { batches, batch_events, batch: Batch::default(), bytes_read: Arc::default() };
    thread::Builder::new().name("reader".to_owned()).spawn(move || reader.read_all(&files))?;
    Ok(messages)
}

struct Reader {
    batches: SyncSender<Message>,
    batch_events: usize,
    batch: Batch,
    bytes_read: Arc<AtomicU64>,
}

/// The other end of the queue is gone: the import has ended.
struct NobodyListens;

impl From<SendError<Message>> for NobodyListens {
    fn from(_: SendError<Message>) -> Self {
        Self
    }
}

impl Reader {
    fn read_all(mut self, files: &[PathBuf]) {
        for (index, file) in files.iter().enumerate() {
            match self.read(index, file) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let _ = self.flush().and_then(|()| Ok(self.batches.send(Message::Failed(error))?));
                    return;
                }
                Err(NobodyListens) => return,
            }
        }
        let _ = self.flush();
    }

    fn read(&mut self, index: usize, file: &Path) -> Result<anyhow::Result<()>, NobodyListens> {
        let input = match input::open(file, &self.bytes_read) {
            Ok(input) => input,
            Err(error) => return Ok(Err(error).with_context(|| format!("cannot read {}", file.display()))),
        };
        let mut lines = Lines::new(input);
        loop {
            match lines.read_into(&mut self.batch.body) {
                Ok(Some(line)) => {
                    let origin = Origin { file: index, line: lines.number };
                    match line {
                        Line::Event => self.batch.origins.push(origin),
                        Line::TooLong => self.batch.too_long.push(origin),
                        Line::Blank => {}
                    }
                }
                Ok(None) => return Ok(Ok(())),
                Err(error) => {
                    let place = || format!("cannot read {} after line {}", file.display(), lines.number);
                    return Ok(Err(error).with_context(place));
                }
            }
            if self.batch.is_full(self.batch_events) {
                self.flush()?;
            }
        }
    }

    fn flush(&mut self) -> Result<(), NobodyListens> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.bytes_read = self.bytes_read.load(Ordering::Relaxed);
        self.batch.body.reserve(batch.body.len());
        Ok(self.batches.send(Message::Batch(batch))?)
    }
}

impl Batch {
    /// Whether the next line might be one too many.
    fn is_full(&self, events_max: usize) -> bool {
        self.origins.len() + self.too_long.len() >= events_max
            || self.body.len() + EVENT_BYTES_MAX >= BODY_BYTES_MAX
    }
}
