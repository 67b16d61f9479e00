//! Names back to back in one buffer: four bytes a reference, one byte of length, no allocation per name.

use crate::touch::touch;

/// The place of a name, in units of [`ALIGN`] bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextRef(u32);

impl TextRef {
    /// The one that is this number.
    pub(super) fn new(number: u32) -> Self {
        Self(number)
    }

    pub(super) fn get(self) -> u32 {
        self.0
    }

    /// The byte at which the name begins.
    pub(super) fn start(self) -> usize {
        self.0 as usize * ALIGN
    }
}

/// Names begin at multiples of this, so that four bytes reach 16 GiB.
const ALIGN: usize = 4;

#[derive(Debug, Default)]
pub(super) struct TextArena(Vec<u8>);

impl TextArena {
    /// Bytes that the longest name takes.
    pub(super) const LEN_MAX: u64 = 256;

    /// Bytes that a name takes.
    pub(super) fn len_of(name: &str) -> u64 {
        (1 + name.len()).next_multiple_of(ALIGN) as u64
    }

    /// Adds a name of at most 255 bytes.
    ///
    /// # Panics
    /// If it is longer, or the arena holds 16 GiB.
    pub(super) fn add(&mut self, name: &str) -> TextRef {
        let start = self.0.len();
        self.0.push(u8::try_from(name.len()).expect("a stored name has at most 255 bytes"));
        self.0.extend_from_slice(name.as_bytes());
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
        TextRef(u32::try_from(start / ALIGN).expect("names fill less than 16 GiB"))
    }

    /// Makes room for names of so many bytes.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// Bytes in use.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All names, as they stand.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds names as they stood in another arena behind those that are here.
    pub(super) fn append(&mut self, names: &[u8]) {
        self.0.extend_from_slice(names);
    }

    /// The name that was added.
    pub(super) fn get(&self, at: TextRef) -> &str {
        std::str::from_utf8(self.bytes(at)).expect("names are added as UTF-8")
    }

    /// Reads both ends of each of these names, given their lengths.
    pub(super) fn touch(&self, names: impl Iterator<Item = (TextRef, usize)>) {
        let ends = |(at, len): (TextRef, usize)| {
            let last = self.0.get(at.start() + len).copied().unwrap_or(0);
            u64::from(self.0[at.start()]) + u64::from(last)
        };
        touch(names.map(ends));
    }

    /// True if this name was added at this place.
    pub(super) fn is(&self, at: TextRef, name: &str) -> bool {
        self.bytes(at) == name.as_bytes()
    }

    fn bytes(&self, at: TextRef) -> &[u8] {
        let start = at.start();
        let len = usize::from(self.0[start]);
        &self.0[start + 1..][..len]
    }
}
