//! What an import tells its user: a bar on a terminal, plain lines elsewhere, the refused lines and the result.
//! The result goes to stdout, everything else to stderr.

use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use lastseen_event::FaultCode;
use lastseen_event::limits::EVENT_BYTES_MAX;

use super::Ended;
use super::reader::{Batch, Origin};
use super::tally::Tally;
use super::upload::Answer;

/// Refused lines that are printed; the others are only counted.
const PRINTED_FAULTS_MAX: u64 = 20;
/// Pause between two plain lines of progress.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// Counts and tells.
pub(super) struct Report {
    files: Vec<PathBuf>,
    bytes_total: Option<u64>,
    bytes_done: u64,
    tally: Tally,
    faults: u64,
    started: Instant,
    told: Instant,
    /// Only on a terminal.
    bar: Option<ProgressBar>,
}

impl Report {
    pub(super) fn new(files: Vec<PathBuf>, bytes_total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(bytes_total));
        let (tally, now) = (Tally::default(), Instant::now());
        Self { files, bytes_total, bytes_done: 0, tally, faults: 0, started: now, told: now, bar }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The server has dealt with the events of `batch`.
    pub(super) fn answered(&mut self, batch: &Batch, answer: &Answer) {
        self.tally.stored += answer.stored;
        self.tally.duplicates += answer.duplicates;
        let mut last = None;
        for refused in &answer.refused {
            if last.replace(refused.index) != Some(refused.index) {
                self.tally.refused += 1;
            }
            let origin = batch.origins.get(refused.index).copied();
            let field = refused.field.as_deref();
            self.fault(origin, &Fault { code: &refused.code, field, detail: &refused.detail });
        }
    }

    /// Everything of `batch` is dealt with; its overlong lines are refused here.
    pub(super) fn read(&mut self, batch: &Batch) {
        for origin in &batch.too_long {
            self.tally.refused += 1;
            let detail = format!("expected at most {EVENT_BYTES_MAX} bytes on a line");
            let fault = Fault { code: FaultCode::TooLong.as_str(), field: None, detail: &detail };
            self.fault(Some(*origin), &fault);
        }
        self.bytes_done = batch.bytes_read;
        self.tick();
    }

    /// Shows the progress if it is time to.
    pub(super) fn tick(&mut self) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes_done);
            bar.set_message(self.tally.to_string());
        } else if self.told.elapsed() >= PLAIN_EVERY {
            self.told = Instant::now();
            eprintln!("{}", self.plain_progress());
        }
    }

    /// Says something between two states of the bar.
    pub(super) fn notice(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// The last words; an error itself is told by the caller.
    #[expect(clippy::print_stdout, reason = "the result of the command goes to stdout")]
    pub(super) fn finish(&self, ended: &anyhow::Result<Ended>) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some(hidden) = self.faults.checked_sub(PRINTED_FAULTS_MAX).filter(|hidden| *hidden > 0) {
            eprintln!("... and {} more faults like these", HumanCount(hidden));
        }
        let elapsed = self.started.elapsed();
        let seconds = elapsed.as_secs_f64();
        println!("{} in {seconds:.1} s ({} events/s)", self.tally, HumanCount(self.tally.rate(elapsed)));
        if !matches!(ended, Ok(Ended::AtTheEnd)) {
            eprintln!(
                "not done: the same command goes on from here; what is stored will count as duplicates"
            );
        }
    }

    fn fault(&mut self, origin: Option<Origin>, fault: &Fault<'_>) {
        self.faults += 1;
        if self.faults <= PRINTED_FAULTS_MAX {
            let line = origin.map_or_else(|| format!("?: {fault}"), |origin| self.locate(origin, fault));
            self.notice(&line);
        }
    }

    fn locate(&self, origin: Origin, fault: &Fault<'_>) -> String {
        format!("{}:{}: {fault}", self.files[origin.file].display(), origin.line)
    }

    /// Such as `1,234,567 events, 45% of 14.62 MiB, 71,203 events/s, 12 seconds left`.
    fn plain_progress(&self) -> String {
        let elapsed = self.started.elapsed();
        let (events, rate) = (HumanCount(self.tally.events()), HumanCount(self.tally.rate(elapsed)));
        match self.bytes_total {
            Some(total) if total > 0 && self.bytes_done > 0 => {
                let (done, size) = (self.bytes_done.min(total), HumanBytes(total));
                let left_s = u128::from(elapsed.as_secs()) * u128::from(total - done) / u128::from(done);
                let left = HumanDuration(Duration::from_secs(u64::try_from(left_s).unwrap_or(u64::MAX)));
                format!("{events} events, {}% of {size}, {rate} events/s, {left} left", done * 100 / total)
            }
            _ => format!("{events} events, {}, {rate} events/s", HumanBytes(self.bytes_done)),
        }
    }
}

/// As it stands behind the place: `code field: detail`.
struct Fault<'a> {
    code: &'a str,
    field: Option<&'a str>,
    detail: &'a str,
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)?;
        if let Some(field) = self.field {
            write!(f, " {field}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

fn bar(bytes_total: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes_total {
        Some(total) => {
            (ProgressBar::new(total), "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left  {msg}")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}  {msg}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    bar.set_style(style);
    bar.enable_steady_tick(REDRAW_EVERY);
    bar
}
