//! PostgreSQL beside us: the rows of a replay in a table, and `COPY TO STDOUT` of them. Only where its server is installed.

use std::io::{BufWriter, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lastseen_tests::Postgres;
use serde_json::Value;

const TABLE: &str = "CREATE UNLOGGED TABLE events (position bigint, id uuid, type text, tenant_id text, user_id text, \
                     occurred_at timestamptz, recorded_at timestamptz, session_id text)";

/// Fills a table with the lines of a replay.
pub(crate) fn load(postgres: &Postgres, ndjson: &[u8]) {
    postgres.run(TABLE);
    let mut copy = postgres.psql("COPY events FROM STDIN").stdin(Stdio::piped()).spawn().expect("psql runs");
    let mut rows = BufWriter::new(copy.stdin.take().expect("a pipe"));
    for line in ndjson.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let event: Value = serde_json::from_slice(line).expect("a line of a replay");
        let text = |field: &str| event[field].as_str().unwrap_or("\\N").to_owned();
        let names =
            ["id", "type", "tenant_id", "user_id", "occurred_at", "recorded_at", "session_id"].map(text);
        writeln!(rows, "{}\t{}", event["position"], names.join("\t")).expect("psql reads");
    }
    drop(rows);
    assert!(copy.wait().expect("psql ends").success());
    postgres.run("VACUUM ANALYZE events");
}

/// Time of `COPY TO STDOUT` until the last byte is here, and the number of its rows.
pub(crate) fn copy_out(postgres: &Postgres) -> (u64, Duration) {
    let start = Instant::now();
    let mut copy = postgres.psql("COPY events TO STDOUT").stdout(Stdio::piped()).spawn().expect("psql runs");
    let (mut out, mut rows) = (copy.stdout.take().expect("a pipe"), 0);
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        let read = out.read(&mut buffer).expect("psql writes");
        if read == 0 {
            break;
        }
        rows += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
    }
    assert!(copy.wait().expect("psql ends").success());
    (rows, start.elapsed())
}
