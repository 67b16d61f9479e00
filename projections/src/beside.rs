//! Two things at once, where there is enough to do for two processors.

use std::thread;

/// What both give: the first on a thread of its own, the other here.
pub(crate) fn side_by_side<A: Send, B>(aside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let running = scope.spawn(aside);
        let here = here();
        (running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), here)
    })
}
