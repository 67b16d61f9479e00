use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lastseen_event::limits::REQUEST_EVENTS_MAX;
use lastseen_event::wire::{Accept, FaultsKept, decode_ndjson};
use lastseen_event::{Event, EventBatch, EventType};

use super::tenants::is_weekend;
use super::*;

/// 2026-03-02T14:20:00.500Z, a Monday.
const UNTIL: UtcInstant = UtcInstant::from_micros(1_772_461_200_500_999);
const DAY_US: i64 = 86_400_000_000;

fn plan() -> Plan {
    Plan {
        seed: 7,
        users: 2_000,
        tenants: 40,
        days: 90,
        until: UNTIL,
        visits_permille: 200,
        visits_at_any_hour: 0,
    }
}

fn timeline(plan: Plan) -> Timeline {
    Timeline::new(Arc::new(Population::new(plan).unwrap()))
}

/// All of the past, in requests that the validator has accepted.
fn past(plan: Plan) -> Vec<EventBatch> {
    let mut timeline = timeline(plan);
    let mut batches = Vec::new();
    loop {
        let mut body = Vec::new();
        for _ in 0..REQUEST_EVENTS_MAX {
            let Some(occurrence) = timeline.next_until(plan.until) else { break };
            timeline.population().encode(&occurrence, &mut body);
        }
        if body.is_empty() {
            return batches;
        }
        let decoded = decode_ndjson(&body, Accept::all(plan.until, FaultsKept::All), || ()).unwrap();
        assert!(decoded.faults.is_empty(), "{:?}", decoded.faults[0]);
        batches.push(decoded.batch);
    }
}

fn events(batches: &[EventBatch]) -> impl Iterator<Item = Event<'_>> {
    batches.iter().flat_map(EventBatch::iter)
}

/// Everything of every member, in order of time.
fn members(batches: &[EventBatch]) -> BTreeMap<(&str, &str), Vec<Event<'_>>> {
    let mut members: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in events(batches) {
        members.entry((event.tenant_id.as_str(), event.user_id.as_str())).or_default().push(event);
    }
    members
}

fn is_visit(event: &Event<'_>) -> bool {
    event.event_type.activity() == Some(lastseen_event::Provenance::Observed)
}

#[test]
fn the_same_plan_gives_the_same_events_and_another_seed_gives_others() {
    let small = Plan { users: 200, tenants: 10, days: 20, ..plan() };
    let (first, second, other) = (past(small), past(small), past(Plan { seed: 8, ..small }));
    assert!(events(&first).eq(events(&second)));
    let ids: BTreeSet<_> = events(&first).map(|event| event.id).collect();
    let users: BTreeSet<_> = events(&first).map(|event| event.user_id).collect();
    assert!(events(&other).all(|event| !ids.contains(&event.id) && !users.contains(&event.user_id)));
}

#[test]
fn the_first_ids_never_change() {
    let mut timeline = timeline(plan());
    let occurrence = timeline.next_until(UNTIL).unwrap();
    let mut line = Vec::new();
    timeline.population().encode(&occurrence, &mut line);
    let expected = concat!(
        r#"{"id":"019adf6f-3c74-7ae9-997b-78fd9950a658","type":"user_created","tenant_id":"150331938718564362","#,
        r#""user_id":"usr_3GPVYWBQ4F1RZ33MMNPF8G5MHX","occurred_at":"2025-12-02T14:20:00.500Z","#,
        r#""batch":"migration","confirmed":true}"#,
        "\n"
    );
    assert_eq!(str::from_utf8(&line).unwrap(), expected);
}

#[test]
fn events_come_in_order_within_the_past_with_ids_of_their_own() {
    let batches = past(plan());
    let mut ids = BTreeSet::new();
    let mut last = plan().since();
    for event in events(&batches) {
        assert!((last..=UNTIL).contains(&event.occurred_at), "{event:?} after {last}");
        last = event.occurred_at;
        assert!(ids.insert(event.id), "{event:?}");
        let id = event.id.as_uuid();
        let millis = id.as_u128() >> 80;
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(i128::from(event.occurred_at.as_micros() / 1_000), millis.cast_signed());
    }
    assert!(UNTIL.as_micros() - last.as_micros() < DAY_US);
}

#[test]
fn every_type_of_event_occurs() {
    let batches = past(plan());
    let mut counts = BTreeMap::new();
    for event in events(&batches) {
        *counts.entry(event.event_type).or_insert(0) += 1;
    }
    for &event_type in EventType::PUBLISHABLE {
        assert!(counts.get(&event_type).is_some_and(|count| *count >= 3), "{event_type:?} in {counts:?}");
    }
    assert!(counts[&EventType::TokenRefresh] > 3 * counts[&EventType::Login], "{counts:?}");
}

