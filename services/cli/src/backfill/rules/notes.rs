//! The assumptions about rows, counted: nothing is taken for something else without a word.

/// Counts of assumptions. Those of a row count once the row is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// Instants without an offset: they were read as of a zone.
    pub(crate) without_offset: u64,
    /// Of those, the ones that the clocks of the zone showed twice: the first time was taken.
    pub(crate) shown_twice: u64,
    /// Dates alone that were read as their first instant.
    pub(crate) dates_first: u64,
    /// Dates alone that were read as their last instant.
    pub(crate) dates_last: u64,
    /// Dates alone of days that are not over, where the last instant is meant: their first instant was taken.
    pub(crate) dates_running: u64,
    /// Ids that look as if a spreadsheet had damaged them.
    pub(crate) damaged_ids: u64,
    /// One of them, and its line.
    pub(crate) damaged_example: Option<(u64, String)>,
    /// Creations at the instant that was given for rows without one.
    pub(crate) created_given: u64,
    /// Creations at the earliest other instant of the row.
    pub(crate) created_earliest: u64,
    /// Deletions without an instant of their own, at the last change of the row.
    pub(crate) deleted_at_change: u64,
    /// Deletions without an instant of their own, at the start of the run.
    pub(crate) deleted_at_start: u64,
    /// Estimates at the last change of the row.
    pub(crate) estimates_at_change: u64,
    /// Estimates at the creation, as the row tells of no change.
    pub(crate) estimates_at_creation: u64,
    /// Confirmed users without an estimate, as the row says that they were never seen.
    pub(crate) unseen: u64,
    /// Confirmed users without an estimate, as the row has no instant of its own.
    pub(crate) without_instant: u64,
}

impl Notes {
    pub(crate) fn add(&mut self, other: &Self) {
        self.without_offset += other.without_offset;
        self.shown_twice += other.shown_twice;
        self.dates_first += other.dates_first;
        self.dates_last += other.dates_last;
        self.dates_running += other.dates_running;
        self.damaged_ids += other.damaged_ids;
        if self.damaged_example.is_none() {
            self.damaged_example.clone_from(&other.damaged_example);
        }
        self.created_given += other.created_given;
        self.created_earliest += other.created_earliest;
        self.deleted_at_change += other.deleted_at_change;
        self.deleted_at_start += other.deleted_at_start;
        self.estimates_at_change += other.estimates_at_change;
        self.estimates_at_creation += other.estimates_at_creation;
        self.unseen += other.unseen;
        self.without_instant += other.without_instant;
    }
}
