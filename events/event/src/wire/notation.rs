//! The names that each notation of events gives to their fields.

use crate::event::field;

/// A notation of events: a type, so that names are compared with constants.
pub(super) trait Notation {
    /// The names of the fields: those of [`Native`] first, in its order, then those that only this notation has.
    const NAMES: &'static [&'static str];
    /// True for `CloudEvents`: other fields are extensions, which are passed over.
    const IS_CLOUD_EVENT: bool;

    /// The place of a field of this name.
    #[inline]
    fn place(name: &str) -> Option<usize> {
        Self::NAMES.iter().position(|field| *field == name)
    }

    /// The name of a field of [`Native`] here.
    #[inline]
    fn name_of(native: &'static str) -> &'static str {
        Native::place(native).and_then(|place| Self::NAMES.get(place)).copied().unwrap_or(native)
    }
}

/// The number of fields that every notation has.
pub(super) const SHARED: usize = Native::NAMES.len();

/// Lastseen's own.
pub(super) enum Native {}

impl Notation for Native {
    const NAMES: &'static [&'static str] = &[
        field::ID,
        field::TYPE,
        field::TENANT_ID,
        field::USER_ID,
        field::OCCURRED_AT,
        field::SESSION_ID,
        field::FROM_TENANT_ID,
        field::CONFIRMED,
        field::BATCH,
        field::COUNTS,
    ];
    const IS_CLOUD_EVENT: bool = false;
}

/// `CloudEvents` 1.0: attributes of the specification, and extensions of ours. Its data is not read.
pub(super) enum CloudEvents {}

impl Notation for CloudEvents {
    const NAMES: &'static [&'static str] = &[
        "id",
        "type",
        "tenantid",
        "subject",
        "time",
        "sessionid",
        "fromtenantid",
        "confirmed",
        "backfillbatch",
        "counts",
        SPEC_VERSION,
        SOURCE,
    ];
    const IS_CLOUD_EVENT: bool = true;
}

pub(super) const SPEC_VERSION: &str = "specversion";
pub(super) const SOURCE: &str = "source";

const _: () = assert!(CloudEvents::NAMES.len() >= SHARED);

#[cfg(test)]
mod tests {
    use super::*;

    fn check<N: Notation>(time: &str) {
        for (place, name) in N::NAMES.iter().enumerate() {
            assert_eq!(N::place(name), Some(place));
        }
        assert_eq!(N::name_of(field::OCCURRED_AT), time);
    }

    #[test]
    fn each_notation_has_a_name_for_each_field() {
        check::<Native>("occurred_at");
        check::<CloudEvents>("time");
    }
}
