//! The messages of a backfill to its user: a bar on a terminal, plain lines elsewhere, the first refused
//! rows, and the result. The result goes to stdout, everything else to stderr.

use std::time::Instant;

use anyhow::bail;
use indicatif::{HumanBytes, HumanCount, HumanDuration};

use lastseen_event::FaultCode;

use super::reader::{Batch, Key, Tally as Rows};
use super::rejects::Rejects;
use super::summary;
use super::table::{Rules, Size, Table, Tables};
use crate::ahead::Ended;
use crate::progress::{Progress, time_left};
use crate::stdout::outln;
use crate::tally::{Tally, rate};
use crate::upload::Answer;

/// Refused rows that are printed; all of them are in the rejects file.
const PRINTED_FAULTS_MAX: u64 = 10;

/// The assumptions about all rows of tables.
pub(super) struct Assumed {
    /// The names of the tables.
    pub(super) tables: Vec<String>,
    /// The zone of instants without an offset.
    pub(super) zone: String,
    /// Of each table the columns that may be missing, and are.
    pub(super) missing: Vec<(String, Vec<String>)>,
    /// True if there is a users table.
    pub(super) has_users: bool,
    /// True if every row of a table of logins is one.
    pub(super) every_row_is_login: bool,
}

impl Assumed {
    pub(super) fn of(tables: &Tables) -> Self {
        let mut zones: Vec<String> = tables.iter().map(|table| table.reading.zone.to_string()).collect();
        zones.dedup();
        let missing = |table: &Table| {
            let columns: Vec<String> = table.missing().map(str::to_owned).collect();
            (!columns.is_empty()).then(|| (table.to_string(), columns))
        };
        Self {
            tables: tables.iter().map(ToString::to_string).collect(),
            zone: zones.join(" and "),
            missing: tables.iter().filter_map(missing).collect(),
            has_users: tables.iter().any(|table| matches!(table.rules, Rules::Users(_))),
            every_row_is_login: tables
                .iter()
                .any(|table| matches!(&table.rules, Rules::Logins(rules) if rules.counts_every_row())),
        }
    }
}

/// Counts and tells.
pub(super) struct Report {
    assumed: Assumed,
    rejects: Rejects,
    /// True if nothing is sent.
    is_dry: bool,
    bytes_read: u64,
    size: Size,
    rows: Rows,
    refused: u64,
    /// True if the server refuses the batch as a whole, for good.
    is_dead: bool,
    events: Tally,
    /// Users of the tables that the server has seen already.
    observed: u64,
    started: Instant,
    progress: Progress,
}

impl Report {
    pub(super) fn new(assumed: Assumed, size: Size, (rejects, is_dry): (Rejects, bool)) -> Self {
        Self {
            assumed,
            rejects,
            is_dry,
            bytes_read: 0,
            size,
            rows: Rows::default(),
            refused: 0,
            is_dead: false,
            events: Tally::default(),
            observed: 0,
            started: Instant::now(),
            progress: match size {
                Size::Bytes(total) => Progress::of_stream(total),
                Size::Rows(total) => Progress::of_rows(total),
            },
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
    /// If the rejects cannot be written, or the name of the batch is dead.
    pub(super) fn answered(&mut self, batch: &Batch, answer: &Answer) -> anyhow::Result<()> {
        self.events.add(answer);
        let mut last = None;
        for refused in &answer.refused {
            if refused.fault.code == FaultCode::BatchRetracted.as_str() {
                self.is_dead = true;
                bail!("this batch was taken back, and its name is dead: --batch names another one");
            }
            let Some(row) = batch.origins.get(refused.index).copied() else { continue };
            if last.replace(row) != Some(row) {
                let field = refused.fault.field.as_deref().unwrap_or_default();
                let reason = format!("{}: {}", refused.fault.code, refused.fault.detail);
                // The row counted as one that was taken.
                self.refuse(&batch.rows[row], (field, &reason, ""))?;
            }
        }
        Ok(())
    }

    /// Everything of `batch` is dealt with.
    ///
    /// # Errors
    /// If the rejects cannot be written.
    pub(super) fn read(&mut self, batch: &Batch) -> anyhow::Result<()> {
        self.rows.add(&batch.read);
        for (key, fault) in &batch.rejects {
            self.refuse(key, (&fault.column, &fault.reason, fault.flag))?;
        }
        self.bytes_read = batch.bytes_read;
        self.tick();
        Ok(())
    }

    fn refuse(&mut self, key: &Key, (field, reason, flag): (&str, &str, &str)) -> anyhow::Result<()> {
        let table = &self.assumed.tables[key.table];
        self.refused += 1;
        if self.refused <= PRINTED_FAULTS_MAX {
            let space = if field.is_empty() { "" } else { ": " };
            let flag = if flag.is_empty() { String::new() } else { format!(" ({flag})") };
            self.progress.notice(&format!("{table}:{}: {field}{space}{reason}{flag}", key.line));
        }
        self.rejects.add(table, key, (field, reason))
    }

    /// Shows the progress if it is time to.
    pub(super) fn tick(&mut self) {
        let (rows, elapsed) = (self.rows.rows + self.refused, self.started.elapsed());
        let (done, total) = match self.size {
            Size::Bytes(total) => (self.bytes_read, total),
            Size::Rows(total) => (rows, total),
        };
        let shown = |amount| match self.size {
            Size::Bytes(_) => HumanBytes(amount).to_string(),
            Size::Rows(_) => HumanCount(amount).to_string(),
        };
        let message = || format!("{} rows, {} rows/s", HumanCount(rows), HumanCount(rate(rows, elapsed)));
        self.progress.tell(done, message, || match total.filter(|total| done > 0 && done < *total) {
            Some(total) => {
                let left = HumanDuration(time_left(elapsed, done, total));
                format!("{}, {} of {}, {left} left", message(), shown(done), shown(total))
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
    /// If the rejects cannot be written.
    pub(super) fn finish(&mut self, ended: &anyhow::Result<Ended>) -> anyhow::Result<()> {
        self.progress.finish();
        let written = self.rejects.finish(matches!(ended, Ok(Ended::AtTheEnd)));
        if ended.is_err() && self.rows.rows + self.refused == 0 {
            return written;
        }
        if !self.is_dry {
            outln!("{}", self.events.result(self.started.elapsed()));
        }
        let observed = self.is_dry.then_some(self.observed);
        for line in summary::lines(&self.rows, (self.refused, observed), &self.assumed) {
            outln!("{line}");
        }
        let refused = HumanCount(self.refused);
        match self.rejects.path() {
            Some(path) => eprintln!("{refused} refused rows with their reasons: {}", path.display()),
            None if self.is_dry && self.refused > 0 => {
                eprintln!("{refused} refused rows; --rejects FILE lists all of them");
            }
            None => {}
        }
        if !matches!(ended, Ok(Ended::AtTheEnd)) && !self.is_dead && !self.is_dry {
            eprintln!(
                "not done: the same command goes on from here; what is stored will count as duplicates"
            );
        }
        written
    }
}
