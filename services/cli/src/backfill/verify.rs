//! `lastseen backfill verify`: a users table beside what the server says of its users. Rows are read, looked up some thousands
//! at a time, and compared; then the server's users that no row has are listed.

mod compare;

use std::collections::{BTreeMap, HashMap};
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
use super::columns::{Fault, Next, Record};
use super::decisions::{Decisions, Matter};
use super::row::{self, Row};
use super::table::{Size, Tables};
use super::users::Users;
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
    let tables = Tables::of_users(&args.source, &args.table)?;
    let size = tables.size()?;
    tables.check()?;
    let Some(deletions) = Decisions::ask(&uploader, Matter::Deletion)? else {
        return Ok(Outcome::Interrupted);
    };
    let leavings = if args.table.columns.left_out.is_some() {
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
        list_all: args.all,
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
    let ended = verify.table(&tables, size).and_then(|ended| match ended {
        Ended::AtTheEnd => verify.users_without_rows(),
        Ended::Interrupted => Ok(ended),
    });
    verify.progress.finish();
    let ended = ended?;
    if let Ended::AtTheEnd = ended {
        verify.counts.print();
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
}

/// A comparison on its way.
struct Verify {
    uploader: Uploader,
    interrupt: Interrupt,
    deletions: Decisions,
    /// `None`: the table does not say who is left out.
    leavings: Option<Decisions>,
    list_all: bool,
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
    fn table(&mut self, tables: &Tables, size: Size) -> anyhow::Result<Ended> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let mut rows = tables.rows(0, &bytes_read)?;
        let latest = SystemClock.now().saturating_add(FUTURE_TOLERANCE);
        let mut record = Record::default();
        loop {
            match rows.next(&mut record).with_context(|| format!("cannot read {}", tables.get(0)))? {
                Next::End => return self.compare(),
                Next::Row => match Row::read(&record, latest) {
                    Ok(row) => self.row(record.line, &row),
                    Err(fault) => self.bad(&record, &fault),
                },
                Next::Bad(fault) => self.bad(&record, &fault),
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

    fn row(&mut self, line: u64, row: &Row<'_>) {
        self.newest = self.newest.max(Some(row.created_at));
        if !self.seen.insert((row.tenant_id.as_str(), row.user_id.as_str())) {
            return self.refused(line, &Fault::second_row());
        }
        self.rows
            .entry(row.tenant_id.as_str().to_owned())
            .or_default()
            .push(OwnedRow::of(row, self.leavings.is_some()));
        self.waiting += 1;
        self.counts.rows += 1;
    }

    /// A row that cannot be read. Its user has one all the same.
    fn bad(&mut self, record: &Record, fault: &Fault) {
        self.refused(record.line, fault);
        match row::member(record) {
            Ok((tenant_id, user_id)) => {
                self.unread.insert((tenant_id.as_str(), user_id.as_str()));
            }
            Err(_) => self.unknown_rows += 1,
        }
    }

    fn refused(&mut self, line: u64, fault: &Fault) {
        outln!("row {line} cannot be read: {fault}");
        self.counts.refused += 1;
        self.counts.findings += 1;
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
                        self.found((&tenant_id, &row.user_id), &difference);
                    }
                }
            }
            if self.interrupt.is_set() {
                return Ok(Ended::Interrupted);
            }
        }
        Ok(Ended::AtTheEnd)
    }

    fn found(&mut self, (tenant_id, user_id): (&str, &str), difference: &Difference) {
        let cause = &difference.cause;
        *self.counts.by_cause.entry(cause.clone()).or_default() += 1;
        self.counts.findings += u64::from(cause.is_finding());
        if self.list_all || !cause.is_usual() {
            outln!("tenant {tenant_id}, user {user_id}: {difference}");
        }
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
                self.found(member, &difference);
            }
        }
        Ok(if self.interrupt.is_set() { Ended::Interrupted } else { Ended::AtTheEnd })
    }
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
        let [rows, same, findings, refused] =
            [self.rows, self.same, self.findings, self.refused].map(HumanCount);
        outln!(
            "rows {rows} (without a difference {same}), findings {findings}, rows that cannot be read {refused}"
        );
    }
}
