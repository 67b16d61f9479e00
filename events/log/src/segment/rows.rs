//! From the columns of a segment to facts and events. Names stay in their dictionaries until a row is asked for.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{Array, ArrayRef, BooleanArray, DictionaryArray, RecordBatch, StringArray};
use arrow_buffer::NullBuffer;
use lastseen_event::{
    BatchName, BatchOrdinal, EventId, EventType, Fact, MemberOrdinal, Position, RecordedEvent, Retraction,
    SessionId, Sighting, TenantId, UserId, UtcInstant,
};
use lastseen_store::{Batches, EventTypes, Filter};

use super::schema::Column;
use crate::batches::NOBODY;
use crate::members::Members;

/// A batch of a segment whose columns have the types they should have: those that were read.
pub(crate) struct Rows<'a> {
    len: usize,
    positions: Option<&'a [i64]>,
    ids: Option<&'a [[u8; 16]]>,
    types: Option<&'a [i32]>,
    /// By key of the dictionary; `None` where it names no type.
    type_of_key: Vec<Option<EventType>>,
    members: Option<&'a [u32]>,
    occurred_at: Option<&'a [i64]>,
    recorded_at: Option<&'a [i64]>,
    confirmed: Option<&'a BooleanArray>,
    counts: Option<&'a BooleanArray>,
    batches: Text<'a>,
    names: Option<Names<'a>>,
}

/// The columns of names, in the order of their fields.
struct Names<'a> {
    tenants: Text<'a>,
    users: Text<'a>,
    sessions: Text<'a>,
    from_tenants: Text<'a>,
}

