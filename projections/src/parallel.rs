//! Two computations on two processors, for work that is worth a thread.

use std::thread;

/// Runs `aside` on a thread of its own and `here` on this one; returns both results.
///
/// # Panics
/// If one of them does.
pub(crate) fn join<A: Send, B>(aside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let running = scope.spawn(aside);
        let here = here();
        (running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), here)
    })
}
