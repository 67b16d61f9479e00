//! A log that follows another one, beside a plain model of what it has to keep: whatever repeats, however the stream is cut,
//! wherever the power goes, and whenever segments are made.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use lastseen_event::{BatchName, EventBatch, EventId, Fact, Position, Retraction, Sighting, UtcInstant};
use lastseen_log::{
    Disk, FaultDisk, Followed, Kept, LockedDisk, Log, LogOptions, OpenError, ReadOnlyLog, Sealing, Stamp,
    backup, verify,
};
use lastseen_store::contract::{Source, event_id};
use lastseen_store::{
    AppendError, Detail, EventReader, EventStore, Filter, LogId, OnRefused, RecordedBatch, Scan, Subscription,
};

use crate::support::{Chance, clock, multiplier, on_all_cores, open, options, wait};

const ORIGIN: LogId = LogId::from_bytes([9; 16]);
const SOURCE: Source = Source { series: 3 };

/// A record of the log that is followed.
#[derive(Clone, Copy, Debug)]
struct Record {
    number: u64,
    content: Content,
    stamp: Stamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// The event with this number, this much later than by default.
    Event(i64),
    /// The retraction of its batch.
    Retraction,
}

impl Record {
    fn batch_name(self) -> Option<String> {
        let event = SOURCE.batch(self.number..self.number + 1);
        event.batch_name(0).map(|name| name.as_str().to_owned())
    }

    fn id(self) -> EventId {
        match self.content {
            Content::Event(_) => event_id(3 << 32 | self.number),
            Content::Retraction => EventId::of_retraction(
                BatchName::new(&self.batch_name().expect("it has one")).expect("valid"),
            ),
        }
    }
}

/// A stream in which ids come again, with the same content or another, and batches are taken back.
fn stream(chance: &mut Chance, records: u64) -> Vec<Record> {
    let (mut position, mut recorded_us) = (chance.below(1 << 40), 1_790_000_000_000_000);
    let next = |_| {
        position += 1 + if chance.one_in(20) { chance.below(1 << 30) } else { chance.below(700) };
        recorded_us += i64::try_from(chance.below(3)).expect("small");
        let stamp =
            Stamp { position: Position::new(position), recorded_at: UtcInstant::from_micros(recorded_us) };
        let number = chance.below(records * 2 / 3);
        let shift = i64::from(chance.one_in(5));
        // Every eleventh event has a batch.
        let retracts = chance.one_in(12);
        let (number, content) =
            if retracts { (number / 11 * 11, Content::Retraction) } else { (number, Content::Event(shift)) };
        Record { number, content, stamp }
    };
    (0..records).map(next).collect()
}

/// The records that are kept of a stream.
fn model(stream: &[Record]) -> Vec<Record> {
    let (mut seen, mut named, mut dead) = (HashSet::new(), HashSet::new(), HashSet::new());
    let is_kept = |record: &&Record| {
        let batch = record.batch_name();
        match record.content {
            Content::Retraction => batch.is_some_and(|batch| named.contains(&batch) && dead.insert(batch)),
            Content::Event(_) if batch.as_ref().is_some_and(|batch| dead.contains(batch)) => false,
            Content::Event(_) => {
                let is_new = seen.insert(record.number);
                named.extend(batch.filter(|_| is_new));
                is_new
            }
        }
    };
    stream.iter().filter(is_kept).copied().collect()
}

/// The stream in pieces, as it is taken in.
fn pieces(stream: &[Record], chance: &mut Chance) -> Vec<Followed> {
    let mut pieces = Vec::new();
    let (mut batch, mut stamps) = (EventBatch::default(), Vec::new());
    for record in stream {
        match record.content {
            Content::Event(shift) => {
                SOURCE.push(&mut batch, record.number, shift);
                stamps.push(record.stamp);
            }
            Content::Retraction => {
                pieces.push(Followed::Events(std::mem::take(&mut batch), std::mem::take(&mut stamps)));
                let name = record.batch_name().expect("every eleventh has one");
                let name = BatchName::new(&name).expect("valid");
                pieces.push(Followed::retraction(name, UtcInstant::from_micros(7), record.stamp));
            }
        }
        if chance.one_in(9) {
            pieces.push(Followed::Events(std::mem::take(&mut batch), std::mem::take(&mut stamps)));
        }
    }
    pieces.push(Followed::Events(batch, stamps));
    pieces
}

