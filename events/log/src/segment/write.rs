//! From events to the bytes of a segment, in memory: row group by row group, names by their ordinals.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow_buffer::Buffer;
use hashbrown::HashMap;
use lastseen_event::{
    EventId, EventType, MemberOrdinal, MemberRef, PersonOrdinal, TenantOrdinal, UtcInstant,
};
use lastseen_store::MemberDictionary;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::writer::SerializedFileWriter;

use super::entry::{Content, Piece, Span, day_of, day_ranges};
use super::index::hash_of;
use super::schema::{NO_MEMBER, ROW_GROUP_ROWS, properties, schema};
use crate::batches::{BatchEntry, Tally};
use crate::filter::Filter;
use crate::members::Members;
use crate::origin::Stamp;
use crate::place::{Place, following};
use crate::record::{Record, StoredEvent, StoredRetraction};
use crate::thread::yield_now;

/// An encoded segment: its bytes, and what the manifest and the index file say of it.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) rows: u64,
    /// Positions of the stamps of its first and its last record.
    pub(crate) shown: [u64; 2],
    pub(crate) occurred: Span,
    pub(crate) recorded: Span,
    /// Days since 1970 in UTC on which a record occurred, as ranges, ascending.
    pub(crate) days: Vec<[i32; 2]>,
    /// The batches that its records name.
    pub(crate) batches: Vec<BatchEntry>,
    pub(crate) content: Content,
    /// Over the members of its events.
    pub(crate) holders: Filter,
}

/// Takes events in order.
pub(crate) struct SegmentWriter {
    writer: SerializedFileWriter<Vec<u8>>,
    columns: ArrowRowGroupWriterFactory,
    next: Place,
    group: RowGroup,
    planned: u64,
    rows: u64,
    shown: Option<[u64; 2]>,
    occurred: Option<Span>,
    recorded: Option<Span>,
    days: BTreeSet<i32>,
    /// The last one that was added to `days`.
    day: Option<i32>,
    batches: Tally,
    content: Content,
    holders: HolderSet,
}

impl SegmentWriter {
    /// A segment of about `rows` events, of which the first has place `first`.
    pub(crate) fn new(first: Place, rows: u64) -> Result<Self, ParquetError> {
        let writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties(rows)))?;
        let (writer, columns) = writer.into_serialized_writer()?;
        Ok(Self {
            writer,
            columns,
            next: first,
            group: RowGroup::with_capacity(index(rows)),
            planned: rows,
            rows: 0,
            shown: None,
            occurred: None,
            recorded: None,
            days: BTreeSet::new(),
            day: None,
            batches: Tally::default(),
            content: Content::default(),
            holders: HolderSet::default(),
        })
    }

    /// The events that fit before the row group has to be ended.
    pub(crate) fn room(&self) -> usize {
        ROW_GROUP_ROWS - self.group.len()
    }

    /// Adds an event of this member, which is one of `members`, with the position and the instant to show. Cheap: nothing is
    /// encoded.
    ///
    /// # Panics
    /// If there is no [room](Self::room).
    pub(crate) fn push(
        &mut self,
        event: &StoredEvent<'_>,
        stamp: Stamp,
        (member, members): (MemberRef, &Members),
    ) {
        self.group.push(event, stamp, (member, members));
        self.holders.insert(event.member);
        self.count(&Record::Event(*event), stamp);
    }

    /// Adds a retraction.
    ///
    /// # Panics
    /// If there is no [room](Self::room).
    pub(crate) fn push_retraction(&mut self, retraction: StoredRetraction<'_>, stamp: Stamp) {
        self.group.push_retraction(&retraction, stamp);
        self.count(&Record::Retraction(retraction), stamp);
    }

    fn count(&mut self, record: &Record<'_>, Stamp { position, recorded_at }: Stamp) {
        assert!(self.group.len() <= ROW_GROUP_ROWS, "the row group is ended when it is full");
        self.batches.count_record(record, position);
        self.shown.get_or_insert([position.get(); 2])[1] = position.get();
        self.content.add(self.next, record.identity());
        self.next = following(self.next);
        self.rows += 1;
        let widen = |span: &mut Option<Span>, at| span.get_or_insert(Span::at(at)).include(at);
        widen(&mut self.occurred, record.occurred_at());
        widen(&mut self.recorded, recorded_at);
        let day = day_of(record.occurred_at());
        if self.day != Some(day) {
            self.days.insert(day);
            self.day = Some(day);
        }
    }

    /// Encodes the row group and begins the next one: half a second for a full one, in steps of fractions of a
    /// millisecond.
    ///
    /// # Errors
    /// The error of the encoder.
    pub(crate) fn end_row_group(&mut self) -> Result<(), ParquetError> {
        const STEP_ROWS: usize = 1_024;
        let left = index(self.planned.saturating_sub(self.rows));
        let group = std::mem::replace(&mut self.group, RowGroup::with_capacity(left));
        let rows = group.into_batch()?;
        let writers = self.columns.create_column_writers(self.writer.flushed_row_groups().len())?;
        let mut chunks = Vec::with_capacity(writers.len());
        for ((field, column), mut writer) in
            rows.schema_ref().fields().iter().zip(rows.columns()).zip(writers)
        {
            for first in (0..column.len()).step_by(STEP_ROWS) {
                let step = column.slice(first, STEP_ROWS.min(column.len() - first));
                compute_leaves(field, &step)?.iter().try_for_each(|leaf| writer.write(leaf))?;
                yield_now();
            }
            chunks.push(writer.close()?);
            yield_now();
        }
        let mut row_group = self.writer.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut row_group)?;
            yield_now();
        }
        row_group.close()?;
        Ok(())
    }

    /// The bytes of the segment. `None`: no event was added.
    ///
    /// # Errors
    /// The error of the encoder.
    pub(crate) fn finish(mut self) -> Result<Option<Encoded>, ParquetError> {
        let (Some(shown), Some(occurred), Some(recorded)) = (self.shown, self.occurred, self.recorded) else {
            return Ok(None);
        };
        self.end_row_group()?;
        let metadata = self.writer.finish()?;
        let bytes = std::mem::take(self.writer.inner_mut());
        yield_now();
        let pieces = pieces(&metadata, &bytes);
        Ok(Some(Encoded {
            bytes,
            pieces,
            rows: self.rows,
            shown,
            occurred,
            recorded,
            days: day_ranges(self.days.into_iter()),
            batches: self.batches.entries(),
            content: self.content,
            holders: self.holders.filter(),
        }))
    }
}

