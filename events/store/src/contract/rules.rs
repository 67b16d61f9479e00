//! The rules. Each panics with what was broken.

use std::collections::{BTreeSet, HashMap, HashSet};

use lastseen_event::{
    BatchName, BatchOrdinal, Event, EventBatch, EventId, EventType, Fact, MemberOrdinal, MemberRef, Position,
    Sighting, TenantId, UserId, UtcInstant,
};

use super::{Source, event_id};
use crate::{
    AppendError, Appended, Detail, EventReader, EventStore, EventTypes, Filter, OnRefused, Part,
    RecordedBatch, RefusedRows, RetractOutcome, Scan, Subscription, TypeCounts,
};

const SOURCE: Source = Source { series: 0 };

async fn append(store: &dyn EventStore, batch: EventBatch) -> Appended {
    store.append(batch, OnRefused::RefuseBatch).await.expect("the append succeeds")
}

fn conflicts<const N: usize>(rows: [usize; N]) -> RefusedRows {
    RefusedRows { conflicts: rows.to_vec(), ..RefusedRows::default() }
}

/// Everything above `after`.
fn read_from(store: &dyn EventStore, after: Position, detail: Detail) -> RecordedBatch {
    drain(store.read(after, detail).as_mut())
}

fn drain(reader: &mut dyn EventReader) -> RecordedBatch {
    let mut all = RecordedBatch::default();
    while let Some(batch) = reader.next_batch().expect("history is readable") {
        for event in batch.events.iter() {
            all.events.push(&event);
        }
        all.facts.extend(batch.facts);
        all.retractions.extend(batch.retractions);
    }
    all
}

/// The history is exactly `expected`, in order, with increasing positions, and facts and events agree.
fn assert_history(store: &dyn EventStore, expected: &EventBatch) {
    let found = read_from(store, Position::START, Detail::Events);
    assert_eq!(found.facts.len(), expected.len());
    assert_eq!(found.events.len(), expected.len());
    for ((fact, event), expected) in found.facts.iter().zip(found.events.iter()).zip(expected.iter()) {
        assert_eq!(event, expected);
        assert_eq!(
            (fact.id, fact.occurred_at, fact.event_type),
            (event.id, event.occurred_at, event.event_type)
        );
        assert_eq!(fact.created_confirmed, event.confirmed == Some(true));
        assert_eq!(fact.counts, event.counts);
        let name = fact.batch.and_then(|batch| store.batches().get(batch).map(|of| of.name().to_owned()));
        assert_eq!(name.as_deref(), event.batch.map(BatchName::as_str));
    }
    assert!(found.facts.windows(2).all(|pair| pair[0].position < pair[1].position));
    assert!(found.facts.first().is_none_or(|first| first.position > Position::START));
    assert_eq!(store.tail().position(), found.facts.last().map_or(Position::START, |last| last.position));
}

/// Reads return every type and field as it was appended, in order.
pub async fn events_come_back_as_they_were_appended(store: &dyn EventStore) {
    assert_history(store, &EventBatch::default());
    let first = append(store, SOURCE.batch(0..500)).await;
    assert_eq!((first.stored, first.duplicates), (500, 0));
    let second = append(store, SOURCE.batch(500..501)).await;
    assert!(second.position > first.position);
    assert_history(store, &SOURCE.batch(0..501));
    assert_eq!(store.tail().position(), second.position);
}

/// Nothing in, nothing stored, still a success.
pub async fn an_empty_batch_adds_nothing(store: &dyn EventStore) {
    let before = append(store, SOURCE.batch(0..3)).await;
    let empty = append(store, EventBatch::default()).await;
    assert_eq!((empty.stored, empty.duplicates, empty.position), (0, 0, before.position));
    assert_history(store, &SOURCE.batch(0..3));
}

