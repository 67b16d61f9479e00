//! The JSON of one event, read with borrowed strings and without judging it: which known fields hold what,
//! which keys are unknown, which are repeated.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::value::RawValue;

use super::notation::{Notation, SHARED};
use crate::limits::NAME_BYTES_MAX;

/// The fields of a notation in its order, and the keys that are not among them.
pub(super) struct RawEvent<'a, N> {
    pub(super) values: [Option<Scalar<'a>>; SHARED],
    /// Those that only this notation has, by name.
    own: Vec<(&'static str, Scalar<'a>)>,
    pub(super) unknown: Vec<String>,
    pub(super) repeated: Vec<&'static str>,
    notation: PhantomData<N>,
}

impl<'a, N: Notation> RawEvent<'a, N> {
    fn new() -> Self {
        Self {
            values: Default::default(),
            own: Vec::new(),
            unknown: Vec::new(),
            repeated: Vec::new(),
            notation: PhantomData,
        }
    }

    /// Reads a JSON object.
    #[inline]
    pub(super) fn read(json: &'a [u8]) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let raw = deserializer.deserialize_map(RawEventVisitor(PhantomData))?;
        deserializer.end()?;
        Ok(raw)
    }

    /// Takes fields that stand outside of JSON. `None` as a value: it is not UTF-8.
    pub(super) fn of(fields: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let mut event = Self::new();
        for (name, value) in fields {
            let value = match value {
                Some(text) => Scalar::Text(Cow::Borrowed(text)),
                None => Scalar::Other("bytes that are not UTF-8"),
            };
            match N::place(name) {
                Some(at) => event.set(at, value),
                None => event.stray(name.to_owned()),
            }
        }
        event
    }

    fn set(&mut self, at: usize, value: Scalar<'a>) {
        let Some(name) = N::NAMES.get(at) else { return };
        if let Some(slot) = self.values.get_mut(at) {
            if slot.is_none() {
                *slot = Some(value);
                return;
            }
        } else if self.own(name).is_none() {
            self.own.push((name, value));
            return;
        }
        if self.repeated.len() < STRAY_KEYS_MAX {
            self.repeated.push(name);
        }
    }

    /// A field that only this notation has.
    pub(super) fn own(&self, name: &str) -> Option<&Scalar<'a>> {
        self.own.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    fn stray(&mut self, name: String) {
        if !N::IS_CLOUD_EVENT && self.unknown.len() < STRAY_KEYS_MAX {
            self.unknown.push(name);
        }
    }
}

/// Most unknown or repeated keys remembered of one event: enough to mend it, and a bound on the answer.
const STRAY_KEYS_MAX: usize = 8;

/// A JSON value as far as an event can hold it.
pub(super) enum Scalar<'a> {
    Null,
    Text(Cow<'a, str>),
    Bool(bool),
    /// Anything else, by what to call it.
    Other(&'static str),
}

impl Scalar<'_> {
    /// Returns the name of the value's kind, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "a string",
            Self::Bool(_) => "a boolean",
            Self::Other(kind) => kind,
        }
    }
}

/// Returns the name of the kind of a JSON value that is not an object.
pub(super) fn kind_of(value: &RawValue) -> Unexpected<'static> {
    match value.get().as_bytes().first() {
        Some(b'"') => Unexpected::Other("a string"),
        Some(b't' | b'f') => Unexpected::Other("a boolean"),
        Some(b'n') => Unexpected::Other("null"),
        Some(b'[') => Unexpected::Other("an array"),
        _ => Unexpected::Other("a number"),
    }
}

struct RawEventVisitor<N>(PhantomData<N>);

impl<'de, N: Notation> Visitor<'de> for RawEventVisitor<N> {
    type Value = RawEvent<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut event = RawEvent::new();
        while let Some(key) = map.next_key_seed(KeyVisitor(self.0))? {
            match key {
                Key::Known(at) => {
                    let value = map.next_value()?;
                    event.set(at, value);
                }
                Key::Unknown(name) => {
                    let IgnoredAny = map.next_value()?;
                    event.stray(name);
                }
            }
        }
        Ok(event)
    }
}

enum Key {
    Known(usize),
    Unknown(String),
}

struct KeyVisitor<N>(PhantomData<N>);

impl<'de, N: Notation> DeserializeSeed<'de> for KeyVisitor<N> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<N: Notation> Visitor<'_> for KeyVisitor<N> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        Ok(match N::place(name) {
            Some(at) => Key::Known(at),
            None => Key::Unknown(cut(name)),
        })
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Other("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Other("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while let Some(IgnoredAny) = seq.next_element()? {}
        Ok(Scalar::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some((IgnoredAny, IgnoredAny)) = map.next_entry()? {}
        Ok(Scalar::Other("an object"))
    }
}

/// The text, cut to [`NAME_BYTES_MAX`] bytes at a character: what an answer quotes of a caller's input.
pub(super) fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(NAME_BYTES_MAX)].to_owned()
}
