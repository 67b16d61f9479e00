//! Laws over random histories: the fold is a join, every way to fold gives the answers of the recount, and the
//! numbers fit each other.

use std::ops::RangeInclusive;

use lastseen_event::{EventType, Fact, MemberOrdinal, MemberRef, PersonOrdinal, TenantOrdinal, UtcInstant};
use lastseen_projections::{
    AsOf, Condition, MemberState, Overall, PassLimits, Persons, Retracted, Scope, Selection, Summary, Views,
    ViewsBuilder,
};
use proptest::prelude::*;

use crate::history::{Choice, TENANTS, choice, disorder, edges, history};
use crate::naive::Naive;
use crate::retraction::{batched, retracted};

/// Sizes up to which something is counted by a pass: none, some, and all of a random history.
const PASSED_OVER: [u64; 4] = [0, 1, 3, 4096];

fn scopes() -> impl Iterator<Item = Scope> {
    // One tenant more than there is.
    std::iter::once(Scope::All).chain((0..=TENANTS).map(TenantOrdinal::new).map(Scope::Tenant))
}

fn live(facts: &[Fact], limits: PassLimits) -> Views {
    let mut views = Views::with_pass_limits(Persons::UserId, limits);
    for fact in facts {
        views.apply(fact);
    }
    views
}

fn built(facts: &[Fact], selection: Selection, limits: PassLimits) -> Views {
    let mut builder = ViewsBuilder::new(selection, Retracted::default(), Persons::UserId);
    for fact in facts {
        builder.apply(fact);
    }
    builder.finish_with_pass_limits(limits)
}

fn summaries(views: &Views, edges: &[UtcInstant]) -> Vec<Summary> {
    scopes().flat_map(|scope| edges.iter().map(move |&since| views.summary(scope, since))).collect()
}

/// All states, without the number of events: a fact that comes again is counted again.
fn states(views: &Views) -> Vec<(MemberOrdinal, MemberState)> {
    let all = (0..TENANTS).flat_map(|tenant| views.members_of(TenantOrdinal::new(tenant)));
    all.map(|(member, state)| (member, MemberState { events: 0, ..state })).collect()
}

/// Every answer against the recount.
pub(crate) fn agrees(views: &Views, naive: &Naive, edges: &[UtcInstant]) -> Result<(), TestCaseError> {
    prop_assert_eq!(views.position(), naive.position);
    for (&member, known) in &naive.members {
        prop_assert_eq!(views.member(member), Some(known.state), "{:?}", member);
    }
    for tenant in (0..=TENANTS).map(TenantOrdinal::new) {
        let of_tenant = naive.members.iter().filter(|(_, known)| known.tenant == tenant);
        let expected: Vec<_> = of_tenant.map(|(&member, known)| (member, known.state)).collect();
        prop_assert_eq!(views.knows_tenant(tenant), !expected.is_empty());
        prop_assert_eq!(views.members_of(tenant).collect::<Vec<_>>(), expected);
    }
    for &since in edges {
        for scope in scopes() {
            prop_assert_eq!(
                views.summary(scope, since),
                naive.summary(scope, since),
                "{:?} since {}",
                scope,
                since
            );
        }
    }
    Ok(())
}

/// The numbers as of `at` from live views and the facts at the ends of the window, all of them and those that count.
pub(crate) fn as_of(
    views: &Views,
    (facts, counting): (&[Fact], &[Fact]),
    scope: Scope,
    window: RangeInclusive<UtcInstant>,
    step_members: usize,
) -> Summary {
    let mut as_of = begun(views, facts, (scope, false, window), step_members);
    while as_of.look(views).unwrap() {}
    ended(as_of, views, counting)
}

fn begun(
    views: &Views,
    facts: &[Fact],
    (scope, everyone, window): (Scope, bool, RangeInclusive<UtcInstant>),
    step_members: usize,
) -> AsOf {
    let mut as_of = AsOf::new(views, scope, everyone, window).in_steps_of(step_members);
    let parts = as_of.parts();
    for fact in facts.iter().filter(|fact| parts.iter().any(|part| part.contains(&fact.occurred_at))) {
        as_of.see(fact);
    }
    as_of.put_together();
    as_of
}

