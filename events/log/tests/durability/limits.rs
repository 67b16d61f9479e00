//! Limits of a log: each is a refusal that says which, nothing of the request is stored, everything else goes on, and so it is
//! after a restart.

use std::sync::Arc;
use std::time::Duration;

use lastseen_event::{
    BatchName, Event, EventBatch, EventId, EventType, Position, TenantId, UserId, UtcInstant,
};
use lastseen_log::{FaultDisk, Log, LogOptions, MemberLimits, Sealing};
use lastseen_store::{AppendError, Appended, EventStore, Limit, OnRefused};
use uuid::Uuid;

use crate::history::{Item, batch, check_verified, read_above};
use crate::support::{clock, open, options, wait};

/// Logins of these users, each with an id of its own, of a batch or not.
fn logins(users: std::ops::Range<u64>, run: Option<&str>) -> EventBatch {
    let mut batch = EventBatch::default();
    for number in users {
        let user = format!("user {number}");
        let names = (TenantId::new("acme").expect("valid"), UserId::new(&user).expect("valid"));
        let id =
            EventId::new(Uuid::from_u128((u128::from(number) + 1) << 64 | u128::from(batch.len() as u64)));
        let at = UtcInstant::from_micros(1_790_000_000_000_000);
        let mut event = Event::new(id.expect("not nil"), EventType::Login, names, at);
        event.batch = run.map(|run| BatchName::new(run).expect("valid"));
        batch.push(&event).expect("valid");
    }
    batch
}

fn append(log: &Log, batch: EventBatch) -> Result<Appended, AppendError> {
    wait(log.append(batch, OnRefused::RefuseBatch))
}

fn stored(log: &Log) -> usize {
    read_above(log, Position::START).expect("readable").facts.len()
}

#[test]
fn a_log_that_is_full_of_members_takes_the_events_of_those_it_has() {
    let limits = [
        MemberLimits { ordinals: 16, ..MemberLimits::default() },
        MemberLimits { user_id_bytes: 80, ..MemberLimits::default() },
    ];
    for members in limits {
        let (disk, options) = (FaultDisk::default(), LogOptions { members, ..options(4_000) });
        let mut log = open(&disk, &options, clock(1)).expect("opens");
        assert_eq!(append(&log, logins(0..8, None)).expect("there is room").stored, 8);
        for _ in 0..2 {
            let before = stored(&log);
            // Also where the first of them still finds room.
            let full = append(&log, logins(100..140, None));
            assert!(matches!(full, Err(AppendError::Full(Limit::Members))), "{full:?}");
            assert_eq!(stored(&log), before, "nothing of it is stored");
            let known: EventBatch = {
                let mut again = EventBatch::default();
                for (row, event) in logins(0..8, None).iter().enumerate() {
                    let id = Uuid::from_u128(u128::from(before as u64) << 80 | u128::from(row as u64 + 1));
                    again.push(&Event { id: EventId::new(id).expect("not nil"), ..event }).expect("valid");
                }
                again
            };
            assert_eq!(append(&log, known).expect("all are known").stored, 8);
            log.seal().expect("seals");
            log.close();
            check_verified(&disk, None).expect("is sound");
            log = open(&disk, &options, clock(1)).expect("opens full");
        }
    }
}

#[test]
fn a_log_takes_so_many_names_of_batches_and_those_for_ever() {
    let (disk, options) = (FaultDisk::default(), LogOptions { batches_max: 3, ..options(4_000) });
    let mut log = open(&disk, &options, clock(1)).expect("opens");
    for (number, run) in (0..).zip(["one", "two", "three"]) {
        append(&log, logins(number * 10..number * 10 + 2, Some(run))).expect("there is room");
    }
    wait(log.retract(BatchName::new("two").expect("valid"), None)).expect("is retracted");
    for round in 0..2 {
        let before = stored(&log);
        let refused = append(&log, logins(50..52, Some("four")));
        assert!(matches!(refused, Err(AppendError::TooManyBatches { max: 3 })), "{refused:?}");
        // A request with a name that fits and one that does not is refused whole.
        let mut both = logins(60..61, Some("one"));
        for event in logins(61..62, Some("five")).iter() {
            both.push(&event).expect("valid");
        }
        assert!(matches!(append(&log, both), Err(AppendError::TooManyBatches { .. })));
        assert_eq!(stored(&log), before);
        append(&log, logins(70 + round * 2..72 + round * 2, Some("one"))).expect("it has this one");
        log.seal().expect("seals");
        log.close();
        log = open(&disk, &options, clock(1)).expect("opens");
    }
    assert_eq!(log.batches().len(), 3);
}

#[test]
fn appends_wait_for_sealing_and_are_refused_while_it_stands_still() {
    let disk = FaultDisk::default();
    let options = LogOptions {
        segment_events: 10,
        unsealed_events_max: 20,
        segment_age: Duration::from_millis(40),
        sealing: Sealing::Background,
        ..options(2_000)
    };
    let log = Log::open(Arc::new(disk.clone()), options, clock(1)).expect("opens");
    let items = |numbers: std::ops::Range<u64>| numbers.map(Item::new).collect::<Vec<_>>();
    for first in (0..400).step_by(8) {
        // Slower than without a bound, and never refused while segments are made.
        let appended = append(&log, batch(&items(first..first + 8))).expect("sealing goes on");
        assert_eq!(appended.stored, 8);
        assert!(log.health().unsealed_events <= 20 + 8 + 10, "{:?}", log.health());
    }
    let stand_still = LogOptions { sealing: Sealing::OnDemand, ..log_options() };
    let log = open(&FaultDisk::default(), &stand_still, clock(1)).expect("opens");
    let mut taken = 0;
    let refused = loop {
        match append(&log, batch(&items(taken..taken + 8))) {
            Ok(appended) => taken += appended.stored as u64,
            Err(error) => break error,
        }
        assert!(taken < 100, "there is no bound");
    };
    assert!(matches!(refused, AppendError::Unavailable(_)), "{refused:?}");
    log.seal().expect("seals");
    append(&log, batch(&items(taken..taken + 8))).expect("goes on");
}

fn log_options() -> LogOptions {
    LogOptions { segment_events: 10, unsealed_events_max: 20, ..options(2_000) }
}

#[test]
fn requests_that_wait_are_bounded_by_their_bytes() {
    let options = LogOptions { queue_bytes: 1, ..options(1 << 20) };
    let log = open(&FaultDisk::default(), &options, clock(1)).expect("opens");
    // Larger than all that may wait: it goes alone.
    std::thread::scope(|scope| {
        for publisher in 0..8_u64 {
            let log = &log;
            scope.spawn(move || {
                for round in 0..20 {
                    let first = (publisher * 20 + round) * 100;
                    let appended = append(log, logins(first..first + 50, None)).expect("its turn comes");
                    assert_eq!(appended.stored, 50);
                }
            });
        }
    });
    assert_eq!(log.tail().position().get(), 8 * 20 * 50);
}
