//! Series of days, weeks and months against a recount of the same events and against the rolling counts; their
//! defaults and their parameters.

use std::thread;

use lastseen_tests::instant::{DAY, MINUTE, micros, now, rfc3339};
use lastseen_tests::{Client, Counted, Events, Model, NaiveDate, Period, Span, today};
use serde_json::Value;

use crate::answers::{array, empty_server, numbers, position, sealing_server};
use crate::worlds::{
    Asker, TENANTS, World, ZONES, all_counted, backfilled_history, git_history, publish, recent, samoa,
    scope, spring,
};

const BIG: &str = "230287431257595797";
const SMALL: &str = "628559756630834120";

fn scopes() -> impl Iterator<Item = Option<&'static str>> {
    std::iter::once(None).chain(TENANTS.map(Some))
}

/// Checks the rules that follow from rows alone: all that were active are one of three, and one row leads to
/// the next.
fn assert_identities(rows: &[Value]) {
    let numbers = |row: &Value| numbers(row, &["active", "new", "returning", "resurrected", "dormant"]);
    for row in rows {
        let [active, new, returning, resurrected, _] = numbers(row)[..] else { panic!("{row}") };
        assert_eq!(active, new + returning + resurrected, "{row}");
    }
    for pair in rows.windows(2) {
        let [active, new, _, resurrected, dormant] = numbers(&pair[1])[..] else { panic!("{pair:?}") };
        assert_eq!(active + dormant, numbers(&pair[0])[0] + new + resurrected, "{pair:?}");
    }
}

/// Each count of each `step`th day is what the summary says about the same stretch of time.
fn assert_rolling(asker: &Asker<'_>, tenant: Option<&str>, rows: &[Value], step: usize) {
    for row in rows.iter().step_by(step).filter(|row| row["partial"] == false) {
        let date: NaiveDate = row["to"].as_str().unwrap().parse().unwrap();
        let end = asker.recount.end(date);
        for (name, days) in [("active", 1), ("wau", 7), ("mau", 30)] {
            let before = asker.recount.end(date.iter_days().rev().nth(days).unwrap());
            // A closed interval has both ends. A date that was left out is no stretch of time at all.
            let window = end - before - 1;
            if window >= 1 {
                let path = format!("{}/summary?as_of={}&window={window}us", scope(tenant), rfc3339(end));
                assert_eq!(asker.client.ask(&path)["active_users"], row[name], "{name} of {row}: {path}");
            }
        }
    }
}

/// Everything about `span` in UTC; in each other zone one choice of what counts.
fn assert_world(client: &Client, world: &mut World, span: Span) {
    let counted = all_counted();
    for zone in ZONES {
        for counted in &counted {
            if zone != "UTC" && world.random.below(3) > 0 {
                continue;
            }
            let asker = Asker::new(client, &world.model, zone, counted);
            for tenant in scopes() {
                for period in Period::ALL {
                    let rows = asker.series(tenant, period, span);
                    assert_identities(&rows);
                }
            }
        }
    }
}

/// Asks the same questions again and again, so that rows are kept from one answer to the next.
fn assert_world_again(client: &Client, model: &Model, span: Span) {
    let persons = Counted { of_persons: true, ..Counted::default() };
    let everyone = Counted { everyone: true, ..Counted::default() };
    let logins = Counted { types: Some(vec!["login"]), ..persons.clone() };
    for (zone, counted) in
        [("UTC", Counted::default()), ("UTC", persons.clone()), (ZONES[1], everyone), (ZONES[2], logins)]
    {
        let asker = Asker::new(client, model, zone, &counted);
        for tenant in scopes() {
            asker.series(tenant, Period::Day, span);
            asker.series(tenant, Period::Week, span);
            asker.cohorts(tenant, Period::Week, span);
        }
    }
}

/// Asked while late events, deletions and restorations arrive, and after both kinds of a restart.
fn follow(mut world: World, span: Span, segment_events: &str) {
    let (server, _data) = sealing_server(segment_events);
    world.publish(server.client(), 260);
    assert_world(server.client(), &mut world, span);
    for _ in 0..15 {
        let count = 1 + usize::try_from(world.random.below(3)).unwrap();
        world.publish(server.client(), count);
        assert_world_again(server.client(), &world.model, span);
    }
    world.publish(server.client(), 60);
    assert_world(server.client(), &mut world, span);
    let server = server.restart();
    assert_world(server.client(), &mut world, span);
    world.publish(server.client(), 20);
    assert_world_again(server.client(), &world.model, span);
    let server = server.crash_and_restart();
    assert_world(server.client(), &mut world, span);
}

