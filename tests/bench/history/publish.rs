//! Publishes what simulated users did in the past.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lastseen::population::{Population as Simulated, Timeline};
use lastseen_tests::wait_until_sealed;

use crate::harness::load::drive;
use crate::harness::workload::{Requests, post};
use crate::serve;

const CONNECTIONS: usize = 4;
const REQUEST_EVENTS: u64 = 5_000;
/// Requests that wait between the thread that makes them and the connections.
const QUEUE: usize = 8;

/// Publishes the past of `population` into the empty directory `data` and seals all of it; how many events that was, and how
/// long it took until the last answer.
pub(crate) fn publish(population: &Arc<Simulated>, data: &Path) -> (u64, Duration) {
    let server = serve(data, &[]);
    let (made, requests) = sync_channel(QUEUE);
    let mut timeline = Timeline::new(Arc::clone(population));
    let maker = thread::spawn(move || {
        let mut events = 0;
        while let Some((request, count)) = next_request(&mut timeline) {
            made.send(request).expect("the connections take all of them");
            events += count;
        }
        events
    });
    let requests = Arc::new(Mutex::new(requests));
    let connections = (0..CONNECTIONS).map(|_| Made { requests: Arc::clone(&requests), current: Vec::new() });
    let address = server.url().trim_start_matches("http://");
    let load = drive(address, connections.collect(), |_| true);
    let events = maker.join().expect("making requests does not panic");
    assert_eq!(server.client().ask("/v1/summary")["position"], events, "all of it is new");
    assert_eq!(server.terminate().code, Some(0));
    // What is not old enough for the usual options is sealed too, so that other tools read all of it.
    let server = serve(data, &["--segment-age", "1ms"]);
    wait_until_sealed(data, events);
    assert_eq!(server.terminate().code, Some(0));
    (events, load.elapsed)
}

/// The next request and its number of events; `None` where the past ends.
fn next_request(timeline: &mut Timeline) -> Option<(Vec<u8>, u64)> {
    let until = timeline.population().plan().until;
    let (mut body, mut events) = (Vec::new(), 0);
    while events < REQUEST_EVENTS
        && let Some(occurrence) = timeline.next_until(until)
    {
        timeline.population().encode(&occurrence, &mut body);
        events += 1;
    }
    (events > 0).then(|| (post("application/x-ndjson", &body), events))
}

/// The share of the requests that one connection takes.
struct Made {
    requests: Arc<Mutex<Receiver<Vec<u8>>>>,
    current: Vec<u8>,
}

impl Requests for Made {
    fn next(&mut self) -> Option<&[u8]> {
        self.current = self.requests.lock().expect("nobody panics holding this").recv().ok()?;
        Some(&self.current)
    }
}
