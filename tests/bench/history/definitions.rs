//! (6) and (7): definitions that the views follow: the first question of each, the same again, their memory, and what they cost those who
//! publish.

use std::time::{Duration, Instant};

use lastseen_event::EventType;
use lastseen_tests::instant::now;
use lastseen_tests::{Server, today};

use crate::harness::connection::Connection;
use crate::harness::figures::{memory_bytes, mib, print_row, processor_time, whole};
use crate::harness::latency::Latencies;
use crate::harness::load::{drive, lasting};
use crate::harness::workload::{BATCH_EVENTS, Ids, batches, get, post};
use crate::past::History;
use crate::questions::{DAYS, before};
use crate::serve;

/// The parameters of each beside the days.
const DEFINITIONS: [&str; 8] = [
    "tz=Europe/Berlin",
    "tz=America/New_York",
    "tz=Asia/Kolkata",
    "tz=Asia/Tokyo",
    "types=login",
    "provenance=observed",
    "tz=Europe/Berlin&types=login",
    "tz=America/New_York&provenance=observed",
];

/// Number of times each is asked again.
const AGAIN: usize = 20;

/// The phases of [`batches`] for [`published_beside`], and that of the single events.
const PHASES: std::ops::Range<u32> = 20..24;
const SINGLE_PHASE: u32 = 30;

/// Asks for the last sixty days by each definition, today among them. Writes to the history.
pub(crate) fn questions(history: &History) {
    let server = serve(&history.data, &[]);
    let memory = || memory_bytes(server.id(), "VmRSS");
    let mut ids = Ids::new(SINGLE_PHASE);
    print_row("\n(6) definitions, 60 days with today", ["first", "again", "after an event", "MiB more"]);
    for definition in DEFINITIONS {
        let before = memory();
        let [first, again, behind] = ask(&server, &path(definition), history, &mut ids);
        let more = mib(memory().saturating_sub(before));
        let cells = [first.at(0).to_string(), again.at(500).to_string(), behind.at(500).to_string()];
        print_row(&format!("    {definition}"), cells.into_iter().chain([more.to_string()]));
        println!("        the longest: again {}, after an event {}", again.at(1_000), behind.at(1_000));
    }
    // All are kept, none was made anew.
    for definition in DEFINITIONS {
        let [again, ..] = ask(&server, &path(definition), history, &mut ids);
        assert!(again.at(1_000).0 < Duration::from_millis(500), "{definition} took {}", again.at(1_000));
    }
    println!("    memory of the server with all of them: {} MiB", mib(memory()));
    server.kill9();
}

/// The days up to the running one of its zone.
fn path(definition: &str) -> String {
    let zone = definition.split('&').find_map(|parameter| parameter.strip_prefix("tz="));
    let today = today(zone.unwrap_or("UTC"));
    format!("/v1/active-users?from={}&to={today}&{definition}", before(today, DAYS - 1))
}

/// The first answer, the answers when nothing came since, and those right after an event of now.
fn ask(server: &Server, path: &str, history: &History, ids: &mut Ids) -> [Latencies; 3] {
    let request = get(path);
    let address = server.url().trim_start_matches("http://");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = Connection::open(address).await.expect("the server listens");
        let (mut again, mut behind) = (Vec::new(), Vec::new());
        for number in 0..=2 * AGAIN {
            if number > AGAIN {
                let event = event(history, number, ids);
                connection.round_trip(&event).await.expect("the server takes it");
            }
            let sent = Instant::now();
            connection.round_trip(&request).await.expect("the server answers 200");
            if number > AGAIN { &mut behind } else { &mut again }.push(sent.elapsed());
        }
        let again_from = again.split_off(1);
        [again, again_from, behind].map(Latencies::new)
    })
}

/// A request with one event of now.
fn event(history: &History, number: usize, ids: &mut Ids) -> Vec<u8> {
    let mut body = Vec::new();
    let (id, _) = history.population.write(&mut body, number * 7_919, EventType::Login, now());
    ids.patch(&mut body, id);
    post("application/json", &body)
}

/// Publishing while the views follow nothing but the days of UTC, and while they follow all of them, in turns. Writes to the
/// history.
pub(crate) fn published_beside(history: &History, span: Duration) {
    print_row("\n(7) publishing, 4 connections, batches of 1,000", ["events/s", "ns an event"]);
    let turns = [("no definitions", &[][..]), ("eight definitions", &DEFINITIONS[..])];
    let mut spent = [Vec::new(), Vec::new()];
    for (turn, phase) in PHASES.enumerate() {
        let (name, definitions) = turns[turn % 2];
        let server = serve(&history.data, &[]);
        for definition in definitions {
            server.client().ask(&path(definition));
        }
        let requests = batches(&history.population, phase).collect();
        let address = server.url().trim_start_matches("http://");
        let processor = processor_time(server.id());
        let load = drive(address, requests, lasting(span));
        let events = (load.latencies.count() * BATCH_EVENTS) as f64;
        let nanos = processor_time(server.id()).saturating_sub(processor).as_nanos() as f64 / events;
        server.terminate();
        print_row(&format!("    {name}"), [whole(load.rate() * BATCH_EVENTS as f64), whole(nanos)]);
        spent[turn % 2].push(nanos);
    }
    let [without, with] = spent.map(|turns| turns.iter().sum::<f64>() / turns.len() as f64);
    let each = (with - without) / DEFINITIONS.len() as f64;
    println!("    {each:.0} ns of the processor an event for each definition");
}
