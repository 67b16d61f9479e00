//! The load generator: connections in a closed loop on one thread, each with a request always under way.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::latency::Latencies;
use super::workload::Requests;

/// The result of a measurement.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) latencies: Latencies,
    pub(crate) elapsed: Duration,
}

impl Load {
    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Sends what each of `connections` has to send, one request after the other, until it has no more or `go_on` says no.
pub(crate) fn drive<R: Requests + 'static>(
    address: &str,
    connections: Vec<R>,
    go_on: impl Fn(Instant) -> bool + Send + Sync + 'static,
) -> Load {
    let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
    let go_on = Arc::new(go_on);
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        for requests in connections {
            tasks.spawn(send_all(address.to_owned(), requests, Arc::clone(&go_on)));
        }
        let mut all = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            all.extend(ended.expect("a task does not panic").expect("the server answers 200"));
        }
        Load { latencies: Latencies::new(all), elapsed: started.elapsed() }
    })
}

async fn send_all<R: Requests>(
    address: String,
    mut requests: R,
    go_on: Arc<impl Fn(Instant) -> bool>,
) -> io::Result<Vec<Duration>> {
    let mut connection = Connection::open(&address).await?;
    let mut latencies = Vec::new();
    while let Some(request) = requests.next() {
        let sent = Instant::now();
        connection.round_trip(request).await?;
        let answered = Instant::now();
        latencies.push(answered - sent);
        if !go_on(answered) {
            break;
        }
    }
    Ok(latencies)
}

/// Goes on for `span` from now.
pub(crate) fn lasting(span: Duration) -> impl Fn(Instant) -> bool + Send + Sync + 'static {
    let deadline = Instant::now() + span;
    move |now| now < deadline
}
