//! The rules in domain words, one test each.

use lastseen_event::{EventType, Fact, MemberRef, Position, Provenance, UtcInstant};
use lastseen_projections::{
    Condition, MemberState, Overall, PersonNumbers, Persons, Retracted, Scope, Selection, Status, Summary,
    TypeSet, Views, ViewsBuilder,
};

use crate::history::{event_id, member};

const ACME: u32 = 0;
const GLOBEX: u32 = 1;

fn ada() -> MemberRef {
    member(ACME, 0)
}

/// Ada again, as a member of another tenant.
fn ada_at_globex() -> MemberRef {
    member(GLOBEX, 0)
}

fn bob() -> MemberRef {
    member(ACME, 1)
}

/// A time of day, `hh:mm`, of one day.
fn at(time: &str) -> UtcInstant {
    UtcInstant::parse(&format!("2026-01-06T{time}:00Z")).unwrap()
}

fn micros_after(time: &str, micros: i64) -> UtcInstant {
    UtcInstant::from_micros(at(time).as_micros() + micros)
}

/// Somebody did something at a time; placed in the order in which it is told.
#[derive(Clone, Copy)]
struct Told(MemberRef, EventType, &'static str, bool);

fn login(who: MemberRef, time: &'static str) -> Told {
    Told(who, EventType::Login, time, false)
}

fn refresh(who: MemberRef, time: &'static str) -> Told {
    Told(who, EventType::TokenRefresh, time, false)
}

fn estimate(who: MemberRef, time: &'static str) -> Told {
    Told(who, EventType::EstimatedActivity, time, false)
}

fn invited(who: MemberRef, time: &'static str) -> Told {
    Told(who, EventType::UserCreated, time, false)
}

fn created_confirmed(who: MemberRef, time: &'static str) -> Told {
    Told(who, EventType::UserCreated, time, true)
}

fn confirmed(who: MemberRef, time: &'static str) -> Told {
    Told(who, EventType::UserConfirmed, time, false)
}

fn changed(who: MemberRef, time: &'static str) -> Told {
    Told(who, EventType::UserChanged, time, false)
}

fn deleted(who: MemberRef, time: &'static str) -> Told {
    Told(who, EventType::UserDeleted, time, false)
}

fn restored(who: MemberRef, time: &'static str) -> Told {
    Told(who, EventType::UserRestored, time, false)
}

/// The given facts, with positions from 1 and ids in the same order.
struct Given(Vec<Fact>);

fn given(all: impl IntoIterator<Item = Told>) -> Given {
    let place = |(position, Told(member, event_type, time, created_confirmed))| Fact {
        position: Position::new(position),
        id: event_id(position),
        occurred_at: at(time),
        recorded_at: at("23:59"),
        member,
        event_type,
        created_confirmed,
        counts: None,
        batch: None,
    };
    Given((1..).zip(all).map(place).collect())
}

impl Given {
    /// Returns the state of a member after the given facts.
    fn then(&self, who: MemberRef) -> MemberState {
        self.views().member(who.member).expect("somebody the story is about")
    }

    fn then_all(&self, since: UtcInstant) -> Summary {
        self.views().summary(Scope::All, since)
    }

    fn views(&self) -> Views {
        let mut views = Views::default();
        for fact in &self.0 {
            views.apply(fact);
        }
        views
    }

    fn selecting(&self, selection: Selection) -> Views {
        let mut builder = ViewsBuilder::new(selection, Retracted::default(), Persons::UserId);
        for fact in &self.0 {
            builder.apply(fact);
        }
        builder.finish()
    }
}

fn last_seen(state: &MemberState) -> Option<UtcInstant> {
    state.last_seen.map(|seen| seen.at)
}

#[test]
fn a_late_event_never_moves_last_seen_backwards() {
    let then = given([login(ada(), "10:00"), login(ada(), "09:00")]).then(ada());
    assert_eq!(last_seen(&then), Some(at("10:00")));
    assert_eq!(then.first_seen_at, Some(at("09:00")));
    assert_eq!(then.exists_from, at("09:00"));
}

#[test]
fn membership_never_moves_last_seen() {
    let then = given([login(ada(), "10:00"), confirmed(ada(), "11:00"), changed(ada(), "12:00")]).then(ada());
    assert_eq!(last_seen(&then), Some(at("10:00")));
}

#[test]
fn an_observation_beats_a_later_estimate() {
    for story in [
        [estimate(ada(), "12:00"), login(ada(), "09:00"), estimate(ada(), "13:00")],
        [login(ada(), "09:00"), estimate(ada(), "12:00"), estimate(ada(), "13:00")],
    ] {
        let seen = given(story).then(ada()).last_seen.unwrap();
        assert_eq!((seen.at, seen.provenance()), (at("09:00"), Provenance::Observed));
    }
}

#[test]
fn the_first_observation_can_end_an_activity_that_was_a_guess() {
    let guessed = given([estimate(ada(), "12:00")]);
    assert_eq!(guessed.then_all(at("10:00")).estimated_users, 1);
    let known = given([estimate(ada(), "12:00"), login(ada(), "09:00")]);
    let summary = known.then_all(at("10:00"));
    assert_eq!((summary.active_users, summary.inactive_users), (0, 1));
}

#[test]
fn without_an_observation_the_greatest_estimate_counts() {
    let seen = given([estimate(ada(), "12:00"), estimate(ada(), "11:00")]).then(ada()).last_seen.unwrap();
    assert_eq!((seen.at, seen.provenance()), (at("12:00"), Provenance::Estimated));
}

#[test]
fn an_estimate_makes_first_seen_even_where_an_observation_makes_last_seen() {
    let then = given([estimate(ada(), "08:00"), login(ada(), "10:00")]).then(ada());
    assert_eq!((then.first_seen_at, last_seen(&then)), (Some(at("08:00")), Some(at("10:00"))));
}

#[test]
fn of_one_instant_the_type_listed_first_then_the_least_position_is_reported() {
    for story in [
        [refresh(ada(), "10:00"), login(ada(), "10:00"), login(ada(), "10:00")],
        [refresh(ada(), "10:00"), refresh(ada(), "09:00"), login(ada(), "10:00")],
    ] {
        let first_login = story.iter().position(|Told(_, event_type, ..)| *event_type == EventType::Login);
        let seen = given(story).then(ada()).last_seen.unwrap();
        assert_eq!(seen.event_type, EventType::Login);
        assert_eq!(seen.position.get(), first_login.unwrap() as u64 + 1);
    }
}

#[test]
fn exactly_at_the_edge_is_active_and_one_microsecond_older_is_not() {
    let story = given([login(ada(), "10:00")]);
    let then = story.then(ada());
    for (since, status) in [
        (micros_after("10:00", -1), Status::Active),
        (at("10:00"), Status::Active),
        (micros_after("10:00", 1), Status::Inactive),
    ] {
        assert_eq!(then.status(since), status);
        let active = u64::from(status == Status::Active);
        let summary = story.then_all(since);
        assert_eq!((summary.active_users, summary.inactive_users), (active, 1 - active));
    }
}

#[test]
fn whoever_is_invited_is_pending_until_anything_confirms_it() {
    assert_eq!(given([invited(ada(), "08:00")]).then(ada()).status(at("00:00")), Status::Pending);
    for (confirming, status) in [
        (confirmed(ada(), "09:00"), Status::NeverSeen),
        (created_confirmed(ada(), "09:00"), Status::NeverSeen),
        (login(ada(), "09:00"), Status::Active),
        (estimate(ada(), "09:00"), Status::Active),
    ] {
        let then = given([invited(ada(), "08:00"), confirming, invited(ada(), "10:00")]).then(ada());
        assert_eq!(then.status(at("00:00")), status);
        assert_eq!((then.exists_from, then.confirmed_from), (at("08:00"), Some(at("09:00"))));
    }
}

#[test]
fn a_change_or_a_deletion_makes_a_member_known_but_not_confirmed() {
    assert_eq!(given([changed(ada(), "08:00")]).then(ada()).status(at("00:00")), Status::Pending);
    let gone = given([deleted(ada(), "08:00")]);
    assert_eq!(gone.then(ada()).status(at("00:00")), Status::Deleted);
    let back = given([deleted(ada(), "08:00"), restored(ada(), "09:00")]);
    assert_eq!(back.then(ada()).status(at("00:00")), Status::Pending);
}

#[test]
fn whoever_is_pending_is_never_seen_too_and_neither_is_inactive() {
    let story = given([invited(ada(), "08:00"), created_confirmed(bob(), "08:00")]);
    let summary = story.then_all(at("09:00"));
    assert_eq!((summary.total_users, summary.pending_users, summary.never_seen_users), (2, 1, 2));
    assert_eq!((summary.active_users, summary.inactive_users), (0, 0));
    for (who, conditions) in
        [(ada(), vec![Condition::Pending, Condition::NeverSeen]), (bob(), vec![Condition::NeverSeen])]
    {
        let all = [
            Condition::Active,
            Condition::Inactive,
            Condition::Pending,
            Condition::NeverSeen,
            Condition::Deleted,
        ];
        let met: Vec<_> = all.into_iter().filter(|&all| story.then(who).meets(all, at("09:00"))).collect();
        assert_eq!(met, conditions);
    }
}

#[test]
fn a_deleted_member_counts_as_deleted_and_as_nothing_else() {
    let summary = given([login(ada(), "10:00"), deleted(ada(), "11:00")]).then_all(at("00:00"));
    let overall = summary.overall;
    assert_eq!(summary, Summary { deleted_users: 1, overall, ..Summary::default() });
    let nobody = Overall { persons: Some(PersonNumbers::default()), ..Overall::default() };
    assert_eq!(overall, Some(nobody));
}

#[test]
fn activity_of_a_deleted_member_is_kept_and_does_not_restore_it() {
    let story = given([login(ada(), "09:00"), deleted(ada(), "10:00"), login(ada(), "11:00")]);
    let then = story.then(ada());
    assert_eq!((then.status(at("00:00")), then.deleted_at), (Status::Deleted, Some(at("10:00"))));
    assert_eq!(last_seen(&then), Some(at("11:00")));
    assert_eq!(story.then_all(at("00:00")).active_users, 0);
}

#[test]
fn creation_does_not_restore() {
    let then = given([deleted(ada(), "10:00"), created_confirmed(ada(), "11:00")]).then(ada());
    assert_eq!(then.status(at("00:00")), Status::Deleted);
}

#[test]
fn delete_then_restore_keeps_last_seen() {
    let story = given([login(ada(), "09:00"), deleted(ada(), "10:00"), restored(ada(), "11:00")]);
    let then = story.then(ada());
    assert_eq!((last_seen(&then), then.deleted_at), (Some(at("09:00")), None));
    assert_eq!(story.then_all(at("09:00")).active_users, 1);
}

#[test]
fn a_deletion_older_than_the_restoration_comes_too_late() {
    let then = given([restored(ada(), "11:00"), deleted(ada(), "10:00")]).then(ada());
    assert_eq!(then.deleted_at, None);
}

#[test]
fn of_a_deletion_and_a_restoration_at_one_instant_the_greater_id_decides() {
    let gone = given([restored(ada(), "10:00"), deleted(ada(), "10:00")]).then(ada());
    assert_eq!(gone.deleted_at, Some(at("10:00")));
    let back = given([deleted(ada(), "10:00"), restored(ada(), "10:00")]).then(ada());
    assert_eq!(back.deleted_at, None);
}

#[test]
fn a_user_of_two_tenants_is_two_members_and_one_person() {
    let story = given([login(ada(), "09:00"), login(ada_at_globex(), "11:00"), login(bob(), "11:00")]);
    for (since, active, tenants, persons) in [("09:00", 3, 2, 2), ("10:00", 2, 2, 2), ("12:00", 0, 0, 0)] {
        let summary = story.then_all(at(since));
        let overall = summary.overall.unwrap();
        let of_persons = overall.persons.unwrap();
        assert_eq!((summary.total_users, overall.tenants, of_persons.total_persons), (3, 2, 2));
        let found = (summary.active_users, overall.active_tenants, of_persons.active_persons);
        assert_eq!(found, (active, tenants, persons), "since {since}");
    }
}

#[test]
fn a_person_is_there_while_one_of_its_members_is() {
    let story = given([login(ada(), "09:00"), login(ada_at_globex(), "09:00"), deleted(ada(), "10:00")]);
    let numbers = |story: &Given| {
        let overall = story.then_all(at("00:00")).overall.unwrap();
        let persons = overall.persons.unwrap();
        (overall.tenants, persons.total_persons, persons.active_persons)
    };
    assert_eq!(numbers(&story), (1, 1, 1));
    let gone = [login(ada(), "09:00"), deleted(ada(), "10:00"), deleted(ada_at_globex(), "10:00")];
    assert_eq!(numbers(&given(gone)), (0, 0, 0));
}

#[test]
fn with_persons_off_nobody_is_joined_and_there_are_no_numbers_of_persons() {
    let story = given([login(ada(), "09:00"), login(ada_at_globex(), "11:00")]);
    let mut views = Views::new(Persons::Off);
    views.apply_all(&story.0);
    let summary = views.summary(Scope::All, at("10:00"));
    assert_eq!(summary.overall, Some(Overall { tenants: 2, active_tenants: 1, persons: None }));
    let names = |summary: Summary| summary.named().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let of_members = [
        "total_users",
        "pending_users",
        "never_seen_users",
        "active_users",
        "observed_users",
        "estimated_users",
        "inactive_users",
        "deleted_users",
        "left_out_users",
        "tenants",
        "active_tenants",
    ];
    assert_eq!(names(summary), of_members);
    let with_persons = [of_members.as_slice(), &["total_persons", "active_persons"]].concat();
    assert_eq!(names(story.then_all(at("10:00"))), with_persons);
}

#[test]
fn as_of_an_instant_nothing_later_has_happened() {
    let story = given([
        estimate(ada(), "09:00"),
        login(ada(), "11:00"),
        deleted(ada(), "12:00"),
        login(bob(), "12:00"),
    ]);
    let as_of = |until| {
        let selection = Selection { occurred_until: Some(at(until)), ..Selection::default() };
        story.selecting(selection)
    };
    assert_eq!(as_of("08:59").member(ada().member), None);
    // An estimate counts until the first observation.
    let seen = |until| as_of(until).member(ada().member).unwrap().last_seen.unwrap().provenance();
    assert_eq!(
        [seen("09:00"), seen("10:59"), seen("11:00")].map(Provenance::as_str),
        ["estimated", "estimated", "observed"]
    );
    assert_eq!(as_of("11:59").summary(Scope::All, at("00:00")).total_users, 1);
    assert_eq!(as_of("12:00").summary(Scope::All, at("00:00")).deleted_users, 1);
}

#[test]
fn a_filter_by_type_narrows_what_is_seen_and_not_who_exists() {
    let story = given([refresh(ada(), "11:00"), login(ada(), "10:00"), refresh(bob(), "11:00")]);
    let logins = Selection { types: TypeSet::of([EventType::Login]), ..Selection::default() };
    let views = story.selecting(logins);
    assert_eq!(last_seen(&views.member(ada().member).unwrap()), Some(at("10:00")));
    let then = views.member(bob().member).unwrap();
    assert_eq!((then.last_seen, then.first_seen_at), (None, None));
    assert_eq!(then.status(at("00:00")), Status::NeverSeen);
    assert_eq!(then.confirmed_from, Some(at("11:00")));
}

#[test]
fn observed_only_leaves_estimates_out_of_what_is_seen() {
    let story = given([estimate(ada(), "11:00"), login(ada(), "10:00"), estimate(bob(), "11:00")]);
    let views = story.selecting(Selection { observed_only: true, ..Selection::default() });
    let then = views.member(ada().member).unwrap();
    assert_eq!((then.first_seen_at, last_seen(&then)), (Some(at("10:00")), Some(at("10:00"))));
    assert_eq!(views.member(bob().member).unwrap().status(at("00:00")), Status::NeverSeen);
}

#[test]
fn what_nobody_told_of_is_not_known() {
    let views = given([login(ada(), "10:00")]).views();
    assert_eq!(views.member(bob().member), None);
    assert!(views.knows_tenant(ada().tenant));
    assert!(!views.knows_tenant(ada_at_globex().tenant));
    assert_eq!(views.summary(Scope::Tenant(ada_at_globex().tenant), at("00:00")), Summary::default());
    assert_eq!(Views::default().position(), Position::START);
}
