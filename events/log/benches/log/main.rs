//! The speed of the log beside that of the bare disk: durable appends in batches and one by one, and
//! recovery. Every figure is printed with its ratio from the same run; nothing is asserted.
//!
//! `cargo bench -p lastseen-log --bench log [-- --seconds N | --size EVENTS | --sealed EVENTS | --segments N |
//! --followers]`, in the folder of `CARGO_TARGET_TMPDIR`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod followers;
mod raw;
mod sealed;
mod segments;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lastseen_event::{Event, EventBatch, EventId, EventType, SessionId, TenantId, UserId, UtcInstant};
use lastseen_log::{Log, LogOptions, OsDisk, Sealing};
use lastseen_store::{EventStore, OnRefused, SystemClock};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MEMBERS: u64 = 1_000_000;

fn main() {
    let number = |name: &str| {
        let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
        args.next().and_then(|number| number.parse::<u64>().ok())
    };
    let seconds = number("--seconds").unwrap_or(5);
    if let Some(events) = number("--sealed") {
        return sealed::history(&Runtime::new().expect("a tokio runtime"), events);
    }
    if let Some(segments) = number("--segments") {
        return segments::segments(&Runtime::new().expect("a tokio runtime"), &[segments]);
    }
    let runtime = Runtime::new().expect("a tokio runtime");
    if std::env::args().any(|arg| arg == "--followers") {
        return followers::followers(&runtime, Duration::from_secs(seconds));
    }
    if let Some(size) = number("--size") {
        let size = usize::try_from(size).expect("small");
        return batches(&runtime, size, Duration::from_secs(seconds));
    }
    for size in [1_000, 10_000] {
        batches(&runtime, size, Duration::from_secs(seconds));
    }
    sealing(&runtime);
    singles(&runtime, Duration::from_secs(seconds));
    recovery(&runtime);
    followers::followers(&runtime, Duration::from_secs(seconds));
    sealed::history(&runtime, 20_000_000);
    segments::segments(&runtime, &[10, 100]);
}

fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

fn open(path: &Path, options: LogOptions) -> Log {
    let disk = Arc::new(OsDisk::new(path).expect("a directory"));
    Log::open(disk, options, Arc::new(SystemClock)).expect("the log opens")
}

/// Makes events of random members, ids and times; the same seed makes the same events.
struct Generator(u64, i64);

/// The time at which a generator begins, in microseconds since 1970.
const START_US: i64 = 1_790_000_000_000_000;

/// Microseconds from one event of a generator to the next: four publishers send about as fast as that.
const EVENT_EVERY_US: i64 = 2;

impl Generator {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn batch(&mut self, events: usize) -> EventBatch {
        let mut batch = EventBatch::with_capacity(events);
        for _ in 0..events {
            let number = self.next() % MEMBERS;
            let tenant = format!("{:018}", number % 10_007);
            let user = format!("usr_{number:026}");
            let session = format!("ses_{:020}", self.next());
            let id = Uuid::from_u64_pair(self.next(), self.next() | 1);
            // As publishers send them: 50 ms of clocks and networks around a time that goes on.
            let at = self.1 + i64::try_from(self.next() % 50_000).expect("small");
            self.1 += EVENT_EVERY_US;
            let mut event = Event::new(
                EventId::new(id).expect("not nil"),
                EventType::TokenRefresh,
                (TenantId::new(&tenant).expect("valid"), UserId::new(&user).expect("valid")),
                UtcInstant::from_micros(at),
            );
            if number.is_multiple_of(2) {
                event.session_id = Some(SessionId::new(&session).expect("valid"));
            }
            batch.push(&event).expect("valid");
        }
        batch
    }
}

const PUBLISHERS: u64 = 4;

/// Without sealing: so that what was written can be looked at.
fn unsealed() -> LogOptions {
    LogOptions { sealing: Sealing::OnDemand, ..LogOptions::default() }
}

