//! A cursor over durable history, sealed or not: from the segments, then from the WAL files, then from the last groups in
//! memory, up to the tail. Where a file is sealed meanwhile, the cursor goes on in its segment.

mod recent;
mod segment;
mod wal;

use std::io;
use std::sync::Arc;

use lastseen_event::Position;
use lastseen_store::{EventReader, ReadError, RecordedBatch, Scan};

use self::recent::OpenFrame;
use self::segment::OpenSegment;
use self::wal::OpenFile;
use crate::history::History;
use crate::history::places::Held;
use crate::place::{Place, following};
use crate::wal::cursor::Decoded;

/// Reads what a [`Scan`] chooses; see [`EventReader`]. Holds one row group of a segment or one frame of the WAL in memory.
///
/// In a log that follows another one, the positions of a scan are those of that one. The cursor goes by places, which are dense
/// in every log; it begins not far in front of the first record that is wanted, and leaves out what is not.
pub struct LogReader {
    history: Arc<History>,
    scan: Scan,
    /// The place of the last record that was returned, or that was not wanted.
    reached: Place,
    /// The position that was told last, or that the scan begins above.
    told: Position,
    open: Option<Open>,
    /// The frame of the ring that the cursor is in.
    recent: Option<OpenFrame>,
}

enum Open {
    Segment(Box<OpenSegment>),
    File(OpenFile),
}

impl LogReader {
    pub(crate) fn new(history: Arc<History>, scan: Scan) -> Self {
        let reached = history.place_before(scan.after);
        Self { history, scan, reached, told: scan.after, open: None, recent: None }
    }

    /// The place of the last record to read now.
    fn end(&self) -> Place {
        let tail = self.history.last_place();
        match self.scan.until {
            Some(until) if self.told >= until => self.reached,
            Some(until) if !self.history.is_replica => Place::of_own(until).min(tail),
            _ => tail,
        }
    }

    /// The position that the tail stands on, where no record is left in front of it. `None`: it was told, or some are left.
    fn stand_at_tail(&mut self) -> Option<RecordedBatch> {
        if !self.history.is_replica {
            return None;
        }
        // In this order: the records in front of it are durable already.
        let shown = *self.history.shown.borrow();
        let last = self.history.last_place();
        let reached = self.scan.until.map_or(shown, |until| until.min(shown));
        let is_new = self.reached >= last && reached > self.told;
        self.told = if is_new { reached } else { self.told };
        is_new.then(|| RecordedBatch { reached, ..RecordedBatch::default() })
    }

    /// Notes what was read. False: nothing of it is above the position that was told last.
    fn leave(&mut self, place: Place, reached: Position) -> bool {
        self.reached = place;
        let is_new = reached > self.told;
        self.told = self.told.max(reached);
        is_new
    }

    /// Moves to the frame of the ring that holds the event above `reached`. False: it is in none.
    fn find_recent(&mut self) -> bool {
        if self.recent.as_ref().is_none_or(|frame| !frame.holds(self.reached)) {
            self.recent = OpenFrame::find(&self.history, self.reached);
        }
        self.recent.is_some()
    }

    /// The next events, where they are among the last groups.
    fn next_of_ring(&mut self, end: Place) -> Option<RecordedBatch> {
        while self.reached < end && self.find_recent() {
            let frame = self.recent.as_mut()?;
            let Decoded { batch, place } = frame.next(&self.history, &self.scan, (self.reached, end))?;
            // The file that was read before is behind it.
            self.open = None;
            if self.leave(place, batch.reached) {
                return Some(batch);
            }
        }
        None
    }

    /// Opens what holds the event above `reached`, which is durable. `None`: nothing of it is wanted, and `reached` is
    /// behind it.
    fn open(&mut self) -> Result<Option<Open>, ReadError> {
        loop {
            let held = self.history.places.read().of(following(self.reached));
            match held {
                Held::Segment(entry) => {
                    let filter = self.scan.filter;
                    if filter.may_occur(entry.occurred.bounds())
                        && entry.may_hold_any(filter.occurred_since, filter.occurred_until)
                        && filter.may_be_recorded(entry.recorded.bounds())
                        && let Some(open) = OpenSegment::new(&self.history, &entry, filter.member)?
                    {
                        return Ok(Some(Open::Segment(Box::new(open))));
                    }
                    self.leave(entry.last(), entry.last_shown());
                    return Ok(None);
                }
                Held::File(file) => match OpenFile::new(&self.history, &file, following(self.reached)) {
                    Ok(open) => return Ok(Some(Open::File(open))),
                    // It was sealed and removed since: then a segment holds the record.
                    Err(ReadError::Io { source, .. })
                        if source.kind() == io::ErrorKind::NotFound
                            && self.history.is_sealed(following(self.reached))? => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }
}

impl EventReader for LogReader {
    fn next_recent(&mut self) -> Option<Arc<RecordedBatch>> {
        let end = self.end();
        if self.reached >= end {
            return self.stand_at_tail().map(Arc::new);
        }
        if !self.find_recent() {
            return None;
        }
        let frame = self.recent.as_ref()?;
        // What is shared begins with the record above `reached`: all of it is wanted once that is exact.
        let is_exact = !self.history.is_replica || self.told > self.scan.after;
        let shared = is_exact.then(|| frame.shared(&self.history, &self.scan, self.reached)).flatten();
        let Some((batch, place)) = shared else { return self.next_of_ring(end).map(Arc::new) };
        self.open = None;
        self.leave(place, batch.reached);
        Some(batch)
    }

    fn next_batch(&mut self) -> Result<Option<RecordedBatch>, ReadError> {
        while self.reached < self.end() {
            let end = self.end();
            if let Some(batch) = self.next_of_ring(end) {
                return Ok(Some(batch));
            }
            if self.reached >= end {
                continue;
            }
            let open = match self.open.take() {
                Some(open) => Some(open),
                None => self.open()?,
            };
            let read = match open {
                None => continue,
                Some(Open::Segment(mut segment)) => {
                    let read = segment.next(&self.history, &self.scan, (self.reached, end))?;
                    self.open = read.is_some().then_some(Open::Segment(segment));
                    read
                }
                Some(Open::File(mut file)) => {
                    let read = file.next(&self.history, &self.scan, (self.reached, end))?;
                    if read.is_some() {
                        self.open = Some(Open::File(file));
                    } else if self.history.places.read().of(following(self.reached)).is_file(file.number()) {
                        return Err(file.damaged("events up to the tail"));
                    }
                    read
                }
            };
            if let Some(Decoded { batch, place }) = read
                && self.leave(place, batch.reached)
            {
                return Ok(Some(batch));
            }
        }
        Ok(self.stand_at_tail())
    }
}
