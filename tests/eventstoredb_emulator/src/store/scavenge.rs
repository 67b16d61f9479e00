//! Scavenging: removes the events that readers of their streams no longer see. The last event of a stream stays.
//! A removed event leaves its position, so that readers can start there.

use std::sync::Arc;

use hashbrown::HashSet;

use super::Store;
use super::read::{is_young, lowest_revision};
use crate::record::{Body, METADATA_PREFIX, Record, Ticks};

impl Store {
    /// Removes them; returns the places of the removed records, in order.
    pub(crate) fn scavenge(&mut self, now: Ticks) -> Vec<usize> {
        let mut removed: Vec<usize> = Vec::new();
        for stream in self.streams.keys() {
            removed.extend(self.removable(stream, now));
        }
        removed.sort_unstable();
        let mut touched = HashSet::new();
        for place in &removed {
            let record = &self.log[*place];
            touched.extend(record.event().map(|event| Arc::clone(&event.stream)));
            self.log[*place] = Arc::new(Record { position: record.position, body: Body::Removed });
        }
        let log = &self.log;
        for stream in touched {
            if let Some(places) = self.streams.get_mut(&stream) {
                places.retain(|place| log[*place as usize].event().is_some());
                if places.as_slice().is_empty() {
                    self.streams.remove(&stream);
                }
            }
        }
        removed
    }

    /// Places of the committed events of `stream` that nobody reads.
    fn removable(&self, stream: &str, now: Ticks) -> Vec<usize> {
        let places = self.places(stream, self.committed);
        let Some((last, others)) = places.split_last() else { return Vec::new() };
        let is_ended = self.is_tombstoned(stream, self.committed);
        let of_ended =
            stream.strip_prefix(METADATA_PREFIX).is_some_and(|of| self.is_tombstoned(of, self.committed));
        let metadata = self.metadata(stream);
        let lowest = lowest_revision(&metadata, self.revision_at(*last));
        let is_unread = |place: &&u32| {
            let record = self.event_at(**place);
            is_ended || self.revision_at(**place) < lowest || !is_young(&metadata, record, now)
        };
        let mut removable: Vec<usize> =
            others.iter().filter(is_unread).map(|place| *place as usize).collect();
        if of_ended {
            removable.push(*last as usize);
        }
        removable
    }
}