/// Repeats are a success that adds nothing, also when they come mixed with new events.
pub async fn the_same_event_again_is_a_duplicate(store: &dyn EventStore) {
    let first = append(store, SOURCE.batch(0..20)).await;
    let again = append(store, SOURCE.batch(0..20)).await;
    assert_eq!((again.stored, again.duplicates), (0, 20));
    assert!(again.position >= first.position);
    let mixed = append(store, SOURCE.batch(10..30)).await;
    assert_eq!((mixed.stored, mixed.duplicates), (10, 10));
    assert_history(store, &SOURCE.batch(0..30));
}

/// The first of two equal events of a batch is stored.
pub async fn an_event_twice_in_a_batch_is_stored_once(store: &dyn EventStore) {
    let mut batch = SOURCE.batch(0..3);
    SOURCE.push(&mut batch, 1, 0);
    let appended = append(store, batch).await;
    assert_eq!((appended.stored, appended.duplicates), (3, 1));
    assert_history(store, &SOURCE.batch(0..3));
}

/// A conflict refuses all of the batch, and every conflicting row is named.
pub async fn the_same_id_for_something_else_refuses_the_batch(store: &dyn EventStore) {
    append(store, SOURCE.batch(0..5)).await;
    let mut batch = SOURCE.batch(5..8);
    SOURCE.push(&mut batch, 2, 1);
    SOURCE.push(&mut batch, 9, 0);
    SOURCE.push(&mut batch, 4, 1);
    match store.append(batch, OnRefused::RefuseBatch).await {
        Err(AppendError::Refused(rows)) => assert_eq!(rows, conflicts([3, 5])),
        other => panic!("expected conflicts, got {other:?}"),
    }
    assert_history(store, &SOURCE.batch(0..5));
    // What was refused left nothing behind: its ids are free.
    append(store, SOURCE.batch(5..8)).await;
    assert_history(store, &SOURCE.batch(0..8));
}

/// Under `Skip` a conflict costs only its own row.
pub async fn skipping_conflicts_stores_the_others(store: &dyn EventStore) {
    append(store, SOURCE.batch(0..2)).await;
    let mut batch = SOURCE.batch(1..2);
    SOURCE.push(&mut batch, 0, 1);
    SOURCE.push(&mut batch, 2, 0);
    let appended = store.append(batch, OnRefused::Skip).await.expect("the append succeeds");
    assert_eq!((appended.stored, appended.duplicates, appended.refused), (1, 1, conflicts([1])));
    assert_history(store, &SOURCE.batch(0..3));
}

/// A report writes nothing, conflicts or not.
pub async fn a_report_appends_nothing(store: &dyn EventStore) {
    append(store, SOURCE.batch(0..2)).await;
    let mut batch = SOURCE.batch(2..4);
    for expected in [conflicts([]), conflicts([2])] {
        match store.append(batch.clone(), OnRefused::ReportOnly).await {
            Err(AppendError::Refused(rows)) => assert_eq!(rows, expected),
            other => panic!("expected a report, got {other:?}"),
        }
        SOURCE.push(&mut batch, 0, 1);
    }
    assert_history(store, &SOURCE.batch(0..2));
}

/// Within a batch, the second use of an id for something else is the conflict.
pub async fn other_content_twice_in_a_batch_is_a_conflict(store: &dyn EventStore) {
    let mut batch = SOURCE.batch(0..2);
    SOURCE.push(&mut batch, 0, 1);
    match store.append(batch, OnRefused::RefuseBatch).await {
        Err(AppendError::Refused(rows)) => assert_eq!(rows, conflicts([2])),
        other => panic!("expected conflicts, got {other:?}"),
    }
    assert_history(store, &EventBatch::default());
}

