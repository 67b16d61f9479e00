//! Random files, read here and by others: Python's csv and json, DuckDB, jq. What this reader takes, the others read as the same
//! rows. `LASTSEEN_READER_FILES=n` makes so many of each kind.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lastseen_tests::{Seeded, project_file, python_with, skip};
use serde_json::{Value, json};

use crate::backfill::formats::record::{Fields, Kind, Next, Record};
use crate::backfill::formats::rows::{self, Layout, Rows};

/// Files of each kind.
const FILES: u64 = 300;

fn files() -> u64 {
    let more = std::env::var_os("LASTSEEN_READER_FILES").and_then(|count| count.to_str()?.parse().ok());
    more.unwrap_or(FILES)
}

/// The rows that this reader gives: `None` if it refuses the file; a row that is bad is null.
fn ours(file: &Path) -> Option<Vec<Value>> {
    let mut fields = Fields::default();
    let columns = ["a", "b", "c"].map(|name| fields.add(name, "--user-column", true));
    let format = rows::format_of(file, None, (None, false)).ok()?;
    let layout = Layout::default();
    let mut rows = Rows::open(file, (format, &layout), (&fields, None), &Arc::default()).ok()?;
    let mut record = Record::new(&fields);
    let mut all = Vec::new();
    loop {
        match rows.next(&mut record).ok()? {
            Next::End => return Some(all),
            Next::Bad(_) => all.push(Value::Null),
            Next::Row => {
                let value = |at| match (record.get(at), record.kind(at)) {
                    (None | Some(""), _) => Value::Null,
                    (Some(text), Kind::Rounded) => serde_json::from_str(text).unwrap(),
                    (Some(text), _) => text.into(),
                };
                all.push(columns.map(value).to_vec().into());
            }
        }
    }
}

fn pick<'a>(random: &mut Seeded, from: &[&'a str]) -> &'a str {
    random.pick::<&str>(from)
}

/// CSV that is mostly in order.
fn csv(random: &mut Seeded) -> String {
    let mut text = "a,b,c\n".to_owned();
    let newline = pick(random, &["\n", "\n", "\r\n"]);
    for _ in 0..random.below(6) {
        let fields = if random.below(12) == 0 { 1 + random.below(4) } else { 3 };
        for at in 0..fields {
            if at > 0 {
                text.push(',');
            }
            let quoted = random.below(3) == 0;
            if quoted {
                text.push('"');
            }
            for _ in 0..random.below(4) {
                let inside = ["x", "\u{e9}", " ", "\"\"", ",", "\n", "\r\n", ";", "\\", "\t", "\u{1f600}"];
                let outside = ["x", "7", "\u{e9}", " ", ";", "\\", "\t", "'", "\\N"];
                text.push_str(pick(random, if quoted { &inside } else { &outside }));
            }
            if quoted {
                text.push('"');
            }
        }
        text.push_str(newline);
        if random.below(10) == 0 {
            text.push_str(newline);
        }
    }
    if random.below(5) == 0 {
        // Behind the header.
        let start = text.find('\n').map_or(0, |at| at + 1);
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).filter(|at| *at >= start).collect();
        let at = if places.is_empty() { text.len() } else { *random.pick(&places) };
        text.insert_str(at, pick(random, &["\"", "\r", ",", "\n", "\"\""]));
    }
    text
}

fn tsv(random: &mut Seeded) -> String {
    let mut text = "a\tb\tc\n".to_owned();
    for _ in 0..random.below(6) {
        let fields = if random.below(12) == 0 { 1 + random.below(4) } else { 3 };
        for at in 0..fields {
            if at > 0 {
                text.push('\t');
            }
            if random.below(5) == 0 {
                text.push_str("\\N");
                continue;
            }
            for _ in 0..random.below(4) {
                let pieces =
                    ["x", "\"", "\u{e9}", "\\\\", "\\t", "\\n", "\\r", "\\q", "\\b", ",", " ", "\u{1f600}"];
                text.push_str(pick(random, &pieces));
            }
        }
        text.push('\n');
    }
    text
}

