//! `lastseen backfill`: a users table becomes history, whatever the order, however often, however interrupted.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array, DictionaryArray,
    Float64Array, Int16Array, Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, ListArray,
    NullArray, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use flate2::write::GzEncoder;
use lastseen_tests::{Ended, Process, Seeded, Server, eventually, git_activity};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::BINARY;
use crate::answers::{array, count, empty_server, numbers, text, write};

const WITHIN: Duration = Duration::from_mins(2);

fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("backfill").args(arguments).args(["--server", server.url()]);
    command
}

fn backfill(server: &Server, arguments: &[&str]) -> Ended {
    Process::start(command(server, arguments)).wait(WITHIN)
}

/// The lines of the real history from the cutover on.
fn events_since(cutover: &str) -> Vec<String> {
    let occurred_at = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        lastseen_tests::instant::micros(event["occurred_at"].as_str().unwrap())
    };
    let cutover = lastseen_tests::instant::micros(cutover);
    git_activity::lines().into_iter().filter(|line| occurred_at(line) >= cutover).collect()
}

fn publish(server: &Server, lines: &[String]) {
    for lines in lines.chunks(5_000) {
        server.client().post("/v1/events", "application/x-ndjson", lines.join("\n").as_bytes()).ok("events");
    }
}

fn assert_truth(server: &Server, truth: &Value) {
    for summary in array(truth, "summaries") {
        let as_of = summary["as_of"].as_str().unwrap();
        for scope in ["all", "big", "small"] {
            let mut expected = summary[scope].as_object().unwrap().clone();
            let path = match expected.remove("tenant_id") {
                Some(tenant) => format!("/v1/tenants/{}/summary", tenant.as_str().unwrap()),
                None => "/v1/summary".to_owned(),
            };
            let found = server.client().ask(&format!("{path}?as_of={as_of}"));
            for (name, count) in &expected {
                assert_eq!(found[name], *count, "{name} of {scope} as of {as_of}");
            }
        }
    }
    for (list, provenance) in [("estimates", "estimated"), ("observed_wins", "observed")] {
        for expected in array(truth, list) {
            let [tenant, user] = ["tenant_id", "user_id"].map(|name| expected[name].as_str().unwrap());
            let found = server.client().ask(&format!("/v1/tenants/{tenant}/users/{user}"));
            assert_eq!(found["last_seen_at"], expected["last_seen_at"], "{tenant} {user}");
            assert_eq!(found["last_seen_provenance"], provenance, "{tenant} {user}");
        }
    }
}

/// The users table of the real history as NDJSON, gzipped, with other names.
fn as_ndjson(directory: &TempDir) -> PathBuf {
    let mut rows = csv::Reader::from_path(git_activity::path("users.csv")).unwrap();
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for row in rows.deserialize::<std::collections::BTreeMap<String, Option<String>>>() {
        let row = row.unwrap();
        let user = json!({
            "org": row["tenant_id"], "id": row["user_id"], "confirmed": row["email_confirmed"].as_deref() == Some("true"),
            "created": row["created_at"], "changed": row["modified_at"], "deleted": row["deleted_at"], "more": [1],
        });
        writeln!(packed, "{user}").unwrap();
    }
    write(directory, "users.jsonl.gz", packed.finish().unwrap())
}

/// The same as Parquet: tenants as numbers, instants as such, in several batches.
fn as_parquet(directory: &TempDir, compression: Compression) -> PathBuf {
    const BATCH_ROWS: usize = 1_000;
    let mut rows = csv::Reader::from_path(git_activity::path("users.csv")).unwrap();
    let rows: Vec<std::collections::BTreeMap<String, Option<String>>> =
        rows.deserialize().collect::<Result<_, _>>().unwrap();
    let path =
        directory.path().join(format!("users.{compression}.parquet").replace('(', "").replace(')', ""));
    let mut writer = None;
    for rows in rows.chunks(BATCH_ROWS) {
        let text = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
        let instants = |name: &str| -> ArrayRef {
            let micros = text(name).into_iter().map(|at| at.map(|at| lastseen_tests::instant::micros(&at)));
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("Europe/Berlin"))
        };
        let tenants: Int64Array = text("tenant_id").into_iter().map(|id| id?.parse::<i64>().ok()).collect();
        let confirmed: BooleanArray =
            text("email_confirmed").into_iter().map(|text| Some(text? == "true")).collect();
        let batch = RecordBatch::try_from_iter([
            ("created_at", instants("created_at")),
            ("tenant_id", Arc::new(tenants) as ArrayRef),
            ("more", Arc::new(StringArray::from(text("user_id"))) as ArrayRef),
            ("user_id", Arc::new(StringArray::from(text("user_id"))) as ArrayRef),
            ("deleted_at", instants("deleted_at")),
            ("email_confirmed", Arc::new(confirmed) as ArrayRef),
            ("modified_at", instants("modified_at")),
        ]);
        let batch = batch.unwrap();
        let writer = writer.get_or_insert_with(|| {
            let properties = WriterProperties::builder().set_compression(compression).build();
            ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap()
        });
        writer.write(&batch).unwrap();
        writer.flush().unwrap();
    }
    writer.unwrap().close().unwrap();
    path
}

