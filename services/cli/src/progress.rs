//! Progress of work on files: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Pause between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// How far a command is.
pub(crate) struct Progress {
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    unit: &'static str,
    told: Instant,
}

impl Progress {
    /// Of so many bytes.
    pub(crate) fn of_bytes() -> Self {
        Self::new("bytes", "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left")
    }

    /// Of so many events.
    pub(crate) fn of_events() -> Self {
        Self::new("events", "{bar:30} {human_pos}/{human_len} events {per_sec} {eta} left")
    }

    /// Of so many files.
    pub(crate) fn of_files() -> Self {
        Self::new("files", "{bar:30} {pos}/{len} files {per_sec} {eta} left")
    }

    fn new(unit: &'static str, template: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(template).expect("the template is well formed");
            ProgressBar::new(0).with_style(style)
        });
        Self { bar, unit, told: Instant::now() }
    }

    /// `done` of `total`.
    pub(crate) fn show(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        } else if self.told.elapsed() >= PLAIN_EVERY {
            self.told = Instant::now();
            eprintln!("{done} of {total} {}", self.unit);
        }
    }

    /// Makes room for the result.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
