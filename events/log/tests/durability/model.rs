//! The log against a `Vec`: appends of every kind with a small recent window, small files and small segments, reads from
//! anywhere, the tail, sealing, ending and opening again; with a clock that jumps, no descriptors, another name for the
//! directory, and old files put back beside newer ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use lastseen_event::{EventBatch, Position, UtcInstant};
use lastseen_log::{
    Disk, Evidence, Fault, FaultDisk, LockedDisk, Log, LogOptions, OpenError, Operation, OsDisk, SealError,
};
use lastseen_store::contract::Source;
use lastseen_store::{AppendError, Appended, EventStore, ManualClock, OnRefused, RefusedRows, Subscription};
use proptest::prelude::*;
use tempfile::TempDir;

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
    /// The clock shows this instant, in microseconds, and no time went by.
    Clock(i64),
    /// While operations of this kind find no descriptor: an append and sealing, or opening again.
    NoDescriptors(Operation, Option<Vec<Item>>),
    /// The directory gets another name.
    Move,
    /// All files are copied.
    Copy,
    /// The copy is put back, but something that came since stays.
    PutBack(Leftover),
}

/// A file that is newer than all others.
#[derive(Clone, Copy, Debug)]
enum Leftover {
    Dictionary,
    /// The newest segment.
    Segment,
    /// The index beside it.
    Index,
    /// The newest run of ids.
    Run,
    /// The newest WAL file.
    Wal,
    /// Something outside of the log that was made of all of it.
    Snapshot,
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = (0_u64..60, prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(2)])
        .prop_map(|(number, shift_us)| Item { number, shift_us });
    prop::collection::vec(item, 0..9)
}

fn step() -> impl Strategy<Value = Step> {
    let on_refused = prop_oneof![
        3 => Just(OnRefused::RefuseBatch),
        3 => Just(OnRefused::Skip),
        1 => Just(OnRefused::ReportOnly),
    ];
    prop_oneof![
        12 => (items(), on_refused).prop_map(|(items, on)| Step::Append(items, on)),
        1 => (0_u64..60).prop_map(Step::Retract),
        3 => (0_u64..90).prop_map(Step::Read),
        2 => Just(Step::Seal),
        1 => Just(Step::Reopen),
        1 => (1_usize..14).prop_map(Step::Window),
        2 => (0_i64..1_000_000_000).prop_map(Step::Clock),
    ]
}

/// The steps of a log on a disk that does as it is told.
fn steps_in_memory() -> impl Strategy<Value = Vec<Step>> {
    let operation = prop_oneof![Just(Operation::Open), Just(Operation::Create), Just(Operation::OpenDir)];
    let leftover = prop_oneof![
        1 => Just(Leftover::Dictionary),
        3 => Just(Leftover::Segment),
        1 => Just(Leftover::Index),
        1 => Just(Leftover::Run),
        1 => Just(Leftover::Wal),
        1 => Just(Leftover::Snapshot),
    ];
    let step = prop_oneof![
        22 => step(),
        2 => (operation, prop::option::of(items())).prop_map(|(kind, items)| Step::NoDescriptors(kind, items)),
        2 => Just(Step::Copy),
        2 => leftover.prop_map(Step::PutBack),
    ];
    prop::collection::vec(step, 0..60)
}

/// The steps of a log in a directory.
fn steps_in_a_directory() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(prop_oneof![11 => step(), 1 => Just(Step::Move)], 0..40)
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

/// The medium of a log.
enum Place {
    Memory(FaultDisk),
    /// A directory with a name that changes.
    Directory {
        above: TempDir,
        name: String,
    },
}

impl Place {
    fn disk(&self) -> Arc<dyn Disk> {
        match self {
            Self::Memory(disk) => Arc::new(disk.clone()),
            Self::Directory { above, name } => {
                Arc::new(OsDisk::new(&above.path().join(name)).expect("a directory"))
            }
        }
    }
}

/// A copy of all files, and what is in them.
struct Copied {
    files: BTreeMap<String, Vec<u8>>,
    events: usize,
    sealed: u64,
}

/// A log and what it has to hold.
struct Pair {
    place: Place,
    options: LogOptions,
    clock: Arc<ManualClock>,
    log: Log,
    history: History,
    /// `recorded_at` of each record.
    recorded: Vec<UtcInstant>,
    copied: Option<Copied>,
}

const DICTIONARY: &str = "segments/dictionary";

impl Pair {
    fn new(options: LogOptions) -> Self {
        Self::on(Place::Memory(FaultDisk::default()), options)
    }

