//! The thread that reads ahead: rows in, batches of events out. It ends when nobody takes its batches any more.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use anyhow::Context;
use lastseen_event::wire::encode_published;
use lastseen_event::{BatchName, Event, EventType, UtcInstant};

use super::columns::{Column, Fault, Next, Record};
use super::decisions::Decisions;
use super::row::{self, Row, Turns};
use super::table::{Kind, Tables};
use super::users::Users;
use crate::ahead::{self, Batches, Message, Stop};
use crate::upload::BODY_BYTES_MAX;

/// More than the events of one row take.
const ROW_BYTES: usize = 8 * 1024;
/// No row has more.
const ROW_EVENTS: usize = 6;

/// The work of a reader.
pub(super) struct Job {
    pub(super) tables: Tables,
    pub(super) batch: String,
    pub(super) batch_events: usize,
    pub(super) deletions: Decisions,
    pub(super) leavings: Decisions,
    /// When the run began.
    pub(super) now: UtcInstant,
    /// No event may have occurred later.
    pub(super) latest: UtcInstant,
}

/// The events of one request, the rows they come from, and what the rows were.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) body: Vec<u8>,
    /// The row of each event in `body`, by its index.
    pub(super) origins: Vec<usize>,
    pub(super) rows: Vec<Key>,
    /// Rows that are refused without asking the server.
    pub(super) rejects: Vec<(Key, Fault)>,
    pub(super) read: Tally,
    /// Bytes of all files read when the batch was complete.
    pub(super) bytes_read: u64,
}

/// The user of a row, and its place.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// The number of the table, from 0.
    pub(super) table: usize,
    pub(super) line: u64,
    pub(super) tenant_id: String,
    pub(super) user_id: String,
}

/// The kinds of rows that were read, counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Those that were read as what they should be.
    pub(super) rows: u64,
    pub(super) users: u64,
    pub(super) confirmed: u64,
    pub(super) deleted: u64,
    pub(super) restored: u64,
    pub(super) left_out: u64,
    pub(super) logins: u64,
    pub(super) events: u64,
    /// Least and greatest instant of an event.
    pub(super) span: Option<(UtcInstant, UtcInstant)>,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.users += other.users;
        self.confirmed += other.confirmed;
        self.deleted += other.deleted;
        self.restored += other.restored;
        self.left_out += other.left_out;
        self.logins += other.logins;
        self.events += other.events;
        for at in other.span.into_iter().flat_map(|(least, greatest)| [least, greatest]) {
            self.include(at);
        }
    }

    fn include(&mut self, at: UtcInstant) {
        let (least, greatest) = self.span.unwrap_or((at, at));
        self.span = Some((least.min(at), greatest.max(at)));
    }
}

/// Starts reading, into batches of at most `batch_events` events and those of one more row.
pub(super) fn start(job: Job) -> io::Result<Receiver<Message<Batch>>> {
    ahead::start(move |batches| {
        let reader = Reader {
            job,
            batches,
            batch: Batch::default(),
            users: Users::default(),
            bytes_read: Arc::default(),
        };
        reader.read_all()
    })
}

struct Reader {
    job: Job,
    batches: Batches<Batch>,
    batch: Batch,
    /// Those that had a row already: of two rows of one user, which one holds would change from run to run.
    users: Users,
    bytes_read: Arc<AtomicU64>,
}

impl Reader {
    fn read_all(mut self) -> Result<(), Stop> {
        let tables = self.job.tables.iter().len();
        let read = (0..tables).try_for_each(|table| self.read(table));
        // Also what was read before a failure.
        self.flush()?;
        read
    }

    fn read(&mut self, table: usize) -> Result<(), Stop> {
        let cannot_read = format!("cannot read {}", self.job.tables.get(table));
        let mut rows = self.job.tables.rows(table, &self.bytes_read)?;
        let mut record = Record::default();
        loop {
            match rows.next(&mut record).with_context(|| cannot_read.clone())? {
                Next::End => return Ok(()),
                Next::Row => self.row(
                    table,
                    &record,
                    [Column::Deleted, Column::LeftOut].map(|column| rows.has(column)),
                ),
                Next::Bad(fault) => self.refuse(table, &record, fault),
            }
            let Batch { origins, rejects, body, .. } = &self.batch;
            if origins.len() + rejects.len() + ROW_EVENTS > self.job.batch_events.max(ROW_EVENTS)
                || body.len() + ROW_BYTES > BODY_BYTES_MAX
            {
                self.flush()?;
            }
        }
    }

    /// `tells_deletions`: a row without a deletion says so. `tells_left_out`: a row says whether its user is left out.
    fn row(&mut self, table: usize, record: &Record, [tells_deletions, tells_left_out]: [bool; 2]) {
        let Job { batch: of, deletions, leavings, now, latest, .. } = &self.job;
        let name = BatchName::new(of).expect("it was checked");
        let read = match self.job.tables.get(table).kind {
            Kind::Users => Row::read(record, *latest).and_then(|row| {
                let member = (row.tenant_id.as_str(), row.user_id.as_str());
                if !self.users.insert(member) {
                    return Err(Fault::second_row());
                }
                let modified = (row.modified_at, *now);
                let deletion = match row.deleted_at {
                    Some(deleted_at) => deletions.deleted_again_at(of, member, (deleted_at, *now)),
                    None if tells_deletions => deletions.turned_at(of, (member, false), modified),
                    None => None,
                };
                let left_out = leavings.turned_at(of, (member, row.left_out), modified);
                let turns = Turns { deletion, left_out: left_out.filter(|_| tells_left_out) };
                self.batch.push(&row.events(name, turns).collect::<Vec<_>>());
                let tally = &mut self.batch.read;
                tally.users += 1;
                tally.confirmed += u64::from(row.confirmed);
                tally.deleted += u64::from(row.deleted_at.is_some());
                tally.restored += u64::from(deletion.is_some() && row.deleted_at.is_none());
                tally.left_out += u64::from(row.left_out);
                tally.logins += u64::from(row.observed_at.is_some());
                Ok(())
            }),
            Kind::Logins => login(record, name, *latest).map(|event| {
                self.batch.push(&[event]);
                self.batch.read.logins += 1;
            }),
        };
        match read {
            Ok(()) => {
                self.batch.read.rows += 1;
                self.batch.rows.push(Key::of(table, record));
            }
            Err(fault) => self.refuse(table, record, fault),
        }
    }

    fn refuse(&mut self, table: usize, record: &Record, fault: Fault) {
        self.batch.rejects.push((Key::of(table, record), fault));
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.bytes_read = self.bytes_read.load(Ordering::Relaxed);
        self.batch.body.reserve(batch.body.len());
        self.batches.send(batch)
    }
}

/// The event of a row of a table of logins.
fn login<'a>(record: &'a Record, batch: BatchName<'a>, latest: UtcInstant) -> Result<Event<'a>, Fault> {
    let member = row::member(record)?;
    let at = row::instant(record, Column::Occurred, latest)?;
    Ok(row::event_of(batch, member, (EventType::Login, at), (true, false)))
}

impl Key {
    fn of(table: usize, record: &Record) -> Self {
        let name = |column| record.get(column).unwrap_or_default().to_owned();
        Self { table, line: record.line, tenant_id: name(Column::Tenant), user_id: name(Column::User) }
    }
}

impl Batch {
    /// Adds the events of the row that comes next.
    fn push(&mut self, events: &[Event<'_>]) {
        for event in events {
            encode_published(event, &mut self.body);
            self.origins.push(self.rows.len());
            self.read.events += 1;
            self.read.include(event.occurred_at);
        }
    }
}
