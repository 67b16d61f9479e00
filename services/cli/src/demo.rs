//! `lastseen demo`: a server of its own with made-up users, to look at. It lives in a temporary directory and leaves nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Parser;
use lastseen_server::{BoundAddress, ListenAddress, ServeError};
use tokio::sync::oneshot;

use crate::Outcome;
use crate::args::{Args, Command, DemoArgs, SendArgs, ServerArgs, SimulateArgs};
use crate::signals::Interrupt;
use crate::simulate::Kept;
use crate::stdout::outln;
use crate::{serve, simulate};

/// Serves and simulates until a signal comes.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let directory = tempfile::Builder::new().prefix("lastseen-demo-").tempdir();
    let directory = directory.context("cannot make a temporary directory")?;
    let server = Server::start(&directory.path().join("data"), &args.listen)?;
    let url = format!("http://{}", server.address);
    outln!("a server with {} made-up people, at {url}, until ^C", args.users);
    let simulated = until_ready(&url, &interrupt).and_then(|()| {
        simulate::simulate(&simulation(args, &url), (&interrupt, Kept::Goes), || invite(&url))
    });
    // In this order: the directory goes when nobody writes to it any more.
    let stopped = server.stop();
    directory.close().context("cannot remove the temporary directory")?;
    simulated?;
    stopped?;
    outln!("the demo is over; nothing is left of it");
    Ok(Outcome::Done)
}

/// Waits until the server answers questions, or a signal comes.
fn until_ready(url: &str, interrupt: &Interrupt) -> anyhow::Result<()> {
    const WITHIN: Duration = Duration::from_secs(30);
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    let began = Instant::now();
    while ureq::get(format!("{url}/readyz")).call().is_err() {
        if began.elapsed() > WITHIN {
            return Err(anyhow!("the server is not ready after {WITHIN:?}"));
        }
        if interrupt.sleep(LOOK_EVERY) {
            break;
        }
    }
    Ok(())
}

/// Says what to look at.
fn invite(url: &str) {
    outln!("90 days of activity are in, and more comes as they live. Look at it in a browser:");
    outln!("  {url}/");
    outln!("The same by the API, in another terminal:");
    for question in [
        "/v1/summary",
        "/v1/summary?window=7d&compare=previous",
        "/v1/active-users?tz=Europe/Berlin",
        "/v1/retention?period=week",
        "/v1/tenants?sort=-active_users&limit=3",
    ] {
        outln!("  curl -s '{url}{question}'");
    }
    outln!("  curl -sN '{url}/v1/live'   # as they live, until ^C");
}

fn simulation(args: &DemoArgs, url: &str) -> SimulateArgs {
    SimulateArgs {
        users: args.users,
        tenants: None,
        seed: 1,
        days: 90,
        until: None,
        no_live: false,
        // Something happens every few seconds, on a Sunday night as well.
        visits_at_any_hour: 12,
        send: SendArgs {
            to: ServerArgs {
                server: url.to_owned(),
                key: None,
                key_file: None,
                retry_for: Duration::from_secs(30),
            },
            batch_events: 5_000,
        },
    }
}

/// A server in this process.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    /// Starts it with the settings that `lastseen serve` has by default.
    fn start(data: &Path, listen: &str) -> anyhow::Result<Self> {
        if matches!(listen.parse(), Ok(ListenAddress::Unix(_))) {
            return Err(anyhow!("--listen: expected a host and a port such as 127.0.0.1:8080"));
        }
        let data = data.to_str().context("expected a temporary directory whose path is UTF-8")?;
        let arguments = ["lastseen", "serve", "--data", data, "--listen", listen];
        let Command::Serve(args) = Args::try_parse_from(arguments)?.command else {
            return Err(anyhow!("the command is serve"));
        };
        let config = serve::config(*args);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context("cannot start the runtime of the server")?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (listening, address) = mpsc::channel();
        let serving = move || {
            runtime.block_on(lastseen_server::serve(
                config,
                async {
                    // The sender is used, or dropped with whoever had it.
                    let _ = stopped.await;
                },
                move |addresses: &[BoundAddress]| {
                    if let Some(BoundAddress::Tcp(address)) = addresses.first() {
                        let _ = listening.send(*address);
                    }
                },
            ))
        };
        let thread = thread::Builder::new().name("server".to_owned()).spawn(serving);
        let thread = thread.context("cannot start a thread")?;
        match address.recv() {
            Ok(address) => Ok(Self { address, stop, thread }),
            // It ended before it listened.
            Err(_) => Err(joined(thread)
                .err()
                .unwrap_or_else(|| anyhow!("the server ended"))
                .context("--listen 127.0.0.1:0 takes a free port")),
        }
    }

    fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        joined(self.thread)
    }
}

fn joined(thread: JoinHandle<Result<(), ServeError>>) -> anyhow::Result<()> {
    let ended = thread.join().map_err(|_| anyhow!("the server panicked"))?;
    ended.map_err(anyhow::Error::from)
}