#[test]
fn the_real_users_table_gives_the_known_answers_in_any_order() {
    let truth = &git_activity::truth()["backfill"];
    let users = git_activity::path("users.csv");
    let events = events_since(truth["cutover"].as_str().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let renamed = as_ndjson(&directory);
    // What other tools write when they are not asked.
    let compressions = [Compression::SNAPPY, Compression::GZIP(GzipLevel::default()), Compression::LZ4_RAW];
    let renamed_columns = "--tenant-column org --user-column id --confirmed-column confirmed --created-column created \
                           --modified-column changed --deleted-column deleted";
    for (order, compression) in compressions.into_iter().enumerate() {
        let (server, _data) = empty_server();
        let (before, behind) = events.split_at(events.len() * order / 2);
        publish(&server, before);
        let ended = backfill(&server, &[text(&users), "--batch", "users 2024"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let found =
            ["users", "  confirmed", "  deleted", "logins", "refused rows"].map(|name| count(&ended, name));
        assert_eq!(found, [3_954, 1_882, 89, 0, 0], "{}", ended.stdout);
        assert!(ended.stdout.starts_with("stored 5,925, duplicates 0, refused 0 in "), "{}", ended.stdout);
        publish(&server, behind);
        assert_truth(&server, truth);
        // Again, the same table in another form: the same events.
        let again: Vec<&str> = [text(&renamed), "--batch", "users 2024"]
            .into_iter()
            .chain(renamed_columns.split_whitespace())
            .collect();
        let ended = backfill(&server, &again);
        assert!(ended.stdout.starts_with("stored 0, duplicates 5,925, refused 0 in "), "{}", ended.stdout);
        let parquet = as_parquet(&directory, compression);
        let ended = backfill(&server, &[text(&parquet), "--batch", "users 2024"]);
        assert!(ended.stdout.starts_with("stored 0, duplicates 5,925, refused 0 in "), "{}", ended.stdout);
        assert_truth(&server, truth);
        let ended = backfill(&server, &["verify", text(&parquet)]);
        let [rows, observed] =
            ["rows 3,954 ", "the user was really seen then"].map(|words| ended.stdout.contains(words));
        assert!(rows && observed, "{}", ended.stdout);
        assert!(!ended.stdout.contains("the backfill"), "{}", ended.stdout);
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_where_one_that_is_not_does() {
    const KILLS: u64 = 20;
    let truth = &git_activity::truth()["backfill"];
    let users = git_activity::path("users.csv");
    let (server, _data) = empty_server();
    let arguments = [text(&users), "--batch", "users", "--batch-events", "40"];
    let mut random = Seeded::new(6);
    let position = || server.client().ask("/v1/summary")["position"].as_u64().unwrap();
    for _ in 0..KILLS {
        // Killed somewhere behind what was there before; two runs at once, of which one is killed.
        let until = position() + random.below(280);
        let [mut first, second] = [(); 2].map(|()| Process::start(command(&server, &arguments)));
        let reached = eventually(WITHIN, || (position() >= until || first.has_ended()).then_some(()));
        assert!(reached.is_some(), "nothing comes");
        first.kill9();
        second.kill9();
    }
    publish(&server, &events_since(truth["cutover"].as_str().unwrap()));
    let two = [(); 2].map(|()| Process::start(command(&server, &arguments)));
    for ended in two.map(|mut run| run.wait(WITHIN)) {
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let ended = backfill(&server, &arguments);
    assert!(ended.stdout.starts_with("stored 0, duplicates 5,925, refused 0 in "), "{}", ended.stdout);
    assert_truth(&server, truth);
}

fn write_parquet<'a>(path: &Path, columns: impl IntoIterator<Item = (&'a str, &'a ArrayRef)>) {
    let columns = columns.into_iter().map(|(name, column)| (name, column.clone(), true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

const HEADER: &str = "tenant_id,user_id,email_confirmed,created_at,modified_at,deleted_at\n";

#[test]
fn refused_rows_are_written_to_a_file_and_the_others_are_stored() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let rows = "acme,ada,true,2023-01-01T00:00:00Z,,\n\
                acme,null,true,2023-01-01T00:00:00Z,,\n\
                acme,\"two\nlines\",true,2023-01-01T00:00:00Z,,\n\
                acme,bob,perhaps,2023-01-01T00:00:00Z,,\n\
                acme,cleo,true,,,\n\
                acme,dan\n\
                acme,eve,f,2023-01-01 00:00:00+00,\\N,\n\
                acme,fay,t,1889-01-01 00:00:00,,\n";
    let table = write(&directory, "users.csv", format!("{HEADER}{rows}"));
    let rejects = directory.path().join("rejected.csv");
    let ended = backfill(&server, &[text(&table), "--batch", "b", "--rejects", text(&rejects)]);
    assert_eq!(ended.code, Some(3), "{} {}", ended.stdout, ended.stderr);
    assert_eq!(count(&ended, "refused rows"), 6, "{}", ended.stdout);
    assert!(ended.stderr.contains(&format!("6 refused rows with their reasons: {}", rejects.display())));
    let mut rejected = csv::Reader::from_path(&rejects).unwrap();
    let rejected: Vec<(String, u64, String, String, String, String)> =
        rejected.deserialize().collect::<Result<_, _>>().unwrap();
    let places: Vec<_> = rejected.iter().map(|row| (row.1, row.3.as_str(), row.4.as_str())).collect();
    assert_eq!(
        places,
        [
            (3, "null", "user_id"),
            (4, "two\nlines", "user_id"),
            (6, "bob", "email_confirmed"),
            (7, "cleo", "created_at"),
            (8, "", ""),
            (10, "fay", "created_at"),
        ]
    );
    assert!(rejected.iter().all(|row| row.5.starts_with("expected ")), "{rejected:?}");
    let summary = server.client().ask("/v1/summary");
    assert_eq!(numbers(&summary, &["total_users", "pending_users", "estimated_users"]), [2, 1, 0]);
}

/// Spreadsheets and other databases: CRLF, a byte order mark, other delimiters, dates alone.
#[test]
fn other_forms_of_csv_are_read_and_their_lines_are_right() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let rows = "\u{feff}\"tenant_id\";user_id;email_confirmed;created_at;\"modified\r\nat\";deleted_at\r\n\
                acme;ada;true;2023-01-01;2023-02-01;\r\n\
                acme;bob;maybe;2023-01-01;;\r\n\
                acme;\"cleo\r\n\";true;2023-01-01;;\r\n\
                acme;dan;true;;;\r\n";
    let table = write(&directory, "users.csv", rows);
    let rejects = directory.path().join("rejected.csv");
    let named = ["--modified-column", "modified\r\nat", "--rejects", text(&rejects)];
    for (delimiter, between) in [(";", ";"), (",", ","), ("|", "|")] {
        std::fs::write(&table, rows.replace(';', between)).unwrap();
        let arguments =
            [&[text(&table), "--batch", "b", "--delimiter", delimiter], named.as_slice()].concat();
        let ended = backfill(&server, &arguments);
        assert_eq!(ended.code, Some(3), "{} {}", ended.stdout, ended.stderr);
        let mut rejected = csv::Reader::from_path(&rejects).unwrap();
        let lines: Vec<_> = rejected.records().map(|row| row.unwrap()[1].to_owned()).collect();
        assert_eq!(lines, ["4", "5", "7"]);
    }
    let ada = server.client().ask("/v1/tenants/acme/users/ada");
    assert_eq!(ada["last_seen_at"], "2023-02-01T00:00:00Z");
    assert_eq!(server.client().ask("/v1/summary")["total_users"], 1);
}

/// A quote too many makes one value of many rows.
#[test]
fn rows_behind_a_quote_that_is_not_closed_are_not_lost_without_a_word() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let row = |n: u32, name: &str| format!("acme,u{n},true,2023-01-01,,,{name}\n");
    let rows = |broken: &str| {
        (1..=100).map(|n| row(n, if n == 50 { broken } else { "Al" })).collect::<Vec<_>>().concat()
    };
    let header = HEADER.replace('\n', ",name\n");
    for (broken, said) in
        [("\"Bob", "opened on line 51 are never closed"), ("\"Bob\"by", "line 51: more behind the quotes")]
    {
        let table = write(&directory, "users.csv", format!("{header}{}", rows(broken)));
        for arguments in [vec![text(&table), "--batch", "b"], vec!["verify", text(&table)]] {
            let ended = backfill(&server, &arguments);
            assert_eq!(ended.code, Some(1), "{}", ended.stdout);
            assert!(ended.stderr.contains(said), "{}", ended.stderr);
        }
    }
    assert_eq!(server.client().ask("/v1/summary")["total_users"], 49, "those before it");
}

/// Tables that went through a spreadsheet, or through a program that prints what it likes.
#[test]
fn a_damaged_table_is_refused_or_warned_of() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let rows = "acme,2.71171E+17,true,2024-01-01,,\nacme,\"u1 \",true,2024-01-01,,\nacme,#REF!,true,2024-01-01,,\n\
                acme,N/A,true,2024-01-01,,\n#NAME?,u2,true,2024-01-01,,\nacme,8127.0,true,2024-01-01 10:00:00,,\n\
                acme,\'u3,true,None,nan,NULL\nacme,u4,(null),2024-01-01,,\nacme,u5,true,1704103200,,\n\
                acme,u6,true,2024-01-01,None,(null)\n";
    let table = write(&directory, "users.csv", format!("{HEADER}{rows}"));
    let rejects = directory.path().join("rejected.csv");
    let ended = backfill(&server, &[text(&table), "--batch", "b", "--rejects", text(&rejects)]);
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    let mut rejected = csv::Reader::from_path(&rejects).unwrap();
    let lines: Vec<_> =
        rejected.records().map(|row| row.unwrap()).map(|row| row[1].to_owned() + &row[4]).collect();
    let expected =
        ["2user_id", "3user_id", "4user_id", "5user_id", "6tenant_id", "8created_at", "9email_confirmed"];
    assert_eq!(lines, [&expected[..], &["10created_at"]].concat());
    assert_eq!(count(&ended, "ids that look damaged"), 1, "{}", ended.stdout);
    assert_eq!(count(&ended, "instants without an offset: read as UTC"), 1, "{}", ended.stdout);
    assert_eq!(count(&ended, "dates alone: their first instant"), 1, "{}", ended.stdout);
    assert!(ended.stdout.contains("8127.0 on line 7"), "{}", ended.stdout);

    // Failed logins are no logins, and without a word they are.
    let logins =
        "user,at,success\nu6,2024-02-01 10:00:00,false\nu6,2024-02-02 10:00:00,true\nu6,2024-02-03,true\n";
    let logins = write(&directory, "logins.csv", logins);
    let of_logins = [
        "--logins",
        text(&logins),
        "--login-user-column",
        "user",
        "--login-column",
        "at",
        "--tenant",
        "acme",
    ];
    let run = |more: &[&str]| {
        backfill(&server, &[&["--batch", "b", "--rejects", "/dev/null"], &of_logins[..], more].concat())
    };
    let dry = run(&["--dry-run"]);
    assert_eq!((count(&dry, "logins"), count(&dry, "refused rows")), (2, 1), "{}", dry.stdout);
    assert!(dry.stdout.contains("every row of logins counts"), "{}", dry.stdout);
    let ended = run(&["--login-where", "success=true", "--dates-are-days", "--tz", "Europe/Berlin"]);
    let found =
        ["logins", "rows of logins that do not count", "refused rows"].map(|name| count(&ended, name));
    assert_eq!(found, [2, 1, 0], "{}", ended.stdout);
    let seen = server.client().ask("/v1/tenants/acme/users/u6");
    assert_eq!(seen["last_seen_at"], "2024-02-03T22:59:59.999999Z", "the last instant of the day in Berlin");

    // Text without quotes, taken for CSV and for what it is.
    let rows = "tenant_id\tuser_id\temail_confirmed\tcreated_at\tmodified_at\tdeleted_at\tname\n\
                acme\tDOM\\\\anna\ttrue\t2024-01-01\t\\N\t\\N\t\"A\nacme\tu8\ttrue\t2024-01-01\t\\N\t\\N\tB\"\n";
    let table = write(&directory, "users.txt", rows);
    let as_csv = backfill(&server, &[text(&table), "--batch", "c", "--format", "csv", "--delimiter", "\\t"]);
    assert_eq!(as_csv.code, Some(1), "{}", as_csv.stdout);
    assert!(as_csv.stderr.contains("--format tsv reads text without quotes"), "{}", as_csv.stderr);
    let ended = backfill(&server, &[text(&table), "--batch", "c", "--format", "tsv"]);
    assert_eq!((ended.code, count(&ended, "users")), (Some(0), 2), "{}{}", ended.stdout, ended.stderr);
    let anna = lastseen_tests::path_segment("DOM\\anna");
    assert_eq!(server.client().get(&format!("/v1/tenants/acme/users/{anna}")).status, 200);
}

/// Of two rows of one user, which one holds would depend on the run.
#[test]
fn a_second_row_of_a_user_is_refused() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let rows = "acme,ann,true,2023-01-01,2023-05-01,2023-06-01\nacme,bob,true,2023-01-01,,\n\
                acme,ann,true,2024-01-01,2024-05-01,\n";
    let table = write(&directory, "users.csv", format!("{HEADER}{rows}"));
    let rejects = directory.path().join("rejected.csv");
    for stored in ["stored 5, ", "stored 0, "] {
        let ended = backfill(&server, &[text(&table), "--batch", "b", "--rejects", text(&rejects)]);
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(ended.stdout.starts_with(stored), "{}", ended.stdout);
        let said = ":4: user_id: expected one row for each user, found another one (--user-column)";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert_eq!(server.client().ask("/v1/tenants/acme/users/ann")["status"], "deleted");
    }
    let ended = backfill(&server, &["verify", text(&table), "--list"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stdout.contains("rows 2 (without a difference 2)"), "{}", ended.stdout);
    assert!(ended.stdout.contains("row 4 cannot be read: user_id: expected one row"), "{}", ended.stdout);
}

/// A column that no line has is not null but missing: a typo in a name must not bring back everybody.
#[test]
fn a_column_that_no_line_has_is_not_there() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let user = |id: &str, more: &str| {
        format!(
            "{{\"tenant_id\":\"acme\",\"user_id\":\"{id}\",\"email_confirmed\":true,\"created_at\":\"2023-01-01\"{more}}}\n"
        )
    };
    // One of them has it, as writers have it that leave out nulls.
    let lines = user("ada", ",\"modified_at\":null") + &user("bob", ",\"deleted_at\":\"2024-01-01\"");
    let table = write(&directory, "users.ndjson", &lines);
    assert_eq!(backfill(&server, &[text(&table), "--batch", "b"]).code, Some(0));
    // One is back before any line has said what deletions are called.
    let turned = user("bob", ",\"modified_at\":\"\"") + &user("ada", ",\"deleted_at\":\"2024-01-01\"");
    let table = write(&directory, "turned.ndjson", format!("\u{feff}{turned}"));
    let ended = backfill(&server, &[text(&table), "--batch", "b"]);
    let found = ["  deleted", "  back from deletion"].map(|name| count(&ended, name));
    assert_eq!(found, [1, 1], "{}{}", ended.stdout, ended.stderr);
    assert_eq!(backfill(&server, &["verify", text(&table)]).code, Some(0));
    let position = server.client().ask("/v1/summary")["position"].clone();
    let renamed = turned.replace("deleted_at", "deletedAt");
    let table = write(&directory, "renamed.ndjson", &renamed);
    let said = "there is no column deleted_at, but";
    for arguments in [vec![text(&table), "--batch", "b"], vec!["verify", text(&table)]] {
        let ended = backfill(&server, &arguments);
        assert_eq!(ended.code, Some(1), "{}", ended.stdout);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    assert_eq!(server.client().ask("/v1/summary")["position"], position, "nothing was sent");
    // Of a stream it is known at its end only; until then nobody comes back.
    let mut stream = command(&server, &["-", "--format", "ndjson", "--batch", "b"]);
    stream.stdin(Stdio::piped());
    let mut stream = Process::start(stream);
    stream.take_stdin().write_all(renamed.as_bytes()).unwrap();
    let ended = stream.wait(WITHIN);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert_eq!(server.client().ask("/v1/tenants/acme/users/ada")["status"], "deleted");
}

#[test]
fn nothing_but_rejected_rows_is_written_over() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let rows = format!("{HEADER}acme,ada,true,2023-01-01,,\nacme,null,true,2023-01-01,,\n");
    let table = write(&directory, "b.rejects.csv", &rows);
    let run = |arguments: &[&str]| {
        let mut command = command(&server, arguments);
        command.current_dir(directory.path());
        Process::start(command).wait(WITHIN)
    };
    for arguments in [
        vec!["b.rejects.csv", "--batch", "b"],
        vec!["b.rejects.csv", "--batch", "c", "--dry-run", "--rejects", text(&table)],
    ] {
        let ended = run(&arguments);
        assert_eq!(ended.code, Some(1), "{}", ended.stdout);
        assert!(ended.stderr.contains("is no file of refused rows"), "{}", ended.stderr);
        assert_eq!(std::fs::read_to_string(&table).unwrap(), rows);
    }
    let ended = run(&["b.rejects.csv", "--batch", "c", "--rejects", "missing/c.csv"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot write refused rows to missing/c.csv"), "{}", ended.stderr);
    assert_eq!(server.client().ask("/v1/summary")["position"], 0, "nothing was sent");
    // A file of the run before is replaced, and gone when no row is refused any more.
    let rejected = directory.path().join("c.rejects.csv");
    for _ in 0..2 {
        assert_eq!(run(&["b.rejects.csv", "--batch", "c"]).code, Some(3));
        assert_eq!(std::fs::read_to_string(&rejected).unwrap().lines().count(), 2);
    }
    let mended = write(&directory, "users.csv", rows.replace(",null,", ",bob,"));
    assert_eq!(run(&[text(&mended), "--batch", "c"]).code, Some(0));
    assert!(!rejected.exists());
}

/// The rows of a table that was cut off, and of an empty one, are missing, and did not come later.
#[test]
fn a_table_that_was_cut_off_does_not_compare() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (1..=20).map(|day| format!("acme,u{day},true,2023-01-{day:02},,\n")).collect();
    let whole = write(&directory, "users.csv", format!("{HEADER}{}", rows.concat()));
    assert_eq!(backfill(&server, &[text(&whole), "--batch", "b"]).code, Some(0));
    let mut events = lastseen_tests::Events::seeded(64);
    server.client().publish(&[events.login(("acme", "late"), lastseen_tests::instant::now())]);
    let verify = |rows: &[String]| {
        let table = write(&directory, "cut.csv", format!("{HEADER}{}", rows.concat()));
        let ended = backfill(&server, &["verify", text(&table), "--list"]);
        let missing = ended.stdout.matches("the table has no row: publish").count();
        (ended.code, missing.saturating_sub(1))
    };
    assert_eq!(verify(&rows), (Some(0), 0), "the last one came later");
    assert_eq!(verify(&rows[..15]), (Some(3), 5));
    assert_eq!(verify(&[]), (Some(3), 21));
}

/// Such as `head` does.
#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let table = write(&directory, "users.csv", format!("{HEADER}acme,ada,true,2023-01-01,,\n"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut verify = command(&server, &["verify", text(&table)]);
    let ended = verify.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(141), ""));
    let mut verify = command(&server, &["verify", text(&table)]);
    verify.stdout(File::options().write(true).open("/dev/full").unwrap());
    let ended = verify.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("cannot write the result"));
}

