//! From the columns of a segment to facts and events. Names stay in their dictionaries until a row is asked for.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{Array, ArrayRef, BooleanArray, DictionaryArray, RecordBatch, StringArray};
use arrow_buffer::NullBuffer;
use lastseen_event::{
    BatchName, BatchOrdinal, EventId, EventType, Fact, MemberOrdinal, Position, RecordedEvent, Retraction,
    SessionId, Sighting, TenantId, UtcInstant,
};
use lastseen_store::{Batches, EventTypes, Filter, MemberDictionary};

use super::schema::{Column, NO_MEMBER};
use crate::damage::Malformed;
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
    /// `checked` goes with a row group.
    ///
    /// # Errors
    /// [`Malformed`]: a column is not of its type, or holds a name that has not the form of one.
    pub(crate) fn new(batch: &'a RecordBatch, checked: &mut Checked) -> Result<Self, Malformed> {
        let (mut types, mut type_of_key) = (None, Vec::new());
        if column(batch, Column::Type).is_some() {
            let found = dictionary(batch, Column::Type).ok_or(Malformed)?;
            let names: &StringArray = found.values().as_string_opt().ok_or(Malformed)?;
            types = Some(found.keys().values().as_ref());
            type_of_key = names.iter().map(|name| EventType::parse(name?)).collect();
        }
        let booleans = |name| column(batch, name).and_then(|values| values.as_boolean_opt());
        let instants = |name| primitive::<TimestampMicrosecondType>(batch, name);
        Ok(Self {
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
            batches: Text::new(batch, Column::Batch, checked, |name| BatchName::stored(name).is_some())?,
            names: match column(batch, Column::UserId) {
                Some(_) => Some(Names::new(batch, checked)?),
                None => None,
            },
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    // Each of the following is malformed where the column was not read, or where it holds what the log does not write.

    pub(crate) fn position(&self, row: usize) -> Result<Position, Malformed> {
        u64::try_from(value(self.positions, row)?).map(Position::new).map_err(|_| Malformed)
    }

    pub(crate) fn id(&self, row: usize) -> Result<EventId, Malformed> {
        Ok(EventId::stored(uuid::Uuid::from_bytes(value(self.ids, row)?)))
    }

    fn event_type(&self, row: usize) -> Result<EventType, Malformed> {
        let key = usize::try_from(value(self.types, row)?).map_err(|_| Malformed)?;
        self.type_of_key.get(key).copied().flatten().ok_or(Malformed)
    }

    pub(crate) fn member(&self, row: usize) -> Result<MemberOrdinal, Malformed> {
        Ok(MemberOrdinal::new(value(self.members, row)?))
    }

    pub(crate) fn occurred_at(&self, row: usize) -> Result<UtcInstant, Malformed> {
        Ok(UtcInstant::from_micros(value(self.occurred_at, row)?))
    }

    pub(crate) fn recorded_at(&self, row: usize) -> Result<UtcInstant, Malformed> {
        Ok(UtcInstant::from_micros(value(self.recorded_at, row)?))
    }

    fn confirmed(&self, row: usize) -> Option<bool> {
        boolean(self.confirmed, row)
    }

    fn counts(&self, row: usize) -> Option<bool> {
        boolean(self.counts, row)
    }

    /// True if the row meets the filter.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn keeps(&self, row: usize, filter: &Filter, members: &Members) -> Result<bool, Malformed> {
        if let Some(types) = filter.types
            && !types.contains(self.event_type(row)?)
        {
            return Ok(false);
        }
        if let Some(wanted) = filter.member
            && self.member(row)? != wanted
        {
            return Ok(false);
        }
        if filter.tenant.is_some() || filter.person.is_some() {
            let member = self.member(row)?;
            if member == NO_MEMBER {
                return Ok(false);
            }
            let member = members.member_ref(member).ok_or(Malformed)?;
            if filter.tenant.is_some_and(|tenant| member.tenant != tenant)
                || filter.person.is_some_and(|person| member.person != person)
            {
                return Ok(false);
            }
        }
        if filter.occurred_since.is_some() || filter.occurred_until.is_some() {
            let at = self.occurred_at(row)?;
            if !filter.may_occur((at, at)) {
                return Ok(false);
            }
        }
        if filter.recorded_since.is_some() || filter.recorded_until.is_some() {
            let at = self.recorded_at(row)?;
            return Ok(filter.may_be_recorded((at, at)));
        }
        Ok(true)
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
    ) -> Result<Fact, Malformed> {
        Ok(Fact {
            position,
            id: self.id(row)?,
            occurred_at: self.occurred_at(row)?,
            recorded_at: self.recorded_at(row)?,
            member: members.member_ref(self.member(row)?).ok_or(Malformed)?,
            event_type: self.event_type(row)?,
            created_confirmed: self.confirmed(row) == Some(true),
            counts: self.counts(row),
            batch: self.batch(row, numbers)?,
        })
    }

    /// The number of the batch that a row names, if it names one.
    fn batch(&self, row: usize, numbers: &[Option<BatchOrdinal>]) -> Result<Option<BatchOrdinal>, Malformed> {
        let Some(key) = self.batches.key(row) else { return Ok(None) };
        numbers.get(key).copied().flatten().map(Some).ok_or(Malformed)
    }

    /// Adds the sightings among these rows, of these types or of all, given the slots of the dictionary and the numbers of
    /// the batches.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn sightings(
        &self,
        (types, slots): (Option<EventTypes>, usize),
        numbers: &[Option<BatchOrdinal>],
        sightings: &mut Vec<Sighting>,
    ) -> Result<(), Malformed> {
        let is_wanted = |event_type: &EventType| {
            event_type.activity().is_some() && types.is_none_or(|types| types.contains(*event_type))
        };
        let wanted: Vec<_> =
            self.type_of_key.iter().map(|found| found.map(|found| Some(found).filter(is_wanted))).collect();
        let (Some(types), Some(members), Some(instants)) = (self.types, self.members, self.occurred_at)
        else {
            return Err(Malformed);
        };
        for (row, ((key, member), at)) in types.iter().zip(members).zip(instants).enumerate() {
            let key = usize::try_from(*key).map_err(|_| Malformed)?;
            let Some(event_type) = wanted.get(key).copied().flatten().ok_or(Malformed)? else { continue };
            let (member, occurred_at) = (MemberOrdinal::new(*member), UtcInstant::from_micros(*at));
            if member.index() >= slots {
                return Err(Malformed);
            }
            sightings.push(Sighting { member, event_type, occurred_at, batch: self.batch(row, numbers)? });
        }
        Ok(())
    }

    /// The retraction that a row is; see [`Rows::is_retraction`].
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn retraction(
        &self,
        row: usize,
        position: Position,
        numbers: &[Option<BatchOrdinal>],
    ) -> Result<Retraction, Malformed> {
        Ok(Retraction {
            position,
            id: self.id(row)?,
            occurred_at: self.occurred_at(row)?,
            recorded_at: self.recorded_at(row)?,
            batch: self.batch(row, numbers)?.ok_or(Malformed)?,
        })
    }

    /// True if the row is a retraction: of its type, and about no member.
    ///
    /// # Errors
    /// [`Malformed`]: it is one of both.
    pub(crate) fn is_retraction(&self, row: usize) -> Result<bool, Malformed> {
        let is_retraction = self.event_type(row)? == EventType::BackfillRetracted;
        if is_retraction == (self.member(row)? == NO_MEMBER) { Ok(is_retraction) } else { Err(Malformed) }
    }

    /// The tenant of a row: its number in the dictionary of the row group, and its name, empty for a retraction.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn tenant(&self, row: usize) -> Result<(usize, &'a str), Malformed> {
        let tenants = &self.names.as_ref().ok_or(Malformed)?.tenants;
        Ok((tenants.key(row).ok_or(Malformed)?, tenants.get(row)?))
    }

    /// A row as it was appended.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn event(&self, row: usize) -> Result<RecordedEvent<'a>, Malformed> {
        self.event_with((self.id(row)?, self.event_type(row)?, self.occurred_at(row)?), row)
    }

    /// The same, given its fact.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn event_of(&self, fact: &Fact, row: usize) -> Result<RecordedEvent<'a>, Malformed> {
        self.event_with((fact.id, fact.event_type, fact.occurred_at), row)
    }

    fn event_with(
        &self,
        (id, event_type, occurred_at): (EventId, EventType, UtcInstant),
        row: usize,
    ) -> Result<RecordedEvent<'a>, Malformed> {
        let names = self.names.as_ref().ok_or(Malformed)?;
        let (confirmed, counts) = (self.confirmed(row), self.counts(row));
        let names = [
            names.tenants.get(row)?,
            names.users.get(row)?,
            names.sessions.get(row)?,
            names.from_tenants.get(row)?,
            self.batches.get(row)?,
        ];
        let is_retraction = event_type == EventType::BackfillRetracted;
        if names[..2].iter().any(|name| name.is_empty() != is_retraction) {
            return Err(Malformed);
        }
        Ok(RecordedEvent { id, event_type, occurred_at, confirmed, counts, names })
    }
}

