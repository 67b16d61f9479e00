//! Metadata of a stream: limits on what readers of the stream see, and the users that may read and write it.

use serde_json::Value;

use crate::record::Ticks;

/// The parts of a stream's metadata that a server acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamMetadata {
    /// `$tb`: events below this revision are not read.
    pub(crate) truncate_before: Option<i64>,
    /// `$maxAge`: older events are not read.
    pub(crate) max_age: Option<Ticks>,
    /// `$maxCount`: only so many newest events are read.
    pub(crate) max_count: Option<i64>,
    /// `$acl`.`$r`: users and groups that may read.
    pub(crate) readers: Option<Vec<String>>,
    /// `$acl`.`$w`: users and groups that may append.
    pub(crate) writers: Option<Vec<String>>,
}

impl StreamMetadata {
    /// `$tb` of a soft-deleted stream.
    pub(crate) const DELETED: i64 = i64::MAX;

    /// Reads the text of an event of type `$metadata`. Anything that is no metadata counts as none.
    pub(crate) fn parsed(text: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(text) else { return Self::default() };
        let number = |name: &str| value[name].as_i64();
        Self {
            truncate_before: number("$tb"),
            max_age: number("$maxAge").map(|seconds| Ticks(seconds.saturating_mul(Ticks::PER_SECOND))),
            max_count: number("$maxCount"),
            readers: names(&value["$acl"]["$r"]),
            writers: names(&value["$acl"]["$w"]),
        }
    }

    /// True if the stream was soft-deleted and nothing was appended since.
    pub(crate) fn is_deleted(&self) -> bool {
        self.truncate_before == Some(Self::DELETED)
    }
}

/// One name, or a list of names.
fn names(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(name) => Some(vec![name.clone()]),
        Value::Array(list) => Some(list.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()),
        _ => None,
    }
}
