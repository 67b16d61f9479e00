//! Cohorts against a recount of the same events and against the series of the same periods.

use lastseen_tests::instant::{DAY, micros, now};
use lastseen_tests::{Client, Counted, Events, Model, Period, Span};
use serde_json::{Value, json};

use crate::answers::{array, empty_server, sealing_server};
use crate::worlds::{
    Asker, TENANTS, ZONES, all_counted, backfilled_history, git_history, publish, recent, samoa, spring,
};

const PERIODS: [Period; 5] = [Period::Week, Period::SundayWeek, Period::Month, Period::Quarter, Period::Year];

/// Cohorts and series of the same periods: sizes are the new ones, and what a cohort keeps is among the active.
fn assert_cohorts(asker: &Asker<'_>, tenant: Option<&str>, period: Period, span: Span) {
    let cohorts = asker.cohorts(tenant, period, span);
    let series = asker.client.ask(&asker.path("active-users", tenant, period, span));
    let rows = array(&series, "rows");
    assert_eq!(cohorts.len(), rows.len(), "{series}");
    for (at, (cohort, row)) in cohorts.iter().zip(rows).enumerate() {
        assert_eq!((&cohort["from"], &cohort["to"]), (&row["from"], &row["to"]));
        assert_eq!(cohort["size"], row["new"], "{cohort} {row}");
        let active = array(cohort, "active");
        assert_eq!(active.len(), rows.len() - at, "up to the period of `to`: {cohort}");
        // A period that has not begun has nobody, and its number is null.
        assert_eq!(active[0].as_u64().unwrap_or(0), cohort["size"], "{cohort}");
    }
    for (at, row) in rows.iter().enumerate() {
        let kept: u64 =
            (0..=at).map(|cohort| array(&cohorts[cohort], "active")[at - cohort].as_u64().unwrap_or(0)).sum();
        assert!(kept <= row["active"].as_u64().unwrap(), "{kept} of {row}");
    }
}

fn assert_world(client: &Client, model: &Model, span: Span) {
    for zone in ZONES {
        for counted in &all_counted() {
            let asker = Asker::new(client, model, zone, counted);
            for tenant in [None, Some(TENANTS[0]), Some(TENANTS[2])] {
                for period in PERIODS {
                    assert_cohorts(&asker, tenant, period, span);
                }
            }
        }
    }
}

#[test]
fn random_worlds_agree_with_a_recount() {
    for (mut world, span) in [spring(), samoa(), recent(now())] {
        let (server, _data) = sealing_server("90");
        world.publish(server.client(), 300);
        assert_world(server.client(), &world.model, span);
        world.publish(server.client(), 30);
        let server = server.restart();
        assert_world(server.client(), &world.model, span);
    }
}

fn assert_real(events: &[Value], model: &Model, spans: [(Period, Span); 2]) {
    let (server, _data) = sealing_server("9000");
    publish(server.client(), events);
    let logins = Counted { types: Some(vec!["login"]), observed_only: false, ..Counted::default() };
    for zone in ["UTC", "America/New_York"] {
        for counted in [Counted::default(), logins.clone()] {
            let asker = Asker::new(server.client(), model, zone, &counted);
            for tenant in [None, Some("303111572032059719")] {
                for (period, span) in spans {
                    assert_cohorts(&asker, tenant, period, span);
                }
            }
        }
    }
}

#[test]
fn real_history_agrees_with_a_recount() {
    let (events, model) = git_history();
    let (weeks, months) = (Span::new("2020-10-01", "2021-03-31"), Span::new("2017-05-17", "2019-05-01"));
    assert_real(&events, &model, [(Period::Week, weeks), (Period::Month, months)]);
}

#[test]
fn a_backfilled_history_agrees_with_a_recount() {
    let events = backfilled_history();
    let mut model = Model::default();
    model.publish(&events);
    let (weeks, months) = (Span::new("2023-11-01", "2024-03-31"), Span::new("2023-01-01", "2025-01-01"));
    assert_real(&events, &model, [(Period::Week, weeks), (Period::Month, months)]);
}

