//! Health of the threads beside the log: a thread that ended by itself, work that keeps failing.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use lastseen_event::UtcInstant;
use lastseen_store::Clock;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::tasks;

/// A part that does not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standstill {
    /// Its stable name, such as `fold`.
    pub(crate) part: &'static str,
    /// The server's clock when it stopped.
    pub(crate) since: UtcInstant,
    /// Words for people, without data of users.
    pub(crate) cause: String,
    /// True if the part is to be restarted; else it tries again by itself.
    pub(crate) is_final: bool,
}

/// The parts that stand still, shared by all threads that report.
#[derive(Clone)]
pub(crate) struct Health(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    /// By part.
    standstills: Mutex<BTreeMap<&'static str, Standstill>>,
    /// Set while the server stops: threads end then.
    closing: AtomicBool,
}

/// Reports its part when it is dropped, unless the server stops: a panic drops it as well.
struct Running {
    health: Health,
    part: &'static str,
}

impl Health {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { clock, standstills: Mutex::default(), closing: AtomicBool::new(false) }))
    }

    /// Starts a named thread whose end is reported. The receiver resolves when it ends.
    ///
    /// # Errors
    /// The operating system's answer.
    pub(crate) fn thread(
        &self,
        part: &'static str,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<(JoinHandle<()>, oneshot::Receiver<()>)> {
        let running = Running { health: self.clone(), part };
        tasks::thread(part, move || {
            let _running = running;
            run();
        })
    }

    /// Notes that an attempt of a part failed, and that it tries again. A part that has ended stays so.
    pub(crate) fn failed(&self, part: &'static str, cause: String) {
        self.note(part, cause, false);
    }

    fn note(&self, part: &'static str, cause: String, is_final: bool) {
        let now = self.0.clock.now();
        let mut standstills = self.0.standstills.lock();
        let new = Standstill { part, since: now, cause: cause.clone(), is_final };
        let standstill = standstills.entry(part).or_insert(new);
        if !standstill.is_final {
            (standstill.cause, standstill.is_final) = (cause, is_final);
        }
    }

    /// Notes that a part works again.
    pub(crate) fn clear(&self, part: &'static str) {
        self.0.standstills.lock().remove(part);
    }

    /// Threads end from now on because they are told to.
    pub(crate) fn closing(&self) {
        self.0.closing.store(true, Ordering::Release);
    }

    /// True once threads are told to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::Acquire)
    }

    pub(crate) fn standstills(&self) -> Vec<Standstill> {
        self.0.standstills.lock().values().cloned().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.health.is_closing() {
            let ended = if std::thread::panicking() { "its thread panicked" } else { "its thread ended" };
            tracing::error!(part = self.part, "{ended}");
            self.health.note(self.part, ended.to_owned(), true);
        }
    }
}

#[cfg(test)]
mod tests {
    use lastseen_store::SystemClock;

    use super::*;

    #[test]
    fn a_thread_that_panics_or_ends_by_itself_stands_still_and_one_that_is_told_to_end_does_not() {
        let health = Health::new(Arc::new(SystemClock));
        let (panics, _) = health.thread("panics", || panic!("on purpose")).unwrap();
        assert!(panics.join().is_err());
        let (ends, _) = health.thread("ends", || {}).unwrap();
        ends.join().unwrap();
        let found: Vec<_> = health.standstills().into_iter().map(|it| (it.part, it.cause)).collect();
        let expected = [("ends", "its thread ended"), ("panics", "its thread panicked")];
        assert_eq!(found, expected.map(|(part, cause)| (part, cause.to_owned())));

        let health = Health::new(Arc::new(SystemClock));
        health.closing();
        health.thread("told", || {}).unwrap().0.join().unwrap();
        assert_eq!(health.standstills(), []);
    }

    #[test]
    fn a_standstill_keeps_its_beginning_and_goes_when_the_part_works_again() {
        let health = Health::new(Arc::new(SystemClock));
        health.failed("rebuilds", "first".to_owned());
        let since = health.standstills()[0].since;
        health.failed("rebuilds", "second".to_owned());
        let standstill = &health.standstills()[0];
        assert_eq!((standstill.since, standstill.cause.as_str()), (since, "second"));
        assert!(!standstill.is_final);
        health.clear("rebuilds");
        assert_eq!(health.standstills(), []);
    }
}
