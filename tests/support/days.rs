//! Days, weeks, months and cohorts, counted naively: a set of members for every span of dates, straight from the
//! definitions. It shares the events with [`Model`] and nothing with the code under test.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime};
use chrono_tz::Tz;
use serde_json::{Value, json};

use crate::instant::{HOUR, MINUTE};
use crate::model::{ESTIMATED, Fact, Model, is_observed};

/// The length of time that a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Dates.
    Day,
    /// ISO weeks, Monday to Sunday.
    Week,
    /// Calendar months.
    Month,
}

/// The activity that counts.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// These types only; estimates do not count then.
    pub types: Option<Vec<&'static str>>,
    /// True if estimates do not count.
    pub observed_only: bool,
}

/// Dates from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub from: NaiveDate,
    /// The last.
    pub to: NaiveDate,
}

/// The events of a model as a wall clock in one zone shows them.
#[derive(Debug)]
pub struct Recount<'a> {
    zone: Tz,
    members: Vec<Member<'a>>,
    /// Found so far; the search is slow.
    ends: RefCell<BTreeMap<NaiveDate, i64>>,
}

#[derive(Debug)]
struct Member<'a> {
    tenant: &'a str,
    /// All activity that counts.
    seen: Vec<Seen>,
    /// The dates of it.
    dates: Option<Span>,
    /// All deletions and restorations: when, the id, whether it is a deletion.
    decisions: Vec<(i64, &'a str, bool)>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: i64,
    date: NaiveDate,
    observed: bool,
}

/// Members by their place in [`Recount::members`].
type Members = BTreeSet<usize>;

impl Model {
    /// The events in `zone`, such as `Europe/Berlin`.
    pub fn recount(&self, zone: &str, counted: &Counted) -> Recount<'_> {
        let zone = zone_of(zone);
        let members = self.members.iter().map(|((tenant, _), facts)| {
            let seen = facts.iter().filter(|fact| counted.counts(fact)).map(|fact| Seen {
                at: fact.at,
                date: date(zone, fact.at),
                observed: is_observed(fact),
            });
            let seen: Vec<_> = seen.collect();
            let dates = || seen.iter().map(|seen| seen.date);
            let dates = dates().min().zip(dates().max()).map(|(from, to)| Span { from, to });
            let decision =
                |fact: &&Fact| ["user_deleted", "user_restored"].contains(&fact.event_type.as_str());
            let decisions = facts.iter().filter(decision);
            Member {
                tenant,
                seen,
                dates,
                decisions: decisions
                    .map(|fact| (fact.at, fact.id.as_str(), fact.event_type == "user_deleted"))
                    .collect(),
            }
        });
        Recount { zone, members: members.collect(), ends: RefCell::default() }
    }
}

impl Recount<'_> {
    /// The rows of a series over `tenant`, or over all, for every period that has a day in `span`.
    pub fn series(&self, tenant: Option<&str>, period: Period, span: Span, today: NaiveDate) -> Vec<Value> {
        let periods = period.all(span);
        let rows = periods.iter().map(|&row| {
            let active = self.active(tenant, row);
            let before = self.active(tenant, period.before(row));
            let new = self.newcomers(&active, row);
            let returning = active.intersection(&before).count();
            let resurrected =
                active.iter().filter(|member| !before.contains(member) && !new.contains(member)).count();
            let mut counts = json!({
                "from": row.from.to_string(),
                "to": row.to.to_string(),
                "active": active.len(),
                "new": new.len(),
                "returning": returning,
                "resurrected": resurrected,
                "dormant": before.difference(&active).count(),
                "partial": row.to >= today,
            });
            if period == Period::Day {
                let ending_here = |days: u64| {
                    let from = row.to - Days::new(days - 1);
                    self.active(tenant, Span { from, to: row.to }).len()
                };
                counts["wau"] = ending_here(7).into();
                counts["mau"] = ending_here(30).into();
            }
            counts
        });
        rows.collect()
    }

    /// The cohorts of `tenant`, or of all: one for every period that has a day in `span`, each followed up to the
    /// last of them.
    pub fn cohorts(&self, tenant: Option<&str>, period: Period, span: Span, today: NaiveDate) -> Vec<Value> {
        let periods = period.all(span);
        let active: Vec<_> = periods.iter().map(|&row| self.active(tenant, row)).collect();
        let cohorts = periods.iter().enumerate().map(|(first, &row)| {
            let cohort = self.newcomers(&active[first], row);
            let kept = active[first..].iter().map(|active| active.intersection(&cohort).count());
            json!({
                "from": row.from.to_string(),
                "to": row.to.to_string(),
                "size": cohort.len(),
                "active": kept.collect::<Vec<_>>(),
                "partial": periods.last().is_some_and(|last| last.to >= today),
            })
        });
        cohorts.collect()
    }

    /// The last microsecond before every clock of the zone shows a later date than `date` for good. A date that
    /// was left out ends with the date before it.
    pub fn end(&self, date: NaiveDate) -> i64 {
        *self.ends.borrow_mut().entry(date).or_insert_with(|| end(self.zone, date))
    }

    /// Members that were active in `span` and are not deleted at its end.
    fn active(&self, tenant: Option<&str>, span: Span) -> Members {
        let end = self.end(span.to);
        let members = self.members.iter().enumerate();
        let of_tenant = members.filter(|(_, member)| tenant.is_none_or(|tenant| tenant == member.tenant));
        of_tenant
            .filter(|(_, member)| member.was_active(span, end) && !member.is_deleted(end))
            .map(|(at, _)| at)
            .collect()
    }

    /// Those of `active` whose first activity ever lies in `span`.
    fn newcomers(&self, active: &Members, span: Span) -> Members {
        let first = |member: usize| self.members[member].seen.iter().min_by_key(|seen| seen.at);
        let is_new = |member: &usize| first(*member).is_some_and(|seen| span.holds(seen.date));
        active.iter().copied().filter(is_new).collect()
    }
}