impl<'a> Names<'a> {
    fn new(batch: &'a RecordBatch, checked: &mut Checked) -> Result<Self, Malformed> {
        // A retraction has neither a tenant nor a user.
        let or_empty = |name: &str| name.is_empty() || TenantId::stored(name).is_some();
        Ok(Self {
            tenants: Text::new(batch, Column::TenantId, checked, or_empty)?,
            users: Text::new(batch, Column::UserId, checked, or_empty)?,
            sessions: Text::new(batch, Column::SessionId, checked, |name| SessionId::stored(name).is_some())?,
            from_tenants: Text::new(batch, Column::FromTenantId, checked, |name| {
                TenantId::stored(name).is_some()
            })?,
        })
    }
}

/// The dictionaries of a row group whose names were checked: once, not row by row.
#[derive(Default)]
pub(crate) struct Checked(Vec<ArrayRef>);

impl Checked {
    /// True if every name of a dictionary has the form of a name.
    fn have_form(&mut self, names: &ArrayRef, has_form: impl Fn(&str) -> bool) -> bool {
        if self.0.iter().any(|checked| Arc::ptr_eq(checked, names)) {
            return true;
        }
        let have_form = names
            .as_string_opt::<i32>()
            .is_some_and(|names| names.null_count() == 0 && names.iter().flatten().all(has_form));
        if have_form {
            self.0.push(names.clone());
        }
        have_form
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
        has_form: impl Fn(&str) -> bool,
    ) -> Result<Self, Malformed> {
        if column(batch, name).is_none() {
            return Ok(Self(None));
        }
        let names = dictionary(batch, name).ok_or(Malformed)?;
        if !checked.have_form(names.values(), has_form) {
            return Err(Malformed);
        }
        Ok(Self(Some(Keyed {
            keys: names.keys().values(),
            nulls: names.keys().nulls().filter(|nulls| nulls.null_count() > 0),
            values: names.values().as_string_opt().ok_or(Malformed)?,
        })))
    }

