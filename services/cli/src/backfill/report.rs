//! What a backfill tells its user: a bar on a terminal, plain lines elsewhere, the first refused rows, and the result. The result
//! goes to stdout, everything else to stderr.

use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{HumanBytes, HumanCount, HumanDuration};

use super::reader::{Batch, Key, Tally as Rows};
use super::rejects::Rejects;
use crate::ahead::Ended;
use crate::progress::{Progress, time_left};
use crate::tally::{Tally, rate};
use crate::upload::Answer;

/// Refused rows that are printed; all of them are in the rejects file.
const PRINTED_FAULTS_MAX: u64 = 10;

/// Counts and tells.
pub(super) struct Report {
    sources: Vec<PathBuf>,
    rejects: Rejects,
    /// Whether nothing is sent.
    is_dry: bool,
    bytes: (u64, Option<u64>),
    rows: Rows,
    refused: u64,
    events: Tally,
    /// Users of the tables that the server has seen already.
    observed: u64,
    started: Instant,
    progress: Progress,
}

impl Report {
    pub(super) fn new(
        sources: Vec<PathBuf>,
        bytes_total: Option<u64>,
        (rejects, is_dry): (Rejects, bool),
    ) -> Self {
        Self {
            sources,
            rejects,
            is_dry,
            bytes: (0, bytes_total),
            rows: Rows::default(),
            refused: 0,
            events: Tally::default(),
            observed: 0,
            started: Instant::now(),
            progress: Progress::of_stream(bytes_total),
        }
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// So many users of a batch were seen already.
    pub(super) fn observed(&mut self, users: u64) {
        self.observed += users;
    }

    /// The server has dealt with the events of `batch`; a row of which it refused any is refused.
    ///
    /// # Errors
    /// Where the rejects cannot be written.
    pub(super) fn answered(&mut self, batch: &Batch, answer: &Answer) -> anyhow::Result<()> {
        self.events.add(answer);
        let mut last = None;
        for refused in &answer.refused {
            let Some(row) = batch.origins.get(refused.index).copied() else { continue };
            if last.replace(row) != Some(row) {
                let field = refused.fault.field.as_deref().unwrap_or_default();
                let reason = format!("{}: {}", refused.fault.code, refused.fault.detail);
                self.refuse(&batch.rows[row], (field, &reason))?;
            }
        }
        Ok(())
    }

    /// Everything of `batch` is dealt with.
    ///
    /// # Errors
    /// Where the rejects cannot be written.
    pub(super) fn read(&mut self, batch: &Batch) -> anyhow::Result<()> {
        self.rows.add(&batch.read);
        for (key, fault) in &batch.rejects {
            self.refuse(key, (fault.field, &fault.reason))?;
        }
        self.bytes.0 = batch.bytes_read;
        self.tick();
        Ok(())
    }

    fn refuse(&mut self, key: &Key, (field, reason): (&str, &str)) -> anyhow::Result<()> {
        let source = &self.sources[key.source];
        self.refused += 1;
        if self.refused <= PRINTED_FAULTS_MAX {
            let space = if field.is_empty() { "" } else { ": " };
            self.progress.notice(&format!("{}:{}: {field}{space}{reason}", source.display(), key.line));
        }
        self.rejects.add(source, key, (field, reason))
    }

    /// Shows the progress if it is time to.
    pub(super) fn tick(&mut self) {
        let (done, total) = self.bytes;
        let (rows, elapsed) = (self.rows.rows() + self.refused, self.started.elapsed());
        let message = || format!("{} rows, {} rows/s", HumanCount(rows), HumanCount(rate(rows, elapsed)));
        self.progress.tell(done, message, || match total.filter(|total| done > 0 && done < *total) {
            Some(total) => {
                let left = HumanDuration(time_left(elapsed, done, total));
                format!("{}, {} of {}, {left} left", message(), HumanBytes(done), HumanBytes(total))
            }
            None => message(),
        });
    }

    /// Says something between two states of the bar.
    pub(super) fn notice(&self, text: &str) {
        self.progress.notice(text);
    }

    /// The last words; an error itself is told by the caller.
    ///
    /// # Errors
    /// Where the rejects cannot be written.
    #[expect(clippy::print_stdout, reason = "the result of the command goes to stdout")]
    pub(super) fn finish(&mut self, ended: &anyhow::Result<Ended>) -> anyhow::Result<()> {
        self.progress.finish();
        self.rejects.finish()?;
        let Rows { users, confirmed, deleted, restored, logins, events, span } = &self.rows;
        if self.is_dry {
            for (name, count) in [
                ("users", *users),
                ("  confirmed", *confirmed),
                ("  unconfirmed", users - confirmed),
                ("  deleted", *deleted),
                ("  back from deletion", *restored),
                ("  seen by the server already", self.observed),
                ("logins", *logins),
                ("refused rows", self.refused),
                ("events that would be sent", *events),
            ] {
                println!("{name:<32} {:>15}", HumanCount(count).to_string());
            }
            if let Some((least, greatest)) = span {
                println!("{:<32} {least} to {greatest}", "they occurred from");
            }
        } else {
            println!("{}", self.events.result(self.started.elapsed()));
            let [users, confirmed, deleted, restored, logins, refused] =
                [users, confirmed, deleted, restored, logins, &self.refused].map(|count| HumanCount(*count));
            println!(
                "users {users} (confirmed {confirmed}, deleted {deleted}, back {restored}), logins {logins}, refused rows {refused}"
            );
        }
        if self.refused > 0 {
            let refused = HumanCount(self.refused);
            eprintln!("{refused} refused rows with their reasons: {}", self.rejects.path().display());
        }
        if !matches!(ended, Ok(Ended::AtTheEnd)) {
            eprintln!(
                "not done: the same command goes on from here; what is stored will count as duplicates"
            );
        }
        Ok(())
    }
}

/// What stdout and messages call a source.
pub(super) fn name_of(file: &Path) -> PathBuf {
    if file.as_os_str() == "-" { PathBuf::from("stdin") } else { file.to_owned() }
}
