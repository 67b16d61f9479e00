//! `lastseen backfill retract`: takes a batch back and waits until the server's numbers are without it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::HumanCount;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::Outcome;
use crate::args::RetractArgs;
use crate::progress::Progress;
use crate::signals::Interrupt;
use crate::stdout::outln;
use crate::upload::{Deleted, Found, Uploader};

/// The time between two questions to the server about its progress.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// A batch as the server tells of it.
#[derive(Deserialize)]
struct Backfill {
    state: String,
    events: u64,
}

/// The server is asked how many events the batch has, and told to take so many back: if some came in between, it is asked again.
pub(super) fn run(args: &RetractArgs) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let uploader = Uploader::new(&args.server, interrupt.clone())?;
    let batch = &args.batch;
    let path = format!("/v1/backfills/{}", utf8_percent_encode(batch, NON_ALPHANUMERIC));
    let started = Instant::now();
    let mut progress = Progress::endless();
    let events = loop {
        let found = uploader.ask::<Backfill>(&path, |notice| progress.notice(notice))?;
        let Backfill { state, events } = match found {
            Found::Answer(backfill) => backfill,
            Found::Unknown => bail!("no event names the batch {batch:?}"),
            Found::Interrupted => return Ok(interrupted(batch)),
        };
        if state == "retracted" {
            break events;
        }
        if state == "active" {
            let path = format!("{path}?events={events}");
            match uploader.delete(&path, |notice| progress.notice(notice))? {
                Deleted::Recorded => {}
                Deleted::CountChanged if interrupt.is_set() => return Ok(interrupted(batch)),
                Deleted::CountChanged => continue,
                Deleted::Unknown => bail!("no event names the batch {batch:?}"),
                Deleted::Interrupted => return Ok(interrupted(batch)),
            }
        }
        let message = || format!("taking back {} events of {batch}", HumanCount(events));
        progress.tell(0, message, message);
        if interrupt.sleep(ASK_EVERY) {
            return Ok(interrupted(batch));
        }
    };
    progress.finish();
    print(batch, events, started.elapsed());
    Ok(Outcome::Done)
}

fn print(batch: &str, events: u64, took: Duration) {
    let events = HumanCount(events);
    outln!("took back {batch} with {events} events in {:.1} s; its name is dead", took.as_secs_f64());
}

fn interrupted(batch: &str) -> Outcome {
    eprintln!("what the server has recorded it goes on with; the same command says when {batch} is gone");
    Outcome::Interrupted
}
