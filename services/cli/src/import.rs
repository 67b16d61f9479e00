//! `lastseen import`: events from NDJSON files into a running server.
//!
//! A thread reads, unpacks and cuts the next batch while the current one is on its way; memory holds three
//! batches at most. Nothing is remembered between runs: ids are idempotent, so a second run goes on.

mod reader;
mod report;

use anyhow::Context;

use self::reader::Batch;
use self::report::Report;
use crate::Outcome;
use crate::ahead::{self, Ended, Message};
use crate::args::ImportArgs;
use crate::input;
use crate::signals::Interrupt;
use crate::upload::{Sent, Uploader};

/// Imports all files, in order.
pub(crate) fn run(args: ImportArgs) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let bytes_total = input::total_bytes(&args.files)?;
    let uploader = Uploader::new(&args.send.to, interrupt.clone())?;
    let mut report = Report::new(args.files.clone(), bytes_total);
    let messages = reader::start(args.files, args.send.batch_events).context("cannot start a thread")?;
    let ended = ahead::take_all(&messages, &interrupt, |message| match message {
        Some(Message::Batch(batch)) => send(&batch, &uploader, &mut report),
        Some(Message::Failed(error)) => Err(error),
        None => {
            report.tick();
            Ok(Ended::AtTheEnd)
        }
    });
    report.finish(&ended);
    Ok(ended?.outcome(report.tally().refused))
}

fn send(batch: &Batch, uploader: &Uploader, report: &mut Report) -> anyhow::Result<Ended> {
    if !batch.body.is_empty() {
        match uploader.send(&batch.body, |notice| report.notice(notice))? {
            Sent::Answered(answer) => report.answered(batch, &answer),
            Sent::Interrupted => return Ok(Ended::Interrupted),
        }
    }
    report.read(batch);
    Ok(Ended::AtTheEnd)
}
