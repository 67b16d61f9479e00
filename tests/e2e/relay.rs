//! `lastseen relay` between a real PostgreSQL and the real server: rows of transactions become events, once each, in order,
//! whoever is killed. `LASTSEEN_E2E_KILLS` sets the number of kills.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use lastseen_tests::instant::{DAY, now, rfc3339};
use lastseen_tests::{Client, Ended, Events, Postgres, Process, Seeded, Server, Signal, eventually, skip};
use serde_json::Value;

use crate::BINARY;
use crate::answers::{empty_server, lastseen};
use crate::keys::{create, until_known};
use crate::publisher::{kills, stored};

const WITHIN: Duration = Duration::from_mins(1);

/// A database with the table that `--print-ddl` describes, or that there is none here.
fn database(more: &[&str]) -> Option<Postgres> {
    let postgres = Postgres::start();
    match &postgres {
        Some(postgres) => {
            let ddl = lastseen(&[&["relay", "--print-ddl"], more].concat());
            assert_eq!(ended(&ddl), Some(0));
            drop(postgres.run(&ddl.stdout));
        }
        None => skip("PostgreSQL"),
    }
    postgres
}

fn ended(ended: &Ended) -> Option<i32> {
    assert!(
        ended.stderr.is_empty() || ended.code != Some(0) || ended.stderr.contains("relaying"),
        "{}",
        ended.stderr
    );
    ended.code
}

fn command(postgres: &Postgres, server: &str, more: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["relay", &postgres.url(), "--server", server]).args(more);
    command
}

/// Publishes what is there.
fn once(postgres: &Postgres, server: &Server, more: &[&str]) -> Ended {
    Process::start(command(postgres, server.url(), &[&["--once"], more].concat())).wait(WITHIN)
}

