//! The power goes at every operation of random workloads, sealing included, and at every operation of the recovery after that.

use std::collections::BTreeMap;
use std::sync::Arc;

use lastseen_event::UtcInstant;
use lastseen_log::{Fault, FaultDisk, Log, LogOptions, OpenError, Operation, SyncSite};
use lastseen_store::{AppendError, EventStore, ManualClock, OnRefused, error_chain};

use crate::history::{History, InDoubt, Item, batch, check, check_verified, retract};
use crate::support::{Chance, clock, is_long, is_visited, multiplier, on_all_cores, open, options, wait};

/// One step of a workload.
#[derive(Debug)]
enum Step {
    Append(Vec<Item>),
    /// Takes the batch of an event back, if it has one.
    Retract(Item),
    /// The same, but one of the writes it takes ends for lack of space after so many bytes: it is refused.
    NoSpace(Vec<Item>, u64, usize),
    /// Makes a segment of everything so far.
    Seal,
    /// Ends the log in order and opens it again.
    Reopen,
    /// Ends the process and starts another.
    Kill,
}

/// A workload by seed.
struct Workload {
    options: LogOptions,
    steps: Vec<Step>,
}

impl Workload {
    fn new(seed: u64) -> Self {
        const WAL_FILE_BYTES: [u64; 4] = [700, 1_500, 4_000, 9_000];
        let chance = &mut Chance::new(seed);
        // By turns less than the history, so that what is old is known from disk.
        let recent_ids = if seed.is_multiple_of(2) { 1_000 } else { 6 };
        let wal_file_bytes = WAL_FILE_BYTES[chance.index(WAL_FILE_BYTES.len())];
        let options = LogOptions { recent_ids, ..options(wal_file_bytes) };
        let mut sent = 0;
        let steps = (0..8 + chance.below(8))
            .map(|_| match chance.below(18) {
                16.. => Step::Retract(Item::new(chance.below(sent.max(1)))),
                0..2 => Step::Reopen,
                2 => Step::Kill,
                14..16 => Step::Seal,
                3..5 => Step::NoSpace(items(chance, &mut sent), chance.below(2), chance.index(600)),
                _ => Step::Append(items(chance, &mut sent)),
            })
            .collect();
        Self { options, steps }
    }
}

/// A batch: mostly what was not sent before.
fn items(chance: &mut Chance, sent: &mut u64) -> Vec<Item> {
    let events = if chance.one_in(6) { 12 + chance.below(30) } else { 1 + chance.below(6) };
    (0..events)
        .map(|_| {
            let again = *sent > 0 && chance.one_in(4);
            *sent += u64::from(!again);
            Item::new(if again { chance.below(*sent) } else { *sent - 1 })
        })
        .collect()
}

/// The promise that a disk breaks besides losing what was not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Weakness {
    /// A sync at this site does nothing.
    LeavesOut(SyncSite),
    /// A write that is torn destroys what stands in front of it in its sector.
    HarmsNeighbours,
}

impl Weakness {
    fn of(self, disk: &FaultDisk) {
        match self {
            Self::LeavesOut(site) => disk.leave_out(site),
            Self::HarmsNeighbours => disk.harm_neighbours(),
        }
    }
}

/// A workload on its way, on a disk that may lose power.
struct Run<'a> {
    workload: &'a Workload,
    disk: FaultDisk,
    /// The operation at which the power goes, from the start of the workload.
    cut_at: u64,
    operations_before: u64,
    history: History,
    in_doubt: Option<InDoubt>,
    /// Steps forth and back, as system clocks do.
    clock: Arc<ManualClock>,
    now_us: i64,
    /// The greatest instant at which something was recorded.
    recorded_us: i64,
}

const START_US: i64 = 1_800_000_000_000_000;

impl<'a> Run<'a> {
    /// Runs until the power goes or all is done; returns the state then.
    fn until(workload: &'a Workload, cut_at: u64, weakness: Option<Weakness>) -> Result<Self, String> {
        let disk = FaultDisk::default();
        disk.cut_power_at(cut_at);
        if let Some(weakness) = weakness {
            weakness.of(&disk);
        }
        let mut run = Self {
            workload,
            disk,
            cut_at,
            operations_before: 0,
            history: History::default(),
            in_doubt: None,
            clock: clock(START_US),
            now_us: START_US,
            recorded_us: i64::MIN,
        };
        run.go()?;
        Ok(run)
    }

