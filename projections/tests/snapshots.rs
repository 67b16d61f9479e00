//! Snapshots that are taken while the fold goes on, and views that go on from them.

use lastseen_event::{Fact, TenantOrdinal, UtcInstant};
use lastseen_projections::{
    BadPart, Day, DaysAsked, Definition, Period, Periods, Persons, Restoring, Scope, Selection, SeriesRow,
    Taking, Views, ViewsBuilder,
};
use proptest::prelude::*;

use crate::history::{TENANTS, edges, history};
use crate::retraction::{batched, retracted};

/// A snapshot that was begun after `before` facts, with `between` facts folded between two parts.
fn taken(facts: &[Fact], steps: (usize, usize, usize)) -> (Taking, Vec<Vec<u8>>) {
    taken_of(Views::default(), facts, steps)
}

fn taken_of(
    mut views: Views,
    facts: &[Fact],
    (before, between, part_members): (usize, usize, usize),
) -> (Taking, Vec<Vec<u8>>) {
    let mut rest = facts.iter();
    for fact in rest.by_ref().take(before) {
        views.apply(fact);
    }
    let mut taking = Taking::in_parts_of(&views, part_members);
    let mut parts = Vec::new();
    loop {
        let mut part = Vec::new();
        if !taking.copy(&views, &mut part) {
            break;
        }
        parts.push(part);
        for fact in rest.by_ref().take(between) {
            views.apply(fact);
        }
    }
    // What comes now is in no part.
    for fact in rest {
        views.apply(fact);
    }
    loop {
        let mut part = Vec::new();
        if !taking.next_day(&mut part) {
            return (taking, parts);
        }
        parts.push(part);
    }
}

fn restored(facts: &[Fact], taking: &Taking, parts: &[Vec<u8>]) -> Result<ViewsBuilder, BadPart> {
    restored_with(Persons::UserId, facts, taking, parts)
}

fn restored_with(
    persons: Persons,
    facts: &[Fact],
    taking: &Taking,
    parts: &[Vec<u8>],
) -> Result<ViewsBuilder, BadPart> {
    let mut restoring = Restoring::new();
    for part in parts {
        restoring.read(part)?;
    }
    let whose = |member| facts.iter().map(|fact| fact.member).find(|known| known.member == member);
    restoring.finish(taking.checkpoint(), persons, whose)
}

/// The rows of all days.
fn rows(views: &Views, scope: Scope) -> Vec<SeriesRow> {
    let (first, last): (Day, Day) = ("2025-12-01".parse().unwrap(), "2026-03-01".parse().unwrap());
    let asked = DaysAsked {
        scope,
        everyone: false,
        of_persons: false,
        definition: Definition::UTC,
        periods: Periods { days: first..=last, period: Period::Day },
    };
    views.days(&asked).unwrap().rows(last)
}

