//! The index file beside a segment: the pieces that the segment consists of, the batches that its records name, and a
//! filter over the members that it holds. FORMAT.md "Index file".
//!
//! ```text
//! page 0     the head
//! pieces     length u64 | crc32c u32, 85 a page
//! batches    one after the other, none over the end of a page
//! holders    a filter over hashes of member ordinals
//! ```

use std::io;

use lastseen_event::MemberOrdinal;
use lastseen_store::{LogId, ReadError};
use xxhash_rust::xxh3::xxh3_64;

use super::entry::{Beside, Content, Entry, Piece};
use crate::batches::BatchEntry;
use crate::codec::{Cursor, put_text};
use crate::damage::{Malformed, corruption};
use crate::disk::{Disk, DiskFile};
use crate::filter::{self, Filter, Shape};
use crate::pages::{CONTENT_LEN, PAGE_LEN, PageWriter, Pages};
use crate::place::Place;

const MAGIC: [u8; 8] = *b"LSTNINDX";
const VERSION: u32 = 2;

const PIECE_LEN: usize = 12;

/// Begins a batch in a page; the rest of a page is zeros.
const BATCH: u8 = 1;

/// An index file that was read.
pub(crate) struct Index {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) batches: Vec<BatchEntry>,
    /// `None`: a segment of version 1, which has no such filter.
    holders: Option<Holders>,
}

/// The filter over members, on disk.
struct Holders {
    shape: Shape,
    first_page: u64,
    pages: Pages,
}

/// The content of an index file that is to be written.
pub(crate) struct IndexContent<'a> {
    pub(crate) log_id: LogId,
    pub(crate) positions: [u64; 2],
    pub(crate) content: Content,
    pub(crate) pieces: &'a [Piece],
    pub(crate) batches: &'a [BatchEntry],
    /// Over [`hash_of`] each member.
    pub(crate) holders: &'a Filter,
}

/// The number by which a member stands in a filter.
pub(crate) fn hash_of(member: MemberOrdinal) -> u64 {
    xxh3_64(&member.get().to_le_bytes())
}

struct Head {
    pieces: u32,
    batches: u32,
    /// Pages that the batches take.
    batch_pages: u32,
    holders: Shape,
}

impl Head {
    /// The bytes that tell the file from that of other records.
    fn identity(log_id: LogId, positions: [u64; 2], content: Content) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(log_id.to_bytes());
        bytes.extend(positions[0].to_le_bytes());
        bytes.extend(positions[1].to_le_bytes());
        bytes.extend(content.0.to_le_bytes());
        bytes
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let (pieces, batches, batch_pages) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        Ok(Self { pieces, batches, batch_pages, holders: Shape { blocks: cursor.u32()?.max(1) } })
    }

    fn piece_pages(&self) -> u64 {
        u64::from(self.pieces).div_ceil((CONTENT_LEN / PIECE_LEN) as u64)
    }

    fn pages(&self) -> u64 {
        1 + self.piece_pages() + u64::from(self.batch_pages) + self.holders.pages()
    }
}

/// The log that wrote an index file, and the place of the last record of its segment, by its head.
pub(crate) fn reach_in(head: &[u8]) -> Result<(LogId, Place), Malformed> {
    let mut cursor = Cursor::new(head);
    if cursor.array() != Ok(MAGIC) || cursor.u32()? != VERSION {
        return Err(Malformed);
    }
    let log_id = LogId::from_bytes(cursor.array()?);
    cursor.u64()?;
    Ok((log_id, Place::new(cursor.u64()?)))
}

/// Writes the content of an index file.
///
/// # Errors
/// The disk's answer.
pub(crate) fn write(file: &dyn DiskFile, content: &IndexContent<'_>) -> io::Result<()> {
    let IndexContent { log_id, positions, content, pieces, batches, holders } = *content;
    let mut writer = PageWriter::new(file, 1);
    for Piece(len, crc32c) in pieces {
        let mut record = len.to_le_bytes().to_vec();
        record.extend(crc32c.to_le_bytes());
        writer.push(&record)?;
    }
    let first_of_batches = writer.finish()?;
    let mut writer = PageWriter::new(file, first_of_batches);
    for batch in batches {
        writer.push(&encode_batch(batch))?;
    }
    let first_of_holders = writer.finish()?;
    let mut writer = PageWriter::new(file, first_of_holders);
    for block in holders.blocks() {
        writer.push(&block)?;
    }
    writer.finish()?;
    let number = |count: usize| u32::try_from(count).map_err(|_| io::ErrorKind::FileTooLarge);
    let mut head = Head::identity(log_id, positions, content);
    head.extend(number(pieces.len())?.to_le_bytes());
    head.extend(number(batches.len())?.to_le_bytes());
    let batch_pages = usize::try_from(first_of_holders - first_of_batches).unwrap_or(usize::MAX);
    head.extend(number(batch_pages)?.to_le_bytes());
    head.extend(holders.shape().blocks.to_le_bytes());
    let mut writer = PageWriter::new(file, 0);
    writer.push(&head)?;
    writer.finish().map(drop)
}