    fn on(place: Place, options: LogOptions) -> Self {
        let clock = clock(1);
        let log = Log::open(place.disk(), options.clone(), clock.clone());
        Self {
            place,
            options,
            clock,
            log: log.expect("opens"),
            history: History::default(),
            recorded: Vec::new(),
            copied: None,
        }
    }

    fn open(&self, disk: Arc<dyn Disk>, evidence: &[Evidence]) -> Result<Log, OpenError> {
        let (options, clock) = (self.options.clone(), self.clock.clone());
        Log::open_locked(LockedDisk::lock(disk)?, options, (clock, evidence), |_| ())
    }

    /// The proof that a snapshot of all of the history is.
    fn evidence(&self) -> Evidence {
        let (log_id, position) = (self.log.lineage().log_id(), self.history.position());
        Evidence { file: "a snapshot".to_owned(), log_id, position }
    }

    /// Notes the instant at which what came last was recorded.
    fn note_recorded(&mut self) {
        use lastseen_store::Clock;
        let last = self.recorded.last().copied().unwrap_or(UtcInstant::EARLIEST);
        self.recorded.resize(self.history.items.len(), last.max(self.clock.now()));
    }

    fn append(&mut self, items: &[Item], on_refused: OnRefused) {
        let answer = wait(self.log.append(batch(items), on_refused));
        self.check_answer((items, on_refused), answer);
    }

