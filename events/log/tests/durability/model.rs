//! The log against a `Vec`: appends of every kind with a small recent window, small files and small segments, reads from
//! anywhere, the tail, sealing, ending and opening again.

use lastseen_event::{EventBatch, Position};
use lastseen_log::{FaultDisk, Log, LogOptions};
use lastseen_store::contract::Source;
use lastseen_store::{AppendError, EventStore, OnRefused, RefusedRows, Subscription};
use proptest::prelude::*;

use crate::history::{History, Item, batch, check_verified, read_above, retract};
use crate::support::{clock, multiplier, open, options, wait};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Item>, OnRefused),
    /// Takes the batch of this event back.
    Retract(u64),
    Read(u64),
    /// Everything so far becomes a segment.
    Seal,
    Reopen,
    /// Reopening with another window.
    Window(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let item = (0_u64..60, prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(2)])
        .prop_map(|(number, shift_us)| Item { number, shift_us });
    let on_refused = prop_oneof![
        3 => Just(OnRefused::RefuseBatch),
        3 => Just(OnRefused::Skip),
        1 => Just(OnRefused::ReportOnly),
    ];
    let step = prop_oneof![
        12 => (prop::collection::vec(item, 0..9), on_refused).prop_map(|(items, on)| Step::Append(items, on)),
        1 => (0_u64..60).prop_map(Step::Retract),
        3 => (0_u64..90).prop_map(Step::Read),
        2 => Just(Step::Seal),
        1 => Just(Step::Reopen),
        1 => (1_usize..14).prop_map(Step::Window),
    ];
    prop::collection::vec(step, 0..50)
}

/// The expected answer to an append: stored, duplicates, refused.
#[derive(Debug, Default)]
struct Expected {
    new: Vec<Item>,
    duplicates: usize,
    refused: RefusedRows,
}

/// The rule of idempotency in its shortest form: what is stored with the same content, however long ago, is a duplicate;
/// an id among the last `window` events, or above in its own batch, that stands for something else is a conflict. Before all that, what
/// came with a batch that was taken back is refused.
fn expect(whole: &History, window: usize, items: &[Item]) -> Expected {
    let history = &whole.items;
    let recent = &history[history.len().saturating_sub(window)..];
    let mut expected = Expected::default();
    for (row, item) in items.iter().enumerate() {
        if whole.retracted(item.number).is_some() {
            expected.refused.retracted.push(row);
        } else if history.contains(item) || expected.new.contains(item) {
            expected.duplicates += 1;
        } else if recent
            .iter()
            .chain(&expected.new)
            .any(|known| known.number == item.number && !known.is_retraction())
        {
            expected.refused.conflicts.push(row);
        } else {
            expected.new.push(*item);
        }
    }
    expected
}

/// A log and what it has to hold.
struct Pair {
    disk: FaultDisk,
    options: LogOptions,
    log: Log,
    history: History,
}

impl Pair {
    fn new(options: LogOptions) -> Self {
        let disk = FaultDisk::default();
        let log = open(&disk, &options, clock(1)).expect("opens");
        Self { disk, options, log, history: History::default() }
    }

