//! The numbers of a relay, and the page that Prometheus reads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use lastseen_client::{Publisher, UtcInstant, write_metric};
use lastseen_store::{Clock, SystemClock};

/// No row waits.
const NONE: i64 = i64::MIN;

/// Numbers of a relay since its start.
#[derive(Debug)]
pub(super) struct Numbers {
    settled: AtomicU64,
    set_aside: AtomicU64,
    connections: AtomicU64,
    is_relaying: AtomicBool,
    was_reached: AtomicBool,
    /// `occurred_at` of the first row that waits, in microseconds, or [`NONE`].
    oldest: AtomicI64,
    /// The last instant at which no row waited, in microseconds; 0 until there is one.
    empty: AtomicI64,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            settled: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            is_relaying: AtomicBool::new(false),
            was_reached: AtomicBool::new(false),
            oldest: AtomicI64::new(NONE),
            empty: AtomicI64::new(0),
        }
    }
}

impl Numbers {
    /// A connection has the table.
    pub(super) fn relays(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.is_relaying.store(true, Ordering::Relaxed);
    }

    /// No connection of this relay has the table.
    pub(super) fn stands_by(&self) {
        self.is_relaying.store(false, Ordering::Relaxed);
        self.oldest.store(NONE, Ordering::Relaxed);
    }

    /// Rows wait, the first one since an instant.
    pub(super) fn waits_since(&self, oldest: UtcInstant) {
        self.oldest.store(oldest.as_micros(), Ordering::Relaxed);
    }

    /// No row waits.
    pub(super) fn emptied(&self) {
        self.oldest.store(NONE, Ordering::Relaxed);
        self.empty.store(SystemClock.now().as_micros(), Ordering::Relaxed);
    }

    pub(super) fn settled(&self, rows: usize) {
        self.settled.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn puts_aside(&self, rows: usize) {
        self.set_aside.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// The database has the table, and said who relays it.
    pub(super) fn reaches(&self) {
        self.was_reached.store(true, Ordering::Relaxed);
    }

    /// True if the table was reached once.
    pub(super) fn was_reached(&self) -> bool {
        self.was_reached.load(Ordering::Relaxed)
    }

    /// Rows that were set aside.
    pub(super) fn set_aside(&self) -> u64 {
        self.set_aside.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64();
        let oldest = self.oldest.load(Ordering::Relaxed);
        let lag = if oldest == NONE { 0 } else { SystemClock.now().as_micros().saturating_sub(oldest) };
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        for (name, kind, help, value) in [
            ("published_rows_total", "counter", "Rows that were published and are done.", of(&self.settled)),
            (
                "set_aside_rows_total",
                "counter",
                "Rows that were set aside with a fault.",
                of(&self.set_aside),
            ),
            ("connections_total", "counter", "Connections that relayed the table.", of(&self.connections)),
            (
                "relaying",
                "gauge",
                "1 if this relay has the table, 0 if it stands by or has no database.",
                self.is_relaying.load(Ordering::Relaxed).into(),
            ),
        ] {
            write_metric(f, &format!("lastseen_relay_{name}"), (kind, help), value)?;
        }
        let help = "Age of the first row that waits, 0 if none is known.";
        write_metric(f, "lastseen_relay_lag_seconds", ("gauge", help), seconds(lag))?;
        let empty = self.empty.load(Ordering::Relaxed);
        if empty > 0 {
            let help = "Last time at which no row waited, in seconds since 1970.";
            write_metric(f, "lastseen_relay_empty_timestamp_seconds", ("gauge", help), seconds(empty))?;
        }
        Ok(())
    }
}

/// Answers `/metrics`.
pub(super) fn router(numbers: Arc<Numbers>, publisher: Publisher) -> Router {
    let page = move || {
        let text = format!("{numbers}{}", publisher.metrics());
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text) }
    };
    Router::new().route("/metrics", get(page))
}
