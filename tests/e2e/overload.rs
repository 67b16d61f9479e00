//! More questions than there are places: equal ones share one answer, the others wait for a bounded time, and then are told so.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use lastseen_tests::{Answer, Client, Server, eventually, git_activity};
use serde_json::Value;
use tempfile::TempDir;

use crate::BINARY;
use crate::answers::without_at;

const TENANT: &str = "230287431257595797";
const ASKERS: usize = 30;

/// A server with all of the real history, sealed in parts.
fn server(options: &[&str]) -> (Server, TempDir) {
    let data = tempfile::tempdir().unwrap();
    let options = [&["--segment-events", "9000"], options].concat();
    let server = Server::start_with(BINARY, data.path(), &options);
    for lines in git_activity::lines().chunks(10_000) {
        let body = lines.join("\n");
        server.client().post("/v1/events", "application/x-ndjson", body.as_bytes()).ok("a batch");
    }
    (server, data)
}

/// All answers to questions that are asked at the same moment.
fn at_once(client: &Client, paths: &[String]) -> Vec<Answer> {
    let barrier = Barrier::new(paths.len());
    thread::scope(|scope| {
        let asking = paths.iter().map(|path| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                client.get(path)
            })
        });
        let asking: Vec<_> = asking.collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    })
}

fn assert_overloaded(answer: &Answer, words: &[&str], of: &str) {
    let problem = answer.problem(503, "overloaded", of);
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{of}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(words.iter().any(|words| detail.contains(words)), "{of}: {detail}");
}

#[test]
fn equal_questions_at_once_are_answered_once_and_all_the_same() {
    // One may work and one may wait: thirty that were not the same could not all be answered.
    let limits = ["--scans", "1", "--counts", "1", "--lists", "1", "--waiting", "1"];
    let (server, _data) = server(&limits);
    for path in [
        "/v1/active-users?from=2016-01-01&to=2024-12-31&tz=Europe/Berlin&types=login".to_owned(),
        "/v1/active-users?from=2015-01-01&to=2024-12-31".to_owned(),
        "/v1/retention?from=2016-01-01&to=2020-12-31&tz=Asia/Kolkata&provenance=observed".to_owned(),
        "/v1/retention?from=2016-01-01&to=2020-12-31&period=month".to_owned(),
        "/v1/summary?as_of=2020-02-02".to_owned(),
        "/v1/summary?as_of=2020-02-02&types=login".to_owned(),
        "/v1/summary?known_at=40000".to_owned(),
        "/v1/tenants?known_at=50000&window=3650d".to_owned(),
        format!("/v1/tenants/{TENANT}/users?as_of=2020-02-02&limit=1000"),
        format!("/v1/tenants/{TENANT}/summary?as_of=2020-02-02&types=token_refresh&known_at=70000"),
    ] {
        let answers = at_once(server.client(), &vec![path.clone(); ASKERS]);
        let bodies: Vec<Value> = answers
            .iter()
            .map(|answer| {
                let mut body = without_at(answer.ok(&path));
                body.as_object_mut().unwrap().remove("next_cursor");
                body
            })
            .collect();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{path}");
        let tags: BTreeSet<_> = answers.iter().map(|answer| answer.header("etag")).collect();
        assert_eq!(tags.len(), 1, "{path}: {tags:?}");
    }
}

#[test]
fn other_questions_beyond_the_places_are_told_to_come_again() {
    const ROUNDS: usize = 40;
    let (server, _data) = server(&["--scans", "1", "--waiting", "1", "--question-wait", "1s"]);
    let client = server.client();
    let words =
        ["too many questions of this kind are waiting", "no place became free for this question in time"];
    let mut all = [0, 0];
    for round in 0..ROUNDS {
        // Cold ones, each of them another.
        let paths: Vec<_> = (0..ASKERS)
            .map(|asker| format!("/v1/summary?types=login&known_at={}", 80_000 + round * 100 + asker))
            .collect();
        for (answer, path) in at_once(client, &paths).iter().zip(&paths) {
            if answer.status == 200 {
                all[0] += 1;
            } else {
                assert_overloaded(answer, &words, path);
                all[1] += 1;
                // What the live views know does not wait.
                assert_eq!(client.get("/v1/summary").status, 200);
            }
        }
        if all.iter().all(|count| *count > 0) {
            break;
        }
    }
    let [answered, refused] = all;
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    // Whoever comes again is answered.
    let again = client.get("/v1/summary?types=login&known_at=80000");
    assert_eq!(again.status, 200, "{}", again.text());
}

