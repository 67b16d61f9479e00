//! Rows of series that were counted before. Only rows of periods that are over are kept; the views say whether one
//! still holds.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use lastseen_event::Position;
use lastseen_projections::{Before, Day, Definition, Period, Scope, SeriesRow};
use parking_lot::Mutex;

use crate::questions::span::Span;

/// Rows kept, about 100 bytes each; then the series that was asked for longest ago makes room.
const ROWS_MAX: usize = 200_000;
/// Rows that an empty series counts as, so that many of them make room as well.
const SERIES_ROWS: usize = 4;
/// Sets of members who were active before today that are kept, one or two bytes a member each.
const BEFORE_MAX: usize = 16;

/// A row and the position that the views reflected when it was counted.
#[derive(Clone, Debug)]
pub(super) struct CachedRow {
    pub(super) row: SeriesRow,
    pub(super) position: Position,
}

/// Cache key. Each retraction changes it, so rows from before one are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CacheScope {
    pub(super) scope: Scope,
    /// Number of batches that the rows leave out.
    pub(super) retracted: u64,
}

/// The members who were active before the running day, and the position that this reflects.
type CachedBefore = (Arc<Before>, Position);

/// The rows of all series.
#[derive(Debug, Default)]
pub(crate) struct SeriesCache(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    series: HashMap<Key, Series>,
    /// The key of each series by the number of the question that last asked for it: the first is the oldest.
    by_age: BTreeMap<u64, Key>,
    /// The latest first.
    before: VecDeque<(Key, CachedBefore)>,
    /// Rows of all series, [`SERIES_ROWS`] more for each.
    rows: usize,
    /// Questions so far.
    asked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    of: CacheScope,
    period: Period,
    definition: Definition,
    everyone: bool,
    of_persons: bool,
}

#[derive(Debug, Default)]
struct Series {
    /// By first day.
    rows: BTreeMap<Day, CachedRow>,
    /// The number of the question that last asked for it.
    asked: u64,
}

impl Key {
    fn new(of: CacheScope, span: &Span) -> Self {
        let (definition, everyone) = (span.definition(), span.selection.everyone);
        Self { of, period: span.periods.period, definition, everyone, of_persons: span.of_persons }
    }
}

impl Inner {
    /// Makes a series the youngest one.
    fn touch(&mut self, key: Key) {
        self.asked += 1;
        if let Some(series) = self.series.get_mut(&key) {
            self.by_age.remove(&series.asked);
            series.asked = self.asked;
            self.by_age.insert(self.asked, key);
        }
    }

    fn make_room(&mut self) {
        while self.rows > ROWS_MAX {
            let Some((_, oldest)) = self.by_age.pop_first() else { return };
            let rows = self.series.remove(&oldest).map_or(0, |series| series.rows.len());
            self.rows -= rows + SERIES_ROWS;
        }
    }
}

impl SeriesCache {
    /// Returns the rows that are kept of a span, by first day.
    pub(super) fn rows(&self, of: CacheScope, span: &Span) -> BTreeMap<Day, CachedRow> {
        let mut inner = self.0.lock();
        let key = Key::new(of, span);
        inner.touch(key);
        let first = *span.periods.period.around(*span.periods.days.start()).start();
        let Some(series) = inner.series.get(&key) else { return BTreeMap::new() };
        series.rows.range(first..=*span.periods.days.end()).map(|(day, kept)| (*day, kept.clone())).collect()
    }

    /// Keeps rows in place of those that were counted before.
    pub(super) fn keep(&self, of: CacheScope, span: &Span, rows: impl Iterator<Item = CachedRow>) {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        let mut inner = self.0.lock();
        let key = Key::new(of, span);
        if let Entry::Vacant(vacant) = inner.series.entry(key) {
            vacant.insert(Series::default());
            inner.rows += SERIES_ROWS;
        }
        inner.touch(key);
        let Inner { series, rows: count, .. } = &mut *inner;
        if let Some(series) = series.get_mut(&key) {
            for cached in rows {
                *count += usize::from(series.rows.insert(*cached.row.days.start(), cached).is_none());
            }
        }
        inner.make_room();
    }

    /// Returns the members who were active before the running day, if they are kept.
    pub(super) fn before(&self, of: CacheScope, span: &Span) -> Option<CachedBefore> {
        let (inner, key) = (self.0.lock(), Key::new(of, span));
        inner.before.iter().find(|(of, _)| *of == key).map(|(_, before)| before.clone())
    }

    /// Keeps the members who were active before the running day.
    pub(super) fn keep_before(&self, of: CacheScope, span: &Span, before: CachedBefore) {
        let (mut inner, key) = (self.0.lock(), Key::new(of, span));
        inner.before.retain(|(of, _)| *of != key);
        inner.before.push_front((key, before));
        inner.before.truncate(BEFORE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use lastseen_event::TenantOrdinal;
    use lastseen_projections::{Calendar, Periods, Selection};

    use super::*;

    fn span(days: i32) -> Span {
        Span {
            periods: Periods { days: Day::new(0)..=Day::new(days - 1), period: Period::Day },
            zone: Tz::UTC,
            calendar: Arc::new(Calendar::utc()),
            of_persons: false,
            selection: Selection::default(),
        }
    }

    fn rows(days: i32) -> impl Iterator<Item = CachedRow> {
        (0..days).map(|day| {
            let days = Day::new(day)..=Day::new(day);
            let [active, estimated, new, returning, resurrected, dormant, total] = [0; 7];
            let row = SeriesRow {
                days,
                active,
                estimated,
                windows: None,
                new,
                returning,
                resurrected,
                dormant,
                total,
            };
            CachedRow { row, position: Position::new(1) }
        })
    }

    fn of(tenant: usize) -> CacheScope {
        let tenant = TenantOrdinal::new(u32::try_from(tenant).unwrap());
        CacheScope { scope: Scope::Tenant(tenant), retracted: 0 }
    }

    #[test]
    fn the_series_asked_for_longest_ago_makes_room_and_the_bound_holds() {
        let (cache, days) = (SeriesCache::default(), 1_000);
        let fit = ROWS_MAX / 1_004;
        for tenant in 0..fit {
            cache.keep(of(tenant), &span(days), rows(days));
        }
        assert_eq!(cache.rows(of(0), &span(days)).len(), 1_000, "all of them fit");
        cache.keep(of(fit), &span(days), rows(days));
        assert_eq!(cache.rows(of(1), &span(days)).len(), 0, "the oldest has gone");
        assert_eq!(cache.rows(of(0), &span(days)).len(), 1_000, "it was asked for since");
        let inner = cache.0.lock();
        assert!(inner.rows <= ROWS_MAX);
        let rows: usize = inner.series.values().map(|series| series.rows.len() + SERIES_ROWS).sum();
        assert_eq!(inner.rows, rows);
        assert_eq!(inner.by_age.len(), inner.series.len());
    }

    #[test]
    fn a_series_without_a_row_to_keep_takes_no_room() {
        let cache = SeriesCache::default();
        for tenant in 0..1_000 {
            assert!(cache.rows(of(tenant), &span(1)).is_empty());
            cache.keep(of(tenant), &span(1), std::iter::empty());
        }
        let inner = cache.0.lock();
        assert_eq!((inner.rows, inner.series.len(), inner.by_age.len()), (0, 0, 0));
    }
}
