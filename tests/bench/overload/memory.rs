//! Memory that a server keeps: after ingest, after two replays of everything, after each of two rounds of 300 bodies of
//! 8 MiB at once, and after some seconds of light use. The first round often goes back where the second does not.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use lastseen_tests::Server;
use lastseen_tests::instant::{now, rfc3339};

use crate::harness::figures::{memory_bytes, mib};
use crate::probes::{event, fill};

const USERS: u32 = 300_000;
/// Events of a request.
const BATCH: usize = 1_000;
const BODIES: usize = 300;
const BODY_BYTES: usize = 8 << 20;

pub(crate) fn compare(binaries: &[(String, String)], span: Duration) {
    println!("\nresident MiB of a server of {USERS} users; events/s of one publisher in batches of {BATCH}");
    println!(
        "{:<10} {:>12} {:>8} {:>8} {:>12} {:>12} {:>12} {:>8} {:>8}",
        "binary", "events/s", "filled", "ingest", "two replays", "300 bodies", "300 more", "later", "most"
    );
    for (name, binary) in binaries {
        row(name, binary, span);
    }
}

fn row(name: &str, binary: &str, span: Duration) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
    let server = Server::start_with(binary, directory.path(), &["--log", "error"]);
    fill(&server, 0, USERS);
    let resident = || mib(memory_bytes(server.id(), "VmRSS"));
    let filled = resident();
    let rate = ingest(&server, span);
    let ingested = resident();
    for _ in 0..2 {
        replay(&server);
    }
    let replayed = resident();
    let rounds = [0; 2].map(|_| {
        bodies(&server);
        resident()
    });
    use_lightly(&server);
    println!(
        "{name:<10} {rate:>12.0} {filled:>8} {ingested:>8} {replayed:>12} {:>12} {:>12} {:>8} {:>8}",
        rounds[0],
        rounds[1],
        resident(),
        mib(memory_bytes(server.id(), "VmHWM"))
    );
    server.kill9();
}

/// Events a second of one publisher.
fn ingest(server: &Server, span: Duration) -> f64 {
    let at = rfc3339(now());
    let (mut sent, mut elapsed) = (0, Duration::ZERO);
    while elapsed < span {
        let mut body = String::new();
        for number in sent..sent + BATCH {
            let user = format!("user{}", number * 7_919 % USERS as usize);
            let _ = writeln!(body, "{}", event((3, number), ("large", &user), &at));
        }
        let started = Instant::now();
        server.client().post("/v1/events", "application/x-ndjson", body.as_bytes()).ok("an append");
        elapsed += started.elapsed();
        sent += BATCH;
    }
    sent as f64 / elapsed.as_secs_f64()
}

/// Asks for the summary now and then, for as long as an allocator may take to give memory back.
fn use_lightly(server: &Server) {
    const FOR: Duration = Duration::from_secs(15);
    const PAUSE: Duration = Duration::from_millis(50);
    let started = Instant::now();
    while started.elapsed() < FOR {
        server.client().ask("/v1/summary");
        thread::sleep(PAUSE);
    }
}

fn replay(server: &Server) {
    let (_, mut body) = server.client().stream("/v1/events");
    let mut buffer = vec![0; 1 << 20];
    while body.read(&mut buffer).expect("the replay comes to its end") > 0 {}
}

/// Sends large bodies at once, each on a connection of its own. The server refuses those that its budget has no room for.
fn bodies(server: &Server) {
    let address = server.url().trim_start_matches("http://");
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\
         content-length: {BODY_BYTES}\r\n\r\n"
    );
    let piece = vec![b'\n'; 1 << 16];
    thread::scope(|scope| {
        for _ in 0..BODIES {
            scope.spawn(|| {
                let Ok(mut stream) = TcpStream::connect(address) else { return };
                let mut sent = stream.write_all(head.as_bytes()).is_ok();
                for _ in 0..BODY_BYTES / piece.len() {
                    sent = sent && stream.write_all(&piece).is_ok();
                }
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
}
