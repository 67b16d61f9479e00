//! The part of the cursor in a segment: row group by row group, the rows that are wanted found first by the columns the
//! conditions are on, then the rest of them read.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use arrow_array::RecordBatch;
use lastseen_event::{EventRows, MemberOrdinal, Position, UtcInstant};
use lastseen_store::{Detail, Filter, ReadError, Scan};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection};

use crate::damage::Malformed;
use crate::history::History;
use crate::place::{Place, following, preceding};
use crate::segment::entry::Entry;
use crate::segment::file::{GroupBounds, SegmentFile};
use crate::segment::index::Index;
use crate::segment::rows::{Checked, Rows};
use crate::segment::schema::Column;
use crate::wal::cursor::Decoded;

/// Rows decoded at once: what is made of them stays in the processor's caches.
const BATCH_ROWS: usize = 4_096;

/// Rows whose members are looked up under one hold of the dictionary's lock: the writer may wait for it.
const LOCKED_ROWS: usize = 1_024;

/// Returns the columns that the conditions of a filter are on.
fn columns_of(filter: &Filter, by_position: bool) -> Vec<Column> {
    let bounded = |since: Option<UtcInstant>, until: Option<UtcInstant>| since.is_some() || until.is_some();
    let mut columns = Vec::new();
    for (column, is_used) in [
        (Column::Position, by_position),
        (Column::Type, filter.types.is_some()),
        (Column::Member, filter.tenant.is_some() || filter.member.is_some() || filter.person.is_some()),
        (Column::OccurredAt, bounded(filter.occurred_since, filter.occurred_until)),
        (Column::RecordedAt, bounded(filter.recorded_since, filter.recorded_until)),
    ] {
        columns.extend(is_used.then_some(column));
    }
    columns
}

/// A segment and where the cursor is in it.
pub(super) struct OpenSegment {
    file: SegmentFile,
    /// The next row group, and the place of its first row.
    group: usize,
    group_first: Place,
    reading: Option<Reading>,
}

/// A row group on its way.
struct Reading {
    group: usize,
    batches: ParquetRecordBatchReader,
    /// The ranges of rows still to read, counted from the group's first row. The next range is at the end.
    rows: Vec<Range<usize>>,
    first: Place,
    last: Place,
    /// The position that is reached with the last of them. `None`: that of the last that is read.
    end_shown: Option<Position>,
    checked: Checked,
}

impl OpenSegment {
    /// Opens a segment to read records of this member, or of all. `None`: it holds none of the member's.
    pub(super) fn new(
        history: &History,
        entry: &Arc<Entry>,
        member: Option<MemberOrdinal>,
    ) -> Result<Option<Self>, ReadError> {
        let (disk, lineage) = (history.disk.as_ref(), history.lineage());
        let index = Index::read(disk, entry, |log_id| lineage.contains(log_id))?;
        if let Some(member) = member
            && !index.may_hold(member)?
        {
            return Ok(None);
        }
        let file = SegmentFile::with_pieces(disk, entry, index.pieces)?;
        Ok(Some(Self { file, group: 0, group_first: entry.first(), reading: None }))
    }

    /// The next events above `reached`, which is below `end`. `None`: the segment ends here.
    pub(super) fn next(
        &mut self,
        history: &History,
        scan: &Scan,
        (reached, end): (Place, Place),
    ) -> Result<Option<Decoded>, ReadError> {
        if let Some(mut reading) = self.reading.take() {
            return self.read_on(&mut reading, history, scan).map(|decoded| {
                self.reading = (decoded.place < reading.last).then_some(reading);
                Some(decoded)
            });
        }
        while self.group < self.file.row_groups() {
            let (group, first, rows) = (self.group, self.group_first, self.file.rows_of(self.group));
            let behind = Place::new(first.get() + rows as u64);
            if first > end {
                break;
            }
            let wanted = row_in(following(reached), first)..row_in(following(end), first).min(rows);
            // Only what is read to its end is left behind: a later tail goes on in the same group.
            if wanted.end == rows {
                (self.group, self.group_first) = (group + 1, behind);
            }
            if wanted.is_empty() {
                continue;
            }
            let last = Place::new(first.get() + wanted.end as u64 - 1);
            let shown = self.shown(group, (first, last), (wanted.end == rows, scan))?;
            match shown.part {
                Part::Behind => continue,
                Part::Beyond(until) => return Ok(Some(Decoded::none((preceding(first), until)))),
                Part::All | Part::Some => {}
            }
            let mut filter = scan.filter;
            if scan.detail == Detail::Sightings {
                // Types are among what is read, and told apart there.
                filter.types = None;
            }
            let by_position = (shown.part == Part::Some).then_some((scan.after, scan.until));
            let Some(ranges) = self.choose(history, (&filter, by_position), (group, wanted))? else {
                // Where only a part of the group was read, nothing is told of it.
                return Ok(Some(Decoded::none((last, shown.end.unwrap_or(scan.after)))));
            };
            let columns: &[Column] = match scan.detail {
                Detail::Sightings => Column::SIGHTING,
                Detail::Facts => Column::FACT,
                Detail::Events => Column::EVENT,
            };
            let with_position = self.is_stamped().then(|| [&[Column::Position], columns].concat());
            let columns = with_position.as_deref().unwrap_or(columns);
            let selection = RowSelection::from_consecutive_ranges(ranges.iter().cloned(), rows);
            let batches = self.file.read(group, columns, (BATCH_ROWS, Some(selection)))?;
            let (end_shown, checked) = (shown.end, Checked::default());
            let mut reading = Reading { group, batches, rows: ranges, first, last, end_shown, checked };
            reading.rows.reverse();
            let decoded = self.read_on(&mut reading, history, scan)?;
            self.reading = (decoded.place < reading.last).then_some(reading);
            return Ok(Some(decoded));
        }
        Ok(None)
    }

