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
    /// Weeks from Sunday.
    SundayWeek,
    /// Calendar months.
    Month,
    /// Three months from January, April, July or October.
    Quarter,
    /// Calendar years.
    Year,
}

/// The activity that counts.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// These types only; estimates do not count then.
    pub types: Option<Vec<&'static str>>,
    /// True if estimates do not count.
    pub observed_only: bool,
    /// True if nobody is left out.
    pub everyone: bool,
    /// True if people are counted, in however many tenants.
    pub of_persons: bool,
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
    everyone: bool,
    of_persons: bool,
    members: Vec<Member<'a>>,
    /// Found so far; the search is slow.
    ends: RefCell<BTreeMap<NaiveDate, i64>>,
}

#[derive(Debug)]
struct Member<'a> {
    tenant: &'a str,
    user: &'a str,
    exists_from: i64,
    /// All activity that counts.
    seen: Vec<Seen>,
    /// The dates of it.
    dates: Option<Span>,
    /// All deletions and restorations: when, the id, whether it is a deletion.
    decisions: Vec<(i64, &'a str, bool)>,
    /// All that was said about counting: when, the id, whether the member is left out.
    countings: Vec<(i64, &'a str, bool)>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: i64,
    date: NaiveDate,
    observed: bool,
}

/// Those who are counted: members by tenant and user, or people by user alone.
type People<'a> = BTreeSet<(&'a str, &'a str)>;

impl Model {
    /// The events in `zone`, such as `Europe/Berlin`.
    pub fn recount(&self, zone: &str, counted: &Counted) -> Recount<'_> {
        let zone = zone_of(zone);
        let members = self.members.iter().map(|((tenant, user), facts)| {
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
            let countings = facts.iter().filter_map(|fact| Some((fact.at, fact.id.as_str(), !fact.counts?)));
            Member {
                tenant,
                user,
                exists_from: facts.iter().map(|fact| fact.at).min().unwrap_or(i64::MAX),
                countings: countings.collect(),
                seen,
                dates,
                decisions: decisions
                    .map(|fact| (fact.at, fact.id.as_str(), fact.event_type == "user_deleted"))
                    .collect(),
            }
        });
        let Counted { everyone, of_persons, .. } = *counted;
        Recount { zone, everyone, of_persons, members: members.collect(), ends: RefCell::default() }
    }
}

impl Recount<'_> {
    /// The rows of a series over `tenant`, or over all, for every period that has a day in `span`.
    pub fn series(&self, tenant: Option<&str>, period: Period, span: Span, today: NaiveDate) -> Vec<Value> {
        let periods = period.all(span);
        let rows = periods.iter().map(|&row| {
            let active = self.active(tenant, row);
            let before = self.active(tenant, period.before(row));
            let new = self.newcomers(tenant, &active, row);
            let returning = active.intersection(&before).count();
            let resurrected = active.iter().filter(|who| !before.contains(who) && !new.contains(who)).count();
            let mut counts = json!({
                "from": row.from.to_string(),
                "to": row.to.to_string(),
                "active": active.len(),
                "new": new.len(),
                "returning": returning,
                "resurrected": resurrected,
                "dormant": before.difference(&active).count(),
                "estimated": self.estimated(tenant, row),
                "total": self.total(tenant, (row.to < today).then_some(row.to)),
                "partial": row.to >= today,
            });
            if period == Period::Day {
                let ending_here = |days: u64| Span { from: row.to - Days::new(days - 1), to: row.to };
                counts["wau"] = self.active(tenant, ending_here(7)).len().into();
                counts["mau"] = self.active(tenant, ending_here(30)).len().into();
                counts["mau_estimated"] = self.estimated(tenant, ending_here(30)).into();
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
            let cohort = self.newcomers(tenant, &active[first], row);
            let kept = active[first..].iter().zip(&periods[first..]).map(|(active, later)| {
                // A period that has not begun.
                (later.from <= today).then(|| active.intersection(&cohort).count())
            });
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

    fn of<'b>(&'b self, tenant: Option<&'b str>) -> impl Iterator<Item = &'b Member<'b>> {
        self.members.iter().filter(move |member| tenant.is_none_or(|tenant| tenant == member.tenant))
    }

    fn who<'b>(&self, member: &'b Member<'_>) -> (&'b str, &'b str) {
        (if self.of_persons { "" } else { member.tenant }, member.user)
    }

    fn is_present(&self, member: &Member<'_>, end: i64) -> bool {
        member.exists_from <= end
            && !holds(&member.decisions, end)
            && (self.everyone || !holds(&member.countings, end))
    }

    /// Those with a member that was active in `span` and is present at its end.
    fn active<'b>(&'b self, tenant: Option<&'b str>, span: Span) -> People<'b> {
        let end = self.end(span.to);
        let active =
            self.of(tenant).filter(|member| member.was_active(span, end) && self.is_present(member, end));
        active.map(|member| self.who(member)).collect()
    }

    /// The number of the active without a member that an observation in `span` makes active.
    fn estimated(&self, tenant: Option<&str>, span: Span) -> usize {
        let end = self.end(span.to);
        let observed =
            self.of(tenant).filter(|member| member.was_observed(span) && self.is_present(member, end));
        let observed: People<'_> = observed.map(|member| self.who(member)).collect();
        self.active(tenant, span).difference(&observed).count()
    }

    /// Those of `active` whose first activity ever lies in `span`.
    fn newcomers<'b>(&'b self, tenant: Option<&'b str>, active: &People<'b>, span: Span) -> People<'b> {
        let mut first: BTreeMap<(&str, &str), NaiveDate> = BTreeMap::new();
        for member in self.of(tenant) {
            for seen in &member.seen {
                let date = first.entry(self.who(member)).or_insert(seen.date);
                *date = seen.date.min(*date);
            }
        }
        active.iter().copied().filter(|who| first.get(who).is_some_and(|date| span.holds(*date))).collect()
    }

    /// The number of all that are present at the end of a date; `None`: of all that is known.
    fn total(&self, tenant: Option<&str>, date: Option<NaiveDate>) -> usize {
        let end = date.map_or(i64::MAX, |date| self.end(date));
        let present = self.of(tenant).filter(|member| self.is_present(member, end));
        present.map(|member| self.who(member)).collect::<People<'_>>().len()
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

    fn was_observed(&self, span: Span) -> bool {
        self.seen.iter().any(|seen| seen.observed && span.holds(seen.date))
    }
}

