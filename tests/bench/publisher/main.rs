//! The cost of publishing to whoever publishes, with the server there and away, in memory and with an outbox, beside a line of
//! a log file: `cargo bench -p lastseen --bench publisher [-- --seconds N --rate N]`.
//!
//! Four threads write and publish events, together `--rate` a second; each event is timed from its draft to the moment at
//! which the publisher has it. The log file gets the same line by one `write`, without a sync, at the same rate.

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

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::TcpListener;
use std::process;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use lastseen_client::{Event, Options, Publisher};
use lastseen_tests::Server;

use self::harness::figures::{memory_bytes, print_row};
use self::harness::{BINARY, arguments};

const THREADS: u32 = 4;
/// More than any run takes.
const BYTES: u64 = 2 << 30;

/// Times of single events, in order.
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, share: f64) -> String {
        let place = ((self.0.len() - 1) as f64 * share) as usize;
        format!("{:.1}", self.0[place].as_secs_f64() * 1e6)
    }

    fn row(&self) -> [String; 4] {
        [self.at(0.5), self.at(0.99), self.at(0.999), self.at(1.0)]
    }
}

fn main() {
    let seconds = arguments::number("--seconds").unwrap_or(60);
    let rate = arguments::number("--rate").unwrap_or(5_500);
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
    let server = Server::start_with(BINARY, data.path(), &["--log", "warn"]);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("there is a port").local_addr().expect("it has one");
    let away = format!("http://{nobody}");

    print_row(&format!("{rate} a second, {seconds} s; microseconds"), ["p50", "p99", "p99.9", "max"]);
    let log = data.path().join("service.log");
    let file = OpenOptions::new().create(true).append(true).open(log).expect("a log file");
    let file = Mutex::new(file);
    let logged = paced((rate, seconds), |event| {
        let mut line = event.as_json().to_owned();
        line.push('\n');
        file.lock().expect("nobody panics").write_all(line.as_bytes()).expect("there is room");
    });
    print_row("    a line of a log file", logged.row());
    for (name, url) in [("the server is there", server.url()), ("the server is away", &away)] {
        for with_outbox in [false, true] {
            let outbox = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
            let options = options(url);
            let options = if with_outbox { options.outbox(outbox.path(), BYTES) } else { options };
            let publisher = options.start().expect("it starts");
            let before = memory_bytes(process::id(), "VmRSS");
            let times = paced((rate, seconds), |event| publisher.try_publish(event).expect("there is room"));
            let waiting = publisher.metrics().waiting;
            let grown = memory_bytes(process::id(), "VmRSS").saturating_sub(before);
            let kind = if with_outbox { "outbox" } else { "memory" };
            print_row(&format!("    {name}, {kind}"), times.row());
            if waiting > 1_000 {
                println!("        {waiting} events wait: {} bytes of memory an event", grown / waiting);
            }
            // Those that wait for nobody are handed back, or stay in a directory that goes.
            let _ = publisher.close(Duration::from_secs(if name.ends_with("away") { 0 } else { 60 }));
        }
    }
    through(&server);
}

fn options(url: &str) -> Options {
    Publisher::to(url).buffer_bytes(BYTES as usize)
}

/// Publishes at a rate from several threads; the times of all events.
fn paced((rate, seconds): (u32, u32), publish: impl Fn(Event) + Sync) -> Times {
    let every = Duration::from_secs(1) * THREADS / rate;
    let began = Instant::now();
    let times = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let publish = &publish;
                scope.spawn(move || {
                    let count = rate / THREADS * seconds;
                    let mut times = Vec::with_capacity(count as usize);
                    for number in 0..count {
                        let due = began + every * number;
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        let session = format!("s-{thread}-{}", number / 10);
                        let user = format!("usr_01JK{thread}{:08}", number % 100_000);
                        let drafted = Instant::now();
                        let draft = Event::token_refresh("271170549131364458", user);
                        publish(draft.of_token(session, u64::from(number)).build().expect("it is valid"));
                        times.push(drafted.elapsed());
                    }
                    times
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect::<Vec<_>>()
    });
    let mut times = Times(times);
    times.0.sort_unstable();
    times
}

/// The rate at which a publisher brings a heap of events to the server.
fn through(server: &Server) {
    const EVENTS: u32 = 400_000;
    for with_outbox in [false, true] {
        let outbox = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
        let options = options(server.url()).batch_events(5_000);
        let options = if with_outbox { options.outbox(outbox.path(), BYTES) } else { options };
        let publisher = options.start().expect("it starts");
        let began = Instant::now();
        for number in 0..EVENTS {
            let event = Event::login("acme", format!("u{}", number % 50_000)).build().expect("it is valid");
            publisher.try_publish(event).expect("there is room");
        }
        let taken = began.elapsed();
        publisher.close(Duration::from_mins(5)).expect("all of it arrives");
        let kind = if with_outbox { "outbox" } else { "memory" };
        let rate = |took: Duration| format!("{:.0}", f64::from(EVENTS) / took.as_secs_f64());
        print_row(&format!("{EVENTS} at once, {kind}: events/s"), ["taken", "stored"]);
        print_row("", [rate(taken), rate(began.elapsed())]);
    }
}
