//! `lastseen backfill`: the users that an application had before it had a log, as events marked with the name of the run.
//!
//! A thread reads rows and makes the next batch while the current one is on its way. Nothing is remembered between runs: an
//! event's id follows from its row, so a second run adds only what has changed in the table.

mod columns;
mod deleted;
mod instant;
mod reader;
mod rejects;
mod report;
mod row;
mod source;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::Receiver;

use anyhow::Context;
use lastseen_event::limits::FUTURE_TOLERANCE;
use lastseen_store::{Clock, SystemClock};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use self::columns::{Column, Names};
use self::deleted::Deleted;
use self::reader::{Batch, Job, Kind, Source};
use self::rejects::Rejects;
use self::report::Report;
use crate::Outcome;
use crate::ahead::{self, Ended, Message};
use crate::args::{BackfillArgs, ColumnArgs};
use crate::input;
use crate::signals::Interrupt;
use crate::upload::{Sent, Uploader};

/// Reads all sources, in order, and sends what their rows stand for.
pub(crate) fn run(args: BackfillArgs) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let uploader = Uploader::new(&args.send, interrupt.clone());
    let sources = sources(&args);
    let files: Vec<_> = sources.iter().map(|source| source.file.clone()).collect();
    let bytes_total = input::total_bytes(&files)?;
    let now = SystemClock.now();
    let deleted = if args.source.is_some() && !args.columns.deleted.is_empty() {
        Deleted::ask(&uploader, &args.batch)?
    } else {
        Deleted::default()
    };
    let rejects = Rejects::new(args.rejects, &args.batch);
    let names = files.iter().map(|file| report::name_of(file)).collect();
    let report = Report::new(names, bytes_total, (rejects, args.dry_run));
    let job = Job {
        sources,
        format: args.format,
        batch: args.batch,
        batch_events: args.send.batch_events,
        deleted,
        now,
        latest: now.saturating_add(FUTURE_TOLERANCE),
    };
    let messages = reader::start(job).context("cannot start a thread")?;
    let mut backfill =
        Backfill { uploader, report, interrupt, is_dry: args.dry_run, has_users: args.source.is_some() };
    let ended = backfill.send_all(&messages);
    backfill.report.finish(&ended)?;
    Ok(ended?.outcome(backfill.report.refused()))
}

/// The tables that are named, users first.
fn sources(args: &BackfillArgs) -> Vec<Source> {
    let ColumnArgs { tenant, user, confirmed, created, modified, deleted, observed, login } = &args.columns;
    let member = [(Column::Tenant, tenant), (Column::User, user)];
    let row = [
        (Column::Confirmed, confirmed),
        (Column::Created, created),
        (Column::Modified, modified),
        (Column::Deleted, deleted),
    ];
    let users = member.into_iter().chain(row).chain(observed.iter().map(|name| (Column::Observed, name)));
    let users = Names::new(users);
    let logins = Names::new(member.into_iter().chain([(Column::Observed, login)]));
    let source =
        |file: &Path, names: &Names, kind| Source { file: file.to_owned(), names: names.clone(), kind };
    let tables = args.source.iter().map(|file| source(file, &users, Kind::Users));
    tables.chain(args.logins.iter().map(|file| source(file, &logins, Kind::Logins))).collect()
}

struct Backfill {
    uploader: Uploader,
    report: Report,
    interrupt: Interrupt,
    is_dry: bool,
    /// Whether the first source is a users table.
    has_users: bool,
}

impl Backfill {
    fn send_all(&mut self, messages: &Receiver<Message<Batch>>) -> anyhow::Result<Ended> {
        let interrupt = self.interrupt.clone();
        ahead::take_all(messages, &interrupt, |message| match message {
            Some(Message::Batch(batch)) => self.deal(&batch),
            Some(Message::Failed(error)) => Err(error),
            None => {
                self.report.tick();
                Ok(Ended::AtTheEnd)
            }
        })
    }

    fn deal(&mut self, batch: &Batch) -> anyhow::Result<Ended> {
        if self.is_dry {
            let observed = self.observed(batch)?;
            self.report.observed(observed);
        } else if let Ended::Interrupted = self.send(batch)? {
            return Ok(Ended::Interrupted);
        }
        self.report.read(batch)?;
        Ok(Ended::AtTheEnd)
    }

    fn send(&mut self, batch: &Batch) -> anyhow::Result<Ended> {
        if batch.origins.is_empty() {
            return Ok(Ended::AtTheEnd);
        }
        match self.uploader.send(&batch.body, |notice| self.report.notice(notice))? {
            Sent::Answered(answer) => self.report.answered(batch, &answer)?,
            Sent::Interrupted => return Ok(Ended::Interrupted),
        }
        Ok(Ended::AtTheEnd)
    }

    /// How many users of a batch the server has seen.
    fn observed(&self, batch: &Batch) -> anyhow::Result<u64> {
        /// As many as are answered at once.
        const USERS_MAX: usize = 1_000;
        #[derive(Serialize)]
        struct Lookup<'a> {
            user_ids: &'a [&'a str],
        }
        #[derive(Deserialize)]
        struct Found {
            users: Vec<User>,
        }
        #[derive(Deserialize)]
        struct User {
            provenance: Option<String>,
        }
        let mut by_tenant: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in batch.rows.iter().filter(|row| self.has_users && row.source == 0) {
            by_tenant.entry(&row.tenant_id).or_default().push(&row.user_id);
        }
        let mut observed = 0;
        for (tenant, users) in by_tenant {
            for user_ids in users.chunks(USERS_MAX) {
                let path =
                    format!("/v1/tenants/{}/users/lookup", utf8_percent_encode(tenant, NON_ALPHANUMERIC));
                let found: Option<Found> = self.uploader.post(&path, &Lookup { user_ids })?;
                let users = found.into_iter().flat_map(|found| found.users);
                let seen = users.filter(|user| user.provenance.as_deref() == Some("observed"));
                observed += seen.count() as u64;
            }
        }
        Ok(observed)
    }
}
