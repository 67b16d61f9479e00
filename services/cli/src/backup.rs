//! `lastseen backup`: copies a log, also one that a server is writing.

use std::sync::Arc;

use anyhow::Context;
use indicatif::{HumanBytes, HumanCount};
use lastseen_log::{BackedUp, Disk, OsDisk};

use crate::Outcome;
use crate::args::BackupArgs;
use crate::progress::Progress;
use crate::stdout::outln;

/// Copies the log in `--data`.
pub(crate) fn run(args: &BackupArgs) -> anyhow::Result<Outcome> {
    let from =
        OsDisk::existing(&args.data).with_context(|| format!("cannot read {}", args.data.display()))?;
    let to = OsDisk::new(&args.to).with_context(|| format!("cannot use {}", args.to.display()))?;
    let (from, to): (Arc<dyn Disk>, Arc<dyn Disk>) = (Arc::new(from), Arc::new(to));
    let mut progress = Progress::of_files();
    let copied = lastseen_log::backup(&from, &to, |done, total| progress.show(done, total));
    progress.finish();
    let names = || format!("cannot copy {} to {}", args.data.display(), args.to.display());
    let BackedUp { files, events, bytes, last_position } = copied.with_context(names)?;
    outln!(
        "copied {} events up to position {}, {files} files, {}",
        HumanCount(events),
        last_position.get(),
        HumanBytes(bytes)
    );
    Ok(Outcome::Done)
}
