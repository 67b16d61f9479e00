//! The text of a key, `ls_<id>_<secret>`, and the hash of it that is stored.
//!
//! The id names a key in lists and logs and is no secret. The secret has 256 random bits, so one round of SHA-256
//! is enough: there is nothing to guess. A hash is compared in constant time.

use std::fmt::{self, Write as _};

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

const PREFIX: &str = "ls_";
const ID_BYTES: usize = 5;
const SECRET_BYTES: usize = 32;

/// Characters of an id.
pub(super) const ID_CHARS: usize = 2 * ID_BYTES;
/// Characters of the text of a key.
pub(super) const TEXT_CHARS: usize = PREFIX.len() + ID_CHARS + 1 + 2 * SECRET_BYTES;

/// The text of a key. Not printed by `Debug`: it must not reach a log.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Makes a new one. `None`: the system has no random numbers.
    pub(super) fn generate() -> Option<Self> {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        SystemRandom::new().fill(&mut random).ok()?;
        let (id, secret) = random.split_at(ID_BYTES);
        Some(Self(format!("{PREFIX}{}_{}", hex(id), hex(secret))))
    }

    /// Takes the text of a key. `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (id.len() == ID_CHARS && text.len() == TEXT_CHARS && is_hex(id) && is_hex(secret))
            .then(|| Self(text.to_owned()))
    }

    /// The id of the key.
    pub fn id(&self) -> &str {
        &self.0[PREFIX.len()..PREFIX.len() + ID_CHARS]
    }

    /// The text, to be shown once.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares with a text, in a time that depends on its length alone.
    pub(super) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    pub(super) fn hash(&self) -> SecretHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        SecretHash(hash)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}_...", self.id())
    }
}

/// SHA-256 of the text of a key; `sha256:<hex>` in the keys file.
#[derive(Clone, Copy, Debug)]
pub(super) struct SecretHash([u8; 32]);

impl SecretHash {
    /// A hash of no key: an unknown id is compared with it, so that it takes as long as a known one.
    pub(super) const NONE: Self = Self([0; 32]);

    /// Compares in constant time.
    pub(super) fn is_of(&self, secret: &Secret) -> bool {
        self.0.ct_eq(&secret.hash().0).into()
    }
}

const HASH_PREFIX: &str = "sha256:";

impl Serialize for SecretHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{HASH_PREFIX}{}", hex(&self.0)))
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = || serde::de::Error::custom("expected sha256: and 64 hexadecimal digits");
        text.strip_prefix(HASH_PREFIX).and_then(bytes_of_hex).map(Self).ok_or_else(expected)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads 64 hexadecimal digits.
pub(super) fn bytes_of_hex(text: &str) -> Option<[u8; 32]> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)).take_while(|_| is_hex) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    is_hex.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_prefix_an_id_and_a_secret() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_eq!(one.as_str().len(), TEXT_CHARS);
        assert_eq!(Secret::parse(one.as_str()).unwrap().id(), one.id());
        assert!(one.hash().is_of(&one) && !one.hash().is_of(&other));
        assert!(!SecretHash::NONE.is_of(&one));
        assert!(!format!("{one:?}").contains(&one.as_str()[TEXT_CHARS - 8..]), "{one:?}");
        let same_id = format!("{}{}", &one.as_str()[..TEXT_CHARS - 1], 'g');
        for bad in ["", "ls_", "ls_a_b", &one.as_str()[1..], &same_id, &one.as_str().to_uppercase()] {
            assert!(Secret::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_hash_is_read_back_and_nothing_else_is_read() {
        let one = Secret::generate().unwrap();
        let text = serde_json::to_string(&one.hash()).unwrap();
        assert!(serde_json::from_str::<SecretHash>(&text).unwrap().is_of(&one));
        for bad in ["\"\"", "\"sha256:00\"", &text.replace("sha256", "md5"), &text.replace(':', ":+")] {
            assert!(serde_json::from_str::<SecretHash>(bad).is_err(), "{bad}");
        }
    }
}
