//! A PostgreSQL server of its own: the tables of an application, and what people would use instead.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::eventually;

/// A server in a temporary directory, on a free port of this machine and a socket in the directory. Dropping it ends it.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    directory: TempDir,
    port: u16,
    server: Child,
}

const STARTED_WITHIN: Duration = Duration::from_mins(1);

impl Postgres {
    /// `None` where it is not installed.
    pub fn start() -> Option<Self> {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        let bin =
            versions.map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").exists())?;
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let is_root = run(Command::new("id").arg("-u")).trim() == "0";
        if is_root {
            run(Command::new("chown").arg("postgres").arg(directory.path()));
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
        run(command("initdb").arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "--no-sync"]));
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let mut server = command("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(&socket).args(["-p", &port.to_string(), "-F"]);
        server.args(["-c", "listen_addresses=127.0.0.1"]);
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres runs");
        let postgres = Self { bin, directory, port, server };
        let started = eventually(STARTED_WITHIN, || {
            let asked = postgres.psql("SELECT 1").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success()).then_some(())
        });
        assert!(started.is_some(), "PostgreSQL does not answer within {STARTED_WITHIN:?}");
        Some(postgres)
    }

    /// Its URL, through the port.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL for another role.
    pub fn url_of(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/postgres", self.port)
    }

    /// `psql`, through the socket, with these commands.
    pub fn psql(&self, sql: &str) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        command.arg("-h").arg(self.directory.path()).args(["-p", &self.port.to_string()]);
        command.args(["-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qtAc", sql]);
        command
    }

    /// Runs commands that must succeed; what they print.
    pub fn run(&self, sql: &str) -> String {
        run(&mut self.psql(sql)).trim_end().to_owned()
    }

    /// Runs a query that gives one number.
    pub fn number(&self, sql: &str) -> u64 {
        let text = self.run(sql);
        text.parse().unwrap_or_else(|_| panic!("{sql}: {text}"))
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.directory.path().join("data");
        let pid = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            // It may have ended already.
            let _ = Command::new("kill").args(["-INT", pid]).status();
        }
        let _ = self.server.wait();
    }
}
