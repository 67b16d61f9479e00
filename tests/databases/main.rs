//! `lastseen backfill` from databases of a binary that was built with the features `sqlite` and `mysql`: what it makes of a table is
//! what it makes of the same rows in a file.

#![expect(clippy::unwrap_used, reason = "all of this is a test, also the functions without the attribute")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lastseen_tests::{Ended, Process, Server, eventually, skip};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_lastseen");
const WITHIN: Duration = Duration::from_mins(2);

fn server() -> (Server, TempDir) {
    let data = tempfile::tempdir().unwrap();
    (Server::start(BINARY, data.path()), data)
}

fn backfill(server: &Server, arguments: &[&str]) -> Ended {
    let mut command = Command::new(BINARY);
    command.args(["backfill", "--batch", "b", "--tenant", "acme", "--server", server.url()]).args(arguments);
    command.current_dir(std::env::temp_dir());
    Process::start(command).wait(WITHIN)
}

/// Type, user and instant of each event.
fn events(server: &Server) -> BTreeSet<(String, String, String)> {
    let answer = server.client().get("/v1/events").text();
    let event = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        (text("type"), text("user_id"), text("occurred_at"))
    };
    answer.lines().map(event).collect()
}

/// The users of both databases, by hand.
fn expected() -> BTreeSet<(String, String, String)> {
    [
        ("user_created", "1", "2026-01-06T16:00:00Z"),
        ("estimated_activity", "1", "2026-01-07T16:00:00.250Z"),
        ("login", "1", "2026-01-08T09:00:00Z"),
        ("user_created", "O'Neil, \"x\"", "2026-01-06T16:00:00Z"),
        ("user_created", "9007199254740993", "2026-01-06T16:00:00Z"),
        ("user_deleted", "9007199254740993", "2026-02-01T00:00:00Z"),
        ("user_created", "6f1d2c3b-4a59-4867-9584-a3b2c1d0e0f0", "2026-01-06T16:00:00Z"),
        ("login", "1", "2026-01-09T00:00:01Z"),
    ]
    .map(|(event_type, user, at)| (event_type.to_owned(), user.to_owned(), at.to_owned()))
    .into()
}

const FLAGS: [&str; 12] = [
    "--table",
    "users",
    "--user-column",
    "id",
    "--confirmed-column",
    "ok",
    "--observed-column",
    "seen",
    "--logins-table",
    "logins",
    "--login-user-column",
    "user",
];

#[test]
fn a_table_of_sqlite_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    database
        .execute_batch(
            "CREATE TABLE users (id, ok INTEGER, created_at TEXT, modified_at TEXT, deleted_at TEXT, seen TEXT, more BLOB);
             INSERT INTO users VALUES
               (1, 1, '2026-01-06 16:00:00', '2026-01-07 16:00:00.250', NULL, '2026-01-08 09:00:00', x'ff00'),
               ('O''Neil, \"x\"', 0, '2026-01-06 16:00:00', NULL, NULL, NULL, NULL),
               (9007199254740993, 0, '2026-01-06 16:00:00', NULL, '2026-02-01 00:00:00', NULL, NULL),
               (x'6f1d2c3b4a5948679584a3b2c1d0e0f0', 0, '2026-01-06 16:00:00', NULL, NULL, NULL, NULL),
               (1.5, 0, '2026-01-06 16:00:00', NULL, NULL, NULL, NULL);
             CREATE TABLE logins (user, occurred_at);
             INSERT INTO logins VALUES (1, '2026-01-09T00:00:01Z');",
        )
        .unwrap();
    let (server, _data) = server();
    let file = file.to_str().unwrap();
    let rejects = directory.path().join("rejects.csv");
    let arguments = [&[file, "--rejects", rejects.to_str().unwrap()], &FLAGS[..]].concat();
    let ended = backfill(&server, &arguments);
    assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(events(&server), expected());
    let refused = fs::read_to_string(&rejects).unwrap();
    assert!(refused.contains("users,5,acme,1.5,id,") && refused.lines().count() == 2, "{refused}");
    let again = backfill(&server, &arguments);
    assert!(again.stdout.starts_with("stored 0, "), "{}", again.stdout);
    let query = "SELECT id AS user_id, ok AS email_confirmed, created_at FROM users WHERE id = 1 -- one";
    let ended = backfill(&server, &[file, "--query", query, "--modified-column", "", "--deleted-column", ""]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    for (arguments, said) in [
        (vec![file, "--table", "absent"], "no such table: absent"),
        (vec![file, "--table", "users"], "there is no column user_id, but id, ok, created_at"),
        (vec![file], "a database needs --table"),
    ] {
        let ended = backfill(&server, &arguments);
        assert!(ended.code != Some(0) && ended.stderr.contains(said), "{}", ended.stderr);
    }
}

