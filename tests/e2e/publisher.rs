//! The client of Rust against the real server: every kind of event arrives, refused ones come back, and nothing is lost and
//! nothing counts twice, whoever is killed. `LASTSEEN_E2E_KILLS` sets the number of kills.

use std::collections::BTreeMap;
use std::env;
use std::future::Future;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lastseen_client::queries::{About, Queries};
use lastseen_client::{Event, EventId, EventType, NotTaken, Publisher, Refused, StartError, UtcInstant};
use lastseen_tests::instant::{DAY, now};
use lastseen_tests::{Client, Process, Seeded, Server, eventually};
use serde_json::Value;

use crate::BINARY;
use crate::answers::empty_server;
use crate::keys::{create, until};

const OUTBOX_BYTES: u64 = 64 << 20;
const WITHIN: Duration = Duration::from_mins(1);

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn kills(usual: u64) -> u64 {
    let given = env::var_os("LASTSEEN_E2E_KILLS");
    given.map_or(usual, |text| text.to_str().and_then(|text| text.parse().ok()).expect("a number of kills"))
}

/// The ids of all events that the server has, with how often each is there.
pub(crate) fn stored(client: &Client) -> BTreeMap<String, usize> {
    let mut stored = BTreeMap::new();
    for line in client.get("/v1/events").text().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        *stored.entry(event["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    stored
}

fn at(micros: i64) -> UtcInstant {
    UtcInstant::from_micros(micros)
}

#[test]
fn every_kind_of_event_arrives_and_is_asked_for() {
    let (server, _data) = empty_server();
    let publisher = Publisher::to(server.url()).start().unwrap();
    let (seen, member) = (now() - DAY, ("acme", "zoë / 1"));
    for event in [
        Event::user_created("acme", "zoë / 1", false).at(at(seen - 3 * DAY)).build(),
        Event::signup_complete("acme", "zoë / 1").at(at(seen - 2 * DAY)).build(),
        Event::login("acme", "zoë / 1").session("s-1").at(at(seen - DAY)).build(),
        Event::token_refresh("acme", "zoë / 1").of_token("s-1", 2).at(at(seen)).build(),
        Event::tenant_switch("acme", "beta", "zoë / 1").at(at(seen)).build(),
        Event::user_created("acme", "bot", true).counts(false).build(),
        Event::user_changed("acme", "zoë / 1").build(),
        Event::user_confirmed("acme", "invited").build(),
        Event::user_deleted("acme", "invited").at(at(now() - DAY)).build(),
        Event::user_restored("acme", "invited").build(),
    ] {
        wait(publisher.publish(event.unwrap())).unwrap();
    }
    wait(publisher.flush()).unwrap();
    let metrics = publisher.metrics();
    assert_eq!((metrics.published, metrics.stored, metrics.refused, metrics.waiting), (10, 10, 0, 0));
    assert!(metrics.to_string().contains("lastseen_client_stored_total 10\n"), "{metrics}");

    let queries = Queries::to(server.url(), None);
    let user = queries.user(member, &About::default()).unwrap();
    assert_eq!((user.status.as_str(), user.last_seen_at), ("active", Some(at(seen))));
    assert_eq!(user.last_seen_type.as_deref(), Some("token_refresh"));
    let acme = queries.summary(Some("acme"), &About::default()).unwrap();
    assert_eq!((acme.total_users, acme.active_users, acme.never_seen_users), (2, 1, 1));
    let day = About { window: Some("1h".to_owned()), ..About::default() };
    assert_eq!(queries.summary(None, &day).unwrap().active_users, 0);
    let past = About { as_of: Some(at(seen - DAY)), ..About::default() };
    assert_eq!(queries.summary(Some("acme"), &past).unwrap().total_users, 1);
    let users = queries.users(Some("acme"), &About::default(), (Some("active,never_seen"), None)).unwrap();
    assert_eq!((users.total, users.users[0].user_id.as_str()), (2, "zoë / 1"));
    let date = at(seen).to_string()[..10].to_owned();
    let series = queries.active_users(None, (&date, &date), "UTC").unwrap();
    assert_eq!((series.rows.len(), series.rows[0].active), (1, 2));
    let unknown = queries.summary(Some("nobody"), &About::default()).unwrap_err();
    assert_eq!((unknown.problem.code.as_deref(), unknown.retry_after), (Some("unknown_tenant"), None));
    publisher.close(WITHIN).unwrap();
}

#[test]
fn the_same_token_is_one_event_whoever_publishes_it() {
    let (server, _data) = empty_server();
    let issued = at(now() - DAY);
    let refresh = || Event::token_refresh("acme", "u").of_token("s-1", 7).at(issued).build().unwrap();
    let publishers: Vec<_> = (0..4).map(|_| Publisher::to(server.url()).start().unwrap()).collect();
    for publisher in publishers.iter().cycle().take(20) {
        publisher.try_publish(refresh()).unwrap();
    }
    let (mut stored_events, mut duplicates) = (0, 0);
    for publisher in publishers {
        wait(publisher.flush()).unwrap();
        stored_events += publisher.metrics().stored;
        duplicates += publisher.metrics().duplicates;
    }
    assert_eq!((stored_events, duplicates), (1, 19));
    assert_eq!(stored(server.client()).len(), 1);
}

#[test]
fn refused_events_come_back_with_their_faults_and_hold_nobody_up() {
    let (server, _data) = empty_server();
    let back: Arc<Mutex<Vec<Refused>>> = Arc::default();
    let receiver = back.clone();
    let publisher = Publisher::to(server.url()).batch_events(7);
    let publisher =
        publisher.on_refused(move |refused| receiver.lock().unwrap().push(refused)).start().unwrap();
    let mut bad = Vec::new();
    for number in 0..40 {
        let user = format!("u{number}");
        let event = if number % 5 == 3 {
            let event = Event::login("acme", user).at(at(now() + DAY)).build().unwrap();
            bad.push(event.as_json().to_owned());
            event
        } else {
            Event::login("acme", user).build().unwrap()
        };
        wait(publisher.publish(event)).unwrap();
    }
    wait(publisher.flush()).unwrap();
    let back = back.lock().unwrap();
    assert_eq!(back.iter().map(|refused| refused.event.clone()).collect::<Vec<_>>(), bad);
    for refused in back.iter() {
        assert_eq!(refused.faults.len(), 1);
        assert_eq!(
            (refused.faults[0].code.as_str(), refused.faults[0].field.as_deref()),
            ("in_future", Some("occurred_at"))
        );
    }
    assert_eq!((publisher.metrics().stored, publisher.metrics().refused), (32, 8));
    assert_eq!(stored(server.client()).len(), 32);
}

#[test]
fn without_a_server_the_buffer_fills_and_nothing_of_it_is_lost() {
    // A port that nobody listens on, until a server does.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let publisher = Publisher::to(&url)
        .buffer_bytes(64 << 10)
        .pauses(Duration::from_millis(5), Duration::from_millis(50));
    let publisher = publisher.start().unwrap();
    let event = |number: u32| Event::login("acme", format!("u{number}")).build().unwrap();
    let mut taken = 0;
    let full = loop {
        match publisher.try_publish(event(taken)) {
            Ok(()) => taken += 1,
            Err(NotTaken::Full(event)) => break event,
            Err(closed @ NotTaken::Closed(_)) => panic!("{closed}"),
        }
    };
    assert!((100..1_000).contains(&taken), "{taken}");
    assert!(full.as_json().contains(&format!("\"u{taken}\"")), "it is handed back");
    // Whoever waits for room has it once the server is there.
    let data = tempfile::tempdir().unwrap();
    let waiting = publisher.clone();
    let waits = std::thread::spawn(move || wait(waiting.publish(full)));
    let address = format!("127.0.0.1:{port}");
    let _server = Server::start_with(BINARY, data.path(), &["--listen", &address]);
    waits.join().unwrap().unwrap();
    wait(publisher.flush()).unwrap();
    assert_eq!(publisher.metrics().stored, u64::from(taken) + 1);
    assert!(publisher.metrics().failed_attempts > 0);
    publisher.close(WITHIN).unwrap();

    // Whoever is closed before hands everything back.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let publisher = Publisher::to(format!("http://{nobody}")).start().unwrap();
    let events: Vec<_> = (0..3).map(event).collect();
    for event in &events {
        publisher.try_publish(event.clone()).unwrap();
    }
    let (flushing, began) = (publisher.clone(), Instant::now());
    let flush = std::thread::spawn(move || wait(flushing.flush()));
    let undelivered = publisher.clone().close(Duration::from_millis(50)).unwrap_err();
    assert_eq!((undelivered.events, undelivered.kept), (events, 0));
    assert!(flush.join().unwrap().is_err() && began.elapsed() < WITHIN, "nobody waits for ever");
    assert!(matches!(publisher.try_publish(event(9)), Err(NotTaken::Closed(_))));
}

#[test]
fn a_wrong_key_holds_events_up_and_loses_none() {
    let (server, data) = empty_server();
    let key = create(data.path(), &["--name", "shop", "--scope", "publish"]);
    until(server.client(), 401);
    let outbox = tempfile::tempdir().unwrap();
    let to = || Publisher::to(server.url()).outbox(outbox.path(), OUTBOX_BYTES);
    let publisher = to().key("ls_nonsense").start().unwrap();
    wait(publisher.publish(Event::login("acme", "u").build().unwrap())).unwrap();
    wait(publisher.keep()).unwrap();
    assert!(eventually(WITHIN, || (publisher.metrics().failed_attempts > 0).then_some(())).is_some());
    assert!(matches!(to().start(), Err(StartError::Outbox(_))), "an outbox has one owner");
    let undelivered = publisher.close(Duration::from_millis(20)).unwrap_err();
    assert_eq!((undelivered.events.len(), undelivered.kept), (0, 1));
    let publisher = eventually(WITHIN, || to().key(&key).start().ok()).expect("the outbox is free");
    wait(publisher.flush()).unwrap();
    assert_eq!((publisher.metrics().stored, publisher.metrics().waiting), (1, 0));
}

/// The server is killed, and the publisher is closed at once and begun again, in any order.
#[test]
fn nothing_is_lost_and_nothing_counts_twice_through_kills_of_the_server() {
    let (data, outbox) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Server::start(BINARY, data.path());
    let url = server.url().to_owned();
    // The one before may hold the outbox for a moment.
    let start =
        || eventually(WITHIN, || options_of(&url, outbox.path()).start().ok()).expect("the outbox is free");
    let mut publisher = start();
    let (mut random, mut ids, mut number) = (Seeded::new(20_261), Vec::new(), 0);
    for _ in 0..kills(12) {
        for _ in 0..=random.below(300) {
            let event = Event::login("acme", format!("u{}", number % 97)).build().unwrap();
            ids.push(event.id().to_string());
            wait(publisher.publish(event)).unwrap();
            number += 1;
        }
        match random.below(4) {
            0 => wait(publisher.flush()).unwrap(),
            1 => {
                let back = match publisher.close(Duration::ZERO) {
                    Ok(()) => Vec::new(),
                    Err(undelivered) => undelivered.events,
                };
                publisher = start();
                // What was in memory alone is published again, with the same ids.
                for event in back {
                    wait(publisher.publish(event)).unwrap();
                }
            }
            _ => server = server.crash_and_restart_in_place(),
        }
    }
    wait(publisher.flush()).unwrap();
    let stored = stored(server.client());
    assert_eq!(stored.values().filter(|count| **count != 1).count(), 0);
    ids.sort_unstable();
    assert_eq!(stored.into_keys().collect::<Vec<_>>(), ids);
    publisher.close(WITHIN).unwrap();
}

fn options_of(url: &str, outbox: &Path) -> lastseen_client::Options {
    let options = Publisher::to(url).outbox(outbox, OUTBOX_BYTES).batch_events(50);
    options.pauses(Duration::from_millis(1), Duration::from_millis(20))
}

const PUBLISHING: &str = "LASTSEEN_TEST_PUBLISHING";

/// The id of the login with this number: the same whoever publishes it.
fn id_of(number: u64) -> EventId {
    EventId::of_token(EventType::Login, &format!("s{number}"), 1)
}

/// Not a test of its own: the process that the next test starts and kills. It publishes logins from a number on, and says
/// how far they are kept.
#[test]
fn publishes_for_the_test_that_kills_it() {
    let Some(text) = env::var_os(PUBLISHING) else { return };
    let text = text.into_string().unwrap();
    let [url, outbox, first] = text.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
    let publisher = options_of(url, Path::new(outbox)).start().unwrap();
    for number in first.parse::<u64>().unwrap().. {
        let login = Event::login("acme", format!("u{}", number % 97)).of_token(format!("s{number}"), 1);
        wait(publisher.publish(login.at(at(now() - DAY)).build().unwrap())).unwrap();
        if number % 7 == 0 {
            wait(publisher.keep()).unwrap();
            println!("kept {number}");
            std::io::stdout().flush().unwrap();
        }
    }
}

#[test]
fn what_was_kept_is_delivered_once_whoever_was_killed() {
    let (data, outbox) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Server::start(BINARY, data.path());
    let url = server.url().to_owned();
    let (mut random, mut kept, mut first) = (Seeded::new(20_262), Vec::new(), 1);
    for _ in 0..kills(8) {
        // Every other one may write files of some kilobytes alone: writes fail in the middle of events, as on a full disk.
        let limit = if random.below(2) == 0 { "trap '' XFSZ; ulimit -f 12; " } else { "" };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("{limit}exec \"$0\" \"$@\""), "/usr/bin/env"]);
        command.arg(format!("{PUBLISHING}={url} {} {first}", outbox.path().display()));
        command.arg(env::current_exe().unwrap());
        command.args(["--exact", "publisher::publishes_for_the_test_that_kills_it", "--nocapture"]);
        let process = Process::start(command);
        let lines = usize::try_from(1 + random.below(60)).unwrap();
        let said = || {
            let said = process.stdout();
            let numbers = said.lines().filter_map(|line| line.split_once("kept ")?.1.parse::<u64>().ok());
            let numbers: Vec<_> = numbers.collect();
            (numbers.len() >= lines).then_some(numbers)
        };
        let said = eventually(WITHIN, said);
        if random.below(3) == 0 {
            server = server.crash_and_restart_in_place();
        }
        process.kill9();
        let last = *said.expect("it publishes").last().unwrap();
        kept.extend(first..=last);
        // Those after it may be kept as well, or be nowhere.
        first = last + 10_000;
    }
    let publisher = options_of(&url, outbox.path()).start().unwrap();
    wait(publisher.flush()).unwrap();
    let stored = stored(server.client());
    assert!(stored.values().all(|count| *count == 1));
    for number in &kept {
        assert!(stored.contains_key(&id_of(*number).to_string()), "{number} of {} was lost", kept.len());
    }
    assert!(kept.len() > 50, "{}", kept.len());
}
