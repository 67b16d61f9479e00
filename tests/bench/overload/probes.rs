//! A publisher, a dashboard and a probe of health, each on a thread of its own with a connection of its own.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use lastseen_tests::Server;
use lastseen_tests::instant::{now, rfc3339};

use crate::harness::load::Load;
use crate::harness::probe::open_loop;

/// Time between two requests of a probe, by the clock: a slow answer does not make the next one late.
const EVERY: Duration = Duration::from_millis(5);

/// Figures of the three.
pub(crate) struct Probes {
    pub(crate) publish: Load,
    pub(crate) health: Load,
    pub(crate) summary: Load,
}

/// Publishes the first event of every member: tenants of one user each, and a tenant of many.
pub(crate) fn fill(server: &Server, tenants: u32, users: u32) {
    let of_tenants = (0..tenants).map(|tenant| (format!("tenant{tenant}"), format!("only{tenant}")));
    let of_users = (0..users).map(|user| ("large".to_owned(), format!("user{user}")));
    publish_all(server, 1, of_tenants.chain(of_users));
}

/// Publishes a login of each member. `series` must differ from all others of that server.
pub(crate) fn publish_all(server: &Server, series: u32, members: impl Iterator<Item = (String, String)>) {
    const BODY_EVENTS: usize = 10_000;
    let at = rfc3339(now());
    let mut body = String::new();
    let mut members = members.enumerate().peekable();
    while let Some((number, (tenant, user))) = members.next() {
        let _ = writeln!(body, "{}", event((series, number), (&tenant, &user), &at));
        if (number + 1).is_multiple_of(BODY_EVENTS) || members.peek().is_none() {
            server.client().post("/v1/events", "application/x-ndjson", body.as_bytes()).ok("an append");
            body.clear();
        }
    }
}

/// A login as JSON.
pub(crate) fn event((series, number): (u32, usize), (tenant, user): (&str, &str), at: &str) -> String {
    format!(
        "{{\"id\":\"{series:08x}-0000-4000-8000-{number:012x}\",\"type\":\"login\",\"tenant_id\":\"{tenant}\",\
         \"user_id\":\"{user}\",\"occurred_at\":\"{at}\"}}"
    )
}

/// Runs the three for `span`.
pub(crate) fn probe(address: &str, span: Duration) -> Probes {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes();
    let post = |number: usize| {
        let body = event((2, number), ("large", &format!("user{}", number % 1_000)), &rfc3339(now()));
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        (head + &body).into_bytes()
    };
    thread::scope(|scope| {
        let publish = scope.spawn(|| open_loop(address, (span, EVERY), post));
        let health = scope.spawn(|| open_loop(address, (span, EVERY), |_| get("/healthz")));
        let summary = scope.spawn(|| open_loop(address, (span, EVERY), |_| get("/v1/summary")));
        let [publish, health, summary] =
            [publish, health, summary].map(|probe| probe.join().expect("every answer is 200"));
        Probes { publish, health, summary }
    })
}
