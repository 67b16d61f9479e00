//! Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Pause between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// The same where there is no end to wait for.
const PLAIN_EVERY_ENDLESS: Duration = Duration::from_mins(1);
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// Set once, by `--quiet`: nothing here is told.
static SILENCED: AtomicBool = AtomicBool::new(false);

/// From now on neither progress nor notices are told.
pub(crate) fn silence() {
    SILENCED.store(true, Ordering::Relaxed);
}

/// True if neither progress nor notices are told.
pub(crate) fn is_silenced() -> bool {
    SILENCED.load(Ordering::Relaxed)
}

/// The progress of a command, told to its user.
pub(crate) struct Progress {
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    unit: &'static str,
    plain_every: Duration,
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

    /// Of input of so many bytes; `None` if its end is not known. Redraws itself while nothing comes.
    pub(crate) fn of_stream(bytes: Option<u64>) -> Self {
        let progress = match bytes {
            Some(_) => Self::new("bytes", "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left  {msg}"),
            None => Self::new("bytes", "{spinner} {bytes} {bytes_per_sec}  {msg}"),
        };
        progress.ticking(bytes)
    }

    /// Of so many rows, about; `None` if that is not known. Redraws itself while nothing comes.
    pub(crate) fn of_rows(rows: Option<u64>) -> Self {
        let progress = match rows {
            Some(_) => Self::new("rows", "{bar:30} {human_pos}/{human_len} {eta} left  {msg}"),
            None => Self::new("rows", "{spinner} {msg}"),
        };
        progress.ticking(rows)
    }

    /// Of a span of so many milliseconds of simulated time.
    pub(crate) fn of_span(ms: u64) -> Self {
        Self::new("ms", "{bar:30} {percent}% {eta} left  {msg}").ticking(Some(ms))
    }

    /// Of something that never ends by itself.
    pub(crate) fn endless() -> Self {
        Self { plain_every: PLAIN_EVERY_ENDLESS, ..Self::new("", "{spinner} {msg}").ticking(None) }
    }

    fn new(unit: &'static str, template: &str) -> Self {
        let bar = (std::io::stderr().is_terminal() && !is_silenced()).then(|| {
            let style = ProgressStyle::with_template(template).expect("the template is well formed");
            ProgressBar::new(0).with_style(style)
        });
        Self { bar, unit, plain_every: PLAIN_EVERY, told: Instant::now() }
    }

    fn ticking(self, total: Option<u64>) -> Self {
        if let Some(bar) = &self.bar {
            total.map_or_else(|| bar.unset_length(), |total| bar.set_length(total));
            bar.enable_steady_tick(REDRAW_EVERY);
        }
        self
    }

    /// `done` of `total`.
    pub(crate) fn show(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
        let unit = self.unit;
        self.tell(done, String::new, || format!("{done} of {total} {unit}"));
    }

    /// `done` of the total that is known, with a message beside the bar; `plain` is the whole line where there is no bar,
    /// and asked for only when it is time for one.
    pub(crate) fn tell(
        &mut self,
        done: u64,
        message: impl FnOnce() -> String,
        plain: impl FnOnce() -> String,
    ) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(message());
        } else if self.told.elapsed() >= self.plain_every && !is_silenced() {
            self.told = Instant::now();
            eprintln!("{}", plain());
        }
    }

    /// Says something between two states of the bar.
    pub(crate) fn notice(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None if is_silenced() => {}
            None => eprintln!("{text}"),
        }
    }

    /// Makes room for the result.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Returns the time that the rest takes if it goes on as before; `done` must not be 0.
pub(crate) fn time_left(elapsed: Duration, done: u64, total: u64) -> Duration {
    let left_s = u128::from(elapsed.as_secs()) * u128::from(total.saturating_sub(done)) / u128::from(done);
    Duration::from_secs(u64::try_from(left_s).unwrap_or(u64::MAX))
}
