//! Damage to every byte and at every length: the log opens with its whole history, or lacks the torn last frame of a
//! log that was not closed and says so, or is refused with the right file and left as it was. Never anything else.

use std::collections::{BTreeMap, BTreeSet};

use lastseen_event::Position;
use lastseen_log::{FaultDisk, OpenError};
use lastseen_store::{Detail, EventReader, EventStore, OnRefused, ReadError, error_chain};

use crate::history::{History, Item, batch, check, check_verified};
use crate::support::{Chance, clock, multiplier, on_all_cores, open, options, wait};

type Files = BTreeMap<String, Vec<u8>>;

/// A log as it lies on disk, and what is in it.
struct Sample {
    name: &'static str,
    files: Files,
    history: History,
    /// True if the log was ended: then every byte is under a checksum.
    ended: bool,
    /// Number of events in the last frame.
    last_frame: usize,
}

const WAL_FILE_BYTES: u64 = 640;

/// A log with these batches; what it leaves when it is closed, and what when it is not.
fn samples(name: &'static str, batches: &[u64], wal_file_bytes: u64) -> [Sample; 2] {
    let disk = FaultDisk::default();
    let log = open(&disk, &options(wal_file_bytes), clock(1)).expect("opens");
    let mut history = History::default();
    for events in batches {
        let start = history.items.len() as u64;
        let items: Vec<Item> = (start..start + events).map(Item::new).collect();
        wait(log.append(batch(&items), OnRefused::RefuseBatch)).expect("appends");
        history.items.extend(items);
    }
    history = History { facts: Vec::new(), ..history }.compare(&log, None).expect("is the history");
    let last_frame = batches.last().map_or(0, |last| usize::try_from(*last).expect("small"));
    let open_files = disk.files();
    log.close();
    [
        Sample { name, files: open_files, history: history.clone(), ended: false, last_frame },
        Sample { name, files: disk.files(), history, ended: true, last_frame },
    ]
}

/// The WAL files among these, in order.
fn wal_files(files: &Files) -> Vec<(&String, &Vec<u8>)> {
    files.iter().filter(|(path, _)| path.starts_with("wal/")).collect()
}

fn all_samples() -> Vec<Sample> {
    let mut all = Vec::new();
    all.extend(samples("several files", &[2, 1, 3, 1, 1, 2], WAL_FILE_BYTES));
    all.extend(samples("one frame in the last file", &[3, 3, 6], WAL_FILE_BYTES));
    all.extend(samples("one event", &[1], WAL_FILE_BYTES));
    let [_, mut not_cut] = samples("ended, the cut lost", &[2, 1, 3, 2], WAL_FILE_BYTES);
    let last = not_cut.files.values_mut().next_back().expect("a file");
    last.resize(usize::try_from(WAL_FILE_BYTES).expect("small"), 0);
    not_cut.ended = false;
    all.push(not_cut);
    all
}