/// True if the latest of these, up to an instant, says so.
fn holds(decisions: &[(i64, &str, bool)], end: i64) -> bool {
    let deciding = decisions.iter().filter(|(at, _, _)| *at <= end).max();
    deciding.is_some_and(|(_, _, holds)| *holds)
}

impl Counted {
    /// Returns the choice as parameters, each with `&` in front.
    pub fn query(&self) -> String {
        let types = self.types.as_ref().map(|types| format!("&types={}", types.join(",")));
        let provenance = self.observed_only.then_some("&provenance=observed");
        let everyone = if self.everyone { "&counts=all" } else { "" };
        let of_persons = if self.of_persons { "&of=persons" } else { "" };
        types.unwrap_or_default() + provenance.unwrap_or_default() + everyone + of_persons
    }

    fn counts(&self, fact: &Fact) -> bool {
        match &self.types {
            Some(types) => types.contains(&fact.event_type.as_str()),
            None => is_observed(fact) || (fact.event_type == ESTIMATED && !self.observed_only),
        }
    }
}

impl Period {
    /// Every length.
    pub const ALL: [Self; 6] =
        [Self::Day, Self::Week, Self::SundayWeek, Self::Month, Self::Quarter, Self::Year];

    /// Its words in a query.
    pub fn query(self) -> &'static str {
        match self {
            Self::Day => "period=day",
            Self::Week => "period=week",
            Self::SundayWeek => "period=week&week_start=sunday",
            Self::Month => "period=month",
            Self::Quarter => "period=quarter",
            Self::Year => "period=year",
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
            Self::SundayWeek => {
                let from = date - Days::new(date.weekday().num_days_from_sunday().into());
                Span { from, to: from + Days::new(6) }
            }
            Self::Month => months(date, 1),
            Self::Quarter => months(date, 3),
            Self::Year => months(date, 12),
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

/// The months of the year in groups of so many: the group that holds `date`.
fn months(date: NaiveDate, many: u32) -> Span {
    let first = date - Days::new(date.day0().into());
    let from = first - Months::new(date.month0() % many);
    Span { from, to: from + Months::new(many) - Days::new(1) }
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

/// The date in `zone` at an instant in microseconds since 1970.
pub fn date_in(zone: &str, micros: i64) -> NaiveDate {
    date(zone_of(zone), micros)
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
                json!({"from": "2024-04-29", "to": "2024-05-05", "size": 5, "active": [5, null], "partial": true}),
                json!({"from": "2024-05-06", "to": "2024-05-12", "size": 0, "active": [null], "partial": true}),
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