    fn operations(&self) -> u64 {
        self.operations_before + self.disk.operations()
    }

    fn go(&mut self) -> Result<(), String> {
        let Some(mut log) = self.open()? else { return Ok(()) };
        for (number, step) in self.workload.steps.iter().enumerate() {
            self.tick(number);
            match step {
                Step::Append(items) => {
                    if !self.append(&log, items)? {
                        return Ok(());
                    }
                    continue;
                }
                Step::Retract(item) => {
                    if !self.retract(&log, *item)? {
                        return Ok(());
                    }
                    continue;
                }
                Step::NoSpace(items, nth, written) => {
                    self.disk.fail(Operation::Write, *nth, 1, (Fault::NoSpace, *written));
                    let powered = self.append(&log, items)?;
                    self.disk.heal();
                    if !powered {
                        return Ok(());
                    }
                    continue;
                }
                Step::Seal => {
                    match log.seal() {
                        // Or while the dictionary was written, which nobody is told of.
                        _ if self.power_is_off() => return Ok(()),
                        Ok(()) => {}
                        Err(error) => return Err(format!("does not seal: {}", error_chain(&error))),
                    }
                    self.history.compare(&log, None)?;
                    continue;
                }
                Step::Reopen => {
                    self.close(&log)?;
                }
                Step::Kill => {
                    let killed = self.disk.after_kill();
                    self.operations_before += self.disk.operations();
                    self.disk = killed;
                    self.disk.cut_power_at(self.cut_at - self.operations_before);
                }
            }
            drop(log);
            match self.open()? {
                Some(again) => log = again,
                None => return Ok(()),
            }
        }
        self.close(&log)
    }

    /// Lets the clock jump by up to two minutes, ahead or back.
    fn tick(&mut self, step: usize) {
        const JUMPS_S: [i64; 5] = [0, 90, -120, 5, -1];
        self.now_us = START_US + JUMPS_S[step % JUMPS_S.len()] * 1_000_000;
        self.clock.jump(UtcInstant::from_micros(self.now_us));
    }

    /// Notes that something was recorded now, if it was. Returns the instant.
    fn recorded(&mut self) -> UtcInstant {
        self.recorded_us = self.recorded_us.max(self.now_us);
        UtcInstant::from_micros(self.recorded_us)
    }

    fn close(&self, log: &Log) -> Result<(), String> {
        log.close();
        if self.power_is_off() { Ok(()) } else { check_ended(&self.disk, &self.workload.options) }
    }

    /// `None`: the power went.
    fn open(&mut self) -> Result<Option<Log>, String> {
        match open(&self.disk, &self.workload.options, self.clock.clone()) {
            Ok(log) => {
                self.history = self.history.compare(&log, None)?;
                Ok(Some(log))
            }
            Err(_) if self.power_is_off() => Ok(None),
            Err(error) => Err(format!("does not open: {}", error_chain(&error))),
        }
    }

    fn power_is_off(&self) -> bool {
        self.operations() > self.cut_at
    }

    /// Appends the items. Returns true if the power is still on.
    fn append(&mut self, log: &Log, items: &[Item]) -> Result<bool, String> {
        let items = &self.history.alive(items);
        let new = self.history.new_of(items);
        let before = self.history.position();
        match wait(log.append(batch(items), OnRefused::RefuseBatch)) {
            Ok(appended) => {
                self.history.items.extend(&new);
                if !new.is_empty() {
                    self.recorded();
                }
                let expected = (new.len(), items.len() - new.len(), self.history.position());
                check((appended.stored, appended.duplicates, appended.position) == expected, || {
                    format!("the log says {appended:?}, the model {expected:?}")
                })?;
                match crate::history::read_above(log, before) {
                    Ok(read) => self.history.facts.extend(read.facts),
                    Err(_) if self.power_is_off() => return Err("acknowledged without power".to_owned()),
                    Err(error) => return Err(format!("cannot be read: {error}")),
                }
                Ok(true)
            }
            Err(_) if self.power_is_off() => {
                let recorded_at = self.recorded();
                self.in_doubt = Some(InDoubt { items: new, recorded_at });
                Ok(false)
            }
            Err(AppendError::NoSpace(_)) if self.disk.failures() > 0 => {
                self.history.compare(log, None)?;
                Ok(true)
            }
            Err(error) => Err(format!("refused: {error}")),
        }
    }
}

