//! The JSON of one event, read with borrowed strings and without judging it: which known fields hold what,
//! which keys are unknown, which are repeated.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use crate::event::field;
use crate::limits::NAME_BYTES_MAX;

/// Known fields in the order of [`FIELDS`], and the keys that are not.
#[derive(Default)]
pub(super) struct RawEvent<'a> {
    pub(super) values: [Option<Scalar<'a>>; FIELDS.len()],
    pub(super) unknown: Vec<String>,
    pub(super) repeated: Vec<&'static str>,
}

pub(super) const FIELDS: [&str; 9] = [
    field::ID,
    field::TYPE,
    field::TENANT_ID,
    field::USER_ID,
    field::OCCURRED_AT,
    field::SESSION_ID,
    field::FROM_TENANT_ID,
    field::CONFIRMED,
    field::BATCH,
];

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

/// Returns the name of the kind of a JSON value that is not an object or an array.
pub(super) fn kind_of(value: &RawValue) -> Unexpected<'static> {
    match value.get().as_bytes().first() {
        Some(b'"') => Unexpected::Other("a string"),
        Some(b't' | b'f') => Unexpected::Other("a boolean"),
        Some(b'n') => Unexpected::Other("null"),
        _ => Unexpected::Other("a number"),
    }
}

impl<'de> Deserialize<'de> for RawEvent<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawEventVisitor)
    }
}

struct RawEventVisitor;

impl<'de> Visitor<'de> for RawEventVisitor {
    type Value = RawEvent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut event = RawEvent::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Known(at) => {
                    let value = map.next_value()?;
                    match event.values.get_mut(at) {
                        Some(slot @ None) => *slot = Some(value),
                        _ if event.repeated.len() < STRAY_KEYS_MAX => event.repeated.extend(FIELDS.get(at)),
                        _ => {}
                    }
                }
                Key::Unknown(name) => {
                    let IgnoredAny = map.next_value()?;
                    if event.unknown.len() < STRAY_KEYS_MAX {
                        event.unknown.push(name);
                    }
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

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                Ok(match FIELDS.iter().position(|field| *field == name) {
                    Some(at) => Key::Known(at),
                    None => Key::Unknown(cut(name)),
                })
            }
        }
        deserializer.deserialize_identifier(KeyVisitor)
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
