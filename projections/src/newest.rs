//! The greatest counted last seen of a tenant, kept without looking at its other members.

use lastseen_event::UtcInstant;

/// An upper bound of the instants in a set that changes, usually the greatest itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newest {
    /// `None`: the set is empty.
    bound: Option<UtcInstant>,
    /// Whether the bound is in the set. It is not once the greatest has left: to find the next one takes a pass.
    exact: bool,
}

impl Newest {
    /// The bound of a set whose greatest instant is known.
    pub(crate) fn exactly(greatest: Option<UtcInstant>) -> Self {
        Self { bound: greatest, exact: true }
    }

    /// In the set, `from` was replaced by `to`; `None` is no instant.
    pub(crate) fn replace(&mut self, from: Option<UtcInstant>, to: Option<UtcInstant>) {
        if to >= self.bound {
            *self = Self::exactly(to);
        } else if from == self.bound {
            self.exact = false;
        }
    }

    /// Whether the bound is the greatest instant itself.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether some instant is `since` or later; `search` looks for one where the bound does not tell.
    pub(crate) fn reaches(&self, since: UtcInstant, search: impl FnOnce() -> bool) -> bool {
        self.bound.is_some_and(|bound| bound >= since) && (self.exact || search())
    }
}

impl Default for Newest {
    fn default() -> Self {
        Self::exactly(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_needed_only_after_the_greatest_has_left() {
        let [one, three, four, five, six, seven] =
            [1, 3, 4, 5, 6, 7].map(|micros| Some(UtcInstant::from_micros(micros)));
        // A set in which 5 is the greatest, and an unknown number of lesser ones.
        for (from, to, exact) in [
            (three, four, true),
            (three, None, true),
            (three, five, true),
            (five, six, true),
            (None, one, true),
            (five, four, false),
            (five, None, false),
        ] {
            let mut newest = Newest::exactly(five);
            newest.replace(from, to);
            assert_eq!(newest.is_exact(), exact, "{from:?} to {to:?}");
            assert!(!newest.reaches(seven.unwrap(), || panic!("the bound tells")));
            // Whatever reaches the bound is the greatest again.
            newest.replace(None, five.max(to));
            assert!(newest.is_exact());
        }
    }
}
