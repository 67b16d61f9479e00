//! Positions as a key that is bound to tenants sees them: sealed, another text each time. It can give them back, and they tell
//! it nothing: how many events others have published, nor that they have.
//!
//! A sealed position is one block of AES-256: `check: u32 | nonce: u32 | position: u64`, little-endian. A block of the same text is
//! never made twice but by chance, and a text that the server did not make is refused but for one in 2^32.

use std::sync::Arc;

use aes::Aes256;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lastseen_event::wire::{LinePosition, encode_ndjson};
use lastseen_event::{Event, Position, UtcInstant};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;

/// The beginning of a sealed position.
const PREFIX: &str = "p_";
/// The form of a sealed position, as a regular expression.
pub(crate) const SEALED_POSITION: &str = "^p_[A-Za-z0-9_-]{22}$";
const CHECK: [u8; 4] = *b"lspo";

/// Seals positions.
pub(crate) struct Seal {
    cipher: Aes256,
    random: SystemRandom,
}

impl Seal {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { cipher: Aes256::new(&key.into()), random: SystemRandom::new() }
    }

    /// The text of a position.
    pub(crate) fn seal(&self, position: Position) -> String {
        let mut block = [0; 16];
        block[..4].copy_from_slice(&CHECK);
        // Without random numbers the text would be the same each time, and still tell nothing by itself.
        let _ = self.random.fill(&mut block[4..8]);
        block[8..].copy_from_slice(&position.get().to_le_bytes());
        let mut block = block.into();
        self.cipher.encrypt_block(&mut block);
        let mut text = String::with_capacity(PREFIX.len() + 22);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(block, &mut text);
        text
    }

    /// The position of a text. `None`: the server did not make it.
    pub(crate) fn open(&self, text: &str) -> Option<Position> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let mut block = <[u8; 16]>::try_from(bytes).ok()?.into();
        self.cipher.decrypt_block(&mut block);
        let position = u64::from_le_bytes(block[8..].try_into().ok()?);
        (block[..4] == CHECK).then(|| Position::new(position))
    }
}

/// The form in which one caller reads and writes positions.
#[derive(Clone, Default)]
pub(crate) struct Positions(Option<(Arc<Seal>, Arc<[String]>)>);

/// A position as its caller sees it: a number, or a text.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ShownPosition {
    Plain(u64),
    Sealed(String),
}

impl Positions {
    /// Positions for whoever sees all tenants, or only these, ascending.
    pub(crate) fn of(bound: Option<(&Arc<Seal>, &[String])>) -> Self {
        Self(bound.map(|(seal, tenants)| (seal.clone(), tenants.into())))
    }

    pub(crate) fn are_sealed(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn show(&self, position: Position) -> ShownPosition {
        match &self.0 {
            None => ShownPosition::Plain(position.get()),
            Some((seal, _)) => ShownPosition::Sealed(seal.seal(position)),
        }
    }

    /// The position that a caller gives back. `None`: it is not one that was sealed for it.
    pub(crate) fn open(&self, text: &str) -> Option<Position> {
        self.0.as_ref()?.0.open(text)
    }

    /// Adds an event as a line. Whoever sees only some tenants is told neither another one, from which a user has come, nor
    /// a batch, which spans all tenants.
    pub(crate) fn encode(
        &self,
        event: &Event<'_>,
        (position, recorded_at): (Position, UtcInstant),
        out: &mut Vec<u8>,
    ) {
        match &self.0 {
            None => encode_ndjson(event, LinePosition::Plain(position), recorded_at, out),
            Some((seal, tenants)) => {
                let mut event = *event;
                let is_own = |tenant: &str| tenants.binary_search_by(|own| own.as_str().cmp(tenant)).is_ok();
                event.from_tenant_id = event.from_tenant_id.filter(|tenant| is_own(tenant.as_str()));
                event.batch = None;
                encode_ndjson(&event, LinePosition::Sealed(&seal.seal(position)), recorded_at, out);
            }
        }
    }
}

impl std::fmt::Display for ShownPosition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(position) => position.fmt(formatter),
            Self::Sealed(text) => text.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sealed_position_is_opened_by_the_same_key_only(position: u64, key: [u8; 32], other: [u8; 32]) {
            let seal = Seal::new(key);
            let text = seal.seal(Position::new(position));
            prop_assert_eq!(seal.open(&text), Some(Position::new(position)));
            prop_assert_ne!(&text, &seal.seal(Position::new(position)), "another text each time");
            prop_assert!(text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
            if key != other {
                prop_assert_eq!(Seal::new(other).open(&text), None);
            }
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let seal = Seal::new([7; 32]);
        let good = seal.seal(Position::new(1));
        for bad in ["", "1", "p_", "p_AAAA", &good[..23], &format!("{good}A"), &good.replace("p_", "q_")] {
            assert_eq!(seal.open(bad), None, "{bad}");
        }
    }
}