    fn check_answer(
        &mut self,
        (items, on_refused): (&[Item], OnRefused),
        answer: Result<Appended, AppendError>,
    ) {
        let expected = expect(&self.history, self.options.recent_ids, items);
        match answer {
            Ok(appended) => {
                assert!(!on_refused.refuses(&expected.refused));
                self.history.items.extend(&expected.new);
                self.note_recorded();
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

    fn retract(&mut self, number: u64) {
        let item = Item::new(number);
        let found = retract(&self.log, item).expect("it is recorded");
        assert_eq!(found, self.history.retract(item));
        self.note_recorded();
    }

    fn reopen(&mut self, window: usize) {
        self.compare();
        self.log.close();
        self.options.recent_ids = window;
        self.log = self.open(self.place.disk(), &[self.evidence()]).expect("opens again");
        assert_eq!(self.log.torn_tail(), None);
        self.compare();
    }

    fn compare(&mut self) {
        self.history = self.history.compare(&self.log, None).unwrap_or_else(|error| panic!("{error}"));
        let found = read_above(&self.log, Position::START).expect("readable");
        let facts = found.facts.iter().map(|fact| (fact.position, fact.recorded_at));
        let retractions = found.retractions.iter().map(|found| (found.position, found.recorded_at));
        let recorded: BTreeMap<_, _> = facts.chain(retractions).collect();
        assert!(recorded.into_values().eq(self.recorded.iter().copied()), "recorded_at is another");
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

    fn sealed(&self) -> u64 {
        self.log.parts().last().expect("one at least").get()
    }

    /// Whatever wants a descriptor is refused, and nothing else changes.
    fn without_descriptors(&mut self, operation: Operation, items: Option<&[Item]>) {
        let Place::Memory(disk) = &self.place else { return };
        let disk = disk.clone();
        disk.fail(operation, 0, u64::MAX, (Fault::NoDescriptors, 0));
        if let Some(items) = items {
            match wait(self.log.append(batch(items), OnRefused::RefuseBatch)) {
                Err(AppendError::Unavailable(_) | AppendError::Unreadable(_)) => {}
                answer => self.check_answer((items, OnRefused::RefuseBatch), answer),
            }
            match self.log.seal() {
                Ok(()) | Err(SealError::Io { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(!self.log.health().needs_restart());
            disk.heal();
        } else {
            self.log.close();
            let opened = self.open(self.place.disk(), &[self.evidence()]);
            disk.heal();
            self.log = opened.unwrap_or_else(|error| {
                assert!(matches!(error, OpenError::Io { .. }), "{error}");
                self.open(self.place.disk(), &[self.evidence()]).expect("opens again")
            });
        }
    }

    fn rename(&mut self) {
        if let Place::Directory { above, name } = &mut self.place {
            let other = format!("{name}+");
            std::fs::rename(above.path().join(&*name), above.path().join(&other)).expect("renames");
            *name = other;
        }
    }

    fn copy(&mut self) {
        if let Place::Memory(disk) = &self.place {
            let files = disk.files();
            self.copied = Some(Copied { files, events: self.history.items.len(), sealed: self.sealed() });
        }
    }

    /// Old files with one that proves that there was more are refused, and without it they are what they were.
    fn put_back(&mut self, leftover: Leftover) {
        let (Place::Memory(disk), Some(copied)) = (&self.place, self.copied.take()) else { return };
        let later = disk.files();
        self.compare();
        self.log.close();
        let Some((path, is_beyond)) = self.leftover(leftover, &copied, &later) else {
            self.log = self.open(self.place.disk(), &[]).expect("opens again");
            return;
        };
        let mut files = copied.files.clone();
        let evidence = Vec::from_iter(matches!(leftover, Leftover::Snapshot).then(|| self.evidence()));
        files.extend(later.get(&path).map(|content| (path.clone(), content.clone())));
        let disk = FaultDisk::holding(&files);
        let log = match self.open(Arc::new(disk.clone()), &evidence) {
            Ok(log) => {
                assert!(!is_beyond, "{path} proves that there was more");
                self.place = Place::Memory(disk);
                log
            }
            Err(OpenError::Corrupt(corruption)) => {
                let is_wal = matches!(leftover, Leftover::Wal);
                assert!(is_wal || is_beyond, "{corruption}");
                assert!(is_wal || corruption.file == path, "{corruption}");
                let disk = FaultDisk::holding(&copied.files);
                let log = self.open(Arc::new(disk.clone()), &[]).expect("without it all is well");
                self.place = Place::Memory(disk);
                log
            }
            Err(error) => panic!("{error}"),
        };
        self.log = log;
        // A WAL file that goes on where the copy ends is no loss but a gain.
        let events = usize::try_from(self.log.tail().position().get()).expect("small");
        assert!(events == copied.events || matches!(leftover, Leftover::Wal) && events > copied.events);
        self.history.items.truncate(events);
        self.history.facts.retain(|fact| fact.position <= self.log.tail().position());
        self.recorded.truncate(events);
        self.compare();
    }

    /// The path of what is left over, and whether it reaches beyond the copy.
    fn leftover(
        &self,
        leftover: Leftover,
        copied: &Copied,
        later: &BTreeMap<String, Vec<u8>>,
    ) -> Option<(String, bool)> {
        let newest = |folder: &str, end: &str| {
            let names = later.keys().rev();
            names.into_iter().find(|path| path.starts_with(folder) && path.ends_with(end)).cloned()
        };
        let is_beyond = self.sealed() > copied.events as u64;
        Some(match leftover {
            Leftover::Dictionary => {
                // FORMAT.md "Dictionary": magic, version and log id, then the position it is written as of.
                let end = later.get(DICTIONARY)?[28..36].try_into().expect("eight bytes");
                (DICTIONARY.to_owned(), u64::from_le_bytes(end) > copied.sealed + 1)
            }
            // A segment alone does not say where it ends.
            Leftover::Segment => {
                let path = newest("segments/", ".parquet")?;
                let first: usize =
                    path.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a position");
                (path, first > copied.events)
            }
            Leftover::Index => (newest("segments/", ".index")?, is_beyond),
            Leftover::Run => (newest("ids/", ".ids")?, is_beyond),
            Leftover::Wal => (newest("wal/", ".wal")?, false),
            Leftover::Snapshot => ("a snapshot".to_owned(), self.history.items.len() > copied.events),
        })
    }

    fn take(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Append(items, on_refused) => self.append(&items, on_refused),
                Step::Retract(number) => self.retract(number),
                Step::Read(after) => self.read(after),
                Step::Seal => self.log.seal().expect("seals"),
                Step::Reopen => self.reopen(self.options.recent_ids),
                Step::Window(window) => self.reopen(window),
                Step::Clock(micros) => self.clock.jump(UtcInstant::from_micros(micros)),
                Step::NoDescriptors(operation, items) => {
                    self.without_descriptors(operation, items.as_deref());
                }
                Step::Move => self.rename(),
                Step::Copy => self.copy(),
                Step::PutBack(leftover) => self.put_back(leftover),
            }
        }
        self.compare();
    }
}

fn cases(count: u64) -> ProptestConfig {
    let cases = u32::try_from(count * multiplier()).expect("small");
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn the_log_is_a_vec(steps in steps_in_memory(), window in 1_usize..14, wal_file_bytes in 200_u64..3_000) {
        Pair::new(LogOptions { recent_ids: window, ..options(wal_file_bytes) }).take(steps);
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn the_log_is_a_vec_in_a_directory_that_is_moved(
        steps in steps_in_a_directory(),
        window in 1_usize..14,
        wal_file_bytes in 200_u64..3_000,
    ) {
        let place = Place::Directory { above: TempDir::new().expect("a directory"), name: "data".to_owned() };
        Pair::on(place, LogOptions { recent_ids: window, ..options(wal_file_bytes) }).take(steps);
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
        pair.note_recorded();
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
