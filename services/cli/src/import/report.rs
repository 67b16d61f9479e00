//! The messages of an import to its user: a bar on a terminal, plain lines elsewhere, the refused lines and
//! the result. The result goes to stdout, everything else to stderr.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration};
use lastseen_event::FaultCode;
use lastseen_event::limits::EVENT_BYTES_MAX;

use super::reader::{Batch, Origin};
use crate::ahead::Ended;
use crate::progress::{Progress, time_left};
use crate::stdout::outln;
use crate::tally::Tally;
use crate::upload::{Answer, Fault};

/// Refused lines that are printed; the others are only counted.
const PRINTED_FAULTS_MAX: u64 = 20;

/// Counts and tells.
pub(super) struct Report {
    files: Vec<PathBuf>,
    bytes_total: Option<u64>,
    bytes_done: u64,
    tally: Tally,
    faults: u64,
    started: Instant,
    progress: Progress,
}

impl Report {
    pub(super) fn new(files: Vec<PathBuf>, bytes_total: Option<u64>) -> Self {
        Self {
            files,
            bytes_total,
            bytes_done: 0,
            tally: Tally::default(),
            faults: 0,
            started: Instant::now(),
            progress: Progress::of_stream(bytes_total),
        }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The server has dealt with the events of `batch`.
    pub(super) fn answered(&mut self, batch: &Batch, answer: &Answer) {
        self.tally.add(answer);
        for refused in &answer.refused {
            self.fault(batch.origins.get(refused.index).copied(), &refused.fault);
        }
    }

    /// Everything of `batch` is dealt with; its overlong lines are refused here.
    pub(super) fn read(&mut self, batch: &Batch) {
        for origin in &batch.too_long {
            self.tally.refused += 1;
            let detail = format!("expected at most {EVENT_BYTES_MAX} bytes on a line");
            let fault = Fault { code: FaultCode::TooLong.as_str().to_owned(), field: None, detail };
            self.fault(Some(*origin), &fault);
        }
        self.bytes_done = batch.bytes_read;
        self.tick();
    }

    /// Shows the progress if it is time to.
    pub(super) fn tick(&mut self) {
        let Self { bytes_total, bytes_done, tally, started, .. } = *self;
        self.progress.tell(
            bytes_done,
            || tally.to_string(),
            || plain_progress(tally, started.elapsed(), (bytes_done, bytes_total)),
        );
    }

    /// Says something between two states of the bar.
    pub(super) fn notice(&self, text: &str) {
        self.progress.notice(text);
    }

    /// The last words; an error itself is told by the caller.
    pub(super) fn finish(&self, ended: &anyhow::Result<Ended>) {
        self.progress.finish();
        if let Some(hidden) = self.faults.checked_sub(PRINTED_FAULTS_MAX).filter(|hidden| *hidden > 0) {
            eprintln!("... and {} more faults like these", HumanCount(hidden));
        }
        outln!("{}", self.tally.result(self.started.elapsed()));
        if !matches!(ended, Ok(Ended::AtTheEnd)) {
            eprintln!(
                "not done: the same command goes on from here; what is stored will count as duplicates"
            );
        }
    }

    fn fault(&mut self, origin: Option<Origin>, fault: &Fault) {
        self.faults += 1;
        if self.faults <= PRINTED_FAULTS_MAX {
            let line = origin.map_or_else(|| format!("?: {fault}"), |origin| self.locate(origin, fault));
            self.notice(&line);
        }
    }

    fn locate(&self, origin: Origin, fault: &Fault) -> String {
        format!("{}:{}: {fault}", self.files[origin.file].display(), origin.line)
    }
}

/// Such as `1,234,567 events, 45% of 14.62 MiB, 71,203 events/s, 12 seconds left`.
fn plain_progress(tally: Tally, elapsed: Duration, (done, total): (u64, Option<u64>)) -> String {
    let (events, rate) = (HumanCount(tally.events()), HumanCount(tally.rate(elapsed)));
    match total {
        Some(total) if total > 0 && done > 0 => {
            let (done, size) = (done.min(total), HumanBytes(total));
            let left = HumanDuration(time_left(elapsed, done, total));
            format!("{events} events, {}% of {size}, {rate} events/s, {left} left", done * 100 / total)
        }
        _ => format!("{events} events, {}, {rate} events/s", HumanBytes(done)),
    }
}
