//! A queue of events on disk, which survives the death of the service and the absence of the server.
//!
//! A directory with one owner (a lock file) has segments of records, the oldest first, named by the number of their first
//! event. A record is its length and its CRC-32C, four bytes each, least significant first, and the event as a line of JSON
//! without its end. A group of records is acknowledged once it is synced. The file `done` has the number of the last event
//! that the server has answered; where it is lost or old, events are sent again, which adds nothing.
//!
//! - Numbers begin at 1, have no gaps and never come again.
//! - A record that was cut off at the very end was never acknowledged: opening drops it, and says so.
//! - Damage elsewhere is reported with file and offset. Nothing is skipped.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::batch::Batch;

/// The first bytes of a segment.
const MAGIC: &[u8; 16] = b"lastseen-outbox1";
/// Length and checksum of a record.
const HEAD_BYTES: usize = 8;
/// No event is longer (the server refuses 64 KiB).
const RECORD_BYTES_MAX: usize = 1 << 20;
const DONE: &str = "done";

/// The outbox cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// A file cannot be read or written.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The failure.
        error: io::Error,
    },
    /// Another process, or another publisher of this one, has it open.
    #[error("{}: another publisher has this outbox open", .0.display())]
    InUse(PathBuf),
    /// A record that was acknowledged cannot be read.
    #[error("{} is damaged at byte {offset}: {what}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The place of the record in the file, from 0.
        offset: u64,
        /// The fault.
        what: &'static str,
    },
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Outbox {
    dir: PathBuf,
    /// `None`: it belongs to another one, perhaps.
    lock: Option<File>,
    /// At most so many bytes of files.
    bytes_max: u64,
    segment_bytes: u64,
    /// The oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    /// The last segment. `None`: a new one is to be begun.
    active: Option<File>,
    /// A segment that a failed write may have left longer than it is.
    cut: Option<(PathBuf, u64)>,
    /// The last event that was answered.
    done: u64,
    bytes: u64,
}

/// One file. Its records are the events from `first` to before `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    first: u64,
    next: u64,
    bytes: u64,
}

/// The place of a reader.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The last event that was read.
    pub(crate) after: u64,
    open: Option<(u64, File, u64)>,
}

impl Cursor {
    /// Goes to the event after this one.
    pub(crate) fn go_on_after(&mut self, after: u64) {
        if self.after != after {
            *self = Self { after, open: None };
        }
    }
}

/// A group was not kept.
#[derive(Debug)]
pub(crate) enum NotKept {
    /// There is no room until events were answered.
    Full,
    Failed(OutboxError),
}

/// The end of a file that was cut off when an outbox was opened: bytes that were never acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// The outcome of reading one record.
enum FirstRecord<'a> {
    Record(&'a [u8]),
    End,
    Bad(&'static str),
}

fn failed(file: &Path) -> impl FnOnce(io::Error) -> OutboxError + '_ {
    |error| OutboxError::Io { file: file.to_owned(), error }
}

/// The record at the beginning of `bytes`.
fn record(bytes: &[u8]) -> FirstRecord<'_> {
    if bytes.is_empty() {
        return FirstRecord::End;
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return FirstRecord::Bad("a record is cut off");
    };
    let (length, checksum) = head.split_at(4);
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let (length, checksum) = (number(length) as usize, number(checksum));
    if length == 0 || length > RECORD_BYTES_MAX {
        return FirstRecord::Bad("no record has this length");
    }
    match rest.get(..length) {
        None => FirstRecord::Bad("a record is cut off"),
        Some(line) if crc32c::crc32c(line) == checksum => FirstRecord::Record(line),
        Some(_) => FirstRecord::Bad("a checksum does not match"),
    }
}

fn write_record(line: &str, out: &mut Vec<u8>) {
    let length = u32::try_from(line.len()).expect("an event is shorter");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(line.as_bytes()).to_le_bytes());
    out.extend_from_slice(line.as_bytes());
}

