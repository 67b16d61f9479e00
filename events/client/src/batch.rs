//! Some events on their way: the body of one request.

/// Events with consecutive numbers, as lines of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The number of the event before the first one.
    after: u64,
    body: Vec<u8>,
    /// The ends of the lines, without their line feeds.
    ends: Vec<usize>,
}

impl Batch {
    /// An empty one.
    pub(crate) fn after(after: u64) -> Self {
        Self { after, body: Vec::new(), ends: Vec::new() }
    }

    pub(crate) fn push(&mut self, line: &[u8]) {
        self.body.extend_from_slice(line);
        self.ends.push(self.body.len());
        self.body.push(b'\n');
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The lines, as NDJSON.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.after + self.ends.len() as u64
    }

    /// An event by its place, from 0.
    pub(crate) fn line(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] + 1);
        std::str::from_utf8(&self.body[start..end]).ok()
    }

    /// The first half, at least one event.
    pub(crate) fn first_half(&self) -> Self {
        let mut half = Self::after(self.after);
        for index in 0..self.len().div_ceil(2) {
            half.push(self.line(index).unwrap_or_default().as_bytes());
        }
        half
    }
}