/// An id belongs to its tenant: another one can have it as well, and neither sees that.
pub async fn an_id_is_another_one_in_each_tenant(store: &dyn EventStore) {
    let event = |tenant: &str, number: u64, shift_us: i64| {
        let mut batch = EventBatch::default();
        SOURCE.push_of(&mut batch, tenant, (number, shift_us));
        batch
    };
    let mut expected = EventBatch::default();
    for tenant in ["one", "two", "three"] {
        for number in 0..10 {
            assert_eq!(append(store, event(tenant, number, 0)).await.stored, 1, "{tenant} {number}");
            SOURCE.push_of(&mut expected, tenant, (number, 0));
        }
    }
    // Within a tenant an id stays what it was.
    for tenant in ["three", "one", "two"] {
        assert_eq!(append(store, event(tenant, 4, 0)).await.duplicates, 1, "{tenant}");
        match store.append(event(tenant, 4, 1), OnRefused::RefuseBatch).await {
            Err(AppendError::Refused(rows)) => assert_eq!(rows, conflicts([0]), "{tenant}"),
            other => panic!("expected a conflict, got {other:?}"),
        }
    }
    // In one batch as well.
    let mut batch = EventBatch::default();
    for tenant in ["one", "two", "one"] {
        SOURCE.push_of(&mut batch, tenant, (20, 0));
    }
    SOURCE.push_of(&mut batch, "two", (20, 1));
    let appended = store.append(batch, OnRefused::Skip).await.expect("the append succeeds");
    assert_eq!((appended.stored, appended.duplicates, appended.refused), (2, 1, conflicts([3])));
    SOURCE.push_of(&mut expected, "one", (20, 0));
    SOURCE.push_of(&mut expected, "two", (20, 0));
    assert_history(store, &expected);
}

/// Stores a batch that was refused while `hinder(true)` held appends up, once `hinder(false)` lets them pass:
/// with the same ids, by the same store. Until then nothing of it is there. `hinder(true)` must make appends
/// fail before anything is written.
pub async fn refusals_pass(store: &dyn EventStore, hinder: impl Fn(bool)) {
    append(store, SOURCE.batch(0..10)).await;
    for round in 1..4 {
        let batch = SOURCE.batch(round * 10..round * 10 + 10);
        hinder(true);
        for _ in 0..2 {
            match store.append(batch.clone(), OnRefused::RefuseBatch).await {
                Err(AppendError::Overloaded | AppendError::NoSpace(_) | AppendError::Unavailable(_)) => {}
                other => panic!("expected a refusal that passes, got {other:?}"),
            }
            assert_history(store, &SOURCE.batch(0..round * 10));
        }
        hinder(false);
        let appended = append(store, batch).await;
        assert_eq!((appended.stored, appended.duplicates), (10, 0));
        assert_history(store, &SOURCE.batch(0..round * 10 + 10));
    }
}

/// `after` is exclusive, wherever in a batch it points.
pub async fn reading_starts_above_a_position(store: &dyn EventStore) {
    for start in [0, 10, 20] {
        append(store, SOURCE.batch(start..start + 10)).await;
    }
    let all = read_from(store, Position::START, Detail::Events);
    for (at, fact) in all.facts.iter().enumerate() {
        let rest = read_from(store, fact.position, Detail::Events);
        assert_eq!(rest.facts, all.facts[at + 1..]);
        assert!(rest.events.iter().eq(all.events.iter().skip(at + 1)));
    }
    assert!(read_from(store, Position::new(u64::MAX), Detail::Events).facts.is_empty());
}

/// A store may read a large batch in parts: these join without gap or repeat, wherever a scan begins and ends, and
/// wherever a later tail takes it up.
pub async fn a_large_batch_is_read_from_any_event_to_any_other(store: &dyn EventStore) {
    const EVENTS: u64 = 5_000;
    append(store, SOURCE.batch(0..EVENTS)).await;
    append(store, SOURCE.batch(EVENTS..EVENTS + 10)).await;
    let all = read_from(store, Position::START, Detail::Events);
    let events: Vec<_> = all.events.iter().collect();
    let edges = [0, 1, 1_023, 1_024, 1_025, 2_048, 4_095, 4_096, 4_999, 5_000, 5_001, 5_010];
    for (begin, end) in edges.into_iter().flat_map(|begin| edges.map(|end| (begin, end))) {
        if begin >= end {
            continue;
        }
        let position = |edge: usize| edge.checked_sub(1).map_or(Position::START, |at| all.facts[at].position);
        let (after, until) = (position(begin), Some(position(end)));
        let scan = Scan { until, ..Scan::after(after, Detail::Events) };
        let found = drain(store.scan(scan).as_mut());
        assert_eq!(found.facts, all.facts[begin..end], "{begin}..{end}");
        assert!(found.events.iter().eq(events[begin..end].iter().copied()), "{begin}..{end}");
    }
    let mut reader = store.read(Position::START, Detail::Facts);
    drain(reader.as_mut());
    append(store, SOURCE.batch(10_000..10_000 + EVENTS)).await;
    assert_eq!(
        drain(reader.as_mut()).facts,
        read_from(store, all.facts[5_009].position, Detail::Facts).facts
    );
}

