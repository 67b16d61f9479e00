//! The thread that reads ahead: rows in, batches of events out. It ends when nobody takes its batches any more.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use anyhow::Context;
use lastseen_event::wire::encode_published;
use lastseen_event::{BatchName, Event, EventType, TenantId, UserId, UtcInstant};
use xxhash_rust::xxh3::xxh3_128;

use super::decisions::Decisions;
use super::formats::record::{Fault, Next, Record};
use super::formats::rows::Rows;
use super::rules::logins::{Login, LoginRules};
use super::rules::notes::Notes;
use super::rules::users::{Deletion, Row, Turns, UserRules, event_of};
use super::rules::values::{Member, Moment, Tenant, Values};
use super::seen::Users;
use super::table::{Rules, Table, Tables};
use crate::ahead::{self, Batches, Message, Stop};
use crate::upload::BODY_BYTES_MAX;

/// More than the events of one row take.
const ROW_BYTES: usize = 8 * 1024;
/// No row has more, those of observations left aside.
const ROW_EVENTS: usize = 6;
/// Rows that are shown as they were understood.
const SHOWN_ROWS: usize = 3;

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
    /// The events of the row that was added last.
    last: Vec<(EventType, UtcInstant, Option<bool>, Option<bool>)>,
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
    /// Rows of users that are nobody.
    pub(super) skipped: u64,
    /// Logins that rows of users tell of.
    pub(super) observed: u64,
    /// Rows of logins, by what they count as.
    pub(super) logins: u64,
    pub(super) token_refreshes: u64,
    pub(super) signups: u64,
    pub(super) not_counted: u64,
    pub(super) events: u64,
    /// Number of tenants, in this batch and all before.
    pub(super) tenants: u64,
    /// Some rows as they were understood, each with the number of its table.
    pub(super) shown: Vec<(usize, String)>,
    pub(super) notes: Notes,
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
        self.skipped += other.skipped;
        self.observed += other.observed;
        self.logins += other.logins;
        self.token_refreshes += other.token_refreshes;
        self.signups += other.signups;
        self.not_counted += other.not_counted;
        self.events += other.events;
        self.tenants = self.tenants.max(other.tenants);
        self.shown.extend(other.shown.iter().cloned());
        self.notes.add(&other.notes);
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
            tenants: HashSet::new(),
            shown: 0,
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
    /// The hashes of their names.
    tenants: HashSet<u128>,
    /// Number of rows that were shown.
    shown: usize,
    bytes_read: Arc<AtomicU64>,
}

/// Facts of a table while its rows are read.
#[derive(Clone, Copy)]
struct Known {
    /// Its number.
    table: usize,
    moment: Moment,
    /// True if a row without a deletion says so.
    tells_deletions: bool,
    /// True if a row says whether its user is left out.
    tells_left_out: bool,
}

impl Known {
    fn of(there: &Rows, (at, table): (usize, &Table), (now, latest): (UtcInstant, UtcInstant)) -> Self {
        let (tells_deletions, tells_left_out) = match &table.rules {
            Rules::Users(rules) => {
                (rules.tells_deletions(|at| there.has(at)), rules.tells_left_out(|at| there.has(at)))
            }
            Rules::Logins(_) => (false, false),
        };
        let moment = Moment { now, latest, is_of_cells: there.is_of_cells() };
        Self { table: at, moment, tells_deletions, tells_left_out }
    }
}

impl Reader {
    fn read_all(mut self) -> Result<(), Stop> {
        let tables = self.job.tables.iter().len();
        let read = (0..tables).try_for_each(|table| self.read(table));
        // Also what was read before a failure.
        self.flush()?;
        read
    }

    fn read(&mut self, at: usize) -> Result<(), Stop> {
        let table = self.job.tables.get(at);
        let cannot_read = format!("cannot read {table}");
        let row_events = match &table.rules {
            Rules::Users(rules) => ROW_EVENTS + rules.observed.len(),
            Rules::Logins(_) => 1,
        };
        let mut record = Record::new(&table.fields);
        let mut rows = self.job.tables.rows(at, &self.bytes_read)?;
        self.job.tables.opened(at, &rows);
        loop {
            match rows.next(&mut record).with_context(|| cannot_read.clone())? {
                Next::End => return Ok(()),
                Next::Row => {
                    // Of a stream of objects, which columns there are is known only as they come.
                    let table = (at, self.job.tables.get(at));
                    let known = Known::of(&rows, table, (self.job.now, self.job.latest));
                    self.row(&known, &record);
                }
                Next::Bad(fault) => self.refuse(at, &record, fault),
            }
            let Batch { origins, rejects, body, .. } = &self.batch;
            if origins.len() + rejects.len() + row_events > self.job.batch_events.max(row_events)
                || body.len() + ROW_BYTES > BODY_BYTES_MAX
            {
                self.flush()?;
            }
        }
    }

    fn row(&mut self, known: &Known, record: &Record) {
        let Self { job, batch, users, .. } = self;
        let table = job.tables.get(known.table);
        let values = Values { record, fields: &table.fields, reading: &table.reading, moment: known.moment };
        let mut notes = Notes::default();
        let read = match &table.rules {
            Rules::Users(rules) => user(values, (rules, known), (job, users), batch, &mut notes),
            Rules::Logins(rules) => login(values, rules, job, batch, &mut notes),
        };
        match read {
            Ok(member) => {
                batch.read.rows += 1;
                batch.read.notes.add(&notes);
                if let Some((tenant_id, _)) = member {
                    self.tenants.insert(xxh3_128(tenant_id.as_str().as_bytes()));
                    batch.rows.push(Key::of(known.table, record, table));
                    if self.shown < SHOWN_ROWS {
                        self.shown += 1;
                        batch.show(known.table, record.line);
                    }
                }
            }
            Err(fault) => self.refuse(known.table, record, fault),
        }
    }

