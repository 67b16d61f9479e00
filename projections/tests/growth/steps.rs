//! The counted program: views of so many members, or of one person with so many memberships, then a thousand steps of
//! each kind. Between them it waits for a line on stdin, so that the counting can begin and end there.

use std::hint::black_box;
use std::io::{BufRead, stdin};

use lastseen_event::{
    EventId, EventType, Fact, MemberOrdinal, MemberRef, PersonOrdinal, Position, TenantOrdinal, UtcInstant,
};
use lastseen_projections::{Persons, Retracted, Scope, Selection, ViewsBuilder};

const TENANTS: u32 = 1_000;
const STEPS: u32 = 1_000;
const HOUR_US: i64 = 3_600_000_000;
/// 2026-01-06T16:00:00Z.
const NOW_US: i64 = 1_767_715_200_000_000;

/// Steps among so many members.
pub(crate) fn run(members: u32) {
    let mut builder = ViewsBuilder::new(Selection::default(), Retracted::default(), Persons::UserId);
    for member in 0..members {
        builder.apply(&login(member, members, (u64::from(member) + 1, earlier_us(member))));
    }
    let mut views = builder.finish();
    let mut wait = waiting();
    let mut steps = 0..;
    let mut fold = |count: u32| {
        for step in steps.by_ref().take(count as usize) {
            let position = u64::from(members) + u64::from(step) + 1;
            let at_us = NOW_US + i64::from(step) * 100_000;
            views.apply(&login(mixed(step) % members, members, (position, at_us)));
        }
    };
    // As in a server that runs: most tenants were seen in this hour before.
    fold(5 * TENANTS);
    wait("fold");
    fold(STEPS);
    wait("folded");
    wait("count");
    for step in 0..STEPS {
        let since = UtcInstant::from_micros(NOW_US - i64::from(mixed(step) % 720) * HOUR_US);
        black_box(views.summary(Scope::All, since));
    }
    wait("counted");
    wait("look up");
    for step in 0..STEPS {
        black_box(views.member(MemberOrdinal::new(mixed(step) % members)));
    }
    wait("looked up");
}

/// Steps of persons with so many memberships each, among as many members in every run, a tenant each.
pub(crate) fn run_persons(memberships: u32) {
    const MEMBERS: u32 = 20_000;
    let whose = |fact: Fact| {
        let member = fact.member.member;
        let (tenant, person) =
            (TenantOrdinal::new(member.get()), PersonOrdinal::new(member.get() / memberships));
        Fact { member: MemberRef { member, tenant, person }, ..fact }
    };
    let mut builder = ViewsBuilder::new(Selection::default(), Retracted::default(), Persons::UserId);
    for member in 0..MEMBERS {
        builder.apply(&whose(login(member, MEMBERS, (u64::from(member) + 1, earlier_us(member)))));
    }
    let mut views = builder.finish();
    let mut wait = waiting();
    wait("fold of a person");
    for step in 0..STEPS {
        let position = u64::from(MEMBERS) + u64::from(step) + 1;
        let at_us = NOW_US + i64::from(step) * 1_000_000;
        views.apply(&whose(login(mixed(step) % MEMBERS, MEMBERS, (position, at_us))));
    }
    wait("folded");
}

/// Seen in the last ninety days, in no order.
fn earlier_us(member: u32) -> i64 {
    NOW_US - i64::from(mixed(member) % (90 * 24)) * HOUR_US
}

/// Says a word, then waits for a line.
fn waiting() -> impl FnMut(&str) {
    let mut lines = stdin().lock().lines();
    move |word: &str| {
        println!("{word}");
        lines.next().expect("the test goes on").expect("text");
    }
}

fn login(member: u32, members: u32, (position, at_us): (u64, i64)) -> Fact {
    Fact {
        position: Position::new(position),
        id: EventId::parse("00000000-0000-7000-8000-000000000001").expect("a UUID"),
        occurred_at: UtcInstant::from_micros(at_us),
        recorded_at: UtcInstant::from_micros(NOW_US),
        member: MemberRef {
            member: MemberOrdinal::new(member),
            // As a store gives them: a tenant is a range.
            tenant: TenantOrdinal::new(member / members.div_ceil(TENANTS)),
            person: PersonOrdinal::new(member),
        },
        event_type: EventType::Login,
        created_confirmed: false,
        counts: None,
        batch: None,
    }
}

fn mixed(number: u32) -> u32 {
    let mixed = (number ^ number >> 16).wrapping_mul(0x45d9_f3b5);
    mixed ^ mixed >> 15
}