impl Outbox {
    /// Opens the queue in a directory, which is made where it is not there; and tells what was cut off.
    pub(crate) fn open(dir: &Path, bytes_max: u64) -> Result<(Self, Option<Torn>), OutboxError> {
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let lock = lock(dir)?;
        let mut outbox = Self {
            dir: dir.to_owned(),
            lock: Some(lock),
            bytes_max,
            segment_bytes: (bytes_max / 16).clamp(64 << 10, 8 << 20),
            segments: VecDeque::new(),
            active: None,
            cut: None,
            done: 0,
            bytes: 0,
        };
        let firsts = outbox.firsts()?;
        let mut torn = None;
        for (at, first) in firsts.iter().enumerate() {
            let is_last = at + 1 == firsts.len();
            let (segment, cut) = outbox.check(*first, is_last)?;
            torn = cut;
            if let Some(before) = outbox.segments.back().filter(|before| before.next != segment.first) {
                let (file, offset) = (outbox.path(before.first), before.bytes);
                return Err(OutboxError::Damaged { file, offset, what: "the segment after it is missing" });
            }
            outbox.bytes += segment.bytes;
            outbox.segments.push_back(segment);
        }
        let before = outbox.segments.front().map_or(0, |segment| segment.first - 1);
        outbox.done = outbox.read_done().max(before);
        outbox.forget_answered()?;
        Ok((outbox, torn))
    }

    /// Lets another publisher open it. Nothing is done with this one after that.
    pub(crate) fn release(&mut self) {
        self.lock = None;
    }

    /// The events that wait to be answered.
    pub(crate) fn waiting(&self) -> u64 {
        self.last() - self.done
    }

    /// Bytes of files.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The last event that was answered.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// The last event that is kept.
    pub(crate) fn last(&self) -> u64 {
        self.segments.back().map_or(self.done, |segment| (segment.next - 1).max(self.done))
    }

