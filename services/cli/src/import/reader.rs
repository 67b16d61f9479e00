//! The thread that reads ahead: files in, batches out. It ends when nobody takes its batches any more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use anyhow::Context;
use lastseen_event::limits::EVENT_BYTES_MAX;

use crate::ahead::{self, Batches, Message, Stop};
use crate::input;
use crate::lines::{Line, Lines};
use crate::upload::BODY_BYTES_MAX;

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
    /// The number of the file on the command line, from 0.
    pub(super) file: usize,
    /// The number of the line in it, from 1.
    pub(super) line: u64,
}

/// Starts reading `files` in order, into batches of at most `batch_events` events.
pub(super) fn start(files: Vec<PathBuf>, batch_events: usize) -> io::Result<Receiver<Message<Batch>>> {
    ahead::start(move |batches| {
        let reader = Reader { batches, batch_events, batch: Batch::default(), bytes_read: Arc::default() };
        reader.read_all(&files)
    })
}

struct Reader {
    batches: Batches<Batch>,
    batch_events: usize,
    batch: Batch,
    bytes_read: Arc<AtomicU64>,
}

impl Reader {
    fn read_all(mut self, files: &[PathBuf]) -> Result<(), Stop> {
        let read = files.iter().enumerate().try_for_each(|(index, file)| self.read(index, file));
        // Also what was read before a failure.
        self.flush()?;
        read
    }

    fn read(&mut self, index: usize, file: &Path) -> Result<(), Stop> {
        let input = input::open(file, &self.bytes_read);
        let input = input.with_context(|| format!("cannot read {}", file.display()))?;
        let mut lines = Lines::new(input, EVENT_BYTES_MAX);
        loop {
            let line = lines.read_into(&mut self.batch.body);
            let place = || format!("cannot read {} after line {}", file.display(), lines.number);
            let Some(line) = line.with_context(place)? else { return Ok(()) };
            let origin = Origin { file: index, line: lines.number };
            match line {
                Line::Event => self.batch.origins.push(origin),
                Line::TooLong => self.batch.too_long.push(origin),
                Line::Blank => {}
            }
            if self.batch.is_full(self.batch_events) {
                self.flush()?;
            }
        }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.bytes_read = self.bytes_read.load(Ordering::Relaxed);
        self.batch.body.reserve(batch.body.len());
        self.batches.send(batch)
    }
}

impl Batch {
    /// True if the next line might be one too many.
    fn is_full(&self, events_max: usize) -> bool {
        self.origins.len() + self.too_long.len() >= events_max
            || self.body.len() + EVENT_BYTES_MAX >= BODY_BYTES_MAX
    }
}
