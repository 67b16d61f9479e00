//! The opaque names of the wire: tenant, user, session and batch. One rule for all four, checked once;
//! compared by bytes, never trimmed, never normalised.

use std::fmt;

use unicode_general_category::{GeneralCategory, get_general_category};

use crate::limits::{NAME_BYTES_MAX, STORED_NAME_BYTES_MAX};

/// Why a string cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes.
    #[error("expected 1 to {NAME_BYTES_MAX} bytes, found none")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes of UTF-8.
    #[error("expected at most {NAME_BYTES_MAX} bytes, found {found}")]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// A control character (Unicode category Cc).
    #[error("expected no control characters, found U+{:04X}", *.found as u32)]
    NotPrintable {
        /// The first such character.
        found: char,
    },
    /// A format character (Unicode category Cf): invisible, or one that turns the direction of text.
    #[error("expected no format characters, found U+{:04X}", *.found as u32)]
    Format {
        /// The first such character.
        found: char,
    },
    /// A string that publishers send when they have no id at hand.
    #[error("expected a real id, found a placeholder")]
    Placeholder,
}

/// Exactly these strings are what publishers send by mistake. Compared by bytes.
const PLACEHOLDERS: [&str; 5] =
    ["null", "undefined", "anonymous", "[object Object]", "00000000-0000-0000-0000-000000000000"];

fn check_printable(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { found: text.len() });
    }
    // Ids are ASCII nearly always; that pass needs no decoding, and looks at many bytes at once since it does not stop
    // early.
    let others = text.bytes().fold(0, |others, byte| others | u8::from(!(b' '..=b'~').contains(&byte)));
    if others == 0 {
        return Ok(());
    }
    match text.chars().find(|c| c.is_control()) {
        Some(found) => Err(NameError::NotPrintable { found }),
        None => Ok(()),
    }
}

fn check_identity(text: &str) -> Result<(), NameError> {
    check_printable(text)?;
    if PLACEHOLDERS.contains(&text) { Err(NameError::Placeholder) } else { Ok(()) }
}

/// Checks the rule for names that are new: no format characters. Names that are stored already are read without it.
pub(crate) fn check_new(text: &str) -> Result<(), NameError> {
    // No ASCII character is one.
    if text.is_ascii() {
        return Ok(());
    }
    let is_format = |c: &char| get_general_category(*c) == GeneralCategory::Format;
    match text.chars().find(is_format) {
        Some(found) => Err(NameError::Format { found }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<'a>(&'a str);

        impl<'a> $name<'a> {
            /// Checks the rule of the type.
            ///
            /// # Errors
            /// [`NameError`] says which part of the rule is broken.
            pub fn new(text: &'a str) -> Result<Self, NameError> {
                $check(text).map(|()| Self(text))
            }

            /// The name as it was sent.
            pub fn as_str(self) -> &'a str {
                self.0
            }

            /// Takes a name as a store holds it: its form alone is checked, 1..=255 bytes. A rule that came after
            /// it was stored does not make it damage. `None`: no name has that form.
            pub fn stored(text: &'a str) -> Option<Self> {
                (1..=STORED_NAME_BYTES_MAX).contains(&text.len()).then_some(Self(text))
            }

            /// For text that was checked when it entered the buffer it is read from.
            pub(crate) fn checked_before(text: &'a str) -> Self {
                debug_assert!(Self::stored(text).is_some());
                Self(text)
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
    };
}

name! {
    /// A customer of the application: 1..=128 bytes of printable UTF-8, no placeholder.
    TenantId, check_identity
}
name! {
    /// A user as the application names it: 1..=128 bytes of printable UTF-8, no placeholder. The same
    /// `user_id` in two tenants is two members and one person.
    UserId, check_identity
}
name! {
    /// The session an activity belongs to: 1..=128 bytes of printable UTF-8.
    SessionId, check_printable
}
name! {
    /// The backfill run an event came with: 1..=128 bytes of printable UTF-8.
    BatchName, check_printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_has_no_format_character_and_a_stored_one_may() {
        for bad in ["a\u{200b}", "\u{202e}nimda", "\u{feff}8127", "x\u{2066}y", "\u{e0041}"] {
            assert!(matches!(check_new(bad), Err(NameError::Format { .. })), "{bad:?}");
            assert!(UserId::new(bad).is_ok(), "{bad:?}");
        }
        for good in ["usr_01JK", "Zoë", "用户", "a b", "\u{1f600}"] {
            assert_eq!(check_new(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn a_stored_name_has_a_form_and_no_rule() {
        for stored in ["null", "undefined", "a\nb", "\u{202e}x", "x".repeat(255).as_str(), " "] {
            assert_eq!(UserId::stored(stored).map(UserId::as_str), Some(stored));
            assert_eq!(SessionId::stored(stored).map(SessionId::as_str), Some(stored));
        }
        for none in ["", "x".repeat(256).as_str()] {
            assert_eq!(TenantId::stored(none), None);
            assert_eq!(BatchName::stored(none), None);
        }
    }

    #[test]
    fn real_ids_of_every_shape_are_names() {
        for ok in
            ["8127", "usr_01JK", "ada@example.com", "a b", "Zoë", "日本", "Null", "x".repeat(128).as_str()]
        {
            assert!(UserId::new(ok).is_ok(), "{ok}");
        }
    }

    #[test]
    fn empty_long_unprintable_and_placeholder_names_are_refused() {
        assert_eq!(UserId::new(""), Err(NameError::Empty));
        assert_eq!(UserId::new(&"x".repeat(129)), Err(NameError::TooLong { found: 129 }));
        assert_eq!(UserId::new("é".repeat(65).as_str()), Err(NameError::TooLong { found: 130 }));
        for (text, found) in [("a\nb", '\n'), ("\u{7f}", '\u{7f}'), ("a\u{85}", '\u{85}')] {
            assert_eq!(UserId::new(text), Err(NameError::NotPrintable { found }));
        }
        for text in PLACEHOLDERS {
            assert_eq!(TenantId::new(text), Err(NameError::Placeholder));
            assert_eq!(UserId::new(text), Err(NameError::Placeholder));
        }
    }
}
