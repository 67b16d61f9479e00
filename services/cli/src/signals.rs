//! SIGINT (^C) and SIGTERM: the first asks a command to stop in order, the second stops it at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code that a shell reports for a command that ^C stopped.
pub(crate) const EXIT_CODE: u8 = 130;
/// The same where whoever read its output has gone.
pub(crate) const BROKEN_PIPE_EXIT_CODE: i32 = 141;

/// The time for which a signal may go unnoticed during a sleep.
const POLL: Duration = Duration::from_millis(50);

/// Both signals; from its creation on, neither ends the process by itself.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Starts to listen. Must be called within a tokio runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next of either; its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Set once the first signal has come: for blocking code, which looks between two steps.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens on a thread of its own. The second signal exits the process with [`EXIT_CODE`].
    pub(crate) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let mut signals = {
            let _context = runtime.enter();
            Signals::listen()?
        };
        let interrupted = Self(Arc::default());
        let flag = interrupted.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                signals.next().await;
                flag.0.store(true, Ordering::Relaxed);
                signals.next().await;
                std::process::exit(i32::from(EXIT_CODE));
            });
        })?;
        Ok(interrupted)
    }

    /// True if a signal has come.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
    /// Sleeps. Returns true if a signal cut the sleep short.
    pub(crate) fn sleep(&self, span: Duration) -> bool {
        let until = Instant::now() + span;
        loop {
            if self.is_set() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::sleep(left.min(POLL));
        }
    }
}