/// The events of a server, in order.
fn events(client: &Client) -> Vec<Value> {
    client.get("/v1/events").text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn users(client: &Client) -> Vec<String> {
    events(client).iter().map(|event| event["user_id"].as_str().unwrap().to_owned()).collect()
}

const LOGIN: &str = "INSERT INTO activity_outbox (type, tenant_id, user_id) VALUES ('login', 'acme', ";

#[test]
fn rows_of_every_kind_become_events_in_order_and_go() {
    let Some(postgres) = database(&[]) else { return };
    let (server, _data) = empty_server();
    let at = rfc3339(now() - DAY);
    postgres.run(&format!(
        "INSERT INTO activity_outbox (type, tenant_id, user_id, occurred_at, session_id, from_tenant_id, confirmed, counts) VALUES \
         ('user_created', 'acme', 'zoë / 1', '{at}', NULL, NULL, false, true), \
         ('signup_complete', 'acme', 'zoë / 1', '{at}', 's-1', NULL, NULL, NULL), \
         ('login', 'acme', 'zoë / 1', '{at}', 's-1', NULL, NULL, NULL), \
         ('token_refresh', 'acme', 'zoë / 1', '{at}', 's-1', NULL, NULL, NULL), \
         ('tenant_switch', 'beta', 'zoë / 1', '{at}', 's-2', 'acme', NULL, NULL), \
         ('user_confirmed', 'acme', 'invited', '{at}', NULL, NULL, NULL, NULL), \
         ('user_changed', 'acme', 'invited', '{at}', NULL, NULL, NULL, false), \
         ('user_deleted', 'acme', 'invited', '{at}', NULL, NULL, NULL, NULL), \
         ('user_restored', 'acme', 'invited', '{at}', NULL, NULL, NULL, NULL)"
    ));
    let rows = postgres.run("SELECT json_agg(row_to_json(o) ORDER BY seq) FROM activity_outbox o");
    let rows: Vec<BTreeMap<String, Value>> = serde_json::from_str(&rows).unwrap();
    assert_eq!(ended(&once(&postgres, &server, &[])), Some(0));
    assert_eq!(postgres.number("SELECT count(*) FROM activity_outbox"), 0);
    let events = events(server.client());
    assert_eq!(events.len(), 9);
    for (row, event) in rows.iter().zip(&events) {
        for (column, value) in
            row.iter().filter(|(column, _)| !["seq", "fault", "occurred_at"].contains(&&***column))
        {
            assert_eq!(event.get(column).unwrap_or(&Value::Null), value, "{column} of {event}");
        }
        assert_eq!(event["occurred_at"], at.as_str());
    }
    // An instant of its own to the microsecond, where the row says nothing.
    postgres.run(&format!("{LOGIN}'late')"));
    let of_row =
        postgres.number("SELECT (extract(epoch FROM occurred_at) * 1000000)::bigint FROM activity_outbox");
    assert_eq!(ended(&once(&postgres, &server, &[])), Some(0));
    let late = server.client().ask("/v1/tenants/acme/users/late");
    assert_eq!(
        lastseen_tests::instant::micros(late["last_seen_at"].as_str().unwrap()),
        i64::try_from(of_row).unwrap()
    );
}

#[test]
fn rows_are_marked_where_that_is_asked_for() {
    let Some(postgres) = database(&["--mark", "--table", "\"Out Box\""]) else { return };
    let (server, _data) = empty_server();
    let insert = "INSERT INTO \"Out Box\" (type, tenant_id, user_id) SELECT 'login', 'acme', 'u' || n FROM generate_series(1, 25) n";
    postgres.run(insert);
    let options = ["--mark", "--table", "\"Out Box\"", "--batch-events", "10"];
    for round in 1..=2 {
        assert_eq!(ended(&once(&postgres, &server, &options)), Some(0));
        let marked = "SELECT count(*) FROM \"Out Box\" WHERE published_at <= now() AND fault IS NULL";
        assert_eq!(postgres.number(marked), 25 * round);
        assert_eq!(stored(server.client()).len() as u64, 25 * round);
        postgres.run(insert);
    }
}

#[test]
fn rows_that_are_refused_are_set_aside_with_the_reason_and_hold_nobody_up() {
    let Some(postgres) = database(&[]) else { return };
    let (server, _data) = empty_server();
    postgres.run("ALTER TABLE activity_outbox ALTER id DROP NOT NULL, ALTER tenant_id DROP NOT NULL");
    let id = Events::seeded(5_101).id();
    let bad = [
        ("login", "'null'", "u", "now()", "placeholder tenant_id"),
        ("login", "NULL", "u", "now()", "missing_field tenant_id"),
        ("logged_in", "'acme'", "u", "now()", "unknown_type type"),
        ("login", "'acme'", "u", "now() + interval '1 day'", "in_future occurred_at"),
        ("login", "'acme'", "u", "'infinity'", "invalid_instant occurred_at"),
        ("login", "'acme'", "u", "'20000-01-01T00:00:00Z'", "invalid_instant occurred_at"),
        ("login", "repeat('x', 100000)", "u", "now()", "too_long tenant_id"),
    ];
    let mut sql = String::new();
    for (number, (event_type, tenant, user, at, _)) in bad.iter().enumerate() {
        write!(
            sql,
            "{LOGIN}'good{number}'); INSERT INTO activity_outbox (type, tenant_id, user_id, occurred_at) \
             VALUES ('{event_type}', {tenant}, '{user}', {at}); "
        )
        .unwrap();
    }
    // Without an id; and one id for two logins.
    write!(
        sql,
        "INSERT INTO activity_outbox (id, type, tenant_id, user_id) VALUES (NULL, 'login', 'acme', 'u'), \
         ('{id}', 'login', 'acme', 'one'); "
    )
    .unwrap();
    postgres.run(&sql);
    let told = once(&postgres, &server, &["--batch-events", "4", "--log-format", "json"]);
    assert_eq!(told.code, Some(3), "{}", told.stderr);
    postgres.run(&format!(
        "INSERT INTO activity_outbox (id, type, tenant_id, user_id) VALUES ('{id}', 'login', 'acme', 'two')"
    ));
    assert_eq!(once(&postgres, &server, &[]).code, Some(3));
    let faults = postgres.run("SELECT fault FROM activity_outbox ORDER BY seq");
    let faults: Vec<_> = faults.lines().collect();
    let mut expected: Vec<_> = bad.iter().map(|bad| bad.4).collect();
    expected.extend(["missing_field id", "id_conflict"]);
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}: {expected}");
    }
    assert_eq!(told.stderr.matches("a row is set aside").count(), 8, "{}", told.stderr);
    let mut good: Vec<_> = (0..bad.len()).map(|number| format!("good{number}")).collect();
    good.push("one".to_owned());
    assert_eq!(users(server.client()), good);
    // Mended, and tried again.
    postgres
        .run("UPDATE activity_outbox SET tenant_id = 'acme', fault = NULL WHERE fault LIKE 'placeholder%'");
    assert_eq!(once(&postgres, &server, &[]).code, Some(0));
    assert_eq!(users(server.client()).last().unwrap(), "u");
    assert_eq!(postgres.number("SELECT count(*) FROM activity_outbox"), 8);
}