#[test]
fn a_random_world_around_changes_of_clocks_agrees_with_a_recount_while_it_grows() {
    let (world, span) = spring();
    follow(world, span, "60");
}

#[test]
fn a_random_world_around_a_date_left_out_agrees_with_a_recount_while_it_grows() {
    let (world, span) = samoa();
    follow(world, span, "1000000");
}

#[test]
fn a_random_world_up_to_now_agrees_with_a_recount_while_it_grows() {
    let (world, span) = recent(now());
    follow(world, span, "100");
}

#[test]
fn days_of_a_random_world_are_what_the_rolling_counts_say() {
    let (mut world, span) = spring();
    let (server, _data) = sealing_server("70");
    world.publish(server.client(), 300);
    for zone in ZONES {
        for counted in [Counted::default(), Counted { observed_only: true, ..Counted::default() }] {
            // The recount has no part in the summary, it only says when the days end.
            let asker = Asker::new(server.client(), &world.model, zone, &counted);
            let rows = asker.series(None, Period::Day, span);
            if !counted.observed_only {
                assert_rolling(&asker, None, &rows, 5);
                assert_rolling(&asker, Some("beta"), &asker.series(Some("beta"), Period::Day, span), 7);
            }
        }
    }
}

#[test]
fn real_history_agrees_with_a_recount_in_every_zone() {
    let (events, model) = git_history();
    let (server, _data) = sealing_server("9000");
    publish(server.client(), &events);
    let refreshes =
        Counted { types: Some(vec!["token_refresh"]), observed_only: false, ..Counted::default() };
    let others = Counted {
        types: Some(vec!["login", "tenant_switch", "signup_complete"]),
        observed_only: true,
        ..Counted::default()
    };
    for (zone, from, to) in [
        ("UTC", "2023-12-15", "2024-01-15"),
        ("Europe/Berlin", "2024-03-15", "2024-04-05"),
        ("America/New_York", "2021-10-20", "2021-11-15"),
        ("Asia/Kolkata", "2019-06-01", "2019-06-20"),
        ("Australia/Lord_Howe", "2020-03-25", "2020-04-12"),
        ("Pacific/Apia", "2018-03-25", "2018-04-08"),
        ("Pacific/Kiritimati", "2022-02-20", "2022-03-10"),
    ] {
        for counted in [Counted::default(), refreshes.clone(), others.clone()] {
            let asker = Asker::new(server.client(), &model, zone, &counted);
            for tenant in [None, Some(BIG), Some(SMALL)] {
                let rows = asker.series(tenant, Period::Day, Span::new(from, to));
                assert_identities(&rows);
                if counted.types.is_none() {
                    assert_rolling(&asker, tenant, &rows, 9);
                }
                let year = format!("{}-01-11", &from[..4]);
                for period in [Period::Week, Period::Month] {
                    let rows = asker.series(tenant, period, Span::new(&year, to));
                    assert_identities(&rows);
                }
            }
        }
    }
}

#[test]
fn ten_years_of_days_agree_with_a_recount() {
    let (events, model) = git_history();
    let (server, _data) = sealing_server("20000");
    publish(server.client(), &events);
    for zone in ["UTC", "Europe/Berlin"] {
        let counted = Counted::default();
        let asker = Asker::new(server.client(), &model, zone, &counted);
        let rows = asker.series(Some(SMALL), Period::Day, Span::new("2015-01-01", "2024-12-31"));
        assert_identities(&rows);
        asker.series(None, Period::Month, Span::new("2015-01-01", "2024-12-31"));
    }
}