/// A number that was rounded on its way would make one user of two.
#[test]
fn numbers_are_ids_only_if_they_are_whole() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let user = |id: &str| {
        format!("{{\"tenant_id\":7,\"user_id\":{id},\"email_confirmed\":1,\"created_at\":\"2023-01-01\"}}\n")
    };
    let ids = ["1", "18446744073709551615", "18446744073709551616", "1.0", "1e3", "\"1.5\""];
    let table = write(&directory, "users.ndjson", ids.map(user).concat());
    let rejects = directory.path().join("rejected.csv");
    let named = ["--modified-column", "", "--deleted-column", "", "--rejects", text(&rejects)];
    let ended = backfill(&server, &[&[text(&table), "--batch", "b"], named.as_slice()].concat());
    assert_eq!(["users", "refused rows"].map(|name| count(&ended, name)), [3, 3], "{}", ended.stdout);
    let known = |id: &str| server.client().get(&format!("/v1/tenants/7/users/{id}")).status;
    assert_eq!(["1", "18446744073709551615", "1.5", "1.0"].map(known), [200, 200, 200, 404]);
}

/// The same text and the same instants, in whatever layout the tool that wrote the file had them.
#[test]
fn every_layout_of_parquet_gives_the_same_users() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let table = directory.path().join("users.parquet");
    let ids = [Some("ada"), Some("bob")];
    let bytes = ids.map(|id| id.map(str::as_bytes));
    let dictionary: DictionaryArray<Int32Type> = ids.into_iter().collect();
    let packed = StringArray::from(vec!["x", "bob", "ada"]);
    let of_bytes = DictionaryArray::new(
        Int32Array::from(vec![2, 1]),
        Arc::new(packed.iter().map(|id| id.map(str::as_bytes)).collect::<LargeBinaryArray>()),
    );
    let user_ids: [ArrayRef; 8] = [
        Arc::new(StringArray::from_iter(ids)),
        Arc::new(LargeStringArray::from_iter(ids)),
        Arc::new(StringViewArray::from_iter(ids)),
        Arc::new(dictionary),
        Arc::new(BinaryArray::from_iter(bytes)),
        Arc::new(LargeBinaryArray::from_iter(bytes)),
        Arc::new(BinaryViewArray::from_iter(bytes)),
        Arc::new(of_bytes),
    ];
    let created = 1_672_531_200_i64;
    let instants: [ArrayRef; 8] = [
        Arc::new(TimestampSecondArray::from(vec![created; 2])),
        Arc::new(TimestampMillisecondArray::from(vec![created * 1_000; 2])),
        Arc::new(TimestampMicrosecondArray::from(vec![created * 1_000_000; 2]).with_timezone("Asia/Tokyo")),
        Arc::new(TimestampNanosecondArray::from(vec![created * 1_000_000_000; 2])),
        Arc::new(Date32Array::from(vec![i32::try_from(created / 86_400).unwrap(); 2])),
        Arc::new(Date64Array::from(vec![created * 1_000; 2])),
        Arc::new(StringArray::from(vec!["2023-01-01T00:00:00Z"; 2])),
        Arc::new(StringArray::from(vec!["2023-01-01 09:00:00+09"; 2])),
    ];
    let confirmed: ArrayRef = Arc::new(BooleanArray::from(vec![true; 2]));
    let named = ["--modified-column", "", "--deleted-column", "", "--batch", "b"];
    let read = |user_ids: &ArrayRef, created_at: &ArrayRef| {
        let tenants: ArrayRef = Arc::new(Int16Array::from(vec![7; 2]));
        write_parquet(
            &table,
            [
                ("tenant_id", &tenants),
                ("user_id", user_ids),
                ("email_confirmed", &confirmed),
                ("created_at", created_at),
            ],
        );
        backfill(&server, &[&[text(&table)], named.as_slice()].concat())
    };
    for (user_ids, created_at) in user_ids.iter().zip(&instants) {
        let ended = read(user_ids, created_at);
        assert_eq!(count(&ended, "users"), 2, "{} {}", ended.stdout, ended.stderr);
        let events = &server.client().ask("/v1/backfills/b")["events"];
        assert_eq!(*events, 4, "{} and {}", user_ids.data_type(), created_at.data_type());
    }
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None]));
    for user_ids in [floats, list] {
        let ended = read(&user_ids, &instants[0]);
        assert_eq!(ended.code, Some(1), "{}", ended.stdout);
        assert!(
            ended.stderr.contains("users.parquet: user_id: expected text, whole numbers"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let rows = "acme,ada,true,2023-01-01T00:00:00Z,2023-02-01T00:00:00Z,\n\
                acme,bob,false,2023-01-01T00:00:00Z,,\n\
                acme,cleo,true,2023-01-01T00:00:00Z,,2023-03-01T00:00:00Z\n\
                acme,,true,2023-01-01T00:00:00Z,,\n";
    let table = write(&directory, "users.csv", format!("{HEADER}{rows}"));
    let mut events = lastseen_tests::Events::seeded(61);
    server.client().publish(&[
        events.login(("acme", "ada"), lastseen_tests::instant::now()),
        events.login(("acme", "zoe"), lastseen_tests::instant::now()),
    ]);
    let rejects = directory.path().join("rejected.csv");
    let ended = backfill(&server, &[text(&table), "--batch", "b", "--dry-run", "--rejects", text(&rejects)]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    for (name, expected) in [
        ("users", 3),
        ("  confirmed", 2),
        ("  not confirmed", 1),
        ("  deleted", 1),
        ("  seen by the server already", 1),
        ("refused rows", 1),
        ("tenants", 1),
        ("events that would be sent", 6),
        ("estimates at the last change", 1),
        ("estimates at the creation", 1),
    ] {
        assert_eq!(count(&ended, name), expected, "{name} in {}", ended.stdout);
    }
    let shown = format!(
        "{}:2: tenant acme, user ada:\n    user_created 2023-01-01T00:00:00Z (confirmed)\n",
        text(&table)
    );
    assert!(ended.stdout.contains(&shown), "{}", ended.stdout);
    assert!(ended.stdout.contains("2023-01-01T00:00:00Z to 2023-03-01T00:00:00Z"), "{}", ended.stdout);
    // Without being asked for it, no file is written either.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut quiet = command(&server, &[text(&table), "--batch", "b", "--dry-run"]);
    quiet.current_dir(elsewhere.path());
    let ended = Process::start(quiet).wait(WITHIN);
    assert!(ended.stderr.contains("1 refused rows; --rejects FILE lists all of them"), "{}", ended.stderr);
    assert_eq!(elsewhere.path().read_dir().unwrap().count(), 0);
    assert_eq!(numbers(&server.client().ask("/v1/summary"), &["position", "total_users"]), [2, 2]);
}

/// A column says who is left out of all numbers. Then the table changes, both ways and back.
#[test]
fn a_column_leaves_users_out() {
    const COLUMN: [&str; 2] = ["--left-out-column", "is_bot"];
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let table = |name: &str, [ada, bot, cat]: [&str; 3], modified: &str| {
        let row = |user: &str, is_bot: &str| {
            format!("acme,{user},true,2023-01-01T00:00:00Z,{modified},,{is_bot}\n")
        };
        let header = "tenant_id,user_id,email_confirmed,created_at,modified_at,deleted_at,is_bot\n";
        let rows = [row("ada", ada), row("bot", bot), row("cat", cat)].concat();
        write(&directory, name, format!("{header}{rows}"))
    };
    let run = |table: &Path, more: &[&str]| {
        let ended = backfill(&server, &[&[text(table), "--batch", "users"], &COLUMN[..], more].concat());
        assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
        ended
    };
    let verify =
        |table: &Path| backfill(&server, &[&["verify", text(table), "--list"], &COLUMN[..]].concat());
    let counts = || numbers(&server.client().ask("/v1/summary"), &["total_users", "left_out_users"]);

    let first = table("first.csv", ["", "true", "f"], "2024-01-01T00:00:00Z");
    let dry = run(&first, &["--dry-run"]);
    assert_eq!(count(&dry, "  left out of all numbers"), 1, "{}", dry.stdout);
    assert_eq!(count(&run(&first, &[]), "  left out of all numbers"), 1);
    assert_eq!(counts(), [2, 1]);
    assert_eq!(server.client().ask("/v1/tenants/acme/users/bot")["status"], "left_out");
    let then = server.client().ask("/v1/summary?as_of=2023-06-01T00:00:00Z");
    assert_eq!(numbers(&then, &["total_users", "left_out_users"]), [2, 1], "it was never counted");
    assert_eq!(verify(&first).code, Some(0), "{}", verify(&first).stdout);

    // The bot turns out to be a person, and cat a bot: one event each, and nothing the second time.
    let second = table("second.csv", ["f", "f", "t"], "2024-02-01T00:00:00Z");
    let found = verify(&second);
    assert_eq!(found.code, Some(3), "{}", found.stdout);
    assert!(found.stdout.contains("user bot: left out: table false, Lastseen true: batch users"));
    assert!(found.stdout.contains("user cat: left out: table true, Lastseen false: the row has changed"));
    // Three estimates, a change, and two creations that say something else.
    let said = run(&second, &[]).stdout;
    assert!(said.starts_with("stored 6, "), "{said}");
    assert_eq!(counts(), [2, 1]);
    let events = server.client().get("/v1/tenants/acme/users/bot/events").text();
    assert!(events.contains(r#""type":"user_changed""#) && events.contains(r#""counts":true"#), "{events}");
    assert_eq!(server.client().ask("/v1/tenants/acme/users/cat")["status"], "left_out");
    assert!(run(&second, &[]).stdout.starts_with("stored 0, "));
    assert_eq!(verify(&second).code, Some(0), "{}", verify(&second).stdout);

    // And once more, with rows that were not modified since: it is so from the run on.
    let third = table("third.csv", ["f", "t", "t"], "2024-02-01T00:00:00Z");
    for stored in ["stored 1, ", "stored 0, "] {
        let said = run(&third, &[]).stdout;
        assert!(said.starts_with(stored), "{said}");
    }
    assert_eq!(counts(), [1, 2]);

    // Who publishes has the last word: then the table is not to blame.
    let change = json!({
        "id": "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b", "type": "user_changed", "tenant_id": "acme",
        "user_id": "bot", "occurred_at": lastseen_tests::instant::rfc3339(lastseen_tests::instant::now()),
        "counts": true,
    });
    server.client().publish(&[change]);
    let verified = backfill(&server, &[&["verify", text(&third), "--all"], &COLUMN[..]].concat());
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
    assert!(verified.stdout.contains("an event says otherwise whether the user counts"));
    let refused = table("refused.csv", ["f", "robot", "t"], "2024-02-01T00:00:00Z");
    let refused = backfill(&server, &[&[text(&refused), "--batch", "users"], &COLUMN[..]].concat());
    assert_eq!(refused.code, Some(3), "{}", refused.stdout);
    assert!(refused.stderr.contains("is_bot: expected true or false"), "{}", refused.stderr);
}

/// The rule that this service was asked for with: an estimate yields to whatever was observed, a pending user was never seen, a
/// deleted one stays deleted. Then the table changes.
#[test]
fn the_table_goes_on_while_and_after_it_is_brought_in() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let old = "acme,ada,true,2023-01-01T00:00:00Z,2024-06-01T00:00:00Z,\n\
               acme,bob,false,2023-01-01T00:00:00Z,2024-06-01T00:00:00Z,\n\
               acme,cleo,true,2023-01-01T00:00:00Z,2024-05-01T00:00:00Z,2024-06-01T00:00:00Z\n\
               acme,dan,true,2023-01-01T00:00:00Z,2024-05-01T00:00:00Z,2024-06-01T00:00:00Z\n";
    let table = write(&directory, "old.csv", format!("{HEADER}{old}"));
    let mut events = lastseen_tests::Events::seeded(62);
    let login = lastseen_tests::instant::micros("2023-05-05T00:00:00Z");
    server.client().publish(&[events.login(("acme", "ada"), login)]);
    let run = |table: &Path, more: &[&str]| {
        let ended = backfill(&server, &[&[text(table), "--batch", "users"], more].concat());
        assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
        ended
    };
    let user = |name: &str| server.client().ask(&format!("/v1/tenants/acme/users/{name}"));
    run(&table, &[]);
    assert_eq!(user("ada")["last_seen_at"], "2023-05-05T00:00:00Z", "a real login beats a newer estimate");
    assert_eq!((&user("bob")["last_seen_at"], &user("bob")["status"]), (&json!(null), &json!("pending")));
    assert_eq!(user("cleo")["last_seen_at"], "2024-05-01T00:00:00Z");
    assert_eq!(user("cleo")["status"], "deleted");

    // Bob confirms, cleo comes back, dan is gone still; all are modified, and there is a column of logins now.
    let new = "tenant_id,user_id,email_confirmed,created_at,modified_at,deleted_at,seen\n\
               acme,ada,true,2023-01-01T00:00:00Z,2024-07-01T00:00:00Z,,2024-07-02T00:00:00Z\n\
               acme,bob,true,2023-01-01T00:00:00Z,2024-07-01T00:00:00Z,,\n\
               acme,cleo,true,2023-01-01T00:00:00Z,2024-07-01T00:00:00Z,,\n\
               acme,dan,true,2023-01-01T00:00:00Z,2024-05-01T00:00:00Z,2024-06-01T00:00:00Z,\n";
    let table = write(&directory, "new.csv", new);
    let dry = run(&table, &["--observed-column", "seen", "--dry-run"]);
    assert_eq!(count(&dry, "  back from deletion"), 1, "{}", dry.stdout);
    let said = run(&table, &["--observed-column", "seen", "--estimate-unseen"]);
    let found = ["  confirmed", "  deleted", "  back from deletion"].map(|name| count(&said, name));
    assert_eq!(found, [4, 1, 1], "{}", said.stdout);
    assert_eq!(user("ada")["last_seen_at"], "2024-07-02T00:00:00Z");
    assert_eq!(user("bob")["last_seen_at"], "2024-07-01T00:00:00Z");
    assert_eq!(user("bob")["confirmed"], true);
    assert_eq!((&user("cleo")["deleted_at"], &user("cleo")["status"]), (&json!(null), &json!("inactive")));
    assert_eq!(user("dan")["status"], "deleted");
    let again = run(&table, &["--observed-column", "seen", "--estimate-unseen"]).stdout;
    assert!(again.starts_with("stored 0, "), "{again}");

    // Cleo goes again, and her row says of old when: that is before her return, so she went when the run began.
    let again = new.replace(
        "acme,cleo,true,2023-01-01T00:00:00Z,2024-07-01T00:00:00Z,,",
        "acme,cleo,true,2023-01-01,2024-07-01,2024-06-01,",
    );
    let table = write(&directory, "again.csv", again);
    let observed = ["--observed-column", "seen", "--estimate-unseen"];
    let verified = backfill(&server, &[&["verify", text(&table)], &observed[..]].concat());
    assert_eq!(verified.code, Some(3), "{}", verified.stdout);
    assert!(verified.stdout.contains("batch users took the user for back"), "{}", verified.stdout);
    for stored in ["stored 1, ", "stored 0, "] {
        let said = run(&table, &observed).stdout;
        assert!(said.starts_with(stored), "{said}");
        assert_eq!(user("cleo")["status"], "deleted");
    }
    let verified = backfill(&server, &[&["verify", text(&table)], &observed[..]].concat());
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);

    // Real logins, from another table and from stdin.
    let mut logins = command(
        &server,
        &["--batch", "users", "--logins", "-", "--format", "ndjson", "--login-column", "at"],
    );
    logins.stdin(Stdio::piped());
    let mut logins = Process::start(logins);
    let line = br#"{"tenant_id":"acme","user_id":"bob","at":"2024-03-01T00:00:00Z"}"#;
    logins.take_stdin().write_all(line).unwrap();
    let ended = logins.wait(WITHIN);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(user("bob")["last_seen_at"], "2024-03-01T00:00:00Z", "an observation beats a newer estimate");
}

/// A line of a users table.
fn row(user: &str, confirmed: bool, modified: &str, deleted: &str) -> String {
    format!("acme,{user},{confirmed},2023-01-01T00:00:00Z,{modified},{deleted}\n")
}

/// Reads the differences that a comparison printed: the user and the value, with the cause.
fn causes(stdout: &str) -> Vec<(String, String)> {
    let lines = stdout.lines().filter_map(|line| line.strip_prefix("tenant acme, user "));
    let cause = |line: &str| {
        let (what, cause) = line.rsplit_once(": ").unwrap();
        (what.split(": table").next().unwrap().to_owned(), cause.to_owned())
    };
    let mut causes: Vec<_> = lines.map(cause).collect();
    causes.sort();
    causes
}

/// The output of `verify` with a list. Without a list it has the counts alone, and says how to get the list.
fn verified_with_list(server: &Server, table: &str, hint: &str) -> Ended {
    let short = backfill(server, &["verify", table]);
    assert!(!short.stdout.contains("tenant acme"), "{}", short.stdout);
    assert!(short.stderr.contains(hint), "{}", short.stderr);
    let ended = backfill(server, &["verify", table, "--list"]);
    assert!(ended.stdout.starts_with(&short.stdout), "the counts come first: {}", ended.stdout);
    assert_eq!(short.code, ended.code);
    ended
}

#[test]
fn a_table_is_compared_and_every_difference_has_its_cause() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let [june, july] = ["2024-06-01T00:00:00Z", "2024-07-01T00:00:00Z"];
    let old = [
        row("same", true, june, ""),
        row("seen", true, june, ""),
        row("newer", true, june, ""),
        row("invited", false, june, ""),
        row("back", true, june, june),
        row("gone", true, june, ""),
        row("purged", true, june, ""),
    ];
    let table = write(&directory, "old.csv", format!("{HEADER}{}", old.concat()));
    assert_eq!(backfill(&server, &[text(&table), "--batch", "users"]).code, Some(0));
    let ended = backfill(&server, &["verify", text(&table)]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "rows 7 (without a difference 7), findings 0, rows that cannot be read 0\n")
    );

    let mut events = lastseen_tests::Events::seeded(63);
    let login = lastseen_tests::instant::micros(july);
    server.client().publish(&[
        events.login(("acme", "seen"), login),
        events.of("user_deleted", ("acme", "gone"), login),
        events.login(("acme", "late"), login),
    ]);
    let new = [
        row("same", true, june, ""),
        row("seen", true, june, ""),
        row("newer", true, july, ""),
        row("invited", true, june, ""),
        row("back", true, july, ""),
        row("gone", true, june, ""),
        row("added", true, june, ""),
        row("bad", true, "soon", ""),
        row("late", true, "soon", ""),
    ];
    let table = write(&directory, "new.csv", format!("{HEADER}{}", new.concat()));
    let ended = verified_with_list(&server, text(&table), "--list lists 10 of them");
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let expected = [
        ("added: user", "run the backfill"),
        ("back: deleted", "run it again"),
        ("back: last seen", "run the backfill again"),
        ("gone: deleted", "an event deleted the user, and the table does not know it"),
        ("invited: confirmed", "run the backfill again"),
        ("invited: last seen", "run the backfill again"),
        ("newer: last seen", "run the backfill again"),
        ("purged: user", "publish user_deleted if the user is gone"),
    ];
    assert_eq!(causes(&ended.stdout), expected.map(|(what, cause)| (what.to_owned(), cause.to_owned())));
    assert!(
        ended.stdout.contains("row 9 cannot be read: modified_at: expected an instant"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("rows 7 (without a difference 1), findings 9, rows that cannot be read 2\n"),
        "{}",
        ended.stdout
    );
    let all = backfill(&server, &["verify", text(&table), "--all"]);
    assert!(all.stdout.contains("user seen: last seen: table 2024-06-01T00:00:00Z, Lastseen 2024-07-01T00:00:00Z: the user was really seen then"));

    // What a backfill mends is gone after it.
    assert_eq!(
        backfill(&server, &[text(&table), "--batch", "users", "--rejects", "/dev/null"]).code,
        Some(3)
    );
    let ended = backfill(&server, &["verify", text(&table), "--list"]);
    let left: Vec<_> = causes(&ended.stdout).into_iter().map(|(what, _)| what).collect();
    assert_eq!(left, ["gone: deleted", "purged: user"]);
}

/// Each with its exit code and what is said; nothing is read and nothing sent.
fn assert_refused<'a>(server: &Server, cases: impl IntoIterator<Item = (Vec<&'a str>, i32, &'a str)>) {
    for (arguments, code, said) in cases {
        let ended = backfill(server, &arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}: nothing was read");
        assert!(!ended.stderr.contains("s3c"), "{arguments:?}: no password is told: {}", ended.stderr);
    }
    assert_eq!(server.client().ask("/v1/summary")["position"], 0, "nothing was sent");
}

#[test]
fn what_cannot_be_read_is_said() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let table = write(
        &directory,
        "users.csv",
        "tenant_id,id,email_confirmed,created_at\na,b,t,2023-01-01T00:00:00Z\n",
    );
    let empty = write(&directory, "empty.csv", "");
    let twice = write(&directory, "twice.csv", HEADER.replace("tenant_id,", "tenant_id,user_id,"));
    let semicolons = write(&directory, "semicolons.csv", HEADER.replace(',', ";"));
    let cases = [
        (
            vec![text(&table), "--batch", "b"],
            1,
            "there is no column user_id, but tenant_id, id, email_confirmed, created_at; --user-column names it",
        ),
        (vec![text(&table), "--batch", "b", "--user-column", "id"], 1, "no column modified_at"),
        (vec![text(&table)], 2, "--batch <NAME>"),
        (vec!["--batch", "b"], 2, "SOURCE"),
        (vec![text(&table), "--batch", ""], 2, "found none"),
        (vec!["missing.csv", "--batch", "b"], 1, "cannot read missing.csv"),
        (vec!["users", "--batch", "b"], 1, "cannot read users"),
        (vec![text(&table), "--batch", "b", "--user-column", ""], 2, "expected the name of a column"),
        (vec![text(&table), "--batch", "b", "--table", "users"], 2, "SOURCE is postgres://..."),
        (vec!["verify", text(&table)], 1, "no column user_id"),
        (vec![text(&table), "--batch", "b", "--format", "parquet"], 1, "cannot read"),
        (vec!["-", "--batch", "b", "--format", "parquet"], 1, "not from stdin"),
        (vec!["retract", "b"], 1, "no event names the batch \"b\""),
        (vec![text(&empty), "--batch", "b"], 1, "it is empty"),
        (vec![text(&twice), "--batch", "b"], 1, "several columns user_id"),
        (vec![text(&semicolons), "--batch", "b"], 1, "--delimiter says what stands between columns"),
        (vec![text(&semicolons), "--batch", "b", "--delimiter", "::"], 2, "expected one ASCII character"),
        (
            vec![text(&semicolons), "--batch", "b", "--delimiter", ";", "--logins", text(&semicolons)],
            1,
            "no column occurred_at, but tenant_id, user_id, email_confirmed, created_at, modified_at, \
             deleted_at; --login-column names it",
        ),
    ];
    assert_refused(&server, cases);
    let named = ["--user-column", "id", "--modified-column", "", "--deleted-column", ""];
    let ended = backfill(&server, &[&[text(&table), "--batch", "b"], &named[..]].concat());
    assert!(ended.stdout.starts_with("stored 2, "), "{} {}", ended.stdout, ended.stderr);
}