#[test]
fn a_row_counts_with_its_transaction_and_comes_within_moments_of_it() {
    let Some(postgres) = database(&[]) else { return };
    let (server, _data) = empty_server();
    // The time between two looks is longer than this test may take: it goes by notifications.
    let mut relay = Process::start(command(&postgres, server.url(), &["--poll", "1h"]));
    let come = |user: &str| {
        let path = format!("/v1/tenants/acme/users/{user}");
        eventually(WITHIN, || (server.client().get(&path).status == 200).then_some(()))
            .unwrap_or_else(|| panic!("{user} does not come"));
    };
    postgres.run(&format!("BEGIN; {LOGIN}'undone'); ROLLBACK"));
    // A transaction that is still open when a later row is published.
    let mut shell = postgres.shell();
    shell.stdin(Stdio::piped());
    let mut open = Process::start(shell);
    let mut stdin = open.take_stdin();
    writeln!(stdin, "BEGIN; {LOGIN}'slow');\n\\echo open").unwrap();
    assert!(eventually(WITHIN, || open.stdout().contains("open").then_some(())).is_some());
    postgres.run(&format!("{LOGIN}'quick')"));
    come("quick");
    assert_eq!(users(server.client()), ["quick"]);
    writeln!(stdin, "COMMIT;").unwrap();
    come("slow");
    drop(stdin);
    assert_eq!(open.wait(WITHIN).code, Some(0));
    assert_eq!(users(server.client()), ["quick", "slow"]);
    relay.signal(Signal::TERM);
    let ended = relay.wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(postgres.number("SELECT count(*) FROM activity_outbox"), 0);
}