/// Whatever a scan chooses, and wherever it is cut and taken up again: what it reads is what choosing from all of history
/// gives.
pub async fn a_filtered_scan_is_the_history_without_the_rest(store: &dyn EventStore) {
    for start in (0..600).step_by(60) {
        append(store, SOURCE.batch(start..start + 60)).await;
    }
    let all = read_from(store, Position::START, Detail::Events);
    let facts = &all.facts;
    let occurred = |at: usize| Some(facts[at].occurred_at);
    let filters = [
        Filter::default(),
        Filter { tenant: Some(facts[7].member.tenant), ..Filter::default() },
        Filter { member: Some(facts[8].member.member), ..Filter::default() },
        Filter { person: Some(facts[9].member.person), ..Filter::default() },
        Filter {
            types: Some(EventTypes::from_iter([EventType::Login, EventType::UserDeleted])),
            ..Filter::default()
        },
        Filter { occurred_since: occurred(3), occurred_until: occurred(5), ..Filter::default() },
        Filter { occurred_since: occurred(5), occurred_until: occurred(3), ..Filter::default() },
        Filter { recorded_since: Some(facts[100].recorded_at), ..Filter::default() },
        Filter {
            recorded_until: Some(facts[400].recorded_at),
            occurred_until: occurred(9),
            ..Filter::default()
        },
        Filter {
            tenant: Some(facts[1].member.tenant),
            types: Some(EventTypes::default()),
            ..Filter::default()
        },
    ];
    for filter in filters {
        for (after, until) in [(None, None), (Some(17), Some(430)), (Some(599), None), (Some(300), Some(200))]
        {
            let after = after.map_or(Position::START, |at: usize| facts[at].position);
            let until = until.map(|at: usize| facts[at].position);
            let chosen = |fact: &Fact| {
                fact.position > after
                    && until.is_none_or(|until| fact.position <= until)
                    && filter.keeps(fact)
            };
            let rows: Vec<usize> = (0..facts.len()).filter(|row| chosen(&facts[*row])).collect();
            for detail in [Detail::Sightings, Detail::Facts, Detail::Events] {
                let found = read_on(store, Scan { after, until, detail, filter });
                if detail == Detail::Sightings {
                    let seen = rows.iter().filter_map(|row| Sighting::of(&facts[*row]));
                    assert!(found.sightings.into_iter().eq(seen), "{filter:?}");
                    assert!(found.facts.is_empty() && found.events.is_empty());
                    continue;
                }
                assert!(found.sightings.is_empty());
                assert!(found.facts.iter().eq(rows.iter().map(|row| &facts[*row])), "{filter:?}");
                if detail == Detail::Events {
                    assert!(
                        found.events.iter().eq(rows.iter().map(|row| all.events.get(*row))),
                        "{filter:?}"
                    );
                }
            }
        }
    }
}

/// Everything that a scan reads, which is taken up again after every batch.
fn read_on(store: &dyn EventStore, scan: Scan) -> RecordedBatch {
    let Scan { after, until, .. } = scan;
    let (mut found, mut reached) = (RecordedBatch::default(), after);
    while let Some(batch) =
        store.scan(Scan { after: reached, ..scan }).next_batch().expect("history is readable")
    {
        assert!(batch.reached > reached && until.is_none_or(|until| batch.reached <= until));
        assert!(batch.facts.iter().all(|fact| fact.position > reached && fact.position <= batch.reached));
        reached = batch.reached;
        found.sightings.extend(&batch.sightings);
        found.facts.extend(&batch.facts);
        batch.events.iter().for_each(|event| found.events.push(&event));
    }
    found
}

