//! Sealed history: how fast it is made, how large it is, how fast it is read and opened, and what a second import costs.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lastseen_event::{
    Event, EventBatch, EventId, EventType, Position, SessionId, TenantId, UserId, UtcInstant,
};
use lastseen_log::{Log, LogOptions, OsDisk};
use lastseen_store::{Detail, EventReader, EventStore, OnRefused, SystemClock};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{START_US, directory, per_second, unsealed};

const BATCH: u64 = 10_000;

/// Sixty days of 1 M members in 10,000 tenants, most of them small: sessions of 12 events, five minutes apart; ids are
/// UUIDs of version 7.
fn batch(number: u64) -> EventBatch {
    const SESSION_EVENTS: u64 = 12;
    let mut batch = EventBatch::with_capacity(usize::try_from(BATCH).expect("small"));
    for at in number * BATCH..(number + 1) * BATCH {
        // Some sessions are under way at any time, and take turns.
        const UNDER_WAY: u64 = 5_000;
        let round = at / UNDER_WAY;
        let session = mixed((round / SESSION_EVENTS) * UNDER_WAY + at % UNDER_WAY);
        let member = session % 1_000_000;
        // The square makes the first tenants large.
        let tenant = (member % 1_000) * (member % 1_000) / 100;
        let micros = at * 518_400 + mixed(at) % 400_000;
        let occurred_at = START_US + i64::try_from(micros).expect("sixty days");
        let milliseconds = u64::try_from(occurred_at).expect("after 1970") / 1_000;
        let id =
            Uuid::from_u64_pair(milliseconds << 16 | 0x7000 | mixed(at) & 0xfff, 1 << 63 | mixed(!at) >> 2);
        let (tenant, user) = (format!("{:018}", mixed(tenant) >> 5), format!("usr_{:026x}", mixed(member)));
        let session = format!("{session:016x}");
        let first = round.is_multiple_of(SESSION_EVENTS);
        let mut event = Event::new(
            EventId::new(id).expect("not nil"),
            if first { EventType::Login } else { EventType::TokenRefresh },
            (TenantId::new(&tenant).expect("valid"), UserId::new(&user).expect("valid")),
            UtcInstant::from_micros(occurred_at),
        );
        event.session_id = Some(SessionId::new(&session).expect("valid"));
        batch.push(&event).expect("valid");
    }
    batch
}

/// `SplitMix64` of one number.
pub(super) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn open(path: &Path, options: LogOptions) -> Log {
    let disk = Arc::new(OsDisk::new(path).expect("a directory"));
    Log::open(disk, options, Arc::new(SystemClock)).expect("the log opens")
}

/// A history of so many events.
pub(super) fn history(runtime: &Runtime, total: u64) {
    let dir = directory();
    let log = open(dir.path(), unsealed());
    let append = |log: &Log, number| {
        let batch = batch(number);
        let start = Instant::now();
        let appended = runtime.block_on(log.append(batch, OnRefused::RefuseBatch)).expect("appended");
        (appended, start.elapsed())
    };
    let (mut appending, mut sealing) = (Duration::ZERO, Duration::ZERO);
    for number in 0..total / BATCH {
        appending += append(&log, number).1;
        if ((number + 1) * BATCH).is_multiple_of(1_000_000) {
            let start = Instant::now();
            log.seal().expect("sealed");
            sealing += start.elapsed();
        }
    }
    let members = log.members().len();
    println!(
        "sealing alone: {:>10} events/s ({total} events of {members} members; appended at {} events/s)",
        per_second(total, sealing),
        per_second(total, appending)
    );
    size(dir.path());
    log.close();
    let start = Instant::now();
    let log = open(dir.path(), unsealed());
    println!("opening {total} sealed events, {members} members: {:.2} s", start.elapsed().as_secs_f64());
    for (detail, what) in [(Detail::Facts, "columns of a fold"), (Detail::Events, "all columns")] {
        let start = Instant::now();
        let (mut reader, mut events) = (log.read(Position::START, detail), 0);
        while let Some(batch) = reader.next_batch().expect("readable") {
            events += batch.facts.len() as u64;
        }
        assert_eq!(events, total);
        println!("scan, {what}: {:>10} events/s, one thread", per_second(total, start.elapsed()));
    }
    let mut again = Duration::ZERO;
    for number in 0..total / BATCH {
        let (appended, spent) = append(&log, number);
        assert_eq!(appended.stored, 0, "all of it is stored already");
        again += spent;
    }
    println!(
        "the same history again: {:>10} events/s, nothing stored; {:.2} of the first time",
        per_second(total, again),
        again.as_secs_f64() / appending.as_secs_f64()
    );
}

/// Bytes of the segments, of each column.
fn size(dir: &Path) {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let (mut columns, mut bytes, mut rows) = (std::collections::BTreeMap::new(), 0, 0);
    for entry in std::fs::read_dir(dir.join("segments")).expect("a folder").flatten() {
        if entry.path().extension().is_none_or(|extension| extension != "parquet") {
            continue;
        }
        bytes += entry.metadata().expect("a file").len();
        let file = std::fs::File::open(entry.path()).expect("a file");
        let reader = SerializedFileReader::new(file).expect("Parquet");
        for group in reader.metadata().row_groups() {
            rows += u64::try_from(group.num_rows()).expect("rows");
            for column in group.columns() {
                *columns.entry(column.column_path().string()).or_insert(0) += column.compressed_size();
            }
        }
    }
    let each = |bytes: f64| bytes / rows as f64;
    let id = *columns.get("id").expect("a column") as f64;
    let list: Vec<_> =
        columns.iter().map(|(name, bytes)| format!("{name} {:.2}", each(*bytes as f64))).collect();
    println!(
        "size: {:.2} bytes an event, {:.2} of them besides its id ({}; bloom filters and footers {:.2})",
        each(bytes as f64),
        each(bytes as f64 - id),
        list.join(", "),
        each(bytes as f64 - columns.values().sum::<i64>() as f64)
    );
}