/// Opens the damaged files, of which `damaged` are, and judges what comes of it.
fn judge(sample: &Sample, files: &Files, damaged: &BTreeSet<&str>) -> Result<(), String> {
    let disk = FaultDisk::holding(files);
    let before = FaultDisk::holding(files);
    match open(&disk, &options(WAL_FILE_BYTES), clock(1)) {
        Ok(log) => {
            check_verified(&before, None)?;
            check(!sample.ended, || {
                "opens though it was ended and every byte is under a checksum".to_owned()
            })?;
            let mut whole = sample.history.clone();
            if log.tail().position() < whole.position() {
                let torn = log.torn_tail().ok_or("lacks events and says nothing")?;
                check(damaged.contains(torn.file.as_str()), || {
                    format!("{torn}, which is not the damaged file")
                })?;
                whole.items.truncate(whole.items.len() - sample.last_frame);
                whole.facts.truncate(whole.items.len());
            }
            whole.compare(&log, None)?;
            Ok(())
        }
        Err(OpenError::Corrupt(corruption)) => {
            check_verified(&before, Some(damaged))?;
            check(damaged.contains(corruption.file.as_str()), || {
                format!("{corruption}: not the damaged file")
            })?;
            check(disk.files() == *files, || "refused, and changed all the same".to_owned())
        }
        Err(error) => Err(error_chain(&error)),
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    const MASKS: [u8; 4] = [0x01, 0x10, 0x80, 0xff];
    let samples = all_samples();
    let cases = on_all_cores(0..samples.len() as u64, |number| {
        let (sample, mut cases) = (&samples[usize::try_from(number).expect("few")], 0);
        for (path, content) in &sample.files {
            for at in 0..content.len() {
                for mask in MASKS {
                    let mut files = sample.files.clone();
                    files.get_mut(path).expect("there")[at] ^= mask;
                    if let Err(error) = judge(sample, &files, &BTreeSet::from([path.as_str()])) {
                        panic!(
                            "{}, ended {}: {path} byte {at} ^ {mask:#x}: {error}",
                            sample.name, sample.ended
                        );
                    }
                    cases += 1;
                }
            }
        }
        cases
    });
    println!("flips: {cases}");
}

#[test]
fn every_other_length_is_noticed() {
    let mut cases = 0;
    for sample in &all_samples() {
        for (path, content) in &sample.files {
            for len in (0..content.len() + 100).filter(|len| *len != content.len()) {
                let mut files = sample.files.clone();
                files.get_mut(path).expect("there").resize(len, 0);
                // Zeros up to the capacity are what a cut that was lost leaves; nothing is missing then.
                let harmless = len as u64 == WAL_FILE_BYTES && len > content.len();
                let sample = Sample {
                    ended: sample.ended && !harmless,
                    files: Files::new(),
                    history: sample.history.clone(),
                    ..*sample
                };
                if let Err(error) = judge(&sample, &files, &BTreeSet::from([path.as_str()])) {
                    panic!("{}, ended {}: {path} with {len} bytes: {error}", sample.name, sample.ended);
                }
                cases += 1;
            }
        }
    }
    println!("lengths: {cases}");
}

#[test]
fn random_damage_to_larger_logs_is_noticed() {
    const CASES: u64 = 1_000;
    let batches: Vec<u64> = (0..120).map(|number| 1 + number * 7 % 11).collect();
    let samples = samples("larger", &batches, 4_000);
    on_all_cores(0..CASES * multiplier(), |seed| {
        let chance = &mut Chance::new(seed);
        let sample = &samples[chance.index(2)];
        let mut files = sample.files.clone();
        let mut damaged = BTreeSet::new();
        for _ in 0..=chance.below(3) {
            let (path, content) = sample.files.iter().nth(chance.index(files.len())).expect("there");
            files.get_mut(path).expect("there")[chance.index(content.len())] ^= 1 << chance.below(8);
            damaged.insert(path.as_str());
        }
        if files != sample.files
            && let Err(error) = judge(sample, &files, &damaged)
        {
            panic!("seed {seed}, {damaged:?}: {error}");
        }
        1
    });
    println!("random damage: {} logs", CASES * multiplier());
}

/// The file that opening complains of; `None` if it opens.
fn refused(files: &Files) -> Option<String> {
    let disk = FaultDisk::holding(files);
    match open(&disk, &options(WAL_FILE_BYTES), clock(1)) {
        Ok(_) => None,
        Err(OpenError::Corrupt(corruption)) => {
            assert_eq!(disk.files(), *files, "what is refused is not changed");
            Some(corruption.file)
        }
        Err(error) => panic!("{}", error_chain(&error)),
    }
}

#[test]
fn two_damaged_frames_are_not_one_torn_frame() {
    let [sample, _] = samples("one file", &[2, 2, 2], 4_000);
    let (path, content) = wal_files(&sample.files)[0];
    let starts: Vec<usize> =
        (64..content.len()).step_by(8).filter(|at| content[*at..].starts_with(b"LSF1")).collect();
    for (at, behind) in [(starts[1], starts[2]), (starts[1] + 60, starts[2])] {
        let mut files = sample.files.clone();
        let damaged = files.get_mut(path).expect("there");
        damaged[at] ^= 1;
        damaged[behind + 60] ^= 1;
        assert_eq!(refused(&files).as_ref(), Some(path), "the last two frames, acknowledged both");
    }
}

#[test]
fn a_missing_file_is_noticed() {
    for sample in samples("files", &[2, 1, 3, 1, 1, 2, 4, 4], WAL_FILE_BYTES) {
        let mut files = sample.files.clone();
        files.remove("segments/manifest.json");
        assert_eq!(refused(&files).as_deref(), Some("segments/manifest.json"));
        let paths: Vec<&String> = wal_files(&sample.files).into_iter().map(|(path, _)| path).collect();
        assert!(paths.len() > 3);
        for (at, path) in paths.iter().enumerate() {
            let mut files = sample.files.clone();
            files.remove(*path);
            // The last one is the exception: a log without it is a log that ended before.
            assert_eq!(refused(&files).as_ref(), paths.get(at + 1).copied(), "without {path}");
        }
    }
}

#[test]
fn a_file_in_the_place_of_another_is_noticed() {
    for sample in samples("files", &[2, 1, 3, 1, 1, 2, 4, 4], WAL_FILE_BYTES) {
        for (path, content) in wal_files(&sample.files) {
            for (other, other_content) in wal_files(&sample.files).into_iter().filter(|it| it.0 > path) {
                let mut files = sample.files.clone();
                files.insert(other.clone(), content.clone());
                assert_eq!(refused(&files).as_ref(), Some(other), "{path} over {other}");
                files.insert(path.clone(), other_content.clone());
                assert_eq!(refused(&files).as_ref(), Some(path), "{path} and {other} exchanged");
                files.insert(other.clone(), sample.files[other].clone());
                assert_eq!(refused(&files).as_ref(), Some(path), "{other} over {path}");
            }
        }
    }
}

#[test]
fn a_file_of_another_log_is_noticed() {
    let batches = [2, 1, 3, 1, 1, 2, 4, 4];
    let ours = samples("ours", &batches, WAL_FILE_BYTES);
    let theirs = samples("theirs", &batches, WAL_FILE_BYTES);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for (path, _) in wal_files(&ours.files) {
            let mut files = ours.files.clone();
            files.insert(path.clone(), theirs.files[path].clone());
            assert_eq!(refused(&files).as_ref(), Some(path));
        }
        let manifest = "segments/manifest.json";
        let mut files = ours.files.clone();
        files.insert(manifest.to_owned(), theirs.files[manifest].clone());
        assert_eq!(refused(&files).as_ref(), wal_files(&files).first().map(|(path, _)| *path));
    }
}

