//! Every operation of the disk fails: what is refused never appears, what was acknowledged stays, reading goes on,
//! and the log works again as soon as it can.

use std::sync::Arc;

use lastseen_event::{Event, EventBatch, EventType, Position, TenantId, UserId, UtcInstant};
use lastseen_log::{Fault, FaultDisk, Log, LogOptions, OpenError, Operation, OsDisk, SealError, SyncSite};
use lastseen_store::contract::event_id;
use lastseen_store::{
    AppendError, Detail, EventReader, EventStore, OnRefused, ReadError, SystemClock, error_chain,
};
use tempfile::TempDir;

use crate::history::{History, InDoubt, Item, batch, check, check_verified, drain};
use crate::support::{Chance, clock, is_visited, multiplier, on_all_cores, open, options, wait};

pub(crate) const NOW_US: i64 = 1_800_000_000_000_000;
const BATCHES: [u64; 10] = [3, 1, 8, 2, 30, 1, 1, 5, 12, 4];

/// A log over a disk on which something fails.
pub(crate) struct Life {
    pub(crate) disk: FaultDisk,
    pub(crate) options: LogOptions,
    pub(crate) history: History,
    pub(crate) log: Option<Log>,
}

impl Life {
    pub(crate) fn new(wal_file_bytes: u64) -> Self {
        Self {
            disk: FaultDisk::default(),
            options: options(wal_file_bytes),
            history: History::default(),
            log: None,
        }
    }

    /// Appends all batches, each until it is acknowledged, ends the log in the middle and at the end, and sees that
    /// all of it outlives a power cut.
    fn go(&mut self) -> Result<(), String> {
        let mut number = 0;
        for (at, events) in BATCHES.into_iter().enumerate() {
            let items: Vec<Item> = (number..number + events).map(Item::new).collect();
            number += events;
            self.append(&items)?;
            if at == BATCHES.len() / 2 {
                self.close();
            }
            if at % 4 == 1 {
                self.seal()?;
            }
        }
        self.close();
        self.survives(0, &[])?;
        self.survives(1, &[])
    }

    /// Seals, or fails to: nothing that is stored changes.
    fn seal(&mut self) -> Result<(), String> {
        let Some(log) = &self.log else { return Ok(()) };
        let sealed = log.seal();
        self.history = self.compare(log, None)?;
        for seed in 0..4 {
            self.survives(seed, &[])?;
        }
        match sealed {
            Ok(()) => Ok(()),
            Err(SealError::Io { .. } | SealError::Stopped) => {
                // It may have stopped the writer too: a new process goes on.
                self.close();
                Ok(())
            }
            Err(error) => Err(format!("does not seal: {}", error_chain(&error))),
        }
    }

    pub(crate) fn close(&mut self) {
        if let Some(log) = self.log.take() {
            log.close();
        }
    }

    /// Checks that a power cut now leaves the history, and nothing of `refused`.
    pub(crate) fn survives(&self, seed: u64, refused: &[Item]) -> Result<(), String> {
        let disk = self.disk.after_power_cut(seed);
        let log = open(&disk, &self.options, clock(NOW_US)).map_err(|error| error_chain(&error))?;
        self.history
            .compare(&log, None)
            .map_err(|error| format!("{error}; {} were refused", refused.len()))?;
        Ok(())
    }

    fn open(&mut self, in_doubt: Option<&InDoubt>) -> Result<(), String> {
        const TRIES: usize = 50;
        for _ in 0..TRIES {
            match open(&self.disk, &self.options, clock(NOW_US)) {
                Ok(log) => {
                    self.history = self.compare(&log, in_doubt)?;
                    self.log = Some(log);
                    return Ok(());
                }
                Err(OpenError::Io { .. }) => {}
                Err(error) => return Err(format!("does not open: {}", error_chain(&error))),
            }
        }
        Err("never opens".to_owned())
    }

    /// Compares without reads failing.
    fn compare(&self, log: &Log, in_doubt: Option<&InDoubt>) -> Result<History, String> {
        (0..10)
            .find_map(|_| match self.history.compare(log, in_doubt) {
                Err(error) if error.starts_with("cannot be read") => None,
                result => Some(result),
            })
            .unwrap_or_else(|| Err("never can be read".to_owned()))
    }