#[test]
fn clocks_that_go_back_past_midnight_or_skip_it_agree_with_a_recount() {
    for (seed, from, to, zones) in [
        // Back from 02:00 to 23:00, and from 00:01 to 23:01 of the day before.
        (2111, "2010-02-20", "2010-03-20", ["Antarctica/Casey", "Asia/Kathmandu"]),
        (2112, "2010-10-25", "2010-11-20", ["America/St_Johns", "America/Havana"]),
        // On from 00:00 to 01:00.
        (2113, "2018-10-25", "2018-11-15", ["America/Sao_Paulo", "America/Caracas"]),
        (2114, "2019-03-20", "2019-04-10", ["Asia/Beirut", "Asia/Amman"]),
        // A date was left out.
        (2115, "1993-08-10", "1993-08-30", ["Pacific/Kwajalein", "Pacific/Majuro"]),
        (2116, "1994-12-20", "1995-01-10", ["Pacific/Kiritimati", "Pacific/Enderbury"]),
    ] {
        let at = |date: &str| micros(&format!("{date}T00:00:00Z"));
        let mut world = World::seeded(seed, at(from), at(to));
        let (server, _data) = sealing_server("150");
        world.publish(server.client(), 320);
        for zone in zones {
            for counted in all_counted() {
                let asker = Asker::new(server.client(), &world.model, zone, &counted);
                for tenant in scopes() {
                    for period in Period::ALL {
                        asker.series(tenant, period, Span::new(from, to));
                    }
                    asker.cohorts(tenant, Period::Week, Span::new(from, to));
                }
            }
        }
    }
}

#[test]
fn names_that_a_zone_had_before_are_as_good() {
    let (mut world, span) = spring();
    let (server, _data) = empty_server();
    world.publish(server.client(), 150);
    let rows = |zone: &str| {
        let (client, Span { from, to }) = (server.client(), span);
        let answer = client.ask(&format!("/v1/active-users?from={from}&to={to}&tz={zone}"));
        assert_eq!(answer["tz"], zone);
        answer["rows"].clone()
    };
    for (old, new) in [
        ("US/Eastern", "America/New_York"),
        ("Asia/Calcutta", "Asia/Kolkata"),
        ("Etc/UTC", "UTC"),
        ("GMT", "UTC"),
        ("Etc/GMT-14", "Pacific/Kiritimati"),
    ] {
        assert_eq!(rows(old), rows(new), "{old}");
    }
    assert_ne!(rows("UTC"), rows("Pacific/Kiritimati"));
}

#[test]
fn a_backfilled_history_agrees_with_a_recount_around_its_cutover() {
    let events = backfilled_history();
    let mut model = Model::default();
    model.publish(&events);
    let (server, _data) = sealing_server("5000");
    publish(server.client(), &events);
    let truth = lastseen_tests::git_activity::truth();
    for expected in array(&truth["backfill"], "summaries") {
        let summary =
            server.client().ask(&format!("/v1/summary?as_of={}", expected["as_of"].as_str().unwrap()));
        let names = ["total_users", "active_users", "pending_users", "never_seen_users", "estimated_users"];
        assert_eq!(numbers(&summary, &names), numbers(&expected["all"], &names), "{expected}");
    }
    for counted in [Counted::default(), Counted { observed_only: true, ..Counted::default() }] {
        for zone in ["UTC", "America/New_York"] {
            let asker = Asker::new(server.client(), &model, zone, &counted);
            for tenant in [None, Some(BIG)] {
                let days = asker.series(tenant, Period::Day, Span::new("2023-12-10", "2024-02-10"));
                assert_identities(&days);
                if !counted.observed_only {
                    assert_rolling(&asker, tenant, &days, 11);
                }
                asker.series(tenant, Period::Month, Span::new("2022-01-01", "2025-01-01"));
            }
        }
    }
}

/// Asks once more if midnight has passed meanwhile.
fn on_one_day<T>(zone: &str, mut ask: impl FnMut(NaiveDate) -> T) -> T {
    loop {
        let before = today(zone);
        let answer = ask(before);
        if today(zone) == before {
            return answer;
        }
    }
}

fn dates<'a>(rows: &'a [Value], field: &str) -> Vec<&'a str> {
    rows.iter().map(|row| row[field].as_str().unwrap()).collect()
}

