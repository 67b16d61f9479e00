//! `kill -9` in the middle of an import, 50 times. The test publishes and keeps its own journal of what was
//! acknowledged: that must be there after every restart, once.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lastseen_tests::{Client, Process, Seeded, Server, git_activity};
use serde_json::Value;

use crate::BINARY;
use crate::answers::numbers;

const KILLS: u64 = 50;
/// Small batches: many of them are in flight, and many are acknowledged, between two kills.
const BATCH_LINES: usize = 40;
const PUBLISHERS: usize = 3;
const NDJSON: &str = "application/x-ndjson";

/// The knowledge of the publishers, over all crashes.
struct Journal {
    batches: Vec<String>,
    /// The next batch that nobody has sent yet.
    next: AtomicUsize,
    acknowledged: Mutex<BTreeSet<usize>>,
    /// Sent, but the answer never came.
    open: Mutex<BTreeSet<usize>>,
    stored: AtomicUsize,
    /// The greatest position that a publisher was told before the last crash.
    reached: AtomicU64,
}

impl Journal {
    fn new(lines: &[String]) -> Self {
        Self {
            batches: lines.chunks(BATCH_LINES).map(|lines| lines.join("\n")).collect(),
            next: AtomicUsize::new(0),
            acknowledged: Mutex::default(),
            open: Mutex::default(),
            stored: AtomicUsize::new(0),
            reached: AtomicU64::new(0),
        }
    }

    /// Sends a batch; `(stored, duplicates)`, or `None` if the server went away.
    fn send(&self, client: &Client, batch: usize) -> Option<(u64, u64)> {
        self.send_for_position(client, batch).map(|(stored, duplicates, _)| (stored, duplicates))
    }

    /// The same with the position that was answered.
    fn send_for_position(&self, client: &Client, batch: usize) -> Option<(u64, u64, u64)> {
        let body = self.batches[batch].as_bytes();
        let answer = client.send("POST", "/v1/events", &[("content-type", NDJSON)], body).ok()?;
        let answer = answer.ok("a batch");
        let numbers = numbers(&answer, &["stored", "duplicates", "position"]);
        self.stored.fetch_add(usize::try_from(numbers[0]).unwrap(), Ordering::Relaxed);
        Some((numbers[0], numbers[1], numbers[2]))
    }

    fn lines_of(&self, batch: usize) -> u64 {
        self.batches[batch].lines().count() as u64
    }

    /// Publishes new batches until the server goes away. Each stands behind the one before it, and behind all that
    /// was acknowledged before the last crash.
    fn publish(&self, client: &Client, reached: u64) {
        let mut reached = reached;
        loop {
            let batch = self.next.fetch_add(1, Ordering::Relaxed);
            if batch >= self.batches.len() {
                return;
            }
            self.open.lock().unwrap().insert(batch);
            let Some((stored, duplicates, position)) = self.send_for_position(client, batch) else { return };
            assert!(position > reached, "batch {batch} at {position} is out of order: {reached} was before");
            reached = position;
            self.reached.fetch_max(position, Ordering::Relaxed);
            assert_eq!(
                (stored, duplicates),
                (self.lines_of(batch), 0),
                "batch {batch} was never sent before"
            );
            self.open.lock().unwrap().remove(&batch);
            self.acknowledged.lock().unwrap().insert(batch);
        }
    }

    /// Sends `batches` again, which were all acknowledged: none may be new.
    fn assert_there(&self, client: &Client, batches: impl Iterator<Item = usize>) {
        for batch in batches {
            let answer = self.send(client, batch).expect("the server is up");
            assert_eq!(answer, (0, self.lines_of(batch)), "batch {batch} was acknowledged before the crash");
        }
    }

    /// Sends what was in flight when the server went away: each is there as a whole or not at all.
    fn settle(&self, client: &Client) {
        for batch in std::mem::take(&mut *self.open.lock().unwrap()) {
            let lines = self.lines_of(batch);
            let answer = self.send(client, batch).expect("the server is up");
            assert!([(lines, 0), (0, lines)].contains(&answer), "half of batch {batch} is there: {answer:?}");
            if answer.0 == 0 {
                // Durable, though nobody was told.
                self.stored.fetch_add(usize::try_from(lines).unwrap(), Ordering::Relaxed);
            }
            self.acknowledged.lock().unwrap().insert(batch);
        }
    }
}

/// Lets the publishers run and kills the server at a moment that `random` chooses; the server after its restart.
fn crash_while_publishing(server: Server, journal: &Journal, random: &mut Seeded) -> Server {
    let acknowledged = || journal.acknowledged.lock().unwrap().len();
    let enough = acknowledged() + usize::try_from(random.below(12)).unwrap();
    let longer = Duration::from_micros(random.below(8_000));
    let client = server.client().clone();
    let reached = journal.reached.load(Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..PUBLISHERS {
            scope.spawn(|| journal.publish(&client, reached));
        }
        let deadline = Instant::now() + Duration::from_mins(1);
        while acknowledged() < enough && journal.next.load(Ordering::Relaxed) < journal.batches.len() {
            assert!(Instant::now() < deadline, "the server acknowledges nothing: {}", server.stderr());
            thread::yield_now();
        }
        // Not to wait for anything: to hit another moment every time.
        thread::sleep(longer);
        server.crash_and_restart()
    })
}