/// The end is not for ever: the same cursor reads on.
pub async fn a_reader_goes_on_when_the_tail_moves(store: &dyn EventStore) {
    let mut reader = store.read(Position::START, Detail::Facts);
    assert!(drain(reader.as_mut()).facts.is_empty());
    for round in 0..5 {
        append(store, SOURCE.batch(round * 7..round * 7 + 7)).await;
        let found = drain(reader.as_mut()).facts;
        let expected: Vec<EventId> =
            SOURCE.batch(round * 7..round * 7 + 7).iter().map(|event| event.id).collect();
        assert_eq!(found.iter().map(|fact| fact.id).collect::<Vec<_>>(), expected);
    }
}

/// The store's clock only moves forward in the record.
pub async fn recorded_at_never_decreases(store: &dyn EventStore) {
    for number in 0..20 {
        append(store, SOURCE.batch(number..number + 1)).await;
    }
    let facts = read_from(store, Position::START, Detail::Facts).facts;
    assert!(facts.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at));
}

/// Equal names, equal ordinals; different names, different ones; a person is a `user_id` in any tenant.
pub async fn names_keep_their_numbers(store: &dyn EventStore) {
    append(store, SOURCE.batch(0..400)).await;
    append(store, SOURCE.batch(400..800)).await;
    let all = read_from(store, Position::START, Detail::Events);
    let mut by_name: HashMap<(&str, &str), MemberRef> = HashMap::new();
    for (fact, event) in all.facts.iter().zip(all.events.iter()) {
        let name = (event.tenant_id.as_str(), event.user_id.as_str());
        assert_eq!(*by_name.entry(name).or_insert(fact.member), fact.member, "{name:?}");
    }
    assert_eq!(by_name.len(), 5 * 37);
    for ((tenant, user), found) in &by_name {
        for ((other_tenant, other_user), other) in &by_name {
            assert_eq!(found.tenant == other.tenant, tenant == other_tenant);
            assert_eq!(found.person == other.person, user == other_user);
            assert_eq!(found.member == other.member, (tenant, user) == (other_tenant, other_user));
        }
    }
}

/// The dictionary has the name of every number and the number of every name, and no others.
pub async fn the_dictionary_has_every_member_both_ways(store: &dyn EventStore) {
    assert!(store.members().is_empty() && store.members().find("acme", "ada").is_none());
    append(store, SOURCE.batch(0..400)).await;
    let all = read_from(store, Position::START, Detail::Events);
    let members = store.members();
    let mut seen = HashSet::new();
    for (fact, event) in all.facts.iter().zip(all.events.iter()) {
        let (tenant_id, user_id) = (event.tenant_id.as_str(), event.user_id.as_str());
        assert_eq!(members.find(tenant_id, user_id), Some(fact.member));
        assert_eq!(members.tenant(tenant_id), Some(fact.member.tenant));
        assert_eq!(members.find_person(user_id), Some(fact.member.person));
        assert_eq!(members.member_ref(fact.member.member), Some(fact.member));
        assert_eq!(members.tenant_id(fact.member.tenant), event.tenant_id);
        assert_eq!(members.user_id(fact.member.person), event.user_id);
        seen.insert(fact.member.member);
    }
    assert_eq!(members.len(), seen.len());
    assert!(members.tenant("nowhere").is_none() && members.find_person("nobody").is_none());
    assert!(members.member_ref(MemberOrdinal::new(u32::MAX)).is_none());
}