    pub(crate) fn append(&mut self, items: &[Item]) -> Result<(), String> {
        const TRIES: usize = 50;
        for attempt in 0..TRIES {
            if attempt == TRIES / 2 {
                self.disk.heal();
            }
            if self.log.is_none() {
                self.open(None)?;
            }
            let log = self.log.as_ref().expect("opened above");
            let new = self.history.new_of(items);
            match wait(log.append(batch(items), OnRefused::RefuseBatch)) {
                Ok(appended) => {
                    check(appended.stored == new.len(), || format!("{appended:?}"))?;
                    self.history.items.extend(new);
                    self.history = self.compare(log, None)?;
                    return Ok(());
                }
                Err(AppendError::NoSpace(_) | AppendError::Unavailable(_)) => {
                    self.history = self.compare(log, None)?;
                    for seed in 0..4 {
                        self.survives(seed, &new)?;
                    }
                }
                Err(AppendError::Indeterminate(_)) => self.start_again(new)?,
                // Nothing of it was begun.
                Err(AppendError::Closed) => self.start_again(Vec::new())?,
                Err(error) => return Err(format!("unexpected: {error}")),
            }
        }
        Err("never acknowledged".to_owned())
    }

    /// After an unknown outcome: nothing more is taken, reading goes on, and a new process knows the outcome.
    fn start_again(&mut self, items: Vec<Item>) -> Result<(), String> {
        let recorded_at = UtcInstant::from_micros(NOW_US);
        let in_doubt = InDoubt { items, recorded_at };
        let log = self.log.take().expect("it is open");
        for _ in 0..2 {
            let again = wait(log.append(batch(&in_doubt.items), OnRefused::RefuseBatch));
            check(matches!(again, Err(AppendError::Closed)), || format!("it should be closed: {again:?}"))?;
        }
        self.compare(&log, None)?;
        for seed in 0..6 {
            let after = self.disk.after_power_cut(seed);
            let log = open(&after, &self.options, clock(NOW_US)).map_err(|error| error_chain(&error))?;
            self.history.compare(&log, Some(&in_doubt))?;
        }
        self.disk = self.disk.after_kill();
        self.open(Some(&in_doubt))?;
        // What is read now, and what is now a duplicate, must stay even if the power goes.
        self.survives(0, &[])
    }
}

#[test]
fn any_operation_may_fail_once() {
    use Operation::{
        Allocate, Create, CreateDir, Open, OpenDir, Read, Remove, Rename, SetLen, SyncAll, SyncData, SyncDir,
        Write,
    };
    /// Of the operations that are many, one in so many fails in the short form.
    const ONE_IN: u64 = 4;
    let operations = [
        CreateDir, OpenDir, SyncDir, Create, Open, Rename, Remove, Read, Write, Allocate, SetLen, SyncData,
        SyncAll,
    ];
    let faults: Vec<(Operation, Fault, usize)> = operations
        .into_iter()
        .flat_map(|operation| {
            [Fault::Io, Fault::NoSpace, Fault::Denied, Fault::NoDescriptors]
                .map(|fault| [0, 1, 41, 300, usize::MAX].map(|written| (operation, fault, written)))
        })
        .flatten()
        .filter(|(operation, fault, written)| {
            let opens = matches!(operation, Open | OpenDir | Create);
            (*operation == Write || *written == 0) && (*fault != Fault::NoDescriptors || opens)
        })
        .collect();
    let lives = on_all_cores(0..faults.len() as u64, |number| {
        let (operation, fault, written) = faults[usize::try_from(number).expect("few")];
        let (chance, mut lives) = (&mut Chance::new(number), 0);
        let one_in = if matches!(operation, Open | Read | Write) { ONE_IN } else { 1 };
        // What comes first is not like what comes later.
        for nth in (0..).filter(|nth| *nth < 2 || is_visited(chance, one_in)) {
            let mut life = Life::new(900);
            let disk = life.disk.clone();
            disk.fail(operation, nth, 1, (fault, written));
            if let Err(error) = life.go() {
                panic!("{operation:?} number {nth} fails with {fault:?} after {written} bytes: {error}");
            }
            lives += 1;
            if disk.failures() == 0 {
                break;
            }
        }
        lives
    });
    println!("one fault: {lives} lives of a log");
}

#[test]
fn many_operations_may_fail() {
    const LIVES: u64 = 300;
    let faults = on_all_cores(0..LIVES * multiplier(), |seed| {
        let chance = &mut Chance::new(seed);
        let mut life = Life::new([300, 900, 3_000][chance.index(3)]);
        for _ in 0..=chance.below(6) {
            let operation = [
                Operation::Write,
                Operation::SyncData,
                Operation::SyncAll,
                Operation::SyncDir,
                Operation::OpenDir,
                Operation::Allocate,
                Operation::Create,
                Operation::Rename,
                Operation::Remove,
                Operation::SetLen,
            ][chance.index(10)];
            let fault = [Fault::Io, Fault::NoSpace, Fault::NoSpace, Fault::NoDescriptors][chance.index(4)];
            life.disk.fail(operation, chance.below(12), 1 + chance.below(3), (fault, chance.index(200)));
        }
        let disk = life.disk.clone();
        life.go().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        disk.failures()
    });
    println!("many faults: {faults} in {} lives of a log", LIVES * multiplier());
}

