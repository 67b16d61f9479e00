//! The errors of the JSON library in words for publishers.

use std::fmt;

use serde_json::error::Category;

/// Describes an error of the JSON library: what was expected and found, and where.
pub fn describe_json_error(error: &serde_json::Error) -> impl fmt::Display {
    let (line, column) = (error.line(), error.column());
    let place = if line == 0 { String::new() } else { format!(" at line {line}, column {column}") };
    match error.classify() {
        Category::Eof => format!("the JSON ends too early{place}"),
        Category::Syntax | Category::Io => format!("this is not JSON{place}"),
        Category::Data => {
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            match text.strip_prefix("invalid type: ").and_then(|text| text.split_once(", expected ")) {
                Some((found, expected)) => format!("expected {expected}, found {found}{place}"),
                None => format!("{text}{place}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ids {
        #[expect(dead_code, reason = "only its errors are of interest")]
        ids: Vec<String>,
    }

    #[test]
    fn a_publisher_reads_what_was_expected_and_where_in_plain_words() {
        for (json, expected) in [
            ("nope", "this is not JSON at line 1, column 2"),
            ("{\"ids\":[\n\"a\"", "the JSON ends too early at line 2, column 3"),
            ("{\"ids\":[1]}", "expected a string, found integer `1` at line 1, column 9"),
            ("{\"idz\":[]}", "unknown field `idz`, expected `ids` at line 1, column 6"),
            ("{}", "missing field `ids` at line 1, column 2"),
        ] {
            let error = serde_json::from_str::<Ids>(json).unwrap_err();
            assert_eq!(describe_json_error(&error).to_string(), expected, "{json}");
        }
    }
}
