//! An array over ordinals whose memory comes in pages: it grows without moving what it holds, and a page that
//! nobody wrote to costs one pointer.

/// Slots in one page.
const PAGE_SLOTS: usize = 1024;

/// An array with a slot for every index, which holds `T::default()` until it is written to.
#[derive(Debug, Default)]
pub(crate) struct Paged<T> {
    pages: Vec<Option<Box<[T]>>>,
}

impl<T: Copy + Default> Paged<T> {
    /// The content of a slot.
    pub(crate) fn get(&self, index: usize) -> T {
        match self.pages.get(index / PAGE_SLOTS) {
            Some(Some(page)) => page[index % PAGE_SLOTS],
            Some(None) | None => T::default(),
        }
    }

    /// The slot for writing; makes its page.
    pub(crate) fn slot(&mut self, index: usize) -> &mut T {
        let number = index / PAGE_SLOTS;
        if number >= self.pages.len() {
            self.pages.resize_with(number + 1, || None);
        }
        let page =
            self.pages[number].get_or_insert_with(|| vec![T::default(); PAGE_SLOTS].into_boxed_slice());
        &mut page[index % PAGE_SLOTS]
    }

    /// The end of the last page.
    pub(crate) fn slots(&self) -> usize {
        self.pages.len() * PAGE_SLOTS
    }

    /// Bytes of the pages that were written to.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.iter().flatten().count() * PAGE_SLOTS * size_of::<T>()
    }

    /// Every slot of every page that was written to, in order; the untouched neighbours are among them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        self.pages.iter().flatten().flat_map(|page| page.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_is_the_default_and_costs_no_page() {
        let mut array = Paged::default();
        *array.slot(5 * PAGE_SLOTS + 7) = 3_u32;
        assert_eq!(array.get(5 * PAGE_SLOTS + 7), 3);
        assert_eq!([array.get(0), array.get(5 * PAGE_SLOTS), array.get(usize::MAX)], [0; 3]);
        assert_eq!(array.pages.iter().flatten().count(), 1);
        assert_eq!(array.iter().filter(|&slot| slot > 0).collect::<Vec<_>>(), [3]);
    }
}