impl Run<'_> {
    /// Takes the batch of the event back. Returns true if the power is still on.
    fn retract(&mut self, log: &Log, item: Item) -> Result<bool, String> {
        let before = self.history.clone();
        let expected = self.history.retract(item);
        match retract(log, item) {
            Ok(found) => {
                check(found == expected, || format!("taken back at {found:?}, not {expected:?}"))?;
                if self.history.items.len() > before.items.len() {
                    self.recorded();
                }
            }
            Err(_) if self.power_is_off() => {
                let recorded_at = self.recorded();
                self.history = before;
                self.in_doubt = Some(InDoubt { items: vec![Item::retraction(item.number)], recorded_at });
                return Ok(false);
            }
            Err(error) => return Err(format!("not taken back: {error}")),
        }
        Ok(true)
    }
}

/// Once a log was ended in order, damage to its very last byte is damage, even if the power goes now.
fn check_ended(disk: &FaultDisk, options: &LogOptions) -> Result<(), String> {
    let mut files = disk.after_power_cut(0).files();
    // Files that are sealed mean nothing any more, and may still be there.
    let manifest =
        files.get("segments/manifest.json").map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let wal_from = manifest.as_deref().and_then(|text| text.split("\"wal_from\":").nth(1)?.split(',').next());
    let wal_from = wal_from.map_or(0_u64, |number| number.parse().expect("a number of a WAL file"));
    let Some((_, last)) =
        wal_files(&mut files).rfind(|(path, _)| **path >= format!("wal/{wal_from:010}.wal"))
    else {
        return Ok(());
    };
    // The last byte that is not the zero of a file that was not cut.
    let Some(byte) = last.iter_mut().rev().find(|byte| **byte != 0) else { return Ok(()) };
    *byte ^= 1;
    match open(&FaultDisk::holding(&files), options, clock(0)) {
        Err(OpenError::Corrupt(_)) => Ok(()),
        Err(error) => Err(format!("ended and damaged: {}", error_chain(&error))),
        Ok(_) => Err("ended and damaged, it opens all the same".to_owned()),
    }
}

fn wal_files(
    files: &mut BTreeMap<String, Vec<u8>>,
) -> impl DoubleEndedIterator<Item = (&String, &mut Vec<u8>)> {
    files.iter_mut().filter(|(path, _)| path.strip_suffix(".wal").is_some())
}

/// A disk after a cut, and what it has to hold.
struct Found<'a> {
    options: &'a LogOptions,
    history: &'a History,
    in_doubt: Option<&'a InDoubt>,
}

