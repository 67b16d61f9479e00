//! Histories to ask about, random and real, each with a model of the same events, and questions about their days and
//! cohorts against a recount.

use std::fs;

use lastseen_tests::instant::{DAY, HOUR, MINUTE, micros};
use lastseen_tests::{
    Client, Counted, Events, Model, NaiveDate, Period, Recount, Seeded, Span, git_activity, today,
};
use serde_json::Value;

use crate::answers::array;

pub(crate) const TENANTS: [&str; 3] = ["acme", "beta", "gamma"];

/// Zones with whole, half and no hours of summer time, with odd offsets, with a date that was left out.
pub(crate) const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
];

const USERS: [&str; 8] = ["ada", "bob", "cyd", "dan", "eve", "guess 1", "guess 2", "guess 3"];
const MEMBERSHIP: [&str; 6] =
    ["user_deleted", "user_restored", "user_deleted", "user_restored", "user_confirmed", "user_changed"];
const ACTIVITY: [&str; 6] =
    ["login", "token_refresh", "login", "token_refresh", "tenant_switch", "signup_complete"];

/// Random events between two instants and what was published of them.
pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) random: Seeded,
    events: Events,
    start: i64,
    end: i64,
    /// The member and the instant of the last event.
    last: ((&'static str, &'static str), i64),
}

impl World {
    /// Events from `start` up to `end`.
    pub(crate) fn seeded(seed: u64, start: i64, end: i64) -> Self {
        let mut random = Seeded::new(seed);
        let events = Events::seeded(random.bits());
        let last = ((TENANTS[0], USERS[0]), start);
        Self { model: Model::default(), random, events, start, end, last }
    }

    /// Publishes `count` more events in requests of random sizes, every fifth one twice. They occurred in no order.
    pub(crate) fn publish(&mut self, client: &Client, count: usize) {
        let events: Vec<_> = (0..count).map(|_| self.event()).collect();
        let mut rest = events.as_slice();
        while !rest.is_empty() {
            let size = usize::try_from(1 + self.random.below(40)).unwrap().min(rest.len());
            let (batch, others) = rest.split_at(size);
            client.publish(batch);
            if self.random.below(5) == 0 {
                client.publish(batch);
            }
            rest = others;
        }
        self.model.publish(&events);
    }

    /// One more event, not published yet.
    pub(crate) fn event(&mut self) -> Value {
        // Some happen to the same member at the same instant.
        if self.random.below(6) > 0 {
            let member = (*self.random.pick(&TENANTS), *self.random.pick(&USERS));
            self.last = (member, self.instant());
        }
        let (member, at) = self.last;
        let guessed = member.1.starts_with("guess");
        match self.random.below(20) {
            0 => self.events.created_confirmed(member, at),
            1 => self.events.invited(member, at),
            2 => self.events.counting(self.random.below(2) == 0, member, at),
            3..6 => self.events.of(self.random.pick::<&str>(&MEMBERSHIP), member, at),
            6..8 => self.events.estimated(member, at),
            8..19 if guessed => self.events.estimated(member, at),
            _ => {
                let mut event = self.events.of(self.random.pick::<&str>(&ACTIVITY), member, at);
                if event["type"] == "tenant_switch" {
                    event["from_tenant_id"] = (*self.random.pick(&TENANTS)).into();
                }
                event
            }
        }
    }

    /// Half of them on or next to a half hour in UTC, where days begin somewhere.
    fn instant(&mut self) -> i64 {
        let below = |random: &mut Seeded, bound: i64| random.below(bound.unsigned_abs()).cast_signed();
        let at = self.start + 1 + below(&mut self.random, self.end - self.start - 2);
        let near = at - at % (30 * MINUTE) + below(&mut self.random, 3) - 1;
        if self.random.below(2) == 0 && near >= self.start { near } else { at }
    }
}