fn value(random: &mut Seeded, depth: u32) -> Value {
    match random.below(if depth == 0 { 9 } else { 11 }) {
        0 => Value::Null,
        1 => (random.below(2) == 0).into(),
        2 => random.below(1_000_000).into(),
        3 => 9_007_199_254_740_991_u64.into(),
        4 => json!(-7),
        5 => json!(1.5),
        6 => "\u{e9}\"\\\n\u{1f600}\u{7f}/".into(),
        7 => "".into(),
        8 => pick(random, &["x", "y z", "{\"a\":1}", "[", "\t", "\u{2028}"]).into(),
        9 => (0..random.below(3)).map(|_| value(random, depth - 1)).collect(),
        _ => json!({"a": value(random, depth - 1), "]": value(random, depth - 1)}),
    }
}

/// A row: a, b and c are values, the others are anything.
fn object(random: &mut Seeded) -> Value {
    let mut object = serde_json::Map::new();
    for name in ["z", "a", "}", "b", "c", "y"] {
        if random.below(5) > 0 {
            let depth = if ["a", "b", "c"].contains(&name) { 0 } else { 3 };
            object.insert(name.to_owned(), value(random, depth));
        }
    }
    object.into()
}

fn json_text(random: &mut Seeded) -> (&'static str, String) {
    let objects: Vec<Value> = (0..random.below(5)).map(|_| object(random)).collect();
    let print = |value: &Value, pretty| if pretty { format!("{value:#}") } else { value.to_string() };
    match random.below(4) {
        0 => ("json", print(&objects.into(), false)),
        1 => ("json", print(&objects.into(), true)),
        2 => (
            "json",
            format!(
                "\n [{}\t]  \r\n",
                objects.iter().map(|row| print(row, true)).collect::<Vec<_>>().join(" ,\n")
            ),
        ),
        _ => ("ndjson", objects.iter().map(|row| print(row, false) + "\n").collect()),
    }
}

#[test]
fn what_is_read_is_what_others_read() {
    let Some(python) = python_with("duckdb") else { return };
    if Command::new("jq").arg("--version").output().is_err() {
        return skip("jq");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut random = Seeded::new(23);
    for at in 0..files() {
        let (extension, json) = json_text(&mut random);
        let written = [("csv", csv(&mut random)), ("tsv", tsv(&mut random)), (extension, json)];
        for (extension, text) in written {
            fs::write(directory.path().join(format!("{at}.{extension}")), text).unwrap();
        }
    }
    let script = project_file("tests/clients/read_tables.py");
    let printed = Command::new(python).arg(script).arg(directory.path()).output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let mut compared: HashMap<String, u64> = HashMap::new();
    for line in String::from_utf8(printed.stdout).unwrap().lines() {
        let theirs: Value = serde_json::from_str(line).unwrap();
        let [file, reader] = ["file", "reader"].map(|name| theirs[name].as_str().unwrap());
        let path = directory.path().join(file);
        let extension = file.rsplit('.').next().unwrap();
        let text = || String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let Some(ours) = ours(&path) else {
            // JSON that is in order is not refused, nor is text without quotes.
            assert!(extension == "csv", "{file}: refused\n{}", text());
            continue;
        };
        // DuckDB refuses files that mix ends of lines, and takes some rows with a delimiter too many.
        if reader == "duckdb" && (theirs["rows"].is_null() || ours.contains(&Value::Null)) {
            continue;
        }
        assert_eq!(theirs["rows"], Value::from(ours), "{file} by {reader}:\n{:?}", text());
        *compared.entry(format!("{reader} of {extension}")).or_default() += 1;
    }
    for (what, least) in [
        ("csv of csv", files() / 2),
        ("duckdb of csv", files() / 4),
        ("split of tsv", files()),
        ("json of json", files() / 2),
        ("jq of json", files() / 2),
        ("json of ndjson", files() / 8),
        ("jq of ndjson", files() / 8),
    ] {
        assert!(compared.get(what).is_some_and(|count| *count >= least), "{what}: {compared:?}");
    }
}
