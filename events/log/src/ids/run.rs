//! A run: the digests of all records at a range of positions, sorted, on disk. FORMAT.md "Ids".
//!
//! ```text
//! page 0        the head
//! filter        over the upper halves of the digests
//! digests       ascending, 85 a page
//! fences        the upper half of the first digest of each of those pages, 127 a page
//! ```
//!
//! To look for a digest is a look into the filter, and where that has it, a search among the fences, which are in memory,
//! and in one page.

use std::io;
use std::sync::{Arc, OnceLock};

use lastseen_store::{Corruption, LogId, ReadError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, Held};
use crate::codec::Cursor;
use crate::damage::{Malformed, corruption};
use crate::disk::aside::Aside;
use crate::disk::{Disk, DiskFile, StepError, SyncSite};
use crate::filter::{self, Block, Filter, Shape};
use crate::identity::{Digest, DigestSum};
use crate::pages::{CONTENT_LEN, PAGE_LEN, PageWriter, Pages};
use crate::place::Place;
use crate::segment::entry::Span;

/// The folder of the runs.
pub(crate) const DIR: &str = "ids";

/// Ends the name of a run.
const SUFFIX: &str = ".ids";

const MAGIC: [u8; 8] = *b"LSTNIDS\0";
const VERSION: u32 = 2;

const PAGE_DIGESTS: u64 = (CONTENT_LEN / Digest::LEN) as u64;
const PAGE_FENCES: u64 = (CONTENT_LEN / 8) as u64;

/// A run as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunEntry {
    /// Of the first and the last of its records.
    pub(crate) positions: [u64; 2],
    /// Least and greatest `occurred_at`.
    pub(crate) occurred: Span,
    /// Drawn when the file was made: tells it from another of the same positions.
    pub(crate) mark: u64,
}

impl RunEntry {
    /// Its path; positions are in no two runs.
    pub(crate) fn path(&self) -> String {
        path(self.positions)
    }

    pub(crate) fn first(&self) -> Place {
        Place::new(self.positions[0])
    }

    pub(crate) fn last(&self) -> Place {
        Place::new(self.positions[1])
    }

    /// Records in it: one at each place.
    pub(crate) fn records(&self) -> u64 {
        self.positions[1] + 1 - self.positions[0]
    }

    fn layout(&self) -> Layout {
        Layout::of(self.records())
    }

    /// The length of its file in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.layout().pages * PAGE_LEN as u64
    }

    fn head(&self, log_id: LogId) -> Vec<u8> {
        let mut head = Vec::with_capacity(64);
        head.extend(MAGIC);
        head.extend(VERSION.to_le_bytes());
        head.extend(log_id.to_bytes());
        head.extend(self.positions[0].to_le_bytes());
        head.extend(self.positions[1].to_le_bytes());
        head.extend(self.mark.to_le_bytes());
        head
    }
}

/// The pages of each part of a run.
#[derive(Clone, Copy)]
struct Layout {
    filter: Shape,
    /// The first page of the digests.
    digests: u64,
    /// The first page of the fences.
    fences: u64,
    /// All pages.
    pages: u64,
}

impl Layout {
    fn of(records: u64) -> Self {
        let filter = Shape::for_numbers(records);
        let digests = 1 + filter.pages();
        let fences = digests + records.div_ceil(PAGE_DIGESTS);
        Self { filter, digests, fences, pages: fences + (fences - digests).div_ceil(PAGE_FENCES) }
    }
}

/// A run that is open.
pub(crate) struct Run {
    pub(crate) entry: RunEntry,
    pages: Pages,
    layout: Layout,
    /// The upper half of the first digest of each page.
    fences: OnceLock<Vec<u64>>,
    /// The filter in memory, once there was room for it.
    filter: OnceLock<(Filter, Held)>,
    /// Held by the one who reads the filter.
    reading: Mutex<()>,
    budget: Arc<Budget>,
}

