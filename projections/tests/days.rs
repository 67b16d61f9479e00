//! Series of days and cohorts against a recount from their definitions, in any zone, over random histories.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate};
use chrono_tz::Tz;
use lastseen_event::{
    EventType, Fact, MemberOrdinal, Position, Provenance, Sighting, TenantOrdinal, UtcInstant,
};
use lastseen_projections::{
    ActivityScan, Calendar, Cohort, Cut, Day, DaysAsked, DaysBuilder, Definition, Following, Period, Periods,
    Persons, Retracted, Scope, Selection, SeriesRow, Subject, Views, ViewsBuilder, WeekStart, Windows,
};
use proptest::prelude::*;

use crate::history::{Choice, OBSERVED, TENANTS, disorder, history, long_history};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Zones, and a day around which their clocks do something.
const ZONES: [(&str, &str); 7] = [
    ("UTC", "2026-02-20"),
    ("Europe/Berlin", "2026-03-20"),
    ("America/New_York", "2026-10-25"),
    ("Australia/Lord_Howe", "2026-03-30"),
    ("Pacific/Apia", "2011-12-25"),
    ("Asia/Kolkata", "2026-02-20"),
    ("America/St_Johns", "2006-10-22"),
];

fn date(zone: Tz, micros: i64) -> NaiveDate {
    DateTime::from_timestamp_micros(micros).unwrap().with_timezone(&zone).date_naive()
}

fn day(date: NaiveDate) -> Day {
    date.to_string().parse().unwrap()
}

fn naive_date(day: Day) -> NaiveDate {
    day.to_string().parse().unwrap()
}

/// The last microsecond that shows the date or an earlier one, minute by minute.
fn end(zone: Tz, last: NaiveDate) -> i64 {
    let midnight = last.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_micros();
    let minutes = (-24 * 60..72 * 60).map(|minute| midnight + minute * MINUTE);
    minutes.filter(|minute| date(zone, *minute) <= last).max().unwrap() + MINUTE - 1
}

/// Spreads a history over ten weeks, close to where days end.
fn spread(facts: Vec<Fact>, places: &[(i64, i64)], start: &str) -> Vec<Fact> {
    let start = UtcInstant::parse(&format!("{start}T00:00:00Z")).unwrap().as_micros();
    let at = |(fact, (days, minutes)): (Fact, &(i64, i64))| Fact {
        occurred_at: UtcInstant::from_micros(start + days * DAY + minutes * MINUTE),
        ..fact
    };
    facts.into_iter().zip(places.iter().cycle()).map(at).collect()
}

fn places() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let minutes = prop_oneof![(0..24 * 60_i64), (-3..4_i64), (22 * 60..24 * 60_i64), Just(152), Just(149)];
    prop::collection::vec((prop_oneof![3 => 0..12_i64, 1 => -30..45_i64], minutes), 1..60)
}

/// The facts that the recount goes over, and the choice and the zone it applies.
struct Recount<'a> {
    facts: Vec<&'a Fact>,
    choice: Choice,
    zone: Tz,
    of_persons: bool,
    /// The first date that is not over.
    open: NaiveDate,
}

/// Whoever is counted: a member, or a person.
type Who = u32;