    /// Keeps a group of events: all of them are durable then, or none is there.
    pub(crate) fn append<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) -> Result<u64, NotKept> {
        self.cut_again().map_err(NotKept::Failed)?;
        let (mut group, mut count) = (Vec::new(), 0);
        for line in lines {
            write_record(line, &mut group);
            count += 1;
        }
        if self.bytes + group.len() as u64 + MAGIC.len() as u64 > self.bytes_max && self.waiting() > 0 {
            return Err(NotKept::Full);
        }
        if self.segments.back().is_none_or(|segment| segment.bytes >= self.segment_bytes) {
            self.active = None;
        }
        if self.active.is_none() {
            self.begin_segment().map_err(NotKept::Failed)?;
        }
        let path = self.path(self.segments.back().expect("it was begun").first);
        let (file, segment) =
            (self.active.as_mut().expect("it was begun"), self.segments.back_mut().expect("it was begun"));
        if let Err(error) = file.write_all(&group).and_then(|()| file.sync_data()) {
            // Nobody knows what of it is there: it is cut off, and the next group goes to another file.
            self.cut = Some((path.clone(), segment.bytes));
            self.active = None;
            // The failure that comes first is told.
            let _ = self.cut_again();
            return Err(NotKept::Failed(OutboxError::Io { file: path, error }));
        }
        segment.next += count;
        segment.bytes += group.len() as u64;
        self.bytes += group.len() as u64;
        Ok(self.last())
    }

    /// Reads the next events after `cursor`, as many as a batch takes. `None`: there is none yet.
    pub(crate) fn read(
        &self,
        cursor: &mut Cursor,
        (events_max, bytes_max): (usize, usize),
    ) -> Result<Option<Batch>, OutboxError> {
        // A file that is gone takes room until nobody has it open.
        let is_gone = |first: u64| self.segments.iter().all(|segment| segment.first != first);
        if cursor.open.as_ref().is_some_and(|(first, ..)| is_gone(*first)) {
            cursor.open = None;
        }
        let mut batch = Batch::after(cursor.after);
        while batch.len() < events_max && cursor.after < self.last() {
            let next = cursor.after + 1;
            let segment = self.segments.iter().find(|segment| (segment.first..segment.next).contains(&next));
            let segment = *segment.expect("numbers have no gaps");
            let path = self.path(segment.first);
            if cursor.open.as_ref().is_none_or(|(first, ..)| *first != segment.first) {
                let mut file = File::open(&path).map_err(failed(&path))?;
                let mut offset = MAGIC.len() as u64;
                for _ in segment.first..next {
                    offset += HEAD_BYTES as u64 + read_one(&mut file, (&path, offset))?.len() as u64;
                }
                cursor.open = Some((segment.first, file, offset));
            }
            let (_, file, offset) = cursor.open.as_mut().expect("it was opened");
            let line = read_one(file, (&path, *offset))?;
            if batch.len() > 0 && batch.bytes() + line.len() > bytes_max {
                break;
            }
            *offset += HEAD_BYTES as u64 + line.len() as u64;
            cursor.after = next;
            batch.push(&line);
        }
        Ok((batch.len() > 0).then_some(batch))
    }

    /// Notes that all events up to this one were answered, and gives their files back.
    pub(crate) fn settle(&mut self, upto: u64) -> Result<(), OutboxError> {
        self.done = self.done.max(upto);
        self.forget_answered()?;
        let (path, new) = (self.dir.join(DONE), self.dir.join("done.new"));
        let text = self.done.to_string();
        let text = format!("{text} {:08x}\n", crc32c::crc32c(text.as_bytes()));
        fs::write(&new, text).map_err(failed(&new))?;
        fs::rename(&new, &path).map_err(failed(&path))
    }

    fn forget_answered(&mut self) -> Result<(), OutboxError> {
        while let Some(segment) = self.segments.front().filter(|segment| segment.next <= self.done + 1) {
            // The one that is written to goes on, unless it is full or belongs to an earlier run.
            let is_active = self.segments.len() == 1 && self.active.is_some();
            if is_active && segment.bytes < self.segment_bytes {
                break;
            }
            let path = self.path(segment.first);
            self.bytes -= segment.bytes;
            if self.segments.len() == 1 {
                self.active = None;
            }
            self.segments.pop_front();
            fs::remove_file(&path).map_err(failed(&path))?;
        }
        Ok(())
    }

    fn path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{first:020}.outbox"))
    }

    /// The first events of the segments, ascending.
    fn firsts(&self) -> Result<Vec<u64>, OutboxError> {
        let mut firsts = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed(&self.dir))? {
            let name = entry.map_err(failed(&self.dir))?.file_name();
            let first = name.to_str().and_then(|name| name.strip_suffix(".outbox")).map(str::parse);
            if let Some(Ok(first)) = first {
                firsts.push(first);
            }
        }
        firsts.sort_unstable();
        Ok(firsts)
    }

    fn begin_segment(&mut self) -> Result<(), OutboxError> {
        // One that a failed write left without an event goes first.
        while let Some(empty) = self.segments.back().filter(|segment| segment.first == segment.next).copied()
        {
            let path = self.path(empty.first);
            fs::remove_file(&path).map_err(failed(&path))?;
            self.segments.pop_back();
            self.bytes -= empty.bytes;
        }
        let first = self.last() + 1;
        let path = self.path(first);
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path);
        let mut file = file.map_err(failed(&path))?;
        let begun = file.write_all(MAGIC).and_then(|()| file.sync_data());
        let begun = begun.and_then(|()| File::open(&self.dir)?.sync_all());
        if let Err(error) = begun {
            // A file without an event is no harm: opening passes over it.
            let _ = fs::remove_file(&path);
            return Err(OutboxError::Io { file: path, error });
        }
        let bytes = MAGIC.len() as u64;
        self.segments.push_back(Segment { first, next: first, bytes });
        self.bytes += bytes;
        self.active = Some(file);
        Ok(())
    }

    /// Cuts off what a failed write may have left.
    fn cut_again(&mut self) -> Result<(), OutboxError> {
        let Some((path, bytes)) = &self.cut else { return Ok(()) };
        let cut = OpenOptions::new().write(true).open(path).and_then(|file| {
            file.set_len(*bytes)?;
            file.sync_all()
        });
        match cut {
            // All of it was answered meanwhile, and the file is gone.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            cut => cut.map_err(failed(path))?,
        }
        self.cut = None;
        Ok(())
    }

    /// Reads a segment from end to end. The last one may end within a record, which is cut off.
    fn check(&self, first: u64, is_last: bool) -> Result<(Segment, Option<Torn>), OutboxError> {
        let path = self.path(first);
        let bytes = fs::read(&path).map_err(failed(&path))?;
        let damaged =
            |offset: usize, what| OutboxError::Damaged { file: path.clone(), offset: offset as u64, what };
        let cut_off = |length: usize| {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed(&path))?;
            file.set_len(length as u64).and_then(|()| file.sync_all()).map_err(failed(&path))?;
            let (file, offset) = (path.clone(), length as u64);
            Ok(Torn { file, offset, bytes: (bytes.len() - length) as u64 })
        };
        let Some(records) = bytes.strip_prefix(MAGIC) else {
            // A file that was begun and never written to.
            if is_last && MAGIC.starts_with(&bytes) {
                let file = OpenOptions::new().write(true).open(&path).and_then(|mut file| {
                    file.write_all(MAGIC)?;
                    file.sync_all()
                });
                file.map_err(failed(&path))?;
                return Ok((Segment { first, next: first, bytes: MAGIC.len() as u64 }, None));
            }
            return Err(damaged(0, "it does not begin as an outbox does"));
        };
        let (mut at, mut next) = (0, first);
        loop {
            match record(&records[at..]) {
                FirstRecord::Record(line) => {
                    at += HEAD_BYTES + line.len();
                    next += 1;
                }
                FirstRecord::End => break,
                FirstRecord::Bad(what) => {
                    let is_followed = (at + 1..records.len())
                        .any(|later| matches!(record(&records[later..]), FirstRecord::Record(_)));
                    if !is_last || is_followed {
                        return Err(damaged(MAGIC.len() + at, what));
                    }
                    let length = MAGIC.len() + at;
                    let torn = cut_off(length)?;
                    return Ok((Segment { first, next, bytes: length as u64 }, Some(torn)));
                }
            }
        }
        Ok((Segment { first, next, bytes: bytes.len() as u64 }, None))
    }

    /// The last event that was answered, as far as that is known.
    fn read_done(&self) -> u64 {
        let text = fs::read_to_string(self.dir.join(DONE)).unwrap_or_default();
        let known = text.trim_end().split_once(' ').and_then(|(number, checksum)| {
            let is_whole = format!("{:08x}", crc32c::crc32c(number.as_bytes())) == checksum;
            number.parse().ok().filter(|_| is_whole)
        });
        known.unwrap_or(0)
    }
}

