//! Events by day, tenant and type against a recount: as they come, followed from the middle on, through a snapshot, and without
//! the batches that were taken back.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use chrono_tz::Tz;
use lastseen_event::{EventType, Fact, TenantOrdinal};
use lastseen_projections::{
    Calendar, Day, EventCounts, Persons, Restoring, Retracted, Scope, Selection, Subject, Taking, Traffic,
    Views, ViewsBuilder,
};
use proptest::prelude::*;

use crate::history::TENANTS;
use crate::retraction::{batched, retracted};

const ZONE: Tz = Tz::Pacific__Apia;

/// It takes some milliseconds to make one.
static CALENDARS: LazyLock<[(Tz, Arc<Calendar>); 2]> =
    LazyLock::new(|| [Tz::UTC, ZONE].map(|zone| (zone, Arc::new(Calendar::of_zone(zone)))));

fn calendar(zone: Tz) -> Arc<Calendar> {
    let found = CALENDARS.iter().find(|(of, _)| *of == zone);
    found.expect("one of the two zones").1.clone()
}

/// The events of a scope by day and type, none that is zero.
fn recount(
    facts: &[Fact],
    (zone, scope): (Tz, Scope),
    gone: &Retracted,
) -> BTreeMap<(Day, &'static str), u64> {
    let calendar = calendar(zone);
    let mut counts = BTreeMap::new();
    for fact in facts.iter().filter(|fact| !gone.has(fact)) {
        if scope == Scope::All || scope == Scope::Tenant(fact.member.tenant) {
            let day = calendar.date(fact.occurred_at);
            *counts.entry((day, fact.event_type.as_str())).or_default() += 1;
        }
    }
    counts
}

fn counted(traffic: &Traffic, scope: Scope, facts: &[Fact]) -> BTreeMap<(Day, &'static str), u64> {
    let calendar = calendar(Tz::UTC);
    let days = facts.iter().map(|fact| calendar.date(fact.occurred_at));
    let (Some(first), Some(last)) = (days.clone().min(), days.max()) else { return BTreeMap::new() };
    let mut counts = BTreeMap::new();
    for number in first.number() - 2..=last.number() + 2 {
        let day = Day::new(number);
        let of_day: EventCounts = traffic.counts(scope, day..=day);
        for event_type in EventType::ALL.into_iter().filter(|event_type| of_day.of(*event_type) > 0) {
            counts.insert((day, event_type.as_str()), of_day.of(event_type));
        }
    }
    counts
}

fn assert_traffic(
    views: &Views,
    facts: &[Fact],
    gone: &Retracted,
    zones: &[Tz],
) -> Result<(), TestCaseError> {
    for zone in zones {
        let traffic = views.traffic_of(*zone).expect("it is followed");
        for scope in (0..=TENANTS).map(TenantOrdinal::new).map(Scope::Tenant).chain([Scope::All]) {
            prop_assert_eq!(
                counted(traffic, scope, facts),
                recount(facts, (*zone, scope), gone),
                "{:?} in {}",
                scope,
                zone
            );
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn events_by_day_agree_with_a_recount(
        facts in batched(60),
        gone in retracted(),
        (before, late) in (0..60_usize, 0..10_usize),
    ) {
        let before = before.min(facts.len());
        let mut views = ViewsBuilder::new(Selection::default(), gone.clone(), Persons::UserId).finish();
        views.apply_all(&facts[..before]);
        // Counted up to some events ago, then handed over with the others.
        let counted_until = before - late.min(before);
        let mut traffic = Traffic::new(calendar(ZONE), gone.clone());
        for fact in &facts[..counted_until] {
            traffic.count(fact);
        }
        prop_assert!(views.follow_traffic(ZONE, &mut traffic, &facts[counted_until..before]));
        prop_assert!(views.follows_subject(Subject::Traffic(ZONE)));
        assert_traffic(&views, &facts[..before], &gone, &[Tz::UTC, ZONE])?;
        for fact in &facts[before..] {
            views.apply(fact);
            // Twice is once.
            views.apply(fact);
        }
        assert_traffic(&views, &facts, &gone, &[Tz::UTC, ZONE])?;
    }

    #[test]
    fn events_by_day_go_through_a_snapshot(facts in batched(60), before in 0..60_usize) {
        let gone = Retracted::default();
        let (early, later) = facts.split_at(before.min(facts.len()));
        let mut views = Views::default();
        views.apply_all(early);
        let mut taking = Taking::of(&views);
        let mut restoring = Restoring::new();
        let mut part = Vec::new();
        while taking.copy(&views, &mut part) {
            restoring.read(&part).unwrap();
            part.clear();
        }
        // What comes now is in no part.
        views.apply_all(later);
        while taking.next_day(&mut part) {
            restoring.read(&part).unwrap();
            part.clear();
        }
        let whose = |member| facts.iter().map(|fact| fact.member).find(|known| known.member == member);
        let mut builder = restoring.finish(taking.checkpoint(), Persons::UserId, whose).unwrap();
        builder.apply_all(later);
        assert_traffic(&builder.finish(), &facts, &gone, &[Tz::UTC])?;
    }
}