#[test]
fn without_dates_the_answer_is_thirty_days_up_to_today_of_the_zone() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(2201).login(("acme", "ada"), now())]);
    for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Midway"] {
        for tenant in [None, Some("acme")] {
            let path = format!("{}/active-users?tz={zone}", scope(tenant));
            let path = if zone == "UTC" { path.replace("?tz=UTC", "") } else { path };
            let (today, answer) = on_one_day(zone, |today| (today, client.ask(&path)));
            let days: Vec<_> = today.iter_days().rev().take(30).map(|date| date.to_string()).collect();
            let rows = array(&answer, "rows");
            for end in ["from", "to"] {
                assert_eq!(dates(rows, end), days.iter().rev().collect::<Vec<_>>(), "{path}");
            }
            let partial: Vec<_> = rows.iter().map(|row| row["partial"] == true).collect();
            assert_eq!(partial, [vec![false; 29], vec![true]].concat(), "{path}");
            assert_eq!(numbers(&rows[29], &["active", "wau", "mau", "new"]), [1; 4], "{path}");
            assert_eq!(
                (&answer["tz"], &answer["period"], &answer["from"], &answer["to"]),
                (&zone.into(), &"day".into(), &days[29].as_str().into(), &days[0].as_str().into())
            );
            assert_eq!(answer["tenant_id"].as_str(), tenant, "{path}");
            assert_eq!((position(&answer), &answer["definition"]), (1, &3.into()), "{path}");
        }
    }
    let days = client.ask("/v1/active-users?to=2024-03-15");
    assert_eq!(
        (&days["from"], &days["to"]),
        (&"2024-02-15".into(), &"2024-03-15".into()),
        "29 days before `to`"
    );
}

#[test]
fn days_to_come_are_partial_and_days_of_nobody_are_zeros() {
    let (server, _data) = empty_server();
    let client = server.client();
    let zeros = |path: &str, rows: usize, total: u64, partial: bool| {
        let answer = client.ask(path);
        let found = array(&answer, "rows");
        assert_eq!(found.len(), rows, "{path}");
        for row in found {
            let counts = row.as_object().unwrap().iter().filter(|(name, _)| *name != "total");
            assert!(counts.filter_map(|(_, count)| count.as_u64()).all(|count| count == 0), "{row}");
            assert_eq!((&row["total"], &row["partial"]), (&total.into(), &partial.into()), "{row}");
        }
    };
    zeros("/v1/active-users?from=2024-01-01&to=2024-02-29", 60, 0, false);
    client.publish(&[Events::seeded(2202).login(("acme", "ada"), micros("2024-02-10T12:00:00Z"))]);
    for scope in ["/v1", "/v1/tenants/acme"] {
        zeros(&format!("{scope}/active-users?from=2023-12-01&to=2024-02-09"), 71, 0, false);
        zeros(&format!("{scope}/active-users?from=1970-01-01&to=1970-01-02"), 2, 0, false);
        zeros(&format!("{scope}/active-users?from=1970-01-01&to=1970-01-02&tz=Asia/Kolkata"), 2, 0, false);
        // On days to come there is everybody who is there now.
        zeros(&format!("{scope}/active-users?from=2090-01-01&to=2090-01-02"), 2, 1, true);
        zeros(&format!("{scope}/active-users?from=2090-01-01&to=2090-01-02&types=login"), 2, 1, true);
        zeros(&format!("{scope}/active-users?from=2090-01-01&to=2090-01-09&period=week"), 3, 1, true);
    }
    let (today, answer) = on_one_day("UTC", |today| {
        let Some(tomorrow) = today.succ_opt() else { panic!("the end of time") };
        (today, client.ask(&format!("/v1/active-users?from=2024-02-10&to={tomorrow}&period=month")))
    });
    let months = array(&answer, "rows");
    let open: Vec<_> = months.iter().filter(|month| month["partial"] == true).collect();
    assert!(open.iter().all(|month| month["to"].as_str().unwrap() >= today.to_string().as_str()));
    assert_eq!(months[0]["to"], "2024-02-29");
    assert!((1..=2).contains(&open.len()), "{open:?}");
}

