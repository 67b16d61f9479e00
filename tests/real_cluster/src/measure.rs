//! Measures the store beside the bare client, in one run: rates of appends, catching up, the time until appends succeed again.
//!
//! `cargo bench --bench cluster`, or the prebuilt program with the argument `measure`. Everything is on one machine: over the
//! emulator, its three nodes take most of the processor, and all figures are those of an emulator, not of a database.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use eventstore::{
    BatchAppendOptions, Client, ClientSettings, EventData, StreamPosition, StreamState,
    SubscribeToAllOptions, SubscriptionFilter,
};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lastseen_event::{Event, EventBatch, EventId, EventType, TenantId, UserId, UtcInstant};
use lastseen_store::{EventStore, OnRefused};
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

use crate::cluster::{Ability, TestCluster};
use crate::ground::{Ground, installation, variable};
use crate::peer::Peer;
use crate::waiting::wait;

/// Events of each phase of each round.
const EVENTS: usize = 60_000;
const ROUNDS: usize = 3;
/// Appends of the bare client at once, and events of the store.
const IN_FLIGHT: usize = 1_024;

/// Runs all measurements and prints them.
pub(crate) fn run() -> ExitCode {
    let ground = Ground::of_environment();
    let events = variable("LASTSEEN_CLUSTER_EVENTS").map_or(EVENTS, |number| number.parse().unwrap());
    let cluster = ground.cluster_to_measure();
    println!(
        "{}, {} nodes, {events} events a phase, {ROUNDS} rounds in turns",
        ground.name(),
        cluster.nodes()
    );
    let name = installation();
    let mut settings = cluster.settings(&name);
    settings.timing = lastseen_eventstoredb::Timing::default();
    let peer = Peer::open(settings);
    let appended = rates(cluster.as_ref(), &peer, events);
    alone(&peer);
    catch_up(cluster.as_ref(), &name, appended);
    for (what, ability) in [("killed", Ability::Kill), ("frozen", Ability::Freeze)] {
        match ground.lacks(ability) {
            Some(lacking) => println!("leader {what}: not measured: {lacking}"),
            None => fail_over(cluster.as_ref(), &peer, what),
        }
    }
    ExitCode::SUCCESS
}

/// A login of one of many members, each with a stream of its own.
fn login(batch: &mut EventBatch, number: u64) {
    let user = format!("usr_{number:012}");
    let member = (TenantId::new("acme").unwrap(), UserId::new(&user).unwrap());
    let at = UtcInstant::from_micros(1_767_715_200_000_000 + i64::try_from(number).unwrap());
    let id = EventId::new(Uuid::new_v4()).unwrap();
    batch.push(&Event::new(id, EventType::Login, member, at)).unwrap();
}

fn logins(first: u64, events: usize) -> EventBatch {
    let mut batch = EventBatch::with_capacity(events);
    (first..).take(events).for_each(|number| login(&mut batch, number));
    batch
}

/// Time of the processor that this process has used.
fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.try_into().unwrap(), used.tv_nsec.try_into().unwrap())
}

