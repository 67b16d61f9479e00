//! Files that are followed, read again once they have changed; and files that only their owner may read, whoever writes them.

use std::error::Error;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::Weak;
use std::time::Duration;

use lastseen_store::error_chain;

use crate::tasks;

/// Makes a file one that only its owner may read, and gives it to the owner of `like`, or of its folder where there is no
/// such file: what root writes, the server must be able to read.
///
/// # Errors
/// The operating system's error: only root gives files away.
pub(crate) fn make_private(file: &File, like: &Path) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))?;
    let folder = like.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = fs::metadata(like).or_else(|_| fs::metadata(folder))?;
    let found = file.metadata()?;
    if (found.uid(), found.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Time between two looks at a file that is followed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lets `read` look at the files of `followed`, away from the workers, every second until nobody else has it. Of failures in a
/// row the first is told, with `kept`: the words for the state that stays.
pub(crate) async fn follow<T: Send + Sync + 'static, E: Error + 'static>(
    followed: Weak<T>,
    kept: &'static str,
    read: impl Fn(&T) -> Result<(), E> + Copy + Send + 'static,
) {
    let mut failing = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(followed) = followed.upgrade() else { return };
        failing = tasks::blocking(move || {
            let Err(error) = read(&followed) else { return false };
            if !failing {
                tracing::error!(cause = error_chain(&error), "{kept}");
            }
            true
        })
        .await;
    }
}

/// Everything of a file that a change of it changes. A file that is replaced by renaming has another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

impl FileVersion {
    /// The version of a file now. `None`: it is not there.
    ///
    /// # Errors
    /// The operating system's error.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(found) => Ok(Some(Self {
                inode: found.ino(),
                modified: (found.mtime(), found.mtime_nsec()),
                bytes: found.len(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
