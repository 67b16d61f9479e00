//! The one place that starts tasks and threads, so that none is started unseen.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{JoinHandle, ScopedJoinHandle};

use tokio::sync::oneshot;

/// Starts a named thread. The receiver resolves when it ends, however it does.
///
/// # Errors
/// The operating system's answer.
pub(crate) fn thread(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<(JoinHandle<()>, oneshot::Receiver<()>)> {
    let (running, ended) = oneshot::channel::<()>();
    let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Dropped on the way out, by a panic too.
        let _running = running;
        run();
    })?;
    Ok((handle, ended))
}

/// A runtime whose tasks run on the thread that waits for them.
///
/// # Errors
/// The operating system's answer.
pub(crate) fn runtime_of_one_thread() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build()
}

/// Runs `aside` on a thread of its own and `here` on this one. Returns both results.
pub(crate) fn join<A: Send, B>(aside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let running = scope.spawn(aside);
        let here = here();
        (running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), here)
    })
}

/// Calls each of `producers` on a thread of its own until it has no more, and `consume` here with each thing they gave, a few
/// behind. Those of one producer come in its order.
///
/// # Errors
/// The error of a producer; everything it gave before was consumed.
pub(crate) fn gather<T: Send, E: Send, P: FnMut() -> Result<Option<T>, E> + Send>(
    producers: impl IntoIterator<Item = P>,
    mut consume: impl FnMut(T),
) -> Result<(), E> {
    /// Produced and not consumed yet.
    const AHEAD: usize = 4;
    let (sender, produced) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        let start = |produce| {
            let sender = sender.clone();
            scope.spawn(move || produce_all(produce, &sender))
        };
        let running: Vec<_> = producers.into_iter().map(start).collect();
        drop(sender);
        for thing in produced {
            consume(thing);
            give_way();
        }
        let mut ended = running.into_iter().map(ScopedJoinHandle::join);
        ended.try_for_each(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn produce_all<T, E>(
    mut produce: impl FnMut() -> Result<Option<T>, E>,
    sender: &SyncSender<T>,
) -> Result<(), E> {
    while let Some(thing) = produce()? {
        if sender.send(thing).is_err() {
            break;
        }
        give_way();
    }
    Ok(())
}

/// Lets other threads run on this core. Long work calls it between its steps, while it holds no lock: a thread that
/// wakes up to answer a request or to make an append durable then waits for one step, not for a slice of the scheduler.
pub(crate) fn give_way() {
    std::thread::yield_now();
}

/// Starts a task that ends by itself.
#[expect(clippy::disallowed_methods, reason = "the one place where tasks start")]
pub(crate) fn task(run: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(run));
}

/// Starts the tasks that hyper asks for: one a stream of HTTP/2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tasks;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, run: F) {
        task(run);
    }
}

/// Runs blocking or long work away from the threads that answer queries.
///
/// # Panics
/// If `work` panics.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