impl<'a> Rows<'a> {
    /// `None`: a column is not of its type, or holds a name that breaks the rule. `checked` goes with a row group.
    pub(crate) fn new(batch: &'a RecordBatch, checked: &mut Checked) -> Option<Self> {
        let (mut types, mut type_of_key) = (None, Vec::new());
        if column(batch, Column::Type).is_some() {
            let found = dictionary(batch, Column::Type)?;
            let names: &StringArray = found.values().as_string_opt()?;
            types = Some(found.keys().values().as_ref());
            type_of_key = names.iter().map(|name| EventType::parse(name?)).collect();
        }
        let booleans = |name| column(batch, name).and_then(|values| values.as_boolean_opt());
        let instants = |name| primitive::<TimestampMicrosecondType>(batch, name);
        Some(Self {
            len: batch.num_rows(),
            positions: primitive::<Int64Type>(batch, Column::Position),
            ids: ids(batch),
            types,
            type_of_key,
            members: primitive::<UInt32Type>(batch, Column::Member),
            occurred_at: instants(Column::OccurredAt),
            recorded_at: instants(Column::RecordedAt),
            confirmed: booleans(Column::Confirmed),
            counts: booleans(Column::Counts),
            batches: Text::new(batch, Column::Batch, checked, |name| BatchName::new(name).is_ok())?,
            names: match column(batch, Column::UserId) {
                Some(_) => Some(Names::new(batch, checked)?),
                None => None,
            },
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    // Each of the following is `None` where the column was not read, or where it holds what the log does not write.

    pub(crate) fn position(&self, row: usize) -> Option<Position> {
        u64::try_from(self.positions?[row]).ok().map(Position::new)
    }

    pub(crate) fn id(&self, row: usize) -> Option<EventId> {
        EventId::new(uuid::Uuid::from_bytes(self.ids?[row])).ok()
    }

    fn event_type(&self, row: usize) -> Option<EventType> {
        *self.type_of_key.get(usize::try_from(self.types?[row]).ok()?)?
    }

    pub(crate) fn member(&self, row: usize) -> Option<MemberOrdinal> {
        Some(MemberOrdinal::new(self.members?[row]))
    }

    pub(crate) fn occurred_at(&self, row: usize) -> Option<UtcInstant> {
        Some(UtcInstant::from_micros(self.occurred_at?[row]))
    }

    pub(crate) fn recorded_at(&self, row: usize) -> Option<UtcInstant> {
        Some(UtcInstant::from_micros(self.recorded_at?[row]))
    }

    fn confirmed(&self, row: usize) -> Option<bool> {
        boolean(self.confirmed, row)
    }

    fn counts(&self, row: usize) -> Option<bool> {
        boolean(self.counts, row)
    }

    /// True if the row meets the filter. `None`: a column was not read, or holds a value that the log does
    /// not write.
    pub(crate) fn keeps(&self, row: usize, filter: &Filter, members: &Members) -> Option<bool> {
        if let Some(types) = filter.types
            && !types.contains(self.event_type(row)?)
        {
            return Some(false);
        }
        if let Some(wanted) = filter.member
            && self.member(row)? != wanted
        {
            return Some(false);
        }
        if filter.tenant.is_some() || filter.person.is_some() {
            let member = self.member(row)?;
            if member == NOBODY {
                return Some(false);
            }
            let member = members.member_ref(member)?;
            if filter.tenant.is_some_and(|tenant| member.tenant != tenant)
                || filter.person.is_some_and(|person| member.person != person)
            {
                return Some(false);
            }
        }
        if filter.occurred_since.is_some() || filter.occurred_until.is_some() {
            let at = self.occurred_at(row)?;
            if !filter.may_occur((at, at)) {
                return Some(false);
            }
        }
        if filter.recorded_since.is_some() || filter.recorded_until.is_some() {
            let at = self.recorded_at(row)?;
            return Some(filter.may_be_recorded((at, at)));
        }
        Some(true)
    }

    /// The numbers of the batches that rows name, by key of the dictionary.
    pub(crate) fn numbers(&self, batches: &Batches) -> Vec<Option<BatchOrdinal>> {
        let names = self.batches.0.iter().flat_map(|Keyed { values, .. }| values.iter());
        names.map(|name| batches.find(name?)).collect()
    }

    /// Returns the fact of a row that is about a member, given the numbers of the batches.
    pub(crate) fn fact(
        &self,
        row: usize,
        position: Position,
        (members, numbers): (&Members, &[Option<BatchOrdinal>]),
    ) -> Option<Fact> {
        Some(Fact {
            position,
            id: self.id(row)?,
            occurred_at: self.occurred_at(row)?,
            recorded_at: self.recorded_at(row)?,
            member: members.member_ref(self.member(row)?)?,
            event_type: self.event_type(row)?,
            created_confirmed: self.confirmed(row) == Some(true),
            counts: self.counts(row),
            batch: match self.batches.key(row) {
                Some(key) => Some((*numbers.get(key)?)?),
                None => None,
            },
        })
    }

    /// Adds the sightings among these rows, of these types or of all, given the slots of the dictionary and the numbers of
    /// the batches. `None`: a column was not read, or holds what the log does not write.
    pub(crate) fn sightings(
        &self,
        (types, slots): (Option<EventTypes>, usize),
        numbers: &[Option<BatchOrdinal>],
        sightings: &mut Vec<Sighting>,
    ) -> Option<()> {
        let is_wanted = |event_type: &EventType| {
            event_type.activity().is_some() && types.is_none_or(|types| types.contains(*event_type))
        };
        let wanted: Vec<_> =
            self.type_of_key.iter().map(|found| found.map(|found| Some(found).filter(is_wanted))).collect();
        let columns = self.types?.iter().zip(self.members?).zip(self.occurred_at?);
        for (row, ((key, member), at)) in columns.enumerate() {
            let Some(event_type) = (*wanted.get(usize::try_from(*key).ok()?)?)? else { continue };
            let (member, occurred_at) = (MemberOrdinal::new(*member), UtcInstant::from_micros(*at));
            if member.index() >= slots {
                return None;
            }
            let batch = match self.batches.key(row) {
                Some(key) => Some((*numbers.get(key)?)?),
                None => None,
            };
            sightings.push(Sighting { member, event_type, occurred_at, batch });
        }
        Some(())
    }

    /// The retraction that a row is, if it is about no member.
    pub(crate) fn retraction(
        &self,
        row: usize,
        position: Position,
        numbers: &[Option<BatchOrdinal>],
    ) -> Option<Retraction> {
        let retraction = Retraction {
            position,
            id: self.id(row)?,
            occurred_at: self.occurred_at(row)?,
            recorded_at: self.recorded_at(row)?,
            batch: (*numbers.get(self.batches.key(row)?)?)?,
        };
        (self.event_type(row)? == EventType::BackfillRetracted).then_some(retraction)
    }

    /// True if the row is about no member.
    pub(crate) fn is_of_nobody(&self, row: usize) -> bool {
        self.member(row) == Some(NOBODY)
    }

    /// A row as it was appended.
    pub(crate) fn event(&self, row: usize) -> Option<RecordedEvent<'a>> {
        self.event_with((self.id(row)?, self.event_type(row)?, self.occurred_at(row)?), row)
    }

    /// The same, given its fact.
    pub(crate) fn event_of(&self, fact: &Fact, row: usize) -> Option<RecordedEvent<'a>> {
        self.event_with((fact.id, fact.event_type, fact.occurred_at), row)
    }

    fn event_with(
        &self,
        (id, event_type, occurred_at): (EventId, EventType, UtcInstant),
        row: usize,
    ) -> Option<RecordedEvent<'a>> {
        let names = self.names.as_ref()?;
        let (confirmed, counts) = (self.confirmed(row), self.counts(row));
        let names = [
            names.tenants.get(row)?,
            names.users.get(row)?,
            names.sessions.get(row)?,
            names.from_tenants.get(row)?,
            self.batches.get(row)?,
        ];
        let is_of_nobody = event_type == EventType::BackfillRetracted;
        if names[..2].iter().any(|name| name.is_empty() != is_of_nobody) {
            return None;
        }
        Some(RecordedEvent { id, event_type, occurred_at, confirmed, counts, names })
    }
}