fn ended(mut as_of: AsOf, views: &Views, facts: &[Fact]) -> Summary {
    as_of.freeze();
    while as_of.look_at_scopes(views) {}
    let last = as_of.latest_estimates().and_then(|among| {
        let estimates = facts.iter().filter(|fact| fact.event_type == EventType::EstimatedActivity);
        let counts = |fact: &&Fact| {
            among.contains(&fact.occurred_at) && as_of.only_estimated().contains(fact.member.member.get())
        };
        estimates.filter(counts).map(|fact| fact.occurred_at).max()
    });
    as_of.finish(last)
}

fn limits() -> impl Strategy<Value = PassLimits> {
    let size = || prop::sample::select(PASSED_OVER.to_vec());
    let span = prop::sample::select(vec![0, 2, 86_400_000_000_i64]);
    (size(), size(), size(), span).prop_map(
        |(tenant_members, person_members, newest_tenants, newest_span_us)| {
            let person_members = usize::try_from(person_members).unwrap();
            PassLimits { tenant_members, person_members, newest_tenants, newest_span_us }
        },
    )
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_give_the_same_views(
        (facts, disorder) in history(60).prop_flat_map(|facts| (Just(facts.clone()), disorder(&facts))),
        limits in limits(),
        other_limits in limits(),
    ) {
        let (ordered, disordered) = (live(&facts, limits), live(&disorder, other_limits));
        let edges = edges(&facts);
        prop_assert_eq!(states(&ordered), states(&disordered));
        prop_assert_eq!(summaries(&ordered, &edges), summaries(&disordered, &edges));
        prop_assert_eq!(ordered.position(), disordered.position());
    }

    #[test]
    fn live_and_built_views_agree_with_the_recount(facts in history(80), limits in limits()) {
        let (naive, edges) = (Naive::new(&facts), edges(&facts));
        agrees(&live(&facts, limits), &naive, &edges)?;
        agrees(&built(&facts, Selection::default(), limits), &naive, &edges)?;
    }

    #[test]
    fn folding_in_groups_is_folding_one_by_one(facts in history(200), limits in limits()) {
        let mut views = Views::with_pass_limits(Persons::UserId, limits);
        views.apply_all(&facts);
        agrees(&views, &Naive::new(&facts), &edges(&facts))?;
    }

    #[test]
    fn live_views_agree_after_every_fact(facts in history(40), limits in limits()) {
        let mut views = Views::with_pass_limits(Persons::UserId, limits);
        for (index, fact) in facts.iter().enumerate() {
            views.apply(fact);
            let now = fact.occurred_at.as_micros();
            let around = [-1, 0, 1].map(|off| UtcInstant::from_micros(now + off));
            agrees(&views, &Naive::new(&facts[..=index]), &around)?;
        }
    }

    #[test]
    fn built_views_can_be_followed_live(
        facts in history(60),
        choice in choice(),
        split in any::<prop::sample::Index>(),
        limits in limits(),
    ) {
        let (past, rest) = facts.split_at(split.index(facts.len() + 1));
        let mut views = built(past, choice.selection(), limits);
        for fact in rest {
            views.apply(fact);
        }
        agrees(&views, &Naive::choosing(&facts, &choice), &edges(&facts))?;
    }

    #[test]
    fn a_selection_is_the_recount_of_the_chosen_facts(
        (facts, disorder) in history(60).prop_flat_map(|facts| (Just(facts.clone()), disorder(&facts))),
        choice in choice(),
        limits in limits(),
    ) {
        let naive = Naive::choosing(&facts, &choice);
        let edges = edges(&facts);
        agrees(&built(&facts, choice.selection(), limits), &naive, &edges)?;
        let disordered = built(&disorder, choice.selection(), limits);
        prop_assert_eq!(states(&disordered), states(&built(&facts, choice.selection(), limits)));
        prop_assert_eq!(summaries(&disordered, &edges), summaries(&built(&facts, choice.selection(), limits), &edges));
    }

    #[test]
    fn the_numbers_fit_each_other(facts in history(80), limits in limits()) {
        let views = live(&facts, limits);
        for since in edges(&facts) {
            let all = views.summary(Scope::All, since);
            let overall = all.overall.unwrap();
            let tenants: Vec<_> =
                (0..TENANTS).map(|tenant| views.summary(Scope::Tenant(TenantOrdinal::new(tenant)), since)).collect();
            prop_assert_eq!(sum(&tenants), Summary { overall: None, ..all });
            prop_assert_eq!(overall.tenants, tenants.iter().filter(|of| of.total_users > 0).count() as u64);
            prop_assert_eq!(overall.active_tenants, tenants.iter().filter(|of| of.active_users > 0).count() as u64);
            let persons = overall.persons.unwrap();
            prop_assert!(persons.active_persons <= all.active_users.min(persons.total_persons));
            prop_assert_eq!(persons.active_persons == 0, all.active_users == 0);
            for summary in tenants.iter().chain([&all]) {
                prop_assert_eq!(summary.observed_users + summary.estimated_users, summary.active_users);
                let seen_and_not = summary.active_users + summary.inactive_users + summary.never_seen_users;
                prop_assert_eq!(seen_and_not, summary.total_users);
                prop_assert!(summary.pending_users <= summary.never_seen_users);
            }
        }
    }

    #[test]
    fn lists_and_counts_agree(facts in history(80), limits in limits()) {
        let views = live(&facts, limits);
        for since in edges(&facts) {
            for tenant in (0..TENANTS).map(TenantOrdinal::new) {
                let summary = views.summary(Scope::Tenant(tenant), since);
                for (condition, count) in [
                    (Condition::Active, summary.active_users),
                    (Condition::Inactive, summary.inactive_users),
                    (Condition::Pending, summary.pending_users),
                    (Condition::NeverSeen, summary.never_seen_users),
                    (Condition::Deleted, summary.deleted_users),
                    (Condition::LeftOut, summary.left_out_users),
                ] {
                    let listed = views.members_of(tenant).filter(|(_, state)| state.meets(condition, since));
                    prop_assert_eq!(listed.count() as u64, count, "{:?}", condition);
                }
            }
        }
    }
}

