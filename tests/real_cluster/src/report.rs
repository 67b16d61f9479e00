//! The summary at the end: each rule of the emulator's ledger, and what the tests found of it.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use crate::schedules::Recoveries;

/// The rules, as the emulator's ledger has them.
const LEDGER: &str = include_str!("../../eventstoredb_emulator/LEDGER.md");

/// The outcome of asking for a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Found {
    NotAsked(String),
    Confirmed,
    Differs(String),
}

static FOUND: Mutex<BTreeMap<&'static str, BTreeSet<Found>>> = Mutex::new(BTreeMap::new());

/// Rules of the ledger, in its order: the first cell of each row. Accidents at its end are no rules of a server.
fn rules() -> impl Iterator<Item = &'static str> {
    let rules = LEDGER.split("\n## Faults").next().unwrap_or_default();
    let rows = rules
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| rule") && !line.starts_with("| ---"));
    rows.filter_map(|row| row.strip_prefix("| ")?.split(" | ").next())
}

/// The rule that begins so.
///
/// # Panics
/// If the ledger has none or several.
pub(crate) fn rule(beginning: &str) -> &'static str {
    let mut found = rules().filter(|rule| rule.starts_with(beginning));
    let rule = found.next().unwrap_or_else(|| panic!("LEDGER.md has no rule that begins: {beginning}"));
    assert!(found.next().is_none(), "LEDGER.md has several rules that begin: {beginning}");
    rule
}

/// Notes what a test found of its rules.
pub(crate) fn note(beginnings: &[&str], found: &Found) {
    let mut all = FOUND.lock();
    for beginning in beginnings {
        all.entry(rule(beginning)).or_default().insert(found.clone());
    }
}

/// Prints everything. `asked`: beginnings of rules that some test asks.
#[expect(clippy::print_stdout, reason = "the summary is what the program is run for")]
pub(crate) fn print(ground: &str, asked: &[&str]) {
    println!("rules of the ledger, asked of {ground}:");
    let (found, asked) =
        (FOUND.lock(), asked.iter().map(|beginning| rule(beginning)).collect::<BTreeSet<_>>());
    let mut counts = [0; 3];
    for rule in rules() {
        let worst = found.get(rule).and_then(|found| found.last());
        let (kind, line) = match worst {
            Some(Found::Confirmed) => (0, "confirmed".to_owned()),
            Some(Found::Differs(how)) => (1, format!("DIFFERS ({how})")),
            Some(Found::NotAsked(why)) => (2, format!("not asked ({why})")),
            None if asked.contains(rule) => (2, "not asked (its test was not chosen)".to_owned()),
            None => (2, "not asked (the store does not depend on it)".to_owned()),
        };
        counts[kind] += 1;
        println!("  {line}: {rule}");
    }
    println!("{} confirmed, {} differ, {} not asked", counts[0], counts[1], counts[2]);
    let lines = Recoveries::lines();
    if !lines.is_empty() {
        println!(
            "recovery over {ground}: from the accident to the next acknowledged append that was begun after it"
        );
    }
    for line in lines {
        println!("  {line}");
    }
}