fn small() -> LogOptions {
    LogOptions { recent_ids: 40, segment_events: 30, ..options(3_000) }
}

fn follow(disk: &FaultDisk, origin: LogId) -> Result<Log, OpenError> {
    let locked = LockedDisk::lock(Arc::new(disk.clone()))?;
    Log::open_following(locked, small(), origin, (clock(1), &[]), |_| ())
}

fn drain(mut reader: impl EventReader) -> RecordedBatch {
    let mut all = RecordedBatch::default();
    while let Some(batch) = reader.next_batch().expect("readable") {
        assert!(batch.reached > all.reached, "{:?} after {:?}", batch.reached, all.reached);
        all.reached = batch.reached;
        all.facts.extend(batch.facts);
        all.sightings.extend(batch.sightings);
        all.retractions.extend(batch.retractions);
        batch.events.iter().for_each(|event| all.events.push(&event));
    }
    all
}

fn read(log: &Log, after: Position, until: Option<Position>) -> RecordedBatch {
    drain(log.scan(Scan { until, ..Scan::after(after, Detail::Events) }))
}

/// Facts and retractions in the order of their positions: `(position, recorded_at, id, is_retraction)`.
fn shown(batch: &RecordedBatch) -> Vec<(Position, UtcInstant, EventId, bool)> {
    let of_fact = |fact: &Fact| (fact.position, fact.recorded_at, fact.id, false);
    let of_retraction = |it: &Retraction| (it.position, it.recorded_at, it.id, true);
    let mut all: Vec<_> =
        batch.facts.iter().map(of_fact).chain(batch.retractions.iter().map(of_retraction)).collect();
    all.sort_unstable_by_key(|(position, ..)| *position);
    all
}

/// The log has exactly these records, whatever part of them is read.
fn check(log: &Log, kept: &[Record], chance: &mut Chance) {
    let expected: Vec<_> = kept
        .iter()
        .map(|it| (it.stamp.position, it.stamp.recorded_at, it.id(), it.content == Content::Retraction))
        .collect();
    let all = read(log, Position::START, None);
    let found = shown(&all);
    let differs = found.iter().zip(&expected).position(|(found, expected)| found != expected);
    assert_eq!(
        (differs, found.len()),
        (None, expected.len()),
        "{:?}",
        differs.map(|at| (found[at], expected[at]))
    );
    let shifts: Vec<_> = kept.iter().filter(|it| it.content != Content::Retraction).collect();
    for (event, record) in all.events.iter().zip(&shifts) {
        let Content::Event(shift) = record.content else { panic!("only events") };
        let mut first = EventBatch::default();
        SOURCE.push(&mut first, record.number, shift);
        assert_eq!(event, first.get(0), "of two contents the first is kept");
    }
    let last = kept.last().map_or(Position::START, |last| last.stamp.position);
    assert_eq!(log.tail().position(), last);
    let parts = log.parts();
    assert!(parts.is_sorted() && parts[0] == Position::START && parts.last() <= Some(&last), "{parts:?}");
    let place = |chance: &mut Chance| match kept.get(chance.index(kept.len().max(1))) {
        Some(record) => Position::new((record.stamp.position.get() + chance.below(3)).saturating_sub(1)),
        None => Position::new(chance.below(5)),
    };
    for _ in 0..12 {
        let (after, until) = (place(chance), (!chance.one_in(3)).then(|| place(chance)));
        let within = |position: Position| position > after && until.is_none_or(|until| position <= until);
        let found = read(log, after, until);
        let wanted: Vec<_> = expected.iter().filter(|it| within(it.0)).copied().collect();
        assert!(shown(&found) == wanted, "{after:?} {until:?}");
        assert!(until.is_none_or(|until| found.reached <= until));
        let filter = Filter { tenant: all.facts.first().map(|fact| fact.member.tenant), ..Filter::default() };
        let scan = Scan { after, until, detail: Detail::Sightings, filter };
        let seen = all.facts.iter().filter(|fact| within(fact.position) && filter.keeps(fact));
        assert!(drain(log.scan(scan)).sightings.into_iter().eq(seen.filter_map(Sighting::of)));
        // Cut and taken up again after every batch.
        let (mut reached, mut cut) = (after, Vec::new());
        let scan = |after| Scan { until, ..Scan::after(after, Detail::Facts) };
        while let Some(batch) = log.scan(scan(reached)).next_batch().expect("readable") {
            assert!(batch.reached > reached);
            reached = batch.reached;
            cut.extend(shown(&batch));
        }
        assert!(cut == wanted, "{after:?} {until:?}");
    }
}

