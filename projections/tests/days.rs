//! Series of days and cohorts against a recount from their definitions, in any zone, over random histories.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate};
use chrono_tz::Tz;
use lastseen_event::{EventType, Fact, MemberOrdinal, Position, Provenance, TenantOrdinal, UtcInstant};
use lastseen_projections::{
    Calendar, Cohort, Day, DaysBuilder, Period, Persons, Retracted, Scope, Selection, SeriesRow, Views,
    ViewsBuilder,
};
use proptest::prelude::*;

use crate::history::{Choice, OBSERVED, TENANTS, disorder, history};

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
}

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

    /// Members active on these days with membership as at the end of the last.
    fn active(&self, days: &RangeInclusive<NaiveDate>) -> BTreeSet<MemberOrdinal> {
        let end = end(self.zone, *days.end());
        let members: BTreeSet<_> = self.facts.iter().map(|fact| fact.member.member).collect();
        let is_active = |member: &MemberOrdinal| {
            let mine = || self.facts.iter().filter(|fact| fact.member.member == *member);
            let known = || mine().filter(|fact| fact.occurred_at.as_micros() <= end);
            let decisions = [EventType::UserDeleted, EventType::UserRestored];
            let deciding = known()
                .filter(|fact| decisions.contains(&fact.event_type))
                .max_by_key(|fact| (fact.occurred_at, fact.id, fact.event_type == EventType::UserDeleted));
            let deleted = deciding.is_some_and(|fact| fact.event_type == EventType::UserDeleted);
            let observed = |fact: &&&Fact| fact.event_type != EventType::EstimatedActivity;
            let was_observed = known().filter(observed).any(|fact| self.counted(fact));
            let mut within = mine().filter(|fact| self.counted(fact) && days.contains(&self.date_of(fact)));
            !deleted && within.any(|fact| observed(&fact) || !was_observed)
        };
        members.into_iter().filter(is_active).collect()
    }

    /// Members with activity that counts in these days, and none on an earlier date.
    fn first(&self, days: &RangeInclusive<NaiveDate>) -> BTreeSet<MemberOrdinal> {
        let members: BTreeSet<_> = self.facts.iter().map(|fact| fact.member.member).collect();
        let is_first = |member: &MemberOrdinal| {
            let mine = self.facts.iter().filter(|fact| fact.member.member == *member && self.counted(fact));
            mine.map(|fact| self.date_of(fact)).min().is_some_and(|date| days.contains(&date))
        };
        members.into_iter().filter(is_first).collect()
    }

    fn row(&self, before: &RangeInclusive<NaiveDate>, days: &RangeInclusive<NaiveDate>) -> SeriesRow {
        let (was, is, first) = (self.active(before), self.active(days), self.first(days));
        let count =
            |keep: &dyn Fn(&MemberOrdinal) -> bool| is.iter().filter(|member| keep(member)).count() as u64;
        SeriesRow {
            days: day(*days.start())..=day(*days.end()),
            active: is.len() as u64,
            wau: None,
            mau: None,
            new: count(&|member| first.contains(member)),
            returning: count(&|member| was.contains(member)),
            resurrected: count(&|member| !was.contains(member) && !first.contains(member)),
            dormant: was.difference(&is).count() as u64,
        }
    }

    fn by_day(&self, days: &RangeInclusive<Day>) -> Vec<SeriesRow> {
        let row = |at: Day| {
            let [date, before, week, month] = [0, -1, -6, -29].map(|back| naive_date(at.plus(back)));
            let active = |days| Some(self.active(&days).len() as u64);
            SeriesRow {
                wau: active(week..=date),
                mau: active(month..=date),
                ..self.row(&(before..=before), &(date..=date))
            }
        };
        Day::each(days.clone()).map(row).collect()
    }

    fn by_period(&self, period: Period, days: &RangeInclusive<Day>) -> Vec<SeriesRow> {
        let row = |days: &RangeInclusive<NaiveDate>| {
            let before = period.around(day(*days.start()).plus(-1));
            self.row(&(naive_date(*before.start())..=naive_date(*before.end())), days)
        };
        periods(period, days).iter().map(row).collect()
    }

    fn cohorts(&self, period: Period, days: &RangeInclusive<Day>) -> Vec<Cohort> {
        let periods = periods(period, days);
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

fn periods(period: Period, days: &RangeInclusive<Day>) -> Vec<RangeInclusive<NaiveDate>> {
    let dates = |days: &RangeInclusive<Day>| naive_date(*days.start())..=naive_date(*days.end());
    period.covering(days).iter().map(dates).collect()
}

fn recount(facts: &[Fact], choice: Choice, zone: Tz, scope: Scope) -> Recount<'_> {
    let within = |fact: &&Fact| scope == Scope::All || scope == Scope::Tenant(fact.member.tenant);
    Recount { facts: facts.iter().filter(within).collect(), choice, zone }
}