/// A log that knows every member.
fn warm(runtime: &Runtime, dir: &Path, options: LogOptions) -> Log {
    let log = open(dir, options);
    for start in (0..MEMBERS).step_by(10_000) {
        runtime.block_on(log.append(known_members(start), OnRefused::RefuseBatch)).expect("appended");
    }
    log
}

/// Appends so many events from four publishers, each with one request under way. Batches are made outside the time. The
/// seeds go on from `seed`.
fn publish(runtime: &Runtime, log: &Log, (size, events): (usize, usize), seed: &mut u64) -> Duration {
    let batches = events / size / 4;
    let queues: Vec<Vec<EventBatch>> = (0..PUBLISHERS)
        .map(|_| {
            let round = i64::try_from(*seed / PUBLISHERS).expect("small");
            let events = i64::try_from(events).expect("small") / 4;
            let mut generator = Generator(*seed << 40, START_US + round * events * EVENT_EVERY_US);
            *seed += 1;
            (0..batches).map(|_| generator.batch(size)).collect()
        })
        .collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for queue in queues {
            scope.spawn(|| {
                for batch in queue {
                    runtime.block_on(log.append(batch, OnRefused::RefuseBatch)).expect("appended");
                }
            });
        }
    });
    start.elapsed()
}

/// Batches of this size, beside the disk alone. What was written is sealed between the rounds, outside the time: a log that runs
/// for long has a recent window of about one size, and WAL files that come and go.
fn batches(runtime: &Runtime, size: usize, length: Duration) {
    const EVENTS_A_ROUND: usize = 1_000_000;
    let dir = directory();
    let log = warm(runtime, dir.path(), unsealed());
    let (mut events, mut spent, mut seed, mut frames) = (0, Duration::ZERO, PUBLISHERS, Vec::new());
    while spent < length {
        log.seal().expect("sealed");
        spent += publish(runtime, &log, (size, EVENTS_A_ROUND), &mut seed);
        events += EVENTS_A_ROUND;
        frames.append(&mut log_frames(dir.path()));
    }
    log.close();
    let raw = raw::write_and_sync(dir.path(), &frames);
    let batch_len = frames.iter().sum::<usize>() * size / events;
    let each = raw::write_and_sync_each(dir.path(), PUBLISHERS, (events / size) as u64, batch_len);
    let rate = per_second(events as u64, spent);
    println!(
        "batches of {size:>6} from {PUBLISHERS}: {rate:>10} events/s, {:.0} events a group, {} bytes an event; \
         ours {:.2} s; the same bytes without us, batch by batch from {PUBLISHERS} threads {:.2} s = {:.2}, \
         in our groups {:.2} s = {:.2}",
        events as f64 / frames.len() as f64,
        frames.iter().sum::<usize>() / events,
        spent.as_secs_f64(),
        each.as_secs_f64(),
        each.as_secs_f64() / spent.as_secs_f64(),
        raw.as_secs_f64(),
        raw.as_secs_f64() / spent.as_secs_f64(),
    );
}

/// Measures the cost of sealing for the appends beside it: in turns with and without it, batches of 1,000, so
/// many events at a time that there is always something to seal.
fn sealing(runtime: &Runtime) {
    const TURNS: u32 = 2;
    const EVENTS: usize = 6_000_000;
    let (with, without) = (directory(), directory());
    let with = (warm(runtime, with.path(), LogOptions::default()), with);
    let without = (warm(runtime, without.path(), unsealed()), without);
    let mut seed = 400;
    let mut totals = [Duration::ZERO; 2];
    for _ in 0..TURNS {
        for (total, (log, _)) in totals.iter_mut().zip([&without, &with]) {
            *total += publish(runtime, log, (1_000, EVENTS), &mut seed);
        }
    }
    let [without, with] = totals.map(|spent| per_second(EVENTS as u64 * u64::from(TURNS), spent));
    println!(
        "sealing: {with:>10} events/s beside it, {without} without: {:.1} % less",
        100.0 - with as f64 * 100.0 / without as f64
    );
}