#[test]
fn one_of_several_relays_has_the_table_and_the_next_takes_over() {
    let Some(postgres) = database(&[]) else { return };
    let (server, data) = empty_server();
    let key = create(data.path(), &["--name", "relay", "--scope", "publish"]);
    let reader = create(data.path(), &["--name", "reader", "--scope", "query,replay"]);
    until_known(server.client(), &reader);
    let client = server.client().with_key(&reader);
    let start = || {
        let options = ["--poll", "20ms", "--metrics-listen", "127.0.0.1:0", "--key", &key];
        let relay = Process::start(command(&postgres, server.url(), &options));
        let told = || {
            let said = relay.stderr();
            let port = said.split_once("addresses=")?.1.split_once("127.0.0.1:")?.1;
            Some(port.chars().take_while(char::is_ascii_digit).collect::<String>())
        };
        let port = eventually(WITHIN, told).unwrap_or_else(|| panic!("{}", relay.stderr()));
        (relay, Client::new(&format!("http://127.0.0.1:{port}")))
    };
    let value = |metrics: &Client, name: &str| -> Option<f64> {
        let text = metrics.send("GET", "/metrics", &[], b"").ok()?.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("lastseen_relay_{name} ")))?;
        line.parse().ok()
    };
    let mut relays: Vec<_> = (0..3).map(|_| start()).collect();
    for round in 1..=3 {
        let one = || {
            let relaying = relays.iter().map(|(_, metrics)| value(metrics, "relaying"));
            let relaying = relaying.collect::<Option<Vec<_>>>()?;
            assert!(relaying.iter().sum::<f64>() < 2.0, "{relaying:?}");
            relaying.iter().position(|relaying| *relaying > 0.0)
        };
        let one = eventually(WITHIN, one).expect("one has the table");
        let rows = "INSERT INTO activity_outbox (type, tenant_id, user_id) SELECT 'login', 'acme', 'u' || n FROM generate_series(1, 200) n";
        postgres.run(rows);
        let is_empty = || (postgres.number("SELECT count(*) FROM activity_outbox") == 0).then_some(());
        assert!(eventually(WITHIN, is_empty).is_some());
        assert_eq!(events(&client).len(), 200 * round);
        let (relay, metrics) = relays.remove(one);
        let published = || value(&metrics, "published_rows_total").filter(|rows| *rows >= 200.0);
        assert!(eventually(WITHIN, published).is_some());
        let is_empty = || value(&metrics, "empty_timestamp_seconds").filter(|seconds| *seconds > 1e9);
        assert!(eventually(WITHIN, is_empty).is_some());
        assert!(value(&metrics, "lag_seconds").is_some());
        relay.kill9();
    }
    assert!(stored(&client).values().all(|count| *count == 1));
}

#[test]
fn a_table_of_another_make_is_read_and_a_wrong_one_is_told() {
    let Some(postgres) = database(&[]) else { return };
    let (server, _data) = empty_server();
    postgres.run(
        "CREATE SCHEMA app; CREATE TABLE app.events (seq integer PRIMARY KEY, id varchar(40), type varchar(20), tenant_id bigint, user_id uuid, \
         occurred_at timestamptz, fault text, note jsonb); \
         INSERT INTO app.events VALUES (7, 'DD14CCA6-D7B2-562F-8044-75E0D2526C9D', 'login', 42, \
         '6f1a7b1c-1111-4222-8333-444455556666', now(), NULL, '{}')",
    );
    assert_eq!(ended(&once(&postgres, &server, &["--table", "app.events"])), Some(0));
    let seen = server.client().ask("/v1/tenants/42/users/6f1a7b1c-1111-4222-8333-444455556666");
    assert_eq!(seen["last_seen_type"], "login");
    assert_eq!(postgres.number("SELECT count(*) FROM app.events"), 0);

    postgres.run(
        "ALTER TABLE app.events DROP fault, DROP user_id, ALTER occurred_at TYPE timestamp; \
         CREATE ROLE reader LOGIN; GRANT SELECT ON activity_outbox TO reader",
    );
    let told = |postgres: &str, more: &[&str]| {
        let arguments = [&["relay", postgres, "--server", server.url()], more].concat();
        let ended = lastseen(&arguments);
        assert!(ended.code == Some(1) || ended.code == Some(2), "{}", ended.stderr);
        ended.stderr
    };
    let url = postgres.url();
    let wrong = told(&url, &["--table", "app.events"]);
    for word in ["fault is missing", "user_id is missing", "occurred_at is timestamp without time zone"] {
        assert!(wrong.contains(word), "{wrong}");
    }
    postgres.run("CREATE TABLE twice (LIKE activity_outbox)");
    assert!(told(&url, &["--table", "twice"]).contains("expected a unique index on seq"));
    assert!(told(&url, &["--mark"]).contains("published_at is missing"));
    assert!(told(&url, &["--table", "nothing"]).contains("--print-ddl"));
    assert!(told(&url, &["--table", "a b"]).contains("expected the name of a table"));
    assert!(told(&postgres.url_of("reader"), &[]).contains("privilege UPDATE"));
    assert!(told(&postgres.url_of("nobody"), &[]).contains("role \"nobody\" does not exist"));
    assert!(told("mysql://x@y/z", &[]).contains("expected a URL such as postgres://"));
}