#[test]
fn a_frame_in_the_wrong_place_is_noticed() {
    let [sample, _] = samples("one file", &[2, 2, 2], 4_000);
    let (path, content) = wal_files(&sample.files)[0];
    let starts: Vec<usize> =
        (64..content.len()).step_by(8).filter(|at| content[*at..].starts_with(b"LSF1")).collect();
    assert_eq!(starts.len(), 3);
    let used = content.iter().rposition(|byte| *byte != 0).expect("frames") + 1;
    let ends = [starts[1], starts[2], used.next_multiple_of(8)];
    for (start, end) in starts.iter().zip(ends) {
        for to in starts.iter().chain(&ends[2..]).filter(|to| *to != start) {
            let mut files = sample.files.clone();
            files.get_mut(path).expect("there")[*to..to + end - start].copy_from_slice(&content[*start..end]);
            assert_eq!(refused(&files).as_ref(), Some(path), "the frame at {start} also at {to}");
        }
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    for sample in samples("files", &[2, 1, 3, 1], WAL_FILE_BYTES) {
        for (path, _) in wal_files(&sample.files) {
            let mut files = sample.files.clone();
            let header = files.get_mut(path).expect("there");
            header[8..12].copy_from_slice(&9_u32.to_le_bytes());
            let checksum = crc32c::crc32c_append(crc32c::crc32c(&9_u32.to_le_bytes()), &header[16..64]);
            header[12..16].copy_from_slice(&checksum.to_le_bytes());
            let disk = FaultDisk::holding(&files);
            let error = open(&disk, &options(WAL_FILE_BYTES), clock(1)).err().expect("is refused");
            assert_eq!(error.to_string(), format!("{path} has format version 9, this program knows 2"));
            assert_eq!(disk.files(), files);
        }
    }
}

#[test]
fn damage_under_a_running_log_is_an_error_and_never_a_gap() {
    let mut cases = 0;
    let [sample, _] = samples("running", &[2, 1, 3, 1, 1, 2], WAL_FILE_BYTES);
    let disk = FaultDisk::holding(&sample.files);
    let log = open(&disk, &options(WAL_FILE_BYTES), clock(1)).expect("opens");
    let all = disk.files();
    for (path, content) in wal_files(&all) {
        for at in 64..content.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut damaged = content.clone();
                damaged[at] ^= mask;
                disk.put(path, &damaged);
                for after in 0..sample.history.facts.len() {
                    let mut reader = log.read(Position::new(after as u64), Detail::Events);
                    let mut expected = sample.history.facts[after..].iter();
                    loop {
                        match reader.next_batch() {
                            Ok(Some(batch)) => {
                                assert!(batch.facts.iter().all(|fact| Some(fact) == expected.next()));
                            }
                            Ok(None) => break assert_eq!(expected.next(), None),
                            Err(ReadError::Corrupt(corruption)) => break assert_eq!(&corruption.file, path),
                            Err(error) => panic!("{error}"),
                        }
                    }
                    cases += 1;
                }
            }
        }
        disk.put(path, content);
    }
    sample.history.compare(&log, None).expect("all is well again");
    println!("damage under a running log: {cases} reads");
}
