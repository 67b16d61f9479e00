//! `lastseen import`: events from NDJSON files into a running server.
//!
//! A thread reads, unpacks and cuts the next batch while the current one is on its way; memory holds three
//! batches at most. Nothing is remembered between runs: ids are idempotent, so a second run goes on.

mod reader;
mod report;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;

use self::reader::{Batch, Message};
use self::report::Report;
use crate::Outcome;
use crate::args::ImportArgs;
use crate::input;
use crate::signals::Interrupt;
use crate::upload::{Sent, Uploader};

/// How long a signal may go unnoticed while the reader waits for input.
const POLL: Duration = Duration::from_millis(100);

/// Imports all files, in order.
pub(crate) fn run(args: ImportArgs) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let bytes_total = input::total_bytes(&args.files)?;
    let uploader = Uploader::new(&args.send, interrupt.clone());
    let mut report = Report::new(args.files.clone(), bytes_total);
    let messages = reader::start(args.files, args.send.batch_events).context("cannot start a thread")?;
    let ended = send_all(&messages, &uploader, &mut report, &interrupt);
    report.finish(&ended);
    match ended? {
        Ended::AtTheEnd if report.tally().refused > 0 => Ok(Outcome::Findings),
        Ended::AtTheEnd => Ok(Outcome::Done),
        Ended::Interrupted => Ok(Outcome::Interrupted),
    }
}

/// Why no further batch is sent, failures apart.
enum Ended {
    AtTheEnd,
    Interrupted,
}

fn send_all(
    messages: &Receiver<Message>,
    uploader: &Uploader,
    report: &mut Report,
    interrupt: &Interrupt,
) -> anyhow::Result<Ended> {
    loop {
        match messages.recv_timeout(POLL) {
            // The reader is through with all files.
            Err(RecvTimeoutError::Disconnected) => return Ok(Ended::AtTheEnd),
            _ if interrupt.is_set() => return Ok(Ended::Interrupted),
            Ok(Message::Batch(batch)) => {
                if let Ended::Interrupted = send(&batch, uploader, report)? {
                    return Ok(Ended::Interrupted);
                }
            }
            Ok(Message::Failed(error)) => return Err(error),
            Err(RecvTimeoutError::Timeout) => report.tick(),
        }
    }
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