/// Read one after the other, the parts are the history.
pub async fn the_parts_make_up_the_history(store: &dyn EventStore) {
    append(store, SOURCE.batch(0..100)).await;
    append(store, SOURCE.batch(100..200)).await;
    let all = read_from(store, Position::START, Detail::Facts).facts;
    let parts = store.parts();
    assert!(parts.is_sorted() && parts.first() == Some(&Position::START), "{parts:?}");
    let ends = parts.iter().skip(1).map(|begin| Some(*begin)).chain([None]);
    let read = |(after, until): (&Position, Option<Position>)| {
        drain(store.scan(Scan { until, ..Scan::after(*after, Detail::Facts) }).as_mut()).facts
    };
    assert_eq!(parts.iter().zip(ends).flat_map(read).collect::<Vec<_>>(), all);
}

/// Records above a position are as many as a scan finds, or the store tells more where it may: never at a part, nor at the tail.
pub async fn records_after_a_position_are_counted_whatever_gaps_it_has(store: &dyn EventStore) {
    assert_eq!(store.records_after(Position::START), 0);
    for start in (0..300).step_by(50) {
        append(store, SOURCE.batch(start..start + 50)).await;
    }
    let batch = store.batches().get(BatchOrdinal::new(0)).expect("some events have one").name().to_owned();
    store.retract(BatchName::new(&batch).expect("valid"), None).await.expect("it is taken back");
    let all = read_from(store, Position::START, Detail::Facts);
    assert_eq!(all.retractions.len(), 1);
    let positions = || {
        let facts = all.facts.iter().map(|fact| fact.position);
        facts.chain(all.retractions.iter().map(|it| it.position))
    };
    let above = |position: Position| positions().filter(|it| *it > position).count() as u64;
    // In this order: a part that comes meanwhile is not among these.
    let parts = store.parts();
    for part in &parts {
        assert_eq!(store.records_after(*part), above(*part), "at the part {part:?}");
    }
    let tail = store.tail().position();
    assert_eq!(tail, positions().max().expect("there are records"));
    for at in [tail, Position::new(tail.get() + 1), Position::new(u64::MAX)] {
        assert_eq!(store.records_after(at), 0, "{at:?}");
    }
    let mut last = u64::MAX;
    for at in positions().collect::<BTreeSet<_>>() {
        // Also in a gap.
        for at in [Position::new(at.get() - 1), at] {
            let told = store.records_after(at);
            assert!((above(at)..=above(Position::START)).contains(&told), "{told} after {at:?}");
        }
        last = last.min(store.records_after(at));
    }
    assert_eq!(last, 0);
}

/// A closed store takes nothing more, ends what follows it, and is read as before.
pub async fn a_closed_store_is_read_to_its_end(store: &dyn EventStore) {
    append(store, SOURCE.batch(0..20)).await;
    assert!(!store.health().needs_restart(), "{:?}", store.health());
    let lineage = store.lineage();
    let mut subscription = Subscription::new(store, Position::START, Detail::Facts);
    close(store);
    let closed = store.append(SOURCE.batch(20..21), OnRefused::RefuseBatch).await;
    assert!(matches!(closed, Err(AppendError::Closed)), "{closed:?}");
    let closed = store.retract(BatchName::new("run").expect("valid"), None).await;
    assert!(matches!(closed, Err(AppendError::Closed)), "{closed:?}");
    let mut followed = Vec::new();
    while let Some(batch) = subscription.next().await.expect("history is readable") {
        followed.extend(batch.facts.iter().copied());
    }
    assert_eq!(followed, read_from(store, Position::START, Detail::Facts).facts);
    assert_history(store, &SOURCE.batch(0..20));
    let health = store.health();
    let writer = health.standstills.iter().find(|it| it.part == Part::Writer);
    assert!(writer.is_some_and(|writer| writer.is_final), "{health:?}");
    assert_eq!((store.gauges().waiting_appends, store.lineage()), (0, lineage));
    close(store);
}

/// On a thread that may block.
fn close(store: &dyn EventStore) {
    std::thread::scope(|scope| scope.spawn(|| store.close()).join()).expect("closing does not panic");
}