/// A server of MariaDB of its own. Dropping it ends it.
struct Mariadb {
    directory: TempDir,
    port: u16,
    server: Child,
}

impl Mariadb {
    /// `None` where it is not installed, and that was said.
    fn start() -> Option<Self> {
        let install = Command::new("mariadb-install-db").arg("--version").output();
        if install.is_err() || !Path::new("/usr/sbin/mariadbd").exists() {
            skip("MariaDB");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        // As root the server would refuse to run.
        let user = "--user=root";
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", user])
            .arg(format!("--datadir={}", data.display()))
            .output()
            .unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let server = Command::new("/usr/sbin/mariadbd")
            .args(["--no-defaults", user, "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"])
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", directory.path().join("socket").display()))
            .arg(format!("--port={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mariadb = Self { directory, port: free, server };
        let ready = eventually(WITHIN, || mariadb.run("SELECT 1").then_some(()));
        assert!(ready.is_some(), "MariaDB does not answer");
        Some(mariadb)
    }

    fn run(&self, sql: &str) -> bool {
        let socket = format!("--socket={}", self.directory.path().join("socket").display());
        let mut command = Command::new("mariadb");
        command
            .args(["--no-defaults", "-u", "root", &socket, "-e", sql])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_table_of_mariadb_is_read() {
    let Some(mariadb) = Mariadb::start() else { return };
    let made = mariadb.run(
        "CREATE DATABASE app CHARACTER SET utf8mb4; USE app;
         CREATE TABLE users (id VARCHAR(64), ok BOOLEAN, created_at DATETIME, modified_at TIMESTAMP(3) NULL,
                             deleted_at DATETIME, seen DATETIME);
         SET time_zone = '+02:00', sql_mode = '';
         INSERT INTO users VALUES
           ('1', 1, '2026-01-06 16:00:00', '2026-01-07 18:00:00.250', NULL, '2026-01-08 09:00:00'),
           ('O''Neil, \"x\"', 0, '2026-01-06 16:00:00', NULL, '0000-00-00 00:00:00', NULL),
           ('9007199254740993', 0, '2026-01-06 16:00:00', NULL, '2026-02-01 00:00:00', NULL);
         CREATE TABLE bytes (user_id BINARY(16), created_at DATETIME);
         INSERT INTO bytes VALUES (x'6f1d2c3b4a5948679584a3b2c1d0e0f0', '2026-01-06 16:00:00');
         CREATE TABLE logins (user BIGINT, occurred_at DATETIME);
         INSERT INTO logins VALUES (1, '2026-01-09 00:00:01');
         CREATE USER 'reader'@'127.0.0.1' IDENTIFIED BY 'p@ss:w/rd'; GRANT SELECT ON app.* TO 'reader'@'127.0.0.1';",
    );
    assert!(made, "the tables are made");
    let (server, _data) = server();
    let url = format!("mysql://reader:p%40ss%3Aw%2Frd@127.0.0.1:{}/app", mariadb.port);
    let arguments = [&[url.as_str(), "--null", "0000-00-00 00:00:00"], &FLAGS[..]].concat();
    let ended = backfill(&server, &arguments);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let bytes =
        [&url, "--table", "bytes", "--confirmed", "none", "--modified-column", "", "--deleted-column", ""];
    let ended = backfill(&server, &bytes);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(events(&server), expected());
    let again = backfill(&server, &arguments);
    assert!(again.stdout.starts_with("stored 0, "), "{}", again.stdout);
    let refused = |url: &str| {
        let ended = backfill(&server, &[url, "--table", "users"]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(!ended.stderr.contains("wrong-word"), "a password is told: {}", ended.stderr);
        ended.stderr
    };
    let port = mariadb.port;
    assert!(refused(&format!("mysql://reader:wrong-word@127.0.0.1:{port}/app")).contains("Access denied"));
    refused("mysql://reader:wrong-word@[::nothing/app");
}
