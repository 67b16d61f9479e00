//! The counts of sources, and the page that Prometheus reads.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lastseen_client::Publisher;

use super::sources::Source;

/// Unknown kinds of one source that are told in the log; those beyond are counted alone.
const TOLD_MAX: usize = 100;

/// What became of the entries of a source.
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

    pub(super) fn published(&self, entries: usize) {
        self.published.fetch_add(entries as u64, Ordering::Relaxed);
    }

    /// An entry of a kind that is no event.
    pub(super) fn nothing(&self) {
        self.nothing.fetch_add(1, Ordering::Relaxed);
    }

    /// An entry of a kind that nobody knows; each kind is told once.
    pub(super) fn unknown(&self, kind: &str) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
        // As long as a kind may be, and no longer.
        let kind: String = kind.chars().take(100).collect();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD_MAX && told.insert(kind.clone()) {
            tracing::warn!(source = self.path, kind, "an unknown kind of entry is not counted as activity");
        }
    }

    /// An entry that should be an event and cannot.
    pub(super) fn unfit(&self, kind: &str, faults: &str) {
        self.unfit.fetch_add(1, Ordering::Relaxed);
        tracing::error!(source = self.path, kind, faults, "an entry is no event");
    }

    pub(super) fn refused_deliveries(&self) {
        self.refused_deliveries.fetch_add(1, Ordering::Relaxed);
    }
}

/// All numbers, as Prometheus reads them.
pub(super) fn page(sources: &[Source], publisher: &Publisher) -> String {
    let mut text = publisher.metrics().to_string();
    let name = "lastseen_listen_entries_total";
    let _ = writeln!(text, "# HELP {name} Entries of deliveries, by their outcome.\n# TYPE {name} counter");
    for Counts { path, published, nothing, unknown, unfit, .. } in sources.iter().map(|source| &source.counts)
    {
        for (outcome, count) in
            [("published", published), ("no_event", nothing), ("unknown_kind", unknown), ("unfit", unfit)]
        {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}{{source=\"{path}\",outcome=\"{outcome}\"}} {count}");
        }
    }
    let name = "lastseen_listen_refused_deliveries_total";
    let _ = writeln!(text, "# HELP {name} Deliveries that were not taken.\n# TYPE {name} counter");
    for counts in sources.iter().map(|source| &source.counts) {
        let count = counts.refused_deliveries.load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}{{source=\"{}\"}} {count}", counts.path);
    }
    text
}
