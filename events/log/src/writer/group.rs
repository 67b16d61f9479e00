//! The requests of one group, row by row: new, duplicate or conflict. Nothing outside the group changes until it is
//! durable, but for members: those of a request that is refused later keep their numbers, and are written with the next
//! group.

use std::collections::HashSet;

use lastseen_event::{EventBatch, MemberRef, Position};
use lastseen_store::{AppendError, Appended, Batches, Limit, MemberDictionary, RefusedRows};

use super::message::{Answer, Overtaken, Purpose, Reply, Request, ToldApart};
use crate::history::History;
use crate::ids::recent::{RecentIds, Standing};
use crate::members::Full;
use crate::origin::Stamp;
use crate::thread::yield_now;

/// A group after its check: refused requests have their answer already.
#[derive(Default)]
pub(super) struct Group {
    requests: Vec<Checked>,
    new_events: usize,
    /// Members that are new, in the order of their numbers; also those of requests that were refused.
    pub(super) new_members: Vec<MemberRef>,
    /// Batches that are new.
    new_batches: HashSet<Box<str>>,
}

struct Checked {
    batch: EventBatch,
    stamps: Vec<Stamp>,
    members: Vec<Option<MemberRef>>,
    reply: Reply,
    /// Ascending rows that are new.
    new: Vec<u32>,
    duplicates: usize,
    refused: RefusedRows,
    /// Held until the request is answered.
    _bytes: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// The state that a group is checked against.
pub(super) struct Against<'a> {
    pub(super) history: &'a History,
    pub(super) recent: &'a mut RecentIds,
    pub(super) batches: &'a Batches,
    /// The position of the first event of the group.
    pub(super) next: Position,
    pub(super) batches_max: usize,
    /// Records of a log that is followed are here already up to this position.
    pub(super) shown: Position,
}

/// Look-ups that were overtaken so often are ended by the writer, so that a publisher cannot starve.
const OVERTAKEN_MAX: u32 = 2;

impl Group {
    /// Sorts out every row of every request, in order. A later request sees the ids of the earlier ones: those that are
    /// to be written are staged among the recent ids.
    pub(super) fn check(requests: Vec<Request>, against: &mut Against<'_>) -> Self {
        /// Rows that are sorted out before others get a turn on this core.
        const STEP_ROWS: usize = 1_000;
        let mut group = Self { requests: Vec::with_capacity(requests.len()), ..Self::default() };
        let mut rows = 0;
        for request in requests {
            if rows >= STEP_ROWS {
                yield_now();
                rows = 0;
            }
            rows += request.batch.len();
            let Some(request) = against.catch_up(request) else { continue };
            let purpose = request.purpose;
            let mut checked = Checked::new(request, against);
            let Purpose::Append(on_refused) = purpose else {
                against.recent.unstage(checked.new.len());
                checked.tell_apart(against.shown);
                continue;
            };
            let failed = if on_refused.refuses(&checked.refused) {
                Some(AppendError::Refused(std::mem::take(&mut checked.refused)))
            } else {
                against.make_room(&mut checked, &mut group).err()
            };
            if let Some(error) = failed {
                against.recent.unstage(checked.new.len());
                let _ = checked.reply.send(Answer::Done(Err(error)));
            } else {
                // Of a request that is refused, nothing is taken in.
                let last = checked.stamps.last().map(|last| last.position);
                against.shown = against.shown.max(last.unwrap_or(Position::START));
                group.new_events += checked.new.len();
                group.requests.push(checked);
            }
        }
        group
    }

    /// Number of events to be written.
    pub(super) fn new_events(&self) -> usize {
        self.new_events
    }

    /// The rows to be written, in order, with their members, and their stamps if they have some.
    pub(super) fn new_rows(&self) -> impl Iterator<Item = (&EventBatch, usize, MemberRef, Option<Stamp>)> {
        self.requests.iter().flat_map(|Checked { batch, stamps, members, new, .. }| {
            new.iter().map(|row| *row as usize).map(move |row| {
                let member = members[row].expect("every new row of a group that was checked has its member");
                (batch, row, member, stamps.get(row).copied())
            })
        })
    }

    /// Tells every request that it succeeded; `position` is that of the log's last record.
    pub(super) fn succeed(self, position: Position) {
        for Checked { new, duplicates, refused, reply, .. } in self.requests {
            let appended = Appended { stored: new.len(), duplicates, refused, position };
            // A caller that went away needs no answer.
            let _ = reply.send(Answer::Done(Ok(appended)));
        }
    }

    /// Tells every request the same error.
    pub(super) fn refuse(self, error: &AppendError) {
        for request in self.requests {
            let _ = request.reply.send(Answer::Done(Err(error.clone())));
        }
    }
}

