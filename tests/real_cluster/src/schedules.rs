//! Random fault schedules: two nodes of Lastseen on three of a cluster, publishers at both, and accidents in an order that a seed
//! decides. At the end everything heals; then nothing that was acknowledged is lost, nothing is there twice, and both nodes have what
//! follows from the records of the cluster.

mod accidents;
mod publishers;
mod recovery;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use eventstoredb_emulator::{Options, ServerVersion};
use lastseen_event::EventBatch;
use lastseen_store::contract::Source;
use lastseen_store::{EventStore, OnRefused};
use lastseen_tests::Seeded;
use parking_lot::Mutex;

use self::accidents::Script;
use self::publishers::{Publishers, Site};
pub(crate) use self::recovery::Recoveries;
use crate::cluster::{Emulated, TestCluster};
use crate::ground::{Ground, installation, prefix};
use crate::journal::Journal;
use crate::model::Model;
use crate::peer::Peer;
use crate::waiting::{WITHIN, until, wait, within};

/// Schedules at once: they mostly wait.
const AT_ONCE: usize = 8;

/// All seeds, several at once. Names those that failed.
pub(crate) fn no_schedule_of_faults_loses_or_doubles_an_event(ground: &Ground) {
    let seeds = Mutex::new(ground.seeds.iter().copied().collect::<VecDeque<u64>>());
    let failed = Mutex::new(Vec::new());
    let told = Mutex::new(std::collections::BTreeMap::<&str, u64>::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(ground.seeds.len()) {
            scope.spawn(|| {
                loop {
                    let Some(seed) = seeds.lock().pop_front() else { break };
                    match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                        Ok(journal) => {
                            let mut told = told.lock();
                            *told.entry("events").or_default() += journal.len() as u64;
                            journal
                                .told
                                .iter()
                                .for_each(|(kind, count)| *told.entry(kind).or_default() += count);
                        }
                        Err(_) => failed.lock().push(seed),
                    }
                }
            });
        }
    });
    eprintln!("{} schedules; answers: {:?}", ground.seeds.len(), told.into_inner());
    let failed = failed.into_inner();
    assert!(failed.is_empty(), "run these again with LASTSEEN_CLUSTER_SEED=n: {failed:?}");
}

/// One schedule.
fn run(seed: u64) -> Journal {
    let mut numbers = Seeded::new(seed);
    let version = *numbers.pick(&[ServerVersion::V23_10, ServerVersion::V24_10]);
    // Ids are soon forgotten in some.
    let recent_bytes_max = *numbers.pick(&[0, 2_000, 8 << 20]);
    let cluster = Emulated::start(Options { nodes: 3, version, recent_bytes_max, ..Options::default() });
    let name = installation();
    let segments = *numbers.pick(&[50, 1_000_000]);
    let mut settings = cluster.settings(&name);
    // Publishers are told soon in some that an outcome is not known.
    settings.timing.outcome = Duration::from_millis(*numbers.pick(&[100, 600, 4_000]));
    let site = |_| {
        let mut peer = Peer::new(settings.clone()).with_segments_of(segments);
        peer.start().unwrap();
        Arc::new(Site::new(peer))
    };
    let sites: [Arc<Site>; 2] = [0, 1].map(site);
    let recoveries = Arc::new(Recoveries::default());
    let publishers = Publishers::start(&sites, seed, &recoveries);
    let mut script = Script::new(&cluster, &sites, &publishers, numbers);
    script.run();
    script.heal();
    let _story = script.story();
    let mut journal = publishers.stop();
    recoveries.tell();
    send_again(&sites, &mut journal);
    publish_last(&sites, &mut journal, seed);
    check(&cluster, &prefix(&name), &sites, &journal);
    journal
}

/// The leader is killed under load, more than once: a node of any cluster, by whatever ends its process.
pub(crate) fn a_leader_is_killed_under_load(ground: &Ground) {
    under_load(
        ground,
        "leader killed under load",
        |cluster, leader| cluster.kill(leader),
        |cluster, leader| cluster.start(leader),
    );
}

