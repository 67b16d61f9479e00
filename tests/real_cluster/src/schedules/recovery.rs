//! Times from an accident to the next success of an append that was begun after it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// All times of this run, by kind of accident.
static ALL: Mutex<BTreeMap<&'static str, Vec<Duration>>> = Mutex::new(BTreeMap::new());

/// The times of one schedule.
#[derive(Default)]
pub(crate) struct Recoveries {
    open: Mutex<Option<(&'static str, Instant)>>,
    ended: Mutex<Vec<(&'static str, Duration)>>,
}

/// The beginning of an append.
#[derive(Clone, Copy)]
pub(crate) struct Attempt(Instant);

impl Attempt {
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }
}

impl Recoveries {
    /// An accident happened. One that follows before a success counts from the first of its kind.
    pub(crate) fn begin(&self, kind: &'static str) {
        let mut open = self.open.lock();
        if open.is_none_or(|(before, _)| before != kind) {
            *open = Some((kind, Instant::now()));
        }
    }

    pub(crate) fn succeeded(&self, attempt: Attempt) {
        let mut open = self.open.lock();
        if let Some((kind, since)) = *open
            && attempt.0 >= since
        {
            *open = None;
            self.ended.lock().push((kind, since.elapsed()));
        }
    }

    /// True if an append has succeeded since the last accident.
    pub(crate) fn is_over(&self) -> bool {
        self.open.lock().is_none()
    }

    /// Adds the times to those of the run.
    pub(crate) fn tell(&self) {
        let mut all = ALL.lock();
        for (kind, time) in self.ended.lock().drain(..) {
            all.entry(kind).or_default().push(time);
        }
    }

    /// The distribution of all times of the run, a line for each kind of accident.
    pub(crate) fn lines() -> Vec<String> {
        let line = |(kind, times): (&&str, &mut Vec<Duration>)| {
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_millis();
            let [least, half, most, greatest] = [at(0), at(50), at(90), at(100)];
            format!(
                "{kind}: {} times, least {least} ms, half within {half} ms, 90 % within {most} ms, all within {greatest} ms",
                times.len()
            )
        };
        ALL.lock().iter_mut().map(line).collect()
    }
}
