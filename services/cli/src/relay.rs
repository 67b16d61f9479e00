//! `lastseen relay`: publishes the rows of a table that an application fills in its own transactions.
//!
//! A row is read, published, and deleted (or marked) once the server has answered. A crash between two of these steps
//! leaves the row where it is, and it is published again under the same id, which adds nothing. So nothing is kept here.

mod metrics;
mod outbox;
mod row;
mod session;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use lastseen_client::{Publisher, Refused};
use lastseen_server::{BoundAddress, ConnectionLimits, serve_router};
use tokio::sync::watch;
use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use self::metrics::Numbers;
use self::outbox::Outbox;
use self::session::{Ended, Session};
use crate::args::RelayArgs;
use crate::signals::Signals;
use crate::stdout::outln;
use crate::{Outcome, logging, postgres, upload};

/// The time for what is under way, after a signal.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Connections to the metrics at once.
const METRICS_MAX: usize = 32;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A database that has gone without a word is noticed after this.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The pause before the next connection; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The relay of one table, over as many connections as it takes.
struct Relay {
    database: Config,
    outbox: Outbox,
    publisher: Publisher,
    /// Events that the server refused since they were last taken.
    refused: Arc<Mutex<Vec<Refused>>>,
    numbers: Arc<Numbers>,
    poll: Duration,
    batch_rows: usize,
    ends_when_empty: bool,
    stop: watch::Receiver<bool>,
}

/// Relays until a signal comes; with `--once`, until the table is empty.
pub(crate) fn run(args: &RelayArgs) -> anyhow::Result<Outcome> {
    let outbox = Outbox::new(&args.table, args.mark);
    if args.print_ddl {
        outln!("{}", outbox.ddl().trim_end());
        return Ok(Outcome::Done);
    }
    logging::start(&args.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(relay(args, outbox))
}

async fn relay(args: &RelayArgs, outbox: Outbox) -> anyhow::Result<Outcome> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let (stop, stopped) = watch::channel(false);
    let relay = Relay::new(args, outbox, stopped)?;
    let router = metrics::router(relay.numbers.clone(), relay.publisher.clone());
    let told = |addresses: &[BoundAddress]| tracing::info!(?addresses, "metrics");
    let metrics = serve_router(
        &args.metrics_listen,
        (router, None),
        ConnectionLimits { connections_max: METRICS_MAX, ..ConnectionLimits::default() },
        relay.stopped(),
        told,
    );
    // Metrics alone are no reason to go on.
    let metrics = async {
        metrics.await?;
        std::future::pending::<anyhow::Result<Ended>>().await
    };
    let running = async {
        tokio::select! {
            ended = relay.run() => ended,
            failed = metrics => failed,
        }
    };
    let mut running = pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            let _ = stop.send(true);
            tokio::select! {
                ended = &mut running => ended,
                // Rows that were published and are still there are published again, under the same ids.
                () = tokio::time::sleep(STOP_WITHIN) => Ok(Ended::Stopped),
                _ = signals.next() => return Ok(Outcome::Interrupted),
            }
        }
    };
    // Nothing is lost with the buffer: the rows of what is in it are still in the table.
    let _ = relay.publisher.clone().close(Duration::ZERO);
    Ok(match ended? {
        // Rows are left.
        Ended::Stopped if args.once => Outcome::Interrupted,
        Ended::Empty if relay.numbers.set_aside() > 0 => Outcome::Findings,
        _ => Outcome::Done,
    })
}

impl Relay {
    fn new(args: &RelayArgs, outbox: Outbox, stop: watch::Receiver<bool>) -> anyhow::Result<Self> {
        let source = args.source.as_deref().expect("the command line asks for it");
        let mut database = postgres::config(source, args.postgres_password.as_deref())?;
        if database.get_connect_timeout().is_none() {
            database.connect_timeout(CONNECT_TIMEOUT);
        }
        database.keepalives_idle(SILENCE_MAX / 3).keepalives_interval(SILENCE_MAX / 6).keepalives_retries(4);
        if database.get_tcp_user_timeout().is_none() {
            database.tcp_user_timeout(SILENCE_MAX);
        }
        if database.get_hosts().len() > 1 && database.get_target_session_attrs() == TargetSessionAttrs::Any {
            database.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let refused: Arc<Mutex<Vec<Refused>>> = Arc::default();
        let receiver = refused.clone();
        let mut options = Publisher::to(&args.to.server)
            .batch_events(args.batch_events)
            .linger(Duration::from_millis(1))
            .on_refused(move |event| lock(&receiver).push(event));
        if let Some(key) = upload::key(args.to.key_file.as_deref(), args.to.key.as_deref())? {
            options = options.key(key);
        }
        Ok(Self {
            database,
            outbox,
            publisher: options.start()?,
            refused,
            numbers: Arc::default(),
            poll: args.poll,
            batch_rows: args.batch_events,
            ends_when_empty: args.once,
            stop,
        })
    }

    /// Relays over one connection after the other.
    ///
    /// # Errors
    /// If the database refuses before the table was reached: then the command is wrong.
    async fn run(&self) -> anyhow::Result<Ended> {
        let mut pause = PAUSE_MIN;
        let mut has_told = false;
        loop {
            let began = Instant::now();
            let error = match Session::run(self).await {
                Ok(ended) => return Ok(ended),
                Err(error) => error,
            };
            self.numbers.stands_by();
            if !self.numbers.was_reached() && !is_passing(&error) {
                return Err(error);
            }
            // A connection that fails at once, again and again, is told once and tried less and less often.
            if began.elapsed() > PAUSE_MAX {
                (pause, has_told) = (PAUSE_MIN, false);
            }
            if !std::mem::replace(&mut has_told, true) {
                tracing::warn!(error = format!("{error:#}"), "rows wait; trying again");
            }
            if self.pause(pause).await {
                return Ok(Ended::Stopped);
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Waits. True if the relay is to stop.
    async fn pause(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.stopped()).await.is_ok()
    }

    /// Waits until the relay is to stop.
    async fn stopped(&self) {
        // An error means that the sender is gone, and so is the command.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

/// True if the database was not reached, starts, stops, or has no place for another connection.
fn is_passing(error: &anyhow::Error) -> bool {
    let of_database = error.chain().find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>());
    of_database.is_some_and(|error| {
        error.code().is_none_or(|code| ["08", "53", "57"].contains(&&code.code()[..2])) && !is_of_us(error)
    })
}

/// True if it is no failure of the connection: a URL without a user, a database without TLS.
fn is_of_us(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error);
    error.as_db_error().is_none()
        && !error.is_closed()
        && !cause.is_some_and(<dyn std::error::Error + 'static>::is::<std::io::Error>)
}

/// Locks, also where another thread panicked: what is behind it is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
