//! The columns of a segment: names, types that other tools read natively, encodings.

use std::sync::{Arc, LazyLock};

use arrow_schema::extension::Uuid;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use lastseen_event::MemberOrdinal;
use parquet::arrow::ProjectionMask;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{BloomFilterPosition, EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

/// In the column `member` of a retraction, which is about none: no member has this number.
pub(crate) const NO_MEMBER: MemberOrdinal = MemberOrdinal::new(u32::MAX);

/// A column, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Column {
    Position,
    Id,
    Type,
    TenantId,
    UserId,
    Member,
    OccurredAt,
    RecordedAt,
    SessionId,
    FromTenantId,
    Confirmed,
    Batch,
    Counts,
}

impl Column {
    pub(crate) const ALL: [Self; 13] = [
        Self::Position,
        Self::Id,
        Self::Type,
        Self::TenantId,
        Self::UserId,
        Self::Member,
        Self::OccurredAt,
        Self::RecordedAt,
        Self::SessionId,
        Self::FromTenantId,
        Self::Confirmed,
        Self::Batch,
        Self::Counts,
    ];

    /// The columns that a fold needs: no names but that of the batch, which few events have.
    pub(crate) const FACT: &[Self] = &[
        Self::Id,
        Self::Type,
        Self::Member,
        Self::OccurredAt,
        Self::RecordedAt,
        Self::Confirmed,
        Self::Batch,
        Self::Counts,
    ];

    /// The columns that tell who was seen when.
    pub(crate) const SIGHTING: &[Self] = &[Self::Type, Self::Member, Self::OccurredAt, Self::Batch];

    /// The columns of an event. Its position follows from its place.
    pub(crate) const EVENT: &[Self] = Self::ALL.split_at(1).1;

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Position => "position",
            Self::Id => "id",
            Self::Type => "type",
            Self::TenantId => "tenant_id",
            Self::UserId => "user_id",
            Self::Member => "member",
            Self::OccurredAt => "occurred_at",
            Self::RecordedAt => "recorded_at",
            Self::SessionId => "session_id",
            Self::FromTenantId => "from_tenant_id",
            Self::Confirmed => "confirmed",
            Self::Batch => "batch",
            Self::Counts => "counts",
        }
    }

    fn field(self) -> Field {
        let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let instant = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let (data_type, nullable) = match self {
            Self::Position => (DataType::Int64, false),
            Self::Id => (DataType::FixedSizeBinary(16), false),
            Self::Type | Self::TenantId | Self::UserId => (text(), false),
            Self::Member => (DataType::UInt32, false),
            Self::OccurredAt | Self::RecordedAt => (instant(), false),
            Self::SessionId | Self::FromTenantId | Self::Batch => (text(), true),
            Self::Confirmed | Self::Counts => (DataType::Boolean, true),
        };
        let field = Field::new(self.name(), data_type, nullable);
        if self == Self::Id { field.with_extension_type(Uuid) } else { field }
    }

    fn path(self) -> ColumnPath {
        ColumnPath::from(self.name())
    }
}

static SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(Column::ALL.map(Column::field).to_vec())));

/// The columns as Arrow types.
pub(crate) fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// Only these columns.
pub(crate) fn projection(descriptor: &SchemaDescriptor, columns: &[Column]) -> ProjectionMask {
    ProjectionMask::roots(descriptor, columns.iter().map(|column| column.index()))
}

/// Rows of a row group: what is read, decoded and pruned as one.
pub(crate) const ROW_GROUP_ROWS: usize = 256 * 1024;

/// Returns the settings for writing a segment of this many rows. Every column stands in one piece per row
/// group, dictionaries are not given up for their size.
pub(crate) fn properties(rows: u64) -> WriterProperties {
    /// Larger than any dictionary of a row group, so that no column falls back to plain strings.
    const DICTIONARY_BYTES_MAX: usize = ROW_GROUP_ROWS * 160;
    /// A page is compressed in one step: the ids of this many rows in a millisecond.
    const PAGE_ROWS: usize = 16 * 1024;
    /// One false hit in fifty ids that are looked up and not there.
    const FALSE_HITS: f64 = 0.02;
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("lastseen ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("a level of zstd")))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_data_page_size_limit(usize::MAX / 2)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_bloom_filter_position(BloomFilterPosition::End);
    for column in [Column::Position, Column::OccurredAt, Column::RecordedAt] {
        builder = builder
            .set_column_dictionary_enabled(column.path(), false)
            .set_column_encoding(column.path(), Encoding::DELTA_BINARY_PACKED);
    }
    for column in [Column::Id, Column::Member] {
        builder = builder.set_column_dictionary_enabled(column.path(), false);
    }
    // Nothing can be left out by the least and the greatest of these.
    for column in [Column::Id, Column::UserId] {
        builder = builder.set_column_statistics_enabled(column.path(), EnabledStatistics::None);
    }
    builder
        .set_column_bloom_filter_enabled(Column::Id.path(), true)
        .set_column_bloom_filter_fpp(Column::Id.path(), FALSE_HITS)
        .set_column_bloom_filter_max_ndv(Column::Id.path(), rows.clamp(1, ROW_GROUP_ROWS as u64))
        .build()
}
