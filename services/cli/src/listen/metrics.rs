//! The counts of sources, and the page that Prometheus reads.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lastseen_client::Publisher;

/// Unknown kinds of one source that are told in the log; those beyond are counted alone.
const TOLD_MAX: usize = 100;

/// A kind is told as far as this.
const KIND_CHARS: usize = 100;

/// The outcome of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    Published,
    /// Of a kind that is no event.
    Nothing,
    /// Of a kind that nobody knows.
    Unknown(&'a str),
    /// It should be an event and cannot: its kind, and its faults.
    Unfit(&'a str, String),
}

/// The counts of the entries of a source, by their outcome.
pub(super) struct Counts {
    path: String,
    published: AtomicU64,
    nothing: AtomicU64,
    unknown: AtomicU64,
    unfit: AtomicU64,
    refused_deliveries: AtomicU64,
    told: Mutex<BTreeSet<String>>,
}

impl Counts {
    pub(super) fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            published: AtomicU64::new(0),
            nothing: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            unfit: AtomicU64::new(0),
            refused_deliveries: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    /// Counts the entries of a delivery that was taken, and tells those that are strange.
    pub(super) fn count(&self, outcomes: Vec<Outcome<'_>>) {
        for outcome in outcomes {
            let counter = match &outcome {
                Outcome::Published => &self.published,
                Outcome::Nothing => &self.nothing,
                Outcome::Unknown(kind) => {
                    self.tell(kind);
                    &self.unknown
                }
                Outcome::Unfit(kind, faults) => {
                    tracing::error!(source = self.path, kind, faults, "an entry is no event");
                    &self.unfit
                }
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells an unknown kind, once.
    fn tell(&self, kind: &str) {
        let kind: String = kind.chars().take(KIND_CHARS).collect();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD_MAX && told.insert(kind.clone()) {
            tracing::warn!(source = self.path, kind, "an unknown kind of entry is not counted as activity");
        }
    }

    pub(super) fn refused_deliveries(&self) {
        self.refused_deliveries.fetch_add(1, Ordering::Relaxed);
    }
}

/// All numbers, as Prometheus reads them.
pub(super) fn page<'a>(sources: impl Iterator<Item = &'a Counts> + Clone, publisher: &Publisher) -> String {
    let mut text = publisher.metrics().to_string();
    let name = "lastseen_listen_entries_total";
    let _ = writeln!(text, "# HELP {name} Entries of deliveries, by their outcome.\n# TYPE {name} counter");
    for Counts { path, published, nothing, unknown, unfit, .. } in sources.clone() {
        for (outcome, count) in
            [("published", published), ("no_event", nothing), ("unknown_kind", unknown), ("unfit", unfit)]
        {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}{{source=\"{path}\",outcome=\"{outcome}\"}} {count}");
        }
    }
    let name = "lastseen_listen_refused_deliveries_total";
    let _ = writeln!(text, "# HELP {name} Deliveries that were not taken.\n# TYPE {name} counter");
    for counts in sources {
        let count = counts.refused_deliveries.load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}{{source=\"{}\"}} {count}", counts.path);
    }
    text
}