impl Run {
    /// Opens the run and reads its head.
    ///
    /// # Errors
    /// [`ReadError`]; a file that is missing, or not the one the manifest names, is damage.
    pub(crate) fn open(
        disk: &dyn Disk,
        entry: RunEntry,
        is_of_log: impl Fn(LogId) -> bool,
        budget: Arc<Budget>,
    ) -> Result<Self, ReadError> {
        let named = "the ids that the manifest names";
        let (pages, layout) = (Pages::open(disk, entry.path(), named)?, entry.layout());
        let size = pages.size()?;
        if size != entry.bytes() {
            let (offset, expected) = (size.min(entry.bytes()), format!("{} bytes", entry.bytes()));
            return Err(corruption(pages.path(), offset, expected, size.to_string()).into());
        }
        let run = Self {
            entry,
            pages,
            layout,
            fences: OnceLock::new(),
            filter: OnceLock::new(),
            reading: Mutex::default(),
            budget,
        };
        let mut page = [0; PAGE_LEN];
        let head = run.pages.read(0, &mut page)?;
        let log_id = log_id_in(head).map_err(|Malformed| run.pages.damaged(0, "another head"))?;
        let expected = run.entry.head(log_id);
        if head.starts_with(&expected) && is_of_log(log_id) {
            Ok(run)
        } else {
            Err(corruption(run.pages.path(), 0, named, "ids of other records").into())
        }
    }

    /// Looks for digests, ascending, each with a number of its asker's. Calls `found` with the number of each that is here.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn find(
        &self,
        digests: &[(Digest, usize)],
        mut found: impl FnMut(usize),
    ) -> Result<(), ReadError> {
        /// Digests whose places in the filter are read at once.
        const AT_ONCE: usize = 64;
        let filter = self.filter()?;
        let mut open = OpenPage { number: None, page: [0; PAGE_LEN] };
        for digests in digests.chunks(AT_ONCE) {
            if let Some(filter) = filter {
                filter.touch(digests.iter().map(|(digest, _)| digest.high));
            }
            for &(digest, asker) in digests {
                let may_be_here = match filter {
                    Some(filter) => filter.may_have(digest.high),
                    None => filter::may_have_on_disk(self.layout.filter, &self.pages, 1, digest.high)?,
                };
                if may_be_here && self.has(digest, &mut open)? {
                    found(asker);
                }
            }
        }
        Ok(())
    }

    /// Bytes of its filter and its fences, as far as they are in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let filter = self.filter.get().map_or(0, |(_, held)| held.bytes());
        filter + self.fences.get().map_or(0, |fences| fences.len() as u64 * 8)
    }

    /// The filter in memory; `None` where there is no room for it. Whoever wants it meanwhile waits for the one who reads it.
    fn filter(&self) -> Result<Option<&Filter>, ReadError> {
        if let Some((filter, _)) = self.filter.get() {
            return Ok(Some(filter));
        }
        let _reading = self.reading.lock();
        if let Some((filter, _)) = self.filter.get() {
            return Ok(Some(filter));
        }
        let shape = self.layout.filter;
        let Some(held) = self.budget.take(shape.bytes()) else { return Ok(None) };
        let read = Filter::read(shape, &self.pages, 1)?;
        Ok(Some(&self.filter.get_or_init(|| (read, held)).0))
    }

    fn fences(&self) -> Result<&[u64], ReadError> {
        if let Some(fences) = self.fences.get() {
            return Ok(fences);
        }
        let count = usize::try_from(self.layout.fences - self.layout.digests).unwrap_or(usize::MAX);
        let mut fences = Vec::with_capacity(count);
        self.pages.read_all(self.layout.fences..self.layout.pages, |content| {
            let left = count - fences.len();
            fences.extend(content.as_chunks().0.iter().take(left).map(|bytes| u64::from_le_bytes(*bytes)));
        })?;
        if fences.len() != count || !fences.is_sorted() {
            return Err(self.pages.damaged(self.layout.fences, "fences out of order").into());
        }
        Ok(self.fences.get_or_init(|| fences))
    }

    /// Searches the page that has the digest, if any has.
    fn has(&self, digest: Digest, open: &mut OpenPage) -> Result<bool, ReadError> {
        let fences = self.fences()?;
        // The last page that begins below, and those after it that begin with the same upper half.
        let first = fences_below(fences, digest.high).saturating_sub(1);
        let pages = fences.iter().enumerate().skip(first).take_while(|(_, fence)| **fence <= digest.high);
        for (page, _) in pages {
            let number = page as u64;
            let content = open.read(&self.pages, self.layout.digests + number)?;
            let left = self.entry.records() - number * PAGE_DIGESTS;
            let count = usize::try_from(left.min(PAGE_DIGESTS)).unwrap_or(0);
            let digests = content.as_chunks::<{ Digest::LEN }>().0.get(..count).unwrap_or_default();
            if digests.binary_search_by(|bytes| Digest::from_bytes(*bytes).cmp(&digest)).is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All digests, ascending.
    pub(crate) fn digests(&self) -> Digests<'_> {
        Digests {
            run: self,
            next_page: self.layout.digests,
            left: self.entry.records(),
            read: Vec::new().into_iter(),
            last: None,
        }
    }

    /// Reads everything and compares it with the sum of the digests that should be in it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn verify(&self, expected: DigestSum) -> Result<Option<Corruption>, ReadError> {
        let filter = Filter::read(self.layout.filter, &self.pages, 1)?;
        let mut fences = self.fences()?.iter();
        let (mut sum, mut is_whole) = (DigestSum::default(), true);
        for (at, digest) in (0..).zip(self.digests()) {
            let digest = digest?;
            sum.add(digest);
            is_whole &= filter.may_have(digest.high);
            if at % PAGE_DIGESTS == 0 {
                is_whole &= fences.next() == Some(&digest.high);
            }
        }
        let is_sound = is_whole && sum == expected;
        let place = || corruption(self.pages.path(), 0, "the ids of the records in the segments", "others");
        Ok((!is_sound).then(place))
    }
}

