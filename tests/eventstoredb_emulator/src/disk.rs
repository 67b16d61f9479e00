//! The file of a node: its records in order, each in a frame with a checksum. A torn last frame is cut off; damage
//! before it is refused. Beside it may lie a mark to cut the log when the node starts.
//!
//! `DIR/log`: frames, little-endian, of `crc32c u32 | len u32 | payload [len]`; the checksum is of the payload.
//! `DIR/truncate`: the number of records to keep, in decimal digits.

mod frame;

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::record::{Position, Record};

pub(crate) use frame::encode;
use frame::{FRAME_HEADER_LEN, PAYLOAD_LEN_MAX, decode};

/// The file of one node, open for appending.
#[derive(Debug)]
pub(crate) struct NodeFile {
    dir: PathBuf,
    file: File,
}

/// A record with the position behind it.
pub(crate) type Stored = (Arc<Record>, Position);

fn damaged(offset: u64, found: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damage at byte {offset} of the log: {found}"))
}

impl NodeFile {
    /// Opens or creates the file in `dir` and reads what is in it.
    ///
    /// # Errors
    /// The operating system's, or damage that is no torn tail.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, Vec<Stored>)> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("log");
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let mut this = Self { dir: dir.to_owned(), file };
        let mut stored = this.recover()?;
        let mark = dir.join("truncate");
        if let Some(keep) = read_mark(&mark)? {
            stored.truncate(keep);
            this.replace_with(&stored)?;
            std::fs::remove_file(&mark)?;
            File::open(dir)?.sync_all()?;
        }
        Ok((this, stored))
    }

    /// Reads all frames, and cuts off a last one that was not written whole.
    fn recover(&mut self) -> io::Result<Vec<Stored>> {
        let len = self.file.metadata()?.len();
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let (mut stored, mut offset) = (Vec::new(), 0);
        let mut payload = Vec::new();
        let mut types = frame::Types::default();
        while offset < len {
            let Some(frame_len) = read_frame(&mut reader, &mut payload, len - offset)? else { break };
            let is_last = offset + frame_len == len;
            match decode(&payload, &mut types) {
                Some(record) if frame::is_whole(&payload) => stored.push(record),
                _ if is_last => break,
                _ => return Err(damaged(offset, "a checksum that is not that of the record")),
            }
            offset += frame_len;
        }
        if offset < len {
            self.file.set_len(offset)?;
            self.file.sync_all()?;
        }
        Ok(stored)
    }

    /// Appends frames and makes them durable.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.write_all(frames)?;
        self.file.sync_data()
    }

    /// Replaces the whole file: after a truncation or a scavenge.
    ///
    /// # Errors
    /// The operating system's; the old file stays.
    pub(crate) fn replace_with(&mut self, records: &[Stored]) -> io::Result<()> {
        let (path, new) = (self.dir.join("log"), self.dir.join("log.new"));
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(&new)?);
        let mut bytes = Vec::new();
        for (record, end) in records {
            bytes.clear();
            encode(record, *end, &mut bytes);
            writer.write_all(&bytes)?;
        }
        writer.into_inner()?.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(&self.dir)?.sync_all()?;
        self.file = OpenOptions::new().read(true).append(true).open(&path)?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(())
    }

    /// Leaves the mark that the log is cut to `keep` records when the node starts again.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn mark_truncation(&self, keep: usize) -> io::Result<()> {
        let mut mark = File::create(self.dir.join("truncate"))?;
        mark.write_all(keep.to_string().as_bytes())?;
        mark.sync_all()?;
        File::open(&self.dir)?.sync_all()
    }
}

fn read_mark(path: &Path) -> io::Result<Option<usize>> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.parse().map(Some).map_err(|_| damaged(0, "a mark that is no number")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the next frame into `payload`, its checksum first; returns its length in the file. `None`: it is torn.
fn read_frame(reader: &mut impl Read, payload: &mut Vec<u8>, left: u64) -> io::Result<Option<u64>> {
    if left < FRAME_HEADER_LEN {
        return Ok(None);
    }
    let mut word = [0; 4];
    payload.clear();
    reader.read_exact(&mut word)?;
    payload.extend_from_slice(&word);
    reader.read_exact(&mut word)?;
    let len = u64::from(u32::from_le_bytes(word));
    if len > PAYLOAD_LEN_MAX || FRAME_HEADER_LEN + len > left {
        return Ok(None);
    }
    reader.take(len).read_to_end(payload)?;
    Ok(Some(FRAME_HEADER_LEN + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Body, ContentType, Event, Payload, Ticks};
    use uuid::Uuid;

    fn records() -> Vec<Stored> {
        let event = |revision: i64| Event {
            stream: "Zo\u{eb}".into(),
            revision,
            id: Uuid::from_u128(7),
            created: Ticks(5),
            event_type: "t".into(),
            content: ContentType::Json,
            payload: Payload::copied(b"{}", b"meta"),
        };
        let bodies = [
            Body::Epoch { number: 0 },
            Body::Event(event(0)),
            Body::Empty { len: 99 },
            Body::Removed,
            Body::Event(event(3)),
        ];
        let records = bodies.into_iter().zip(1..);
        records
            .map(|(body, at)| {
                (Arc::new(Record { position: Position(at * 100), body }), Position(at * 100 + 100))
            })
            .collect()
    }

    fn written(dir: &Path) -> Vec<u8> {
        let (mut file, found) = NodeFile::open(dir).unwrap();
        assert!(found.is_empty());
        let mut frames = Vec::new();
        for (record, end) in records() {
            encode(&record, end, &mut frames);
        }
        file.append(&frames).unwrap();
        frames
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        assert_eq!(NodeFile::open(dir.path()).unwrap().1, records());
    }

    #[test]
    fn a_torn_last_frame_is_cut_off_wherever_it_was_torn() {
        let dir = tempfile::tempdir().unwrap();
        let whole = written(dir.path());
        let mut last = Vec::new();
        encode(&records()[4].0, Position(600), &mut last);
        for torn in whole.len() - last.len() + 1..whole.len() {
            std::fs::write(dir.path().join("log"), &whole[..torn]).unwrap();
            let (mut file, found) = NodeFile::open(dir.path()).unwrap();
            assert_eq!(found, records()[..4], "cut at {torn}");
            file.append(&last).unwrap();
            assert_eq!(NodeFile::open(dir.path()).unwrap().1, records(), "cut at {torn}");
        }
    }

    #[test]
    fn a_last_frame_of_full_length_whose_bytes_did_not_all_arrive_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let mut whole = written(dir.path());
        *whole.last_mut().unwrap() ^= 1;
        std::fs::write(dir.path().join("log"), &whole).unwrap();
        assert_eq!(NodeFile::open(dir.path()).unwrap().1, records()[..4]);
    }

    #[test]
    fn damage_before_the_last_frame_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut whole = written(dir.path());
        whole[70] ^= 1;
        std::fs::write(dir.path().join("log"), &whole).unwrap();
        assert_eq!(NodeFile::open(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_mark_cuts_the_log_once() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        NodeFile::open(dir.path()).unwrap().0.mark_truncation(2).unwrap();
        assert_eq!(NodeFile::open(dir.path()).unwrap().1, records()[..2]);
        assert!(!dir.path().join("truncate").exists());
        assert_eq!(NodeFile::open(dir.path()).unwrap().1, records()[..2]);
    }
}