/// Number of times the fifty kills are done over, each time on an empty log: `LASTSEEN_E2E_KILL_ROUNDS`, 1 by
/// default.
fn rounds() -> u64 {
    let rounds = std::env::var_os("LASTSEEN_E2E_KILL_ROUNDS");
    rounds.map_or(1, |rounds| {
        rounds.to_str().and_then(|rounds| rounds.parse().ok()).expect("a number of rounds")
    })
}

#[test]
fn fifty_kills_in_the_middle_of_an_import_lose_nothing_and_repeat_nothing() {
    for round in 0..rounds() {
        kill_fifty_times(601 + round);
    }
}

fn kill_fifty_times(seed: u64) {
    let lines = git_activity::lines();
    let journal = Journal::new(&lines);
    let data = tempfile::tempdir().unwrap();
    // So few that kills meet every step of sealing.
    let mut server = Server::start_with(BINARY, data.path(), &["--segment-events", "300"]);
    let mut random = Seeded::new(seed);
    for _ in 0..KILLS {
        let before = journal.acknowledged.lock().unwrap().clone();
        server = crash_while_publishing(server, &journal, &mut random);
        let new = journal.acknowledged.lock().unwrap().clone();
        journal.assert_there(server.client(), new.difference(&before).copied());
        journal.settle(server.client());
    }
    let acknowledged = journal.acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > usize::try_from(KILLS).unwrap(), "most rounds have published something");
    journal.assert_there(server.client(), acknowledged.iter().copied());
    let stored: u64 = acknowledged.iter().map(|batch| journal.lines_of(*batch)).sum();
    assert_eq!(journal.stored.load(Ordering::Relaxed) as u64, stored, "every event was new exactly once");

    let mut import = Command::new(BINARY);
    import.arg("import").arg(git_activity::path("events.ndjson.gz")).args(["--server", server.url()]);
    let ended = Process::start(import).wait(Duration::from_mins(2));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let counted = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
    let words: Vec<_> = ended.stdout.split([' ']).collect();
    let (rest, duplicates) =
        (counted(words[1].trim_end_matches(',')), counted(words[3].trim_end_matches(',')));
    assert_eq!((rest, duplicates), (git_activity::EVENTS - stored, stored), "the import completes the rest");
    assert_complete(&server);
    let segments = fs::read_dir(data.path().join("segments")).unwrap().count();
    assert!(segments > 20, "{segments} files of segments: sealing went on over the kills");
    let mut verify = Command::new(BINARY);
    verify.arg("verify").arg("--data").arg(data.path());
    let ended = Process::start(verify).wait(Duration::from_mins(2));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    eprintln!(
        "seed {seed}: {KILLS} kills, {} batches acknowledged; lost 0, twice 0, out of order 0",
        acknowledged.len()
    );
}

/// All of the history is there: every number that its events decide.
fn assert_complete(server: &Server) {
    let truth = git_activity::truth();
    let summary = server.client().ask("/v1/summary");
    assert_eq!(
        numbers(&summary, &["total_users", "total_persons"]),
        numbers(&truth, &["members", "persons"])
    );
    for expected in truth["active_30d_as_of"].as_array().unwrap() {
        let path = format!("/v1/summary?as_of={}", expected["as_of"].as_str().unwrap());
        assert_eq!(server.client().ask(&path)["active_users"], expected["all"]["active_users"], "{path}");
    }
}

#[test]
fn an_import_goes_on_by_itself_while_the_server_is_killed_and_comes_back() {
    const LINES: usize = 20_000;
    let lines: Vec<_> = git_activity::lines().into_iter().take(LINES).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    fs::write(&file, lines.join("\n")).unwrap();
    let mut server = Server::start(BINARY, &directory.path().join("data"));

    let mut import = Command::new(BINARY);
    import.arg("import").arg(&file).args([
        "--server",
        server.url(),
        "--batch-events",
        "50",
        "--retry-for",
        "2m",
    ]);
    let mut import = Process::start(import);
    for kill in 1..=3 {
        let users = |server: &Server| server.client().ask("/v1/summary")["position"].as_u64();
        let before = users(&server);
        let moved = lastseen_tests::eventually(Duration::from_mins(1), || {
            (users(&server) > before || import.has_ended()).then_some(())
        });
        assert!(moved.is_some(), "kill {kill}: the import does not move: {}", import.stderr());
        server = server.crash_and_restart_in_place();
    }
    let ended = import.wait(Duration::from_mins(2));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let model: BTreeSet<_> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| (event["tenant_id"].to_string(), event["user_id"].to_string()))
        .collect();
    assert_eq!(server.client().ask("/v1/summary")["total_users"], model.len());
    let again = server.client().post("/v1/events", NDJSON, lines[..10_000].join("\n").as_bytes()).ok("again");
    assert_eq!(numbers(&again, &["stored", "duplicates"]), [0, 10_000]);
}