fn around(start: &str) -> RangeInclusive<Day> {
    let first: Day = start.parse().unwrap();
    first.plus(-1)..=first.plus(12)
}

fn choice() -> impl Strategy<Value = Choice> {
    let types = prop::option::of(prop::sample::subsequence(OBSERVED.to_vec(), 1..=3));
    (types, any::<bool>()).prop_map(|(types, observed_only)| Choice {
        types,
        observed_only,
        ..Choice::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn live_days_are_those_of_the_recount_whatever_the_order(
        (facts, disorder) in (history(40), places()).prop_flat_map(|(facts, places)| {
            let facts = spread(facts, &places, ZONES[0].1);
            (Just(facts.clone()), disorder(&facts))
        }),
        tenant in 0..TENANTS,
    ) {
        let mut live = Views::default();
        for fact in &disorder {
            live.apply(fact);
        }
        let mut builder = ViewsBuilder::new(Selection::default(), Retracted::default(), Persons::UserId);
        for fact in &facts {
            builder.apply(fact);
        }
        let days = around(ZONES[0].1);
        for scope in [Scope::All, Scope::Tenant(TenantOrdinal::new(tenant))] {
            let expected = recount(&facts, Choice::default(), Tz::UTC, scope);
            let sets = live.days(scope, days.clone());
            prop_assert_eq!(sets.rows(Period::Day), expected.by_day(&days));
            for period in [Period::Week, Period::Month] {
                prop_assert_eq!(sets.rows(period), expected.by_period(period, &days));
                prop_assert_eq!(sets.cohorts(period), expected.cohorts(period, &days));
            }
        }
        for day in Day::each(days.clone()) {
            let mut sets = live.days(Scope::All, day..=day);
            sets.set_before(sets.before());
            prop_assert!(sets.has_before());
            prop_assert_eq!(sets.rows(Period::Day), live.days(Scope::All, day..=day).rows(Period::Day));
        }
        let built = builder.finish();
        let rows = |views: &Views| views.days(Scope::All, days.clone()).rows(Period::Day);
        prop_assert_eq!(rows(&built), rows(&live));
    }

    #[test]
    fn days_of_a_zone_and_of_some_events_are_those_of_the_recount(
        facts in history(40),
        places in places(),
        (name, start) in prop::sample::select(ZONES.to_vec()),
        choice in choice(),
    ) {
        let facts = spread(facts, &places, start);
        let (zone, days): (Tz, _) = (name.parse().unwrap(), around(start));
        let mut builder = DaysBuilder::new(choice.selection(), Retracted::default(), Calendar::of_zone(zone));
        for fact in &facts {
            builder.apply(fact);
        }
        let expected = recount(&facts, choice, zone, Scope::All);
        let sets = builder.finish(days.clone());
        prop_assert_eq!(sets.rows(Period::Day), expected.by_day(&days));
        prop_assert_eq!(sets.rows(Period::Week), expected.by_period(Period::Week, &days));
        prop_assert_eq!(sets.cohorts(Period::Month), expected.cohorts(Period::Month, &days));
        for period in [Period::Day, Period::Week, Period::Month] {
            let new: Vec<u64> = sets.rows(period).into_iter().map(|row| row.new).collect();
            let sizes: Vec<u64> = sets.cohorts(period).into_iter().map(|cohort| cohort.size).collect();
            prop_assert_eq!(new, sizes, "a cohort is the new ones of its row");
        }
    }

    #[test]
    fn a_row_that_was_counted_before_holds_until_the_views_say_that_its_day_changed(
        facts in history(60),
        places in places(),
        known in 0..60_usize,
        (name, _) in prop::sample::select(ZONES.to_vec()),
        choice in choice(),
    ) {
        let facts = spread(facts, &places, ZONES[0].1);
        let calendar = Calendar::of_zone(name.parse().unwrap());
        let (early, late) = facts.split_at(known.min(facts.len()));
        let days = around(ZONES[0].1);
        let mut views = Views::default();
        for fact in early {
            views.apply(fact);
        }
        let (before, position) = (views.days(Scope::All, days.clone()).rows(Period::Day), views.position());
        let chosen = |facts: &[Fact]| {
            let mut builder = DaysBuilder::new(choice.selection(), Retracted::default(), calendar.clone());
            for fact in facts {
                builder.apply(fact);
            }
            builder.finish(days.clone()).rows(Period::Day)
        };
        let chosen_before = chosen(early);
        for fact in late {
            views.apply(fact);
        }
        for (before, now) in before.iter().zip(views.days(Scope::All, days.clone()).rows(Period::Day)) {
            if views.day_changed_at(*now.days.end()) <= position {
                prop_assert_eq!(before, &now);
            }
        }
        for (before, now) in chosen_before.iter().zip(chosen(&facts)) {
            if views.activity_changed_by(calendar.end(*now.days.end())) <= position {
                prop_assert_eq!(before, &now);
            }
        }
    }
}

#[test]
fn what_happens_today_leaves_the_days_before_as_they_were() {
    let facts = crate::history::events_on_days(&[(0, EventType::Login), (20, EventType::Login)]);
    let mut views = Views::default();
    for fact in &facts {
        views.apply(fact);
    }
    let first = "2026-01-06".parse::<Day>().unwrap();
    assert_eq!(views.day_changed_at(first), Position::new(1));
    assert_eq!(views.day_changed_at(first.plus(19)), Position::new(1), "told of a later day since");
    assert_eq!(views.day_changed_at(first.plus(20)), Position::new(2));
    assert_eq!(views.day_changed_at(first.plus(-1)), Position::START);
    let changed_by = |day: Day| views.activity_changed_by(Calendar::utc().end(day));
    assert_eq!(changed_by(first.plus(19)), Position::new(1));
    let morning = UtcInstant::from_micros(Calendar::utc().end(first.plus(19)).as_micros() + 1);
    assert_eq!(views.activity_changed_by(morning), Position::new(1), "by then, nothing of that day");
    assert_eq!(changed_by(first.plus(20)), Position::new(2));
    // The same day again tells nothing new of it.
    let again = Fact { position: Position::new(3), ..facts[1] };
    views.apply(&again);
    assert_eq!(views.day_changed_at(first.plus(20)), Position::new(2));
}

#[test]
fn an_older_first_activity_changes_the_day_that_was_taken_for_it() {
    let mut views = Views::default();
    for fact in crate::history::events_on_days(&[(40, EventType::Login), (0, EventType::Login)]) {
        views.apply(&fact);
    }
    let first = "2026-01-06".parse::<Day>().unwrap();
    assert_eq!(views.day_changed_at(first.plus(40)), Position::new(2), "nobody is new there any more");
    let new = |day: Day| views.days(Scope::All, day..=day).rows(Period::Day)[0].new;
    assert_eq!([new(first), new(first.plus(40))], [1, 0]);
}

/// FINDINGS S11: the clock goes back past midnight, so a later login has the earlier date.
#[test]
fn who_comes_while_a_clock_is_set_back_past_midnight_is_new_once() {
    let calendar = Calendar::of_zone("America/St_Johns".parse().unwrap());
    let login = crate::history::events_on_days(&[(0, EventType::Login)])[0];
    let at = |text| Fact { occurred_at: UtcInstant::parse(text).unwrap(), ..login };
    let facts = [at("2009-11-01T02:30:30Z"), at("2009-11-01T02:40:00Z")];
    let mut builder = DaysBuilder::new(Selection::default(), Retracted::default(), calendar);
    builder.apply_all(&facts);
    let sets = builder.finish("2009-10-01".parse().unwrap()..="2009-11-30".parse().unwrap());
    let new: Vec<u64> = sets.rows(Period::Month).iter().map(|row| row.new).collect();
    let sizes: Vec<u64> = sets.cohorts(Period::Month).iter().map(|cohort| cohort.size).collect();
    assert_eq!((new, sizes), (vec![1, 0], vec![1, 0]), "they are shown in October first");
}

/// A deletion before a restoration of the same UTC day moves no row of UTC, but one of a zone whose day ends between.
#[test]
fn a_deletion_that_is_over_by_the_end_of_its_day_changes_the_rows_of_other_zones() {
    let at = |number: usize, event_type, text| Fact {
        event_type,
        occurred_at: UtcInstant::parse(text).unwrap(),
        ..crate::history::events_on_days(&[(0, event_type); 3])[number]
    };
    let facts = [
        at(0, EventType::Login, "2026-01-06T02:00:00Z"),
        at(1, EventType::UserRestored, "2026-01-06T20:00:00Z"),
        at(2, EventType::UserDeleted, "2026-01-06T10:00:00Z"),
    ];
    let mut views = Views::default();
    views.apply_all(&facts);
    let day = "2026-01-06".parse::<Day>().unwrap();
    assert_eq!(views.day_changed_at(day), Position::new(1));
    assert_eq!(views.activity_changed_by(Calendar::utc().end(day)), Position::new(3));
    let shanghai = Calendar::of_zone("Asia/Shanghai".parse().unwrap());
    let mut builder = DaysBuilder::new(Selection::default(), Retracted::default(), shanghai.clone());
    builder.apply_all(&facts);
    assert_eq!(builder.finish(day..=day).rows(Period::Day)[0].active, 0);
    assert_eq!(views.activity_changed_by(shanghai.end(day)), Position::new(3));
}