/// `Detail::Facts` gives the same facts and no events.
pub async fn facts_are_events_without_names(store: &dyn EventStore) {
    append(store, SOURCE.batch(0..100)).await;
    let facts = read_from(store, Position::START, Detail::Facts);
    assert!(facts.events.is_empty());
    assert_eq!(facts.facts, read_from(store, Position::START, Detail::Events).facts);
}

const PUBLISHERS: u32 = 8;
const BATCHES: u64 = 25;
const BATCH_EVENTS: u64 = 4;

/// Many publishers at once, one of them with every other's ids again: each event once, batches whole and in
/// their publisher's order.
pub async fn concurrent_appends_are_each_there_once_and_in_order(store: &dyn EventStore) {
    publish_concurrently(store).await;
    let facts = read_from(store, Position::START, Detail::Facts).facts;
    assert_each_once_and_in_order(&facts);
}

/// A subscription opened at any moment sees what a reader sees at the end.
pub async fn a_subscription_sees_everything_once_from_history_to_live(store: &dyn EventStore) {
    append(store, Source { series: 99 }.batch(0..10)).await;
    let after = store.tail().position();
    let mut subscription = Subscription::new(store, after, Detail::Facts);
    let expected = u64::from(PUBLISHERS) * BATCHES * BATCH_EVENTS;
    let follow = async {
        let mut facts: Vec<Fact> = Vec::new();
        while (facts.len() as u64) < expected {
            let batch = subscription.next().await.expect("history is readable").expect("the store is open");
            facts.extend(batch.facts.iter().copied());
        }
        facts
    };
    let ((), facts) = tokio::join!(publish_concurrently(store), follow);
    assert_each_once_and_in_order(&facts);
    assert_eq!(facts, read_from(store, after, Detail::Facts).facts);
}

async fn publish_concurrently(store: &dyn EventStore) {
    let publish = |series: u32| async move {
        for number in 0..BATCHES {
            let start = number * BATCH_EVENTS;
            append(store, Source { series }.batch(start..start + BATCH_EVENTS)).await;
        }
    };
    // Series 0 and 1 have two publishers each, who race with the same ids.
    tokio::join!(
        publish(0),
        publish(0),
        publish(1),
        publish(1),
        publish(2),
        publish(3),
        publish(4),
        publish(5),
        publish(6),
        publish(7)
    );
}

fn assert_each_once_and_in_order(facts: &[Fact]) {
    assert!(facts.windows(2).all(|pair| pair[0].position < pair[1].position));
    let order: HashMap<EventId, usize> = facts.iter().enumerate().map(|(at, fact)| (fact.id, at)).collect();
    assert_eq!(order.len(), facts.len(), "an event is there twice");
    assert_eq!(facts.len() as u64, u64::from(PUBLISHERS) * BATCHES * BATCH_EVENTS);
    for series in 0..PUBLISHERS {
        let places: Vec<usize> = Source { series }
            .batch(0..BATCHES * BATCH_EVENTS)
            .iter()
            .map(|event| *order.get(&event.id).expect("an event is missing"))
            .collect();
        assert!(places.is_sorted(), "series {series} is out of order");
    }
}

/// Events of `batch` with these ids.
fn events_of(batch: &str, ids: std::ops::Range<u64>) -> EventBatch {
    let mut events = EventBatch::default();
    for id in ids {
        let member = (TenantId::new("acme").expect("valid"), UserId::new("ada").expect("valid"));
        let event = Event::new(
            event_id(1 << 40 | id),
            EventType::UserChanged,
            member,
            UtcInstant::from_micros(1_700_000_000_000_000),
        );
        let batch = Some(BatchName::new(batch).expect("valid"));
        events.push(&Event { batch, ..event }).expect("the fields belong to the type");
    }
    events
}