#[test]
fn a_refused_append_never_appears_however_much_of_it_was_written() {
    const FRAMES: u64 = 12;
    const LONGEST: usize = 400;
    for number in 0..FRAMES {
        for written in 0..LONGEST {
            let mut life = Life::new(4_000);
            life.append(&[Item::new(100), Item::new(101)]).expect("appends");
            // The zeros ahead are written already; this is the frame itself.
            life.disk.fail(Operation::Write, 0, 1, (Fault::NoSpace, written));
            let log = life.log.take().expect("it is open");
            let refused = wait(log.append(batch(&[Item::new(number)]), OnRefused::RefuseBatch));
            assert!(matches!(refused, Err(AppendError::NoSpace(_))), "{refused:?}");
            let log = open(&life.disk.after_kill(), &life.options, clock(NOW_US)).expect("recovers");
            life.history
                .compare(&log, None)
                .unwrap_or_else(|error| panic!("{written} bytes written: {error}"));
        }
    }
    println!("refused: {} lengths", FRAMES * LONGEST as u64);
}

#[test]
fn a_full_disk_refuses_appends_and_answers_queries_until_there_is_space() {
    let mut life = Life::new(600);
    life.append(&[Item::new(0), Item::new(1)]).expect("appends");
    let used: usize = life.disk.files().values().map(Vec::len).sum();
    life.disk.limit(Some(used as u64));
    let log = life.log.as_ref().expect("it is open");
    let items: Vec<Item> = (2..12).map(Item::new).collect();
    for _ in 0..3 {
        let refused = wait(log.append(batch(&items), OnRefused::RefuseBatch));
        assert!(matches!(refused, Err(AppendError::NoSpace(_))), "{refused:?}");
        life.history.compare(log, None).expect("reading goes on");
    }
    assert_eq!(life.disk.files().len(), 2, "the manifest and a file: what was reserved is given back");
    // Repeats need no space.
    let repeat = wait(log.append(batch(&[Item::new(1)]), OnRefused::RefuseBatch)).expect("a duplicate");
    assert_eq!((repeat.stored, repeat.duplicates), (0, 1));
    life.disk.limit(None);
    life.append(&items).expect("there is space again");
    life.close();
    life.survives(0, &[]).expect("all is there");
}

#[test]
fn a_full_file_that_cannot_be_ended_for_lack_of_space_is_ended_later() {
    for written in 0..40 {
        let mut life = Life::new(400);
        life.append(&[Item::new(0), Item::new(1)]).expect("appends");
        let log = life.log.as_ref().expect("it is open");
        // Does not fit: the first write is that of the end frame.
        let items: Vec<Item> = (2..8).map(Item::new).collect();
        life.disk.fail(Operation::Write, 0, 1, (Fault::NoSpace, written));
        let refused = wait(log.append(batch(&items), OnRefused::RefuseBatch));
        assert!(matches!(refused, Err(AppendError::NoSpace(_))), "{refused:?}");
        assert_eq!((life.disk.failures(), life.disk.syncs(SyncSite::EndFrame)), (1, 0));
        for seed in 0..6 {
            life.survives(seed, &items).expect("nothing of it appears");
        }
        // A smaller one fits where the end frame was to be.
        if written % 2 == 0 {
            life.append(&[Item::new(20)]).expect("fits");
        }
        life.append(&items).expect("there is space again");
        life.close();
        life.survives(0, &[]).expect("all is there");
    }
}

#[test]
fn a_file_that_was_ended_in_memory_only_is_ended_again() {
    // Files as long as two frames need, and about as long: an end frame that fills one to the byte would look cut.
    for wal_file_bytes in 0..600 {
        let mut life = Life::new(wal_file_bytes);
        life.append(&[Item::new(0)]).expect("appends");
        life.append(&[Item::new(1)]).expect("appends");
        let log = life.log.take().expect("it is open");
        life.disk.fail(Operation::SyncData, 0, 1, (Fault::Io, 0));
        log.close();
        assert_eq!(life.disk.failures(), 1, "the sync of the end frame");
        life.disk = life.disk.after_kill();
        life.append(&[Item::new(2)]).expect("goes on");
        life.survives(0, &[]).expect("all is there");
    }
}

/// One event of each of 10,000 members whose names are as long as names may be.
fn new_members(round: u64) -> EventBatch {
    let mut batch = EventBatch::default();
    for number in round * 10_000..(round + 1) * 10_000 {
        let (tenant, user) = (format!("{:0>128}", number % 7), format!("{number:0>128}"));
        let names = (TenantId::new(&tenant).expect("valid"), UserId::new(&user).expect("valid"));
        let event = Event::new(event_id(number), EventType::Login, names, UtcInstant::from_micros(NOW_US));
        batch.push(&event).expect("valid");
    }
    batch
}