/// The choices of activity that counts in the questions: everything, and some of it.
pub(crate) fn all_counted() -> Vec<Counted> {
    let of = |types: &[&'static str]| Counted { types: Some(types.to_vec()), ..Counted::default() };
    vec![
        Counted::default(),
        Counted { of_persons: true, ..Counted::default() },
        Counted { everyone: true, ..Counted::default() },
        Counted { observed_only: true, ..Counted::default() },
        Counted { of_persons: true, ..of(&["login"]) },
        of(&["token_refresh", "tenant_switch"]),
        Counted { observed_only: true, everyone: true, ..of(&["signup_complete", "login"]) },
    ]
}

/// `/v1` or the tenant's own routes.
pub(crate) fn scope(tenant: Option<&str>) -> String {
    tenant.map_or_else(|| "/v1".to_owned(), |tenant| format!("/v1/tenants/{tenant}"))
}

/// Asks one server in one zone for what counts, and compares with the recount of the same.
pub(crate) struct Asker<'a> {
    pub(crate) client: &'a Client,
    pub(crate) recount: Recount<'a>,
    zone: &'static str,
    counted: &'a Counted,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(
        client: &'a Client,
        model: &'a Model,
        zone: &'static str,
        counted: &'a Counted,
    ) -> Self {
        Self { client, recount: model.recount(zone, counted), zone, counted }
    }

    /// The rows of a series, after they were compared.
    pub(crate) fn series(&self, tenant: Option<&str>, period: Period, span: Span) -> Vec<Value> {
        let path = self.path("active-users", tenant, period, span);
        self.rows(&path, |today| self.recount.series(tenant, period, span, today))
    }

    /// The cohorts, after they were compared.
    pub(crate) fn cohorts(&self, tenant: Option<&str>, period: Period, span: Span) -> Vec<Value> {
        let path = self.path("retention", tenant, period, span);
        self.rows(&path, |today| self.recount.cohorts(tenant, period, span, today))
    }

    /// The path of one question about `span`.
    pub(crate) fn path(&self, route: &str, tenant: Option<&str>, period: Period, span: Span) -> String {
        let (scope, Span { from, to }) = (scope(tenant), span);
        let (period, zone, counted) = (period.query(), self.zone, self.counted.query());
        format!("{scope}/{route}?from={from}&to={to}&{period}&tz={zone}{counted}")
    }

    /// Once more if midnight passes between the question and the recount.
    fn rows(&self, path: &str, expected: impl Fn(NaiveDate) -> Vec<Value>) -> Vec<Value> {
        loop {
            let before = today(self.zone);
            let rows = array(&self.client.ask(path), "rows").clone();
            let expected = expected(before);
            if today(self.zone) == before {
                assert_rows(&rows, &expected, path);
                return rows;
            }
        }
    }
}

/// Compares row by row, so that the first one that differs is what one reads.
fn assert_rows(found: &[Value], expected: &[Value], path: &str) {
    assert_eq!(found.len(), expected.len(), "{path}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{path}: found, expected");
    }
}

/// The history of `git_activity` and its model.
pub(crate) fn git_history() -> (Vec<Value>, Model) {
    let events: Vec<Value> =
        git_activity::lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut model = Model::default();
    model.publish(&events);
    (events, model)
}

/// The users table of `git_activity` as a backfill, and what its people did from the cutover on.
pub(crate) fn backfilled_history() -> Vec<Value> {
    let text = fs::read_to_string(git_activity::path("users.csv")).unwrap();
    let (mut source, mut events) = (Events::seeded(2301), Vec::new());
    for row in csv::Reader::from_reader(text.as_bytes()).records().map(Result::unwrap) {
        let (member, confirmed) = ((&row[0], &row[1]), &row[2] == "true");
        let [created, modified, deleted] =
            [3, 4, 5].map(|field| Some(&row[field]).filter(|text| !text.is_empty()).map(micros));
        let created = created.unwrap();
        if confirmed {
            events.push(source.created_confirmed(member, created));
            events.push(source.estimated(member, modified.unwrap_or(created)));
        } else {
            events.push(source.invited(member, created));
        }
        events.extend(deleted.map(|at| source.of("user_deleted", member, at)));
    }
    let cutover = micros(git_activity::truth()["backfill"]["cutover"].as_str().unwrap());
    let later = |event: &Value| micros(event["occurred_at"].as_str().unwrap()) >= cutover;
    events.extend(git_history().0.into_iter().filter(later));
    events
}

/// Publishes as many at once as a request may have.
pub(crate) fn publish(client: &Client, events: &[Value]) {
    for events in events.chunks(10_000) {
        client.publish(events);
    }
}

/// A world of the days around a change of clocks in most zones, at the end of winter.
pub(crate) fn spring() -> (World, Span) {
    let world = World::seeded(2101, micros("2024-02-20T00:00:00Z"), micros("2024-05-10T00:00:00Z"));
    (world, Span::new("2024-02-18", "2024-05-12"))
}

/// A world of the weeks around the date that Samoa left out.
pub(crate) fn samoa() -> (World, Span) {
    let world = World::seeded(2102, micros("2011-12-10T00:00:00Z"), micros("2012-01-20T00:00:00Z"));
    (world, Span::new("2011-12-08", "2012-01-22"))
}

/// A world that ends now.
pub(crate) fn recent(now: i64) -> (World, Span) {
    let today = today("UTC");
    let days = |days: i64| micros(&format!("{today}T12:00:00Z")) + days * DAY;
    let date = |at: i64| lastseen_tests::instant::rfc3339(at)[..10].to_owned();
    let span = Span::new(&date(days(-50)), &date(days(4)));
    (World::seeded(2103, now - 45 * DAY, now - HOUR / 60), span)
}