/// The leader falls silent under load, and wakes once another one leads.
pub(crate) fn a_leader_is_frozen_under_load(ground: &Ground) {
    under_load(
        ground,
        "leader frozen under load",
        |cluster, leader| cluster.freeze(leader),
        |cluster, leader| cluster.thaw(leader),
    );
}

fn under_load(
    ground: &Ground,
    kind: &'static str,
    lose: fn(&dyn TestCluster, usize),
    bring_back: fn(&dyn TestCluster, usize),
) {
    const ROUNDS: u64 = 3;
    let (cluster, name) = (ground.cluster(), installation());
    let site = |_| Arc::new(Site::new(Peer::open(cluster.settings(&name))));
    let sites: [Arc<Site>; 2] = [0, 1].map(site);
    let recoveries = Arc::new(Recoveries::default());
    let publishers = Publishers::start(&sites, 0, &recoveries);
    for _ in 0..ROUNDS {
        let wanted = publishers.answered() + 20;
        // In this order: what the last round left behind has ended once publishers are answered.
        until("publishers are answered", || publishers.answered() >= wanted);
        until("all nodes run", || cluster.is_whole());
        let leader = cluster.wait_for_leader();
        publishers.accident(kind);
        lose(cluster.as_ref(), leader);
        let is_over = within(WITHIN, || recoveries.is_over());
        let health = sites.each_ref().map(|site| site.store().map(|store| store.health().standstills));
        assert!(is_over, "no append succeeds again: {health:?}");
        let other = cluster.wait_for_leader();
        bring_back(cluster.as_ref(), leader);
        assert_ne!(other, leader, "another node leads");
        until("one node leads", || cluster.leader().is_some());
    }
    let mut journal = publishers.stop();
    recoveries.tell();
    send_again(&sites, &mut journal);
    publish_last(&sites, &mut journal, 0);
    check(cluster.as_ref(), &prefix(&name), &sites, &journal);
}

/// Sends everything without a full answer again, to the other node as well; each must succeed now.
fn send_again(sites: &[Arc<Site>; 2], journal: &mut Journal) {
    for (at, batch) in journal.take_unknown().into_iter().enumerate() {
        let store = sites[at % 2].store().expect("it is open");
        until("what is sent again to a cluster that is well has an answer", || {
            let again = wait(store.append(batch.clone(), OnRefused::Skip));
            journal.note(&batch, OnRefused::Skip, &again);
            again.is_ok()
        });
    }
    journal.take_unknown();
}

/// One more event at each: both go on.
fn publish_last(sites: &[Arc<Site>; 2], journal: &mut Journal, seed: u64) {
    for (site, number) in sites.iter().zip(0_u64..) {
        let mut batch = EventBatch::default();
        let series = u32::try_from(seed % 1_000_000).unwrap();
        Source { series }.push_of(&mut batch, "last", (u64::from(u32::MAX) - number, 0));
        let store = site.store().expect("it is open");
        until("an event is stored at the end", || {
            let answer = wait(store.append(batch.clone(), OnRefused::RefuseBatch));
            journal.note(&batch, OnRefused::RefuseBatch, &answer);
            answer.is_ok()
        });
    }
}

fn check(cluster: &dyn TestCluster, prefix: &str, sites: &[Arc<Site>; 2], journal: &Journal) {
    let model = Model::of(&cluster.seen(prefix));
    for site in sites {
        let tail = site.store().unwrap().tail();
        until("a node catches up", || tail.position().get() >= model.last);
    }
    let histories = sites.each_ref().map(|site| site.history());
    histories[0].assert_same(&histories[1]);
    for history in &histories {
        model.assert_is(history);
    }
    journal.assert_true(&model);
    // A node that begins with nothing comes to the same.
    sites[0].with(|peer| {
        peer.stop();
        peer.delete();
        peer.start().unwrap();
        peer.reach(model.last);
        peer.history().assert_same(&histories[1]);
    });
}

/// The longest pause of a script between two accidents.
const PACE: Duration = Duration::from_millis(250);