impl Found<'_> {
    /// Recovers the disk, cutting the power at operations of the recovery as well: all of them, or one in so
    /// many by chance. Counts recoveries.
    fn recovers(
        &self,
        disk: &FaultDisk,
        seeds: u64,
        (chance, one_in): (&mut Chance, u64),
    ) -> Result<u64, String> {
        let whole = disk.after_kill();
        let kept = self.recovers_once(&whole, None)?;
        let probe = disk.after_kill();
        drop(open(&probe, self.options, clock(START_US)).map_err(|error| error_chain(&error))?);
        let mut cases = 1;
        for number in (0..probe.operations()).filter(|_| is_visited(chance, one_in)) {
            let again = disk.after_kill();
            again.cut_power_at(number);
            check(open(&again, self.options, clock(START_US)).is_err(), || {
                "opens though the power went meanwhile".to_owned()
            })?;
            let within = |error| format!("{error}; after a cut at operation {number} of the recovery");
            for seed in 0..seeds {
                self.recovers_once(&again.after_power_cut(seed), kept.as_ref()).map_err(within)?;
            }
            self.recovers_once(&again.after_kill(), kept.as_ref()).map_err(within)?;
            cases += seeds + 1;
        }
        Ok(cases)
    }

    /// Opens the log, compares, goes on with it, and loses power again. Torn bytes are `kept`, once known.
    fn recovers_once(&self, disk: &FaultDisk, kept: Option<&Kept>) -> Result<Option<Kept>, String> {
        let before = disk.files();
        let verified = check_verified(disk, None);
        let log = open(disk, self.options, clock(START_US))
            .map_err(|error| format!("does not open: {}", error_chain(&error)))?;
        verified?;
        let mut history = self.history.compare(&log, self.in_doubt)?;
        let torn = log.torn_tail().map(|torn| {
            let start = usize::try_from(torn.offset).expect("small");
            let len = usize::try_from(torn.bytes).expect("small");
            // What a recovery in the workload saved before its end is the fuller one.
            let saved = before.get(&torn.kept_as).cloned();
            let bytes = saved.unwrap_or_else(|| before[&torn.file][start..start + len].to_vec());
            Kept { path: torn.kept_as.clone(), bytes }
        });
        let kept = kept.cloned().or(torn);
        let check_kept = |files: &BTreeMap<String, Vec<u8>>| match &kept {
            Some(Kept { path, bytes }) => {
                check(files.get(path) == Some(bytes), || format!("torn bytes are not kept in {path}"))
            }
            None => Ok(()),
        };
        check_kept(&disk.after_power_cut(0).files())?;
        // Everything once more, in one batch with what is new: each is there once.
        let next = history
            .items
            .iter()
            .chain(self.in_doubt.iter().flat_map(|doubt| &doubt.items))
            .map(|item| item.number);
        let next = next.max().map_or(0, |last| last + 1);
        let doubt = self.in_doubt.map(|doubt| doubt.items.clone()).unwrap_or_default();
        for items in [doubt, history.items.clone(), vec![Item::new(next), Item::new(next + 1)]] {
            for item in items.iter().filter(|item| item.is_retraction()) {
                let found = retract(&log, *item).map_err(|error| format!("does not go on: {error}"))?;
                check(found == history.retract(*item), || format!("taken back at {found:?}"))?;
            }
            let items = history.alive(&items);
            let new = history.new_of(&items);
            let appended = wait(log.append(batch(&items), OnRefused::RefuseBatch));
            let appended = appended.map_err(|error| format!("does not go on: {error}"))?;
            history.items.extend(&new);
            let expected = (new.len(), items.len() - new.len());
            check((appended.stored, appended.duplicates) == expected, || {
                format!("going on, the log says {appended:?}, the model {expected:?}")
            })?;
        }
        let again = disk.after_power_cut(0);
        drop(log);
        let log = open(&again, self.options, clock(START_US))
            .map_err(|error| format!("does not open again: {}", error_chain(&error)))?;
        history.compare(&log, None).map_err(|error| format!("{error}, after going on"))?;
        check_kept(&again.files())?;
        Ok(kept)
    }
}

/// Torn bytes and where they are to be.
#[derive(Clone)]
struct Kept {
    path: String,
    bytes: Vec<u8>,
}

/// Cuts the power at every operation of the workload by this seed. Of the states the disk may have then, each
/// is recovered from; the recovery of one of them is cut as well, and by turns: all of them in the long form.
/// Counts recoveries.
pub(crate) fn cut_everywhere(seed: u64, weakness: Option<Weakness>) -> Result<u64, String> {
    const STATES: u64 = 4;
    let workload = Workload::new(seed);
    let mut cases = 0;
    let whole = Run::until(&workload, u64::MAX, weakness)?;
    for number in 0..whole.operations() {
        let within = |error| format!("{error}; after a cut at operation {number}");
        let run = Run::until(&workload, number, weakness).map_err(within)?;
        let found =
            Found { options: &workload.options, history: &run.history, in_doubt: run.in_doubt.as_ref() };
        for turn in 0..STATES {
            // Other states for other operations, the two extremes for all.
            let state = if turn < 2 { turn } else { turn + number * STATES + seed * 1_000_003 };
            let disk = run.disk.after_power_cut(state);
            let within = |error| format!("{error}; after a cut at operation {number}, state {state}");
            if is_long() || turn == (number + seed) % STATES {
                let chance = &mut Chance::new(state);
                cases += found.recovers(&disk, 2, (chance, 2)).map_err(within)?;
            } else {
                found.recovers_once(&disk, None).map_err(within)?;
                cases += 1;
            }
        }
        found
            .recovers_once(&run.disk.after_kill(), None)
            .map_err(|error| format!("{error}; killed at operation {number}"))?;
        cases += 1;
    }
    Ok(cases)
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_every_operation() {
    const SEEDS: u64 = 8;
    let cases = on_all_cores(0..SEEDS * multiplier(), |seed| {
        cut_everywhere(seed, None).unwrap_or_else(|error| panic!("seed {seed}: {error}"))
    });
    println!("power cuts: {cases} recoveries, {} workloads", SEEDS * multiplier());
}
