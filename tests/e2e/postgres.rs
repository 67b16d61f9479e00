//! A million users in PostgreSQL, brought in, compared and taken back, while the application goes on writing its table and
//! publishing what its users do.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lastseen_tests::{Ended, Events, Postgres, Process, Seeded, Server, instant, skip};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{count, empty_server, numbers, text, write};

const WITHIN: Duration = Duration::from_mins(10);

/// Users of the table; one in fifty is deleted, one in ten not confirmed.
const USERS: u64 = 1_000_000;

/// Other names than the usual ones, types of a real application, and a column that is nobody's business.
const TABLE: &str = "\
    CREATE SCHEMA app; \
    CREATE TABLE app.users (org integer, id bigint PRIMARY KEY, secret text DEFAULT repeat('x', 60), verified boolean, \
        created timestamptz, changed timestamp NULL, gone timestamptz NULL); \
    INSERT INTO app.users (org, id, verified, created, changed, gone) SELECT n % 500, 900000000000000000 + n, n % 10 <> 0, \
        now() - interval '1 year' - n * interval '1 second', \
        CASE WHEN n % 3 = 0 THEN NULL ELSE (now() AT TIME ZONE 'UTC') - (n % 60) * interval '1 day' - interval '1 hour' END, \
        CASE WHEN n % 50 = 0 THEN now() - interval '2 days' END FROM generate_series(1, ROWS) AS n";

const COLUMNS: [&str; 12] = [
    "--tenant-column",
    "org",
    "--user-column",
    "id",
    "--confirmed-column",
    "verified",
    "--created-column",
    "created",
    "--modified-column",
    "changed",
    "--deleted-column",
    "gone",
];

/// A server of PostgreSQL with the table, or that there is none here.
fn application(rows: u64) -> Option<Postgres> {
    let postgres = Postgres::start();
    match &postgres {
        Some(postgres) => drop(postgres.run(&TABLE.replace("ROWS", &rows.to_string()))),
        None => skip("PostgreSQL"),
    }
    postgres
}

fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("backfill").args(arguments).args(["--server", server.url()]);
    command
}

fn run(server: &Server, arguments: &[&str]) -> Ended {
    Process::start(command(server, arguments)).wait(WITHIN)
}

/// Stops the application when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Goes on with the work of the application until it is told to stop. Returns the number of users it has
/// logged in.
fn go_on(postgres: &Postgres, server: &Server, stop: &AtomicBool) -> u64 {
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Seeded::new(7);
            while !stop.load(Ordering::Relaxed) {
                // Some rows change, some of the deleted come back, some are confirmed.
                let from = random.below(USERS - 2_000);
                postgres.run(&format!(
                    "UPDATE app.users SET changed = now() AT TIME ZONE 'UTC', verified = verified OR id % 20 = 0, \
                     gone = CASE WHEN id % 100 = 0 THEN NULL ELSE gone END \
                     WHERE id BETWEEN 900000000000000000 + {from} AND 900000000000000000 + {}",
                    from + 500
                ));
            }
        });
        let logins = scope.spawn(|| {
            // Users that are confirmed and not deleted.
            let mut users = (1..USERS / 4).filter(|user| user % 10 != 0).cycle();
            let (mut events, mut logged_in) = (Events::seeded(91), BTreeSet::new());
            while !stop.load(Ordering::Relaxed) {
                let batch: Vec<Value> = users
                    .by_ref()
                    .take(200)
                    .map(|user| {
                        logged_in.insert(user);
                        let id = (900_000_000_000_000_000_u64 + user).to_string();
                        events.login(((user % 500).to_string().as_str(), &id), instant::now())
                    })
                    .collect();
                server.client().publish(&batch);
            }
            logged_in.len() as u64
        });
        logins.join().unwrap()
    })
}

#[test]
fn a_million_users_are_brought_in_compared_and_taken_back() {
    let Some(postgres) = application(USERS) else { return };
    let (server, _data) = empty_server();
    let (url, client) = (postgres.url(), server.client());
    let source = [&[url.as_str(), "--table", "app.users"], COLUMNS.as_slice()].concat();
    let backfill = [source.as_slice(), &["--batch", "users"]].concat();
    let verify = [&["verify"], source.as_slice()].concat();
    let stop = AtomicBool::new(false);
    let logged_in = thread::scope(|scope| {
        // Also where the test has failed.
        let stopping = Stop(&stop);
        let application = scope.spawn(|| go_on(&postgres, &server, &stop));
        let ended = run(&server, &backfill);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(count(&ended, "users"), 1_000_000, "{}", ended.stdout);
        // While they go on, only what has changed meanwhile differs.
        let ended = run(&server, &[&verify[..], &["--list"]].concat());
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        let lines: Vec<_> = ended.stdout.lines().filter(|line| line.starts_with("tenant ")).collect();
        let causes = ["run the backfill again", "the row is back: run it again"];
        let other = lines.iter().find(|line| causes.iter().all(|cause| !line.ends_with(cause)));
        assert!(!lines.is_empty() && other.is_none(), "{other:?}");
        drop(stopping);
        application.join().unwrap()
    });
    // The table stands still: what has changed is brought in, and then nothing is left to find.
    let ended = run(&server, &backfill);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = run(&server, &verify);
    assert_eq!(ended.code, Some(0), "{}{}", &ended.stdout[..ended.stdout.len().min(2_000)], ended.stderr);
    assert!(ended.stdout.contains("findings 0, rows that cannot be read 0"), "{}", ended.stdout);

    // The same by SQL, and by who was logged in.
    let summary = client.ask("/v1/summary");
    let rows =
        |condition: &str| postgres.number(&format!("SELECT count(*) FROM app.users WHERE {condition}"));
    let days = "(now() AT TIME ZONE 'UTC') - interval '30 days'";
    for (name, expected) in [
        ("total_users", rows("gone IS NULL")),
        ("deleted_users", rows("gone IS NOT NULL")),
        ("pending_users", rows("gone IS NULL AND NOT verified")),
        ("observed_users", logged_in),
    ] {
        assert_eq!(summary[name], expected, "{name}");
    }
    let estimates = rows(&format!(
        "gone IS NULL AND verified AND coalesce(changed, created AT TIME ZONE 'UTC') >= {days}"
    ));
    let [active, observed] = numbers(&summary, &["active_users", "observed_users"])[..] else {
        panic!("two")
    };
    assert!(active >= estimates && active <= estimates + observed, "{active}, {estimates}, {observed}");

    let ended = run(&server, &["retract", "users"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("took back users with "), "{}", ended.stdout);
    let summary = client.ask("/v1/summary");
    let counts = numbers(&summary, &["total_users", "active_users", "observed_users", "deleted_users"]);
    assert_eq!(counts, [logged_in, logged_in, logged_in, 0]);
    let ended = run(&server, &backfill);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("its name is dead") && !ended.stderr.contains("not done"),
        "{}",
        ended.stderr
    );
    let ended = run(&server, &["retract", "nobody"]);
    assert_eq!((ended.code, ended.stderr.contains("no event names the batch")), (Some(1), true));
}