fn encode_batch(BatchEntry(name, events, retracted): &BatchEntry) -> Vec<u8> {
    let mut bytes = vec![BATCH];
    put_text(&mut bytes, name);
    bytes.extend(retracted.unwrap_or(0).to_le_bytes());
    bytes.push(u8::try_from(events.len()).expect("there are few types"));
    for (event_type, count) in events {
        bytes.push(*event_type);
        bytes.extend(count.to_le_bytes());
    }
    bytes
}

/// Reads the batches of a page.
pub(crate) fn decode_batches(content: &[u8], batches: &mut Vec<BatchEntry>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(content);
    while cursor.rest().first() == Some(&BATCH) {
        cursor.u8()?;
        let name = cursor.text()?.to_owned();
        let retracted = Some(cursor.u64()?).filter(|position| *position > 0);
        let types = cursor.u8()?;
        let events =
            (0..types).map(|_| Ok((cursor.u8()?, cursor.u64()?))).collect::<Result<_, Malformed>>()?;
        batches.push(BatchEntry(name, events, retracted));
    }
    Ok(())
}

impl Index {
    /// Reads what stands beside a segment, or in its entry where it is of version 1. Of the filter nothing is read yet.
    ///
    /// # Errors
    /// [`ReadError`]; a file that is missing, or that of other records, is damage.
    pub(crate) fn read(
        disk: &dyn Disk,
        entry: &Entry,
        is_of_log: impl Fn(LogId) -> bool,
    ) -> Result<Self, ReadError> {
        let Some(beside) = entry.beside else {
            let (pieces, batches) = (entry.pieces.clone(), entry.batches.clone());
            return Ok(Self { pieces, batches, holders: None });
        };
        let named = "the index that the manifest names";
        let pages = Pages::open(disk, super::index_path(entry.first()), named)?;
        let (size, mut page) = (pages.size()?, [0; PAGE_LEN]);
        let head = Self::head(entry, &beside, pages.read(0, &mut page)?, &is_of_log)
            .ok()
            .filter(|head| size == beside.index.0 && head.pages() * PAGE_LEN as u64 == size)
            .ok_or_else(|| corruption(pages.path(), 0, named, "that of other records"))?;
        let mut pieces = Vec::with_capacity(head.pieces as usize);
        let first_of_batches = 1 + head.piece_pages();
        pages.read_all(1..first_of_batches, |content| {
            let left = head.pieces as usize - pieces.len();
            let records = content.as_chunks::<PIECE_LEN>().0.iter().take(left);
            pieces.extend(records.map(|[a, b, c, d, e, f, g, h, crc @ ..]| {
                Piece(u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), u32::from_le_bytes(*crc))
            }));
        })?;
        let (mut batches, mut decoded) = (Vec::new(), Ok(()));
        let first_page = first_of_batches + u64::from(head.batch_pages);
        pages.read_all(first_of_batches..first_page, |content| {
            decoded = decoded.and_then(|()| decode_batches(content, &mut batches));
        })?;
        if decoded.is_err() || batches.len() != head.batches as usize {
            return Err(pages.damaged(first_of_batches, "something else than batches").into());
        }
        let holders = Holders { shape: head.holders, first_page, pages };
        Ok(Self { pieces, batches, holders: Some(holders) })
    }

    fn head(
        entry: &Entry,
        beside: &Beside,
        content: &[u8],
        is_of_log: impl Fn(LogId) -> bool,
    ) -> Result<Head, Malformed> {
        let mut cursor = Cursor::new(content);
        cursor.slice(MAGIC.len() + 4)?;
        let log_id = LogId::from_bytes(cursor.array()?);
        let identity = Head::identity(log_id, entry.positions, beside.content);
        let mut rest = Cursor::new(content.strip_prefix(identity.as_slice()).ok_or(Malformed)?);
        if is_of_log(log_id) { Head::decode(&mut rest) } else { Err(Malformed) }
    }

    /// True if a record of the member may be in the segment. Reads one page.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn may_hold(&self, member: MemberOrdinal) -> Result<bool, ReadError> {
        match &self.holders {
            None => Ok(true),
            Some(Holders { shape, first_page, pages }) => {
                filter::may_have_on_disk(*shape, pages, *first_page, hash_of(member))
            }
        }
    }

    /// The whole filter; `None` where there is none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn holders(&self) -> Result<Option<Filter>, ReadError> {
        let holders = self.holders.as_ref();
        holders
            .map(|Holders { shape, first_page, pages }| Filter::read(*shape, pages, *first_page))
            .transpose()
    }
}
