//! (8): the past beside events that change it: late ones, which occurred before the instant that is asked for.

use std::thread;
use std::time::{Duration, Instant};

use lastseen_event::EventType;
use lastseen_tests::Seeded;
use lastseen_tests::instant::{DAY, now, rfc3339};

use crate::harness::figures::print_row;
use crate::harness::latency::Latencies;
use crate::harness::probe::open_loop;
use crate::harness::workload::{BATCH_EVENTS, Ids, post, streams};
use crate::past::History;
use crate::serve;

/// Late events that come each second.
const LATE_A_SECOND: usize = 10_000;
const PHASE: u32 = 40;
/// Days from the instant that is asked for until now, and days before it in which the events occurred.
const DAYS_AGO: i64 = 15;
const LATE_DAYS: u64 = 10;

/// Asks for summaries of the past while late events come. Writes to the history.
pub(crate) fn measure(history: &History, tenant: &str, span: Duration) {
    let title = format!("\n(8) beside {LATE_A_SECOND} late events/s");
    print_row(&title, ["first", "p50", "p99", "max", "answers"]);
    let as_of = now() - DAYS_AGO * DAY;
    let asked = rfc3339(as_of);
    let paths = [format!("/v1/summary?as_of={asked}"), format!("/v1/tenants/{tenant}/summary?as_of={asked}")];
    for (phase, path) in (PHASE..).zip(paths) {
        let server = serve(&history.data, &[]);
        let address = server.url().trim_start_matches("http://").to_owned();
        let every = Duration::from_secs(1) * u32::try_from(BATCH_EVENTS).expect("few")
            / u32::try_from(LATE_A_SECOND).expect("few");
        let requests = requests(history, (phase, as_of), (span.as_micros() / every.as_micros()) as usize + 1);
        let publishing = thread::spawn(move || {
            open_loop(&address, (span, every), |number| requests[number % requests.len()].clone())
        });
        let (client, started, mut all) = (server.client(), Instant::now(), Vec::new());
        while started.elapsed() < span {
            let sent = Instant::now();
            client.ask(&path);
            all.push(sent.elapsed());
        }
        let published = publishing.join().expect("the load does not panic");
        server.kill9();
        let first = Latencies::new(vec![all[0]]).at(0);
        let answers = all.len();
        let all = Latencies::new(all);
        let cells = [first, all.at(500), all.at(990), all.at(1_000)].map(|cell| cell.to_string());
        let name = if phase == PHASE { "    summary" } else { "    of the largest tenant" };
        print_row(name, cells.into_iter().chain([answers.to_string()]));
        let acknowledged = &published.latencies;
        println!("        the events: p50 {}, p99 {}", acknowledged.at(500), acknowledged.at(990));
    }
}

/// Requests whose events occurred before `as_of`, each at an instant of its own.
fn requests(history: &History, (phase, as_of): (u32, i64), count: usize) -> Vec<Vec<u8>> {
    let stream = streams(phase, 1).start;
    let (mut random, mut ids) = (Seeded::new(u64::from(stream)), Ids::new(stream));
    let request = |_| {
        let mut body = Vec::new();
        for _ in 0..BATCH_EVENTS {
            let before = random.below(LATE_DAYS * DAY.unsigned_abs()).cast_signed();
            let member = random.below(history.population.len() as u64) as usize;
            let (id, _) = history.population.write(&mut body, member, EventType::Login, as_of - before);
            ids.patch(&mut body, id);
            body.push(b'\n');
        }
        post("application/x-ndjson", &body)
    };
    (0..count).map(request).collect()
}