/// A set of members: a bit for each ordinal up to the greatest.
#[derive(Default)]
pub(crate) struct HolderSet(Vec<u64>);

impl HolderSet {
    pub(crate) fn insert(&mut self, member: MemberOrdinal) {
        let (word, bit) = (member.index() / 64, member.index() % 64);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    /// The filter over the members.
    pub(crate) fn filter(&self) -> Filter {
        let count = self.0.iter().map(|word| u64::from(word.count_ones())).sum();
        let mut filter = Filter::for_numbers(count);
        for (at, word) in (0_u32..).zip(&self.0) {
            let mut left = *word;
            while left != 0 {
                filter.insert(hash_of(MemberOrdinal::new(at * 64 + left.trailing_zeros())));
                left &= left - 1;
            }
        }
        filter
    }
}

/// The file cut into what is read as one: each column of each row group, each bloom filter, and what stands between and
/// behind them. The pieces follow each other from the first byte to the last.
fn pieces(metadata: &ParquetMetaData, bytes: &[u8]) -> Vec<Piece> {
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let mut ends = BTreeSet::from([bytes.len() as u64]);
    for column in columns {
        let (start, len) = column.byte_range();
        ends.extend([start, start + len]);
        if let (Some(start), Some(len)) = (column.bloom_filter_offset(), column.bloom_filter_length()) {
            let start = start.unsigned_abs();
            ends.extend([start, start + u64::from(len.unsigned_abs())]);
        }
    }
    let mut start = 0;
    let mut pieces = Vec::with_capacity(ends.len());
    for end in ends.into_iter().filter(|end| *end > 0) {
        let piece =
            bytes.get(start..usize::try_from(end).expect("within bytes in memory")).unwrap_or_default();
        pieces.push(Piece::of(piece));
        start += piece.len();
        yield_now();
    }
    pieces
}

#[expect(clippy::cast_possible_truncation, reason = "on the 64-bit machines this is for, nothing is lost")]
fn index(number: u64) -> usize {
    number as usize
}

/// The rows of a row group, column by column.
struct RowGroup {
    positions: Vec<i64>,
    ids: Vec<u8>,
    types: Vec<i32>,
    tenants: Names<TenantOrdinal>,
    users: Names<PersonOrdinal>,
    members: Vec<u32>,
    occurred_at: Vec<i64>,
    recorded_at: Vec<i64>,
    sessions: OptionalNames,
    from_tenants: OptionalNames,
    confirmed: BooleanBuilder,
    batches: OptionalNames,
    counts: BooleanBuilder,
}

impl RowGroup {
    /// Room for a row group out of so many rows.
    fn with_capacity(rows: usize) -> Self {
        let rows = rows.min(ROW_GROUP_ROWS);
        Self {
            positions: Vec::with_capacity(rows),
            ids: Vec::with_capacity(rows * 16),
            types: Vec::with_capacity(rows),
            tenants: Names::with_capacity(rows),
            users: Names::with_capacity(rows),
            members: Vec::with_capacity(rows),
            occurred_at: Vec::with_capacity(rows),
            recorded_at: Vec::with_capacity(rows),
            sessions: OptionalNames { keys: Vec::with_capacity(rows), ..OptionalNames::default() },
            from_tenants: OptionalNames::default(),
            confirmed: BooleanBuilder::with_capacity(rows),
            batches: OptionalNames::default(),
            counts: BooleanBuilder::with_capacity(rows),
        }
    }

