//! (3): what a question costs that is the first after a start, what it costs again, and what all pages of a long list cost.

use std::time::{Duration, Instant};

use lastseen_tests::instant::{DAY, now, rfc3339};
use lastseen_tests::{NaiveDate, Server, today};

use crate::harness::connection::Connection;
use crate::harness::figures::print_row;
use crate::harness::latency::{Latencies, Millis};
use crate::harness::workload::get;
use crate::past::History;
use crate::serve;

/// Number of times it is asked again, and the longest time for that.
const AGAIN: usize = 20;
const AGAIN_FOR: Duration = Duration::from_secs(10);
/// Days of a series.
pub(crate) const DAYS: usize = 60;

/// Each of them after a start of its own.
pub(crate) fn measure(history: &History, tenant: &str) {
    let today = today("UTC");
    let (closed_from, closed_to) = closed_days();
    let as_of = rfc3339(now() - 15 * DAY);
    let running = before(today, DAYS - 1);
    let weeks_from = before(today, 11 * 7);
    let questions = [
        ("summary", "/v1/summary".to_owned()),
        ("60 days, with the running one", format!("/v1/active-users?from={running}&to={today}")),
        ("60 days, all closed", format!("/v1/active-users?from={closed_from}&to={closed_to}")),
        (
            "60 days of the largest tenant",
            format!("/v1/tenants/{tenant}/active-users?from={running}&to={today}"),
        ),
        ("60 days of persons", format!("/v1/active-users?from={running}&to={today}&of=persons")),
        ("twelve weeks of cohorts", format!("/v1/retention?from={weeks_from}&to={today}")),
        ("summary as of 15 days ago", format!("/v1/summary?as_of={as_of}")),
        ("the same of the largest tenant", format!("/v1/tenants/{tenant}/summary?as_of={as_of}")),
        ("tenants by active_users", "/v1/tenants?sort=-active_users".to_owned()),
        ("tenants by inactive_users", "/v1/tenants?sort=-inactive_users".to_owned()),
        (
            "users of the largest tenant as of 15 days ago",
            format!("/v1/tenants/{tenant}/users?as_of={as_of}"),
        ),
    ];
    for (name, path) in questions {
        let server = serve(&history.data, &[]);
        ask(&server, name, &path);
        server.kill9();
    }
    pages(history, tenant, &as_of);
}

/// All users of a tenant as of an instant, page by page.
fn pages(history: &History, tenant: &str, as_of: &str) {
    let server = serve(&history.data, &[]);
    let client = server.client();
    let path = format!("/v1/tenants/{tenant}/users?as_of={as_of}&limit=1000");
    let (mut cursor, mut all, mut users) = (String::new(), Vec::new(), 0);
    loop {
        let sent = Instant::now();
        let page = client.ask(&format!("{path}{cursor}"));
        all.push(sent.elapsed());
        users += page["users"].as_array().expect("a list").len();
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let first = Millis(all.remove(0));
    let (pages, whole) = (all.len(), Millis(first.0 + all.iter().sum::<Duration>()));
    let rest = Latencies::new(all);
    println!(
        "    {users} users of it in pages of 1,000: first {first}, {pages} more: median {}, longest {}, together {whole}",
        rest.at(500),
        rest.at(1_000)
    );
}

/// The first and the last of the days that end yesterday.
pub(crate) fn closed_days() -> (NaiveDate, NaiveDate) {
    let today = today("UTC");
    (before(today, DAYS), before(today, 1))
}

/// The date so many days before.
pub(crate) fn before(date: NaiveDate, days: usize) -> NaiveDate {
    date.iter_days().rev().nth(days).expect("long after the calendar begins")
}

/// Asks a server that has just started, prints what it takes, and tells what the first answer took.
pub(crate) fn ask(server: &Server, name: &str, path: &str) -> Millis {
    let request = get(path);
    let address = server.url().trim_start_matches("http://");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let mut all = runtime.block_on(async {
        let mut connection = Connection::open(address).await.expect("the server listens");
        connection.round_trip(&get("/healthz")).await.expect("the server lives");
        let mut all: Vec<Duration> = Vec::with_capacity(1 + AGAIN);
        while all.len() < 2 || (all.len() <= AGAIN && all[1..].iter().sum::<Duration>() < AGAIN_FOR) {
            let sent = Instant::now();
            connection.round_trip(&request).await.expect("the server answers 200");
            all.push(sent.elapsed());
        }
        all
    });
    let again = all.split_off(1);
    let first = Millis(all[0]);
    print_row(&format!("    {name}"), [first, Latencies::new(again).at(500)]);
    first
}