#[test]
fn a_database_that_cannot_be_used_is_said_without_its_password() {
    let (server, _data) = empty_server();
    let cases = [
        (vec!["postgres://127.0.0.1:1/x", "--batch", "b"], 2, "a database needs --table"),
        (
            vec![
                "postgres://u@127.0.0.1:1/x?sslmode=verify-full",
                "--batch",
                "b",
                "--query",
                "-- all\nSELECT 1",
            ],
            1,
            "cannot use the database x on 127.0.0.1",
        ),
        (vec!["mysql://u@127.0.0.1:1/x", "--batch", "b", "--table", "t"], 1, "--features mysql"),
        (
            vec!["oracle://u@127.0.0.1:1/x", "--batch", "b", "--table", "t"],
            2,
            "SOURCE is a file, -, postgres://",
        ),
        (vec!["postgres://u:s3c@s3c/ret@127.0.0.1:1/x", "--batch", "b", "--table", "t"], 1, "written as %40"),
        (
            vec!["postgres:/u:s3c@127.0.0.1:1/x", "--batch", "b", "--table", "t"],
            2,
            "SOURCE is a file, -, postgres://",
        ),
        (vec!["postgres://u:s3c@s3cret@127.0.0.1:1/x", "--batch", "b", "--table", "t"], 1, "written as %40"),
        (vec!["verify", "postgres://u@127.0.0.1:1/x"], 2, "a database needs --table or --query"),
    ];
    assert_refused(&server, cases);
}

#[test]
fn a_column_without_any_value_is_null_in_every_row() {
    let (server, _data) = empty_server();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users.parquet");
    let texts = |of: [&str; 2]| Arc::new(StringArray::from(of.to_vec())) as ArrayRef;
    let nothing: ArrayRef = Arc::new(NullArray::new(2));
    write_parquet(
        &path,
        [
            ("tenant_id", &texts(["acme", "acme"])),
            ("user_id", &texts(["ada", "bob"])),
            ("email_confirmed", &(Arc::new(BooleanArray::from(vec![true, false])) as ArrayRef)),
            ("created_at", &texts(["2023-01-01T00:00:00Z", "2023-01-01T00:00:00Z"])),
            ("modified_at", &nothing),
            ("deleted_at", &nothing),
        ],
    );
    let ended = backfill(&server, &[text(&path), "--batch", "b"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.starts_with("stored 3, "), "{}", ended.stdout);
}
