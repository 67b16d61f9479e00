//! `lastseen backfill verify`: a users table beside what the server says of its users. Rows are read, looked up some thousands
//! at a time, and compared; then the server's users that no row has are listed.

mod compare;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use indicatif::HumanCount;
use lastseen_event::UtcInstant;
use lastseen_event::limits::FUTURE_TOLERANCE;
use lastseen_store::{Clock, SystemClock};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use self::compare::{Cause, Deciding, Difference, Known, OwnedRow};
use super::decisions::{Decisions, Matter};
use super::formats::record::{Fault, Next, Record};
use super::reader::second_row;
use super::rules::notes::Notes;
use super::rules::users::{Row, UserRules};
use super::rules::values::{Moment, Values};
use super::seen::Users;
use super::table::{Rules, Size, Tables};
use super::{LOOKUP_USERS_MAX, look_up};
use crate::Outcome;
use crate::ahead::Ended;
use crate::args::BackfillVerifyArgs;
use crate::progress::Progress;
use crate::signals::Interrupt;
use crate::stdout::outln;
use crate::tally::rate;
use crate::upload::{Found, Uploader};

/// Rows that are looked up together: many of each tenant, where there are many tenants.
const ROWS_TOGETHER: usize = 100_000;

pub(super) fn run(args: &BackfillVerifyArgs) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let uploader = Uploader::new(&args.server, interrupt.clone())?;
    let mut tables = Tables::of_users(&args.source, (&args.table, &args.from))?;
    let size = tables.size()?;
    tables.check()?;
    let Rules::Users(rules) = &tables.get(0).rules else { bail!("a table of logins is not compared") };
    let Some(deletions) = Decisions::ask(&uploader, Matter::Deletion)? else {
        return Ok(Outcome::Interrupted);
    };
    let is_there = |at| tables.get(0).is_there(at);
    let leavings = if rules.tells_left_out(is_there) {
        let Some(leavings) = Decisions::ask(&uploader, Matter::LeavingOut)? else {
            return Ok(Outcome::Interrupted);
        };
        Some(leavings)
    } else {
        None
    };
    let mut verify = Verify {
        uploader,
        interrupt,
        deletions,
        leavings,
        tells_deletions: rules.tells_deletions(is_there),
        list: (args.list || args.all).then(|| tempfile::tempfile().map(BufWriter::new)).transpose()?,
        lists_all: args.all,
        rows: BTreeMap::new(),
        waiting: 0,
        seen: Users::default(),
        unread: Users::default(),
        unknown_rows: 0,
        newest: None,
        counts: Counts::default(),
        progress: match size {
            Size::Bytes(total) => Progress::of_stream(total),
            Size::Rows(total) => Progress::of_rows(total),
        },
        started: Instant::now(),
    };
    let ended = verify.table(&tables, (size, rules)).and_then(|ended| match ended {
        Ended::AtTheEnd => verify.users_without_rows(),
        Ended::Interrupted => Ok(ended),
    });
    verify.progress.finish();
    let ended = ended?;
    if let Ended::AtTheEnd = ended {
        verify.counts.print();
        if let Some(list) = verify.list {
            print_list(list).context("cannot read the list again")?;
        }
    }
    Ok(ended.outcome(verify.counts.findings))
}

/// The result of a comparison, counted.
#[derive(Default)]
struct Counts {
    rows: u64,
    /// Rows without any difference.
    same: u64,
    by_cause: BTreeMap<Cause, u64>,
    findings: u64,
    refused: u64,
    /// Rows that are nobody.
    skipped: u64,
    /// Lines that a list would have.
    unlisted: u64,
}

/// A comparison on its way.
struct Verify {
    uploader: Uploader,
    interrupt: Interrupt,
    deletions: Decisions,
    /// `None`: the table does not say who is left out.
    leavings: Option<Decisions>,
    /// True if the table says who is deleted.
    tells_deletions: bool,
    /// The users that differ, for behind the summary. `None`: nobody asked for them.
    list: Option<BufWriter<File>>,
    lists_all: bool,
    /// Rows that wait to be looked up, by tenant.
    rows: BTreeMap<String, Vec<OwnedRow>>,
    waiting: usize,
    /// The users that have a row, and those of rows that cannot be read.
    seen: Users,
    unread: Users,
    /// Rows that cannot be told whose they are: who seems to have none may have one of them.
    unknown_rows: u64,
    /// The latest creation of a row.
    newest: Option<UtcInstant>,
    counts: Counts,
    progress: Progress,
    started: Instant,
}

