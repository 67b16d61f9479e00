//! The answers to publishers: repeats, conflicts, outcomes that are not known; and users of the cluster.

use std::sync::Barrier;

use eventstoredb_emulator::{AppendFault, FAULTS_MAX, Options, TlsFiles, User};
use lastseen_event::{Event, EventBatch, EventType, TenantId, UserId, UtcInstant};
use lastseen_eventstoredb::{ClusterSettings, Credentials, grant_read};
use lastseen_store::contract::{Source, event_id};
use lastseen_store::{AppendError, EventStore, OnRefused, error_chain};
use lastseen_tests::Authority;
use tempfile::TempDir;

use crate::cluster::{Emulated, TestCluster};
use crate::ground::{Ground, installation, prefix};
use crate::journal::Journal;
use crate::model::Model;
use crate::peer::Peer;
use crate::waiting::wait;

const SOURCE: Source = Source { series: 3 };

fn both(cluster: &dyn TestCluster, name: &str) -> [Peer; 2] {
    [0, 1].map(|_| Peer::open(cluster.settings(name)))
}

/// Both nodes have what the records say; the number of events.
#[track_caller]
fn agree(cluster: &dyn TestCluster, name: &str, peers: &[Peer; 2]) -> usize {
    let model = Model::of(&cluster.seen(&prefix(name)));
    for peer in peers {
        peer.reach(model.last);
    }
    let [one, other] = peers.each_ref().map(Peer::history);
    one.assert_same(&other);
    model.assert_is(&one);
    one.facts.len()
}

/// The cluster forgets ids when its leader is gone; an event that is sent again then is stored twice there, and kept once.
pub(crate) fn an_id_that_the_cluster_has_forgotten_is_kept_once(ground: &Ground) {
    let (cluster, name) = (ground.cluster(), installation());
    let peers = both(cluster.as_ref(), &name);
    peers[0].append(SOURCE.batch(0..20)).unwrap();
    let before = cluster.seen(&prefix(&name));
    let leader = cluster.wait_for_leader();
    cluster.kill(leader);
    let raw = cluster.raw_leader();
    // As a node sends them that has not seen them yet; one with other content.
    for (number, record) in before.iter().enumerate() {
        let mut content: serde_json::Value = serde_json::from_slice(&record.data).unwrap();
        if number == 7 {
            content["occurred_at"] = "2020-02-02T02:02:02Z".into();
        }
        let data = serde_json::to_vec(&content).unwrap();
        let position = raw.append_again(record, &data);
        assert!(position > before.last().unwrap().position, "it was forgotten");
    }
    cluster.start(leader);
    // Nodes that know them send them no more.
    let again = peers[1].append(SOURCE.batch(0..20)).unwrap();
    assert_eq!((again.stored, again.duplicates), (0, 20));
    assert_eq!(peers[0].append(SOURCE.batch(20..21)).unwrap().stored, 1);
    assert_eq!(agree(cluster.as_ref(), &name, &peers), 21);
    assert_eq!(cluster.seen(&prefix(&name)).len(), 41);
}

