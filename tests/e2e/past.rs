//! Every number of every instant and position: the routes that take `as_of`, `known_at`, `types`, `provenance` and `counts`, at
//! random ones, against a recount of what was published up to then. A batch is taken back on the way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lastseen_tests::instant::{DAY, HOUR, micros, now, rfc3339};
use lastseen_tests::{
    Client, Counted, Model, NaiveDate, Period, Question, Seeded, Span, date_in, eventually, path_segment,
};
use serde_json::{Value, json};

use crate::answers::{array, comparable, position, rows_of, sealing_server};
use crate::worlds::{TENANTS, World, ZONES, scope};

const BATCH: &str = "backfill-2";
const ACTIVITY: [&str; 4] = ["login", "token_refresh", "tenant_switch", "signup_complete"];
const STATUSES: &str = "status=active,inactive,pending,never_seen,deleted,left_out";

/// All that was published, each with its position, and when the batch was taken back.
struct History {
    world: World,
    published: Vec<(Value, u64)>,
    retracted_at: Option<u64>,
    /// The last position.
    end: u64,
}

/// A question about the past, or about now.
#[derive(Clone, Debug)]
struct Asked {
    as_of: Option<i64>,
    known_at: Option<u64>,
    types: Option<Vec<&'static str>>,
    observed_only: bool,
    everyone: bool,
    window: (&'static str, i64),
}

impl Asked {
    fn random(history: &mut History) -> Self {
        let random = &mut history.world.random;
        let (event, _) = random.pick(&history.published);
        let near = micros(event["occurred_at"].as_str().unwrap());
        let as_of = near + i64::try_from(random.below(3)).unwrap() - 1 + *random.pick(&[0, 0, 7 * DAY, HOUR]);
        Self {
            as_of: (random.below(4) > 0).then_some(as_of),
            known_at: (random.below(2) == 0).then(|| 1 + random.below(history.end)),
            types: random.pick(&[None, None, Some(vec!["login"]), Some(ACTIVITY.to_vec())]).clone(),
            observed_only: random.below(4) == 0,
            everyone: random.below(3) == 0,
            window: *random.pick(&[("30d", 30 * DAY), ("7d", 7 * DAY), ("36h", 36 * HOUR)]),
        }
    }

    /// The parameters of a question about users.
    fn query(&self) -> String {
        format!("window={}{}", self.window.0, self.bounds())
    }

    /// Those that every question takes.
    fn bounds(&self) -> String {
        let as_of = self.as_of.map(|as_of| format!("&as_of={}", rfc3339(as_of))).unwrap_or_default();
        let known_at = self.known_at.map(|at| format!("&known_at={at}")).unwrap_or_default();
        as_of + &known_at + &self.counted(false).query()
    }

    fn counted(&self, of_persons: bool) -> Counted {
        let Self { types, observed_only, everyone, .. } = self.clone();
        Counted { types, observed_only, everyone, of_persons }
    }

    fn question(&self, now: i64) -> Question {
        Question {
            at: self.as_of.unwrap_or(now),
            as_of: self.as_of.is_some(),
            window: self.window.1,
            types: self.types.as_ref().map(|types| types.iter().map(|&name| name.to_owned()).collect()),
            observed_only: self.observed_only,
            everyone: self.everyone,
        }
    }
}

impl History {
    fn new(seed: u64, now: i64) -> Self {
        let world = World::seeded(seed, now - 60 * DAY, now - HOUR);
        Self { world, published: Vec::new(), retracted_at: None, end: 0 }
    }

    /// Publishes more events, a fifth of them in the batch as long as it may have some.
    fn publish(&mut self, client: &Client, count: usize) {
        for _ in 0..count {
            let mut event = self.world.event();
            let random = &mut self.world.random;
            let is_of_none = event["batch"].is_null();
            if is_of_none && self.retracted_at.is_none() && random.below(5) == 0 {
                event["batch"] = BATCH.into();
            } else if ACTIVITY.contains(&event["type"].as_str().unwrap()) && random.below(2) == 0 {
                event["session_id"] = format!("s-{}", random.below(4)).into();
            }
            self.end = position(&client.publish(std::slice::from_ref(&event)));
            self.published.push((event, self.end));
        }
    }

