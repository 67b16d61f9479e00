//! A node follows its cluster: through ends of subscriptions, outages, absence, and from the backup of another node.

use std::time::{Duration, Instant};

use eventstoredb_emulator::Options;
use lastseen_event::BatchName;
use lastseen_log::{Disk, backup};
use lastseen_store::contract::Source;
use lastseen_store::{AppendError, EventStore, Part, RetractOutcome};

use crate::cluster::{Emulated, TestCluster};
use crate::ground::{Ground, installation, prefix};
use crate::model::Model;
use crate::peer::Peer;
use crate::waiting::{until, wait};

const SOURCE: Source = Source { series: 5 };

/// Time on a processor that threads of stores have taken so far.
fn time_of_threads() -> Duration {
    /// Ticks of the kernel's accounting in a second.
    const TICKS: u64 = 100;
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let Ok(stat) = std::fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (name, rest) = stat.split_once(") ").unwrap();
        if name.ends_with("(cluster") {
            let fields: Vec<&str> = rest.split(' ').collect();
            // The 14th and 15th field of the line.
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    Duration::from_millis(ticks * 1_000 / TICKS)
}

/// A server or a proxy ends subscriptions without an error: they are begun anew, and no thread spins meanwhile.
pub(crate) fn a_subscription_that_ends_without_an_error_is_begun_anew(_: &Ground) {
    let (cluster, name) = (Emulated::start(Options::default()), installation());
    let peers = [0, 1].map(|_| Peer::open(cluster.settings(&name)));
    for round in 0..10 {
        cluster.script().faults().end_subscriptions();
        peers[0].append(SOURCE.batch(round..round + 1)).unwrap();
        let last = Model::of(&cluster.seen(&prefix(&name))).last;
        for peer in &peers {
            peer.reach(last);
        }
    }
    let (before, begun) = (time_of_threads(), Instant::now());
    cluster.script().faults().end_subscriptions();
    until("a second has passed", || begun.elapsed() >= Duration::from_secs(1));
    let taken = time_of_threads().saturating_sub(before);
    assert!(taken < Duration::from_millis(400), "threads took {taken:?} of a second");
    peers[0].append(SOURCE.batch(10..11)).unwrap();
    let last = Model::of(&cluster.seen(&prefix(&name))).last;
    for peer in &peers {
        peer.reach(last);
    }
    peers[0].history().assert_same(&peers[1].history());
    assert!(peers.iter().all(|peer| peer.store().health().standstills.is_empty()));
}

/// A node that was away has afterwards what the others have; one that begins with nothing, too.
pub(crate) fn a_node_that_was_away_catches_up(ground: &Ground) {
    let (cluster, name) = (ground.cluster(), installation());
    let settings = cluster.settings(&name);
    let (mut away, other) =
        (Peer::open(settings.clone()).with_segments_of(100), Peer::open(settings.clone()));
    away.append(SOURCE.batch(0..300)).unwrap();
    for round in 1..4 {
        away.stop();
        other.append(SOURCE.batch(round * 300..round * 300 + 250)).unwrap();
        away.start().unwrap();
        // It is there as soon as it is open.
        let history = away.history();
        assert_eq!(history.facts.len(), 300 + 250 * usize::try_from(round).unwrap());
        history.assert_same(&other.history());
    }
    let empty = Peer::open(settings);
    empty.history().assert_same(&other.history());
    away.stop();
    away.delete();
    away.start().unwrap();
    away.history().assert_same(&other.history());
}

/// A node begins with the backup of another one, and goes on from there.
pub(crate) fn a_node_begins_with_a_backup_of_another_one(ground: &Ground) {
    let (cluster, name) = (ground.small_cluster(), installation());
    let settings = cluster.settings(&name);
    let one = Peer::open(settings.clone()).with_segments_of(100);
    one.append(SOURCE.batch(0..500)).unwrap();
    let mut other = Peer::new(settings);
    let (from, to): (std::sync::Arc<dyn Disk>, _) = (one.disk(), other.disk());
    let copied = backup(&from, &to, |_, _| ()).unwrap();
    assert_eq!(copied.events, 500);
    one.append(SOURCE.batch(500..700)).unwrap();
    other.start().unwrap();
    other.history().assert_same(&one.history());
    assert_eq!(other.append(SOURCE.batch(600..800)).unwrap().stored, 100);
    one.reach(Model::of(&cluster.seen(&prefix(&name))).last);
    other.history().assert_same(&one.history());
    assert_eq!(other.store().lineage().log_id(), one.store().lineage().log_id());
}

/// A start without the cluster goes on with the copy, says so, and follows once the cluster is there.
pub(crate) fn a_start_without_the_cluster_goes_on_with_the_copy(ground: &Ground) {
    let (cluster, name) = (ground.small_cluster(), installation());
    let mut peer = Peer::open(cluster.settings(&name));
    peer.append(SOURCE.batch(0..100)).unwrap();
    let before = peer.history();
    peer.stop();
    (0..cluster.nodes()).for_each(|node| cluster.kill(node));
    let begun = Instant::now();
    let outcome = peer.start();
    let took = begun.elapsed();
    let told = outcome.as_ref().ok().map(|()| {
        let lag = peer.store().gauges().lag.unwrap();
        (peer.store().health(), lag, peer.append(SOURCE.batch(100..110)))
    });
    (0..cluster.nodes()).for_each(|node| cluster.start(node));
    let (health, lag, answer) = told.unwrap_or_else(|| panic!("{outcome:?}"));
    assert!(took >= cluster.timing().contact, "{took:?}");
    let found = health.standstills.iter().find(|it| it.part == Part::Cluster);
    assert!(found.is_some_and(|it| !it.is_final), "{health:?}");
    assert!(!lag.is_connected && lag.positions.is_none(), "{lag:?}");
    assert!(matches!(answer, Err(AppendError::Unavailable(_))), "{answer:?}");
    before.assert_same(&peer.history());
    until("the cluster is followed again", || {
        let lag = peer.store().gauges().lag.unwrap();
        lag.is_connected && lag.positions == Some(0)
    });
    assert_eq!(peer.append(SOURCE.batch(100..110)).unwrap().stored, 10);
    until("no part stands still", || peer.store().health().standstills.is_empty());
}

/// A batch is taken back at either node, also at both at once; events that come later are refused at both.
pub(crate) fn a_batch_is_taken_back_from_either_node(ground: &Ground) {
    let (cluster, name) = (ground.cluster(), installation());
    let peers = [0, 1].map(|_| Peer::open(cluster.settings(&name)));
    peers[0].append(SOURCE.batch(0..200)).unwrap();
    let last = Model::of(&cluster.seen(&prefix(&name))).last;
    for peer in &peers {
        peer.reach(last);
    }
    let runs: Vec<String> =
        peers[0].store().batches().iter().map(|(_, batch)| batch.name().to_owned()).collect();
    assert!(runs.len() >= 6);
    let retract = |peer: &Peer, run: &str, events| {
        wait(peer.store().retract(BatchName::new(run).unwrap(), events)).unwrap()
    };
    assert_eq!(retract(&peers[0], "none", None), RetractOutcome::Unknown);
    assert_eq!(retract(&peers[1], &runs[0], Some(7)), RetractOutcome::CountChanged { events: 1 });
    let first = retract(&peers[0], &runs[0], Some(1));
    let RetractOutcome::Retracted(position) = first else { panic!("{first:?}") };
    peers[1].reach(position.get());
    assert_eq!(retract(&peers[1], &runs[0], None), first, "once for ever");
    let outcomes = std::thread::scope(|scope| {
        peers
            .each_ref()
            .map(|peer| scope.spawn(|| retract(peer, &runs[3], None)))
            .map(|it| it.join().unwrap())
    });
    assert_eq!(outcomes[0], outcomes[1], "one of them was first");
    for peer in &peers {
        peer.reach(Model::of(&cluster.seen(&prefix(&name))).last);
        let batch = SOURCE.batch(0..200);
        let rows: Vec<usize> = (0..batch.len())
            .filter(|row| {
                let name = batch.batch_name(*row).map(|name| name.as_str().to_owned());
                name.is_some_and(|name| name == runs[0] || name == runs[3])
            })
            .collect();
        match peer.append(batch) {
            Err(AppendError::Refused(refused)) => assert_eq!(refused.retracted, rows),
            other => panic!("{other:?}"),
        }
    }
    let model = Model::of(&cluster.seen(&prefix(&name)));
    assert_eq!(model.retracted.len(), 2);
    let [one, other] = peers.each_ref().map(Peer::history);
    one.assert_same(&other);
    model.assert_is(&one);
}
