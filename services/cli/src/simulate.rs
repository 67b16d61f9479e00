//! `lastseen simulate`: the users of an application that never was, publishing into a running server. First their past as
//! fast as it goes, then what they do as they do it.
//!
//! A thread makes the next batch while the current one is on its way; memory holds three batches and what happens on
//! two days. Nothing is remembered between runs: the same plan gives the same ids, so a second run goes on.

mod batch;
mod report;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lastseen::population::{Plan, Population, Timeline};
use lastseen_event::UtcInstant;
use lastseen_store::{Clock, SystemClock};

use self::batch::{Batch, Bulk};
use self::report::Report;
use crate::Outcome;
use crate::ahead::{self, Ended};
use crate::args::{self, SimulateArgs};
use crate::signals::Interrupt;
use crate::upload::{Sent, Uploader};

/// Between two looks at what has happened since, once time is real.
const LIVE_EVERY: Duration = Duration::from_secs(1);

/// Publishes the past, and then the present until a signal comes.
pub(crate) fn run(args: &SimulateArgs) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    simulate(args, (&interrupt, Kept::Stays), || ())
}

/// The fate of the events when the command has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Another command can go on from there.
    Stays,
    /// They go with their server.
    Goes,
}

/// The same; `on_live` is called once the past is in.
pub(crate) fn simulate(
    args: &SimulateArgs,
    (interrupt, kept): (&Interrupt, Kept),
    on_live: impl FnOnce(),
) -> anyhow::Result<Outcome> {
    let now = SystemClock.now();
    let plan = plan(args, now);
    let population = Population::new(plan).unwrap_or_else(|invalid| args::refuse("simulate", invalid));
    let bulk_until = if args.no_live { plan.until } else { now };
    let mut simulation = Simulation {
        uploader: Uploader::new(&args.send.to, interrupt.clone())?,
        interrupt: interrupt.clone(),
        batch_events: args.send.batch_events,
        report: Report::new(plan, bulk_until),
    };
    let timeline = Timeline::new(Arc::new(population));
    let on_live = (!args.no_live).then_some(on_live);
    let ended = simulation.run(timeline, bulk_until, on_live);
    simulation.report.finish();
    if kept == Kept::Stays && !matches!(ended, Ok(Ended::AtTheEnd)) {
        simulation.report.tell_how_to_go_on();
    }
    Ok(ended?.outcome(simulation.report.tally().refused))
}

/// Returns the plan that the arguments ask for; without `--until`, up to now.
fn plan(args: &SimulateArgs, now: UtcInstant) -> Plan {
    if args.until.is_some_and(|until| until > now) {
        args::refuse("simulate", "--until must not be ahead of now");
    }
    let whole_ms = |at: UtcInstant| UtcInstant::from_micros(at.as_micros().div_euclid(1_000) * 1_000);
    Plan {
        seed: args.seed,
        users: args.users,
        tenants: args.tenants.unwrap_or((args.users / 100).max(1)),
        days: args.days,
        until: whole_ms(args.until.unwrap_or(now)),
        visits_permille: 1_000,
        visits_at_any_hour: args.visits_at_any_hour,
    }
}

struct Simulation {
    uploader: Uploader,
    interrupt: Interrupt,
    batch_events: usize,
    report: Report,
}

impl Simulation {
    /// `None`: only the past.
    fn run(
        &mut self,
        timeline: Timeline,
        bulk_until: UtcInstant,
        on_live: Option<impl FnOnce()>,
    ) -> anyhow::Result<Ended> {
        let bulk = Bulk::start(timeline, bulk_until, self.batch_events).context("cannot start a thread")?;
        if let Ended::Interrupted = self.send_bulk(&bulk)? {
            return Ok(Ended::Interrupted);
        }
        let Some(on_live) = on_live else { return Ok(Ended::AtTheEnd) };
        self.report.live();
        on_live();
        self.live(bulk.finish())
    }

    fn send_bulk(&mut self, bulk: &Bulk) -> anyhow::Result<Ended> {
        let interrupt = self.interrupt.clone();
        ahead::take_all(bulk.batches(), &interrupt, |batch| {
            if let Some(batch) = batch {
                return self.send(&batch);
            }
            self.report.tick();
            Ok(Ended::AtTheEnd)
        })
    }

    /// Publishes what has happened, again and again, until a signal comes.
    fn live(&mut self, mut timeline: Timeline) -> anyhow::Result<Ended> {
        while !self.interrupt.sleep(LIVE_EVERY) {
            let now = SystemClock.now();
            while let Some(batch) = Batch::make(&mut timeline, now, self.batch_events) {
                if let Ended::Interrupted = self.send(&batch)? {
                    return Ok(Ended::Interrupted);
                }
            }
            self.report.tick();
        }
        Ok(Ended::Interrupted)
    }

    fn send(&mut self, batch: &Batch) -> anyhow::Result<Ended> {
        let Self { uploader, report, .. } = self;
        match uploader.send(&batch.body, |notice| report.notice(notice))? {
            Sent::Answered(answer) => report.answered(batch, &answer),
            Sent::Interrupted => return Ok(Ended::Interrupted),
        }
        Ok(Ended::AtTheEnd)
    }
}
