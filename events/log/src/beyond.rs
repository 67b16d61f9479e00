//! Files that reach beyond the end of the history that is found: they prove that it was longer, and that some of it was
//! lost. A file is made of what is durable in a WAL file, so no crash leaves one.

use lastseen_store::{Corruption, ReadError};

use crate::damage::{Malformed, corruption};
use crate::disk::Disk;
use crate::ids::run;
use crate::manifest::{Manifest, PATH};
use crate::pages::{PAGE_LEN, Pages};
use crate::place::Place;
use crate::segment::{self, index};

/// A file that reaches beyond the end.
struct Beyond {
    path: String,
    /// A place that has been in the log.
    place: Place,
}

/// Looks at the files that the manifest does not name, given the names in the folders of segments and of runs, and at the position
/// from which the log continues another: for one that is of its history and beyond `last`. Returns the farthest, as damage.
///
/// # Errors
/// [`ReadError::Io`].
pub(crate) fn find(
    disk: &dyn Disk,
    manifest: &Manifest,
    (segments, runs): (&[String], &[String]),
    last: Place,
) -> Result<Option<Corruption>, ReadError> {
    let is_named =
        |first: Place| manifest.segments.binary_search_by_key(&first, |entry| entry.first()).is_ok();
    // The log went on from there.
    let parted = manifest.lineage.ancestors().last();
    let parted =
        parted.map(|ancestor| Beyond { path: PATH.to_owned(), place: Place::of_own(ancestor.until) });
    let mut beyond = Vec::from_iter(parted);
    for first in segments.iter().filter_map(|name| segment::first_of(name)).filter(|first| !is_named(*first))
    {
        let path = segment::path(first);
        beyond.push(Beyond { path, place: first });
    }
    let indexes = segments.iter().filter_map(|name| segment::indexed_by(name));
    for path in indexes.filter(|first| !is_named(*first)).map(segment::index_path) {
        if let Some((log_id, place)) = head(disk, &path, index::reach_in)?
            && manifest.lineage.shares(log_id, place.own_position())
        {
            beyond.push(Beyond { path, place });
        }
    }
    let is_beyond = |(_, reach): &(String, Place)| *reach > last;
    for (path, place) in runs.iter().filter_map(|name| run::reach_of(name)).filter(is_beyond) {
        if head(disk, &path, run::log_id_in)?
            .is_some_and(|log_id| manifest.lineage.shares(log_id, place.own_position()))
        {
            beyond.push(Beyond { path, place });
        }
    }
    let farthest = beyond.into_iter().filter(|file| file.place > last).max_by_key(|file| file.place);
    Ok(farthest.map(|Beyond { path, place }| {
        let expected = format!("records up to position {} in the manifest or in a WAL file", place.get());
        let found = format!("none after position {}: what is missing was lost", last.get());
        corruption(path, 0, expected, found)
    }))
}

/// The decoded first page of a file; `None` where the file is gone or is something else.
fn head<T>(
    disk: &dyn Disk,
    path: &str,
    decode: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<Option<T>, ReadError> {
    let pages = match Pages::open(disk, path.to_owned(), "a file in its folder") {
        Err(ReadError::Corrupt(_)) => return Ok(None),
        pages => pages?,
    };
    let mut page = [0; PAGE_LEN];
    match pages.read(0, &mut page) {
        Ok(content) => Ok(decode(content).ok()),
        Err(ReadError::Corrupt(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