    fn append(&mut self, items: &[Item], on_refused: OnRefused) {
        let expected = expect(&self.history, self.options.recent_ids, items);
        match wait(self.log.append(batch(items), on_refused)) {
            Ok(appended) => {
                assert!(!on_refused.refuses(&expected.refused));
                self.history.items.extend(&expected.new);
                assert_eq!(
                    (appended.stored, appended.duplicates, &appended.refused, appended.position),
                    (expected.new.len(), expected.duplicates, &expected.refused, self.history.position())
                );
            }
            Err(AppendError::Refused(rows)) => {
                assert!(on_refused.refuses(&expected.refused));
                assert_eq!(rows, expected.refused);
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(self.log.tail().position(), self.history.position());
    }

    fn reopen(&mut self, window: usize) {
        self.compare();
        self.log.close();
        self.options.recent_ids = window;
        self.log = open(&self.disk, &self.options, clock(1)).expect("opens again");
        assert_eq!(self.log.torn_tail(), None);
        self.compare();
    }

    fn compare(&mut self) {
        self.history = self.history.compare(&self.log, None).unwrap_or_else(|error| panic!("{error}"));
    }

    fn read(&self, after: u64) {
        let after = after.min(self.history.position().get());
        let found = read_above(&self.log, Position::new(after)).expect("readable");
        let rest = &self.history.items[usize::try_from(after).expect("small")..];
        assert!(found.events.iter().eq(batch(rest).iter()));
        let positions = found.facts.iter().map(|fact| fact.position);
        let retractions = found.retractions.iter().map(|retraction| retraction.position);
        let mut all: Vec<_> = positions.chain(retractions).map(Position::get).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(after + 1..=self.history.position().get()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300 * u32::try_from(multiplier()).unwrap_or(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_log_is_a_vec(steps in steps(), window in 1_usize..14, wal_file_bytes in 200_u64..3_000) {
        let mut pair = Pair::new(LogOptions { recent_ids: window, ..options(wal_file_bytes) });
        for step in steps {
            match step {
                Step::Append(items, on_refused) => pair.append(&items, on_refused),
                Step::Retract(number) => {
                    let item = Item::new(number);
                    let found = retract(&pair.log, item).expect("it is recorded");
                    assert_eq!(found, pair.history.retract(item));
                }
                Step::Read(after) => pair.read(after),
                Step::Seal => pair.log.seal().expect("seals"),
                Step::Reopen => pair.reopen(pair.options.recent_ids),
                Step::Window(window) => pair.reopen(window),
            }
        }
        pair.compare();
    }
}

#[test]
fn an_id_is_known_until_exactly_the_window_is_behind_it() {
    const WINDOW: u64 = 5;
    let items = |numbers: std::ops::Range<u64>| numbers.map(Item::new).collect::<Vec<_>>();
    let changed = Item { number: 0, shift_us: 1 };
    for reopened in [false, true] {
        let mut pair = Pair::new(LogOptions { recent_ids: 5, ..options(400) });
        pair.append(&items(0..WINDOW), OnRefused::RefuseBatch);
        if reopened {
            pair.reopen(5);
        }
        // The last N events: 0 is the oldest of them.
        let again =
            wait(pair.log.append(batch(&[Item::new(0)]), OnRefused::RefuseBatch)).expect("a duplicate");
        assert_eq!((again.stored, again.duplicates), (0, 1));
        let conflict = wait(pair.log.append(batch(&[changed]), OnRefused::RefuseBatch));
        assert!(matches!(conflict, Err(AppendError::Refused(rows)) if rows.conflicts == [0]));
        // One more, and 0 is outside: taken for new, with whatever content.
        pair.append(&items(WINDOW..WINDOW + 1), OnRefused::RefuseBatch);
        if reopened {
            pair.reopen(5);
        }
        let stored = wait(pair.log.append(batch(&[changed]), OnRefused::RefuseBatch)).expect("is new");
        assert_eq!((stored.stored, stored.position.get()), (1, WINDOW + 2));
        pair.history.items.push(changed);
        // A larger window from now on sees both: each is known by its content, and a third is a conflict.
        pair.reopen(100);
        pair.append(&[changed], OnRefused::RefuseBatch);
        pair.append(&[Item::new(0)], OnRefused::RefuseBatch);
        pair.append(&[Item { number: 0, shift_us: 2 }], OnRefused::RefuseBatch);
        assert_eq!(pair.history.position().get(), WINDOW + 2);
    }
}

/// Whatever of the history is in segments, in WAL files and in the window that is filled again at a start.
#[test]
fn an_id_of_two_tenants_stays_two() {
    const IDS: u64 = 40;
    let source = Source { series: 77 };
    let of = |tenant: &str, (number, shift_us): (u64, i64)| {
        let mut batch = EventBatch::default();
        source.push_of(&mut batch, tenant, (number, shift_us));
        batch
    };
    for (window, segment_events) in [(100, 7), (10, 7), (100, 1_000), (10, 1_000)] {
        let (disk, options) =
            (FaultDisk::default(), LogOptions { recent_ids: window, segment_events, ..options(2_000) });
        let reopen = |log: Log| {
            log.close();
            open(&disk, &options, clock(1)).expect("opens again")
        };
        let mut log = open(&disk, &options, clock(1)).expect("opens");
        for number in 0..IDS {
            for tenant in ["one", "two"] {
                let appended = wait(log.append(of(tenant, (number, 0)), OnRefused::RefuseBatch));
                assert_eq!(appended.expect("is new").stored, 1, "{tenant} {number}");
            }
            if number % 16 == 15 {
                log.seal().expect("seals");
            }
            if number % 11 == 10 {
                log = reopen(log);
            }
        }
        let log = reopen(log);
        for number in 0..IDS {
            for tenant in ["two", "one"] {
                let again = wait(log.append(of(tenant, (number, 0)), OnRefused::RefuseBatch));
                assert_eq!(again.expect("a duplicate").duplicates, 1, "{tenant} {number} {window}");
            }
        }
        for tenant in ["one", "two"] {
            let other = wait(log.append(of(tenant, (IDS - 1, 1)), OnRefused::RefuseBatch));
            assert!(matches!(other, Err(AppendError::Refused(rows)) if rows.conflicts == [0]), "{tenant}");
            // A third tenant has its own.
            let third = wait(log.append(of(&format!("{tenant} else"), (0, 1)), OnRefused::RefuseBatch));
            assert_eq!(third.expect("is new").stored, 1);
        }
        check_verified(&disk, None).expect("two tenants may have one id");
    }
}

/// Segments take over at the end of the window: at no size of either is an event forgotten.
#[test]
fn what_is_stored_is_a_duplicate_for_ever() {
    const EVENTS: u64 = 120;
    for (window, segment_events, wal_file_bytes) in
        [(1, 7, 300), (3, 20, 4_000), (16, 1, 2_000), (40, 33, 900)]
    {
        let mut pair =
            Pair::new(LogOptions { recent_ids: window, segment_events, ..options(wal_file_bytes) });
        for number in 0..EVENTS {
            pair.append(&[Item::new(number)], OnRefused::RefuseBatch);
            if number % 31 == 30 {
                pair.log.seal().expect("seals");
            }
            if number % 47 == 46 {
                pair.reopen(window);
            }
        }
        let all: Vec<Item> = (0..EVENTS).map(Item::new).collect();
        for step in [1, 13, 120] {
            for items in all.chunks(step) {
                pair.append(items, OnRefused::RefuseBatch);
            }
        }
        assert_eq!(pair.history.position().get(), EVENTS);
        // Beyond the window another content is an event of its own, and known from then on.
        let changed = Item { number: 0, shift_us: 1 };
        pair.append(&[changed], OnRefused::RefuseBatch);
        pair.log.seal().expect("seals");
        pair.append(&[changed, Item::new(0)], OnRefused::RefuseBatch);
        assert_eq!(pair.history.position().get(), EVENTS + 1);
        pair.compare();
    }
}

#[test]
fn a_subscription_ends_when_the_log_is_closed_and_everything_was_read() {
    let mut pair = Pair::new(options(400));
    let mut subscription = Subscription::new(&pair.log, Position::START, lastseen_store::Detail::Facts);
    for number in 0..20 {
        pair.append(&[Item::new(number)], OnRefused::RefuseBatch);
    }
    pair.log.close();
    let refused = wait(pair.log.append(batch(&[Item::new(99)]), OnRefused::RefuseBatch));
    assert!(matches!(refused, Err(AppendError::Closed)));
    let mut seen = 0;
    while let Some(batch) = wait(subscription.next()).expect("readable") {
        seen += batch.facts.len();
    }
    assert_eq!(seen, 20);
}
