//! Real history with known answers: `tests/data/git-activity`, see the README there.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

/// Number of events in the history.
pub const EVENTS: u64 = 85_444;

/// Path of one of the files.
pub fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/git-activity").join(file)
}

/// Every event as its line, in the order of arrival.
pub fn lines() -> Vec<String> {
    let file = File::open(path("events.ndjson.gz")).expect("the history is part of the repository");
    let lines = BufReader::new(MultiGzDecoder::new(file)).lines();
    lines.map(|line| line.expect("the history is text")).collect()
}

/// The right answers.
pub fn truth() -> Value {
    let text = fs::read_to_string(path("truth.json")).expect("the truth is part of the repository");
    serde_json::from_str(&text).expect("the truth is JSON")
}