#[test]
fn rows_of_weeks_and_months_are_whole_and_the_dates_of_the_answer_those_of_the_question() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(2203).login(("acme", "ada"), micros("2024-12-30T12:00:00Z"))]);
    let ask = |query: &str| client.ask(&format!("/v1/tenants/acme/active-users?{query}"));
    let answer = ask("from=2024-12-29&to=2025-01-06&period=week");
    let weeks = array(&answer, "rows");
    assert_eq!(dates(weeks, "from"), ["2024-12-23", "2024-12-30", "2025-01-06"]);
    assert_eq!(dates(weeks, "to"), ["2024-12-29", "2025-01-05", "2025-01-12"]);
    assert_eq!((&answer["from"], &answer["to"]), (&"2024-12-29".into(), &"2025-01-06".into()));
    assert_eq!(answer["period"], "week");
    assert_eq!(weeks.iter().map(|week| week["active"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 0]);
    let answer = ask("from=2024-11-30&to=2025-02-01&period=month");
    let months = array(&answer, "rows");
    assert_eq!(dates(months, "from"), ["2024-11-01", "2024-12-01", "2025-01-01", "2025-02-01"]);
    assert_eq!(dates(months, "to"), ["2024-11-30", "2024-12-31", "2025-01-31", "2025-02-28"]);
    assert_eq!(answer["period"], "month");
    assert_eq!(numbers(&months[1], &["active", "new", "dormant"]), [1, 1, 0]);
    assert_eq!(numbers(&months[2], &["active", "new", "dormant"]), [0, 0, 1]);
}

#[test]
fn what_a_clock_ahead_has_sent_counts_on_the_running_day() {
    let (server, _data) = empty_server();
    let client = server.client();
    let mut events = Events::seeded(2204);
    let at = on_one_day("UTC", |_| now() + 4 * MINUTE);
    client.publish(&[events.login(("acme", "ada"), at), events.login(("acme", "bob"), at - 6 * MINUTE)]);
    let date = &rfc3339(at)[..10];
    let active = |client: &Client| {
        let answer = client.ask(&format!("/v1/active-users?from={date}&to={date}"));
        numbers(&array(&answer, "rows")[0], &["mau"])
    };
    assert_eq!(active(client), [2]);
    client.publish(&[events.of("user_deleted", ("acme", "ada"), at)]);
    assert_eq!(active(client), [1]);
}

#[test]
fn an_answer_has_what_was_published_before_it_was_asked_for() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, start) = (Events::seeded(2205), micros("2024-01-10T00:00:00Z"));
    for step in 0..30 {
        // One in a day that was answered as closed each time before.
        let stored =
            position(&client.publish(&[events.login(("acme", &format!("u{step}")), start + step % 7 * DAY)]));
        for route in ["/v1/active-users", "/v1/tenants/acme/active-users"] {
            let answer = client.ask(&format!("{route}?from=2024-01-16&to=2024-01-16&min_position={stored}"));
            assert_eq!(position(&answer), stored);
            assert_eq!(array(&answer, "rows")[0]["wau"], step + 1, "{answer}");
        }
    }
    for route in ["/v1/active-users", "/v1/tenants/acme/retention"] {
        let answer = client.get(&format!("{route}?min_position=1000000"));
        answer.problem(503, "position_not_reached", route);
    }
}

#[test]
fn a_closed_day_has_every_publishers_own_events_while_others_publish() {
    const PUBLISHERS: u64 = 4;
    const STEPS: u64 = 60;
    let (server, _data) = sealing_server("50");
    let start = micros("2024-01-10T12:00:00Z");
    thread::scope(|threads| {
        for publisher in 0..PUBLISHERS {
            let client = server.client();
            threads.spawn(move || {
                let mut events = Events::seeded(2220 + publisher);
                let tenant = format!("t{publisher}");
                for step in 0..STEPS {
                    let member = (tenant.as_str(), format!("u{step}"));
                    let at = start - (step % 5).cast_signed() * DAY;
                    client.publish(&[events.login((member.0, &member.1), at)]);
                    for (scope, least) in
                        [(format!("/v1/tenants/{tenant}"), step + 1), ("/v1".to_owned(), step + 1)]
                    {
                        let path = format!("{scope}/active-users?from=2024-01-10&to=2024-01-11");
                        let days = client.ask(&path)["rows"].clone();
                        let found = numbers(&days[0], &["wau"])[0];
                        assert!(found >= least, "{path}: {days}");
                        assert!(scope == "/v1" || found == least, "{path}: {days}");
                        assert_eq!(numbers(&days[0], &["mau"]), [found], "{path}: {days}");
                    }
                }
            });
        }
    });
    let days = server.client().ask("/v1/active-users?from=2024-01-10&to=2024-01-10");
    assert_eq!(array(&days, "rows")[0]["wau"], PUBLISHERS * STEPS);
}

