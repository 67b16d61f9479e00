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
    /// The directory of the server that runs, and how many there were.
    data: PathBuf,
    copies: usize,
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
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(directory.path()));
        }
        let data = directory.path().join("data");
        run(command(&bin.join("initdb"), directory.path()).arg("-D").arg(&data).args([
            "-A",
            "trust",
            "-U",
            "postgres",
            "--no-sync",
        ]));
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let server = serve(&bin, directory.path(), &data, port);
        let postgres = Self { bin, directory, data, copies: 0, port, server };
        postgres.until_ready();
        Some(postgres)
    }

    fn until_ready(&self) {
        let started = eventually(STARTED_WITHIN, || {
            let asked = self.psql("SELECT 1").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success()).then_some(())
        });
        assert!(started.is_some(), "PostgreSQL does not answer within {STARTED_WITHIN:?}");
    }

    /// Ends it as a power cut would, and starts it again on the same port.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.server = serve(&self.bin, self.directory.path(), &self.data, self.port);
        self.until_ready();
    }

    /// A copy of its data as they are now, while it works.
    pub fn copy(&mut self) -> PathBuf {
        self.copies += 1;
        let copy = self.directory.path().join(format!("copy{}", self.copies));
        run(command(&self.bin.join("pg_basebackup"), self.directory.path())
            .arg("-D")
            .arg(&copy)
            .arg("-h")
            .arg(self.directory.path())
            .args(["-p", &self.port.to_string(), "-U", "postgres", "-c", "fast", "--no-sync"]));
        copy
    }

    /// Ends it, and starts the server of a copy in its place.
    pub fn fail_over(&mut self, copy: PathBuf) {
        self.kill();
        // As root it would not be removed by its own user.
        fs::remove_dir_all(&self.data).expect("a directory of this test");
        self.data = copy;
        self.server = serve(&self.bin, self.directory.path(), &self.data, self.port);
        self.until_ready();
    }

    fn kill(&mut self) {
        signal(&self.data, "-QUIT");
        let _ = self.server.wait();
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
        let mut command = self.shell();
        command.args(["-c", sql]);
        command
    }

    /// `psql`, through the socket, with the commands that come on its stdin.
    pub fn shell(&self) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        command.arg("-h").arg(self.directory.path()).args(["-p", &self.port.to_string()]);
        command.args(["-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qtA"]);
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

fn is_root() -> bool {
    run(Command::new("id").arg("-u")).trim() == "0"
}

/// A program of PostgreSQL, as a user other than root: it refuses that one.
fn command(program: &Path, directory: &Path) -> Command {
    let is_root = is_root();
    let mut command = Command::new(if is_root { Path::new("runuser") } else { program });
    if is_root {
        command.args(["-u", "postgres", "--"]).arg(program);
    }
    command.current_dir(directory);
    command
}

fn serve(bin: &Path, directory: &Path, data: &Path, port: u16) -> Child {
    let mut server = command(&bin.join("postgres"), directory);
    server.arg("-D").arg(data).arg("-k").arg(directory).args(["-p", &port.to_string(), "-F"]);
    server.args(["-c", "listen_addresses=127.0.0.1"]);
    server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres runs")
}

/// Sends a signal to the server of a directory. It may have ended already.
fn signal(data: &Path, signal: &str) {
    let pid = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    if let Some(pid) = pid.lines().next() {
        let _ = Command::new("kill").args([signal, pid]).status();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        signal(&self.data, "-INT");
        let _ = self.server.wait();
    }
}