fn lock(dir: &Path) -> Result<File, OutboxError> {
    let path = dir.join("lock");
    let file =
        OpenOptions::new().create(true).write(true).truncate(false).open(&path).map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutboxError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(OutboxError::Io { file: path, error }),
    }
}

/// Reads the record at `offset` of a segment. It was acknowledged.
fn read_one(file: &mut File, (path, offset): (&Path, u64)) -> Result<Vec<u8>, OutboxError> {
    let damaged = |what| OutboxError::Damaged { file: path.to_owned(), offset, what };
    let or_damaged = |error: io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => damaged("a record is cut off"),
        _ => OutboxError::Io { file: path.to_owned(), error },
    };
    file.seek(SeekFrom::Start(offset)).map_err(failed(path))?;
    let mut bytes = vec![0; HEAD_BYTES];
    file.read_exact(&mut bytes).map_err(or_damaged)?;
    let length = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
    if length > RECORD_BYTES_MAX {
        return Err(damaged("no record has this length"));
    }
    bytes.resize(HEAD_BYTES + length, 0);
    file.read_exact(&mut bytes[HEAD_BYTES..]).map_err(or_damaged)?;
    match record(&bytes) {
        FirstRecord::Record(_) => Ok(bytes.split_off(HEAD_BYTES)),
        FirstRecord::Bad(what) => Err(damaged(what)),
        FirstRecord::End => Err(damaged("a record is cut off")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(dir: &Path) -> Outbox {
        let (outbox, torn) = Outbox::open(dir, 1 << 20).unwrap();
        assert_eq!(torn, None);
        outbox
    }

    /// All events that wait, read in batches of a few.
    fn waiting(outbox: &Outbox) -> Vec<String> {
        let mut cursor = Cursor { after: outbox.done(), open: None };
        let mut found = Vec::new();
        while let Some(batch) = outbox.read(&mut cursor, (3, 1 << 20)).unwrap() {
            found.extend((0..batch.len()).map(|at| batch.line(at).unwrap().to_owned()));
            assert_eq!(batch.last(), cursor.after);
        }
        found
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append(Vec<String>),
        /// So many of those that wait.
        Settle(u64),
        /// By another process.
        Reopen,
    }

    fn step() -> impl Strategy<Value = Step> {
        let line = prop_oneof!["[a-z]{1,8}", Just("x".repeat(9_000))];
        prop_oneof![
            4 => prop::collection::vec(line, 1..12).prop_map(Step::Append),
            3 => (0_u64..12).prop_map(Step::Settle),
            1 => Just(Step::Reopen),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_queue_whoever_opens_it(steps in prop::collection::vec(step(), 1..40)) {
            let dir = tempfile::tempdir().unwrap();
            let (mut outbox, mut model) = (open(dir.path()), VecDeque::new());
            for step in steps {
                match step {
                    Step::Append(lines) => match outbox.append(lines.iter().map(String::as_str)) {
                        Ok(last) => {
                            model.extend(lines);
                            prop_assert_eq!(last, outbox.done() + model.len() as u64);
                        }
                        Err(NotKept::Full) => prop_assert!(outbox.bytes() > 1 << 19),
                        Err(NotKept::Failed(error)) => panic!("{error}"),
                    },
                    Step::Settle(count) => {
                        let count = count.min(model.len() as u64);
                        outbox.settle(outbox.done() + count).unwrap();
                        model.drain(..usize::try_from(count).unwrap());
                    }
                    Step::Reopen => {
                        drop(outbox);
                        outbox = open(dir.path());
                    }
                }
                prop_assert_eq!(outbox.waiting(), model.len() as u64);
                prop_assert_eq!(&waiting(&outbox), &Vec::from(model.clone()));
                let on_disk: u64 = fs::read_dir(dir.path()).unwrap().map(|entry| {
                    let entry = entry.unwrap();
                    let is_segment = entry.file_name().to_string_lossy().ends_with(".outbox");
                    if is_segment { entry.metadata().unwrap().len() } else { 0 }
                }).sum();
                prop_assert_eq!(outbox.bytes(), on_disk);
            }
        }
    }

    /// The files of an outbox with two groups of events, and the bytes of its one segment.
    fn written() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = open(dir.path());
        outbox.append(["one", "two"]).unwrap();
        outbox.append(["three"]).unwrap();
        let path = outbox.path(1);
        let bytes = fs::read(&path).unwrap();
        (dir, path, bytes)
    }

    #[test]
    fn an_end_that_was_cut_off_at_any_byte_costs_what_was_not_acknowledged() {
        let (dir, path, bytes) = written();
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let (mut outbox, torn) = Outbox::open(dir.path(), 1 << 20).unwrap();
            let expected = ["one", "two", "three"].map(str::to_owned);
            // The header ends at 16, "one" at 27, "two" at 38.
            let whole = usize::from(length >= 27) + usize::from(length >= 38);
            assert_eq!(waiting(&outbox), expected[..whole], "{length}");
            let is_torn = length > 16 && ![27, 38].contains(&length);
            assert_eq!(torn.is_some(), is_torn, "{length} {torn:?}");
            outbox.append(["after"]).unwrap();
            let mut expected = expected[..whole].to_vec();
            expected.push("after".to_owned());
            drop(outbox);
            assert_eq!(waiting(&open(dir.path())), expected, "{length}");
            for entry in fs::read_dir(dir.path()).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|it| it == "outbox") {
                    fs::remove_file(path).unwrap();
                }
            }
        }
    }

    #[test]
    fn damage_is_told_with_its_place_and_nothing_is_skipped() {
        let (dir, path, bytes) = written();
        for at in 0..27 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            fs::write(&path, &damaged).unwrap();
            match Outbox::open(dir.path(), 1 << 20) {
                Err(OutboxError::Damaged { file, offset, .. }) => {
                    assert_eq!((file, offset), (path.clone(), if at < 16 { 0 } else { 16 }), "{at}");
                }
                other => panic!("{at}: {other:?}"),
            }
            assert_eq!(fs::read(&path).unwrap(), damaged, "it stays as it is");
        }
    }

    #[test]
    fn a_file_that_was_answered_is_not_held_open() {
        let dir = tempfile::tempdir().unwrap();
        let (mut outbox, mut cursor) = (open(dir.path()), Cursor::default());
        outbox.append(["one", "two"]).unwrap();
        assert_eq!(outbox.read(&mut cursor, (10, 100)).unwrap().unwrap().len(), 2);
        // As after a write that failed: the next group goes to another file.
        outbox.active = None;
        outbox.settle(2).unwrap();
        assert!(outbox.segments.is_empty() && cursor.open.is_some());
        assert_eq!(outbox.read(&mut cursor, (10, 100)).unwrap(), None);
        assert!(cursor.open.is_none());
        // Neither is one waited for that was to be cut off, and is gone.
        outbox.cut = Some((outbox.path(1), 20));
        outbox.append(["three"]).unwrap();
        assert_eq!(outbox.read(&mut cursor, (10, 100)).unwrap().unwrap().line(0), Some("three"));
    }

    #[test]
    fn an_outbox_has_one_owner_and_an_answer_that_is_not_known_is_asked_for_again() {
        let (dir, _, _) = written();
        let mut outbox = open(dir.path());
        assert!(matches!(Outbox::open(dir.path(), 1 << 20), Err(OutboxError::InUse(_))));
        outbox.settle(2).unwrap();
        drop(outbox);
        assert_eq!(waiting(&open(dir.path())), ["three"]);
        fs::write(dir.path().join(DONE), "2 00000000\n").unwrap();
        assert_eq!(waiting(&open(dir.path())), ["one", "two", "three"]);
    }
}
