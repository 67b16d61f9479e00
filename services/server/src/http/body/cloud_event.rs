//! Attributes of a `CloudEvents` event in the headers of a request: its binary mode (HTTP protocol binding 1.0.2, section 3.1).

use axum::http::HeaderMap;
use percent_encoding::percent_decode;

/// An attribute: its name, and its value as text. `None`: the value is not UTF-8.
pub(in crate::http) type Attribute = (String, Option<String>);

/// The beginning of the name of each header.
const PREFIX: &str = "ce-";

/// The attributes of a request. `None`: it has none of those that every event has.
pub(in crate::http) fn attributes(headers: &HeaderMap) -> Option<Vec<Attribute>> {
    const EVERY: [&str; 4] = ["ce-specversion", "ce-id", "ce-source", "ce-type"];
    if !EVERY.into_iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let attribute = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        let name = name.as_str().strip_prefix(PREFIX)?;
        Some((name.to_owned(), text(value.as_bytes())))
    };
    Some(headers.iter().filter_map(attribute).collect())
}

/// The text of a value: perhaps quoted, then percent-decoded. `None`: it is not UTF-8.
fn text(value: &[u8]) -> Option<String> {
    let unquoted = unquoted(value);
    let bytes = unquoted.as_deref().unwrap_or(value);
    percent_decode(bytes).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// The content of a quoted string (RFC 9110, section 5.6.4). `None`: it is none.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let content = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut bytes = Vec::with_capacity(content.len());
    let mut rest = content.iter();
    while let Some(byte) = rest.next() {
        bytes.push(if *byte == b'\\' { *rest.next()? } else { *byte });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_unquoted_and_decoded() {
        for (value, expected) in [
            (&b"usr_01JK"[..], Some("usr_01JK")),
            (b"Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro \u{20ac} \u{1f600}")),
            ("Zo\u{eb}".as_bytes(), Some("Zo\u{eb}")),
            (b"\"a b\"", Some("a b")),
            (b"\"a \\\"b\\\" \\\\\"", Some("a \"b\" \\")),
            (b"\"", Some("\"")),
            (b"100%", Some("100%")),
            (b"", Some("")),
            (b"%FF", None),
            (b"\xff", None),
        ] {
            assert_eq!(text(value).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn a_request_without_attributes_is_in_another_mode() {
        let mut headers = HeaderMap::new();
        headers.insert("ce-tenantid", HeaderValue::from_static("acme"));
        headers.insert("x-ce-id", HeaderValue::from_static("7"));
        assert_eq!(attributes(&headers), None);
        headers.append("ce-id", HeaderValue::from_static("7"));
        headers.append("ce-id", HeaderValue::from_static("8"));
        let mut found = attributes(&headers).unwrap();
        found.sort();
        let expected = [("id", "7"), ("id", "8"), ("tenantid", "acme")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))));
    }

    proptest! {
        #[test]
        fn a_value_is_read_as_the_binding_says_to_write_it(value in "\\PC{0,40}") {
            // Space, the double quote, the percent sign, and what is not printable ASCII.
            let mut written = String::new();
            for letter in value.chars() {
                if letter.is_ascii_graphic() && !['"', '%'].contains(&letter) {
                    written.push(letter);
                } else {
                    let mut utf8 = [0; 4];
                    for byte in letter.encode_utf8(&mut utf8).bytes() {
                        write!(written, "%{byte:02X}").unwrap();
                    }
                }
            }
            prop_assert_eq!(text(written.as_bytes()), Some(value));
        }
    }
}