    fn refuse(&mut self, table: usize, record: &Record, fault: Fault) {
        let key = Key::of(table, record, self.job.tables.get(table));
        self.batch.rejects.push((key, fault));
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.bytes_read = self.bytes_read.load(Ordering::Relaxed);
        batch.read.tenants = self.tenants.len() as u64;
        self.batch.body.reserve(batch.body.len());
        self.batches.send(batch)
    }
}

/// The member of a row. `None`: it is nobody's.
type Whose<'a> = Option<(TenantId<'a>, UserId<'a>)>;

/// Adds the events of a row of a users table.
fn user<'a>(
    values: Values<'a>,
    (rules, known): (&'a UserRules, &Known),
    (job, users): (&'a Job, &mut Users),
    batch: &mut Batch,
    notes: &mut Notes,
) -> Result<Whose<'a>, Fault> {
    let Job { batch: of, deletions, leavings, now, .. } = job;
    let Some(row) = Row::read(values, rules, notes)? else {
        batch.read.skipped += 1;
        return Ok(None);
    };
    let member = (row.tenant_id.as_str(), row.user_id.as_str());
    if !users.insert(member) {
        return Err(second_row(values, rules));
    }
    let changed = (row.changed_at, *now);
    let deletion = match row.deletion {
        Deletion::At(deleted_at) => deletions.deleted_again_at(of, member, (deleted_at, *now)),
        Deletion::Sometime => {
            let at = deletions.gone_at(member, changed);
            notes.deleted_at_change += u64::from(row.changed_at == Some(at));
            notes.deleted_at_start += u64::from(at == *now);
            Some(at)
        }
        Deletion::None if known.tells_deletions => deletions.turned_at(of, (member, false), changed),
        Deletion::None => None,
    };
    let left_out = leavings.turned_at(of, (member, row.left_out), changed);
    let turns = Turns { deletion, left_out: left_out.filter(|_| known.tells_left_out) };
    let name = BatchName::new(of).expect("it was checked");
    batch.push(row.events(name, turns));
    let tally = &mut batch.read;
    let is_deleted = row.deletion != Deletion::None;
    tally.users += 1;
    tally.confirmed += u64::from(row.confirmed);
    tally.deleted += u64::from(is_deleted);
    tally.restored += u64::from(deletion.is_some() && !is_deleted);
    tally.left_out += u64::from(row.left_out);
    tally.observed += row.observed_at.len() as u64;
    Ok(Some((row.tenant_id, row.user_id)))
}

/// The fault of a second row of a user.
pub(super) fn second_row(values: Values<'_>, rules: &UserRules) -> Fault {
    let field = values.fields.get(rules.member.user);
    Fault::of(field, "expected one row for each user, found another one")
}

/// Adds the event of a row of a table of logins.
fn login<'a>(
    values: Values<'a>,
    rules: &'a LoginRules,
    job: &'a Job,
    batch: &mut Batch,
    notes: &mut Notes,
) -> Result<Whose<'a>, Fault> {
    let Some(Login { event_type, member, at }) = Login::read(values, rules, notes)? else {
        batch.read.not_counted += 1;
        return Ok(None);
    };
    let name = BatchName::new(&job.batch).expect("it was checked");
    batch.push(std::iter::once(event_of(name, member, (event_type, at), (true, false))));
    *match event_type {
        EventType::TokenRefresh => &mut batch.read.token_refreshes,
        EventType::SignupComplete => &mut batch.read.signups,
        _ => &mut batch.read.logins,
    } += 1;
    Ok(Some(member))
}

impl Key {
    fn of(at: usize, record: &Record, table: &Table) -> Self {
        let Member { tenant, user } = table.member();
        let tenant_id = match tenant {
            Tenant::Named(name) => name.clone(),
            Tenant::Column(at) => record.get(*at).unwrap_or_default().to_owned(),
        };
        let user_id = record.get(*user).unwrap_or_default().to_owned();
        Self { table: at, line: record.line, tenant_id, user_id }
    }
}

impl Batch {
    /// Adds the events of the row that comes next.
    fn push<'a>(&mut self, events: impl Iterator<Item = Event<'a>>) {
        self.last.clear();
        for event in events {
            encode_published(&event, &mut self.body);
            self.origins.push(self.rows.len());
            self.read.events += 1;
            self.read.include(event.occurred_at);
            self.last.push((event.event_type, event.occurred_at, event.confirmed, event.counts));
        }
    }

    /// Shows the events of the row that was added last.
    fn show(&mut self, table: usize, line: u64) {
        let Some(Key { tenant_id, user_id, .. }) = self.rows.last() else { return };
        let mut text = format!("{line}: tenant {tenant_id}, user {user_id}:");
        for (event_type, at, confirmed, counts) in &self.last {
            let confirmed = match confirmed {
                Some(true) => " (confirmed)",
                Some(false) => " (not confirmed)",
                None => "",
            };
            let counts = if *counts == Some(false) { " (left out)" } else { "" };
            let _ = write!(text, "\n    {event_type} {at}{confirmed}{counts}");
        }
        self.read.shown.push((table, text));
    }
}
