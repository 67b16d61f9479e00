//! `lastseen backfill`: the users that an application had before it had a log, as events marked with the name of the run.
//!
//! A thread reads rows and makes the next batch while the current one is on its way. Nothing is remembered between runs: an
//! event's id follows from its row, so a second run adds only what has changed in the table.

mod databases;
mod decisions;
mod formats;
mod preset;
pub(crate) mod presets;
mod reader;
mod rejects;
mod report;
mod retract;
pub(crate) mod rules;
mod seen;
mod settings;
mod summary;
mod table;
mod verify;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::Receiver;

use anyhow::{Context, bail};
use lastseen_event::limits::FUTURE_TOLERANCE;
use lastseen_store::{Clock, SystemClock};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::decisions::{Decisions, Matter};
use self::reader::{Batch, Job};
use self::rejects::Rejects;
use self::report::{Assumed, Report};
use self::table::{Rules, Tables};
use crate::Outcome;
use crate::ahead::{self, Ended, Message};
use crate::args::{BackfillArgs, BackfillCommand};
use crate::signals::Interrupt;
use crate::stdout::out;
use crate::upload::{Found, Sent, Uploader};

/// Brings tables in, compares one, or takes a batch back.
pub(crate) fn run(mut args: BackfillArgs) -> anyhow::Result<Outcome> {
    if let Some(preset) = &args.print_preset {
        out!("{}", presets::text(preset)?);
        return Ok(Outcome::Done);
    }
    match args.command.take() {
        None => bring_in(args),
        Some(BackfillCommand::Verify(args)) => verify::run(&args),
        Some(BackfillCommand::Retract(args)) => retract::run(&args),
    }
}

/// Reads all tables, in order, and sends what their rows stand for.
fn bring_in(args: BackfillArgs) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let uploader = Uploader::new(&args.send.to, interrupt.clone())?;
    let mut tables = Tables::of_backfill(&args)?;
    let size = tables.size()?;
    tables.check()?;
    let batch = args.batch.context("--batch names the run")?;
    let now = SystemClock.now();
    let users = tables.iter().find_map(|table| match &table.rules {
        Rules::Users(rules) => Some(rules),
        Rules::Logins(_) => None,
    });
    let has_users = users.is_some();
    let ask = |matter, is_told: bool| {
        if !is_told {
            return Ok(Some(Decisions::default()));
        }
        let decisions = Decisions::ask(&uploader, matter)?;
        if decisions.as_ref().is_some_and(|decisions| decisions.is_dead(&batch)) {
            bail!("the batch {batch} was taken back, and its name is dead: --batch names another one");
        }
        Ok(decisions)
    };
    let Some(deletions) = ask(Matter::Deletion, users.is_some_and(|rules| rules.tells_deletions(|_| true)))?
    else {
        return Ok(Outcome::Interrupted);
    };
    let Some(leavings) = ask(Matter::LeavingOut, users.is_some_and(|rules| rules.tells_left_out(|_| true)))?
    else {
        return Ok(Outcome::Interrupted);
    };
    let rejects = Rejects::at(args.rejects, &batch, args.dry_run)?;
    let report = Report::new(Assumed::of(&tables), size, (rejects, args.dry_run));
    let job = Job {
        tables,
        batch,
        batch_events: args.send.batch_events,
        deletions,
        leavings,
        now,
        latest: now.saturating_add(FUTURE_TOLERANCE),
    };
    let messages = reader::start(job).context("cannot start a thread")?;
    let mut backfill = Backfill { uploader, report, interrupt, is_dry: args.dry_run, has_users };
    let ended = backfill.send_all(&messages);
    let told = backfill.report.finish(&ended);
    let outcome = ended?.outcome(backfill.report.refused());
    told.map(|()| outcome)
}

/// Asks the server for users of one tenant. Empty if it does not know the tenant. `None`: a signal came
/// first.
fn look_up<T: DeserializeOwned>(
    uploader: &Uploader,
    tenant_id: &str,
    user_ids: &[&str],
    notice: impl FnMut(&str),
) -> anyhow::Result<Option<Vec<T>>> {
    #[derive(Serialize)]
    struct Lookup<'a> {
        user_ids: &'a [&'a str],
    }
    #[derive(Deserialize)]
    struct Users<T> {
        users: Vec<T>,
    }
    let path = format!("/v1/tenants/{}/users/lookup", utf8_percent_encode(tenant_id, NON_ALPHANUMERIC));
    match uploader.post::<Users<T>>(&path, &Lookup { user_ids }, notice)? {
        Found::Answer(found) => Ok(Some(found.users)),
        Found::Unknown => Ok(Some(Vec::new())),
        Found::Interrupted => Ok(None),
    }
}

/// The events of an answer of the server; `about`: what was asked about.
fn events<T: DeserializeOwned>(answer: impl Read, about: &str) -> impl Iterator<Item = anyhow::Result<T>> {
    BufReader::new(answer).lines().map(move |line| {
        let line = line.with_context(|| format!("the answer about {about} was cut short"))?;
        serde_json::from_str(&line).context("the server told of no event")
    })
}

/// Most users that are looked up at once.
const LOOKUP_USERS_MAX: usize = 1_000;

struct Backfill {
    uploader: Uploader,
    report: Report,
    interrupt: Interrupt,
    is_dry: bool,
    /// True if the first source is a users table.
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
            let Some(observed) = self.observed(batch)? else { return Ok(Ended::Interrupted) };
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

    /// Number of users of a batch that the server has seen. `None`: a signal came first.
    fn observed(&self, batch: &Batch) -> anyhow::Result<Option<u64>> {
        #[derive(Deserialize)]
        struct User {
            last_seen_provenance: Option<String>,
        }
        let mut by_tenant: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in batch.rows.iter().filter(|row| self.has_users && row.table == 0) {
            by_tenant.entry(&row.tenant_id).or_default().push(&row.user_id);
        }
        let mut observed = 0;
        for (tenant, users) in by_tenant {
            for user_ids in users.chunks(LOOKUP_USERS_MAX) {
                let users =
                    look_up::<User>(&self.uploader, tenant, user_ids, |notice| self.report.notice(notice))?;
                let Some(users) = users else { return Ok(None) };
                let seen =
                    users.iter().filter(|user| user.last_seen_provenance.as_deref() == Some("observed"));
                observed += seen.count() as u64;
            }
        }
        Ok(Some(observed))
    }
}
