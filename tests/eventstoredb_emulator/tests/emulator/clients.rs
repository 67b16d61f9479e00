//! Official clients of other languages: the recorded questions by the stubs of the npm client, and the Python client.
//! They run where the packages of tests/clients are installed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use eventstoredb_emulator::{Cluster, Options, ServerVersion, Timing};
use lastseen_tests::{node_packages, python_with};

use crate::client::Client;
use crate::recorded;

fn good(output: &Output) -> String {
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complaint}");
    said.into_owned()
}

/// The events that the recorded cluster of 23.10 held before: as many, of them as many with the prefix that is
/// asked for, and as many bytes.
async fn events_before(client: &Client) {
    const SIZE: usize = 90 + 11 + 1 + 2;
    for stream in [vec!["raw-before1"; 15], vec!["$$$before11"; 3]].concat() {
        client.put(stream, "{}").await;
    }
    let rest = 6_580 - 733 - 19 * SIZE;
    client.put("raw-before1", &"a".repeat(2 + rest)).await;
}

/// Positions and revisions of the appends in an answer's line, to be compared as they are.
fn positions(answers: &str) -> Vec<&str> {
    let asked_of_stream = |line: &&str| line.contains("\"success\":{\"currentRevision\"");
    answers.lines().filter(asked_of_stream).filter(|line| !line.starts_with("stream name of 3000")).collect()
}

fn ask(cluster: &Cluster, packages: &Path, answers: &Path) {
    let mut command = Command::new("node");
    command.current_dir(packages.parent().unwrap()).arg(recorded("ask.cjs").canonicalize().unwrap());
    let [leader, follower, _] = cluster.addresses() else { panic!("three nodes") };
    let said = good(&command.args([leader.to_string(), follower.to_string()]).output().unwrap());
    fs::write(answers, said).unwrap();
}

async fn answers_are_the_same(version: ServerVersion, file: &str) {
    let (Some(packages), Some(python)) = (node_packages(), python_with("json")) else { return };
    let options = Options { nodes: 3, version, timing: Timing::default(), ..Options::default() };
    let cluster = Cluster::start(options).unwrap();
    cluster.wait_until(|cluster| cluster.nodes().all(|node| node.is_ready()));
    let client = Client::to(cluster.addresses()[0]);
    match version {
        ServerVersion::V23_10 => events_before(&client).await,
        ServerVersion::V24_10 => drop(client.put("$before", &"a".repeat(185 - 90 - 7 - 1)).await),
    }
    let dir = tempfile::tempdir().unwrap();
    let answers = dir.path().join("answers.txt");
    ask(&cluster, &packages, &answers);
    let mut compare = Command::new(python);
    compare.arg(recorded("compare.py")).args([&recorded(file), &answers]);
    assert!(good(&compare.output().unwrap()).contains("71 of 71 answers are the same"));
    // More than compare.py asks for: the very positions.
    let (real, here) = (fs::read_to_string(recorded(file)).unwrap(), fs::read_to_string(&answers).unwrap());
    assert_eq!(positions(&here).len(), positions(&real).len());
    for (real, here) in positions(&real).iter().zip(positions(&here)) {
        assert_eq!(
            real.split("\"streamIdentifier\"").next(),
            here.split("\"streamIdentifier\"").next(),
            "the position is that of the real server"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_questions_get_the_answers_of_23_10() {
    answers_are_the_same(ServerVersion::V23_10, "raw-answers.txt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_questions_get_the_answers_of_24_10() {
    answers_are_the_same(ServerVersion::V24_10, "24.10/raw-answers.txt").await;
}

#[test]
fn the_npm_client_appends_reads_subscribes_and_deletes() {
    let Some(packages) = node_packages() else { return };
    for version in [ServerVersion::V23_10, ServerVersion::V24_10] {
        let options = Options { nodes: 3, version, timing: Timing::short(), ..Options::default() };
        let cluster = Cluster::start(options).unwrap();
        cluster.wait_until(|cluster| cluster.nodes().all(|node| node.is_ready()));
        // Beside the packages, where Node.js looks for them.
        let work = tempfile::tempdir_in(packages.parent().unwrap()).unwrap();
        let script = work.path().join("npm_client.mjs");
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/npm_client.mjs"), &script).unwrap();
        let said = good(
            Command::new("node").arg(script).arg(cluster.connection_string()).output().as_ref().unwrap(),
        );
        assert!(said.ends_with("ok\n"), "{said}");
    }
}

#[test]
fn the_python_client_appends_reads_subscribes_and_deletes() {
    let Some(python) = python_with("kurrentdbclient") else { return };
    for version in [ServerVersion::V23_10, ServerVersion::V24_10] {
        let options = Options { nodes: 3, version, timing: Timing::short(), ..Options::default() };
        let cluster = Cluster::start(options).unwrap();
        cluster.wait_until(|cluster| cluster.nodes().all(|node| node.is_ready()));
        let mut command = Command::new(&python);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python_client.py");
        let said = good(&command.arg(script).arg(cluster.connection_string()).output().unwrap());
        assert_eq!(said.trim(), "ok");
    }
}
