//! Rows of series that were counted before. Only those of days that are over are kept; whether one still holds, the views
//! say.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use chrono_tz::Tz;
use lastseen_event::Position;
use lastseen_projections::{Before, Day, Period, Scope, SeriesRow, TypeSet};
use parking_lot::Mutex;

use crate::query::span::Span;

/// Rows kept, about 100 bytes each; then the series that was asked for longest ago makes room.
const ROWS_MAX: usize = 200_000;

/// A row and the position that the views reflected when it was counted.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) row: SeriesRow,
    pub(crate) position: Position,
}

/// Whose rows, and how many batches are left out of them: rows from before a batch was taken back are none of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Whose {
    pub(crate) scope: Scope,
    pub(crate) left_out: u64,
}

/// Who was active before the day that is going on, and the position that this reflects.
type KeptBefore = (Arc<Before>, Position);

/// Scopes that this is kept of, a bit or two a member each.
const BEFORE_MAX: usize = 16;

/// The rows of all series.
#[derive(Debug, Default)]
pub(crate) struct KeptRows(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    series: HashMap<Key, Series>,
    /// Of the scopes that were asked for last, the latest first.
    before: VecDeque<(Whose, KeptBefore)>,
    rows: usize,
    /// Counts the questions.
    asked: u64,
}

/// Which series a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    whose: Whose,
    period: Period,
    zone: Tz,
    counted: TypeSet,
}

#[derive(Debug, Default)]
struct Series {
    /// By first day.
    rows: BTreeMap<Day, Kept>,
    asked: u64,
}

impl Key {
    fn of(whose: Whose, span: &Span) -> Self {
        Self { whose, period: span.period, zone: span.zone, counted: span.selection.counted() }
    }
}

impl KeptRows {
    /// What is kept of a span, by first day.
    pub(crate) fn kept(&self, whose: Whose, span: &Span) -> BTreeMap<Day, Kept> {
        let mut inner = self.0.lock();
        inner.asked += 1;
        let asked = inner.asked;
        let first = *span.period.around(*span.days.start()).start();
        let Some(series) = inner.series.get_mut(&Key::of(whose, span)) else { return BTreeMap::new() };
        series.asked = asked;
        series.rows.range(first..=*span.days.end()).map(|(day, kept)| (*day, kept.clone())).collect()
    }

    /// What is kept of the days before the one that is going on.
    pub(crate) fn before(&self, whose: Whose) -> Option<KeptBefore> {
        let inner = self.0.lock();
        inner.before.iter().find(|(of, _)| *of == whose).map(|(_, before)| before.clone())
    }

    /// Keeps that.
    pub(crate) fn keep_before(&self, whose: Whose, before: KeptBefore) {
        let mut inner = self.0.lock();
        inner.before.retain(|(of, _)| *of != whose);
        inner.before.push_front((whose, before));
        inner.before.truncate(BEFORE_MAX);
    }

    /// Keeps rows in place of those that were counted before.
    pub(crate) fn keep(&self, whose: Whose, span: &Span, rows: impl Iterator<Item = Kept>) {
        let mut inner = self.0.lock();
        let Inner { series, rows: count, asked, .. } = &mut *inner;
        let of = series.entry(Key::of(whose, span)).or_default();
        of.asked = *asked;
        for kept in rows {
            *count += usize::from(of.rows.insert(*kept.row.days.start(), kept).is_none());
        }
        while *count > ROWS_MAX {
            let Some(oldest) = series.iter().min_by_key(|(_, of)| of.asked).map(|(key, _)| *key) else {
                break;
            };
            *count -= series.remove(&oldest).map_or(0, |of| of.rows.len());
        }
    }
}
