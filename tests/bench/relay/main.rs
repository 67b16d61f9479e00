//! `lastseen relay` beside `COPY` of the same table, and the time from a commit to its number:
//! `cargo bench -p lastseen --bench relay [-- --rows N --logins N]`.
//!
//! The first rate is PostgreSQL's own way to hand out a table, `COPY ... TO STDOUT`; the second is that of deleting its rows,
//! as many at a time as the relay does. The relay does both, and publishes each row in between and waits until it is durable.

#![expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people: no count here comes near 2^53"
)]
#![expect(dead_code, reason = "the harness is that of other benchmarks as well")]

#[path = "../harness/lib.rs"]
mod harness;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lastseen_tests::{Postgres, Process, Server, eventually, skip};
use tokio_postgres::NoTls;

use self::harness::figures::print_row;
use self::harness::{BINARY, arguments};

const WITHIN: Duration = Duration::from_mins(10);
/// Rows as a login writes them, of a thousand tenants.
const FILL: &str = "INSERT INTO activity_outbox (type, tenant_id, user_id, session_id) \
    SELECT 'token_refresh', 'tenant_' || n % 1000, 'usr_' || n % 100000, gen_random_uuid() \
    FROM generate_series(1, ROWS) AS n; ANALYZE activity_outbox";

const DELETE: &str = "DO $$ BEGIN FOR n IN 0..ROWS BY 5000 LOOP \
    DELETE FROM activity_outbox WHERE seq = ANY (ARRAY(SELECT generate_series(n + 1, n + 5000))); \
    COMMIT; END LOOP; END $$";

fn main() {
    let rows = arguments::number("--rows").unwrap_or(1_000_000);
    let logins = arguments::number("--logins").unwrap_or(5_000);
    let Some(postgres) = Postgres::start() else { return skip("PostgreSQL") };
    let ddl = Command::new(BINARY).args(["relay", "--print-ddl"]).output().expect("the binary runs");
    drop(postgres.run(&String::from_utf8(ddl.stdout).expect("SQL")));
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo gives a directory");
    let server = Server::start_with(BINARY, data.path(), &["--log", "warn"]);
    rates(&postgres, &server, rows);
    latencies(&postgres, &server, logins);
}

fn rates(postgres: &Postgres, server: &Server, rows: u32) {
    print_row(&format!("{rows} rows"), ["rows/s", "of COPY"]);
    let fill = FILL.replace("ROWS", &rows.to_string());
    postgres.run(&fill);
    let rate = |began: Instant| f64::from(rows) / began.elapsed().as_secs_f64();
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let began = Instant::now();
        let mut copy = postgres.psql("COPY activity_outbox TO STDOUT");
        let status = copy.stdout(Stdio::null()).status().expect("psql runs");
        assert!(status.success());
        best = best.max(rate(began));
    }
    print_row("    COPY TO STDOUT, thrown away", [format!("{best:.0}"), "1".to_owned()]);
    let began = Instant::now();
    postgres.run(&DELETE.replace("ROWS", &rows.to_string()));
    let deleted = rate(began);
    print_row("    DELETE in batches of 5,000", [format!("{deleted:.0}"), format!("{:.2}", deleted / best)]);
    for _ in 0..3 {
        postgres.run(&fill);
        let began = Instant::now();
        relay(postgres, server, &["--once"]).wait(WITHIN);
        let rate = rate(began);
        assert_eq!(postgres.number("SELECT count(*) FROM activity_outbox"), 0);
        print_row(
            "    relay: read, published, deleted",
            [format!("{rate:.0}"), format!("{:.2}", rate / best)],
        );
    }
    let stored = server.client().ask("/v1/summary")["position"].as_u64();
    assert_eq!(stored, Some(3 * u64::from(rows)));
}

/// One login after the other, each from before its commit to the answer that has it.
fn latencies(postgres: &Postgres, server: &Server, logins: u32) {
    print_row(&format!("{logins} logins, one after the other; milliseconds"), ["p50", "p99", "max"]);
    for (name, options) in [("a trigger", &["--poll", "1h"][..]), ("a look each 25 ms", &["--poll", "25ms"])]
    {
        if name != "a trigger" {
            postgres.run("DROP TRIGGER activity_outbox_notify ON activity_outbox");
        }
        let relay = relay(postgres, server, options);
        let ready = || relay.stderr().contains("relaying").then_some(());
        assert!(eventually(WITHIN, ready).is_some());
        let mut times = committed(postgres, server, logins);
        times.sort_unstable();
        let at = |share: f64| {
            let place = ((times.len() - 1) as f64 * share) as usize;
            format!("{:.1}", times[place].as_secs_f64() * 1e3)
        };
        print_row(&format!("    from commit to visible, {name}"), [at(0.5), at(0.99), at(1.0)]);
    }
}

fn committed(postgres: &Postgres, server: &Server, logins: u32) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&postgres.url(), NoTls).await.expect("it is there");
        let driving = async { connection.await.expect("it stays") };
        let logging_in = async {
            let insert = "INSERT INTO activity_outbox (type, tenant_id, user_id) \
                          VALUES ('login', 'acme', gen_random_uuid())";
            let position = |path: &str| server.client().ask(path)["position"].as_u64().expect("a position");
            let mut times = Vec::new();
            let mut last = position("/v1/summary");
            for _ in 0..logins {
                client.execute(insert, &[]).await.expect("it is committed");
                let committed = Instant::now();
                // It waits until there is one more event, and counts it.
                last = position(&format!("/v1/summary?min_position={}", last + 1));
                times.push(committed.elapsed());
            }
            times
        };
        tokio::select! {
            times = logging_in => times,
            () = driving => unreachable!("the client is there"),
        }
    })
}

fn relay(postgres: &Postgres, server: &Server, options: &[&str]) -> Process {
    let mut command = Command::new(BINARY);
    command.args(["relay", &postgres.url(), "--server", server.url()]).args(options);
    Process::start(command)
}