#[test]
fn a_role_that_may_read_the_columns_that_are_named_is_enough() {
    let Some(postgres) = application(1_000) else { return };
    postgres.run(
        "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA app TO reader; \
         GRANT SELECT (org, id, verified, created, changed, gone) ON app.users TO reader",
    );
    let (server, _data) = empty_server();
    let url = postgres.url_of("reader");
    let backfill = |relation: &[&str]| {
        run(&server, &[&[url.as_str(), "--batch", "users"], relation, COLUMNS.as_slice()].concat())
    };
    let ended = backfill(&["--table", "app.users"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let stored = server.client().ask("/v1/backfills/users");
    // The same by a query, as people write them.
    let ended = backfill(&[
        "--query",
        "SELECT org::char(10) AS org, id, verified, created, changed, gone FROM app.users -- padded",
    ]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(server.client().ask("/v1/backfills/users")["events"], stored["events"]);
    // One column for two purposes, and limits of time that a long table would meet.
    postgres.run("ALTER ROLE reader SET statement_timeout TO 100");
    let slow = "SELECT org, id, verified, created, changed, gone, pg_sleep(0.001) FROM app.users LIMIT 300";
    let ended = backfill(&["--query", slow, "--observed-column", "changed"]);
    assert_eq!(count(&ended, "users"), 300, "{} {}", ended.stdout, ended.stderr);
    let refused = |ended: &Ended, said: &str| {
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    };
    refused(&backfill(&["--query", "SELECT * FROM app.users"]), "permission denied for table users");
    let failing = "SELECT org, id, verified, created, changed, gone FROM app.users, \
                LATERAL (SELECT 1 / (id - 900000000000000500) AS fails) AS f WHERE fails < 2";
    refused(&backfill(&["--query", failing]), "after row 499: db error: ERROR: division by zero");
    // A policy that hides rows would make a shorter table of it.
    postgres.run(
        "ALTER TABLE app.users ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY few ON app.users TO reader USING (org = 1)",
    );
    refused(&backfill(&["--table", "app.users"]), "affected by row-level security policy");
    let url = format!("{url}?options=-c%20row_security%3Don");
    let ended =
        run(&server, &[&[&url, "--batch", "users", "--table", "app.users"], COLUMNS.as_slice()].concat());
    assert_eq!(count(&ended, "users"), 2, "{} {}", ended.stdout, ended.stderr);
}

/// Text of COPY is read as it was in the table.
#[test]
fn text_of_copy_is_read_without_its_escapes() {
    let Some(postgres) = Postgres::start() else { return skip("PostgreSQL") };
    postgres.run(
        "CREATE TABLE users (id text, name text, email_confirmed boolean, created_at timestamp, modified_at timestamp, \
                             deleted_at timestamp); \
         INSERT INTO users VALUES \
             (E'DOM\\\\anna', '\"', true, '2026-01-06 16:00:00.5', NULL, NULL), \
             ('\"bob', E'two\\nlines\\tand a tab', false, '2026-01-07', NULL, '2026-02-01 01:02:03'), \
             (E'c\\\\N', '', true, '2026-01-08', '2026-01-09', NULL)",
    );
    let copied = postgres.psql("COPY users TO STDOUT WITH (HEADER)").output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let (server, data) = empty_server();
    let table = write(&data, "users.tsv", copied.stdout);
    let ended = run(&server, &[text(&table), "--user-column", "id", "--tenant", "acme", "--batch", "b"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let events = server.client().get("/v1/events").text();
    let events: BTreeSet<(String, String, String)> = events
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            (text("user_id"), text("type"), text("occurred_at"))
        })
        .collect();
    let expected = [
        ("DOM\\anna", "user_created", "2026-01-06T16:00:00.500Z"),
        ("DOM\\anna", "estimated_activity", "2026-01-06T16:00:00.500Z"),
        ("\"bob", "user_created", "2026-01-07T00:00:00Z"),
        ("\"bob", "user_deleted", "2026-02-01T01:02:03Z"),
        ("c\\N", "user_created", "2026-01-08T00:00:00Z"),
        ("c\\N", "estimated_activity", "2026-01-09T00:00:00Z"),
    ];
    assert_eq!(
        events,
        expected.map(|(user, what, at)| (user.to_owned(), what.to_owned(), at.to_owned())).into()
    );
    assert_eq!(count(&ended, "instants without an offset: read as UTC"), 5, "{}", ended.stdout);
}
