//! The ledger is complete: each line of the recorded answers has a place in it, and each test that it names exists.

use std::collections::BTreeSet;
use std::fs;

use crate::recorded;

fn ledger() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/LEDGER.md")).unwrap()
}

/// Names of all tests of this crate.
fn tests() -> BTreeSet<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/emulator");
    let others = ["/src/record.rs", "/src/disk.rs", "/rust_client/tests/main.rs"]
        .map(|file| env!("CARGO_MANIFEST_DIR").to_owned() + file);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names = BTreeSet::new();
    for file in files.chain(others.map(Into::into)) {
        let text = fs::read_to_string(file).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim_start().starts_with("#[test]") || line.trim_start().starts_with("#[tokio::test") {
                let name = lines.next().unwrap().split("fn ").nth(1).unwrap().split('(').next().unwrap();
                names.insert(name.to_owned());
            }
        }
    }
    names
}

#[test]
fn each_test_that_the_ledger_names_exists() {
    let tests = tests();
    let ledger = ledger();
    let rows = ledger
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| rule") && !line.starts_with("| ---"));
    let mut named = 0;
    for row in rows {
        let last = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap();
        for name in last.split('`').skip(1).step_by(2) {
            assert!(tests.contains(name), "LEDGER.md names {name}, which is no test");
            named += 1;
        }
        assert!(last.contains('`'), "no test is named: {row}");
    }
    assert!(named > 40, "{named}");
}

#[test]
fn each_line_of_the_recorded_answers_has_a_place_in_the_ledger() {
    let ledger = ledger();
    let answers = fs::read_to_string(recorded("raw-answers.txt")).unwrap();
    for line in answers.lines() {
        let label = line.split_once(": {").or_else(|| line.split_once(": ")).unwrap().0;
        assert!(ledger.contains(&format!("\"{label}\"")), "LEDGER.md has no place for \"{label}\"");
    }
}
