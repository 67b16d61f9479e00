//! The ids that a leader remembers of late: the weak class of idempotency. Bounded, in memory only; a restart and
//! a new leader begin with none.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use uuid::Uuid;

/// Bytes of the whole cache.
pub const RECENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of an entry beside the name of its stream.
const ENTRY_BYTES: usize = 28;

/// Bytes of a character of the name of a stream.
const CHARACTER_BYTES: usize = 2;

/// Ids to the records that have them. The oldest leave first.
#[derive(Debug)]
pub(crate) struct RecentIds {
    places: HashMap<Uuid, Place>,
    order: VecDeque<Uuid>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Place {
    stream: Arc<str>,
    index: usize,
}

fn cost(stream: &str) -> usize {
    ENTRY_BYTES + CHARACTER_BYTES * stream.chars().count()
}

impl RecentIds {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { places: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Remembers `id` for the record at `index`. An id that is remembered already keeps its first record.
    pub(crate) fn insert(&mut self, id: Uuid, stream: Arc<str>, index: usize) {
        let Entry::Vacant(vacant) = self.places.entry(id) else { return };
        self.bytes += cost(&stream);
        self.order.push_back(id);
        vacant.insert(Place { stream, index });
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
            && let Some(place) = self.places.remove(&oldest)
        {
            self.bytes -= cost(&place.stream);
        }
    }

    /// The record in `stream` that has `id`. `None` as well if the id was first used in another stream.
    pub(crate) fn find(&self, stream: &str, id: Uuid) -> Option<usize> {
        self.places.get(&id).filter(|place| &*place.stream == stream).map(|place| place.index)
    }

    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.order.clear();
        self.bytes = 0;
    }
}