#[test]
fn a_full_disk_may_stay_full_while_new_members_keep_coming() {
    const ROUNDS: u64 = 10;
    let disk = FaultDisk::default();
    let log = open(&disk, &LogOptions::default(), clock(NOW_US)).expect("opens");
    disk.limit(Some(1_000));
    for round in 0..ROUNDS {
        let refused = wait(log.append(new_members(round), OnRefused::RefuseBatch));
        assert!(matches!(refused, Err(AppendError::NoSpace(_))), "{refused:?}");
    }
    disk.limit(None);
    for round in (0..ROUNDS).rev() {
        let appended = wait(log.append(new_members(round), OnRefused::RefuseBatch)).expect("there is space");
        assert_eq!(appended.stored, 10_000);
    }
    check_verified(&disk, None).expect("sound");
    let before = drain(&mut log.read(Position::START, Detail::Events)).expect("readable");
    log.close();
    let log = open(&disk.after_power_cut(0), &LogOptions::default(), clock(NOW_US)).expect("recovers");
    let after = drain(&mut log.read(Position::START, Detail::Events)).expect("readable");
    assert_eq!(before.facts, after.facts);
    assert!(before.events.iter().eq(after.events.iter()));
    assert_eq!(log.members().len(), 100_000);
}

#[test]
fn a_cursor_that_could_not_read_names_the_file_and_goes_on() {
    let mut life = Life::new(900);
    for (number, events) in BATCHES.into_iter().enumerate() {
        let start = number as u64 * 100;
        life.append(&(start..start + events).map(Item::new).collect::<Vec<_>>()).expect("appends");
    }
    let log = life.log.as_ref().expect("it is open");
    let mut failed = 0;
    for operation in [Operation::Read, Operation::Open] {
        for nth in 0.. {
            let before = life.disk.failures();
            life.disk.fail(operation, nth, 1, (Fault::Io, 0));
            let mut reader = log.read(Position::START, Detail::Events);
            let mut facts = Vec::new();
            loop {
                match reader.next_batch() {
                    Ok(Some(batch)) => facts.extend(batch.facts),
                    Ok(None) => break,
                    Err(ReadError::Io { file, .. }) => {
                        assert!(file.starts_with("wal/0"), "{file}");
                        failed += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(facts, life.history.facts);
            life.disk.heal();
            if life.disk.failures() == before {
                break;
            }
        }
    }
    println!("reads: {failed} failed and were made up for");
}

#[test]
fn what_may_not_be_done_is_named() {
    for (operation, nth, file) in [
        (Operation::CreateDir, 0, "wal"),
        (Operation::SyncDir, 0, "wal"),
        (Operation::Open, 0, "segments/manifest.json"),
        (Operation::Read, 0, "segments/manifest.json"),
        (Operation::Read, 1, "wal/0000000001.wal"),
    ] {
        let mut life = Life::new(900);
        life.append(&[Item::new(1)]).expect("appends");
        life.close();
        life.disk.fail(operation, nth, u64::MAX, (Fault::Denied, 0));
        match open(&life.disk, &life.options, clock(NOW_US)) {
            Err(error @ OpenError::Io { .. }) => {
                assert!(error_chain(&error).contains(file), "{operation:?}: {}", error_chain(&error));
            }
            Err(error) => panic!("{operation:?}: {}", error_chain(&error)),
            Ok(_) => panic!("{operation:?} is not needed"),
        }
    }
}

fn open_directory(dir: &TempDir) -> Result<Log, OpenError> {
    let disk = OsDisk::new(dir.path()).expect("a directory");
    Log::open(Arc::new(disk), options(900), Arc::new(SystemClock))
}

#[test]
fn a_directory_has_one_log_at_a_time() {
    let dir = TempDir::new().expect("a directory");
    let first = open_directory(&dir).expect("opens");
    assert!(matches!(open_directory(&dir), Err(OpenError::Locked)));
    drop(first);
    let second = open_directory(&dir).expect("opens once the first is gone");
    assert!(matches!(open_directory(&dir), Err(OpenError::Locked)));
    drop(second);

    let disk = FaultDisk::default();
    let first = open(&disk, &options(900), clock(NOW_US)).expect("opens");
    assert!(matches!(open(&disk, &options(900), clock(NOW_US)), Err(OpenError::Locked)));
    drop(first);
    open(&disk, &options(900), clock(NOW_US)).expect("opens once the first is gone");
}

#[test]
fn a_refused_directory_is_free_for_the_next() {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("wal"), "a file where the folder should be").expect("writes");
    for _ in 0..2 {
        match open_directory(&dir) {
            Err(OpenError::Io { file, .. }) => assert_eq!(file, "wal"),
            Err(error) => panic!("{}", error_chain(&error)),
            Ok(_) => panic!("it opens"),
        }
    }
    std::fs::remove_file(dir.path().join("wal")).expect("removes");
    open_directory(&dir).expect("opens");
}
