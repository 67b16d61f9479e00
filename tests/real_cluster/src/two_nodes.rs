//! Two nodes of Lastseen on one cluster: what is published to either is equal on both.

use std::sync::atomic::{AtomicU64, Ordering};

use lastseen_event::{BatchName, EventBatch};
use lastseen_store::contract::Source;
use lastseen_store::{EventStore, OnRefused, RetractOutcome};

use crate::ground::{Ground, installation, prefix};
use crate::journal::Journal;
use crate::model::Model;
use crate::peer::Peer;
use crate::waiting::wait;

/// Publishers at both nodes at once, with ids in common; a batch is taken back at each.
pub(crate) fn events_published_to_either_node_are_equal_on_both(ground: &Ground) {
    let (cluster, name) = (ground.cluster(), installation());
    let settings = cluster.settings(&name);
    let peers = [Peer::open(settings.clone()), Peer::open(settings)];
    let journal = parking_lot::Mutex::new(Journal::default());
    let published = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (peers, journal, published) = (&peers, &journal, &published);
            scope.spawn(move || {
                let peer = &peers[usize::try_from(thread % 2).unwrap()];
                for round in 0..20 {
                    // Half of them are sent by another publisher too.
                    let first = (thread / 2 * 2_000 + thread * 1_000) + round * 50;
                    let batch = Source { series: 1 }.batch(first..first + 100);
                    let answer = peer.append(batch.clone());
                    assert!(answer.is_ok(), "{answer:?}");
                    journal.lock().note(&batch, OnRefused::RefuseBatch, &answer);
                    published.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let mut journal = journal.into_inner();
    let last = Model::of(&cluster.seen(&prefix(&name))).last;
    for peer in &peers {
        peer.reach(last);
    }
    let runs: Vec<String> =
        peers[0].store().batches().iter().map(|(_, batch)| batch.name().to_owned()).collect();
    for (peer, run) in peers.iter().zip([&runs[0], &runs[runs.len() / 2]]) {
        let outcome = wait(peer.store().retract(BatchName::new(run).unwrap(), None)).unwrap();
        assert!(matches!(outcome, RetractOutcome::Retracted(_)), "{run}: {outcome:?}");
        journal.retracted.push(run.clone());
    }
    let model = Model::of(&cluster.seen(&prefix(&name)));
    for peer in &peers {
        peer.reach(model.last);
    }
    let [one, other] = peers.each_ref().map(Peer::history);
    one.assert_same(&other);
    model.assert_is(&one);
    journal.assert_true(&model);
    assert_eq!(one.facts.len(), journal.len());
    // An empty batch adds nothing anywhere.
    assert_eq!(peers[0].append(EventBatch::default()).unwrap().stored, 0);
}