/// Events in a second, and the time of the processor for one of them.
fn measured(events: usize, work: impl FnOnce()) -> (f64, Duration) {
    let (begun, used) = (Instant::now(), processor_time());
    work();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 events")]
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    (rate, processor_time().saturating_sub(used) / u32::try_from(events).unwrap())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// The bare client and the store in turns. Returns the events that the store has appended.
fn rates(cluster: &dyn TestCluster, peer: &Peer, events: usize) -> usize {
    let (mut bare_rates, mut rates, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut first, prefix) = (0, installation());
    for _ in 0..ROUNDS {
        let (bare_rate, bare_cost) = measured(events, || wait(bare(cluster, &prefix, events)));
        let (rate, cost) = measured(events, || wait(store(peer, first, events)));
        first += events as u64;
        println!(
            "bare client {bare_rate:.0} events/s, {bare_cost:?} an event; store {rate:.0} events/s, {cost:?} an event"
        );
        bare_rates.push(bare_rate);
        rates.push(rate);
        costs.push(cost.saturating_sub(bare_cost));
    }
    costs.sort();
    let (bare_rate, rate) = (median(bare_rates), median(rates));
    println!(
        "medians: bare client {bare_rate:.0} events/s, store {rate:.0} events/s: {:.0} %; the store and its copy take {:?} of a \
         processor an event more",
        100.0 * rate / bare_rate,
        costs[costs.len() / 2]
    );
    events * ROUNDS
}

fn client(cluster: &dyn TestCluster) -> (Client, BatchAppendOptions, SubscribeToAllOptions) {
    let settings: ClientSettings = cluster.address().parse().unwrap();
    let (mut append, mut subscribe) = (BatchAppendOptions::default(), SubscribeToAllOptions::default());
    if let Some(known) = cluster.credentials() {
        let known = eventstore::Credentials::new(known.user, known.password);
        append = append.authenticated(known.clone());
        subscribe = subscribe.authenticated(known);
    }
    (Client::new(settings).unwrap(), append, subscribe)
}

/// One event an append, each in a stream of its own, of the size that the store writes.
async fn bare(cluster: &dyn TestCluster, prefix: &str, events: usize) {
    let (client, append, _) = client(cluster);
    let session = client.batch_append(&append).await.unwrap();
    let mut under_way = FuturesUnordered::new();
    for _ in 0..events {
        if under_way.len() == IN_FLIGHT {
            let answer: Option<eventstore::Result<_>> = under_way.next().await;
            answer.unwrap().unwrap();
        }
        let stream = format!("bare_{prefix}-{}", Uuid::new_v4());
        let id = Uuid::new_v4();
        let data = serde_json::json!({
            "id": id, "type": "login", "tenant_id": "acme", "user_id": "usr_000000000000",
            "occurred_at": "2026-01-06T16:00:00.000000Z",
        });
        let data = EventData::json("login", &data).unwrap().id(id).metadata("{\"lastseen\":1}".into());
        under_way.push(session.append_to_stream(stream, StreamState::Any, vec![data]));
    }
    while let Some(answer) = under_way.next().await {
        answer.unwrap();
    }
}

/// Requests of 1,000 events of as many members, four at once.
async fn store(peer: &Peer, first: u64, events: usize) {
    const REQUEST: usize = 1_000;
    const AT_ONCE: usize = 4;
    let store = peer.store();
    let mut under_way = FuturesUnordered::new();
    for begin in (0..events).step_by(REQUEST) {
        if under_way.len() == AT_ONCE {
            let answer: Option<Result<_, _>> = under_way.next().await;
            answer.unwrap().unwrap();
        }
        let batch = logins(first + begin as u64, REQUEST.min(events - begin));
        under_way.push(store.append(batch, OnRefused::RefuseBatch));
    }
    while let Some(answer) = under_way.next().await {
        answer.unwrap();
    }
}

/// Requests of one event, one after the other and 64 at once.
fn alone(peer: &Peer) {
    let mut number = 1_000_000_000;
    for (at_once, events) in [(1, 200), (64, 6_000)] {
        let mut times = Vec::with_capacity(events);
        let (rate, _) = measured(events, || {
            wait(async {
                let store = peer.store();
                let one = |number| async move {
                    let begun = Instant::now();
                    store.append(logins(number, 1), OnRefused::RefuseBatch).await.unwrap();
                    begun.elapsed()
                };
                let mut under_way = FuturesUnordered::new();
                for _ in 0..events {
                    if under_way.len() == at_once {
                        times.extend(under_way.next().await);
                    }
                    number += 1;
                    under_way.push(one(number));
                }
                while let Some(time) = under_way.next().await {
                    times.push(time);
                }
            });
        });
        times.sort();
        println!(
            "requests of one event, {at_once} at once: {rate:.0} events/s, p50 {:?}, p99 {:?}",
            times[times.len() / 2],
            times[times.len() * 99 / 100]
        );
    }
}

/// A node with nothing, beside a bare subscription.
fn catch_up(cluster: &dyn TestCluster, name: &str, events: usize) {
    let prefix = crate::ground::prefix(name);
    let (bare_rate, _) = measured(events, || {
        wait(async {
            let (client, _, subscribe) = client(cluster);
            let filter = SubscriptionFilter::on_stream_name().add_prefix(&prefix).max(4096);
            let options = subscribe.position(StreamPosition::Start).filter(filter);
            let mut subscription = client.subscribe_to_all(&options).await;
            for _ in 0..events {
                subscription.next().await.unwrap();
            }
        });
    });
    let mut settings = cluster.settings(name);
    settings.timing = lastseen_eventstoredb::Timing::default();
    let (rate, cost) = measured(events, || drop(Peer::open(settings)));
    println!(
        "catching up with {events} events: bare subscription {bare_rate:.0} events/s, a new node {rate:.0} events/s ({cost:?} an event)"
    );
}

/// The time from an accident of the leader to the next request that was begun after it and succeeded.
fn fail_over(cluster: &dyn TestCluster, peer: &Peer, what: &str) {
    let mut times = VecDeque::new();
    for round in 0..3_u64 {
        let leader = cluster.wait_for_leader();
        let store = peer.store();
        wait(store.append(logins(2_000_000_000 + round, 1), OnRefused::RefuseBatch)).unwrap();
        let begun = Instant::now();
        if what == "killed" {
            cluster.kill(leader);
        } else {
            cluster.freeze(leader);
        }
        let mut number = 3_000_000_000 + round * 1_000;
        loop {
            number += 1;
            if wait(store.append(logins(number, 1), OnRefused::RefuseBatch)).is_ok() {
                break;
            }
        }
        times.push_back(begun.elapsed());
        if what == "killed" {
            cluster.start(leader);
        } else {
            cluster.thaw(leader);
        }
        // The node that was away is one of three again.
        wait(store.append(logins(4_000_000_000 + round, 1), OnRefused::RefuseBatch)).unwrap();
    }
    println!("leader {what}: appends succeed again after {times:?}");
}
