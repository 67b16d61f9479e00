//! Damage to sealed history: a segment, the file of its members, the manifest. Opening refuses it, or reading does, or
//! it is where nothing is read; the check always names it. Never a shorter history, and never an event stored twice.

use std::collections::{BTreeMap, BTreeSet};

use lastseen_event::Position;
use lastseen_log::{FaultDisk, LogOptions, OpenError};
use lastseen_store::{AppendError, Detail, EventReader, EventStore, OnRefused, ReadError, error_chain};

use crate::history::{History, Item, batch, check, check_verified};
use crate::support::{Chance, clock, is_visited, multiplier, on_all_cores, open, options, wait};

/// The one file that nothing depends on.
const DICTIONARY: &str = "segments/dictionary";

type Files = BTreeMap<String, Vec<u8>>;

/// With a window this small, duplicates are looked up in segments.
fn small() -> LogOptions {
    LogOptions { recent_ids: 2, ..options(900) }
}

/// A log with two segments, a file that is ended and one that is not.
fn sample(batches: &[u64]) -> (Files, History) {
    let disk = FaultDisk::default();
    let log = open(&disk, &small(), clock(1)).expect("opens");
    let mut history = History::default();
    for (at, events) in batches.iter().enumerate() {
        let start = history.items.len() as u64;
        let items: Vec<Item> = (start..start + events).map(Item::new).collect();
        wait(log.append(batch(&items), OnRefused::RefuseBatch)).expect("appends");
        history.items.extend(items);
        if at == batches.len() / 3 || at == batches.len() * 2 / 3 {
            log.seal().expect("seals");
        }
    }
    history = history.compare(&log, None).expect("is the history");
    log.close();
    (disk.files(), history)
}

/// Opens the files, of which `damaged` are, and judges what comes of it.
fn judge(files: &Files, history: &History, damaged: &BTreeSet<&str>) -> Result<(), String> {
    let disk = FaultDisk::holding(files);
    let named = |corruption: &lastseen_store::Corruption| {
        check(damaged.contains(corruption.file.as_str()), || format!("{corruption}: not the damaged file"))
    };
    check_verified(&FaultDisk::holding(files), Some(damaged))?;
    let log = match open(&disk, &small(), clock(1)) {
        Ok(log) => log,
        Err(OpenError::Corrupt(corruption)) => {
            named(&corruption)?;
            return check(disk.files() == *files, || "refused, and changed all the same".to_owned());
        }
        Err(error) => return Err(error_chain(&error)),
    };
    for detail in [Detail::Facts, Detail::Events] {
        let mut reader = log.read(Position::START, detail);
        let mut expected = history.facts.iter();
        loop {
            match reader.next_batch() {
                Ok(Some(batch)) => {
                    let same = batch.facts.iter().all(|fact| Some(fact) == expected.next());
                    check(same, || "another history".to_owned())?;
                }
                Ok(None) => break check(expected.next().is_none(), || "a shorter history".to_owned())?,
                Err(ReadError::Corrupt(corruption)) => break named(&corruption)?,
                Err(error) => return Err(error_chain(&error)),
            }
        }
    }
    // What may be stored already is refused where that cannot be told.
    match wait(log.append(batch(&history.items), OnRefused::RefuseBatch)) {
        Ok(appended) => check(appended.stored == 0, || format!("{} events twice", appended.stored)),
        Err(AppendError::Unreadable(ReadError::Corrupt(corruption))) => named(&corruption),
        Err(error) => Err(error_chain(&error)),
    }
}

#[test]
fn every_flipped_byte_of_sealed_history_is_noticed() {
    /// Bytes where a file begins and where it ends, which say what the others are: each of them is flipped, of those
    /// between a sample.
    const EDGE: usize = 80;
    let (files, history) = sample(&[3, 2, 4, 1, 2, 5]);
    let chance = &mut Chance::new(0);
    let places: Vec<(&String, usize)> = files
        .iter()
        .filter(|(path, _)| path.starts_with("segments/"))
        .flat_map(|(path, content)| (0..content.len()).map(move |at| (path, at, content.len())))
        .filter(|(_, at, len)| *at < EDGE || len - at <= EDGE || is_visited(chance, 2))
        .map(|(path, at, _)| (path, at))
        .collect();
    let cases = on_all_cores(0..places.len() as u64, |number| {
        let (path, at) = places[usize::try_from(number).expect("small")];
        let mask = 1 << (at % 8);
        let mut files = files.clone();
        files.get_mut(path).expect("there")[at] ^= mask;
        if let Err(error) = judge(&files, &history, &BTreeSet::from([path.as_str()])) {
            panic!("{path} byte {at} ^ {mask:#x}: {error}");
        }
        1
    });
    println!("flips in sealed history: {cases}");
}