/// The numbers without those of persons.
fn without(summary: Summary) -> Summary {
    Summary { overall: summary.overall.map(|overall| Overall { persons: None, ..overall }), ..summary }
}

/// A history in which few users are in many tenants, and are deleted and restored there.
fn crowded(events: usize) -> impl Strategy<Value = Vec<Fact>> {
    let places = prop::collection::vec((0..40_u32, 0..2_u32), events);
    (history(events), places).prop_map(|(facts, places)| {
        let at = |(fact, (tenant, user)): (Fact, (u32, u32))| Fact {
            member: MemberRef {
                member: MemberOrdinal::new(tenant * 2 + user),
                tenant: TenantOrdinal::new(tenant),
                person: PersonOrdinal::new(user),
            },
            ..fact
        };
        facts.into_iter().zip(places).map(at).collect()
    })
}

proptest! {
    #[test]
    fn persons_of_many_memberships_are_counted_as_in_the_recount(facts in crowded(150), limits in limits()) {
        let naive = Naive::new(&facts);
        let (live, built) = (live(&facts, limits), built(&facts, Selection::default(), limits));
        let mut restarted = self::built(&facts[..facts.len() / 2], Selection::default(), limits);
        restarted.apply_all(&facts[facts.len() / 2..]);
        let mut without_persons = Views::new(Persons::Off);
        without_persons.apply_all(&facts);
        for since in edges(&facts) {
            let expected = naive.summary(Scope::All, since);
            for views in [&live, &built, &restarted] {
                prop_assert_eq!(views.summary(Scope::All, since), expected, "since {}", since);
            }
            prop_assert_eq!(without_persons.summary(Scope::All, since), without(expected));
        }
    }
}

