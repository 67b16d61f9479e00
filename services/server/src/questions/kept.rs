//! Results of scans of the past, kept for the questions that follow: pages of one list, parts of one page of a dashboard.
//! Bounded in bytes and in time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lastseen_event::{Position, TenantOrdinal};
use lastseen_projections::{ScannedDays, Scope, Selection, Views};
use parking_lot::Mutex;

use super::span::ScanKey;
use crate::memory::Reserved;

/// Kept for that long after it was asked for last.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(90);

/// Views of a part of history.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) views: Views,
    /// The last position they reflect.
    pub(crate) position: Position,
    /// The memory that they take, where that is too much to be kept.
    pub(super) memory: Option<Reserved>,
}

/// Days of a part of history.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) days: ScannedDays,
    /// Their members.
    pub(super) scope: Scope,
    /// The last position they reflect.
    pub(crate) position: Position,
    /// The memory that they take, where that is too much to be kept.
    pub(super) memory: Option<Reserved>,
}

/// The result of a scan.
#[derive(Clone, Debug)]
enum Made {
    Folded(Scope, Selection, Arc<Folded>),
    Scanned(ScanKey, Arc<Scanned>),
}

struct Entry {
    made: Made,
    bytes: usize,
    asked: Instant,
}

/// The results of scans.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The one that was asked for last in front.
    entries: VecDeque<Entry>,
    is_expiring: bool,
}

impl Kept {
    /// Views of a scope, or of all.
    pub(super) fn folded(&self, scope: Scope, selection: Selection) -> Option<Arc<Folded>> {
        self.find(|made| match made {
            Made::Folded(of, chosen, folded)
                if *chosen == selection && (*of == scope || *of == Scope::All) =>
            {
                Some(folded.clone())
            }
            _ => None,
        })
    }

    /// True if views of another tenant are kept, of the same part of history.
    pub(super) fn has_of_another(&self, tenant: TenantOrdinal, selection: Selection) -> bool {
        let inner = self.0.lock();
        inner.entries.iter().any(|entry| match entry.made {
            Made::Folded(Scope::Tenant(of), chosen, _) => of != tenant && chosen == selection,
            _ => false,
        })
    }

    /// Days of a part of history.
    pub(super) fn scanned(&self, key: &ScanKey) -> Option<Arc<Scanned>> {
        self.find(|made| match made {
            Made::Scanned(of, scanned) if of == key => Some(scanned.clone()),
            _ => None,
        })
    }

    fn find<V>(&self, wanted: impl Fn(&Made) -> Option<V>) -> Option<V> {
        let entries = &mut self.0.lock().entries;
        let (at, found) =
            entries.iter().enumerate().find_map(|(at, entry)| Some((at, wanted(&entry.made)?)))?;
        if let Some(mut entry) = entries.remove(at) {
            entry.asked = Instant::now();
            entries.push_front(entry);
        }
        Some(found)
    }

    pub(super) fn keep_folded(
        &self,
        (scope, selection): (Scope, Selection),
        folded: Arc<Folded>,
        bytes: (usize, usize),
    ) {
        self.keep(Made::Folded(scope, selection, folded), bytes);
    }

    pub(super) fn keep_scanned(&self, key: ScanKey, scanned: Arc<Scanned>, bytes: (usize, usize)) {
        self.keep(Made::Scanned(key, scanned), bytes);
    }

    /// Bytes of all that is kept.
    pub(super) fn bytes(&self) -> usize {
        self.0.lock().entries.iter().map(|entry| entry.bytes).sum()
    }

    /// Keeps something of so many bytes, beside others up to the most.
    fn keep(&self, made: Made, (bytes, bytes_max): (usize, usize)) {
        if bytes > bytes_max {
            return;
        }
        let gone = {
            let entries = &mut self.0.lock().entries;
            entries.push_front(Entry { made, bytes, asked: Instant::now() });
            let mut sum = 0;
            let fits = |entry: &&Entry| {
                sum += entry.bytes;
                sum <= bytes_max
            };
            let kept = entries.iter().take_while(fits).count();
            entries.split_off(kept)
        };
        drop(gone);
    }

    /// Returns whether somebody calls [`Kept::expire`] again and again; from now on the caller does.
    pub(super) fn is_expiring(&self) -> bool {
        std::mem::replace(&mut self.0.lock().is_expiring, true)
    }

    /// Lets go what was not asked for in a while. `true`: nothing is left, and the caller is to stop.
    pub(super) fn expire(&self) -> bool {
        let (gone, is_empty) = {
            let mut inner = self.0.lock();
            let kept = inner.entries.iter().take_while(|entry| entry.asked.elapsed() < KEPT_FOR).count();
            let gone = inner.entries.split_off(kept);
            inner.is_expiring = !inner.entries.is_empty();
            (gone, inner.entries.is_empty())
        };
        drop(gone);
        is_empty
    }
}
