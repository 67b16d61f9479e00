//! PostgreSQL beside us: the rows of a replay in a table, and `COPY TO STDOUT` of them. Only where its server is installed.

use std::fs;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lastseen_tests::eventually;
use serde_json::Value;

/// A server of its own in a temporary directory, reached through a socket there.
pub(crate) struct Postgres {
    bin: PathBuf,
    directory: tempfile::TempDir,
    server: Child,
}

const STARTED_WITHIN: Duration = Duration::from_mins(1);

const TABLE: &str = "CREATE UNLOGGED TABLE events (position bigint, id uuid, type text, tenant_id text, user_id text, \
                     occurred_at timestamptz, recorded_at timestamptz, session_id text)";

impl Postgres {
    /// `None` where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        let bin =
            versions.map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").exists())?;
        let directory = tempfile::tempdir().ok()?;
        let is_root = Self::run(Command::new("id").arg("-u")).trim() == "0";
        if is_root {
            Self::run(Command::new("chown").arg("postgres").arg(directory.path()));
        }
        let (data, socket) = (directory.path().join("data"), directory.path().to_owned());
        // It refuses to be run by root.
        let command = |program: &str| {
            let program = bin.join(program);
            let mut command = Command::new(if is_root { Path::new("runuser") } else { &program });
            if is_root {
                command.args(["-u", "postgres", "--"]).arg(&program);
            }
            command.current_dir(&socket);
            command
        };
        Self::run(command("initdb").arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres"]));
        let mut server = command("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(&socket).args(["-c", "listen_addresses="]);
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let postgres = Self { bin, directory, server };
        let started = eventually(STARTED_WITHIN, || {
            let asked = postgres.psql("SELECT 1").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success()).then_some(())
        });
        started.map(|()| postgres)
    }

    fn run(command: &mut Command) -> String {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn psql(&self, sql: &str) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        command.arg("-h").arg(self.directory.path()).args(["-U", "postgres", "-d", "postgres", "-qc", sql]);
        command
    }

    /// Fills the table with the lines of a replay.
    pub(crate) fn load(&self, ndjson: &[u8]) {
        Self::run(&mut self.psql(TABLE));
        let mut copy = self.psql("COPY events FROM STDIN").stdin(Stdio::piped()).spawn().expect("psql runs");
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
        Self::run(&mut self.psql("VACUUM ANALYZE events"));
    }

    /// How long `COPY TO STDOUT` takes, until the last byte is here, and how many rows that were.
    pub(crate) fn copy_out(&self) -> (u64, Duration) {
        let start = Instant::now();
        let mut copy = self.psql("COPY events TO STDOUT").stdout(Stdio::piped()).spawn().expect("psql runs");
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
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.directory.path().join("data");
        let pid = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            let _ = Command::new("kill").args(["-INT", pid]).status();
        }
        let _ = self.server.wait();
    }
}
