//! Connections that were not served, counted, and told to the log once a minute at most.

use std::time::Duration;

use tokio::time::Instant;

const SAY_EVERY: Duration = Duration::from_mins(1);

/// Counts since they were told last.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: Counts,
    last_error: Option<std::io::Error>,
    said_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Closed at once, or served health only: all seats were taken.
    refused: u64,
    /// Idle ones that were closed to admit others.
    made_room: u64,
    /// Connections that the system did not hand over.
    not_accepted: u64,
}

impl Refusals {
    pub(super) fn refused(&mut self) {
        self.counts.refused += 1;
    }

    pub(super) fn made_room(&mut self) {
        self.counts.made_room += 1;
    }

    pub(super) fn not_accepted(&mut self, error: std::io::Error) {
        self.counts.not_accepted += 1;
        self.last_error = Some(error);
    }

    /// Returns when the counts are to be told, at `now` or later; `None` if there is nothing to tell.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let is_new = self.counts != Counts::default();
        is_new.then(|| self.said_at.map_or(now, |said_at| now.max(said_at + SAY_EVERY)))
    }

    /// Tells the counts and begins again.
    pub(super) fn tell(&mut self, now: Instant) {
        let Counts { refused, made_room, not_accepted } = std::mem::take(&mut self.counts);
        self.said_at = Some(now);
        if refused + made_room > 0 {
            tracing::warn!(
                refused,
                closed_idle = made_room,
                "more connections than --connections-max: idle ones made room, others were refused"
            );
        }
        if let Some(error) = self.last_error.take() {
            tracing::warn!(connections = not_accepted, %error, "cannot accept connections");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_at_once_and_then_once_a_minute() {
        let mut refusals = Refusals::default();
        let first = Instant::now();
        assert_eq!(refusals.due(first), None, "there is nothing to tell");
        refusals.refused();
        assert_eq!(refusals.due(first), Some(first));
        refusals.tell(first);
        assert_eq!((refusals.counts, refusals.due(first)), (Counts::default(), None));
        refusals.made_room();
        let later = first + Duration::from_secs(1);
        assert_eq!(refusals.due(later), Some(first + SAY_EVERY));
        refusals.not_accepted(std::io::Error::other("no descriptors"));
        let later = first + 2 * SAY_EVERY;
        assert_eq!(refusals.due(later), Some(later));
    }
}
