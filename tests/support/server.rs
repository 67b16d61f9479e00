//! The real binary, serving a directory on a free port.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::http::Client;
use crate::process::{Ended, Process, Signal, eventually};

/// The time that a server may take until it listens, and again until it is ready; far more than it needs.
pub const READY_WITHIN: Duration = Duration::from_mins(2);

/// The time that a server may take to stop in order.
const STOPPED_WITHIN: Duration = Duration::from_mins(1);

/// The text before the URL on the one line of stdout.
const LISTENING: &str = "lastseen listening on ";

/// A running server. Dropping it kills it.
#[derive(Debug)]
#[must_use = "a server that is dropped is killed"]
pub struct Server {
    process: Process,
    url: String,
    client: Client,
    command: Launch,
}

/// The start of a server, kept to start it again.
#[derive(Clone, Debug)]
struct Launch {
    binary: PathBuf,
    data: PathBuf,
    options: Vec<String>,
    /// The authority of its certificate, as PEM.
    authority: Option<String>,
}

impl Server {
    /// Starts `lastseen serve` on `data` and waits until it is ready.
    pub fn start(binary: impl AsRef<Path>, data: &Path) -> Self {
        Self::start_with(binary, data, &[])
    }

    /// The same, with further options.
    pub fn start_with(binary: impl AsRef<Path>, data: &Path, options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Launch { binary: binary.as_ref().to_owned(), data: data.to_owned(), options, authority: None }
            .start("127.0.0.1:0")
    }

    /// The same under TLS, with a certificate of this authority (PEM).
    pub fn start_secured(binary: impl AsRef<Path>, data: &Path, options: &[&str], authority: &str) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let authority = Some(authority.to_owned());
        Launch { binary: binary.as_ref().to_owned(), data: data.to_owned(), options, authority }
            .start("127.0.0.1:0")
    }

    /// Starts `lastseen serve` on `data` and waits until it listens: it may not be ready for a while.
    pub fn listening(binary: impl AsRef<Path>, data: &Path) -> Self {
        Launch { binary: binary.as_ref().to_owned(), data: data.to_owned(), options: vec![], authority: None }
            .listen("127.0.0.1:0")
    }

    /// Starts `lastseen serve` with these arguments and does not wait for anything.
    pub fn launch(binary: impl AsRef<Path>, arguments: &[&OsStr]) -> Process {
        let mut command = Command::new(binary.as_ref());
        command.arg("serve").args(arguments);
        Process::start(command)
    }

    /// Such as `http://127.0.0.1:41234`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Talks to it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same server, whose client brings this API key.
    pub fn with_key(self, key: &str) -> Self {
        Self { client: self.client.with_key(key), ..self }
    }

    /// Returns its log so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Ends it as a power cut would.
    pub fn kill9(self) -> Ended {
        self.process.kill9()
    }

    /// Asks it to stop, by SIGTERM, and waits until it has.
    pub fn terminate(self) -> Ended {
        self.stop(Signal::TERM)
    }

    /// Sends `signal` and waits until it has stopped.
    pub fn stop(self, signal: Signal) -> Ended {
        self.process.signal(signal);
        self.wait()
    }

    /// Waits until it has stopped.
    pub fn wait(mut self) -> Ended {
        self.process.wait(STOPPED_WITHIN)
    }

    /// Sends `signal` and does not wait for anything.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Stops it in order and starts it again on the same data, on a port of its own.
    pub fn restart(self) -> Self {
        let launch = self.command.clone();
        let ended = self.terminate();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        launch.start("127.0.0.1:0")
    }

    /// Kills it and starts it again on the same data, on a port of its own.
    pub fn crash_and_restart(self) -> Self {
        let launch = self.command.clone();
        self.kill9();
        launch.start("127.0.0.1:0")
    }

    /// Kills it and starts it again on the same data **and the same port**: for clients that hold on to it.
    pub fn crash_and_restart_in_place(self) -> Self {
        let (launch, url) = (self.command.clone(), self.url.clone());
        self.kill9();
        launch.start(url.trim_start_matches("http://"))
    }
}

impl Launch {
    fn start(self, address: &str) -> Server {
        let mut server = self.listen(address);
        let ready = eventually(READY_WITHIN, || {
            assert!(!server.process.has_ended(), "the server ended while it started: {}", server.stderr());
            (server.client.get("/readyz").status == 200).then_some(())
        });
        assert!(ready.is_some(), "not ready after {READY_WITHIN:?}: {}", server.stderr());
        server
    }

    fn listen(self, address: &str) -> Server {
        let mut arguments: Vec<&OsStr> = vec!["--data".as_ref(), self.data.as_ref()];
        arguments.extend(["--listen", address].map(OsStr::new));
        arguments.extend(self.options.iter().map(OsStr::new));
        let mut process = Server::launch(&self.binary, &arguments);
        let url = eventually(READY_WITHIN, || {
            assert!(!process.has_ended(), "the server did not start: {}", process.stderr());
            let stdout = process.stdout();
            stdout.lines().next().map(|line| line.trim_start_matches(LISTENING).to_owned())
        });
        let Some(url) = url else { panic!("no address after {READY_WITHIN:?}: {}", process.stderr()) };
        let client = match &self.authority {
            Some(authority) => Client::with_authority(&url, authority),
            None => Client::new(&url),
        };
        Server { process, url, client, command: self }
    }
}