#[test]
fn of_several_hosts_the_one_that_takes_writes_is_found() {
    let Some(standby) = database(&[]) else { return };
    let Some(primary) = database(&[]) else { return };
    standby.run("ALTER SYSTEM SET default_transaction_read_only = on");
    standby.run("SELECT pg_reload_conf()");
    let (server, _data) = empty_server();
    primary.run(&format!("{LOGIN}'ada')"));
    let address = |postgres: &Postgres| postgres.url().split_once('@').unwrap().1.replace("/postgres", "");
    let (one, two) = (address(&standby), address(&primary));
    let url = format!("postgres://postgres@{one},{two}/postgres");
    let done = lastseen(&["relay", &url, "--once", "--server", server.url()]);
    assert_eq!(ended(&done), Some(0));
    assert_eq!(users(server.client()), ["ada"]);
}

#[test]
fn rows_that_stay_though_they_were_published_are_told() {
    let Some(postgres) = database(&[]) else { return };
    let (server, _data) = empty_server();
    postgres.run(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
         CREATE TRIGGER keep BEFORE DELETE ON activity_outbox FOR EACH ROW EXECUTE FUNCTION keep()",
    );
    postgres.run(&format!("{LOGIN}'ada')"));
    let mut relay = Process::start(command(&postgres, server.url(), &["--once"]));
    let told = || relay.stderr().contains("does a trigger keep them?").then_some(());
    assert!(eventually(WITHIN, told).is_some(), "{}", relay.stderr());
    assert_eq!(users(server.client()), ["ada"]);
    relay.signal(Signal::TERM);
    assert_eq!(relay.wait(WITHIN).code, Some(130), "rows are left");
}

#[test]
fn what_began_after_another_was_committed_is_published_after_it() {
    let Some(postgres) = database(&[]) else { return };
    let (server, _data) = empty_server();
    let relay = ["--poll", "5ms", "--batch-events", "1", "--log", "off"];
    let _relay = Process::start(command(&postgres, server.url(), &relay));
    // Transactions of many connections, each of which writes down the numbers that were committed before it began.
    postgres.run("CREATE TABLE before (seq bigint, committed bigint[])");
    let script = "BEGIN; \
        WITH row AS (INSERT INTO activity_outbox (type, tenant_id, user_id, session_id) \
            SELECT 'login', 'acme', 'u', currval_or_next.seq::text FROM (SELECT nextval('numbers') AS seq) currval_or_next \
            RETURNING session_id) \
        INSERT INTO before SELECT session_id::bigint, ARRAY(SELECT seq FROM before) FROM row; \
        SELECT pg_sleep(random() * 0.02); COMMIT; ";
    postgres.run("CREATE SEQUENCE numbers");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| drop(postgres.run(&script.repeat(60))));
        }
    });
    let waiting = || postgres.number("SELECT count(*) FROM activity_outbox");
    assert!(eventually(WITHIN, || (waiting() == 0).then_some(())).is_some());
    let events = events(server.client());
    let places: BTreeMap<&str, usize> = events
        .iter()
        .enumerate()
        .map(|(place, event)| (event["session_id"].as_str().unwrap(), place))
        .collect();
    assert_eq!(places.len(), 360);
    let pairs = postgres.run("SELECT seq || ' ' || unnest(committed) FROM before");
    for pair in pairs.lines() {
        let (later, earlier) = pair.split_once(' ').unwrap();
        assert!(places[earlier] < places[later], "{earlier} was committed before {later} began");
    }
    assert!(pairs.lines().count() > 10_000);
}