impl Recount<'_> {
    fn counted(&self, fact: &Fact) -> bool {
        match &self.choice.types {
            Some(types) => types.contains(&fact.event_type),
            None => match fact.event_type.activity() {
                Some(Provenance::Observed) => true,
                Some(Provenance::Estimated) => !self.choice.observed_only,
                None => false,
            },
        }
    }

    fn date_of(&self, fact: &Fact) -> NaiveDate {
        date(self.zone, fact.occurred_at.as_micros())
    }

    fn members(&self) -> BTreeSet<MemberOrdinal> {
        self.facts.iter().map(|fact| fact.member.member).collect()
    }

    fn of(&self, member: MemberOrdinal) -> impl Iterator<Item = &Fact> {
        self.facts.iter().copied().filter(move |fact| fact.member.member == member)
    }

    fn who(&self, member: MemberOrdinal) -> Who {
        if self.of_persons { self.of(member).next().unwrap().member.person.get() } else { member.get() }
    }

    fn people(&self, members: impl IntoIterator<Item = MemberOrdinal>) -> BTreeSet<Who> {
        members.into_iter().map(|member| self.who(member)).collect()
    }

    /// True if the member exists by then, and is neither deleted nor left out.
    fn is_present(&self, member: MemberOrdinal, end: i64) -> bool {
        let known = || self.of(member).filter(|fact| fact.occurred_at.as_micros() <= end);
        let deciding = known()
            .filter(|fact| [EventType::UserDeleted, EventType::UserRestored].contains(&fact.event_type))
            .max_by_key(|fact| (fact.occurred_at, fact.id, fact.event_type == EventType::UserDeleted));
        let counting = known()
            .filter(|fact| fact.counts.is_some())
            .max_by_key(|fact| (fact.occurred_at, fact.id, fact.counts == Some(false)));
        known().next().is_some()
            && deciding.is_none_or(|fact| fact.event_type == EventType::UserRestored)
            && (self.choice.everyone || counting.is_none_or(|fact| fact.counts == Some(true)))
    }

    /// Members active on these days with membership as at the end of the last: by an observation, only by an estimate.
    fn active_members(&self, days: &RangeInclusive<NaiveDate>) -> [Vec<MemberOrdinal>; 2] {
        let end = end(self.zone, *days.end());
        let (mut by_observation, mut by_estimate) = (Vec::new(), Vec::new());
        for member in self.members().into_iter().filter(|member| self.is_present(*member, end)) {
            let is_observed =
                |fact: &&Fact| fact.event_type != EventType::EstimatedActivity && self.counted(fact);
            let was_observed =
                self.of(member).filter(is_observed).any(|fact| fact.occurred_at.as_micros() <= end);
            let within =
                || self.of(member).filter(|fact| self.counted(fact) && days.contains(&self.date_of(fact)));
            if within().any(|fact| is_observed(&fact)) {
                by_observation.push(member);
            } else if within().next().is_some() && !was_observed {
                by_estimate.push(member);
            }
        }
        [by_observation, by_estimate]
    }

    fn active(&self, days: &RangeInclusive<NaiveDate>) -> BTreeSet<Who> {
        self.people(self.active_members(days).concat())
    }

    fn estimated(&self, days: &RangeInclusive<NaiveDate>) -> u64 {
        let [by_observation, by_estimate] = self.active_members(days).map(|members| self.people(members));
        by_estimate.difference(&by_observation).count() as u64
    }

    /// Those with activity that counts in these days, and none on an earlier date.
    fn first(&self, days: &RangeInclusive<NaiveDate>) -> BTreeSet<Who> {
        let everybody = self.people(self.members());
        let is_first = |who: &Who| {
            let theirs = self.facts.iter().filter(|fact| self.who(fact.member.member) == *who);
            let dates = theirs.filter(|fact| self.counted(fact)).map(|fact| self.date_of(fact));
            dates.min().is_some_and(|date| days.contains(&date))
        };
        everybody.into_iter().filter(is_first).collect()
    }

    fn total(&self, last: NaiveDate) -> u64 {
        let end = if last < self.open { end(self.zone, last) } else { i64::MAX };
        self.people(self.members().into_iter().filter(|member| self.is_present(*member, end))).len() as u64
    }

    fn row(&self, before: &RangeInclusive<NaiveDate>, days: &RangeInclusive<NaiveDate>) -> SeriesRow {
        let (was, is, first) = (self.active(before), self.active(days), self.first(days));
        let count = |keep: &dyn Fn(&Who) -> bool| is.iter().filter(|who| keep(who)).count() as u64;
        SeriesRow {
            days: day(*days.start())..=day(*days.end()),
            active: is.len() as u64,
            estimated: self.estimated(days),
            windows: None,
            new: count(&|who| first.contains(who)),
            returning: count(&|who| was.contains(who)),
            resurrected: count(&|who| !was.contains(who) && !first.contains(who)),
            dormant: was.difference(&is).count() as u64,
            total: self.total(*days.end()),
        }
    }

    fn rows(&self, Periods { days, period }: &Periods) -> Vec<SeriesRow> {
        let row = |days: &RangeInclusive<NaiveDate>| {
            let before = period.around(day(*days.start()).plus(-1));
            let mut row = self.row(&(naive_date(*before.start())..=naive_date(*before.end())), days);
            if *period == Period::Day {
                let window = |back: i32| naive_date(row.days.end().plus(back))..=*days.end();
                let (week, month) = (self.active(&window(-6)), self.active(&window(-29)));
                let mau_estimated = self.estimated(&window(-29));
                row.windows =
                    Some(Windows { wau: week.len() as u64, mau: month.len() as u64, mau_estimated });
            }
            row
        };
        periods_of(*period, days).iter().map(row).collect()
    }

    fn cohorts(&self, Periods { days, period }: &Periods) -> Vec<Cohort> {
        let periods = periods_of(*period, days);
        let cohort = |(at, days): (usize, &RangeInclusive<NaiveDate>)| {
            let is = self.active(days);
            let members: BTreeSet<_> = self.first(days).intersection(&is).copied().collect();
            let later = |days| self.active(days).intersection(&members).count() as u64;
            Cohort {
                days: day(*days.start())..=day(*days.end()),
                size: members.len() as u64,
                active: periods[at..].iter().map(later).collect(),
            }
        };
        periods.iter().enumerate().map(cohort).collect()
    }
}