#[test]
fn dates_zones_and_periods_are_checked() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(2206).login(("acme", "ada"), now())]);
    let dates = [
        "",
        "today",
        "2026-1-1",
        "20260101",
        "2026-02-30",
        "2026-01-01T00:00:00Z",
        "2026-13-01",
        "+2026-01-01",
    ];
    let zones = ["", "Nowhere", "Europe/Berln", "+01:00", "UTC+1", "europe/berlin", "../UTC", " UTC"];
    for scope in ["/v1", "/v1/tenants/acme"] {
        for route in ["active-users", "retention"] {
            let path = format!("{scope}/{route}");
            let periods =
                ["", "decade", "Week", "weeks", "hour", if route == "retention" { "day" } else { "days" }];
            for (field, values) in [
                ("from", dates.as_slice()),
                ("to", &dates),
                ("tz", &zones),
                ("period", &periods),
                ("types", &["", "logout", "estimated_activity", "login,"]),
                ("provenance", &["", "estimated"]),
                ("counts", &["", "none"]),
                ("of", &["", "people"]),
                ("week_start", &["", "tuesday", "Sunday"]),
                ("as_of", &["", "2026-1-1", "yesterday"]),
                ("known_at", &["", "-1", "2026-1-1"]),
                ("min_position", &["", "-1", "x"]),
            ] {
                for value in values {
                    let path = format!("{path}?{field}={}", lastseen_tests::path_segment(value));
                    let problem = client.get(&path).problem(400, "invalid_parameter", &path);
                    assert_eq!(problem["field"], field, "{path}");
                }
            }
            for (field, value) in [
                ("from", "2026-01-01"),
                ("to", "2026-01-01"),
                ("tz", "UTC"),
                ("period", "week"),
                ("types", "login"),
                ("provenance", "observed"),
                ("min_position", "0"),
            ] {
                let path = format!("{path}?{field}={value}&{field}={value}");
                let problem = client.get(&path).problem(400, "invalid_parameter", &path);
                assert_eq!(problem["field"], field, "{path}");
            }
            for name in ["window", "compare", "limit", "sort", "date", "Tz"] {
                let problem =
                    client.get(&format!("{path}?{name}=1")).problem(400, "unknown_parameter", &path);
                assert_eq!(problem["field"], name, "{path}");
            }
        }
    }
    for route in ["active-users", "retention"] {
        let path = format!("/v1/tenants/nobody/{route}");
        client.get(&path).problem(404, "unknown_tenant", &path);
        let path = format!("/v1/{route}");
        client.post(&path, "application/json", b"{}").problem(405, "method_not_allowed", &path);
    }
}

#[test]
fn at_most_3660_days_that_end_after_they_begin() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(2207).login(("acme", "ada"), micros("2020-01-01T00:00:00Z"))]);
    for scope in ["/v1", "/v1/tenants/acme"] {
        for (route, rows) in
            [("active-users", 3_660), ("active-users?period=week", 524), ("retention?period=month", 121)]
        {
            let separator = if route.contains('?') { '&' } else { '?' };
            let path = |from: &str, to: &str| format!("{scope}/{route}{separator}from={from}&to={to}");
            let answer = client.ask(&path("2015-12-25", "2025-12-31"));
            assert_eq!(array(&answer, "rows").len(), rows, "{route}");
            assert_eq!(array(&client.ask(&path("2025-12-31", "2025-12-31")), "rows").len(), 1, "{route}");
            for (from, to) in [
                ("2015-12-24", "2025-12-31"),
                ("1000-01-01", "2025-12-31"),
                ("2025-12-31", "2025-12-30"),
                ("2025-12-31", "1025-12-30"),
            ] {
                let path = path(from, to);
                let problem = client.get(&path).problem(400, "invalid_parameter", &path);
                assert!(["from", "to"].contains(&problem["field"].as_str().unwrap()), "{problem}");
            }
        }
        // With today as the last day.
        for from in ["2012-01-01", "2090-01-01"] {
            let path = format!("{scope}/active-users?from={from}");
            let problem = client.get(&path).problem(400, "invalid_parameter", &path);
            assert_eq!(problem["field"], "from", "{path}");
        }
    }
}
