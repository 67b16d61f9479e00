//! One connection to the database: takes the table, then publishes rows as they come.

use std::sync::Arc;

use anyhow::{Context, bail};
use lastseen_client::{Event, Refused};
use tokio::sync::Notify;
use tokio_postgres::{Client, Statement};

use super::outbox::{CHANNEL, Statements};
use super::row::OutboxRow;
use super::{Relay, lock};
use crate::postgres;
use crate::written::described;

/// The settings that would end a connection that waits, or a statement that takes its time. Rows that a policy hides
/// would wait for ever: the database is to say so.
const SETTINGS: &str = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN \
    ('idle_session_timeout', 'statement_timeout'); SET row_security TO off";
/// Batches of one pass. Then the table is looked at from its beginning again.
const PASS_BATCHES: usize = 64;

/// Why a connection is left in order.
pub(super) enum Ended {
    /// The relay is to stop.
    Stopped,
    /// The table is empty, and that was asked for.
    Empty,
}

/// A connection that has the table.
pub(super) struct Session<'a> {
    relay: &'a Relay,
    client: Client,
    /// New rows, or the end of the connection.
    told: Arc<Notify>,
    read: Statement,
    count: Statement,
    settle: Statement,
    kept: Statement,
    set_aside: Statement,
}

/// Rows on their way.
#[derive(Default)]
struct Batch {
    rows: Vec<(i64, Event)>,
    /// Rows that have no event in them, with the reason.
    unfit: Vec<(i64, String)>,
}

impl<'a> Session<'a> {
    /// Connects, takes the table and publishes its rows.
    ///
    /// # Errors
    /// The database's own, or that it is not there.
    pub(super) async fn run(relay: &'a Relay) -> anyhow::Result<Ended> {
        let name = postgres::name_of(&relay.database);
        let session = async {
            let told = Arc::new(Notify::new());
            let client = postgres::connect(&relay.database, &told).await?;
            client.batch_execute(SETTINGS).await?;
            let statements = relay.outbox.statements(&client).await?;
            // A relay that stands by looks again and again: one that waited for the lock within a statement would keep
            // dead rows of the whole database from being cleared.
            let mut has_told = false;
            loop {
                let is_ours = client.query_one(&statements.lock, &[]).await?.try_get(0)?;
                relay.numbers.reaches();
                if is_ours {
                    break;
                }
                if !std::mem::replace(&mut has_told, true) {
                    tracing::info!(table = relay.outbox.name(), "another relay has the table; standing by");
                }
                if relay.pause(relay.poll).await {
                    return Ok(None);
                }
            }
            client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
            let Statements { read, count, settle, kept, set_aside, .. } = statements;
            anyhow::Ok(Some(Self {
                relay,
                read: client.prepare(&read).await?,
                count: client.prepare(&count).await?,
                settle: client.prepare(&settle).await?,
                kept: client.prepare(&kept).await?,
                set_aside: client.prepare(&set_aside).await?,
                client,
                told,
            }))
        };
        let session = session.await.with_context(|| format!("cannot use the database {name}"))?;
        let Some(session) = session else { return Ok(Ended::Stopped) };
        tracing::info!(database = name, table = relay.outbox.name(), "relaying");
        relay.numbers.relays();
        // What an earlier connection published may still be on its way. Its rows are read again.
        relay.publisher.flush().await?;
        lock(&relay.refused).clear();
        session.publish_all().await.with_context(|| format!("lost the database {name}"))
    }

    async fn publish_all(&self) -> anyhow::Result<Ended> {
        loop {
            let is_empty = self.pass().await?;
            if self.relay.is_stopping() {
                return Ok(Ended::Stopped);
            }
            if !is_empty {
                continue;
            }
            self.relay.numbers.emptied();
            if self.relay.ends_when_empty {
                return Ok(Ended::Empty);
            }
            tokio::select! {
                () = self.told.notified() => {}
                () = tokio::time::sleep(self.relay.poll) => {}
                () = self.relay.stopped() => return Ok(Ended::Stopped),
            }
        }
    }

