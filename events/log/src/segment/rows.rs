//! From the columns of a segment to facts and events. Names stay in their dictionaries until a row is asked for.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{
    Array, BooleanArray, DictionaryArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray,
};
use lastseen_event::{
    BatchName, Event, EventId, EventType, Fact, MemberOrdinal, Position, SessionId, TenantId, UserId,
    UtcInstant,
};
use lastseen_store::Filter;

use super::schema::Column;
use crate::members::Members;

/// A batch of a segment whose columns have the types they should have.
pub(crate) struct Rows<'a> {
    positions: Option<&'a PrimitiveArray<Int64Type>>,
    ids: Option<&'a FixedSizeBinaryArray>,
    types: &'a DictionaryArray<Int32Type>,
    /// By key of the dictionary; `None` where it names no type.
    type_of_key: Vec<Option<EventType>>,
    members: &'a PrimitiveArray<UInt32Type>,
    occurred_at: &'a PrimitiveArray<TimestampMicrosecondType>,
    recorded_at: &'a PrimitiveArray<TimestampMicrosecondType>,
    confirmed: Option<&'a BooleanArray>,
    names: Option<Names<'a>>,
}

/// The columns of names, in the order of [`Event::names`].
struct Names<'a> {
    tenants: Text<'a>,
    users: Text<'a>,
    sessions: Text<'a>,
    from_tenants: Text<'a>,
    batches: Text<'a>,
}

impl<'a> Rows<'a> {
    /// `None`: a column is missing or not of its type.
    pub(crate) fn new(batch: &'a RecordBatch) -> Option<Self> {
        let types = dictionary(batch, Column::Type)?;
        let type_names: &StringArray = types.values().as_string_opt()?;
        let names = || {
            let text = |column| Text::new(batch, column);
            Some(Names {
                tenants: text(Column::TenantId)?,
                users: text(Column::UserId)?,
                sessions: text(Column::SessionId)?,
                from_tenants: text(Column::FromTenantId)?,
                batches: text(Column::Batch)?,
            })
        };
        Some(Self {
            positions: match column(batch, Column::Position) {
                Some(positions) => Some(positions.as_primitive_opt()?),
                None => None,
            },
            ids: match column(batch, Column::Id) {
                Some(ids) => Some(ids.as_fixed_size_binary_opt()?),
                None => None,
            },
            types,
            type_of_key: type_names.iter().map(|name| EventType::parse(name?)).collect(),
            members: column(batch, Column::Member)?.as_primitive_opt()?,
            occurred_at: column(batch, Column::OccurredAt)?.as_primitive_opt()?,
            recorded_at: column(batch, Column::RecordedAt)?.as_primitive_opt()?,
            confirmed: match column(batch, Column::Confirmed) {
                Some(confirmed) => Some(confirmed.as_boolean_opt()?),
                None => None,
            },
            names: match column(batch, Column::UserId) {
                Some(_) => Some(names()?),
                None => None,
            },
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The position a row says it has, where that column was read.
    pub(crate) fn position(&self, row: usize) -> Option<Position> {
        u64::try_from(self.positions?.value(row)).ok().map(Position::new)
    }

    fn event_type(&self, row: usize) -> Option<EventType> {
        let key = usize::try_from(*self.types.keys().values().get(row)?).ok()?;
        *self.type_of_key.get(key)?
    }

    pub(crate) fn id(&self, row: usize) -> Option<EventId> {
        let bytes: [u8; 16] = self.ids?.value(row).try_into().ok()?;
        EventId::new(uuid::Uuid::from_bytes(bytes)).ok()
    }

    fn confirmed(&self, row: usize) -> Option<bool> {
        let confirmed = self.confirmed?;
        confirmed.is_valid(row).then(|| confirmed.value(row))
    }

    pub(crate) fn member(&self, row: usize) -> MemberOrdinal {
        MemberOrdinal::new(self.members.value(row))
    }

    pub(crate) fn recorded_at(&self, row: usize) -> UtcInstant {
        UtcInstant::from_micros(self.recorded_at.value(row))
    }

    pub(crate) fn occurred_at(&self, row: usize) -> UtcInstant {
        UtcInstant::from_micros(self.occurred_at.value(row))
    }

    /// Whether a row meets the filter. `None`: it is not what the log writes.
    pub(crate) fn keeps(&self, row: usize, filter: &Filter, members: &Members) -> Option<bool> {
        if filter.types.is_some_and(|types| !self.event_type(row).is_some_and(|found| types.contains(found)))
        {
            return self.event_type(row).map(|_| false);
        }
        let member = members.member_ref(self.member(row))?;
        let (occurred, recorded) = (self.occurred_at(row), self.recorded_at(row));
        Some(
            filter.tenant.is_none_or(|tenant| member.tenant == tenant)
                && filter.member.is_none_or(|wanted| member.member == wanted)
                && filter.may_occur((occurred, occurred))
                && filter.may_be_recorded((recorded, recorded)),
        )
    }

    /// What a fold sees of a row. `None`: it is not what the log writes.
    pub(crate) fn fact(&self, row: usize, position: Position, members: &Members) -> Option<Fact> {
        Some(Fact {
            position,
            id: self.id(row)?,
            occurred_at: self.occurred_at(row),
            recorded_at: self.recorded_at(row),
            member: members.member_ref(self.member(row))?,
            event_type: self.event_type(row)?,
            created_confirmed: self.confirmed(row) == Some(true),
        })
    }

    /// A row as it was appended. `None`: it is not what the log writes.
    pub(crate) fn event(&self, row: usize) -> Option<Event<'a>> {
        let names = self.names.as_ref()?;
        let tenant_id = TenantId::new(names.tenants.get(row)?).ok()?;
        let user_id = UserId::new(names.users.get(row)?).ok()?;
        Some(Event {
            session_id: names.sessions.get(row).map(SessionId::new).transpose().ok()?,
            from_tenant_id: names.from_tenants.get(row).map(TenantId::new).transpose().ok()?,
            confirmed: self.confirmed(row),
            batch: names.batches.get(row).map(BatchName::new).transpose().ok()?,
            ..Event::new(self.id(row)?, self.event_type(row)?, (tenant_id, user_id), self.occurred_at(row))
        })
    }
}

/// A column of names behind their keys.
struct Text<'a> {
    names: &'a DictionaryArray<Int32Type>,
    values: &'a StringArray,
}

impl<'a> Text<'a> {
    fn new(batch: &'a RecordBatch, column: Column) -> Option<Self> {
        let names = dictionary(batch, column)?;
        Some(Self { names, values: names.values().as_string_opt()? })
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        if self.names.is_null(row) {
            return None;
        }
        let key = usize::try_from(self.names.keys().value(row)).ok()?;
        (key < self.values.len()).then(|| self.values.value(key))
    }
}

fn column(batch: &RecordBatch, column: Column) -> Option<&dyn Array> {
    batch.column_by_name(column.name()).map(AsRef::as_ref)
}

fn dictionary(batch: &RecordBatch, name: Column) -> Option<&DictionaryArray<Int32Type>> {
    column(batch, name)?.as_dictionary_opt()
}