#[test]
fn every_other_length_of_a_sealed_file_is_noticed() {
    let (files, history) = sample(&[3, 2, 4, 1, 2, 5]);
    let mut cases = 0;
    for (path, content) in files.iter().filter(|(path, _)| path.starts_with("segments/")) {
        let lens = (0..content.len()).step_by(if content.len() > 1_000 { 7 } else { 1 });
        for len in lens.chain([content.len() + 1, content.len() + 100]) {
            let mut files = files.clone();
            files.get_mut(path).expect("there").resize(len, 0);
            if let Err(error) = judge(&files, &history, &BTreeSet::from([path.as_str()])) {
                panic!("{path} with {len} bytes: {error}");
            }
            cases += 1;
        }
    }
    println!("lengths of sealed files: {cases}");
}

#[test]
fn random_damage_to_larger_sealed_logs_is_noticed() {
    const CASES: u64 = 300;
    let batches: Vec<u64> = (0..120).map(|number| 1 + number * 7 % 11).collect();
    let (files, history) = sample(&batches);
    let cases = on_all_cores(0..CASES * multiplier(), |seed| {
        let chance = &mut Chance::new(seed);
        let (mut damaged_files, mut damaged) = (files.clone(), BTreeSet::new());
        for _ in 0..=chance.below(3) {
            let sealed: Vec<_> = files.iter().filter(|(path, _)| path.starts_with("segments/")).collect();
            let (path, content) = sealed[chance.index(sealed.len())];
            damaged_files.get_mut(path).expect("there")[chance.index(content.len())] ^= 1 << chance.below(8);
            damaged.insert(path.as_str());
        }
        if damaged_files != files
            && let Err(error) = judge(&damaged_files, &history, &damaged)
        {
            panic!("seed {seed}, {damaged:?}: {error}");
        }
        1
    });
    println!("random damage: {cases} sealed logs");
}

#[test]
fn a_missing_sealed_file_is_noticed() {
    let (files, _) = sample(&[3, 2, 4, 1, 2, 5]);
    let needed = |path: &&String| path.starts_with("segments/") && path.as_str() != DICTIONARY;
    for path in files.keys().filter(needed) {
        let mut left = files.clone();
        left.remove(path);
        let Err(OpenError::Corrupt(corruption)) = open(&FaultDisk::holding(&left), &small(), clock(1)) else {
            panic!("opens without {path}");
        };
        // Without the manifest it is the first WAL file that does not begin where it should.
        let named = corruption.file == *path
            || path.ends_with("manifest.json") && corruption.file.starts_with("wal/");
        assert!(named, "without {path}: {corruption}");
        // And where everything was sealed, there is nothing but the segments to tell.
        left.retain(|path, _| path.starts_with("segments/"));
        let opened = open(&FaultDisk::holding(&left), &small(), clock(1));
        assert!(matches!(opened, Err(OpenError::Corrupt(_))), "opens without {path} and without WAL files");
    }
}