    /// Publishes rows in the order of their numbers, from the first one on. Rows are read and deleted while others are on
    /// their way. True if there was none.
    async fn pass(&self) -> anyhow::Result<bool> {
        let limit = i64::try_from(self.relay.batch_rows).unwrap_or(i64::MAX);
        let mut after = i64::MIN;
        let mut under_way: Option<Batch> = None;
        for number in 0..=PASS_BATCHES {
            let is_last = number == PASS_BATCHES || self.relay.is_stopping();
            let mut rows =
                if is_last { Vec::new() } else { self.client.query(&self.read, &[&after, &limit]).await? };
            let is_end = rows.is_empty() && !is_last;
            // A row with a lower number may have been committed meanwhile. It goes before these: the next pass has both.
            if let Some(batch) = under_way.as_ref().filter(|_| !rows.is_empty())
                && self.has_others(after, batch).await?
            {
                rows.clear();
            }
            let mut batch = Batch::default();
            let mut oldest = None;
            for row in &rows {
                let OutboxRow { seq, occurred_at, event } = OutboxRow::read(row)?;
                after = seq;
                oldest = oldest.or(occurred_at);
                match event {
                    Ok(event) => batch.rows.push((seq, event)),
                    Err(faults) => batch.unfit.push((seq, described(&faults))),
                }
            }
            if let (0, Some(oldest)) = (number, oldest) {
                self.relay.numbers.waits_since(oldest);
            }
            let answered = match under_way.take() {
                None => None,
                Some(batch) => {
                    self.relay.publisher.flush().await?;
                    Some((batch, std::mem::take(&mut *lock(&self.relay.refused))))
                }
            };
            for (_, event) in &batch.rows {
                self.relay.publisher.publish(event.clone()).await?;
            }
            if let Some((batch, refused)) = answered {
                self.settle(batch, &refused).await?;
                match oldest {
                    Some(oldest) => self.relay.numbers.waits_since(oldest),
                    // Nothing was behind them.
                    None if is_end => self.relay.numbers.emptied(),
                    None => {}
                }
            }
            if rows.is_empty() {
                return Ok(number == 0 && !is_last);
            }
            under_way = Some(batch);
        }
        Ok(false)
    }

    /// True if other rows than those of a batch wait up to a number.
    async fn has_others(&self, upto: i64, batch: &Batch) -> anyhow::Result<bool> {
        let of_batch = i64::try_from(batch.rows.len() + batch.unfit.len()).unwrap_or(i64::MAX);
        let found = self.client.query_one(&self.count, &[&upto, &of_batch.saturating_add(1)]).await?;
        Ok(found.try_get::<_, i64>(0)? != of_batch)
    }

    /// Deletes or marks the rows of a batch that was answered, and sets refused ones aside.
    async fn settle(&self, batch: Batch, refused: &[Refused]) -> anyhow::Result<()> {
        let Batch { mut rows, mut unfit } = batch;
        if !refused.is_empty() {
            let fault = |event: &Event| refused.iter().find(|refused| refused.event == event.as_json());
            rows.retain(|(seq, event)| match fault(event) {
                Some(refused) => {
                    unfit.push((*seq, described(&refused.faults)));
                    false
                }
                None => true,
            });
        }
        let (numbers, ids): (Vec<i64>, Vec<String>) =
            rows.iter().map(|(seq, event)| (*seq, event.id().to_string())).unzip();
        let (unfit_numbers, faults): (Vec<i64>, Vec<String>) = unfit.into_iter().unzip();
        for (seq, fault) in unfit_numbers.iter().zip(&faults) {
            tracing::error!(table = self.relay.outbox.name(), seq, fault, "a row is set aside");
        }
        if !numbers.is_empty() {
            let settled = self.client.execute(&self.settle, &[&numbers, &ids]).await?;
            if settled < numbers.len() as u64 {
                // Somebody else may have deleted some; but a trigger or a rule may also keep them.
                let kept = self.client.query_one(&self.kept, &[&numbers, &ids]).await?;
                let kept: i64 = kept.try_get(0)?;
                if kept > 0 {
                    bail!(
                        "{kept} rows that were published could not be deleted or marked: does a trigger keep them?"
                    );
                }
            }
        }
        if !unfit_numbers.is_empty() {
            self.client.execute(&self.set_aside, &[&unfit_numbers, &faults]).await?;
        }
        self.relay.numbers.settled(numbers.len());
        self.relay.numbers.puts_aside(faults.len());
        Ok(())
    }
}