fn periods_of(period: Period, days: &RangeInclusive<Day>) -> Vec<RangeInclusive<NaiveDate>> {
    let dates = |days: &RangeInclusive<Day>| naive_date(*days.start())..=naive_date(*days.end());
    period.covering(days).iter().map(dates).collect()
}

fn around(start: &str) -> RangeInclusive<Day> {
    let first: Day = start.parse().unwrap();
    first.plus(-1)..=first.plus(12)
}

/// A question for rows in words that a recount can follow.
#[derive(Clone, Debug)]
struct Asked {
    scope: Scope,
    choice: Choice,
    of_persons: bool,
    period: Period,
    /// The number of the first day that is not over, from the first that is asked for.
    open: i32,
}

impl Asked {
    fn periods(&self, start: &str) -> Periods {
        Periods { days: around(start), period: self.period }
    }

    fn open(&self, start: &str) -> Day {
        around(start).start().plus(self.open)
    }

    fn of(&self, zone: Tz, start: &str) -> DaysAsked {
        let Choice { everyone, .. } = self.choice;
        let definition = Definition { zone, counted: self.choice.selection().counted() };
        let periods = self.periods(start);
        DaysAsked { scope: self.scope, everyone, of_persons: self.of_persons, definition, periods }
    }

    fn recount<'a>(&self, facts: &'a [Fact], zone: Tz, start: &str) -> Recount<'a> {
        let within = |fact: &&Fact| match self.scope {
            Scope::All => true,
            Scope::Tenant(tenant) => fact.member.tenant == tenant,
        };
        Recount {
            facts: facts.iter().filter(within).collect(),
            choice: self.choice.clone(),
            zone,
            of_persons: self.of_persons,
            open: naive_date(self.open(start)),
        }
    }
}

fn period() -> impl Strategy<Value = Period> {
    prop::sample::select(vec![
        Period::Day,
        Period::Week(WeekStart::Monday),
        Period::Week(WeekStart::Sunday),
        Period::Month,
        Period::Quarter,
        Period::Year,
    ])
}

fn asked() -> impl Strategy<Value = Asked> {
    let types = prop::option::of(prop::sample::subsequence(OBSERVED.to_vec(), 1..=3));
    let tenant = prop::option::of(0..TENANTS);
    (tenant, (types, any::<bool>(), any::<bool>()), any::<bool>(), period(), 0..16_i32).prop_map(
        |(tenant, (types, observed_only, everyone), of_persons, period, open)| Asked {
            scope: tenant.map_or(Scope::All, |tenant| Scope::Tenant(TenantOrdinal::new(tenant))),
            choice: Choice { types, observed_only, everyone, ..Choice::default() },
            of_persons,
            period,
            open,
        },
    )
}