impl Member<'_> {
    /// An estimate counts only without any observed activity up to the end.
    fn was_active(&self, span: Span, end: i64) -> bool {
        // Only to be done sooner.
        if !self.dates.is_some_and(|dates| dates.from <= span.to && span.from <= dates.to) {
            return false;
        }
        let mut there = self.seen.iter().filter(|seen| span.holds(seen.date)).peekable();
        there.peek().is_some()
            && (there.any(|seen| seen.observed)
                || !self.seen.iter().any(|seen| seen.observed && seen.at <= end))
    }

    fn is_deleted(&self, end: i64) -> bool {
        let deciding = self.decisions.iter().filter(|(at, _, _)| *at <= end).max();
        deciding.is_some_and(|(_, _, deleted)| *deleted)
    }
}

impl Counted {
    /// Returns the choice as parameters, each with `&` in front.
    pub fn query(&self) -> String {
        let types = self.types.as_ref().map(|types| format!("&types={}", types.join(",")));
        let provenance = self.observed_only.then_some("&provenance=observed");
        types.unwrap_or_default() + provenance.unwrap_or_default()
    }

    fn counts(&self, fact: &Fact) -> bool {
        match &self.types {
            Some(types) => types.contains(&fact.event_type.as_str()),
            None => is_observed(fact) || (fact.event_type == ESTIMATED && !self.observed_only),
        }
    }
}

impl Period {
    /// Its word in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The one that holds `date`.
    fn of(self, date: NaiveDate) -> Span {
        match self {
            Self::Day => Span { from: date, to: date },
            Self::Week => {
                let from = date - Days::new(date.weekday().num_days_from_monday().into());
                Span { from, to: from + Days::new(6) }
            }
            Self::Month => {
                let from = date - Days::new(date.day0().into());
                Span { from, to: from + Months::new(1) - Days::new(1) }
            }
        }
    }

    fn before(self, span: Span) -> Span {
        self.of(span.from - Days::new(1))
    }

    /// All that have a day in `span`.
    fn all(self, span: Span) -> Vec<Span> {
        let mut all: Vec<_> = span.dates().map(|date| self.of(date)).collect();
        all.dedup();
        all
    }
}

impl Span {
    /// From and to as they are written in a query.
    pub fn new(from: &str, to: &str) -> Self {
        let date = |text: &str| text.parse().unwrap_or_else(|error| panic!("{text:?} is no date: {error}"));
        Self { from: date(from), to: date(to) }
    }

    /// All its dates.
    pub fn dates(self) -> impl Iterator<Item = NaiveDate> {
        self.from.iter_days().take_while(move |date| *date <= self.to)
    }

    fn holds(self, date: NaiveDate) -> bool {
        self.from <= date && date <= self.to
    }
}

/// The date in `zone` now.
pub fn today(zone: &str) -> NaiveDate {
    date(zone_of(zone), crate::instant::now())
}