/// The number of fences below `high`. Digests are hashes, so where that is, is nearly known: the search costs the logarithm of how
/// far off the guess is.
fn fences_below(fences: &[u64], high: u64) -> usize {
    /// Fences of a cache line.
    const NEAR: usize = 8;
    let guess = (u128::from(high) * fences.len() as u128) >> 64;
    let guess = usize::try_from(guess).unwrap_or(0);
    let steps = || std::iter::successors(Some(NEAR), |step| Some(step * 2));
    let is_below = |at: usize| fences.get(at).is_none_or(|fence| *fence < high);
    let mut from = steps().map(|step| guess.saturating_sub(step));
    let from = from.find(|from| from.checked_sub(1).is_none_or(is_below)).unwrap_or(0);
    let mut until = steps().map(|step| fences.len().min(guess + step));
    let until = until.find(|until| fences.get(*until).is_none_or(|fence| *fence >= high)).unwrap_or(from);
    from + fences.get(from..until).unwrap_or_default().partition_point(|fence| *fence < high)
}

/// A page that is in memory.
struct OpenPage {
    number: Option<u64>,
    page: [u8; PAGE_LEN],
}

impl OpenPage {
    /// The content of the page with this number, read unless it was the last.
    fn read(&mut self, pages: &Pages, number: u64) -> Result<&[u8], ReadError> {
        if self.number != Some(number) {
            self.number = None;
            pages.read(number, &mut self.page)?;
            self.number = Some(number);
        }
        Ok(&self.page[..CONTENT_LEN])
    }
}

/// The path of the run with this name, and its last place; `None` for other files.
pub(crate) fn reach_of(name: &str) -> Option<(String, Place)> {
    let (first, last) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let path = path([first.parse().ok()?, last.parse().ok()?]);
    (path == format!("{DIR}/{name}")).then(|| (path, Place::new(last.parse().unwrap_or(0))))
}

fn path([first, last]: [u64; 2]) -> String {
    format!("{DIR}/{first:020}-{last:020}{SUFFIX}")
}

/// The log that wrote a run, by its head.
pub(crate) fn log_id_in(head: &[u8]) -> Result<LogId, Malformed> {
    let mut cursor = Cursor::new(head);
    if cursor.array() == Ok(MAGIC) && cursor.u32()? == VERSION {
        Ok(LogId::from_bytes(cursor.array()?))
    } else {
        Err(Malformed)
    }
}

/// Iterates over the digests of a run; reads many pages at a time. Digests out of order are damage.
pub(crate) struct Digests<'a> {
    run: &'a Run,
    next_page: u64,
    /// Digests that are not read yet.
    left: u64,
    read: std::vec::IntoIter<Digest>,
    last: Option<Digest>,
}

impl Digests<'_> {
    /// Reads the next pages.
    fn fill(&mut self) -> Result<(), ReadError> {
        const PAGES: u64 = 16;
        let pages = self.next_page..self.run.layout.fences.min(self.next_page + PAGES);
        let mut read = Vec::with_capacity(usize::try_from(PAGES * PAGE_DIGESTS).unwrap_or(0));
        self.run.pages.read_all(pages.clone(), |content| {
            let count = usize::try_from(self.left.min(PAGE_DIGESTS)).unwrap_or(0);
            read.extend(content.as_chunks().0.iter().take(count).map(|bytes| Digest::from_bytes(*bytes)));
            self.left -= count as u64;
        })?;
        if !read.is_sorted() || self.last.is_some_and(|last| read.first().is_some_and(|first| *first < last))
        {
            return Err(self.run.pages.damaged(pages.start, "ids out of order").into());
        }
        self.last = read.last().copied();
        (self.next_page, self.read) = (pages.end, read.into_iter());
        Ok(())
    }
}