/// A history near the end of days around a day at which a clock does something.
fn local_history(events: usize) -> impl Strategy<Value = (Vec<Fact>, Tz, &'static str)> {
    (history(events), places(), prop::sample::select(ZONES.to_vec())).prop_map(
        |(facts, places, (zone, start))| (spread(facts, &places, start), zone.parse().unwrap(), start),
    )
}

fn live(facts: &[Fact]) -> Views {
    let mut views = Views::default();
    for fact in facts {
        views.apply(fact);
    }
    views
}

fn scanned(facts: &[Fact], asked: &Asked, zone: Tz, periods: &Periods) -> lastseen_projections::DaySets {
    let persons = if asked.of_persons { Persons::UserId } else { Persons::Off };
    let calendar = Arc::new(Calendar::of_zone(zone));
    let mut builder = DaysBuilder::new(asked.choice.selection(), Retracted::default(), calendar, persons);
    builder.apply_all(facts);
    builder.finish().days(periods, None)
}

fn scan(following: &Following, facts: &[Fact]) -> ActivityScan {
    let mut scan = following.scan();
    scan.see_all(&facts.iter().filter_map(Sighting::of).collect::<Vec<_>>());
    scan
}

/// Follows a definition of which `seen` facts were scanned while the views held `held`.
fn followed(views: &Views, definition: Definition, seen: &[Fact], held: &[Fact]) -> Following {
    let mut following = Following::new(definition, Arc::new(Calendar::of_zone(definition.zone)), views);
    following.join(scan(&following, seen));
    while following.look_at_some(views) {}
    following.put_together();
    following.catch_up(views, held);
    following
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn live_days_are_those_of_the_recount_whatever_the_order(
        (facts, disorder) in (history(40), places()).prop_flat_map(|(facts, places)| {
            let facts = spread(facts, &places, ZONES[0].1);
            (Just(facts.clone()), disorder(&facts))
        }),
        asked in asked(),
    ) {
        let asked = Asked { choice: Choice { everyone: asked.choice.everyone, ..Choice::default() }, ..asked };
        let (live, start) = (live(&disorder), ZONES[0].1);
        let (expected, of, open) =
            (asked.recount(&facts, Tz::UTC, start), asked.of(Tz::UTC, start), asked.open(start));
        let sets = live.days(&of).unwrap();
        prop_assert_eq!(sets.rows(open), expected.rows(&of.periods));
        prop_assert_eq!(sets.cohorts(), expected.cohorts(&of.periods));
        let mut builder = ViewsBuilder::new(Selection::default(), Retracted::default(), Persons::UserId);
        builder.apply_all(&facts);
        prop_assert_eq!(builder.finish().days(&of).unwrap().rows(open), sets.rows(open));
        for day in Day::each(around(start)) {
            let of = DaysAsked { periods: Periods { days: day..=day, period: Period::Day }, ..of.clone() };
            let mut sets = live.days(&of).unwrap();
            let expected = sets.rows(open);
            sets.set_before(sets.before());
            prop_assert!(sets.has_before());
            prop_assert_eq!(sets.rows(open), expected);
        }
    }

    #[test]
    fn days_of_a_scan_are_those_of_the_recount((facts, zone, start) in local_history(40), asked in asked()) {
        // A scan knows the members that it was given.
        let asked = Asked { scope: Scope::All, ..asked };
        let periods = asked.periods(start);
        let (sets, expected) = (scanned(&facts, &asked, zone, &periods), asked.recount(&facts, zone, start));
        prop_assert_eq!(sets.rows(asked.open(start)), expected.rows(&periods));
        prop_assert_eq!(sets.cohorts(), expected.cohorts(&periods));
        let new: Vec<u64> = sets.rows(asked.open(start)).into_iter().map(|row| row.new).collect();
        let sizes: Vec<u64> = sets.cohorts().into_iter().map(|cohort| cohort.size).collect();
        prop_assert_eq!(new, sizes, "a cohort is the new ones of its row");
    }

    /// Some facts are scanned, some are folded while the views are looked at, some after: all that, whatever overlaps.
    #[test]
    fn days_that_are_followed_are_those_of_the_recount(
        (facts, zone, start) in local_history(60),
        asked in asked(),
        (begun, seen, handed_over) in (0..60_usize, 0..60_usize, 0..60_usize),
    ) {
        let (begun, handed_over) = (begun.min(facts.len()), begun.max(handed_over).min(facts.len()));
        let seen = seen.min(handed_over);
        let mut views = live(&facts[..begun]);
        let definition = asked.of(zone, start).definition;
        let mut following = Following::new(definition, Arc::new(Calendar::of_zone(zone)), &views);
        let halfway = begun + (handed_over - begun) / 2;
        following.join(scan(&following, &facts[seen / 2..seen]));
        views.apply_all(&facts[begun..halfway]);
        while following.look_at_some(&views) {}
        following.join(scan(&following, &facts[..seen / 2]));
        following.put_together();
        following.catch_up(&views, &facts[seen.min(begun)..halfway]);
        views.apply_all(&facts[halfway..handed_over]);
        prop_assert!(views.follow(&mut following, &facts[halfway..handed_over]));
        prop_assert!(views.follows(definition));
        views.apply_all(&facts[handed_over..]);
        let (expected, of, open) =
            (asked.recount(&facts, zone, start), asked.of(zone, start), asked.open(start));
        let sets = views.days(&of).unwrap();
        prop_assert_eq!(sets.rows(open), expected.rows(&of.periods));
        prop_assert_eq!(sets.cohorts(), expected.cohorts(&of.periods));
        drop(views.unfollow(Subject::Activity(definition)));
        prop_assert_eq!(views.follows(definition), definition == Definition::UTC);
        prop_assert!(views.followed().is_empty());
    }

    /// Days as of an instant: those before it as they are, those that are not over from their facts up to it, of which some
    /// come while they are looked at.
    #[test]
    fn days_as_of_an_instant_are_those_of_the_recount(
        (facts, zone, start) in local_history(60),
        asked in asked(),
        (begun, at) in (0..60_usize, any::<prop::sample::Index>()),
        off in prop_oneof![-1..2_i64, -300 * MINUTE..300 * MINUTE],
        to_end in any::<bool>(),
    ) {
        prop_assume!(!facts.is_empty());
        let calendar = Arc::new(Calendar::of_zone(zone));
        let at = UtcInstant::from_micros(at.get(&facts).occurred_at.as_micros() + off);
        let at = if to_end { calendar.end(calendar.date(at)) } else { at };
        let (of, mut views) = (asked.of(zone, start), live(&facts[..begun.min(facts.len())]));
        let mut following = followed(&views, of.definition, &facts[..begun.min(facts.len())], &[]);
        prop_assert!(views.follow(&mut following, &[]));
        let mut cut = Cut::new(&views, of.definition, calendar.clone(), at);
        if let Some(instants) = cut.instants() {
            let held = &facts[..begun.min(facts.len())];
            held.iter().filter(|fact| instants.contains(&fact.occurred_at)).for_each(|fact| cut.see(fact));
        }
        views.apply_all(&facts[begun.min(facts.len())..]);
        prop_assert!(cut.catch_up(&views));
        let open = cut.open();
        let sets = views.days(&of).unwrap().cut(cut);
        let then: Vec<Fact> = facts.iter().filter(|fact| fact.occurred_at <= at).copied().collect();
        let expected = Recount { open: naive_date(open), ..asked.recount(&then, zone, start) };
        prop_assert_eq!(sets.rows(open), expected.rows(&of.periods));
        prop_assert_eq!(sets.cohorts(), expected.cohorts(&of.periods));
        let scan = Asked { choice: Choice { occurred_until: Some(at), ..asked.choice.clone() }, ..asked.clone() };
        if asked.scope == Scope::All {
            let scanned = scanned(&facts, &scan, zone, &of.periods);
            prop_assert_eq!(scanned.rows(open), sets.rows(open));
        }
    }

    #[test]
    fn a_row_that_was_counted_before_holds_until_the_views_say_that_it_changed(
        (facts, zone, start) in local_history(60),
        (known, is_dropped) in (0..60_usize, any::<bool>()),
        asked in asked(),
    ) {
        let (early, late) = facts.split_at(known.min(facts.len()));
        let (of, mut views) = (asked.of(zone, start), live(early));
        let mut following = followed(&views, of.definition, early, &[]);
        prop_assert!(views.follow(&mut following, &[]));
        // Every period is over: the totals of others are those of now.
        let open = Day::new(i32::MAX);
        let (before, position) = (views.days(&of).unwrap().rows(open), views.position());
        let last = *of.periods.days.end();
        let of_last = DaysAsked { periods: Periods { days: last..=last, period: Period::Day }, ..of.clone() };
        let of_before = views.days(&of_last).unwrap().before();
        let gap = if is_dropped { late.len() / 2 } else { 0 };
        if is_dropped {
            // Followed no longer, and once more later on: nothing is known of the time between.
            drop(views.unfollow(Subject::Activity(of.definition)));
            views.apply_all(&late[..gap]);
            let mut following = followed(&views, of.definition, &facts[..early.len() + gap], &[]);
            prop_assert!(views.follow(&mut following, &[]));
        }
        for some in late[gap..].chunks(4) {
            views.apply_all(some);
            if views.before_changed_at(&of_last, &of_before).unwrap() <= position {
                let mut sets = views.days(&of_last).unwrap();
                let expected = sets.rows(open);
                sets.set_before(of_before.clone());
                prop_assert_eq!(sets.rows(open), expected);
            }
        }
        for (before, now) in before.iter().zip(views.days(&of).unwrap().rows(open)) {
            if views.row_changed_at(&of, &now.days).unwrap() <= position {
                prop_assert_eq!(before, &now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// A definition that was followed for a thousand steps is one that is made anew.
    #[test]
    fn a_thousand_steps_lead_to_what_a_scan_finds((facts, zone, start) in local_history(1_000), asked in asked()) {
        let asked = Asked { scope: Scope::All, ..asked };
        let (of, mut views) = (asked.of(zone, start), Views::default());
        let mut following = followed(&views, of.definition, &[], &[]);
        prop_assert!(views.follow(&mut following, &[]));
        for fact in &facts {
            views.apply(fact);
        }
        let (sets, anew) = (views.days(&of).unwrap(), scanned(&facts, &asked, zone, &of.periods));
        let open = asked.open(start);
        prop_assert_eq!(sets.rows(open), anew.rows(open));
        prop_assert_eq!(sets.cohorts(), anew.cohorts());
    }
}

/// The question for rows of members of all tenants on some days of UTC.
fn of_days(days: RangeInclusive<Day>) -> DaysAsked {
    DaysAsked {
        scope: Scope::All,
        everyone: false,
        of_persons: false,
        definition: Definition::UTC,
        periods: Periods { days, period: Period::Day },
    }
}

fn changed_at(views: &Views, day: Day) -> Position {
    views.row_changed_at(&of_days(day..=day), &(day..=day)).unwrap()
}

#[test]
fn what_happens_today_leaves_the_days_before_as_they_were() {
    let facts = crate::history::events_on_days(&[(0, EventType::Login), (20, EventType::Login)]);
    let mut views = live(&facts);
    let first = "2026-01-06".parse::<Day>().unwrap();
    assert_eq!(changed_at(&views, first), Position::new(1));
    assert_eq!(changed_at(&views, first.plus(19)), Position::new(1), "told of a later day since");
    assert_eq!(changed_at(&views, first.plus(20)), Position::new(2));
    assert_eq!(changed_at(&views, first.plus(-1)), Position::START);
    // The same day again tells nothing new of it.
    let again = Fact { position: Position::new(3), ..facts[1] };
    views.apply(&again);
    assert_eq!(changed_at(&views, first.plus(20)), Position::new(2));
}

#[test]
fn an_older_first_activity_changes_the_day_that_was_taken_for_it() {
    let views = live(&crate::history::events_on_days(&[(40, EventType::Login), (0, EventType::Login)]));
    let first = "2026-01-06".parse::<Day>().unwrap();
    assert_eq!(changed_at(&views, first.plus(40)), Position::new(2), "nobody is new there any more");
    let new = |day: Day| views.days(&of_days(day..=day)).unwrap().rows(day)[0].new;
    assert_eq!([new(first), new(first.plus(40))], [1, 0]);
}

/// The clock goes back past midnight, so a later login has the earlier date.
#[test]
fn who_comes_while_a_clock_is_set_back_past_midnight_is_new_once() {
    let calendar = Arc::new(Calendar::of_zone("America/St_Johns".parse().unwrap()));
    let login = crate::history::events_on_days(&[(0, EventType::Login)])[0];
    let at = |text| Fact { occurred_at: UtcInstant::parse(text).unwrap(), ..login };
    let facts = [at("2009-11-01T02:30:30Z"), at("2009-11-01T02:40:00Z")];
    let mut builder = DaysBuilder::new(Selection::default(), Retracted::default(), calendar, Persons::Off);
    builder.apply_all(&facts);
    let days = "2009-10-01".parse().unwrap()..="2009-11-30".parse().unwrap();
    let sets = builder.finish().days(&Periods { days, period: Period::Month }, None);
    let new: Vec<u64> = sets.rows(Day::new(i32::MAX)).iter().map(|row| row.new).collect();
    let sizes: Vec<u64> = sets.cohorts().iter().map(|cohort| cohort.size).collect();
    assert_eq!((new, sizes), (vec![1, 0], vec![1, 0]), "they are shown in October first");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Two definitions of one zone, one of which is let go and followed again on the way.
    #[test]
    fn a_definition_that_is_followed_for_a_thousand_steps_equals_one_made_anew(
        (facts, places) in (long_history(1_000), places()),
        (zone, start) in prop::sample::select(ZONES.to_vec()),
        (asked, other) in (asked(), asked()),
        (begun, every) in (0..60_usize, 60..140_usize),
    ) {
        let (facts, zone): (_, Tz) = (spread(facts, &places, start), zone.parse().unwrap());
        let questions = [asked, other].map(|asked| (asked.of(zone, start), asked));
        let follow = |views: &mut Views, definition: Definition, facts: &[Fact]| {
            let mut following = followed(views, definition, facts, &[]);
            views.follow(&mut following, &[])
        };
        let mut views = live(&facts[..begun]);
        for (of, _) in &questions {
            prop_assert!(follow(&mut views, of.definition, &facts[..begun]));
        }
        for (step, end) in (begun + every..).step_by(every).take_while(|end| *end < facts.len()).enumerate() {
            views.apply_all(&facts[end - every..end]);
            let so_far = &facts[..end];
            for (of, asked) in &questions {
                let mut anew = live(so_far);
                prop_assert!(follow(&mut anew, of.definition, so_far));
                let (kept, anew) = (views.days(of).unwrap(), anew.days(of).unwrap());
                let open = asked.open(start);
                prop_assert_eq!(kept.rows(open), anew.rows(open));
                prop_assert_eq!(kept.cohorts(), anew.cohorts());
                if of.scope == Scope::All {
                    prop_assert_eq!(scanned(so_far, asked, zone, &of.periods).rows(open), kept.rows(open));
                }
            }
            if step % 3 == 2 {
                drop(views.unfollow(Subject::Activity(questions[1].0.definition)));
                for (of, _) in &questions {
                    prop_assert!(views.follows(of.definition) || follow(&mut views, of.definition, so_far));
                }
            }
        }
    }
}