#[test]
fn there_are_as_many_users_as_asked_for_and_each_begins_with_its_creation() {
    for plan in [
        plan(),
        Plan { users: 1, tenants: 1, ..plan() },
        Plan { users: 3, tenants: 3, ..plan() },
        Plan { users: 500, tenants: 500, days: 1, ..plan() },
    ] {
        let batches = past(plan);
        let users: BTreeSet<_> = events(&batches).map(|event| event.user_id).collect();
        let tenants: BTreeSet<_> = events(&batches).map(|event| event.tenant_id).collect();
        assert_eq!((users.len(), tenants.len()), (plan.users as usize, plan.tenants as usize), "{plan:?}");
        for (member, events) in members(&batches) {
            let created = events.iter().filter(|event| event.event_type == EventType::UserCreated).count();
            assert_eq!((events[0].event_type, created), (EventType::UserCreated, 1), "{member:?}");
        }
    }
}

#[test]
fn tenants_are_as_large_as_zipf_says() {
    let plan = Plan { users: 20_000, tenants: 100, visits_permille: 0, ..plan() };
    let population = Arc::new(Population::new(plan).unwrap());
    let mut sizes = vec![0_u32; 100];
    for user in 0..plan.users {
        sizes[population.place(user, 0) as usize] += 1;
    }
    // 20,000 / (1 + 1/2 + ... + 1/100) = 3,855 for the first one.
    for (rank, expected) in [(1, 3_855_u32), (2, 1_928), (4, 964), (10, 386)] {
        let found = sizes[rank - 1];
        assert!(found.abs_diff(expected) < expected / 4, "{found} in the tenant of rank {rank}");
    }
    assert!(sizes.iter().filter(|size| **size < 100).count() > 50, "{sizes:?}");
}

#[test]
fn weekends_are_quiet_and_so_are_nights() {
    let batches = past(plan());
    let (mut weekend, mut workday, mut by_tenant_and_hour) = (0, 0, BTreeMap::new());
    for event in events(&batches).filter(|event| event.event_type == EventType::Login) {
        let at = event.occurred_at.as_micros();
        if is_weekend(at / DAY_US) {
            weekend += 1;
        } else {
            workday += 1;
        }
        *by_tenant_and_hour.entry((event.tenant_id, at / (DAY_US / 24) % 24)).or_insert(0) += 1;
    }
    assert!(weekend * 5 * 2 < workday * 2, "{weekend} logins on weekends, {workday} on workdays");
    // Working hours of one tenant are a part of the day, wherever it is.
    let largest = batches[0].iter().next().unwrap().tenant_id;
    let mut hours: Vec<u32> =
        (0..24).map(|hour| by_tenant_and_hour.get(&(largest, hour)).copied().unwrap_or(0)).collect();
    hours.sort_unstable();
    let (night, day): (u32, u32) = (hours[..12].iter().sum(), hours[12..].iter().sum());
    assert!(night * 4 < day, "{hours:?}");
}

#[test]
fn some_stay_pending_some_are_deleted_or_restored_some_leave_and_some_return() {
    let batches = past(plan());
    let (mut pending, mut deleted, mut restored, mut left, mut returned) = (0, 0, 0, 0, 0);
    for events in members(&batches).into_values() {
        let has = |event_type| events.iter().any(|event| event.event_type == event_type);
        let visits: Vec<_> =
            events.iter().filter(|event| is_visit(event)).map(|event| event.occurred_at).collect();
        let unconfirmed = events[0].confirmed == Some(false) && !has(EventType::UserConfirmed);
        pending += u32::from(unconfirmed && visits.is_empty());
        deleted += u32::from(has(EventType::UserDeleted) && !has(EventType::UserRestored));
        restored += u32::from(has(EventType::UserRestored));
        let gap = |from: UtcInstant, to: UtcInstant| to.as_micros() - from.as_micros() > 21 * DAY_US;
        left += u32::from(visits.len() > 50 && visits.last().is_some_and(|last| gap(*last, UNTIL)));
        returned += u32::from(visits.windows(2).any(|pair| gap(pair[0], pair[1])));
        if let Some(deletion) = events.iter().position(|event| event.event_type == EventType::UserDeleted) {
            let rest = events[deletion + 1..].iter();
            let back = rest.take_while(|event| event.event_type != EventType::UserRestored);
            assert_eq!(back.filter(|event| is_visit(event)).count(), 0, "{events:?}");
        }
    }
    for (what, count) in [
        ("pending", pending),
        ("deleted", deleted),
        ("restored", restored),
        ("left", left),
        ("returned", returned),
    ] {
        assert!((5..1_000).contains(&count), "{count} {what}");
    }
}

#[test]
fn switches_lead_from_one_tenant_of_the_user_to_another() {
    let batches = past(plan());
    let members = members(&batches);
    let mut switches = 0;
    for event in events(&batches).filter(|event| event.event_type == EventType::TenantSwitch) {
        let from = event.from_tenant_id.unwrap();
        assert_ne!(from, event.tenant_id);
        for tenant in [from, event.tenant_id] {
            let created = members[&(tenant.as_str(), event.user_id.as_str())][0].occurred_at;
            assert!(created < event.occurred_at, "{event:?}");
        }
        switches += 1;
    }
    assert!(switches > 100, "{switches}");
}