    fn len(&self) -> usize {
        self.positions.len()
    }

    fn push(&mut self, event: &StoredEvent<'_>, at: Stamp, (member, members): (MemberRef, &Members)) {
        self.push_head(at, event.id, event.event_type, event.occurred_at);
        self.tenants.push(Some(member.tenant), || members.tenant_id(member.tenant).as_str());
        self.users.push(Some(member.person), || members.user_id(member.person).as_str());
        self.members.push(event.member.get());
        self.sessions.push(event.session_id.map(lastseen_event::SessionId::as_str));
        self.from_tenants.push(event.from_tenant_id.map(lastseen_event::TenantId::as_str));
        self.confirmed.append_option(event.confirmed);
        self.batches.push(event.batch.map(lastseen_event::BatchName::as_str));
        self.counts.append_option(event.counts);
    }

    /// A retraction is a row about no member.
    fn push_retraction(&mut self, retraction: &StoredRetraction<'_>, at: Stamp) {
        self.push_head(at, retraction.id(), EventType::BackfillRetracted, retraction.occurred_at);
        self.tenants.push(None, || "");
        self.users.push(None, || "");
        self.members.push(NO_MEMBER.get());
        self.sessions.push(None);
        self.from_tenants.push(None);
        self.confirmed.append_null();
        self.batches.push(Some(retraction.batch.as_str()));
        self.counts.append_null();
    }

    fn push_head(
        &mut self,
        Stamp { position, recorded_at }: Stamp,
        id: EventId,
        event_type: EventType,
        occurred_at: UtcInstant,
    ) {
        self.positions.push(i64::try_from(position.get()).expect("positions are far below 2^63"));
        self.ids.extend_from_slice(id.as_uuid().as_bytes());
        self.types.push(i32::from(event_type.code()) - 1);
        self.occurred_at.push(occurred_at.as_micros());
        self.recorded_at.push(recorded_at.as_micros());
    }

    fn into_batch(mut self) -> Result<RecordBatch, ParquetError> {
        let types =
            StringArray::from_iter_values(EventType::ALL.iter().map(|event_type| event_type.as_str()));
        let types = DictionaryArray::<Int32Type>::try_new(Int32Array::from(self.types), Arc::new(types))?;
        let instants =
            |micros| TimestampMicrosecondArray::from_iter_values::<Vec<i64>>(micros).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.positions)),
            Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(self.ids), None)?),
            Arc::new(types),
            self.tenants.finish()?,
            self.users.finish()?,
            Arc::new(UInt32Array::from(self.members)),
            Arc::new(instants(self.occurred_at)),
            Arc::new(instants(self.recorded_at)),
            self.sessions.finish()?,
            self.from_tenants.finish()?,
            Arc::new(self.confirmed.finish()),
            self.batches.finish()?,
            Arc::new(self.counts.finish()),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}

/// A column of names that are known by number: each name stands once.
struct Names<N> {
    /// `None`: no name, which is an empty one.
    numbers: HashMap<Option<N>, i32>,
    values: StringBuilder,
    keys: Vec<i32>,
}

impl<N: Copy + Eq + Hash> Names<N> {
    fn with_capacity(rows: usize) -> Self {
        Self { numbers: HashMap::new(), values: StringBuilder::new(), keys: Vec::with_capacity(rows) }
    }

    fn push<'a>(&mut self, number: Option<N>, name: impl FnOnce() -> &'a str) {
        let next = i32::try_from(self.numbers.len()).expect("a row group has fewer rows");
        let values = &mut self.values;
        let key = *self.numbers.entry(number).or_insert_with(|| {
            values.append_value(name());
            next
        });
        self.keys.push(key);
    }

    fn finish(mut self) -> Result<ArrayRef, ParquetError> {
        let values = Arc::new(self.values.finish());
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(self.keys), values)?))
    }
}

/// A column of names some rows have. The encoder finds those that are equal.
#[derive(Default)]
struct OptionalNames {
    values: StringBuilder,
    keys: Vec<Option<i32>>,
    next: i32,
}

impl OptionalNames {
    fn push(&mut self, name: Option<&str>) {
        self.keys.push(name.map(|name| {
            self.values.append_value(name);
            self.next += 1;
            self.next - 1
        }));
    }

    fn finish(mut self) -> Result<ArrayRef, ParquetError> {
        let values = Arc::new(self.values.finish());
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(self.keys), values)?))
    }
}
