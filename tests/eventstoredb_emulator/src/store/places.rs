//! The places of a stream's events in the log. Most streams of the tests have one event, which needs no memory of its
//! own.

/// Places, in order.
#[derive(Debug)]
pub(super) enum Places {
    /// The only one.
    One(u32),
    /// Several, or none.
    Several(Vec<u32>),
}

impl Places {
    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Several(places) => places,
        }
    }

    pub(super) fn push(&mut self, place: u32) {
        match self {
            Self::One(first) => *self = Self::Several(vec![*first, place]),
            Self::Several(places) => places.push(place),
        }
    }

    pub(super) fn retain(&mut self, keeps: impl Fn(&u32) -> bool) {
        *self = Self::Several(self.as_slice().iter().copied().filter(|place| keeps(place)).collect());
    }
}
