//! One users table in every form.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use lastseen_event::UtcInstant;
use lastseen_tests::{Postgres, instant};
use parquet::arrow::ArrowWriter;

/// A table and what brings it in.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    arguments: Vec<String>,
}

impl Source {
    pub(crate) fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }
}

/// A row of the table; instants in microseconds.
struct Row {
    tenant_id: String,
    user_id: String,
    confirmed: bool,
    created_at: i64,
    modified_at: Option<i64>,
    deleted_at: Option<i64>,
}

/// One in ten is not confirmed, one in fifty deleted, one in three was never modified.
fn row(number: u64, now: i64) -> Row {
    let days = |days: u64| i64::try_from(days).expect("few") * instant::DAY;
    let created_at = now - days(365) - days(number % 1_000);
    Row {
        tenant_id: format!("{}", 10_000 + number % 1_000),
        user_id: format!("usr_{number:012}"),
        confirmed: !number.is_multiple_of(10),
        created_at,
        modified_at: (!number.is_multiple_of(3)).then(|| now - days(number % 90)),
        deleted_at: number.is_multiple_of(50).then(|| now - days(2)),
    }
}

/// Writes the table in every form, CSV first; to PostgreSQL where there is one.
pub(crate) fn write(directory: &Path, users: u64, postgres: Option<&Postgres>) -> Vec<Source> {
    let now = instant::now();
    let (mut csv, mut ndjson) =
        ("tenant_id,user_id,email_confirmed,created_at,modified_at,deleted_at\n".to_owned(), String::new());
    let mut document = "{\"users\": [\n".to_owned();
    let all: Vec<Row> = (0..users).map(|number| row(number, now)).collect();
    let at = |micros: Option<i64>| {
        micros.map(|micros| UtcInstant::from_micros(micros).to_string()).unwrap_or_default()
    };
    for of in &all {
        let [created, modified, deleted] = [Some(of.created_at), of.modified_at, of.deleted_at].map(at);
        let Row { tenant_id, user_id, confirmed, .. } = of;
        let _ = writeln!(csv, "{tenant_id},{user_id},{confirmed},{created},{modified},{deleted}");
        let json = serde_json::json!({
            "tenant_id": tenant_id, "user_id": user_id, "email_confirmed": confirmed, "created_at": created,
            "modified_at": of.modified_at.map(|_| modified), "deleted_at": of.deleted_at.map(|_| deleted),
        });
        let _ = writeln!(ndjson, "{json}");
        let _ = write!(document, "{}{json:#}", if document.ends_with('}') { ",\n" } else { "" });
    }
    document.push_str("\n]}\n");
    let path = |name: &str| directory.join(name).to_str().expect("UTF-8").to_owned();
    let file = |name: &'static str, file: &str| Source { name, arguments: vec![path(file)] };
    fs::write(path("users.csv"), &csv).expect("there is space");
    fs::write(path("users.ndjson"), ndjson).expect("there is space");
    fs::write(path("users.json"), document).expect("there is space");
    // Nothing in it needs an escape.
    fs::write(path("users.tsv"), csv.replace(',', "\t")).expect("there is space");
    let mut packed = GzEncoder::new(File::create(path("users.csv.gz")).expect("a file"), Compression::fast());
    std::io::Write::write_all(&mut packed, csv.as_bytes()).expect("there is space");
    packed.finish().expect("there is space");
    write_parquet(&path("users.parquet"), &all);
    let mut sources = vec![
        file("CSV", "users.csv"),
        file("CSV, gzipped", "users.csv.gz"),
        file("TSV", "users.tsv"),
        file("NDJSON", "users.ndjson"),
        file("JSON, one document", "users.json"),
        file("Parquet", "users.parquet"),
    ];
    if let Some(postgres) = postgres {
        fill(postgres, &csv);
        let arguments = vec![postgres.url(), "--table".to_owned(), "users".to_owned()];
        sources.push(Source { name: "PostgreSQL", arguments });
    }
    sources
}

fn write_parquet(path: &str, rows: &[Row]) {
    let instants = |of: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let text = |of: fn(&Row) -> &str| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    let confirmed: BooleanArray = rows.iter().map(|row| Some(row.confirmed)).collect();
    let batch = RecordBatch::try_from_iter([
        ("tenant_id", text(|row| &row.tenant_id)),
        ("user_id", text(|row| &row.user_id)),
        ("email_confirmed", Arc::new(confirmed) as ArrayRef),
        ("created_at", instants(|row| Some(row.created_at))),
        ("modified_at", instants(|row| row.modified_at)),
        ("deleted_at", instants(|row| row.deleted_at)),
    ]);
    let batch = batch.expect("columns of one length");
    let file = File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("there is space");
    writer.close().expect("there is space");
}

fn fill(postgres: &Postgres, csv: &str) {
    postgres.run(
        "CREATE TABLE users (tenant_id text, user_id text PRIMARY KEY, email_confirmed boolean, created_at timestamptz, \
         modified_at timestamptz, deleted_at timestamptz)",
    );
    let mut copy = postgres.psql("COPY users FROM STDIN WITH (FORMAT csv, HEADER true)");
    let mut copy = copy.stdin(Stdio::piped()).spawn().expect("psql runs");
    let mut rows = copy.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut rows, csv.as_bytes()).expect("psql reads");
    drop(rows);
    assert!(copy.wait().expect("psql ends").success());
    postgres.run("VACUUM ANALYZE users");
}