    /// The key of the name of a row, which the dictionary may lack. `None`: the row has no name.
    fn key(&self, row: usize) -> Option<usize> {
        let Keyed { keys, nulls, .. } = self.0.as_ref()?;
        let is_there = nulls.is_none_or(|nulls| nulls.is_valid(row));
        is_there.then(|| usize::try_from(keys[row]).unwrap_or(usize::MAX))
    }

    /// The name of a row, empty where it has none.
    fn get(&self, row: usize) -> Result<&'a str, Malformed> {
        match (&self.0, self.key(row)) {
            (Some(Keyed { values, .. }), Some(key)) if key < values.len() => Ok(values.value(key)),
            (Some(_), Some(_)) => Err(Malformed),
            _ => Ok(""),
        }
    }
}

/// The value of a row. `None`: the row has none, or the column was not read.
fn boolean(values: Option<&BooleanArray>, row: usize) -> Option<bool> {
    let values = values?;
    values.is_valid(row).then(|| values.value(row))
}

/// The value of a row in a column that was read.
fn value<T: Copy>(values: Option<&[T]>, row: usize) -> Result<T, Malformed> {
    values.and_then(|values| values.get(row)).copied().ok_or(Malformed)
}

/// The ids of a batch in which that column was read.
fn ids(batch: &RecordBatch) -> Option<&[[u8; 16]]> {
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