#[test]
fn a_cohort_by_hand() {
    let (server, _data) = empty_server();
    let client = server.client();
    let (mut events, start) = (Events::seeded(2401), micros("2024-01-01T00:00:00Z"));
    let day = |day: i64| start + (day - 1) * DAY;
    client.publish(&[
        events.login(("acme", "stays"), day(1)),
        events.login(("acme", "stays"), day(8)),
        events.login(("acme", "stays"), day(15)),
        events.login(("acme", "comes back"), day(7)),
        events.login(("acme", "comes back"), day(21)),
        events.login(("acme", "deleted"), day(2)),
        events.login(("acme", "deleted"), day(9)),
        events.of("user_deleted", ("acme", "deleted"), day(10)),
        events.login(("acme", "deleted at once"), day(3)),
        events.of("user_deleted", ("acme", "deleted at once"), day(4)),
        events.of("user_restored", ("acme", "deleted at once"), day(9)),
        events.login(("acme", "deleted at once"), day(10)),
        events.login(("acme", "later"), day(9)),
        events.estimated(("acme", "guessed"), day(5)),
        events.login(("acme", "guessed"), day(16)),
        events.login(("other", "stays"), day(8)),
    ]);
    let ask =
        |query: &str| client.ask(&format!("/v1/tenants/acme/retention?from=2024-01-03&to=2024-01-20{query}"));
    let cohort = |from: &str, to: &str, active: &[u64]| json!({"from": from, "to": to, "size": active[0], "active": active, "partial": false});
    let answer = ask("");
    assert_eq!(
        answer["rows"],
        json!([
            cohort("2024-01-01", "2024-01-07", &[4, 1, 3]),
            cohort("2024-01-08", "2024-01-14", &[1, 0]),
            cohort("2024-01-15", "2024-01-21", &[0]),
        ]),
        "a week is the default"
    );
    assert_eq!(
        (&answer["tenant_id"], &answer["tz"], &answer["period"]),
        (&"acme".into(), &"UTC".into(), &"week".into())
    );
    assert_eq!((&answer["from"], &answer["to"]), (&"2024-01-03".into(), &"2024-01-20".into()));
    assert_eq!(ask("&period=week")["rows"], answer["rows"]);
    assert_eq!(ask("&provenance=observed")["rows"][2], cohort("2024-01-15", "2024-01-21", &[1]));
    // Both that were deleted: one for good, one came back.
    assert_eq!(ask("&period=month")["rows"], json!([cohort("2024-01-01", "2024-01-31", &[5])]));
    let overall = client.ask("/v1/retention?from=2024-01-08&to=2024-01-08");
    assert_eq!(overall["rows"], json!([cohort("2024-01-08", "2024-01-14", &[2])]));
    assert!(overall.get("tenant_id").is_none());
}

#[test]
fn without_dates_the_cohorts_are_those_of_the_last_thirty_days() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(2402).login(("acme", "ada"), now())]);
    for scope in ["/v1", "/v1/tenants/acme"] {
        let answer = client.ask(&format!("{scope}/retention"));
        let (from, to) = (answer["from"].as_str().unwrap(), answer["to"].as_str().unwrap());
        let span = Span::new(from, to);
        assert_eq!(span.dates().count(), 30, "{answer}");
        let cohorts = array(&answer, "rows");
        assert!((5..=6).contains(&cohorts.len()), "{answer}");
        assert!(cohorts.iter().all(|cohort| cohort["partial"] == true), "the week of today is not over");
        let last = cohorts.last().unwrap();
        assert_eq!((&last["size"], &last["active"]), (&1.into(), &json!([1])), "{answer}");
        assert_eq!(cohorts[0]["active"], json!(vec![0; cohorts.len()]));
    }
}