impl Against<'_> {
    /// Sends a request back whose look-up was overtaken: ids left the window that it did not look for elsewhere. After some
    /// times, looks for them here: they are few by then. `None`: the request has its answer.
    fn catch_up(&self, mut request: Request) -> Option<Request> {
        let until = self.recent.first();
        if request.look_up.until >= until {
            return Some(request);
        }
        if request.look_up.overtaken < OVERTAKEN_MAX {
            let Request { batch, stamps, mut look_up, reply, .. } = request;
            look_up.overtaken += 1;
            let _ = reply.send(Answer::LookAgain(Box::new(Overtaken { batch, stamps, look_up })));
            return None;
        }
        let Request { batch, members, look_up, .. } = &mut request;
        let all = self.history.members.read();
        for (row, member) in members.iter_mut().enumerate().filter(|(_, member)| member.is_none()) {
            let (tenant_id, user_id) = batch.names(row);
            *member = all.find(tenant_id.as_str(), user_id.as_str());
        }
        drop(all);
        let suspects = self.history.ids.suspects(batch, members, (look_up, until));
        match self.history.ids.find(suspects, look_up) {
            Ok(()) => {
                look_up.until = until;
                Some(request)
            }
            Err(error) => {
                let _ = request.reply.send(Answer::Done(Err(error.into())));
                None
            }
        }
    }

    /// Makes the members of the request's new rows, where its events, batches and members fit into the log.
    fn make_room(&self, checked: &mut Checked, group: &mut Group) -> Result<(), AppendError> {
        let end = self.next.get() + (group.new_events + checked.new.len()) as u64;
        if end > RecentIds::POSITIONS_MAX {
            return Err(AppendError::Full(Limit::Events));
        }
        let new_batches = self.new_batches(checked, group);
        let batches = self.batches.len() + group.new_batches.len() + new_batches.len();
        if !new_batches.is_empty() && batches > self.batches_max {
            return Err(AppendError::TooManyBatches { max: self.batches_max });
        }
        self.make_members(checked, group)?;
        group.new_batches.extend(new_batches);
        Ok(())
    }

    /// The batches that the request is the first to name.
    fn new_batches(&self, checked: &Checked, group: &Group) -> HashSet<Box<str>> {
        let mut last = "";
        let mut new = HashSet::new();
        for row in &checked.new {
            let Some(name) = checked.batch.batch_name(*row as usize) else { continue };
            // Events of one batch come one after the other.
            if name.as_str() != last {
                last = name.as_str();
                if self.batches.find(last).is_none() && !group.new_batches.contains(last) {
                    new.insert(last.into());
                }
            }
        }
        new
    }

    fn make_members(&self, checked: &mut Checked, group: &mut Group) -> Result<(), AppendError> {
        /// Rows whose members are made under one hold of the dictionary's lock.
        const LOCKED_ROWS: usize = 256;
        let Checked { batch, members, new, .. } = checked;
        for rows in new.chunks(LOCKED_ROWS) {
            if rows.iter().all(|row| members[*row as usize].is_some()) {
                continue;
            }
            let mut dictionary = self.history.members.write();
            for row in rows.iter().map(|row| *row as usize) {
                if members[row].is_some() {
                    continue;
                }
                let (tenant_id, user_id) = batch.names(row);
                let resolved = dictionary.resolve(tenant_id, user_id);
                let (member, is_new) = resolved.map_err(|Full| AppendError::Full(Limit::Members))?;
                members[row] = Some(member);
                if is_new {
                    group.new_members.push(member);
                }
            }
        }
        Ok(())
    }
}

impl Checked {
    fn new(request: Request, against: &mut Against<'_>) -> Self {
        /// Rows whose places are read at once.
        const AT_ONCE: usize = 64;
        let Against { history, recent, batches, shown, .. } = against;
        let by_id_alone = history.ids.key.is_by_id_alone();
        let Request { batch, stamps, members, look_up, reply, bytes, .. } = request;
        let (mut new, mut duplicates) = (Vec::with_capacity(batch.len()), 0);
        let mut refused = RefusedRows::default();
        for start in (0..batch.len()).step_by(AT_ONCE) {
            let rows = start..batch.len().min(start + AT_ONCE);
            recent.touch(look_up.own[rows.clone()].iter().copied());
            for row in rows {
                if stamps.get(row).is_some_and(|stamp| stamp.position <= *shown) {
                    duplicates += 1;
                    continue;
                }
                if batch.batch_name(row).is_some_and(|name| batches.is_retracted(name)) {
                    refused.retracted.push(row);
                    continue;
                }
                if look_up.known.get(row).copied().unwrap_or(false) {
                    duplicates += 1;
                    continue;
                }
                let (own, (_, fingerprint)) = (look_up.own[row], batch.identity(row));
                let standing = if by_id_alone {
                    recent.standing_by_id(own, fingerprint)
                } else {
                    recent.standing(own, fingerprint)
                };
                match standing {
                    Standing::Duplicate => duplicates += 1,
                    Standing::Conflict => refused.conflicts.push(row),
                    Standing::New => {
                        recent.stage(own, fingerprint);
                        new.push(u32::try_from(row).expect("a request has at most 10,000 events"));
                    }
                }
            }
        }
        Self { batch, stamps, members, reply, new, duplicates, refused, _bytes: bytes }
    }

    /// Answers a request whose rows are only told apart.
    fn tell_apart(self, reached: Position) {
        let Self { batch, new, refused, reply, .. } = self;
        let _ = reply.send(Answer::ToldApart(Box::new(ToldApart { batch, new, refused, reached })));
    }
}
