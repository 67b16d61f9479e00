//! A segment on disk, read piece by piece. Every piece is checked against its checksum before a byte of it is used, so
//! what the decoder says of it afterwards is damage as well.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use lastseen_store::{Corruption, Lineage, ReadError};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection,
};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use super::entry::{Entry, Piece};
use super::index::Index;
use super::schema::{Column, projection};
use crate::damage::corruption;
use crate::disk::{Access, Disk, DiskFile, read_exact_at};

/// A segment that is open for reading.
pub(crate) struct SegmentFile {
    file: Box<dyn DiskFile>,
    path: String,
    entry: Arc<Entry>,
    pieces: Vec<Piece>,
    metadata: ArrowReaderMetadata,
}

impl SegmentFile {
    /// Opens the segment of this entry and reads its index file and its footer.
    ///
    /// # Errors
    /// [`ReadError`]; a file that is missing or not as long as it should be is damage.
    pub(crate) fn open(disk: &dyn Disk, entry: &Arc<Entry>, lineage: &Lineage) -> Result<Self, ReadError> {
        let index = Index::read(disk, entry, |log_id| lineage.contains(log_id))?;
        Self::with_pieces(disk, entry, index.pieces)
    }

    /// Opens the segment of this entry, which consists of these pieces, and reads its footer.
    ///
    /// # Errors
    /// The ones of [`SegmentFile::open`].
    pub(crate) fn with_pieces(
        disk: &dyn Disk,
        entry: &Arc<Entry>,
        pieces: Vec<Piece>,
    ) -> Result<Self, ReadError> {
        let path = super::path(entry.first());
        let file = disk.open(&path, Access::Read).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => damaged(&path, 0, "the segment that the manifest names", "no file"),
            _ => ReadError::Io { file: path.clone(), source: error.into() },
        })?;
        let len = file.size().map_err(|error| ReadError::Io { file: path.clone(), source: error.into() })?;
        if len != entry.bytes() {
            let (expected, found) = (format!("{} bytes", entry.bytes()), format!("{len}"));
            return Err(damaged(&path, len.min(entry.bytes()), &expected, &found));
        }
        let last = pieces.last().map_or(0, |piece| piece.0.min(len));
        let mut chunks = Chunks { len, pieces: BTreeMap::new() };
        chunks.pieces.insert(len - last, piece_at(file.as_ref(), (&path, &pieces), len - last)?);
        let metadata = ArrowReaderMetadata::load(&chunks, ArrowReaderOptions::new())
            .map_err(|error| undecodable(&path, len - last, &error))?;
        let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        if rows != entry.rows() || metadata.parquet_schema().num_columns() != Column::ALL.len() {
            let expected = format!("{} rows of {} columns", entry.rows(), Column::ALL.len());
            return Err(damaged(&path, len - last, &expected, &format!("{rows} rows")));
        }
        Ok(Self { file, path, entry: entry.clone(), pieces, metadata })
    }

    /// The manifest's entry of it.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    pub(crate) fn rows_of(&self, group: usize) -> usize {
        usize::try_from(self.metadata.metadata().row_group(group).num_rows()).unwrap_or(0)
    }

    /// The row group as the footer describes it.
    pub(crate) fn group(&self, group: usize) -> &parquet::file::metadata::RowGroupMetaData {
        self.metadata.metadata().row_group(group)
    }

    /// Returns the bounds of a row group, from the statistics.
    pub(crate) fn bounds(&self, group: usize) -> GroupBounds {
        let bounds = |column: Column| match self.group(group).column(column.index()).statistics()? {
            Statistics::Int64(found) => Some(*found.min_opt()?..=*found.max_opt()?),
            Statistics::Int32(found) => {
                // Unsigned, as its logical type says.
                let [least, greatest] = [*found.min_opt()?, *found.max_opt()?].map(i32::cast_unsigned);
                Some(i64::from(least)..=i64::from(greatest))
            }
            _ => None,
        };
        GroupBounds {
            position: bounds(Column::Position),
            occurred_at: bounds(Column::OccurredAt),
            recorded_at: bounds(Column::RecordedAt),
            member: bounds(Column::Member),
        }
    }

    /// True if no row of a row group has a value in this column.
    fn is_null(&self, group: usize, column: Column) -> bool {
        let nulls =
            self.group(group).column(column.index()).statistics().and_then(Statistics::null_count_opt);
        nulls == Some(self.rows_of(group) as u64)
    }

    /// The columns of a row group that have a value, in batches of at most `batch_rows`; of these rows, or of all.
    ///
    /// # Errors
    /// [`ReadError`]; its damage names the piece.
    pub(crate) fn read(
        &self,
        group: usize,
        columns: &[Column],
        (batch_rows, selection): (usize, Option<RowSelection>),
    ) -> Result<ParquetRecordBatchReader, ReadError> {
        let mut chunks = Chunks { len: self.entry.bytes(), pieces: BTreeMap::new() };
        let columns: Vec<Column> =
            columns.iter().copied().filter(|column| !self.is_null(group, *column)).collect();
        for column in &columns {
            let (start, _) = self.group(group).column(column.index()).byte_range();
            chunks.pieces.insert(start, self.piece(start)?);
        }
        let mask = projection(self.metadata.parquet_schema(), &columns);
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, self.metadata.clone())
            .with_projection(mask)
            .with_row_groups(vec![group])
            .with_batch_size(batch_rows);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        builder.build().map_err(|error| self.undecodable(group, &error))
    }

    /// Returns the error for pieces whose checksums are right but that the decoder refuses.
    pub(crate) fn undecodable(&self, group: usize, error: &dyn std::fmt::Display) -> ReadError {
        undecodable(&self.path, self.group(group).column(0).byte_range().0, error)
    }

    /// Damage in a row group that the decoder did not notice.
    pub(crate) fn damaged(&self, group: usize, expected: &str, found: &str) -> ReadError {
        damaged(&self.path, self.group(group).column(0).byte_range().0, expected, found)
    }

    fn piece(&self, start: u64) -> Result<Bytes, ReadError> {
        piece_at(self.file.as_ref(), (&self.path, &self.pieces), start)
    }
}

