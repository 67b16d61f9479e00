//! The helpers by which the tests start a server and read its answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lastseen_tests::{Client, Ended, Process, Server, instant};
use serde_json::Value;
use tempfile::TempDir;

use crate::BINARY;

/// A server on an empty directory of its own.
pub(crate) fn empty_server() -> (Server, TempDir) {
    let data = tempfile::tempdir().expect("a directory for temporary files");
    (Server::start(BINARY, data.path()), data)
}

/// A server that seals this many events as a segment.
pub(crate) fn sealing_server(segment_events: &str) -> (Server, TempDir) {
    let data = tempfile::tempdir().unwrap();
    (Server::start_with(BINARY, data.path(), &["--segment-events", segment_events]), data)
}

/// Runs a command to its end.
pub(crate) fn lastseen(arguments: &[&str]) -> Ended {
    const ENDED_WITHIN: Duration = Duration::from_mins(1);
    let mut command = Command::new(BINARY);
    command.args(arguments);
    Process::start(command).wait(ENDED_WITHIN)
}

/// A count of the summary of a backfill, by the beginning of its line; 0 where it has no such line.
pub(crate) fn count(ended: &Ended, name: &str) -> u64 {
    let mut lines = ended.stdout.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| name.ends_with(' ') || rest.starts_with("  "))
    });
    let count = lines.next().and_then(|line| line.rsplit(' ').next()).map_or(0, |count| {
        count.replace(',', "").parse().unwrap_or_else(|_| panic!("{name} in {}", ended.stdout))
    });
    assert_eq!(lines.next(), None, "{name} stands once in {}", ended.stdout);
    count
}

/// A file of this name in the directory.
pub(crate) fn write(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).expect("the directory takes files");
    path
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// The fields that only the answer about one user has.
pub(crate) const OF_ONE_ANSWER: [&str; 9] = [
    "total_events",
    "last_seen_batch",
    "memberships",
    "position",
    "log_id",
    "definition",
    "window",
    "as_of",
    "at",
];

/// A user without what no other code can know (positions) or what only single answers hold, every instant
/// written with 6 fraction digits.
pub(crate) fn comparable(user: &Value) -> Value {
    let mut user = user.clone();
    let fields = user.as_object_mut().expect("a user is an object");
    for only_here in ["last_seen_position"].iter().chain(&OF_ONE_ANSWER) {
        fields.remove(*only_here);
    }
    for (name, value) in fields {
        let is_instant = name.ends_with("_at") || name == "active_until";
        if let Some(text) = value.as_str().filter(|_| is_instant) {
            *value = instant::rfc3339(instant::micros(text)).into();
        }
    }
    user
}

/// An answer without the instant that it holds for: an answer of now has another one each time.
pub(crate) fn without_at(mut answer: Value) -> Value {
    let at = answer.as_object_mut().expect("an answer is an object").remove("at");
    let at = at.unwrap_or_else(|| panic!("an instant in {answer}"));
    instant::micros(at.as_str().expect("an instant is text"));
    answer
}

/// All users of a list, page by page, as they are answered.
pub(crate) fn walk(client: &Client, path: &str) -> Vec<Value> {
    rows_of(client, path, "users")
}

/// All rows of a list, page by page; `field` has those of a page.
pub(crate) fn rows_of(client: &Client, path: &str, field: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut next = path.to_owned();
    loop {
        let page = client.ask(&next);
        rows.extend(array(&page, field).iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { return rows };
        assert!(rows.len() < 1_000_000, "the pages of {path} do not end");
        let separator = if path.contains('?') { '&' } else { '?' };
        next = format!("{path}{separator}cursor={cursor}");
    }
}

/// The array in a field of an answer.
pub(crate) fn array<'a>(answer: &'a Value, field: &str) -> &'a Vec<Value> {
    answer[field].as_array().unwrap_or_else(|| panic!("an array {field} in {answer}"))
}

/// The user ids of a list, in its order.
pub(crate) fn user_ids(users: &[Value]) -> Vec<&str> {
    users.iter().map(|user| user["user_id"].as_str().expect("a user has an id")).collect()
}

/// The position of an answer.
pub(crate) fn position(answer: &Value) -> u64 {
    answer["position"].as_u64().unwrap_or_else(|| panic!("a position in {answer}"))
}

/// The numbers of `answer` under the names that `expected` has.
pub(crate) fn numbers(answer: &Value, names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| answer[name].as_u64().unwrap_or_else(|| panic!("{name} in {answer}"))).collect()
}