#[test]
fn the_statement_of_the_documentation_works() {
    let Some(postgres) = database(&[]) else { return };
    let (server, _data) = empty_server();
    let documentation = include_str!("../../docs/PUBLISHING.md");
    let (_, block) = documentation.split_once("```sql\n").unwrap();
    postgres.run(block.split_once("```").unwrap().0);
    assert_eq!(ended(&once(&postgres, &server, &[])), Some(0));
    let user = server.client().ask("/v1/tenants/8127/users/usr_01JK");
    assert_eq!((&user["status"], &user["last_seen_type"]), (&"active".into(), &"login".into()));
}

/// A login of an application: a row of its own and one of the outbox, in one transaction. The id; whether it was
/// committed.
fn log_in(postgres: &Postgres, ids: &[String]) -> bool {
    let mut sql = "BEGIN; ".to_owned();
    for (number, id) in ids.iter().enumerate() {
        write!(
            sql,
            "INSERT INTO logins VALUES ('{id}'); INSERT INTO activity_outbox (id, type, tenant_id, user_id) \
             VALUES ('{id}', 'login', 'acme', 'u{number}'); "
        )
        .unwrap();
    }
    let status = postgres.psql(&(sql + "COMMIT")).stderr(Stdio::null()).status().unwrap();
    status.success()
}

#[test]
fn every_login_of_the_database_is_one_event_through_kills_of_all_three() {
    let Some(mut postgres) = database(&[]) else { return };
    postgres.run("CREATE TABLE logins (id uuid PRIMARY KEY)");
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(BINARY, data.path());
    let url = server.url().to_owned();
    let start = |postgres: &Postgres| {
        Process::start(command(postgres, &url, &["--poll", "20ms", "--batch-events", "7", "--log", "off"]))
    };
    let mut relays = vec![start(&postgres), start(&postgres)];
    let (mut random, mut tried, mut copy) = (Seeded::new(20_271), BTreeSet::new(), None);
    let mut source = Events::seeded(5_102);
    for _ in 0..kills(30) {
        for _ in 0..=random.below(4) {
            let most = *random.pick(&[3, 12, 300]);
            let ids: Vec<_> = (0..=random.below(most)).map(|_| source.id()).collect();
            tried.extend(ids.iter().cloned());
            log_in(&postgres, &ids);
        }
        match random.below(6) {
            0 => server = server.crash_and_restart_in_place(),
            1 => postgres.kill_and_restart(),
            2 => {
                let one = usize::try_from(random.below(2)).unwrap();
                let killed = std::mem::replace(&mut relays[one], start(&postgres));
                killed.kill9();
            }
            3 => copy = Some(postgres.copy()),
            4 => {
                // All that was committed after the copy was made is gone, the logins with it.
                if let Some(copy) = copy.take() {
                    postgres.fail_over(copy);
                }
            }
            _ => {
                let waiting = || postgres.number("SELECT count(*) FROM activity_outbox");
                assert!(eventually(WITHIN, || (waiting() == 0).then_some(())).is_some());
            }
        }
    }
    let waiting = || postgres.number("SELECT count(*) FROM activity_outbox");
    assert!(eventually(WITHIN, || (waiting() == 0).then_some(())).is_some());
    let stored = stored(server.client());
    assert!(stored.values().all(|count| *count == 1));
    let logins = postgres.run("SELECT id FROM logins");
    let lost: Vec<_> = logins.lines().filter(|id| !stored.contains_key(*id)).collect();
    assert!(lost.is_empty() && logins.lines().count() > 20, "{lost:?} of {}", logins.lines().count());
    assert!(stored.keys().all(|id| tried.contains(id)), "an event of nobody");
    for mut relay in relays {
        relay.signal(Signal::TERM);
        assert_eq!(relay.wait(WITHIN).code, Some(0));
    }
}