/// Least and greatest values of a row group; `None` where they are not known.
pub(crate) struct GroupBounds {
    pub(crate) position: Option<RangeInclusive<i64>>,
    /// In microseconds since 1970.
    pub(crate) occurred_at: Option<RangeInclusive<i64>>,
    /// In microseconds since 1970.
    pub(crate) recorded_at: Option<RangeInclusive<i64>>,
    pub(crate) member: Option<RangeInclusive<i64>>,
}

/// The piece of a file that begins at `start`, checked.
///
/// # Errors
/// [`ReadError`].
pub(crate) fn piece_at(
    file: &dyn DiskFile,
    (path, pieces): (&str, &[Piece]),
    start: u64,
) -> Result<Bytes, ReadError> {
    let mut at = 0;
    let found = pieces.iter().find(|piece| {
        let here = at == start;
        at += if here { 0 } else { piece.0 };
        here
    });
    let Some(Piece(len, crc32c)) = found.copied() else {
        return Err(damaged(path, start, "the beginning of a piece that the manifest names", "none there"));
    };
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let whole = read_exact_at(file, &mut bytes, start)
        .map_err(|error| ReadError::Io { file: path.to_owned(), source: error.into() })?;
    let found = crc32c::crc32c(&bytes);
    if whole && found == crc32c {
        Ok(bytes.into())
    } else {
        let expected = format!("{len} bytes with checksum {crc32c:08x}");
        Err(damaged(path, start, &expected, &format!("{found:08x}")))
    }
}

/// Reads every piece of a file and checks it; calls `damage` for each that is not as it should be.
///
/// # Errors
/// The disk's error.
pub(crate) fn check_pieces(
    file: &dyn DiskFile,
    (path, pieces): (&str, &[Piece]),
    mut damage: impl FnMut(Corruption),
) -> io::Result<()> {
    let mut start = 0;
    for piece in pieces {
        match piece_at(file, (path, pieces), start) {
            Ok(_) => {}
            Err(ReadError::Corrupt(corruption)) => damage(corruption),
            Err(ReadError::Io { source, .. }) => return Err(io::Error::new(source.kind(), source)),
        }
        start += piece.0;
    }
    Ok(())
}

fn damaged(path: &str, offset: u64, expected: &str, found: &str) -> ReadError {
    corruption(path, offset, expected, found).into()
}

fn undecodable(path: &str, offset: u64, error: &dyn std::fmt::Display) -> ReadError {
    damaged(path, offset, "Parquet that can be decoded", &error.to_string())
}

/// Pieces of a file that were read and checked, in their places.
struct Chunks {
    len: u64,
    pieces: BTreeMap<u64, Bytes>,
}

impl Chunks {
    /// Returns the bytes from `start` to the end of its piece.
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let (at, piece) = self.pieces.range(..=start).next_back().ok_or_else(missing)?;
        let skipped = usize::try_from(start - at).map_err(|_| missing())?;
        if skipped > piece.len() { Err(missing()) } else { Ok(piece.slice(skipped..)) }
    }
}

fn missing() -> ParquetError {
    ParquetError::General("the decoder asks for bytes outside of the columns it was given".to_owned())
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Chunks {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let piece = self.from(start)?;
        if length > piece.len() { Err(missing()) } else { Ok(piece.slice(..length)) }
    }
}