/// The part of a stream behind the last record that a log has, and some of what it has.
fn left(stream: &[Record], log: &Log, overlap: u64) -> Range<usize> {
    let tail = log.tail().position();
    let behind = stream.partition_point(|record| record.stamp.position <= tail);
    behind.saturating_sub(usize::try_from(overlap).expect("small"))..stream.len()
}

fn run(seed: u64) -> u64 {
    let chance = &mut Chance::new(seed);
    let records = 60 + chance.below(300);
    let stream = stream(chance, records);
    let mut disk = FaultDisk::default();
    let mut log = follow(&disk, ORIGIN).expect("an empty directory becomes one");
    let mut cuts = 0;
    loop {
        let rest = &stream[left(&stream, &log, chance.below(12))];
        // Not all of it, mostly.
        let pieces = pieces(rest, chance);
        let some = if chance.one_in(4) { pieces.len() } else { chance.index(pieces.len() + 1) };
        for piece in pieces.into_iter().take(some) {
            wait(log.follow(piece)).expect("it is taken in");
            if chance.one_in(30) {
                log.seal().expect("seals");
            }
        }
        let tail = log.tail().position();
        let upto = stream.partition_point(|record| record.stamp.position <= tail);
        check(&log, &model(&stream[..upto]), chance);
        let all = model(&stream);
        if all.last().is_none_or(|last| last.stamp.position == tail) {
            break;
        }
        if chance.one_in(2) {
            cuts += 1;
            disk = disk.after_power_cut(chance.below(1 << 20));
        } else {
            log.close();
        }
        drop(log);
        log = follow(&disk, ORIGIN).expect("opens again");
        assert_eq!(log.tail().position(), tail, "what was taken in is durable");
    }
    as_others_have_it(&stream, &log, chance);
    log.close();
    drop(log);
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let findings = verify(&disk, small().recent_ids, |_, _| ()).expect("can be read").findings;
    assert!(findings.is_empty(), "{findings:?}");
    cuts
}

/// Another log that took in the same stream in other pieces has the same, number by number; so have a copy and a reader.
fn as_others_have_it(stream: &[Record], log: &Log, chance: &mut Chance) {
    let disk = FaultDisk::default();
    let other = follow(&disk, ORIGIN).expect("opens");
    let mut total = Kept::default();
    for piece in pieces(stream, chance) {
        let kept = wait(other.follow(piece)).expect("it is taken in");
        total.kept += kept.kept;
        total.repeats += kept.repeats;
        total.dead += kept.dead;
        if chance.one_in(20) {
            other.seal().expect("seals");
        }
    }
    assert_eq!(total.kept, model(stream).len());
    assert_eq!(total.kept + total.repeats + total.dead, stream.len());
    let (here, there) = (read(log, Position::START, None), read(&other, Position::START, None));
    assert_eq!(here.facts, there.facts);
    assert_eq!(here.retractions, there.retractions);
    assert!(here.events.iter().eq(there.events.iter()));
    assert_eq!((log.lineage(), log.lineage().log_id()), (other.lineage(), ORIGIN));
    let retracted = |log: &Log| log.batches().iter().map(|(_, it)| it.retracted).collect::<Vec<_>>();
    assert_eq!(retracted(log), retracted(&other));

    let (from, copy): (Arc<dyn Disk>, FaultDisk) = (Arc::new(disk), FaultDisk::default());
    backup(&from, &(Arc::new(copy.clone()) as Arc<dyn Disk>), |_, _| ()).expect("copies");
    let reader = ReadOnlyLog::open(Arc::new(copy.clone())).expect("opens");
    assert_eq!(reader.last_position(), other.tail().position());
    assert_eq!(drain(reader.scan(Scan::after(Position::START, Detail::Facts))).facts, here.facts);
    // The copy goes on where it is, as the same log.
    let copy = follow(&copy, ORIGIN).expect("opens");
    let last = stream.last().expect("not empty").stamp;
    let stamp = Stamp { position: Position::new(last.position.get() + 5), ..last };
    let kept = wait(copy.follow(Followed::Events(SOURCE.batch(1 << 20..(1 << 20) + 1), vec![stamp])));
    assert_eq!(kept.expect("it is taken in").kept, 1);
    assert_eq!((copy.lineage(), copy.tail().position()), (log.lineage(), stamp.position));
}

