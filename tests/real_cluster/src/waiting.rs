//! Waits for conditions and futures, each with a deadline that ends the test.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// Longest wait for something that must come.
pub(crate) const WITHIN: Duration = Duration::from_mins(1);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut threads = Builder::new_multi_thread();
    threads.worker_threads(2).thread_name("suite").enable_all().build().unwrap()
});

/// Connections are made where there is a runtime: hold it while one is.
pub(crate) fn enter() -> tokio::runtime::EnterGuard<'static> {
    RUNTIME.enter()
}

/// Runs a future from a thread of a test.
#[track_caller]
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(async { tokio::time::timeout(WITHIN * 2, future).await.expect("it ends in time") })
}

/// Waits until something has happened.
#[track_caller]
pub(crate) fn until(what: &str, happened: impl FnMut() -> bool) {
    assert!(within(WITHIN, happened), "not within {WITHIN:?}: {what}");
}

/// Waits until something has happened, so long at most. True if it has.
pub(crate) fn within(limit: Duration, mut happened: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !happened() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}