#[test]
fn a_download_waits_for_a_place_and_not_for_ever() {
    const WAIT: Duration = Duration::from_secs(1);
    let (server, _data) = server(&["--downloads", "1", "--waiting", "1", "--question-wait", "1s"]);
    let client = server.client();
    // Far more than what fits between the server and a reader that does not read.
    let (_, mut held) = client.stream("/v1/events");
    held.read_exact(&mut [0; 1]).unwrap();
    let csv = format!("/v1/tenants/{TENANT}/users?format=csv");
    for path in ["/v1/events?limit=1", &csv] {
        let started = Instant::now();
        assert_overloaded(&client.get(path), &["in time"], path);
        assert!(started.elapsed() >= WAIT, "{path}: it has waited");
    }
    // One may wait, and the next one is told at once.
    let answers = at_once(client, &vec!["/v1/events?limit=1".to_owned(); 4]);
    let mut words = [0, 0];
    for answer in &answers {
        assert_overloaded(answer, &["in time", "too many"], "one of four");
        words[usize::from(answer.text().contains("too many"))] += 1;
    }
    assert!(words[0] >= 1 && words[1] >= 1, "{words:?}");
    // Questions of other kinds go on.
    for path in ["/v1/summary", "/v1/summary?as_of=2020-02-02&types=login", "/v1/active-users", "/readyz"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    drop(held);
    // The place of who has left is free again.
    let free =
        eventually(Duration::from_mins(1), || (client.get("/v1/events?limit=1").status == 200).then_some(()));
    assert!(free.is_some(), "{}", server.stderr());
    // A HEAD holds none.
    for _ in 0..20 {
        let answer = client.send("HEAD", "/v1/events", &[], &[]).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    assert_eq!(client.get(&csv).status, 200);
}

#[test]
fn a_waiting_download_begins_when_a_place_is_free() {
    let (server, _data) = server(&["--downloads", "1", "--question-wait", "2m"]);
    let client = server.client();
    let (_, mut held) = client.stream("/v1/events");
    held.read_exact(&mut [0; 1]).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| client.get("/v1/events?after=85000"));
        let mut rest = String::new();
        held.read_to_string(&mut rest).unwrap();
        assert_eq!(rest.lines().count() as u64, git_activity::EVENTS);
        let answer = waiting.join().unwrap();
        assert_eq!(
            (answer.status, answer.text().lines().count() as u64),
            (200, git_activity::EVENTS - 85_000)
        );
    });
}

#[test]
fn whoever_leaves_while_waiting_keeps_nobody_out() {
    let (server, _data) = server(&["--downloads", "1", "--waiting", "2", "--question-wait", "2m"]);
    let client = server.client();
    let (_, mut held) = client.stream("/v1/events");
    held.read_exact(&mut [0; 1]).unwrap();
    // They ask, and are gone before there is an answer.
    for _ in 0..8 {
        let mut stream = std::net::TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
        let request = b"GET /v1/events?limit=1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
        std::io::Write::write_all(&mut stream, request).unwrap();
    }
    let answered = thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            // As soon as the server has seen that the others are gone.
            eventually(Duration::from_mins(1), || {
                Some(client.get("/v1/events?limit=1")).filter(|it| it.status == 200)
            })
        });
        drop(held);
        waiting.join().unwrap()
    });
    assert!(answered.is_some(), "{}", server.stderr());
}

#[test]
fn a_question_that_takes_too_long_is_broken_off() {
    let (server, _data) = server(&["--question-deadline", "1ms"]);
    let client = server.client();
    for path in ["/v1/summary?types=login", "/v1/active-users?from=2016-01-01&to=2024-12-31&tz=Asia/Kolkata"]
    {
        let answer = client.get(path);
        answer.problem(503, "deadline_passed", path);
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{path}");
    }
    for path in ["/v1/summary", "/v1/tenants/{TENANT}/users?limit=5", "/v1/events?limit=5"] {
        let path = path.replace("{TENANT}", TENANT);
        assert_eq!(client.get(&path).status, 200, "{path}");
    }
}