fn zone_of(name: &str) -> Tz {
    name.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The date that a wall clock in `zone` shows.
fn date(zone: Tz, micros: i64) -> NaiveDate {
    let at = DateTime::from_timestamp_micros(micros).expect("an instant of the calendar");
    at.with_timezone(&zone).date_naive()
}

/// Steps back from an instant that is later everywhere: no clock is more than 15 hours from UTC, none changes but
/// on a whole minute, and what it goes back by shows a date for more than a quarter of an hour.
fn end(zone: Tz, until: NaiveDate) -> i64 {
    let mut later = until.and_time(NaiveTime::MIN).and_utc().timestamp_micros() + (24 + 15) * HOUR;
    for step in [15 * MINUTE, MINUTE] {
        while date(zone, later - step) > until {
            later -= step;
        }
    }
    later - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instant::{DAY, micros, rfc3339};
    use crate::{Events, git_activity};

    fn ends(zone: &str, dates: &[&str]) -> Vec<String> {
        let zone = zone_of(zone);
        dates.iter().map(|date| rfc3339(end(zone, date.parse().unwrap()))).collect()
    }

    #[test]
    fn a_day_ends_where_its_wall_clock_says() {
        assert_eq!(ends("UTC", &["2024-02-29"]), ["2024-02-29T23:59:59.999999Z"]);
        assert_eq!(
            ends("Europe/Berlin", &["2024-03-30", "2024-03-31"]),
            ["2024-03-30T22:59:59.999999Z", "2024-03-31T21:59:59.999999Z"]
        );
        assert_eq!(
            ends("Australia/Lord_Howe", &["2024-04-06", "2024-04-07"]),
            ["2024-04-06T12:59:59.999999Z", "2024-04-07T13:29:59.999999Z"]
        );
        assert_eq!(
            ends("Pacific/Apia", &["2011-12-29", "2011-12-30", "2011-12-31"]),
            ["2011-12-30T09:59:59.999999Z", "2011-12-30T09:59:59.999999Z", "2011-12-31T09:59:59.999999Z"]
        );
        assert_eq!(ends("Pacific/Kiritimati", &["2024-01-01"]), ["2024-01-01T09:59:59.999999Z"]);
        // The clock went back from 00:01 to 23:01 of the day before.
        assert_eq!(ends("America/St_Johns", &["2010-11-06"]), ["2010-11-07T03:29:59.999999Z"]);
    }

    #[test]
    fn every_word_of_a_row_by_hand() {
        let (mut events, start) = (Events::seeded(2001), micros("2024-05-01T12:00:00Z"));
        let day = |day: i64| start + (day - 1) * DAY;
        let published = [
            events.login(("acme", "stays"), day(1)),
            events.login(("acme", "stays"), day(2)),
            events.login(("acme", "leaves"), day(1)),
            events.login(("acme", "comes back"), day(1)),
            events.login(("acme", "comes back"), day(3)),
            events.login(("acme", "deleted"), day(1)),
            events.login(("acme", "deleted"), day(2)),
            events.of("user_deleted", ("acme", "deleted"), day(2) + 1),
            events.estimated(("acme", "guessed"), day(2)),
            events.login(("acme", "guessed"), day(3)),
            events.login(("acme", "known"), day(1)),
            events.estimated(("acme", "known"), day(3)),
            events.login(("other", "stays"), day(2)),
        ];
        let mut model = Model::default();
        model.publish(&published);
        let recount = model.recount("UTC", &Counted::default());
        let rows =
            recount.series(None, Period::Day, Span::new("2024-05-01", "2024-05-04"), date(Tz::UTC, day(4)));
        let row = |row: &Value| {
            let names = ["active", "wau", "mau", "new", "returning", "resurrected", "dormant"];
            names.map(|name| row[name].as_u64().unwrap())
        };
        assert_eq!(
            rows.iter().map(row).collect::<Vec<_>>(),
            [[5, 5, 5, 5, 0, 0, 0], [3, 6, 6, 2, 1, 0, 4], [2, 6, 6, 0, 1, 1, 2], [0, 6, 6, 0, 0, 0, 2]]
        );
        assert_eq!(
            rows.iter().map(|row| row["partial"] == true).collect::<Vec<_>>(),
            [false, false, false, true]
        );
        let observed = Counted { observed_only: true, ..Counted::default() };
        let rows = model.recount("UTC", &observed).cohorts(
            Some("acme"),
            Period::Week,
            Span::new("2024-05-01", "2024-05-06"),
            date(Tz::UTC, day(4)),
        );
        assert_eq!(
            rows,
            [
                json!({"from": "2024-04-29", "to": "2024-05-05", "size": 5, "active": [5, 0], "partial": true}),
                json!({"from": "2024-05-06", "to": "2024-05-12", "size": 0, "active": [0], "partial": true}),
            ]
        );
    }

    #[test]
    fn real_history_gives_the_known_days() {
        let mut model = Model::default();
        let events: Vec<Value> =
            git_activity::lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        model.publish(&events);
        let (truth, recount) = (git_activity::truth(), model.recount("UTC", &Counted::default()));
        let tenant = truth["days_tenant"]["tenant_id"].as_str();
        for (tenant, days) in [(None, &truth["days_all"]), (tenant, &truth["days_tenant"]["days"])] {
            let days = days.as_array().unwrap();
            let of = |row: &Value| row["date"].as_str().unwrap().to_owned();
            let span = Span::new(&of(&days[0]), &of(days.last().unwrap()));
            let rows = recount.series(tenant, Period::Day, span, today("UTC"));
            let counts = |row: &Value, names: [&str; 5]| names.map(|name| row[name].clone());
            let found: Vec<_> =
                rows.iter().map(|row| counts(row, ["from", "to", "active", "wau", "mau"])).collect();
            let known: Vec<_> =
                days.iter().map(|row| counts(row, ["date", "date", "dau", "wau", "mau"])).collect();
            assert_eq!(found, known, "{tenant:?}");
        }
    }
}
