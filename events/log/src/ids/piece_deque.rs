//! A list in pieces of one length: it grows at its end and shrinks at both without moving what is in it.

use std::ops::{Index, IndexMut};

/// Items from first to last, in pieces of `LEN`, a power of two.
#[derive(Debug)]
pub(super) struct PieceDeque<T, const LEN: usize> {
    pieces: Vec<Vec<T>>,
    /// Items at the start of the first piece that were taken off.
    gone: usize,
    len: usize,
    /// A piece that became empty, for the next one.
    spare: Vec<T>,
}

impl<T, const LEN: usize> Default for PieceDeque<T, LEN> {
    fn default() -> Self {
        const { assert!(LEN.is_power_of_two()) }
        Self { pieces: Vec::new(), gone: 0, len: 0, spare: Vec::new() }
    }
}

impl<T: Copy, const LEN: usize> PieceDeque<T, LEN> {
    /// Number of items.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds an item at the end.
    pub(super) fn push(&mut self, item: T) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < LEN => last.push(item),
            _ => {
                let mut piece = std::mem::take(&mut self.spare);
                piece.reserve_exact(LEN);
                piece.push(item);
                self.pieces.push(piece);
            }
        }
        self.len += 1;
    }

    /// Takes the last item off.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        let last = self.pieces.last_mut()?;
        let item = last.pop();
        if last.is_empty() || self.len == 0 {
            self.spare = self.pieces.pop().unwrap_or_default();
            self.spare.clear();
            self.gone = if self.pieces.is_empty() { 0 } else { self.gone };
        }
        item
    }

    /// Takes the first item off. `false`: there is none.
    pub(super) fn drop_first(&mut self) -> bool {
        let Some(len) = self.len.checked_sub(1) else { return false };
        (self.len, self.gone) = (len, self.gone + 1);
        if self.gone == LEN || len == 0 {
            self.spare = self.pieces.remove(0);
            self.spare.clear();
            self.gone = 0;
        }
        true
    }

    /// All items in order.
    #[cfg(test)]
    fn iter(&self) -> impl Iterator<Item = T> {
        (0..self.len).map(|at| self[at])
    }
}

impl<T, const LEN: usize> Index<usize> for PieceDeque<T, LEN> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        let at = at + self.gone;
        &self.pieces[at / LEN][at % LEN]
    }
}

impl<T, const LEN: usize> IndexMut<usize> for PieceDeque<T, LEN> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        let at = at + self.gone;
        &mut self.pieces[at / LEN][at % LEN]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_queue_with_two_ends(steps in prop::collection::vec((0_u8..5, 1_usize..12), 0..80)) {
            let mut pieces = PieceDeque::<u32, 4>::default();
            let mut model = VecDeque::new();
            let mut next = 0;
            for (step, times) in steps {
                for _ in 0..times {
                    match step {
                        0 => prop_assert_eq!(pieces.pop(), model.pop_back()),
                        1 => prop_assert_eq!(pieces.drop_first(), model.pop_front().is_some()),
                        _ => {
                            pieces.push(next);
                            model.push_back(next);
                            next += 1;
                        }
                    }
                }
                prop_assert_eq!(pieces.len(), model.len());
                prop_assert!(pieces.iter().eq(model.iter().copied()));
                prop_assert!(pieces.pieces.len() <= model.len() / 4 + 2);
                for at in 0..model.len() {
                    pieces[at] += 1_000;
                    model[at] += 1_000;
                }
            }
        }
    }
}
