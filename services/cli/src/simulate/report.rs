//! The messages of a simulation to its user: how to repeat it, how far it is, and the result. The result goes
//! to stdout, everything else to stderr.

use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration};
use lastseen::population::Plan;
use lastseen_event::UtcInstant;

use super::batch::Batch;
use crate::progress::{Progress, time_left};
use crate::stdout::outln;
use crate::tally::Tally;
use crate::upload::Answer;

/// Faults that are printed. There should be none: the server's clock may be behind, or ids may be taken.
const PRINTED_FAULTS_MAX: u64 = 20;

/// Counts and tells.
pub(super) struct Report {
    plan: Plan,
    /// The end of the part that is published as fast as it goes.
    bulk_until: UtcInstant,
    /// The instant up to which it has come.
    at: UtcInstant,
    tally: Tally,
    /// Users that were created, once in each of their tenants, as a summary counts them.
    users: u64,
    /// By number, whether a user was created there.
    tenants: Vec<bool>,
    faults: u64,
    started: Instant,
    progress: Progress,
}

impl Report {
    pub(super) fn new(plan: Plan, bulk_until: UtcInstant) -> Self {
        let progress = Progress::of_span(millis(plan.since(), bulk_until));
        let (users, tenants) = (HumanCount(plan.users.into()), HumanCount(plan.tenants.into()));
        progress.notice(&format!(
            "{users} people in {tenants} tenants from {} to {}; the same again: {}",
            plan.since(),
            plan.until,
            command(&plan)
        ));
        Self {
            plan,
            bulk_until,
            at: plan.since(),
            tally: Tally::default(),
            users: 0,
            tenants: vec![false; plan.tenants as usize],
            faults: 0,
            started: Instant::now(),
            progress,
        }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The server has dealt with the events of `batch`.
    pub(super) fn answered(&mut self, batch: &Batch, answer: &Answer) {
        self.tally.add(answer);
        self.at = batch.until;
        self.users += batch.created.len() as u64;
        for tenant in &batch.created {
            self.tenants[*tenant as usize] = true;
        }
        for refused in &answer.refused {
            self.faults += 1;
            if self.faults <= PRINTED_FAULTS_MAX {
                self.notice(&format!("refused: {}", refused.fault));
            }
        }
        self.tick();
    }

    /// From here on, time is real.
    pub(super) fn live(&mut self) {
        self.progress.finish();
        self.progress = Progress::endless();
        self.notice(&format!("{}; live from here, until ^C", self.tally));
    }

    /// Shows the progress if it is time to.
    pub(super) fn tick(&mut self) {
        let Self { plan, bulk_until, at, tally, started, .. } = *self;
        let (done, total) = (millis(plan.since(), at), millis(plan.since(), bulk_until));
        let rate = move || HumanCount(tally.rate(started.elapsed()));
        self.progress.tell(
            done,
            || format!("{} events {}/s", HumanCount(tally.events()), rate()),
            || plain_progress(tally, started.elapsed(), (done, total)),
        );
    }

    /// Says something between two states of the bar.
    pub(super) fn notice(&self, text: &str) {
        self.progress.notice(text);
    }

    /// The last words; an error itself is told by the caller.
    pub(super) fn finish(&self) {
        self.progress.finish();
        let tenants = self.tenants.iter().filter(|seen| **seen).count() as u64;
        outln!(
            "{}; {} users in {} tenants",
            self.tally.result(self.started.elapsed()),
            HumanCount(self.users),
            HumanCount(tenants)
        );
    }

    /// Says how to publish the rest.
    pub(super) fn tell_how_to_go_on(&self) {
        eprintln!("to go on from here: {}; what is stored will count as duplicates", command(&self.plan));
    }
}

/// Such as `1,234,567 events, 45% of the past, 71,203 events/s, 12 seconds left`; once time is real, without an end.
fn plain_progress(tally: Tally, elapsed: Duration, (done, total): (u64, u64)) -> String {
    let (events, rate) = (HumanCount(tally.events()), HumanCount(tally.rate(elapsed)));
    if done == 0 || done >= total {
        return tally.to_string();
    }
    let left = HumanDuration(time_left(elapsed, done, total));
    format!("{events} events, {}% of the past, {rate} events/s, {left} left", done * 100 / total)
}

/// The command line that publishes the same events.
fn command(plan: &Plan) -> String {
    let Plan { seed, users, tenants, days, until, .. } = plan;
    format!(
        "lastseen simulate --seed {seed} --users {users} --tenants {tenants} --days {days} --until {until}"
    )
}

fn millis(from: UtcInstant, to: UtcInstant) -> u64 {
    u64::try_from((to.as_micros() - from.as_micros()) / 1_000).unwrap_or(0)
}
