//! The cluster is known again: one that is another, or that lost a part of its history, is refused by name.

use std::path::Path;

use eventstoredb_emulator::Options;
use lastseen_event::EventBatch;
use lastseen_eventstoredb::OpenStoreError;
use lastseen_store::contract::Source;
use lastseen_store::{EventStore, Part, error_chain};
use tempfile::TempDir;
use uuid::Uuid;

use crate::cluster::{Emulated, TestCluster};
use crate::ground::{Ground, installation, prefix};
use crate::model::Model;
use crate::peer::Peer;
use crate::raw::{Expect, proposed};
use crate::suite::not_asked;
use crate::waiting::{WITHIN, until, wait, within};

const SOURCE: Source = Source { series: 7 };

/// The words of a start that is refused.
#[track_caller]
fn refused(outcome: &Result<(), OpenStoreError>) -> String {
    error_chain(outcome.as_ref().expect_err("it is refused"))
}

/// Waits until a node that runs stands still for good; its words.
#[track_caller]
fn standstill(peer: &Peer) -> String {
    let mut cause = None;
    until("a node stands still for good", || {
        let all = peer.store().health().standstills;
        cause = all.into_iter().find(|it| it.part == Part::Cluster && it.is_final).map(|it| it.cause);
        cause.is_some()
    });
    cause.unwrap()
}

fn restart(cluster: &Emulated) {
    let emulator = cluster.script();
    emulator.nodes().for_each(|node| node.start().unwrap());
    emulator.wait_until(|cluster| cluster.leader().is_some());
}

fn stop(cluster: &Emulated) {
    cluster.script().nodes().for_each(|node| node.kill());
}

pub(crate) fn a_cluster_that_is_founded_anew_is_refused(_: &Ground) {
    let (cluster, name) = (Emulated::start(Options::default()), installation());
    let (mut away, running) = (Peer::open(cluster.settings(&name)), Peer::open(cluster.settings(&name)));
    away.append(SOURCE.batch(0..10)).unwrap();
    running.reach(Model::of(&cluster.seen(&prefix(&name))).last);
    away.stop();
    cluster.script().start_from_empty().unwrap();
    // The node that runs finds the log gone; it founds none of its own under the old copy.
    let told = standstill(&running);
    assert!(told.contains("use another data directory, or another cluster"), "{told}");
    let told = refused(&away.start());
    assert!(told.contains("use another directory, or another cluster"), "{told}");
    assert_eq!(running.history().facts.len(), 10, "what it has is read as before");
    let mut empty = Peer::new(cluster.settings(&name));
    empty.start().unwrap();
    assert_eq!(empty.append(SOURCE.batch(0..1)).unwrap().stored, 1);
}