#[test]
fn a_session_is_a_login_and_renewals_of_one_user() {
    let batches = past(Plan { users: 300, ..plan() });
    let mut sessions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in events(&batches) {
        assert_eq!(event.session_id.is_some(), is_visit(&event), "{event:?}");
        if let Some(session) = event.session_id {
            sessions.entry(session).or_default().push(event);
        }
    }
    for events in sessions.values() {
        let begins = events[0].event_type;
        assert!(matches!(begins, EventType::Login | EventType::SignupComplete), "{begins:?}");
        for pair in events.windows(2) {
            assert!(matches!(pair[1].event_type, EventType::TokenRefresh | EventType::TenantSwitch));
            assert_eq!(pair[0].user_id, pair[1].user_id);
            let minutes = (pair[1].occurred_at.as_micros() - pair[0].occurred_at.as_micros()) / 60_000_000;
            assert!((4..=15).contains(&minutes), "{minutes}");
        }
    }
}

#[test]
fn visits_at_any_hour_come_after_the_past_and_on_quiet_days() {
    let later = UNTIL.saturating_add(std::time::Duration::from_hours(24 * 7));
    let all = |plan| -> BTreeSet<_> {
        let mut timeline = timeline(plan);
        std::iter::from_fn(|| timeline.next_until(later)).map(|found| (found.at(), found.user())).collect()
    };
    let usual = plan();
    let (usual, lively) = (all(usual), all(Plan { visits_at_any_hour: 6, ..usual }));
    assert!(usual.is_subset(&lively));
    let more: Vec<_> = lively.difference(&usual).collect();
    assert!(more.iter().all(|(at, _)| *at > UNTIL));
    let mut by_hour = [0; 24 * 7];
    for (at, _) in &more {
        let after = at.as_micros() - UNTIL.as_micros();
        by_hour[usize::try_from(after / (DAY_US / 24)).unwrap()] += 1;
    }
    // Two thousand users, of whom 45 in 100 come on a day: some 230 sessions an hour.
    let least = by_hour[..24 * 7 - 1].iter().min().unwrap();
    assert!(*least > 150, "{by_hour:?}");
}

#[test]
fn time_may_pass_in_any_steps_and_goes_on_after_the_past() {
    let plan = Plan { users: 100, tenants: 5, days: 10, visits_permille: 1_000, ..plan() };
    let later = UNTIL.saturating_add(std::time::Duration::from_hours(24 * 20));
    let (mut at_once, mut in_steps) = (timeline(plan), timeline(plan));
    let whole: Vec<_> = std::iter::from_fn(|| at_once.next_until(later)).collect();
    let mut pieces = Vec::new();
    let mut now = plan.since();
    while now < later {
        now = now.saturating_add(std::time::Duration::from_secs(7_777)).min(later);
        while let Some(occurrence) = in_steps.next_until(now) {
            assert!(occurrence.at() <= now);
            pieces.push(occurrence);
        }
    }
    assert_eq!(pieces, whole);
    let new = whole.iter().filter(|occurrence| occurrence.user() >= plan.users).count();
    assert!(
        new > 0 && whole.iter().all(|occurrence| (occurrence.user() < plan.users) || occurrence.at() > UNTIL)
    );
}

#[test]
fn a_visit_of_a_load_generator_is_an_event_too() {
    let population = Population::new(plan()).unwrap();
    let mut line = Vec::new();
    population.encode(&Occurrence::visit(EventType::Login, 3, UNTIL), &mut line);
    let decoded = decode_ndjson(&line, Accept::all(UNTIL, FaultsKept::All), || ()).unwrap();
    let event = decoded.batch.get(0);
    assert_eq!((event.event_type, event.session_id.is_some()), (EventType::Login, true));
    assert_eq!(event.occurred_at.as_micros(), UNTIL.as_micros() / 1_000 * 1_000);
}

#[test]
fn plans_that_cannot_be_are_refused() {
    let users = |users| Population::new(Plan { users, ..plan() }).err();
    let tenants = |tenants| Population::new(Plan { tenants, ..plan() }).err();
    let days = |days| Population::new(Plan { days, ..plan() }).err();
    assert_eq!([users(0), users(Plan::USERS_MAX + 1)], [Some(InvalidPlan::Users); 2]);
    assert_eq!([tenants(0), tenants(2_001)], [Some(InvalidPlan::Tenants { users: 2_000 }); 2]);
    assert_eq!([days(0), days(36_500), days(u32::MAX)], [Some(InvalidPlan::Days); 3]);
    assert_eq!(days(13_000), None);
}