/// Opens with the dictionary, without it, and with one that is of no use; each time the members are the same, and new ones get the
/// same numbers.
#[test]
fn the_dictionary_is_worth_only_time() {
    let (files, history) = sample(&[3, 2, 4, 1, 2, 5, 40, 3]);
    let dictionary = &files[DICTIONARY];
    let mut others = vec![None, Some(Vec::new()), Some(dictionary[..dictionary.len() / 2].to_vec())];
    // That of a history that began alike, and of another log.
    let (longer, _) = sample(&[3, 2, 4, 1, 2, 5, 40, 3, 7, 7, 7]);
    others.push(Some(longer[DICTIONARY].clone()));
    let (shorter, _) = sample(&[3, 2, 4]);
    others.push(Some(shorter[DICTIONARY].clone()));
    let grown = |dictionary: Option<&Vec<u8>>| {
        let mut files = files.clone();
        match dictionary {
            Some(bytes) => files.insert(DICTIONARY.to_owned(), bytes.clone()),
            None => files.remove(DICTIONARY),
        };
        let disk = FaultDisk::holding(&files);
        let log = open(&disk, &small(), clock(1)).expect("opens");
        let mut history = history.compare(&log, None).expect("is the history");
        let items: Vec<Item> = (500..540).map(Item::new).collect();
        wait(log.append(batch(&items), OnRefused::RefuseBatch)).expect("appends");
        history.items.extend(&items);
        // Made anew with those who came.
        log.seal().expect("seals");
        let facts = history.compare(&log, None).expect("is the history").facts;
        log.close();
        check_verified(&disk, None).expect("is sound");
        let members: Vec<_> = facts.iter().map(|fact| fact.member).collect();
        (members, disk.files().contains_key(DICTIONARY))
    };
    let with = grown(Some(dictionary));
    assert!(with.1);
    for other in others {
        assert_eq!(grown(other.as_ref()), with, "{:?} bytes", other.map(|bytes| bytes.len()));
    }
}

/// With a dictionary that holds all members, the members files are not read: they may be damaged, and the check says so.
#[test]
fn members_that_the_dictionary_has_are_not_read_again() {
    let (files, history) = sample(&[3, 2, 4, 1, 2, 5]);
    let mut damaged = files.clone();
    let first = damaged.iter_mut().find(|(path, _)| path.ends_with(".members")).expect("there");
    first.1[100] ^= 1;
    let path = first.0.clone();
    let opened = open(&FaultDisk::holding(&damaged), &small(), clock(1)).expect("opens");
    history.compare(&opened, None).expect("is the history");
    check_verified(&FaultDisk::holding(&damaged), Some(&BTreeSet::from([path.as_str()]))).expect("is named");
    damaged.remove(DICTIONARY);
    let Err(OpenError::Corrupt(corruption)) = open(&FaultDisk::holding(&damaged), &small(), clock(1)) else {
        panic!("opens");
    };
    assert_eq!(corruption.file, path);
}

#[test]
fn a_newer_manifest_is_refused_by_its_version() {
    let (files, _) = sample(&[3, 2, 4]);
    let path = "segments/manifest.json";
    let text = String::from_utf8(files[path].clone()).expect("text");
    let (_, manifest) = text.trim_end().split_once("\"manifest\":").expect("its parts");
    let newer = manifest[..manifest.len() - 1].replace("\"version\":3", "\"version\":9");
    let crc32c = crc32c::crc32c(newer.as_bytes());
    let mut newer_files = files.clone();
    newer_files
        .insert(path.to_owned(), format!("{{\"crc32c\":{crc32c},\"manifest\":{newer}}}\n").into_bytes());
    let error = open(&FaultDisk::holding(&newer_files), &small(), clock(1)).err().expect("is refused");
    assert_eq!(error.to_string(), format!("{path} has format version 9, this program knows 3"));
}

/// Events of the present are appended without a look at any segment: with all of them unreadable, they still are.
#[test]
fn what_is_live_asks_no_segment() {
    const LATER_US: i64 = 2_000_000_000;
    let (files, history) = sample(&[3, 2, 4, 1, 2, 5]);
    let disk = FaultDisk::holding(&files);
    let log = open(&disk, &small(), clock(1)).expect("opens");
    let sealed = |path: &str| path.ends_with(".parquet") || path.starts_with("ids/");
    for (path, content) in files.iter().filter(|(path, _)| sealed(path)) {
        // Its first page is read when the log is opened.
        disk.overwrite(path, &vec![0; content.len()]);
    }
    let count = history.items.len() as u64;
    for number in count..count + 50 {
        // Of members that are known, and later than all that is sealed.
        let live = Item { number, shift_us: LATER_US };
        let appended = wait(log.append(batch(&[live]), OnRefused::RefuseBatch)).expect("appends");
        assert_eq!(appended.stored, 1);
    }
    let old = wait(log.append(batch(&[history.items[0]]), OnRefused::RefuseBatch));
    assert!(matches!(old, Err(AppendError::Unreadable(ReadError::Corrupt(_)))), "{old:?}");
}