impl Iterator for Digests<'_> {
    type Item = Result<Digest, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read.len() == 0
            && self.left > 0
            && let Err(error) = self.fill()
        {
            self.left = 0;
            return Some(Err(error));
        }
        self.read.next().map(Ok)
    }
}

/// Writes a run of digests that come ascending, as many as its entry says, aside and durably.
///
/// # Errors
/// [`WriteError`].
///
/// # Panics
/// If there are more or fewer digests.
pub(crate) fn write(
    disk: &dyn Disk,
    entry: &RunEntry,
    log_id: LogId,
    digests: impl Iterator<Item = Result<Digest, ReadError>>,
) -> Result<(), WriteError> {
    let (path, mut unreadable) = (entry.path(), None);
    let aside = Aside::make(disk, &path, SyncSite::Ids, |file| {
        let mut head = PageWriter::new(file, 0);
        head.push(&entry.head(log_id))?;
        head.finish()?;
        let mut writer = RunWriter::new(file, entry.layout());
        for digest in digests {
            match digest {
                Ok(digest) => writer.push(digest)?,
                Err(error) => {
                    unreadable = Some(error);
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        writer.finish(entry)
    });
    match (aside, unreadable) {
        (_, Some(error)) => Err(WriteError::Read(error)),
        (aside, None) => Ok(aside?.put().map(drop).map_err(StepError::Refused)?),
    }
}

/// Why a run was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The runs that it is made of cannot be read.
    Read(ReadError),
    /// A step on disk was not done.
    Step(StepError),
}

impl From<StepError> for WriteError {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

/// Takes the digests of a run, ascending, and writes its parts beside each other.
struct RunWriter<'a> {
    layout: Layout,
    filter: PageWriter<'a>,
    digests: PageWriter<'a>,
    fences: PageWriter<'a>,
    /// The block of the filter that is being filled, and its number.
    block: (u32, Block),
    count: u64,
}

impl<'a> RunWriter<'a> {
    fn new(file: &'a dyn DiskFile, layout: Layout) -> Self {
        Self {
            layout,
            filter: PageWriter::new(file, 1),
            digests: PageWriter::new(file, layout.digests),
            fences: PageWriter::new(file, layout.fences),
            block: (0, [0; 8]),
            count: 0,
        }
    }

    /// Adds a digest that is not below the one before.
    ///
    /// # Errors
    /// The disk's answer.
    fn push(&mut self, digest: Digest) -> io::Result<()> {
        if self.digests.push(&digest.to_bytes())? {
            self.fences.push(&digest.high.to_le_bytes())?;
        }
        let number = self.layout.filter.block_of(digest.high);
        self.go_to_block(number)?;
        self.block.1.iter_mut().zip(filter::mask(digest.high)).for_each(|(word, bit)| *word |= bit);
        self.count += 1;
        Ok(())
    }

    fn go_to_block(&mut self, number: u32) -> io::Result<()> {
        while self.block.0 < number {
            self.filter.push(&filter::to_bytes(&self.block.1))?;
            self.block = (self.block.0 + 1, [0; 8]);
        }
        Ok(())
    }

    fn finish(mut self, entry: &RunEntry) -> io::Result<()> {
        assert_eq!(self.count, entry.records(), "a run has one digest for each place");
        self.go_to_block(self.layout.filter.blocks)?;
        let ends = (self.filter.finish()?, self.digests.finish()?, self.fences.finish()?);
        assert_eq!(ends, (self.layout.digests, self.layout.fences, self.layout.pages), "the layout of a run");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Also where numbers are spread as no hashes are.
        #[test]
        fn a_search_from_a_guess_finds_what_a_search_finds(
            mut fences in prop::collection::vec(prop_oneof![0..60_u64, any::<u64>()], 0..90),
            highs in prop::collection::vec(prop_oneof![0..64_u64, any::<u64>()], 0..20),
        ) {
            fences.sort_unstable();
            for high in fences.iter().copied().chain(highs) {
                prop_assert_eq!(fences_below(&fences, high), fences.partition_point(|fence| *fence < high));
            }
        }
    }
}
