//! `lastseen replay`: folds the history in a data directory up to a position or an instant and prints the numbers. The
//! directory may be that of a running server, or a backup.

use std::sync::Arc;

use anyhow::{Context, bail};
use indicatif::HumanCount;
use lastseen_event::{Position, TenantOrdinal, UtcInstant};
use lastseen_log::{Disk, OsDisk, ReadOnlyLog};
use lastseen_projections::{Persons, Scope, Selection, Summary, ViewsBuilder};
use lastseen_store::{Clock, Detail, EventReader, Filter, Scan, SystemClock};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::Outcome;
use crate::args::{Format, ReplayArgs};
use crate::progress::Progress;
use crate::stdout::outln;

/// Folds what `args` choose of the log in `--data`.
pub(crate) fn run(args: &ReplayArgs) -> anyhow::Result<Outcome> {
    let at = || format!("cannot replay {}", args.data.display());
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::existing(&args.data).with_context(at)?);
    let log = ReadOnlyLog::open(disk).with_context(at)?;
    if let Some(until) = args.until
        && until > log.last_position()
    {
        bail!("the log ends at position {}, before {}", log.last_position().get(), until.get());
    }
    let tenant = match &args.tenant {
        Some(name) => {
            Some(log.members().tenant(name).with_context(|| format!("no event names tenant {name:?}"))?)
        }
        None => None,
    };
    let now = args.as_of.unwrap_or_else(|| SystemClock.now());
    let folded = fold(&log, args, tenant).with_context(at)?;
    let scope = tenant.map_or(Scope::All, Scope::Tenant);
    let replayed = Replayed {
        args,
        at: now,
        events: folded.events,
        position: folded.position,
        summary: folded.builder.finish().summary(scope, now.saturating_sub(args.window.span)),
    };
    replayed.print()?;
    Ok(Outcome::Done)
}

/// History up to where it was asked for.
struct Folded {
    builder: ViewsBuilder,
    events: u64,
    /// The last position that was looked at.
    position: Position,
}

fn fold(log: &ReadOnlyLog, args: &ReplayArgs, tenant: Option<TenantOrdinal>) -> anyhow::Result<Folded> {
    let selection = Selection {
        occurred_until: args.as_of,
        position_until: args.until,
        types: args.types.unwrap_or_default(),
        ..Selection::default()
    };
    let end = args.until.unwrap_or_else(|| log.last_position());
    let filter = Filter { tenant, occurred_until: args.as_of, ..Filter::default() };
    let mut reader =
        log.scan(Scan { after: Position::START, until: Some(end), detail: Detail::Facts, filter });
    let mut folded = Folded {
        builder: ViewsBuilder::new(selection, log.batches().retracted().collect(), Persons::default()),
        events: 0,
        position: end,
    };
    let (mut progress, all) = (Progress::of_events(), log.records_after(Position::START));
    let total = all - log.records_after(end);
    while let Some(batch) = reader.next_batch()? {
        batch.facts.iter().for_each(|fact| folded.builder.apply(fact));
        folded.events += batch.facts.len() as u64;
        progress.show(all - log.records_after(batch.reached), total);
    }
    progress.finish();
    Ok(folded)
}

/// The numbers and what they are of.
struct Replayed<'a> {
    args: &'a ReplayArgs,
    at: UtcInstant,
    events: u64,
    position: Position,
    summary: Summary,
}

impl Replayed<'_> {
    fn print(&self) -> anyhow::Result<()> {
        if self.args.format == Format::Json {
            outln!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let of = self.args.tenant.as_ref().map(|tenant| format!(" of tenant {tenant}")).unwrap_or_default();
        outln!(
            "{} events{of} up to position {}, active within {} before {}",
            HumanCount(self.events),
            self.position.get(),
            self.args.window.text,
            self.at
        );
        for (name, number) in self.summary.named() {
            outln!("{name:<18} {number:>12}");
        }
        Ok(())
    }
}

impl Serialize for Replayed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(tenant) = &self.args.tenant {
            map.serialize_entry("tenant_id", tenant)?;
        }
        map.serialize_entry("window", &self.args.window.text)?;
        map.serialize_entry("at", &self.at)?;
        for (name, number) in self.summary.named() {
            map.serialize_entry(name, &number)?;
        }
        map.serialize_entry("events", &self.events)?;
        map.serialize_entry("position", &self.position.get())?;
        map.end()
    }
}
