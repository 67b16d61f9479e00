//! `lastseen restore`: makes a data directory of a backup, once every byte of the backup was checked.

use std::sync::Arc;

use anyhow::Context;
use indicatif::{HumanBytes, HumanCount};
use lastseen_log::{BackedUp, Disk, Finding, LogOptions, OsDisk};

use crate::Outcome;
use crate::args::RestoreArgs;
use crate::progress::Progress;
use crate::stdout::outln;

/// Copies the backup to `--data`, which must not have a log.
pub(crate) fn run(args: &RestoreArgs) -> anyhow::Result<Outcome> {
    let at = || format!("cannot read {}", args.from.display());
    let from: Arc<dyn Disk> = Arc::new(OsDisk::existing(&args.from).with_context(at)?);
    let mut progress = Progress::of_bytes();
    let verified = lastseen_log::verify(&from, LogOptions::default().recent_ids, |done, total| {
        progress.show(done, total);
    });
    progress.finish();
    let verified = verified.with_context(at)?;
    if !verified.findings.is_empty() {
        for Finding { kind, place } in &verified.findings {
            outln!("{}: {place}", kind.as_str());
        }
        eprintln!("the backup is damaged; nothing was restored");
        return Ok(Outcome::Findings);
    }
    let to = OsDisk::new(&args.data).with_context(|| format!("cannot use {}", args.data.display()))?;
    let to: Arc<dyn Disk> = Arc::new(to);
    let mut progress = Progress::of_files();
    let copied = lastseen_log::backup(&from, &to, |done, total| progress.show(done, total));
    progress.finish();
    let names = || format!("cannot restore {} to {}", args.from.display(), args.data.display());
    let BackedUp { events, bytes, last_position, .. } = copied.with_context(names)?;
    let (events, bytes) = (HumanCount(events), HumanBytes(bytes));
    outln!(
        "restored {events} events up to position {}, {bytes}, to {}",
        last_position.get(),
        args.data.display()
    );
    Ok(Outcome::Done)
}