#[test]
fn a_log_keeps_of_what_it_follows_what_the_model_says() {
    assert!(on_all_cores(0..200 * multiplier(), run) > 50, "the power goes");
}

#[test]
fn a_directory_belongs_to_the_log_it_follows() {
    let disk = FaultDisk::default();
    drop(follow(&disk, ORIGIN).expect("an empty directory becomes one"));
    let other = LogId::from_bytes([1; 16]);
    let refused = follow(&disk, other).err().map(|error| error.to_string());
    let words = format!("the directory has a copy of log {ORIGIN}, and should have one of log {other}");
    assert_eq!(refused, Some(words));
    let refused = open(&disk, &small(), clock(1));
    assert!(matches!(refused, Err(OpenError::Follows { expected: None, found: Some(ORIGIN) })));
    let log = follow(&disk, ORIGIN).expect("opens");
    let refused = wait(log.append(SOURCE.batch(0..1), OnRefused::RefuseBatch));
    assert!(matches!(refused, Err(AppendError::Closed)), "{refused:?}");

    let own = FaultDisk::default();
    drop(open(&own, &small(), clock(1)).expect("opens"));
    assert!(matches!(follow(&own, ORIGIN), Err(OpenError::Follows { expected: Some(ORIGIN), found: None })));
}

#[test]
fn who_follows_the_tail_is_shown_each_record_once() {
    let chance = &mut Chance::new(5);
    let stream = stream(chance, 400);
    let log = follow(&FaultDisk::default(), ORIGIN).expect("opens");
    let expected = shown_by(&model(&stream));
    let starts = [Position::START, expected[100].0, Position::new(expected[100].0.get() + 1)];
    let mut subscriptions =
        starts.map(|after| (after, Subscription::new(&log, after, Detail::Facts), Vec::new()));
    for (at, piece) in pieces(&stream, chance).into_iter().enumerate() {
        wait(log.follow(piece)).expect("it is taken in");
        let tail = log.tail().position();
        for (after, subscription, seen) in &mut subscriptions {
            while at % 7 == 0
                && tail > *after
                && seen.last().is_none_or(|last: &(Position, EventId)| last.0 < tail)
            {
                let batch = wait(subscription.next()).expect("readable").expect("open");
                seen.extend(shown(&batch).into_iter().map(|it| (it.0, it.2)));
                if batch.reached >= tail {
                    break;
                }
            }
        }
    }
    log.close();
    for (after, mut subscription, mut seen) in subscriptions {
        while let Some(batch) = wait(subscription.next()).expect("readable") {
            seen.extend(shown(&batch).into_iter().map(|it| (it.0, it.2)));
        }
        let wanted: Vec<_> = expected.iter().filter(|it| it.0 > after).copied().collect();
        assert!(seen == wanted, "{after:?}");
    }
    let distinct: BTreeSet<_> = expected.iter().map(|it| it.1).collect();
    assert_eq!(distinct.len(), expected.len());
}

#[test]
fn the_tail_stands_where_the_origin_was_taken_in() {
    let at = |position| Stamp { position: Position::new(position), recorded_at: UtcInstant::from_micros(5) };
    let disk = FaultDisk::default();
    let log = follow(&disk, ORIGIN).expect("opens");
    let mut subscription = Subscription::new(&log, Position::START, Detail::Facts);
    let mut next = || wait(subscription.next()).expect("readable").expect("open");
    for (number, position, until) in [(1, 10, 10), (1, 20, 25), (2, 30, 30), (1, 40, 41)] {
        let kept = wait(log.follow(Followed::Events(SOURCE.batch(number..number + 1), vec![at(position)])));
        let is_kept = kept.expect("it is taken in").kept == 1;
        wait(log.taken_in(Position::new(until))).expect("it is noted");
        let batch = next();
        assert_eq!((batch.facts.len(), batch.reached.get()), (usize::from(is_kept), until), "{position}");
        assert_eq!(log.tail().position(), Position::new(until));
        // What is in front of it was taken in, whatever it is.
        let late =
            wait(log.follow(Followed::Events(SOURCE.batch(7..8), vec![at(until)]))).expect("it is taken in");
        assert_eq!((late.kept, late.repeats), (0, 1));
    }
    let all = read(&log, Position::START, None);
    assert_eq!((all.facts.len(), all.reached), (2, Position::new(41)));
    for until in [30, 35, 41, 50] {
        let found = read(&log, Position::START, Some(Position::new(until)));
        assert_eq!((found.facts.len(), found.reached.get()), (2, until.min(41)));
    }
    log.close();
    drop(log);
    // Only records last.
    assert_eq!(follow(&disk, ORIGIN).expect("opens").tail().position(), Position::new(30));
}

