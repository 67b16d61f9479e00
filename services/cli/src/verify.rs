//! `lastseen verify`: reads a whole log and lists everything that is wrong with it.

mod projections;

use std::sync::Arc;

use anyhow::Context;
use indicatif::{HumanBytes, HumanCount};
use lastseen_log::{Disk, Finding, LogOptions, OsDisk, Verified};
use serde::Serialize;

use self::projections::Compared;
use crate::Outcome;
use crate::args::{Format, VerifyArgs};
use crate::progress::Progress;
use crate::stdout::outln;

/// Checks the log in `--data`.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let at = || format!("cannot check {}", args.data.display());
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::existing(&args.data).with_context(at)?);
    let mut progress = Progress::of_bytes();
    let verified = lastseen_log::verify(&disk, LogOptions::default().recent_ids, |done, total| {
        progress.show(done, total);
    });
    progress.finish();
    let verified = verified.with_context(at)?;
    // A log that is not sound has no views to compare with.
    let compared = if args.projections && verified.findings.is_empty() {
        Some(projections::compare(&args.data, disk).with_context(at)?)
    } else {
        None
    };
    match args.format {
        Format::Text => {
            print_text(&verified);
            compared.iter().for_each(Compared::print);
        }
        Format::Json => print_json(&verified, compared.as_ref())?,
    }
    let is_sound = verified.findings.is_empty() && compared.is_none_or(|compared| compared.is_sound());
    Ok(if is_sound { Outcome::Done } else { Outcome::Findings })
}

fn print_text(verified: &Verified) {
    for Finding { kind, place } in &verified.findings {
        outln!("{}: {place}", kind.as_str());
    }
    let Verified {
        files,
        segments,
        bytes,
        frames,
        events,
        members,
        last_position,
        unfinished_bytes,
        findings,
    } = verified;
    if *unfinished_bytes > 0 {
        outln!("{unfinished_bytes} bytes at the end are being written, or were when the server stopped");
    }
    let found = if findings.is_empty() { "sound".to_owned() } else { format!("{} findings", findings.len()) };
    outln!(
        "{found}: {} events of {} members up to position {}, {segments} segments, {} frames in {files} WAL files, {}",
        HumanCount(*events),
        HumanCount(*members as u64),
        last_position.get(),
        HumanCount(*frames),
        HumanBytes(*bytes),
    );
}

#[derive(Serialize)]
struct Json<'a> {
    files: u64,
    segments: u64,
    bytes: u64,
    frames: u64,
    events: u64,
    members: usize,
    last_position: u64,
    unfinished_bytes: u64,
    findings: Vec<JsonFinding<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    projections: Option<&'a Compared>,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    kind: &'static str,
    file: &'a str,
    offset: u64,
    expected: &'a str,
    found: &'a str,
}

fn print_json(verified: &Verified, projections: Option<&Compared>) -> anyhow::Result<()> {
    let findings = verified.findings.iter().map(|Finding { kind, place }| JsonFinding {
        kind: kind.as_str(),
        file: &place.file,
        offset: place.offset,
        expected: &place.expected,
        found: &place.found,
    });
    let json = Json {
        files: verified.files,
        segments: verified.segments,
        bytes: verified.bytes,
        frames: verified.frames,
        events: verified.events,
        members: verified.members,
        last_position: verified.last_position.get(),
        unfinished_bytes: verified.unfinished_bytes,
        findings: findings.collect(),
        projections,
    };
    outln!("{}", serde_json::to_string(&json)?);
    Ok(())
}
