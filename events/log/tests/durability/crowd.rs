//! Many publishers at once, so that a group has several requests, with sealing on its own thread; the power goes at any
//! operation. What was acknowledged is there, once, whole, whoever sent it.

use std::collections::HashSet;
use std::sync::Arc;

use lastseen_event::{EventId, Position};
use lastseen_log::{FaultDisk, LogOptions, Sealing};
use lastseen_store::contract::Source;
use lastseen_store::{EventStore, OnRefused};

use crate::history::{check_verified, read_above};
use crate::support::{Chance, clock, multiplier, on_all_cores, open, options, wait};

const PUBLISHERS: u32 = 6;
const BATCHES: u64 = 40;
const BATCH: u64 = 3;

fn small() -> LogOptions {
    LogOptions {
        recent_ids: 30,
        segment_events: 40,
        sealing: Sealing::Background,
        segment_age: std::time::Duration::from_millis(40),
        ..options(3_000)
    }
}

/// The batches of each publisher that were acknowledged, by number, until the power went. Counts groups of several requests.
fn publish(disk: &FaultDisk) -> (Vec<Vec<u64>>, u64) {
    let Ok(log) = open(disk, &small(), clock(1)) else { return (Vec::new(), 0) };
    let acknowledged = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|series| {
                let log = &log;
                scope.spawn(move || {
                    let batch = |number| Source { series }.batch(number * BATCH..(number + 1) * BATCH);
                    let sent =
                        |number: &u64| wait(log.append(batch(*number), OnRefused::RefuseBatch)).is_ok();
                    (0..BATCHES).take_while(sent).collect::<Vec<_>>()
                })
            })
            .collect();
        publishers.into_iter().map(|it| it.join().expect("does not panic")).collect::<Vec<_>>()
    });
    let requests: u64 = acknowledged.iter().map(|batches| batches.len() as u64).sum();
    (acknowledged, requests)
}

/// The ids of a publisher's batch.
fn ids(series: u32, number: u64) -> Vec<EventId> {
    Source { series }.batch(number * BATCH..(number + 1) * BATCH).iter().map(|event| event.id).collect()
}

/// Takes the power away from a crowd; how many batches had been acknowledged.
fn cut(seed: u64) -> u64 {
    let disk = FaultDisk::default();
    disk.cut_power_at(10 + Chance::new(seed).below(700));
    let (acknowledged, requests) = publish(&disk);
    for state in 0..3 {
        let left = disk.after_power_cut(seed * 5 + state);
        let log = open(&left, &small(), clock(1)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = read_above(&log, Position::START).expect("readable");
        let all: Vec<EventId> = found.facts.iter().map(|fact| fact.id).collect();
        let once: HashSet<EventId> = all.iter().copied().collect();
        assert_eq!(all.len(), once.len(), "seed {seed}: stored twice");
        for (series, batches) in (0..).zip(&acknowledged) {
            for number in 0..BATCHES {
                let there = ids(series, number).iter().filter(|id| once.contains(id)).count();
                let is_whole = there == 0 || there as u64 == BATCH;
                assert!(is_whole, "seed {seed}: publisher {series}, batch {number}: {there} events of it");
                assert!(
                    there > 0 || !batches.contains(&number),
                    "seed {seed}: publisher {series}, batch {number} was acknowledged, and is lost"
                );
            }
        }
        log.close();
        check_verified(&Arc::new(left).as_ref().clone(), None).expect("is sound");
    }
    requests
}

#[test]
fn what_a_crowd_was_told_survives_a_power_cut() {
    let acknowledged = on_all_cores(0..60 * multiplier(), cut);
    println!("{acknowledged} batches of a crowd were acknowledged before the power went");
    assert!(acknowledged > 1_000);
}