impl Verify {
    fn table(&mut self, tables: &Tables, (size, rules): (Size, &UserRules)) -> anyhow::Result<Ended> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let table = tables.get(0);
        let mut rows = tables.rows(0, &bytes_read)?;
        let now = SystemClock.now();
        let moment =
            Moment { now, latest: now.saturating_add(FUTURE_TOLERANCE), is_of_cells: rows.is_of_cells() };
        let mut record = Record::new(&table.fields);
        loop {
            let next = rows.next(&mut record).with_context(|| format!("cannot read {table}"))?;
            let values = Values { record: &record, fields: &table.fields, reading: &table.reading, moment };
            match next {
                Next::End => return self.compare(),
                Next::Row => match Row::read(values, rules, &mut Notes::default()) {
                    Ok(Some(row)) => self.row(values, rules, &row)?,
                    Ok(None) => self.counts.skipped += 1,
                    Err(fault) => self.bad(values, rules, &fault)?,
                },
                Next::Bad(fault) => self.bad(values, rules, &fault)?,
            }
            if self.waiting >= ROWS_TOGETHER
                && let Ended::Interrupted = self.compare()?
            {
                return Ok(Ended::Interrupted);
            }
            self.tick(match size {
                Size::Bytes(_) => bytes_read.load(Ordering::Relaxed),
                Size::Rows(_) => self.counts.rows,
            });
        }
    }

    fn row(&mut self, values: Values<'_>, rules: &UserRules, row: &Row<'_>) -> anyhow::Result<()> {
        self.newest = self.newest.max(Some(row.created_at));
        if !self.seen.insert((row.tenant_id.as_str(), row.user_id.as_str())) {
            return self.refused(values.record.line, &second_row(values, rules));
        }
        self.rows.entry(row.tenant_id.as_str().to_owned()).or_default().push(OwnedRow::of(
            row,
            self.tells_deletions,
            self.leavings.is_some(),
        ));
        self.waiting += 1;
        self.counts.rows += 1;
        Ok(())
    }

    /// A row that cannot be read. Its user has one all the same.
    fn bad(&mut self, values: Values<'_>, rules: &UserRules, fault: &Fault) -> anyhow::Result<()> {
        self.refused(values.record.line, fault)?;
        match values.member(&rules.member, &mut Notes::default()) {
            Ok((tenant_id, user_id)) => {
                self.unread.insert((tenant_id.as_str(), user_id.as_str()));
            }
            Err(_) => self.unknown_rows += 1,
        }
        Ok(())
    }

    fn refused(&mut self, line: u64, fault: &Fault) -> anyhow::Result<()> {
        self.counts.refused += 1;
        self.counts.findings += 1;
        self.list(&format!("row {line} cannot be read: {fault}"))
    }

    /// Lists something, if a list is asked for.
    fn list(&mut self, text: &str) -> anyhow::Result<()> {
        if let Some(list) = &mut self.list {
            return writeln!(list, "{text}").context("cannot keep the list");
        }
        self.counts.unlisted += 1;
        Ok(())
    }

    fn tick(&mut self, done: u64) {
        let (rows, started) = (self.counts.rows, self.started);
        let message =
            || format!("{} rows, {} rows/s", HumanCount(rows), HumanCount(rate(rows, started.elapsed())));
        self.progress.tell(done, message, message);
    }

    /// Looks up the rows that wait.
    fn compare(&mut self) -> anyhow::Result<Ended> {
        self.waiting = 0;
        for (tenant_id, rows) in std::mem::take(&mut self.rows) {
            for rows in rows.chunks(LOOKUP_USERS_MAX) {
                let user_ids: Vec<&str> = rows.iter().map(|row| row.user_id.as_ref()).collect();
                let notice = |notice: &str| self.progress.notice(notice);
                let users = look_up::<Known>(&self.uploader, &tenant_id, &user_ids, notice)?;
                let Some(users) = users else { return Ok(Ended::Interrupted) };
                let known: HashMap<&str, &Known> =
                    users.iter().map(|user| (user.user_id.as_str(), user)).collect();
                for row in rows {
                    let member = (tenant_id.as_str(), &*row.user_id);
                    let decisions = Deciding {
                        deletion: self.deletions.of(member),
                        left_out: self.leavings.as_ref().and_then(|leavings| leavings.of(member)),
                    };
                    let found = compare::differences(row, known.get(&*row.user_id).copied(), &decisions);
                    self.counts.same += u64::from(found.is_empty());
                    for difference in found {
                        self.found((&tenant_id, &row.user_id), &difference)?;
                    }
                }
            }
            if self.interrupt.is_set() {
                return Ok(Ended::Interrupted);
            }
        }
        Ok(Ended::AtTheEnd)
    }

    fn found(&mut self, (tenant_id, user_id): (&str, &str), difference: &Difference) -> anyhow::Result<()> {
        let cause = &difference.cause;
        *self.counts.by_cause.entry(cause.clone()).or_default() += 1;
        self.counts.findings += u64::from(cause.is_finding());
        if self.lists_all || !cause.is_usual() {
            self.list(&format!("tenant {tenant_id}, user {user_id}: {difference}"))?;
        }
        Ok(())
    }

    /// The users of the server that no row has.
    fn users_without_rows(&mut self) -> anyhow::Result<Ended> {
        #[derive(Deserialize)]
        struct Page {
            tenants: Vec<Tenant>,
            next_cursor: Option<String>,
        }
        #[derive(Deserialize)]
        struct Tenant {
            tenant_id: String,
        }
        let Some(mut later) = self.brought_in_later()? else { return Ok(Ended::Interrupted) };
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/tenants?sort=tenant_id&limit=1000{cursor}");
            let page: Page = match self.uploader.ask(&path, |notice| self.progress.notice(notice))? {
                Found::Answer(page) => page,
                Found::Unknown => bail!("the server does not know {path}"),
                Found::Interrupted => return Ok(Ended::Interrupted),
            };
            for Tenant { tenant_id } in page.tenants {
                if let Ended::Interrupted = self.users_of(&tenant_id, &mut later)? {
                    return Ok(Ended::Interrupted);
                }
            }
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(Ended::AtTheEnd),
            }
        }
    }

    /// The users that a backfill brought in and that were created after the last row of the table: they had a row. `None`: a
    /// signal came first.
    fn brought_in_later(&self) -> anyhow::Result<Option<Users>> {
        #[derive(Deserialize)]
        struct Created {
            tenant_id: String,
            user_id: String,
            batch: Option<String>,
        }
        let Some(newest) = self.newest else { return Ok(Some(Users::default())) };
        let path = format!("/v1/events?types=user_created&occurred_since={newest}");
        let Some(events) = self.uploader.get(&path, &|notice| self.progress.notice(notice))? else {
            return Ok(None);
        };
        let mut users = Users::default();
        for created in super::events::<Created>(events, "creations") {
            let Created { tenant_id, user_id, batch } = created?;
            if batch.is_some_and(|batch| !self.deletions.is_dead(&batch)) {
                users.insert((&tenant_id, &user_id));
            }
        }
        Ok(Some(users))
    }

    fn users_of(&mut self, tenant_id: &str, later: &mut Users) -> anyhow::Result<Ended> {
        let path = format!(
            "/v1/tenants/{}/users?format=csv&status=active,inactive,pending,never_seen,deleted,left_out",
            utf8_percent_encode(tenant_id, NON_ALPHANUMERIC)
        );
        let Some(users) = self.uploader.get(&path, &|notice| self.progress.notice(notice))? else {
            return Ok(Ended::Interrupted);
        };
        for user in csv::Reader::from_reader(users).into_deserialize::<Known>() {
            let user = user.context("the list of users was cut short")?;
            let member = (tenant_id, user.user_id.as_str());
            if !self.seen.contains(member) && !self.unread.contains(member) {
                let newest = self.newest.filter(|_| !later.contains(member));
                let difference = compare::without_row(&user, newest, self.unknown_rows > 0);
                self.found(member, &difference)?;
            }
        }
        Ok(if self.interrupt.is_set() { Ended::Interrupted } else { Ended::AtTheEnd })
    }
}

/// Prints what was listed.
fn print_list(list: BufWriter<File>) -> anyhow::Result<()> {
    let mut list = list.into_inner()?;
    list.rewind()?;
    for line in BufReader::new(list).lines() {
        outln!("{}", line?);
    }
    Ok(())
}

impl Counts {
    fn print(&self) {
        for (cause, users) in &self.by_cause {
            outln!(
                "{:>15}  {}{cause}",
                HumanCount(*users).to_string(),
                if cause.is_finding() { "! " } else { "" }
            );
        }
        let [rows, same, findings, refused, skipped, unlisted] =
            [self.rows, self.same, self.findings, self.refused, self.skipped, self.unlisted].map(HumanCount);
        outln!(
            "rows {rows} (without a difference {same}), findings {findings}, rows that cannot be read {refused}"
        );
        if self.skipped > 0 {
            outln!("rows skipped (--skip-where) {skipped}");
        }
        if self.unlisted > 0 {
            eprintln!("--list lists {unlisted} of them");
        }
    }
}