/// One event of each of 10,000 members from `start` on.
fn known_members(start: u64) -> EventBatch {
    let mut batch = EventBatch::with_capacity(10_000);
    for number in start..start + 10_000 {
        let tenant = format!("{:018}", number % 10_007);
        let user = format!("usr_{number:026}");
        let event = Event::new(
            EventId::new(Uuid::from_u64_pair(7, number + 1)).expect("not nil"),
            EventType::Login,
            (TenantId::new(&tenant).expect("valid"), UserId::new(&user).expect("valid")),
            UtcInstant::from_micros(1_780_000_000_000_000),
        );
        batch.push(&event).expect("valid");
    }
    batch
}

/// One event at a time from 64 tasks.
fn singles(runtime: &Runtime, length: Duration) {
    const TASKS: u64 = 64;
    let dir = directory();
    let log = Arc::new(open(dir.path(), unsealed()));
    let stop = Arc::new(AtomicBool::new(false));
    let appended = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    runtime.block_on(async {
        let tasks = (0..TASKS).map(|task| {
            let (log, stop, appended) = (log.clone(), stop.clone(), appended.clone());
            runtime.spawn(async move {
                let mut generator = Generator((task + 1) << 32, START_US);
                while !stop.load(Ordering::Relaxed) {
                    log.append(generator.batch(1), OnRefused::RefuseBatch).await.expect("appended");
                    appended.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        tokio::time::sleep(length).await;
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("a publisher runs to its end");
        }
    });
    let spent = start.elapsed();
    let frames = log_frames(dir.path());
    log.close();
    let events = appended.load(Ordering::Relaxed);
    let group = events as f64 / frames.len() as f64;
    let raw = raw::write_and_sync(dir.path(), &frames);
    let syncs = frames.len() as f64 / raw.as_secs_f64();
    println!(
        "single events from {TASKS} tasks: {:>7} events/s; {:.0} groups/s of {group:.1} events; the disk alone syncs \
         {syncs:.0} such groups/s, times the group size {:.0} events/s: ratio {:.2}",
        per_second(events, spent),
        frames.len() as f64 / spent.as_secs_f64(),
        syncs * group,
        events as f64 / spent.as_secs_f64() / (syncs * group),
    );
}

/// Opens a WAL of 256 MiB that was not closed.
fn recovery(runtime: &Runtime) {
    const WAL_BYTES: u64 = 256 * 1024 * 1024;
    let dir = directory();
    let log = open(dir.path(), unsealed());
    let mut generator = Generator(99 << 40, START_US);
    let mut events = 0;
    while log_frames(dir.path()).iter().sum::<usize>() < usize::try_from(WAL_BYTES).expect("fits") {
        for _ in 0..20 {
            events += 10_000;
            runtime.block_on(log.append(generator.batch(10_000), OnRefused::RefuseBatch)).expect("appended");
        }
    }
    log.close();
    let start = Instant::now();
    let log = open(dir.path(), unsealed());
    let spent = start.elapsed();
    let members = log.members().len();
    println!(
        "recovery: {:>10} events/s ({events} events, {members} members, 256 MiB of WAL in {:.2} s)",
        per_second(events, spent),
        spent.as_secs_f64()
    );
}

/// The lengths of all event frames in the WAL, in order: read from their headers (FORMAT.md "Frame").
fn log_frames(dir: &Path) -> Vec<usize> {
    let mut paths: Vec<_> =
        std::fs::read_dir(dir.join("wal")).expect("a wal folder").flatten().map(|e| e.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    paths.sort();
    let mut frames = Vec::new();
    for path in paths {
        let bytes = std::fs::read(path).expect("a WAL file");
        let mut at = 64;
        while let Some(header) = bytes.get(at..at + 40)
            && header.starts_with(b"LSF1")
        {
            let len = 40 + u32::from_le_bytes(header[8..12].try_into().expect("4 bytes")) as usize;
            if header[12] == 1 {
                frames.push(len);
            }
            at += len;
        }
    }
    frames
}

fn per_second(events: u64, spent: Duration) -> u64 {
    (u128::from(events) * 1_000_000 / spent.as_micros().max(1)).try_into().unwrap_or(u64::MAX)
}