#[test]
fn rows_are_told_apart_by_records_that_are_just_written_and_the_place_of_these_is_told() {
    let log = follow(&FaultDisk::default(), ORIGIN).expect("opens");
    let mut known = 0;
    for number in 0..200 {
        let position = Position::new(10 * (number + 1));
        let stamps = vec![Stamp { position, recorded_at: UtcInstant::from_micros(5) }];
        let batch = || SOURCE.batch(number..number + 1);
        let (kept, told) = wait(async {
            tokio::join!(log.follow(Followed::Events(batch(), stamps)), log.tell_apart(batch()))
        });
        kept.expect("it is taken in");
        let told = told.expect("it is told apart");
        if told.new.is_empty() {
            known += 1;
            assert!(told.reached >= position, "{:?} is below {position:?}", told.reached);
        }
    }
    assert!(known > 0, "the record comes first");
}

#[test]
fn readers_beside_the_one_who_takes_in_miss_nothing() {
    let chance = &mut Chance::new(11);
    let stream = stream(chance, 3_000);
    let expected = shown_by(&model(&stream));
    let locked = LockedDisk::lock(Arc::new(FaultDisk::default())).expect("is free");
    let often = LogOptions { segment_events: 90, sealing: Sealing::Background, ..options(6_000) };
    let log = Log::open_following(locked, often, ORIGIN, (clock(1), &[]), |_| ()).expect("opens");
    let last = expected.last().expect("not empty").0;
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (log, expected) = (&log, &expected);
            scope.spawn(move || {
                let chance = &mut Chance::new(reader);
                let mut after = Position::START;
                let mut seen = Vec::new();
                // Each reader begins where the tail was, and is left for another one after a few batches.
                while after < last {
                    let mut reader = log.read(after, Detail::Facts);
                    for _ in 0..chance.below(4) {
                        let Some(batch) = reader.next_batch().expect("readable") else { break };
                        after = batch.reached;
                        seen.extend(shown(&batch).into_iter().map(|it| (it.0, it.2)));
                    }
                    std::thread::yield_now();
                }
                assert!(seen == *expected, "reader {reader}");
            });
        }
        for piece in pieces(&stream, chance) {
            wait(log.follow(piece)).expect("it is taken in");
        }
    });
}

#[test]
fn who_gives_up_and_goes_on_from_the_tail_loses_nothing() {
    let chance = &mut Chance::new(12);
    let stream = stream(chance, 800);
    let log = follow(&FaultDisk::default(), ORIGIN).expect("opens");
    let all = model(&stream);
    // More of it each time: what repeats does not move the tail.
    let mut some = 5..;
    while log.tail().position() < all.last().expect("not empty").stamp.position {
        let pieces = pieces(&stream[left(&stream, &log, 3)], chance);
        for piece in pieces.into_iter().take(some.next().expect("endless")) {
            let gives_up = chance.one_in(3);
            let is_done = wait(async {
                let taking = log.follow(piece);
                tokio::select! {
                    biased;
                    kept = taking => kept.is_ok(),
                    () = tokio::task::yield_now(), if gives_up => false,
                }
            });
            if !is_done {
                break;
            }
        }
    }
    check(&log, &all, chance);
    // Once more, all of it: nothing of it is new.
    for piece in pieces(&stream, chance) {
        assert_eq!(wait(log.follow(piece)).expect("it is taken in").kept, 0);
    }
}

fn shown_by(kept: &[Record]) -> Vec<(Position, EventId)> {
    kept.iter().map(|record| (record.stamp.position, record.id())).collect()
}