impl<'a> Names<'a> {
    /// `None`: a column is not of its type, or holds a name that breaks the rule.
    fn new(batch: &'a RecordBatch, checked: &mut Checked) -> Option<Self> {
        Some(Self {
            // A retraction is about nobody.
            tenants: Text::new(batch, Column::TenantId, checked, |name| {
                name.is_empty() || TenantId::new(name).is_ok()
            })?,
            users: Text::new(batch, Column::UserId, checked, |name| {
                name.is_empty() || UserId::new(name).is_ok()
            })?,
            sessions: Text::new(batch, Column::SessionId, checked, |name| SessionId::new(name).is_ok())?,
            from_tenants: Text::new(batch, Column::FromTenantId, checked, |name| {
                TenantId::new(name).is_ok()
            })?,
        })
    }
}

/// The dictionaries of a row group whose names were checked: once, not row by row.
#[derive(Default)]
pub(crate) struct Checked(Vec<ArrayRef>);

impl Checked {
    /// True if every name of a dictionary follows the rule.
    fn follows(&mut self, names: &ArrayRef, rule: impl Fn(&str) -> bool) -> bool {
        if self.0.iter().any(|checked| Arc::ptr_eq(checked, names)) {
            return true;
        }
        let follows = names
            .as_string_opt::<i32>()
            .is_some_and(|names| names.null_count() == 0 && names.iter().flatten().all(rule));
        if follows {
            self.0.push(names.clone());
        }
        follows
    }
}

/// A column of names behind their keys. `None`: no row has one, and the column was not read.
struct Text<'a>(Option<Keyed<'a>>);

struct Keyed<'a> {
    keys: &'a [i32],
    /// `None`: every row has one.
    nulls: Option<&'a NullBuffer>,
    values: &'a StringArray,
}

impl<'a> Text<'a> {
    fn new(
        batch: &'a RecordBatch,
        name: Column,
        checked: &mut Checked,
        rule: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        if column(batch, name).is_none() {
            return Some(Self(None));
        }
        let names = dictionary(batch, name)?;
        checked.follows(names.values(), rule).then_some(())?;
        Some(Self(Some(Keyed {
            keys: names.keys().values(),
            nulls: names.keys().nulls().filter(|nulls| nulls.null_count() > 0),
            values: names.values().as_string_opt()?,
        })))
    }

    /// The key of the name of a row, which the dictionary may lack. `None`: the row has no name.
    fn key(&self, row: usize) -> Option<usize> {
        let Keyed { keys, nulls, .. } = self.0.as_ref()?;
        let is_there = nulls.is_none_or(|nulls| nulls.is_valid(row));
        is_there.then(|| usize::try_from(keys[row]).unwrap_or(usize::MAX))
    }

    /// The name of a row, empty where it has none.
    fn get(&self, row: usize) -> Option<&'a str> {
        match (&self.0, self.key(row)) {
            (Some(Keyed { values, .. }), Some(key)) => (key < values.len()).then(|| values.value(key)),
            _ => Some(""),
        }
    }
}

/// The value of a row. `None`: the row has none, or the column was not read.
fn boolean(values: Option<&BooleanArray>, row: usize) -> Option<bool> {
    let values = values?;
    values.is_valid(row).then(|| values.value(row))
}

/// The ids of a batch in which that column was read.
pub(crate) fn ids(batch: &RecordBatch) -> Option<&[[u8; 16]]> {
    Some(column(batch, Column::Id)?.as_fixed_size_binary_opt()?.value_data().as_chunks().0)
}

/// The values of a column, if it was read and is of this type.
fn primitive<T: ArrowPrimitiveType>(batch: &RecordBatch, name: Column) -> Option<&[T::Native]> {
    Some(column(batch, name)?.as_primitive_opt::<T>()?.values().as_ref())
}

fn column(batch: &RecordBatch, column: Column) -> Option<&dyn Array> {
    batch.column_by_name(column.name()).map(AsRef::as_ref)
}

fn dictionary(batch: &RecordBatch, name: Column) -> Option<&DictionaryArray<Int32Type>> {
    column(batch, name)?.as_dictionary_opt()
}