/// The numbers of all scopes together.
fn sum(of: &[Summary]) -> Summary {
    let total = |number: fn(&Summary) -> u64| of.iter().map(number).sum();
    Summary {
        total_users: total(|of| of.total_users),
        pending_users: total(|of| of.pending_users),
        never_seen_users: total(|of| of.never_seen_users),
        active_users: total(|of| of.active_users),
        inactive_users: total(|of| of.inactive_users),
        deleted_users: total(|of| of.deleted_users),
        observed_users: total(|of| of.observed_users),
        estimated_users: total(|of| of.estimated_users),
        left_out_users: total(|of| of.left_out_users),
        last_estimate_at: of.iter().filter_map(|of| of.last_estimate_at).max(),
        overall: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_numbers_as_of_an_instant_are_those_of_the_recount(
        facts in history(60),
        windows in prop::collection::vec(1..40 * 86_400_000_000_i64, 1..4),
        edge_off in -1..2_i64,
        limits in limits(),
        step_members in 1..9_usize,
    ) {
        let views = live(&facts, limits);
        let mut without_persons = Views::new(Persons::Off);
        without_persons.apply_all(&facts);
        let days = |at: UtcInstant| at.as_micros().div_euclid(86_400_000_000) * 86_400_000_000;
        let edges: Vec<i64> = edges(&facts).into_iter().filter(|at| at.as_micros().unsigned_abs() < 1 << 60)
            .flat_map(|at| [at.as_micros(), days(at) - 1 + edge_off, days(at) + 86_400_000_000 - 1 + edge_off])
            .collect();
        for at in edges.into_iter().step_by(3) {
            for window in windows.iter().copied().chain([1, 86_400_000_000 - 1, 30 * 86_400_000_000]) {
                let (since, at) = (UtcInstant::from_micros(at - window), UtcInstant::from_micros(at));
                let naive = Naive::choosing(&facts, &Choice { occurred_until: Some(at), ..Choice::default() });
                for scope in [Scope::All, Scope::Tenant(TenantOrdinal::new(1)), Scope::Tenant(TenantOrdinal::new(9))] {
                    let found = as_of(&views, (&facts, &facts), scope, since..=at, step_members);
                    prop_assert_eq!(found, naive.summary(scope, since), "{:?} {} {}", scope, since, at);
                    let found = as_of(&without_persons, (&facts, &facts), scope, since..=at, step_members);
                    let expected = without(naive.summary(scope, since));
                    prop_assert_eq!(found, expected, "{:?} {} {}", scope, since, at);
                }
            }
        }
    }
    /// Facts come while the count is on its way, some at each step: the numbers are those of the position at which it
    /// has looked at all.
    #[test]
    fn what_comes_while_a_count_is_on_its_way_is_in_it(
        facts in batched(80),
        retracted in retracted(),
        before in 0..80_usize,
        between in 0..7_usize,
        window in prop_oneof![1..40 * 86_400_000_000_i64, Just(86_400_000_000 - 1), Just(30 * 86_400_000_000)],
        (step_members, everyone) in (1..9_usize, any::<bool>()),
    ) {
        let dead: Vec<_> = retracted.iter().collect();
        for at in edges(&facts).into_iter().filter(|at| at.as_micros().unsigned_abs() < 1 << 60).step_by(5) {
            let since = UtcInstant::from_micros(at.as_micros() - window);
            for scope in [Scope::All, Scope::Tenant(TenantOrdinal::new(1))] {
                let mut views =
                    ViewsBuilder::new(Selection::default(), retracted.clone(), Persons::UserId).finish();
                let (early, late) = facts.split_at(before.min(facts.len()));
                views.apply_all(early);
                let mut as_of = begun(&views, early, (scope, everyone, since..=at), step_members);
                let mut folded = early.len();
                let mut fold_some = |views: &mut Views| {
                    let some = &late[folded - early.len()..][..between.min(facts.len() - folded)];
                    views.apply_all(some);
                    folded += some.len();
                    folded
                };
                let mut known = fold_some(&mut views);
                while as_of.look(&views).unwrap() {
                    known = fold_some(&mut views);
                }
                fold_some(&mut views);
                let choice = Choice { occurred_until: Some(at), everyone, ..Choice::default() };
                let survivors: Vec<Fact> = facts[..known].iter()
                    .filter(|fact| fact.batch.is_none_or(|batch| !dead.contains(&batch))).copied().collect();
                let expected = Naive::choosing(&survivors, &choice).summary(scope, since);
                prop_assert_eq!(ended(as_of, &views, &survivors), expected, "{:?} {}", scope, at);
            }
        }
    }
}