/// Copies the files of nodes.
fn copy(from: &Path, to: &Path) {
    for node in std::fs::read_dir(from).unwrap() {
        let node = node.unwrap();
        let to = to.join(node.file_name());
        if to.exists() {
            std::fs::remove_dir_all(&to).unwrap();
        }
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(node.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// A cluster whose files were put back to those after the first ten events; the node had twenty.
fn restored() -> (Emulated, [TempDir; 2], Peer, String) {
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let options = Options { data: Some(dirs[0].path().to_owned()), ..Options::default() };
    let (cluster, name) = (Emulated::start(options), installation());
    let mut peer = Peer::open(cluster.settings(&name));
    peer.append(SOURCE.batch(0..10)).unwrap();
    stop(&cluster);
    copy(dirs[0].path(), dirs[1].path());
    restart(&cluster);
    peer.append(SOURCE.batch(10..20)).unwrap();
    peer.reach(Model::of(&cluster.seen(&prefix(&name))).last);
    peer.stop();
    stop(&cluster);
    copy(dirs[1].path(), dirs[0].path());
    restart(&cluster);
    (cluster, dirs, peer, name)
}

const RESTORED: &str = "the cluster was restored from an older backup";

pub(crate) fn a_cluster_that_was_restored_is_refused(_: &Ground) {
    let (_cluster, _dirs, mut peer, _) = restored();
    let told = refused(&peer.start());
    assert!(told.contains(RESTORED) && told.contains("delete the copy"), "{told}");
    // The operator does what it says.
    peer.delete();
    peer.start().unwrap();
    assert_eq!(peer.history().facts.len(), 10);
}

/// Restored and grown again: positions have other events, or there are more than before.
pub(crate) fn a_cluster_that_was_restored_and_has_grown_again_is_refused(_: &Ground) {
    // Events of others in front move all positions.
    for (numbers, others) in [(100..101, 0), (100..120, 0), (100..120, 1), (1_000..2_000, 3)] {
        let (cluster, _dirs, mut peer, name) = restored();
        for _ in 0..others {
            wait(cluster.raw_leader().put("another application", "{}"));
        }
        let other = Peer::open(cluster.settings(&name));
        other.append(SOURCE.batch(numbers.clone())).unwrap();
        let told = refused(&peer.start());
        assert!(told.contains(RESTORED), "{numbers:?} behind {others}: {told}");
    }
}

/// The same while the node runs: it loses the cluster for a while, and finds another one.
pub(crate) fn a_cluster_that_is_restored_under_a_node_is_refused(_: &Ground) {
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let options = Options { data: Some(dirs[0].path().to_owned()), ..Options::default() };
    let (cluster, name) = (Emulated::start(options), installation());
    let peer = Peer::open(cluster.settings(&name));
    peer.append(SOURCE.batch(0..10)).unwrap();
    stop(&cluster);
    copy(dirs[0].path(), dirs[1].path());
    restart(&cluster);
    peer.append(SOURCE.batch(10..20)).unwrap();
    peer.reach(Model::of(&cluster.seen(&prefix(&name))).last);
    stop(&cluster);
    copy(dirs[1].path(), dirs[0].path());
    restart(&cluster);
    let told = standstill(&peer);
    assert!(told.contains(RESTORED), "{told}");
}

/// A server leaves the file alone that it is writing.
pub(crate) const SCAVENGED_NOTHING: &str =
    "scavenging removed nothing within a minute: start servers with small chunks, or fill one";

/// The stream of the last event is deleted and scavenged while a node is away; the next event is not lost.
pub(crate) fn a_scavenged_last_event_does_not_take_the_next_one_with_it(ground: &Ground) {
    let (cluster, name) = (ground.small_cluster(), installation());
    let (mut away, other) = (Peer::open(cluster.settings(&name)), Peer::open(cluster.settings(&name)));
    let in_tenant = |tenant: &str, number: u64| {
        let mut batch = EventBatch::default();
        SOURCE.push_of(&mut batch, tenant, (number, 0));
        batch
    };
    // Two events of one member: a scavenge leaves the last event of a stream.
    other.append(in_tenant("keep", 1)).unwrap();
    other.append(in_tenant("gone", 37)).unwrap();
    let seen = cluster.seen(&prefix(&name));
    away.reach(seen.last().unwrap().position);
    away.stop();
    let stream = seen.last().unwrap().stream.clone();
    other.append(in_tenant("keep", 2)).unwrap();
    other.append(in_tenant("gone", 74)).unwrap();
    let next = cluster.seen(&prefix(&name));
    assert_eq!(next[3].stream, stream, "of the same member");
    wait(cluster.raw_leader().delete(&stream)).unwrap();
    cluster.scavenge();
    let is_gone = || cluster.seen(&prefix(&name)).iter().all(|it| it.position != seen[1].position);
    if !within(WITHIN, is_gone) {
        not_asked(SCAVENGED_NOTHING);
    }
    away.start().unwrap();
    away.reach(next[3].position);
    away.history().assert_same(&other.history());
    assert_eq!(away.history().facts.len(), 4);
    // An empty node has what is left, and goes on.
    other.append(in_tenant("gone", 111)).unwrap();
    let mut empty = Peer::new(cluster.settings(&name));
    empty.start().unwrap();
    Model::of(&cluster.seen(&prefix(&name))).assert_is(&empty.history());
}

/// A record of a form that this version does not know: nothing behind it is taken in, and its place is told.
pub(crate) fn a_record_of_a_newer_form_ends_the_reading_by_name(ground: &Ground) {
    let (cluster, name) = (ground.small_cluster(), installation());
    let mut peer = Peer::open(cluster.settings(&name));
    peer.append(SOURCE.batch(0..3)).unwrap();
    let newer = proposed(Uuid::new_v4(), "login", "{}", r#"{"lastseen":2}"#);
    let stream = format!("{}newer", prefix(&name));
    let at = wait(cluster.raw_leader().append(&stream, Expect::Any, vec![newer])).unwrap().position();
    let told = standstill(&peer);
    assert!(told.contains(&format!("position {at} has form 2")), "{told}");
    assert_eq!(peer.history().facts.len(), 3);
    peer.stop();
    let told = refused(&peer.start());
    assert!(told.contains("install the newest version"), "{told}");
}

/// Records of others in streams of Lastseen are left out, and what follows them is taken in.
pub(crate) fn foreign_records_are_left_out(ground: &Ground) {
    let (cluster, name) = (ground.small_cluster(), installation());
    let mut peer = Peer::open(cluster.settings(&name));
    peer.append(SOURCE.batch(0..3)).unwrap();
    let stream = cluster.seen(&prefix(&name))[0].stream.clone();
    let raw = cluster.raw_leader();
    let ours = r#"{"lastseen":1}"#;
    for (event_type, data, metadata) in [
        ("login", "{}", ""),
        ("login", "{}", "{}"),
        ("login", "no json", ours),
        ("login", r#"{"tenant_id":"t"}"#, ours),
        ("other", r#"{"tenant_id":"t","user_id":"u","occurred_at":"2026-01-01T00:00:00Z"}"#, ours),
    ] {
        let foreign = proposed(Uuid::new_v4(), event_type, data, metadata);
        wait(raw.append(&stream, Expect::Any, vec![foreign])).unwrap();
    }
    let appended = peer.append(SOURCE.batch(3..5)).unwrap();
    assert_eq!(appended.stored, 2);
    assert_eq!(peer.history().facts.len(), 5);
    assert!(peer.store().health().standstills.is_empty());
    // The last record is a foreign one when a node begins again.
    let foreign = proposed(Uuid::new_v4(), "login", "{}", "");
    wait(raw.append(&stream, Expect::Any, vec![foreign])).unwrap();
    peer.stop();
    peer.start().unwrap();
    assert_eq!(peer.append(SOURCE.batch(5..6)).unwrap().stored, 1);
    assert_eq!(peer.history().facts.len(), 6);
}
