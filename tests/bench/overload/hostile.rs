//! Those who ask for too much, as many at once as each scenario says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lastseen_tests::Server;

use crate::harness::figures::memory_bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Nobody,
    Scans,
    SilentCsv,
    Tenants,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::Nobody, Self::Scans, Self::SilentCsv, Self::Tenants];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Scans => "50 scans of history",
            Self::SilentCsv => "40 CSV readers that read nothing",
            Self::Tenants => "100 lists of all tenants",
        }
    }

    fn connections(self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::Scans => 50,
            Self::SilentCsv => 40,
            Self::Tenants => 100,
        }
    }

    /// No two requests ask the same, so none is answered by another's work.
    fn request(self, number: u64) -> String {
        let path = match self {
            Self::Nobody => "/healthz".to_owned(),
            Self::Scans => format!("/v1/summary?types=login&known_at={}", 100_000 + number),
            Self::SilentCsv => "/v1/tenants/large/users?format=csv".to_owned(),
            Self::Tenants => format!("/v1/tenants?limit=1000&window={}m", 40_000 + number),
        };
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
    }
}

/// Statuses of the answers that the hostile ones got.
#[derive(Default)]
struct Outcome {
    ok: AtomicU64,
    refused: AtomicU64,
    other: AtomicU64,
}

/// Runs `measure` beside a scenario. Returns also the answers of the hostile ones, and the most resident memory seen.
pub(crate) fn beside<T: Send>(
    server: &Server,
    scenario: Scenario,
    span: Duration,
    measure: impl FnOnce(&str) -> T + Send,
) -> (T, String, u64) {
    let address = server.url().trim_start_matches("http://").to_owned();
    let (stop, number, outcome) = (AtomicBool::new(false), AtomicU64::new(0), Outcome::default());
    let measured = thread::scope(|scope| {
        for _ in 0..scenario.connections() {
            scope.spawn(|| harass(&address, scenario, (&stop, &number, &outcome)));
        }
        // They are all under way when the measurement begins.
        thread::sleep(span / 10);
        let measured = measure(&address);
        stop.store(true, Ordering::Relaxed);
        measured
    });
    let Outcome { ok, refused, other } = outcome;
    let [ok, refused, other] = [ok, refused, other].map(AtomicU64::into_inner);
    (measured, format!("{ok}/{refused}/{other}"), memory_bytes(server.id(), "VmHWM"))
}

/// Asks again and again; a silent reader asks once and holds its connection.
fn harass(address: &str, scenario: Scenario, (stop, number, outcome): (&AtomicBool, &AtomicU64, &Outcome)) {
    const PATIENCE: Duration = Duration::from_millis(200);
    let mut buffer = vec![0; 64 * 1024];
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        let request = scenario.request(number.fetch_add(1, Ordering::Relaxed));
        if stream.write_all(request.as_bytes()).is_err() || stream.set_read_timeout(Some(PATIENCE)).is_err() {
            continue;
        }
        if scenario == Scenario::SilentCsv {
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(PAUSE);
            }
        }
        // The status is enough; the rest is read until the server has no more.
        let mut status = Vec::new();
        while !stop.load(Ordering::Relaxed) || scenario == Scenario::SilentCsv {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    status.extend_from_slice(&buffer[..read.min(64)]);
                    if is_done(&buffer[..read]) || scenario == Scenario::SilentCsv {
                        break;
                    }
                }
                Err(error) if is_timeout(&error) && scenario != Scenario::SilentCsv => {}
                Err(_) => break,
            }
        }
        let count = match status.get(9..12) {
            Some(b"200") => &outcome.ok,
            Some(b"503") => &outcome.refused,
            _ => &outcome.other,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if status.get(9..12) == Some(b"503") {
            // As a refusal asks for, though sooner.
            thread::sleep(PAUSE);
        }
    }
}

const PAUSE: Duration = Duration::from_millis(100);

/// True if a JSON answer has come to its end.
fn is_done(part: &[u8]) -> bool {
    part.ends_with(b"}")
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