/// The store counts what names a batch, by type, once each.
pub async fn the_events_of_a_batch_are_counted(store: &dyn EventStore) {
    append(store, SOURCE.batch(0..200)).await;
    append(store, SOURCE.batch(150..250)).await;
    append(store, events_of("run", 0..3)).await;
    append(store, events_of("run", 1..5)).await;
    let mut expected: HashMap<String, TypeCounts> = HashMap::new();
    for event in read_from(store, Position::START, Detail::Events).events.iter() {
        if let Some(batch) = event.batch {
            expected.entry(batch.as_str().to_owned()).or_default().add(event.event_type, 1);
        }
    }
    assert_eq!(expected["run"].total(), 5);
    let found: HashMap<_, _> =
        store.batches().iter().map(|(_, batch)| (batch.name().to_owned(), batch.events)).collect();
    assert_eq!(found, expected);
}

/// From its retraction on, no event of a batch gets in, whether its id is known or not; all that were in stay.
pub async fn a_retracted_name_is_dead(store: &dyn EventStore) {
    let name = |name| BatchName::new(name).expect("valid");
    let retract = async |batch, events| store.retract(name(batch), events).await.expect("it is answered");
    assert_eq!(retract("never", None).await, RetractOutcome::Unknown);
    assert_eq!(retract("never", Some(0)).await, RetractOutcome::Unknown);
    append(store, events_of("kept", 0..2)).await;
    append(store, events_of("dead", 10..12)).await;
    let before = store.tail().position();
    // With another number than was told, nothing is recorded.
    for events in [0, 1, 3] {
        assert_eq!(retract("dead", Some(events)).await, RetractOutcome::CountChanged { events: 2 });
    }
    assert_eq!(store.tail().position(), before);
    let RetractOutcome::Retracted(position) = retract("dead", Some(2)).await else {
        panic!("the batch is known, and has two events");
    };
    assert!(position > before && store.tail().position() == position);
    assert_eq!(retract("dead", None).await, RetractOutcome::Retracted(position));
    assert_eq!(retract("dead", Some(2)).await, RetractOutcome::Retracted(position));
    assert_eq!(retract("dead", Some(7)).await, RetractOutcome::CountChanged { events: 2 });
    let mut mixed = events_of("dead", 11..13);
    for event in events_of("kept", 1..4).iter() {
        mixed.push(&event).expect("it was valid");
    }
    let retracted = RefusedRows { retracted: vec![0, 1], ..RefusedRows::default() };
    match store.append(mixed.clone(), OnRefused::RefuseBatch).await {
        Err(AppendError::Refused(rows)) => assert_eq!(rows, retracted),
        other => panic!("expected to be refused, got {other:?}"),
    }
    let appended = store.append(mixed, OnRefused::Skip).await.expect("the others are appended");
    assert_eq!((appended.stored, appended.duplicates, appended.refused), (2, 1, retracted));

    let all = read_from(store, Position::START, Detail::Events);
    assert_eq!(all.facts.len(), 6);
    let [retraction] = all.retractions[..] else { panic!("expected one, got {:?}", all.retractions) };
    assert_eq!((retraction.position, retraction.id), (position, EventId::of_retraction(name("dead"))));
    let dead = {
        let batches = store.batches();
        let [dead] = batches.retracted().collect::<Vec<_>>()[..] else { panic!("expected one") };
        let batch = batches.get(dead).expect("it is there");
        assert_eq!((batch.name(), batch.events.total(), batch.retracted), ("dead", 2, Some(position)));
        dead
    };
    assert_eq!(retraction.batch, dead);
    assert_eq!(all.facts.iter().filter(|fact| fact.batch == Some(dead)).count(), 2);
    // A scan finds it by its type, and not among the events of anybody.
    let scan = |filter| {
        drain(store.scan(Scan { filter, ..Scan::after(Position::START, Detail::Facts) }).as_mut()).retractions
    };
    let types = |event_type| Some(EventTypes::from_iter([event_type]));
    assert_eq!(
        scan(Filter { types: types(EventType::BackfillRetracted), ..Filter::default() }),
        [retraction]
    );
    assert_eq!(scan(Filter { types: types(EventType::UserChanged), ..Filter::default() }), []);
    let tenant = Some(all.facts[0].member.tenant);
    assert_eq!(scan(Filter { tenant, ..Filter::default() }), []);
}
