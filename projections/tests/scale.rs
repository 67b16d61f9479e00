//! More members than a leaf or a small tenant holds, in the default sizes: the ways to count that random small
//! histories do not reach by themselves.

use std::collections::BTreeSet;

use lastseen_event::{
    EventType, Fact, MemberOrdinal, MemberRef, PersonOrdinal, Position, Provenance, TenantOrdinal, UtcInstant,
};
use lastseen_projections::{
    Condition, Overall, PersonNumbers, Persons, Retracted, Scope, Selection, Summary, Views, ViewsBuilder,
};

use crate::history::event_id;

const LARGE: TenantOrdinal = TenantOrdinal::new(0);
const SMALL: TenantOrdinal = TenantOrdinal::new(1);
const LARGE_MEMBERS: u64 = 6000;
const SMALL_MEMBERS: u64 = 300;
const HOUR: i64 = 3_600_000_000;
/// 2026-01-06T16:00:00Z.
const NOW: i64 = 1_767_715_200_000_000;

/// The fact at a position: anything about anybody, the same every time (a Weyl sequence, mixed).
fn fact(position: u64) -> Fact {
    let mut bits = position.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ bits >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    bits ^= bits >> 29;
    let mut draw = |sides: u64| {
        let drawn = bits % sides;
        bits = (bits / sides).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ position;
        drawn
    };
    let user = draw(LARGE_MEMBERS + SMALL_MEMBERS);
    // The users of the small tenant are in the large one too.
    let (tenant, person) = if user < LARGE_MEMBERS { (LARGE, user) } else { (SMALL, user - LARGE_MEMBERS) };
    let number = |number: u64| u32::try_from(number).unwrap();
    let event_type = match draw(20) {
        0 => EventType::UserDeleted,
        1 => EventType::UserRestored,
        2 | 3 => EventType::UserCreated,
        4..8 => EventType::EstimatedActivity,
        observed => EventType::from_code(number(1 + observed % 4).try_into().unwrap()).unwrap(),
    };
    let hours = i64::try_from(draw(24 * 90)).unwrap();
    Fact {
        position: Position::new(position),
        id: event_id(position),
        occurred_at: UtcInstant::from_micros(NOW - hours * HOUR),
        recorded_at: UtcInstant::from_micros(NOW),
        member: MemberRef {
            member: MemberOrdinal::new(number(user)),
            tenant,
            person: PersonOrdinal::new(number(person)),
        },
        event_type,
        created_confirmed: false,
        counts: None,
        batch: None,
    }
}

/// The numbers of one tenant, by looking at each member.
fn recount(views: &Views, tenant: TenantOrdinal, since: UtcInstant) -> Summary {
    let count = |condition| {
        views.members_of(tenant).filter(|(_, state)| state.meets(condition, since)).count() as u64
    };
    let active = || views.members_of(tenant).filter(|(_, state)| state.meets(Condition::Active, since));
    let by = |provenance| {
        active().filter(|(_, state)| state.last_seen.unwrap().provenance() == provenance).count() as u64
    };
    Summary {
        total_users: views.members_of(tenant).count() as u64 - count(Condition::Deleted),
        pending_users: count(Condition::Pending),
        never_seen_users: count(Condition::NeverSeen),
        active_users: count(Condition::Active),
        inactive_users: count(Condition::Inactive),
        deleted_users: count(Condition::Deleted),
        observed_users: by(Provenance::Observed),
        estimated_users: by(Provenance::Estimated),
        left_out_users: 0,
        last_estimate_at: active()
            .filter_map(|(_, state)| state.last_seen)
            .filter(|seen| seen.provenance() == Provenance::Estimated)
            .map(|seen| seen.at)
            .max(),
        overall: None,
    }
}

/// Tenants and persons, by collecting them.
fn recount_overall(views: &Views, since: UtcInstant) -> Overall {
    let all = || {
        let of = |tenant| views.members_of(tenant).map(move |(member, state)| (tenant, member, state));
        [LARGE, SMALL].into_iter().flat_map(of).filter(|(.., state)| state.deleted_at.is_none())
    };
    let active = || all().filter(|(.., state)| state.meets(Condition::Active, since));
    let person = |member: MemberOrdinal| match u64::from(member.get()) {
        user @ LARGE_MEMBERS.. => user - LARGE_MEMBERS,
        user => user,
    };
    Overall {
        tenants: all().map(|(tenant, ..)| tenant).collect::<BTreeSet<_>>().len() as u64,
        active_tenants: active().map(|(tenant, ..)| tenant).collect::<BTreeSet<_>>().len() as u64,
        persons: Some(PersonNumbers {
            total_persons: all().map(|(_, member, _)| person(member)).collect::<BTreeSet<_>>().len() as u64,
            active_persons: active().map(|(_, member, _)| person(member)).collect::<BTreeSet<_>>().len()
                as u64,
        }),
    }
}

#[test]
fn large_and_small_tenants_are_counted_alike() {
    let mut live = Views::default();
    for position in 1..=60_000 {
        live.apply(&fact(position));
        // Before, around and after the large tenant outgrows a small one, and at the end.
        if position % 5000 != 0 {
            continue;
        }
        let mut builder = ViewsBuilder::new(Selection::default(), Retracted::default(), Persons::UserId);
        // Another order, every fact twice.
        (1..=position).rev().chain(1..=position).for_each(|position| builder.apply(&fact(position)));
        let built = builder.finish();
        for hours in [0, 1, 24 * 7, 24 * 30, 24 * 365] {
            for off in [-1, 0, 1] {
                let since = UtcInstant::from_micros(NOW - hours * HOUR + off);
                for tenant in [LARGE, SMALL] {
                    let expected = recount(&live, tenant, since);
                    assert_eq!(live.summary(Scope::Tenant(tenant), since), expected, "{position}, {since}");
                    assert_eq!(built.summary(Scope::Tenant(tenant), since), expected, "{position}, {since}");
                }
                for views in [&live, &built] {
                    assert_eq!(views.summary(Scope::All, since).overall, Some(recount_overall(&live, since)));
                }
            }
        }
    }
    assert!(live.members_of(LARGE).count() > 4096);
    let summary = live.summary(Scope::All, UtcInstant::from_micros(NOW - 24 * 30 * HOUR));
    for (name, number) in [
        ("active", summary.active_users),
        ("inactive", summary.inactive_users),
        ("never seen", summary.never_seen_users),
        ("deleted", summary.deleted_users),
        ("estimated", summary.estimated_users),
    ] {
        assert!(number > 0, "a history without {name} members says nothing of them: {summary:?}");
    }
}
