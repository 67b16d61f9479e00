//! The names of tenants, users and sessions: as real applications give them, in ASCII, without a repetition.

use uuid::Builder;
use uuid::fmt::Hyphenated;

use super::random::{Random, Topic, mix};

/// 18 digits.
pub(super) type Tenant = [u8; 18];
/// `usr_` and 26 characters.
pub(super) type User = [u8; 30];
/// A UUID with hyphens.
pub(super) type Session = [u8; Hyphenated::LENGTH];

/// Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Names of two tenants differ because their numbers do.
pub(super) fn tenant(seed: u64, tenant: u32) -> Tenant {
    const LEAST: u64 = 100_000_000_000_000_000;
    /// Between two tenants; so many of them as there may be stay below 18 digits.
    const STEP: u64 = 7_919_000_003;
    let first = LEAST + Random::of(seed, Topic::Tenant, []).below(LEAST);
    let mut number = first + u64::from(tenant) * STEP;
    let mut name = [0; 18];
    for digit in name.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    name
}

/// Names of two users differ because the upper half is a permutation of their numbers.
pub(super) fn user(seed: u64, user: u32) -> User {
    let base = Random::of(seed, Topic::UserName, []).bits();
    let upper = mix(base ^ u64::from(user));
    let mut bits = u128::from(upper) << 64 | u128::from(mix(upper.wrapping_add(base)));
    let mut name = *b"usr_00000000000000000000000000";
    for character in name[4..].iter_mut().rev() {
        *character = ALPHABET[(bits & 0x1f) as usize];
        bits >>= 5;
    }
    name
}

/// The next session's id, a UUID of version 4.
pub(super) fn session(random: &mut Random) -> Session {
    let bits = u128::from(random.bits()) << 64 | u128::from(random.bits());
    let mut name = [0; Hyphenated::LENGTH];
    let id =
        Builder::from_u128(bits).with_version(uuid::Version::Random).with_variant(uuid::Variant::RFC4122);
    id.into_uuid().as_hyphenated().encode_lower(&mut name);
    name
}