    /// True if its records have stamps.
    fn is_stamped(&self) -> bool {
        self.file.entry().shown.is_some()
    }

    /// The part of a row group, with records at these places, that is within the positions of a scan. Without stamps the
    /// places are the positions, and are within them.
    fn shown(
        &self,
        group: usize,
        (first, last): (Place, Place),
        (is_whole, scan): (bool, &Scan),
    ) -> Result<Shown, ReadError> {
        if !self.is_stamped() {
            return Ok(Shown { part: Part::All, end: Some(last.own_position()) });
        }
        let bounds = self.file.bounds(group).position.and_then(|bounds| {
            let [lower, upper] = [*bounds.start(), *bounds.end()].map(u64::try_from);
            Some((Position::new(lower.ok()?), Position::new(upper.ok()?)))
        });
        let rows = last.get() - first.get();
        let (lower, upper) = bounds
            .filter(|(lower, upper)| upper.get() >= lower.get() + rows)
            .ok_or_else(|| self.file.damaged(group, "positions that increase", "others"))?;
        let until = scan.until.unwrap_or(upper);
        let part = match scan.until {
            _ if upper <= scan.after => Part::Behind,
            Some(until) if lower > until => Part::Beyond(until),
            _ if lower <= scan.after || upper > until => Part::Some,
            _ => Part::All,
        };
        Ok(Shown { part, end: is_whole.then(|| upper.min(until)) })
    }

    /// The rows of `wanted` that meet the filter, and whose positions are above the one and not above the other where these are
    /// given; as ranges. `None`: there is none.
    fn choose(
        &self,
        history: &History,
        (filter, by_position): (&Filter, Option<(Position, Option<Position>)>),
        (group, wanted): (usize, Range<usize>),
    ) -> Result<Option<Vec<Range<usize>>>, ReadError> {
        let GroupBounds { occurred_at, recorded_at, member, .. } = self.file.bounds(group);
        let instants = |bounds: RangeInclusive<i64>| {
            (UtcInstant::from_micros(*bounds.start()), UtcInstant::from_micros(*bounds.end()))
        };
        let (occurred_at, recorded_at) = (occurred_at.map(instants), recorded_at.map(instants));
        let may_hold = occurred_at.is_none_or(|bounds| filter.may_occur(bounds))
            && recorded_at.is_none_or(|bounds| filter.may_be_recorded(bounds))
            && filter
                .member
                .zip(member)
                .is_none_or(|(wanted, bounds)| bounds.contains(&i64::from(wanted.get())));
        if !may_hold {
            return Ok(None);
        }
        let filter = &filter.undecided(occurred_at, recorded_at);
        if *filter == Filter::default() && by_position.is_none() {
            return Ok(Some(vec![wanted]));
        }
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut start = 0;
        for batch in self.file.read(group, &columns_of(filter, by_position.is_some()), (BATCH_ROWS, None))? {
            let batch = batch.map_err(|error| self.file.undecodable(group, &error))?;
            let rows = self.rows(&batch, group, &mut Checked::default())?;
            for from in (0..rows.len()).step_by(LOCKED_ROWS) {
                let members = history.members.read();
                for row in from..rows.len().min(from + LOCKED_ROWS) {
                    let at = start + row;
                    let unexpected = |Malformed| self.unexpected(group);
                    if let Some((after, until)) = by_position {
                        let position = rows.position(row).map_err(unexpected)?;
                        if position <= after || until.is_some_and(|until| position > until) {
                            continue;
                        }
                    }
                    // The dictionary may end where `wanted` does.
                    if !wanted.contains(&at) || !rows.keeps(row, filter, &members).map_err(unexpected)? {
                        continue;
                    }
                    match ranges.last_mut() {
                        Some(range) if range.end == at => range.end += 1,
                        _ => ranges.push(at..at + 1),
                    }
                }
            }
            start += rows.len();
        }
        Ok((!ranges.is_empty()).then_some(ranges))
    }