/// One id with two contents at both nodes at the same time: both keep the same first one.
pub(crate) fn of_two_contents_both_nodes_keep_the_first(ground: &Ground) {
    const IDS: u64 = 60;
    let cluster = ground.cluster_with(|options| {
        options.nodes = 3;
        // Nothing is known again: each is stored twice.
        options.recent_bytes_max = 0;
    });
    let name = installation();
    let peers = both(cluster.as_ref(), &name);
    let barrier = Barrier::new(2);
    let answers = std::thread::scope(|scope| {
        let threads = peers.each_ref().map(|peer| {
            let (barrier, shift_us) = (&barrier, i64::from(std::ptr::eq(peer, &raw const peers[1])));
            scope.spawn(move || {
                let mut stored = 0;
                for number in 0..IDS {
                    let mut batch = EventBatch::default();
                    SOURCE.push(&mut batch, number, shift_us);
                    barrier.wait();
                    match peer.append(batch) {
                        Ok(appended) => stored += appended.stored as u64,
                        Err(AppendError::Refused(rows)) => assert_eq!(rows.conflicts, [0]),
                        Err(other) => panic!("{other:?}"),
                    }
                }
                stored
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    assert!(answers.iter().sum::<u64>() >= IDS, "{answers:?}");
    assert_eq!(agree(cluster.as_ref(), &name, &peers) as u64, IDS);
}

/// Some events of a batch have an answer and some have none: the answer tells which.
pub(crate) fn an_answer_tells_which_rows_are_unknown(_: &Ground) {
    const EVENTS: u64 = 12;
    let (cluster, name) = (Emulated::start(Options::default()), installation());
    let peer = Peer::open(cluster.settings(&name));
    let mut journal = Journal::default();
    let accidents = [
        (0, 5, AppendFault::AbortedNotStored),
        (1, 0, AppendFault::AbortedNotStored),
        (2, 0, AppendFault::Refuse),
        (3, 3, AppendFault::AbortedButStored),
    ];
    for (round, good, fault) in accidents {
        let batch = SOURCE.batch(round * EVENTS..(round + 1) * EVENTS);
        let faults = cluster.script().faults();
        faults.append_after(good, fault);
        (1..FAULTS_MAX).for_each(|_| faults.next_append(fault));
        let answer = peer.append(batch.clone());
        faults.clear();
        let Err(AppendError::PartlyUnknown { unknown, .. }) = &answer else {
            panic!("expected to be told apart, got {answer:?}");
        };
        let expected: Vec<usize> = (good as usize..batch.len()).collect();
        assert_eq!(*unknown, expected, "{fault:?}: the rows behind those that are stored");
        journal.note(&batch, OnRefused::RefuseBatch, &answer);
        let model = Model::of(&cluster.seen(&prefix(&name)));
        journal.assert_true(&model);
        let again = peer.append(batch.clone()).unwrap();
        assert_eq!(again.stored + again.duplicates, batch.len());
        journal.note(&batch, OnRefused::RefuseBatch, &Ok(again));
        journal.assert_true(&Model::of(&cluster.seen(&prefix(&name))));
    }
    Model::of(&cluster.seen(&prefix(&name))).assert_is(&peer.history());
}

/// While nothing was sent, nothing is unknown.
pub(crate) fn an_append_to_a_cluster_that_is_away_writes_nothing(ground: &Ground) {
    let (cluster, name) = (ground.small_cluster(), installation());
    let peer = Peer::open(cluster.settings(&name));
    peer.append(SOURCE.batch(0..3)).unwrap();
    (0..cluster.nodes()).for_each(|node| cluster.kill(node));
    let answers = [0, 1].map(|_| peer.append(SOURCE.batch(3..6)));
    (0..cluster.nodes()).for_each(|node| cluster.start(node));
    // The first finds out with what it sent; the second has nobody to send to.
    assert!(matches!(answers[1], Err(AppendError::Unavailable(_))), "{answers:?}");
    let appended = peer.append(SOURCE.batch(3..6)).unwrap();
    assert_eq!(appended.stored + appended.duplicates, 3);
    assert_eq!(peer.history().facts.len(), 6);
}

/// The longest names and the most events that the port allows, of one member and of many: within every limit of the server.
pub(crate) fn the_largest_batch_is_taken(ground: &Ground) {
    let (cluster, name) = (ground.small_cluster(), installation());
    let peer = Peer::open(cluster.settings(&name));
    let user = "\u{1}".repeat(128);
    let mut of_one = EventBatch::default();
    for number in 0..10_000 {
        let names = (
            TenantId::new("\"\"\"").unwrap(),
            UserId::new(&user).unwrap_or_else(|_| UserId::new("u").unwrap()),
        );
        let at = UtcInstant::from_micros(1_700_000_000_000_000);
        of_one.push(&Event::new(event_id(number), EventType::Login, names, at)).unwrap();
    }
    assert_eq!(peer.append(of_one).unwrap().stored, 10_000);
    assert_eq!(peer.append(SOURCE.batch(0..10_000)).unwrap().stored, 10_000);
    let model = Model::of(&cluster.seen(&prefix(&name)));
    model.assert_is(&peer.history());
}

const PASSWORD: &str = "p%40 ss:/ü@";

fn with_a_user() -> Options {
    let user = User { name: "plain".to_owned(), password: PASSWORD.to_owned() };
    Options { users: vec![user], ..Options::default() }
}

/// A user who may not read `$all` is told the command that gives it; a password may have any character.
pub(crate) fn a_user_without_the_right_to_read_is_told_the_command(_: &Ground) {
    let cluster = Emulated::start(with_a_user()).with_user("plain", PASSWORD);
    let name = installation();
    let settings = cluster.settings(&name);
    let mut peer = Peer::new(settings.clone());
    let told = error_chain(&peer.start().unwrap_err());
    assert!(told.contains("does not let plain read $all"), "{told}");
    assert!(told.contains("lastseen cluster grant plain --store ADDRESS"), "{told}");
    let as_user = |user: &str, password: &str| {
        let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
        let mut settings = ClusterSettings::new(&cluster.address(), Some(credentials)).unwrap();
        settings.timing = cluster.timing();
        settings.for_installation(&name).unwrap()
    };
    let refused = wait(grant_read(settings.clone(), "plain"));
    assert!(refused.is_err(), "only an administrator gives it");
    wait(grant_read(as_user("admin", "changeit"), "plain")).unwrap();
    peer.start().unwrap();
    assert_eq!(peer.append(SOURCE.batch(0..5)).unwrap().stored, 5);
    // Whoever has a wrong password has no need of rights.
    let mut wrong = Peer::new(as_user("plain", "wrong"));
    let told = error_chain(&wrong.start().unwrap_err());
    assert!(told.contains("does not let plain") && !told.contains("cluster grant"), "{told}");
}

/// TLS with an authority of one's own, and users.
pub(crate) fn a_cluster_with_certificates_of_its_own_is_followed(_: &Ground) {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new("the cluster's");
    let certified = authority.certify(&["127.0.0.1", "localhost"]);
    let [ca, certificate, key] = ["ca.crt", "node.crt", "node.key"].map(|file| dir.path().join(file));
    std::fs::write(&ca, authority.pem()).unwrap();
    std::fs::write(&certificate, certified.certificate).unwrap();
    std::fs::write(&key, certified.key).unwrap();
    let other = dir.path().join("other.crt");
    std::fs::write(&other, Authority::new("another one's").pem()).unwrap();
    let tls = Some(TlsFiles { certificate, key });
    let cluster =
        Emulated::start(Options { nodes: 3, tls, ..Options::default() }).with_user("admin", "changeit");
    let cluster = cluster.with_parameters(&format!("&tlsCaFile={}", ca.display()));
    let name = installation();
    let peers = both(&cluster, &name);
    peers[0].append(SOURCE.batch(0..50)).unwrap();
    let leader = cluster.wait_for_leader();
    cluster.kill(leader);
    peers[1].append(SOURCE.batch(50..100)).unwrap();
    cluster.start(leader);
    assert_eq!(agree(&cluster, &name, &peers), 100);
    // Certificates of an authority that is not named are not believed: the copy goes on alone, and says so.
    let [mut away, _] = peers;
    away.stop();
    let address = cluster.address().replace("ca.crt", "other.crt");
    let mut settings = ClusterSettings::new(&address, cluster.credentials()).unwrap();
    settings.timing = cluster.timing();
    away.settings = settings.for_installation(&name).unwrap();
    away.start().unwrap();
    let health = away.store().health();
    assert!(!health.standstills.is_empty() && !health.needs_restart(), "{health:?}");
}