fn assert_same(views: &Views, expected: &Views, edges: &[UtcInstant]) -> Result<(), TestCaseError> {
    prop_assert_eq!(views.position(), expected.position());
    for scope in (0..=TENANTS).map(TenantOrdinal::new).map(Scope::Tenant).chain([Scope::All]) {
        if let Scope::Tenant(tenant) = scope {
            let [members, wanted] =
                [views, expected].map(|views| views.members_of(tenant).collect::<Vec<_>>());
            prop_assert_eq!(members, wanted);
        }
        for since in edges {
            prop_assert_eq!(views.summary(scope, *since), expected.summary(scope, *since));
        }
        let [rows, wanted] = [views, expected].map(|views| rows(views, scope));
        prop_assert_eq!(rows, wanted);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_snapshot_and_what_came_after_it_are_the_whole(
        facts in history(50),
        before in 0..50_usize,
        between in 0..9_usize,
        part_members in 1..20_usize,
    ) {
        let (taking, parts) = taken(&facts, (before, between, part_members));
        let mut builder = restored(&facts, &taking, &parts).unwrap();
        let mut expected = Views::default();
        for fact in &facts {
            expected.apply(fact);
            if fact.position > taking.checkpoint() {
                builder.apply(fact);
            }
        }
        let restored = builder.finish();
        assert_same(&restored, &expected, &edges(&facts))?;
        let mut differences = Vec::new();
        restored.differences(&expected, |difference| differences.push(difference));
        prop_assert_eq!(differences, []);
    }

    #[test]
    fn views_of_less_differ_in_what_they_lack(facts in history(20), known in 0..20_usize) {
        let views = |facts: &[Fact]| {
            let mut views = Views::default();
            for fact in facts {
                views.apply(fact);
            }
            views
        };
        let (fewer, all) = (views(&facts[..known.min(facts.len())]), views(&facts));
        let mut found = 0;
        fewer.differences(&all, |_| found += 1);
        let states = |views: &Views| {
            (0..TENANTS).flat_map(|tenant| views.members_of(TenantOrdinal::new(tenant))).collect::<Vec<_>>()
        };
        let rows = |views: &Views| rows(views, Scope::All);
        let is_same = states(&fewer) == states(&all)
            && rows(&fewer) == rows(&all);
        prop_assert!(is_same || found > 0);
    }

    #[test]
    fn a_snapshot_serves_every_setting_of_persons(
        facts in history(40),
        before in 0..40_usize,
        (taken_with, restored_as) in prop::sample::select(vec![
            (Persons::UserId, Persons::Off),
            (Persons::Off, Persons::UserId),
            (Persons::Off, Persons::Off),
        ]),
    ) {
        let (taking, parts) = taken_of(Views::new(taken_with), &facts, (before, 1, 3));
        let (_, with_persons) = taken(&facts, (before, 1, 3));
        prop_assert_eq!(&parts, &with_persons, "the same bytes");
        let mut builder = restored_with(restored_as, &facts, &taking, &parts).unwrap();
        builder.apply_all(&facts);
        let (mut restored, mut expected) = (builder.finish(), Views::new(restored_as));
        expected.apply_all(&facts);
        assert_same(&restored, &expected, &edges(&facts))?;
        // Each fact again, at a later instant: whoever is joined stays joined.
        for fact in &facts {
            let later = Fact { occurred_at: UtcInstant::from_micros(fact.occurred_at.as_micros() + 1), ..*fact };
            restored.apply(&later);
            expected.apply(&later);
        }
        assert_same(&restored, &expected, &edges(&facts))?;
    }

    #[test]
    fn what_is_left_out_stays_left_out(facts in batched(60), retracted in retracted(), before in 0_usize..60) {
        let views = |retracted| ViewsBuilder::new(Selection::default(), retracted, Persons::UserId).finish();
        let (taking, parts) = taken_of(views(retracted.clone()), &facts, (before, 1, 2));
        let mut restored = restored(&facts, &taking, &parts).unwrap();
        restored.apply_all(&facts);
        let (restored, mut expected) = (restored.finish(), views(retracted.clone()));
        expected.apply_all(&facts);
        prop_assert_eq!(restored.retracted(), &retracted);
        assert_same(&restored, &expected, &edges(&facts))?;
    }

    #[test]
    fn what_is_not_a_part_is_refused(
        facts in history(30),
        part in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (taking, parts) = taken(&facts, (30, 0, 1_024));
        prop_assume!(!parts.is_empty());
        let part = part.get(&parts);
        let shorter = &part[..cut.index(part.len())];
        prop_assert_eq!(Restoring::new().read(shorter), Err(BadPart));
        let longer = [part.as_slice(), &[0]].concat();
        prop_assert_eq!(Restoring::new().read(&longer), Err(BadPart));
        prop_assert_eq!(Restoring::new().read(&[9]), Err(BadPart));
        prop_assert!(restored(&[], &taking, &parts).is_err(), "members that nobody knows");
    }
}
