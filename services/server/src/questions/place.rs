//! The place of a row in a sorted list.

/// Everything that the order of a list looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// A count, or an instant in microseconds since 1970. `None`: the list is sorted by name, or the row has none.
    pub(crate) key: Option<i64>,
    /// Decides between equal keys.
    pub(crate) name: String,
    /// Decides between equal names; empty where names differ.
    pub(crate) of: String,
}