    fn retract(&mut self, client: &Client) {
        let path = format!("/v1/backfills/{BATCH}");
        let events = &client.ask(&path)["events"];
        let answer = client.send("DELETE", &format!("{path}?events={events}"), &[], &[]).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
        self.end = position(&answer.json());
        self.retracted_at = Some(self.end);
        let is_over = || (client.ask(&path)["state"] == "retracted").then_some(());
        assert!(eventually(Duration::from_mins(1), is_over).is_some());
    }

    /// The events that were known at a position, and had occurred by an instant.
    fn known(&self, known_at: Option<u64>, as_of: Option<i64>) -> impl Iterator<Item = &Value> {
        let until = known_at.unwrap_or(u64::MAX);
        let is_retracted = self.retracted_at.is_some_and(|at| at <= until);
        self.published.iter().filter(move |(_, at)| *at <= until).map(|(event, _)| event).filter(
            move |event| {
                let at = micros(event["occurred_at"].as_str().unwrap());
                as_of.is_none_or(|as_of| at <= as_of) && !(is_retracted && event["batch"] == BATCH)
            },
        )
    }

    fn model(&self, asked: &Asked) -> Model {
        let mut model = Model::default();
        model.publish(self.known(asked.known_at, asked.as_of));
        model
    }

    /// All events of a user by that time.
    fn events(&self, asked: &Asked, (tenant, user): (&str, &str)) -> usize {
        let known = self.known(asked.known_at, asked.as_of);
        known.filter(|event| event["tenant_id"] == tenant && event["user_id"] == user).count()
    }
}

/// Every route about every scope agrees with the recount.
fn assert_all(client: &Client, history: &mut History) {
    let asked = Asked::random(history);
    let (model, now) = (history.model(&asked), now());
    let question = asked.question(now);
    for tenant in std::iter::once(None).chain(TENANTS.map(Some)) {
        assert_summary(client, (&asked, &question), tenant, &model);
        assert_users(client, (&asked, &question), tenant, (&model, &mut history.world.random));
        assert_decay(client, (&asked, &question), tenant, &model);
        assert_days(client, (&asked, now), tenant, (&model, &mut history.world.random));
        assert_traffic(client, asked.known_at, tenant, history);
        assert_corrections(client, (&asked, now), tenant, history);
    }
    assert_each_user(client, (&asked, &question), &model, history);
    assert_persons(client, (&asked, &question), &model);
    assert_tenants(client, (&asked, &question), &model, history);
}

fn assert_summary(
    client: &Client,
    (asked, question): (&Asked, &Question),
    tenant: Option<&str>,
    model: &Model,
) {
    let path = format!("{}/summary?{}", scope(tenant), asked.query());
    let expected = model.summary(tenant, question);
    let Some(found) = known(client, &path) else {
        return assert_eq!(expected["total_users"], 0, "{path}");
    };
    for (name, number) in &expected {
        assert_eq!(&found[name], number, "{name} of {path}: {found}");
    }
}

/// The answer; `None` where the tenant or the user is not known yet.
fn known(client: &Client, path: &str) -> Option<Value> {
    let answer = client.get(path);
    if answer.status == 404 {
        assert!(["unknown_tenant", "unknown_user"].contains(&answer.json()["code"].as_str().unwrap()));
        return None;
    }
    Some(answer.ok(path))
}

/// A field of a user that lists are sorted by; never seen is last in both directions.
fn sort_key(user: &Value, sort: &str) -> (bool, i64) {
    let column = sort.trim_start_matches('-');
    if column == "user_id" {
        return (false, 0);
    }
    let Some(at) = user[column].as_str().map(micros) else { return (true, 0) };
    (false, if sort.starts_with('-') { -at } else { at })
}

fn assert_users(
    client: &Client,
    (asked, question): (&Asked, &Question),
    tenant: Option<&str>,
    (model, random): (&Model, &mut Seeded),
) {
    let sort = *random.pick(&["last_seen_at", "-last_seen_at", "created_at", "-created_at", "user_id"]);
    let mut path = format!("{}/users?{}&{STATUSES}&sort={sort}", scope(tenant), asked.query());
    let mut expected = model.users(tenant, question);
    if random.below(3) == 0 {
        path += "&prefix=guess%20";
        expected.retain(|user| user["user_id"].as_str().unwrap().starts_with("guess "));
    }
    if random.below(3) == 0 {
        let [since, before] = [question.at - 40 * DAY, question.at - 10 * DAY];
        path = format!("{path}&created_since={}&created_before={}", rfc3339(since), rfc3339(before));
        expected.retain(|user| (since..before).contains(&micros(user["created_at"].as_str().unwrap())));
    }
    expected.sort_by_key(|user| {
        let name = |field: &str| user[field].as_str().unwrap().to_owned();
        (sort_key(user, sort), name("user_id"), name("tenant_id"))
    });
    if known(client, &path).is_none() {
        return assert_eq!(expected, Vec::<Value>::new(), "{path}");
    }
    // Pages of other lengths on the way.
    let (mut found, mut next) = (Vec::new(), format!("{path}&limit={}", 1 + random.below(9)));
    loop {
        let page = client.ask(&next);
        assert_eq!(page["total"], expected.len(), "{next}");
        found.extend(array(&page, "users").iter().map(comparable));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("{path}&cursor={cursor}&limit={}", 1 + random.below(30));
    }
    assert_eq!(found, expected, "{path}");
    let lines = client.get(&format!("{path}&format=ndjson")).text();
    let lines: Vec<_> = lines.lines().map(|line| comparable(&serde_json::from_str(line).unwrap())).collect();
    assert_eq!(lines, expected, "{path} as lines");
}

fn assert_each_user(
    client: &Client,
    (asked, question): (&Asked, &Question),
    model: &Model,
    history: &History,
) {
    let users = model.users(None, question);
    for user in &users {
        let [tenant, name] = ["tenant_id", "user_id"].map(|field| user[field].as_str().unwrap());
        let path = format!("/v1/tenants/{tenant}/users/{}", path_segment(name));
        let found = client.ask(&format!("{path}?{}", asked.query()));
        assert_eq!(&comparable(&found), user, "{path}?{}", asked.query());
        assert_eq!(found["total_events"], history.events(asked, (tenant, name)), "{path}?{}", asked.query());
        let elsewhere: Vec<_> = users
            .iter()
            .filter(|other| other["user_id"] == name && other["tenant_id"] != tenant)
            .map(|other| json!([other["tenant_id"], other["status"], other["last_seen_at"]]))
            .collect();
        let at = |membership: &Value| membership["last_seen_at"].as_str().map(|at| rfc3339(micros(at)));
        let told: Vec<_> = array(&found, "memberships")
            .iter()
            .map(|it| json!([it["tenant_id"], it["status"], at(it)]))
            .collect();
        assert_eq!(told, elsewhere, "{path}?{}", asked.query());
        assert_why(&client.ask(&format!("{path}/why?{}", asked.query())), user);
    }
    let names: Vec<_> = (users.iter().filter(|user| user["tenant_id"] == TENANTS[0]))
        .map(|user| user["user_id"].as_str().unwrap())
        .collect();
    let path = format!("/v1/tenants/{}/users/lookup?{}", TENANTS[0], asked.query());
    let asked_for = [names.as_slice(), &["nobody"]].concat();
    let answer = client.post_json(&path, &json!({ "user_ids": asked_for }));
    if answer.status == 404 {
        return assert!(names.is_empty(), "{path}");
    }
    let answer = answer.ok(&path);
    let found: Vec<_> = array(&answer, "users").iter().map(comparable).collect();
    let expected: Vec<_> = users.iter().filter(|user| user["tenant_id"] == TENANTS[0]).cloned().collect();
    assert_eq!(found, expected, "{path}");
    assert_eq!(answer["unknown"], json!(["nobody"]), "{path}");
}

/// The deciding events have the instants of the user, and the counts are those of its status.
fn assert_why(why: &Value, user: &Value) {
    let at = |event: &Value| event["occurred_at"].as_str().map(|at| rfc3339(micros(at)));
    let deciding = &why["deciding"];
    for (event, field) in
        [("created", "created_at"), ("confirmed", "confirmed_at"), ("last_seen", "last_seen_at")]
    {
        assert_eq!(json!(at(&deciding[event])), user[field], "{event}: {why} of {user}");
    }
    assert_eq!(deciding["last_seen"]["type"], user["last_seen_type"], "{why} of {user}");
    let is_deletion = deciding["deletion"]["type"] == "user_deleted";
    assert_eq!(is_deletion, !user["deleted_at"].is_null(), "{why} of {user}");
    let status = user["status"].as_str().unwrap();
    let active = format!("{}_users", user["last_seen_provenance"].as_str().unwrap_or_default());
    let expected: BTreeSet<&str> = match status {
        "active" => ["total_users", "active_users", &active].into(),
        "inactive" => ["total_users", "inactive_users"].into(),
        "pending" => ["total_users", "pending_users", "never_seen_users"].into(),
        "never_seen" => ["total_users", "never_seen_users"].into(),
        "deleted" => ["deleted_users"].into(),
        _ => ["left_out_users"].into(),
    };
    let told: BTreeSet<_> =
        array(why, "numbers").iter().map(|number| number["name"].as_str().unwrap()).collect();
    assert_eq!((&why["status"], told), (&user["status"], expected), "{why} of {user}");
}

/// A person from its memberships alone: those that are neither deleted nor left out say how it is.
fn person(memberships: &[&Value]) -> Value {
    let of = |absent: &[&str]| -> Vec<&Value> {
        let is_there = |user: &&&Value| !absent.contains(&user["status"].as_str().unwrap());
        let there: Vec<_> = memberships.iter().filter(is_there).copied().collect();
        if there.is_empty() { memberships.to_vec() } else { there }
    };
    let (present, counting) = (of(&["deleted", "left_out"]), of(&["left_out"]));
    let text = |user: &&Value, field: &str| user[field].as_str().map(str::to_owned);
    let least = |users: &[&Value], field| users.iter().filter_map(|user| text(user, field)).min();
    // The latest of theirs; at one instant the observation.
    let seen = present.iter().filter(|user| !user["last_seen_at"].is_null()).max_by_key(|user| {
        let is_observed = user["last_seen_provenance"] == "observed";
        (text(user, "last_seen_at"), is_observed)
    });
    let confirmed = present.iter().any(|user| user["confirmed"] == true);
    let all_of = |status: &str| memberships.iter().all(|user| user["status"] == status);
    let is_gone =
        memberships.iter().all(|user| ["deleted", "left_out"].contains(&user["status"].as_str().unwrap()));
    let status = if all_of("left_out") {
        "left_out"
    } else if is_gone {
        "deleted"
    } else {
        match seen {
            Some(seen) => seen["status"].as_str().unwrap(),
            None if confirmed => "never_seen",
            None => "pending",
        }
    };
    json!({
        "user_id": memberships[0]["user_id"],
        "status": status,
        "last_seen_at": seen.map(|seen| &seen["last_seen_at"]),
        "last_seen_provenance": seen.map(|seen| &seen["last_seen_provenance"]),
        "first_seen_at": least(&counting, "first_seen_at"),
        "created_at": least(&counting, "created_at"),
        "confirmed": confirmed,
        "active_until": seen.filter(|_| status == "active").map(|seen| &seen["active_until"]),
        "tenants": memberships.len(),
    })
}

fn assert_persons(client: &Client, (asked, question): (&Asked, &Question), model: &Model) {
    let users = model.users(None, question);
    let mut by_user: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for user in &users {
        by_user.entry(user["user_id"].as_str().unwrap()).or_default().push(user);
    }
    let mut expected: Vec<_> = by_user.values().map(|memberships| person(memberships)).collect();
    expected.sort_by_key(|person| {
        (sort_key(person, "-last_seen_at"), person["user_id"].as_str().unwrap().to_owned())
    });
    let path = format!("/v1/persons?{}&{STATUSES}&limit=3", asked.query());
    let strip = |person: &Value| {
        let mut person = comparable(person);
        person.as_object_mut().unwrap().remove("last_seen_type");
        person
    };
    let found: Vec<_> = rows_of(client, &path, "persons").iter().map(strip).collect();
    assert_eq!(found, expected, "{path}");
    assert_eq!(client.ask(&path)["total"], expected.len(), "{path}");
    for (name, memberships) in &by_user {
        let path = format!("/v1/persons/{}?{}", path_segment(name), asked.query());
        let found = client.ask(&path);
        let told: Vec<_> = array(&found, "memberships").iter().map(comparable).collect();
        assert_eq!(told.iter().collect::<Vec<_>>(), *memberships, "{path}");
        let alone = strip(&found);
        assert_eq!(alone, person(memberships), "{path}");
    }
}

fn assert_decay(
    client: &Client,
    (asked, question): (&Asked, &Question),
    tenant: Option<&str>,
    model: &Model,
) {
    let path = format!("{}/decay?{}&days=8", scope(tenant), asked.query());
    let Some(found) = known(client, &path) else { return };
    let at = micros(found["at"].as_str().unwrap());
    let rows = array(&found, "rows");
    assert_eq!(rows.len(), 8, "{path}");
    for (row, day) in rows.iter().zip(1..) {
        let then = Question { at: at + day * DAY, as_of: false, ..question.clone() };
        let expected = model.summary(tenant, &then);
        let expected = json!({
            "at": rfc3339(then.at),
            "active": expected["active_users"],
            "observed": expected["observed_users"],
            "estimated": expected["estimated_users"],
        });
        let mut row = row.clone();
        row["at"] = rfc3339(micros(row["at"].as_str().unwrap())).into();
        assert_eq!(row, expected, "day {day} of {path}");
    }
}

/// The first date that is not over: as of the last instant of a date, that date is.
fn open_day(zone: &str, asked: &Asked, at: i64) -> NaiveDate {
    date_in(zone, if asked.as_of.is_some() { at + 1 } else { at })
}

fn assert_days(
    client: &Client,
    (asked, now): (&Asked, i64),
    tenant: Option<&str>,
    (model, random): (&Model, &mut Seeded),
) {
    let (zone, period) = (*random.pick(&ZONES), *random.pick(&Period::ALL));
    let counted = asked.counted(tenant.is_none() && random.below(2) == 0);
    let at = asked.as_of.unwrap_or(now);
    let span = Span { from: date_in(zone, at - 50 * DAY), to: date_in(zone, at + 3 * DAY) };
    let recount = model.recount(zone, &counted);
    let mut bounds = asked.bounds();
    if counted.of_persons {
        bounds += "&of=persons";
    }
    let Span { from, to } = span;
    let query = format!("from={from}&to={to}&tz={zone}&{}{bounds}", period.query());
    let today = open_day(zone, asked, at);
    let path = format!("{}/active-users?{query}", scope(tenant));
    let Some(found) = known(client, &path) else { return };
    assert_eq!(array(&found, "rows"), &recount.series(tenant, period, span, today), "{path}");
    // A cohort asks whether the next day has begun, which it has not.
    if period != Period::Day && today == date_in(zone, at) {
        let path = format!("{}/retention?{query}", scope(tenant));
        let expected = recount.cohorts(tenant, period, span, today);
        assert_eq!(array(&client.ask(&path), "rows"), &expected, "{path}");
    }
}

fn assert_traffic(client: &Client, known_at: Option<u64>, tenant: Option<&str>, history: &mut History) {
    let zone = *history.world.random.pick(&ZONES);
    let (from, to) = (date_in(zone, now() - 62 * DAY), date_in(zone, now()));
    let known_at = known_at.map(|at| format!("&known_at={at}")).unwrap_or_default();
    let path = format!("{}/event-counts?from={from}&to={to}&tz={zone}{known_at}", scope(tenant));
    let Some(found) = known(client, &path) else { return };
    let until = known_at.trim_start_matches("&known_at=").parse().ok();
    let mut expected: BTreeMap<(String, String), u64> = BTreeMap::new();
    for event in history.known(until, None) {
        if tenant.is_none_or(|tenant| event["tenant_id"] == tenant) {
            let day = date_in(zone, micros(event["occurred_at"].as_str().unwrap())).to_string();
            *expected.entry((day, event["type"].as_str().unwrap().to_owned())).or_default() += 1;
        }
    }
    let mut told = BTreeMap::new();
    for row in array(&found, "rows") {
        let day = row["from"].as_str().unwrap();
        for (name, events) in row["counts"].as_object().unwrap() {
            if *events != 0 {
                told.insert((day.to_owned(), name.clone()), events.as_u64().unwrap());
            }
        }
    }
    assert_eq!(told, expected, "{path}");
}

fn assert_tenants(client: &Client, (asked, question): (&Asked, &Question), model: &Model, history: &History) {
    let compare = if asked.as_of.is_some() { "&compare=previous" } else { "" };
    let path = format!("/v1/tenants?{}&sort=tenant_id&limit=2&trend=9{compare}", asked.query());
    let mut rows = rows_of(client, &path, "tenants").into_iter();
    let before = asked.as_of.map(|at| at - asked.window.1);
    let earlier = Asked { as_of: before, ..asked.clone() };
    let model_before = history.model(&earlier);
    let counted = asked.counted(false);
    let recount = model.recount("UTC", &counted);
    for tenant in model.tenants() {
        let summary = model.summary(Some(&tenant), question);
        if summary["total_users"] == 0 {
            continue;
        }
        let row = rows.next().unwrap_or_else(|| panic!("{tenant} in {path}"));
        assert_eq!(row["tenant_id"], tenant, "{path}");
        for (name, number) in &summary {
            assert_eq!(&row[name], number, "{name} of {tenant} in {path}");
        }
        let users = model.users(Some(&tenant), question);
        let is_present = |user: &&Value| !["deleted", "left_out"].contains(&user["status"].as_str().unwrap());
        let at = |value: &Value| value.as_str().map(micros);
        let last_seen = users.iter().filter(is_present).filter_map(|user| at(&user["last_seen_at"])).max();
        let created = users.iter().filter_map(|user| at(&user["created_at"])).min();
        assert_eq!(at(&row["last_seen_at"]), last_seen, "{tenant} in {path}");
        assert_eq!(at(&row["created_at"]), created, "{tenant} in {path}");
        let day = open_day("UTC", asked, question.at);
        let before_day = |days: usize| day.iter_days().rev().nth(days).unwrap();
        let span = Span { from: before_day(9), to: before_day(1) };
        let days = recount.series(Some(&tenant), Period::Day, span, day);
        let trend: Vec<_> = days.iter().map(|row| row["active"].clone()).collect();
        assert_eq!(row["trend"], Value::from(trend), "{tenant} in {path}");
        if before.is_some() {
            let expected = model_before.summary(Some(&tenant), &earlier.question(0));
            for (name, number) in &expected {
                assert_eq!(&row["previous"][name], number, "{name} before, of {tenant} in {path}");
            }
        }
    }
    assert!(rows.next().is_none(), "{path}");
}

/// The rows that differ between two positions are those that two recounts differ in, and the events that are told are enough
/// to make them differ: without them the later recount is the earlier one.
fn assert_corrections(
    client: &Client,
    (asked, now): (&Asked, i64),
    tenant: Option<&str>,
    history: &mut History,
) {
    let random = &mut history.world.random;
    let (zone, period) = (*random.pick(&ZONES), *random.pick(&Period::ALL));
    let counted = asked.counted(tenant.is_none() && random.below(2) == 0);
    let until = asked.known_at.unwrap_or(history.end);
    let since = random.below(until + 1);
    let at = asked.as_of.unwrap_or(now);
    let span = Span { from: date_in(zone, at - 40 * DAY), to: date_in(zone, at + 2 * DAY) };
    let (Span { from, to }, today) = (span, open_day(zone, asked, at));
    let Asked { as_of, .. } = asked.clone();
    let as_of_text = as_of.map(|at| format!("&as_of={}", rfc3339(at))).unwrap_or_default();
    let until_text = asked.known_at.map(|at| format!("&until={at}")).unwrap_or_default();
    let path = format!(
        "{}/corrections?since={since}{until_text}&from={from}&to={to}&tz={zone}&{}{as_of_text}{}",
        scope(tenant),
        period.query(),
        counted.query()
    );
    let Some(found) = known(client, &path) else { return };
    let rows_of = |events: &mut dyn Iterator<Item = &Value>| {
        let mut model = Model::default();
        model.publish(events);
        model.recount(zone, &counted).series(tenant, period, span, today)
    };
    let before = rows_of(&mut history.known(Some(since), as_of));
    let after = rows_of(&mut history.known(Some(until), as_of));
    let expected: Vec<_> = (before.iter().zip(&after))
        .filter(|(before, after)| before != after)
        .map(|(before, after)| json!({ "from": after["from"], "to": after["to"], "before": before, "after": after }))
        .collect();
    assert_eq!(array(&found, "rows"), &expected, "{path}");
    let events: BTreeSet<u64> = array(&found, "events").iter().map(|at| at.as_u64().unwrap()).collect();
    assert_eq!(found["events_total"].as_u64().unwrap().min(100), events.len() as u64, "{path}");
    assert_eq!(expected.is_empty(), events.is_empty(), "{path}: {found}");
    assert!(events.iter().all(|at| (since + 1..=until).contains(at)), "{path}: {found}");
    if found["events_total"].as_u64() > Some(100) {
        return;
    }
    // The batch is taken back unless its retraction is among the events that are left out; what came and went in between
    // is in neither of the two.
    let retracted_at = history.retracted_at.filter(|at| *at <= until);
    let is_told = retracted_at.is_some_and(|at| events.contains(&at));
    let mut rest = history.published.iter().filter(|(event, at)| {
        let is_by_then = as_of.is_none_or(|as_of| micros(event["occurred_at"].as_str().unwrap()) <= as_of);
        let is_gone = retracted_at.is_some() && (!is_told || *at > since);
        let is_retracted = is_gone && event["batch"] == BATCH;
        *at <= until && !events.contains(at) && is_by_then && !is_retracted
    });
    let without = rows_of(&mut rest.by_ref().map(|(event, _)| event));
    for row in &expected {
        let alone = without.iter().find(|alone| alone["from"] == row["from"]).unwrap();
        assert_eq!(alone, &row["before"], "{path} without {events:?}");
    }
}

/// The sessions of every user, the one with the latest event first.
fn assert_sessions(client: &Client, history: &History) {
    let mut expected: BTreeMap<(String, String), BTreeMap<String, Vec<&Value>>> = BTreeMap::new();
    for event in history.known(None, None) {
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        let sessions = expected.entry((text("tenant_id"), text("user_id"))).or_default();
        if event["session_id"].is_string() {
            sessions.entry(text("session_id")).or_default().push(event);
        }
    }
    for ((tenant, user), sessions) in expected {
        let path = format!("/v1/tenants/{tenant}/users/{}/sessions?limit=2", path_segment(&user));
        let mut rows: Vec<_> = sessions
            .iter()
            .map(|(session, events)| {
                let at = |event: &&Value| micros(event["occurred_at"].as_str().unwrap());
                let mut types: BTreeMap<&str, u64> = BTreeMap::new();
                for event in events {
                    *types.entry(event["type"].as_str().unwrap()).or_default() += 1;
                }
                let [first, last] = [events.iter().map(at).min(), events.iter().map(at).max()];
                (Reverse(last), session, json!([session, first, last, events.len(), types]))
            })
            .collect();
        rows.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let expected: Vec<_> = rows.into_iter().map(|(_, _, row)| row).collect();
        let found: Vec<_> = rows_of(client, &path, "sessions")
            .iter()
            .map(|row| {
                let at = |field: &str| micros(row[field].as_str().unwrap());
                json!([row["session_id"], at("first_at"), at("last_at"), row["events"], row["types"]])
            })
            .collect();
        assert_eq!(found, expected, "{path}");
    }
}

/// The newest events, of all and of a tenant, are the last ones the other way round.
fn assert_newest(client: &Client, history: &History) {
    for tenant in std::iter::once(None).chain(TENANTS.map(Some)) {
        let of = tenant.map(|tenant| format!("&tenant_id={tenant}")).unwrap_or_default();
        let path = format!("/v1/events?order=newest&limit=7&types=login,user_deleted{of}");
        let expected = history.published.iter().rev().map(|(event, _)| event).filter(|event| {
            ["login", "user_deleted"].contains(&event["type"].as_str().unwrap())
                && tenant.is_none_or(|tenant| event["tenant_id"] == tenant)
        });
        let expected: Vec<_> = expected.take(7).map(|event| event["id"].clone()).collect();
        let text = client.get(&path).text();
        let found: Vec<Value> =
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
        assert_eq!(found, expected, "{path}");
    }
}

fn ask_while_it_grows(seed: u64, segment_events: &str) {
    let (server, _data) = sealing_server(segment_events);
    let mut history = History::new(seed, now());
    history.publish(server.client(), 150);
    for _ in 0..6 {
        assert_all(server.client(), &mut history);
        history.publish(server.client(), 12);
    }
    history.retract(server.client());
    for _ in 0..6 {
        assert_all(server.client(), &mut history);
        history.publish(server.client(), 5);
    }
    assert_sessions(server.client(), &history);
    assert_newest(server.client(), &history);
    let server = server.restart();
    for _ in 0..3 {
        assert_all(server.client(), &mut history);
        history.publish(server.client(), 5);
    }
    let server = server.crash_and_restart();
    for _ in 0..3 {
        assert_all(server.client(), &mut history);
    }
    assert_sessions(server.client(), &history);
    assert_newest(server.client(), &history);
}

#[test]
fn every_number_of_every_instant_and_position_agrees_with_a_recount() {
    ask_while_it_grows(3101, "60");
}

#[test]
fn every_number_agrees_with_a_recount_where_nothing_is_sealed() {
    ask_while_it_grows(3102, "1000000");
}
