//! The identity service of the client's examples under load: `cargo bench -p lastseen --bench identity [-- --seconds N]`.
//!
//! 500 logins and 5,000 refreshes a second, open loop, over 64 connections. Each request is timed within the service, from its
//! first handler to its answer, publishing included; beside it requests at the same rate that publish nothing.

#![expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people: no count here comes near 2^53"
)]
#![expect(dead_code, reason = "the harness is that of other benchmarks as well")]

#[path = "../harness/lib.rs"]
mod harness;
#[path = "../../../events/client/examples/identity_service.rs"]
mod service;

use std::net::{SocketAddr, TcpListener as FreePort};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use lastseen_client::{Publisher, UtcInstant};
use lastseen_store::{Clock as _, SystemClock};
use lastseen_tests::Server;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use self::harness::figures::print_row;
use self::harness::{BINARY, arguments};

const CONNECTIONS: u32 = 64;
/// One of so many requests is a login.
const LOGINS: u32 = 11;
const RATE: u32 = 5_500;
/// Sessions of each connection at the start.
const SESSIONS: usize = 100;
const BYTES: usize = 512 << 20;

/// The times of requests within the service.
type Times = Arc<Mutex<Vec<Duration>>>;

/// The kind of requests of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// They publish nothing: who am I?
    Quiet,
    Publishing,
}

fn main() {
    let seconds = arguments::number("--seconds").unwrap_or(60);
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
    let server = Server::start_with(BINARY, data.path(), &["--log", "warn"]);
    let nobody = FreePort::bind("127.0.0.1:0").expect("there is a port").local_addr().expect("it has one");
    let away = format!("http://{nobody}");
    print_row(
        &format!("{RATE} requests a second, {seconds} s; microseconds"),
        ["p50", "p99", "p99.9", "max", "over 1 ms", "waiting"],
    );
    for (name, url, with_outbox, kind) in [
        ("nothing is published", server.url(), false, Kind::Quiet),
        ("the server is there, memory", server.url(), false, Kind::Publishing),
        ("the server is there, outbox", server.url(), true, Kind::Publishing),
        ("the server is away, memory", &*away, false, Kind::Publishing),
        ("the server is away, outbox", &*away, true, Kind::Publishing),
    ] {
        let outbox = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
        let options = Publisher::to(url).buffer_bytes(BYTES);
        let options = if with_outbox { options.outbox(outbox.path(), BYTES as u64) } else { options };
        let publisher = options.start().expect("it starts");
        let mut times = run(&publisher, url, (kind, seconds));
        times.sort_unstable();
        let at = |share: f64| {
            let place = ((times.len() - 1) as f64 * share) as usize;
            format!("{:.1}", times[place].as_secs_f64() * 1e6)
        };
        let slow = times.iter().filter(|time| **time > Duration::from_millis(1)).count();
        let waiting = publisher.metrics().waiting;
        let cells = [
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            format!("{slow} of {}", times.len()),
            waiting.to_string(),
        ];
        print_row(&format!("    {name}"), cells);
        // An error tells that some wait, which is so where the server is away.
        let _ = publisher.close(Duration::from_secs(10));
    }
}

/// Runs the service and the load; the times of the requests after the first sessions were opened.
fn run(publisher: &Publisher, lastseen: &str, (kind, seconds): (Kind, u32)) -> Vec<Duration> {
    let times = Times::default();
    let clock: service::Clock = Arc::new(|| UtcInstant::from_micros(SystemClock.now().as_micros()));
    let recorder = times.clone();
    let routes = service::routes(service::Service::new(publisher.clone(), clock, lastseen)).layer(from_fn(
        move |request: Request, next: Next| {
            let times = recorder.clone();
            async move {
                let began = std::time::Instant::now();
                let answer = next.run(request).await;
                let elapsed = began.elapsed();
                times.lock().expect("nobody panics").push(elapsed);
                answer
            }
        },
    ));
    let (tell, address) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = thread::spawn(move || {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
            tell.send(listener.local_addr().expect("it has one")).expect("the benchmark waits");
            tokio::select! {
                ended = async { axum::serve(listener, routes).await } => ended.expect("it serves"),
                _ = stopped => {}
            }
        });
    });
    let address = address.recv().expect("it serves");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut people = JoinSet::new();
        for number in 0..CONNECTIONS {
            people.spawn(Person::open(address, number));
        }
        let people = people.join_all().await;
        times.lock().expect("nobody panics").clear();
        let (began, every) = (Instant::now(), Duration::from_secs(1) * CONNECTIONS / RATE);
        let mut all = JoinSet::new();
        for (number, person) in (0..).zip(people) {
            let first = began + every * number / CONNECTIONS;
            all.spawn(person.live((kind, RATE * seconds / CONNECTIONS), (first, every)));
        }
        all.join_all().await;
    });
    let _ = stop.send(());
    serving.join().expect("it ends");
    std::mem::take(&mut *times.lock().expect("nobody panics"))
}

/// A connection with sessions of one tenant.
struct Person {
    stream: TcpStream,
    received: Vec<u8>,
    email: String,
    /// Access and refresh token of each.
    sessions: Vec<(String, String)>,
}

impl Person {
    async fn open(address: SocketAddr, number: u32) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let email = format!("person{number}@example.com");
        let mut person = Self { stream, received: Vec::new(), email, sessions: Vec::new() };
        person.prove("/api/signup").await;
        while person.sessions.len() < SESSIONS {
            person.prove("/api/login").await;
        }
        person
    }

    /// Sends requests at their times, late ones at once.
    async fn live(mut self, (kind, requests): (Kind, u32), (first, every): (Instant, Duration)) {
        let mut ticks = interval_at(first, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0..requests {
            ticks.tick().await;
            let place = number as usize % self.sessions.len();
            let (access, refresh) = self.sessions[place].clone();
            if kind == Kind::Quiet {
                self.call("GET", "/api/me", &access, "").await;
            } else if number % LOGINS == 0 {
                self.prove("/api/login").await;
            } else {
                let body = format!(r#"{{"refresh_token":"{refresh}"}}"#);
                let tokens = self.call("POST", "/api/refresh", "", &body).await;
                self.sessions[place] = pair(&tokens);
            }
        }
    }

    async fn prove(&mut self, path: &str) {
        let body = format!(r#"{{"email":"{}"}}"#, self.email);
        let code = self.call("POST", "/api/code", "", &body).await;
        let body = format!(r#"{{"email":"{}","code":{}}}"#, self.email, code["code"]);
        let tokens = self.call("POST", path, "", &body).await;
        self.sessions.push(pair(&tokens));
    }

    async fn call(&mut self, method: &str, path: &str, access: &str, body: &str) -> Value {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: identity\r\nauthorization: Bearer {access}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("it reads");
        self.received.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.received).await.expect("it answers") > 0, "it closed");
            let text = std::str::from_utf8(&self.received).expect("JSON is text");
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.expect("it says its length").parse().expect("a number");
            if body.len() >= length {
                assert!(head.starts_with("HTTP/1.1 200"), "{path}: {text}");
                return serde_json::from_str(body).expect("JSON");
            }
        }
    }
}

fn pair(tokens: &Value) -> (String, String) {
    let text = |name: &str| tokens[name].as_str().expect("a token").to_owned();
    (text("access_token"), text("refresh_token"))
}