    /// The next batch of a row group.
    fn read_on(&self, reading: &mut Reading, history: &History, scan: &Scan) -> Result<Decoded, ReadError> {
        let group = reading.group;
        let Some(batch) = reading.batches.next() else {
            return Err(self.file.damaged(group, "as many rows as the footer says", "fewer"));
        };
        let batch = batch.map_err(|error| self.file.undecodable(group, &error))?;
        let rows = self.rows(&batch, group, &mut reading.checked)?;
        let mut decoded = Decoded::up_to(reading.last);
        let read = &mut decoded.batch;
        let mut last = reading.first;
        let last_row = rows.len().saturating_sub(1);
        let numbers = rows.numbers(&history.batches.read());
        if scan.detail == Detail::Sightings {
            let slots = history.members.read().slots();
            read.sightings.reserve(rows.len());
            rows.sightings((scan.filter.types, slots), &numbers, &mut read.sightings)
                .map_err(|Malformed| self.unexpected(group))?;
            let last = reading.skip_rows(rows.len()).ok_or_else(|| self.unexpected(group))?;
            let last = Place::new(reading.first.get() + last as u64);
            let shown = self.position(&rows, last_row, last).map_err(|Malformed| self.unexpected(group))?;
            decoded.reach(reading, (last, shown));
            return Ok(decoded);
        }
        read.facts.reserve(rows.len());
        for from in (0..rows.len()).step_by(LOCKED_ROWS) {
            let members = history.members.read();
            for row in from..rows.len().min(from + LOCKED_ROWS) {
                let at = reading.next_row().ok_or_else(|| self.unexpected(group))?;
                last = Place::new(reading.first.get() + at as u64);
                let unexpected = |Malformed| self.unexpected(group);
                let shown = self.position(&rows, row, last).map_err(unexpected)?;
                if rows.is_retraction(row).map_err(unexpected)? {
                    read.retractions.push(rows.retraction(row, shown, &numbers).map_err(unexpected)?);
                } else {
                    read.facts.push(rows.fact(row, shown, (&members, &numbers)).map_err(unexpected)?);
                }
            }
        }
        if scan.detail == Detail::Events {
            read.events = EventRows::with_capacity(read.facts.len());
            let of_members = (0..rows.len()).filter(|row| rows.is_retraction(*row) == Ok(false));
            for (row, fact) in of_members.zip(&read.facts) {
                let event = rows.event_of(fact, row).map_err(|Malformed| self.unexpected(group))?;
                read.events.push_recorded(&event);
            }
        }
        let shown = self.position(&rows, last_row, last).map_err(|Malformed| self.unexpected(group))?;
        decoded.reach(reading, (last, shown));
        Ok(decoded)
    }

    /// The position that the row at a place shows: that of its stamp, or its place.
    fn position(&self, rows: &Rows<'_>, row: usize, place: Place) -> Result<Position, Malformed> {
        if self.is_stamped() { rows.position(row) } else { Ok(place.own_position()) }
    }

    fn rows<'a>(
        &self,
        batch: &'a RecordBatch,
        group: usize,
        checked: &mut Checked,
    ) -> Result<Rows<'a>, ReadError> {
        Rows::new(batch, checked).map_err(|Malformed| self.unexpected(group))
    }

    fn unexpected(&self, group: usize) -> ReadError {
        self.file.damaged(group, "events as the log writes them", "something else")
    }
}

/// A row group beside the positions of a scan.
struct Shown {
    part: Part,
    /// The position that is reached with its end. `None`: its end is not read.
    end: Option<Position>,
}

/// The part of a row group that is within the positions of a scan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// None: all of it was read before.
    Behind,
    /// None: the scan ends in front of it, with this position.
    Beyond(Position),
    Some,
    All,
}

impl Decoded {
    /// Notes how far a row group was read: to its end, or to this place and the position that it shows.
    fn reach(&mut self, reading: &Reading, (place, shown): (Place, Position)) {
        (self.place, self.batch.reached) = if reading.rows.is_empty() {
            (reading.last, reading.end_shown.unwrap_or(shown))
        } else {
            (place, shown)
        };
    }
}

impl Reading {
    /// Leaves the next `rows` behind. Returns the last of them; `None`: there are fewer, or none was asked for.
    fn skip_rows(&mut self, mut rows: usize) -> Option<usize> {
        let mut last = None;
        while rows > 0 {
            let range = self.rows.last_mut()?;
            let skipped = rows.min(range.len());
            range.start += skipped;
            rows -= skipped;
            last = Some(range.start - 1);
            if range.start == range.end {
                self.rows.pop();
            }
        }
        last
    }

    /// Returns the next row of the group.
    fn next_row(&mut self) -> Option<usize> {
        let range = self.rows.last_mut()?;
        let row = range.next();
        if range.start == range.end {
            self.rows.pop();
        }
        row
    }
}

/// The row of a place in a group that begins with `first`.
fn row_in(place: Place, first: Place) -> usize {
    usize::try_from(place.get().saturating_sub(first.get())).unwrap_or(usize::MAX)
}
