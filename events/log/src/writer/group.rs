//! The requests of one group, row by row: new, duplicate or conflict. Nothing outside the group changes until
//! it is durable.

use hashbrown::HashMap;
use lastseen_event::{EventBatch, EventId, MemberRef, Position};
use lastseen_store::{AppendError, Appended};

use super::{Reply, Request};
use crate::recent::RecentIds;

/// The new ids of a group with their fingerprints; kept between groups for its memory.
pub(crate) type IdLookup = HashMap<EventId, u64>;

/// A group after its check: refused requests have their answer already.
pub(super) struct Group {
    requests: Vec<Checked>,
    new_events: usize,
}

struct Checked {
    batch: EventBatch,
    members: Vec<Option<MemberRef>>,
    reply: Reply,
    /// Ascending rows that are new.
    new: Vec<u32>,
    duplicates: usize,
    conflicts: Vec<usize>,
}

impl Group {
    /// Sorts out every row of every request, in order. A later request sees the ids of the earlier ones.
    pub(super) fn check(requests: Vec<Request>, recent: &RecentIds, staged: &mut IdLookup) -> Self {
        staged.clear();
        let mut group = Self { requests: Vec::with_capacity(requests.len()), new_events: 0 };
        for request in requests {
            let on_conflict = request.on_conflict;
            let checked = Checked::new(request, recent, staged);
            if on_conflict.refuses(&checked.conflicts) {
                for row in &checked.new {
                    staged.remove(&checked.batch.identity(*row as usize).0);
                }
                let _ = checked.reply.send(Err(AppendError::Conflicts { rows: checked.conflicts }));
            } else {
                group.new_events += checked.new.len();
                group.requests.push(checked);
            }
        }
        group
    }

    /// How many events are to be written.
    pub(super) fn new_events(&self) -> usize {
        self.new_events
    }

    /// The rows to be written, in order, with their members where they are known.
    pub(super) fn new_rows(&self) -> impl Iterator<Item = (&EventBatch, usize, Option<MemberRef>)> {
        self.requests.iter().flat_map(|Checked { batch, members, new, .. }| {
            new.iter().map(|row| *row as usize).map(move |row| (batch, row, members[row]))
        })
    }

    /// The ids that were written and their fingerprints, in order.
    pub(super) fn new_ids(&self) -> impl Iterator<Item = (EventId, u64)> {
        self.new_rows().map(|(batch, row, _)| batch.identity(row))
    }

    /// The success of every request; `position` is that of the log's last event.
    pub(super) fn answers(&mut self, position: Position) -> Vec<(Reply, Appended)> {
        let answer = |request: Checked| {
            let Checked { new, duplicates, conflicts, reply, .. } = request;
            (reply, Appended { stored: new.len(), duplicates, conflicts, position })
        };
        self.requests.drain(..).map(answer).collect()
    }

    /// Tells every request the same error.
    pub(super) fn refuse(self, error: &AppendError) {
        for request in self.requests {
            let _ = request.reply.send(Err(error.clone()));
        }
    }
}

impl Checked {
    fn new(request: Request, recent: &RecentIds, staged: &mut IdLookup) -> Self {
        let Request { batch, members, reply, .. } = request;
        let new = Vec::with_capacity(batch.len());
        let mut checked = Self { batch, members, reply, new, duplicates: 0, conflicts: Vec::new() };
        for row in 0..checked.batch.len() {
            let (id, fingerprint) = checked.batch.identity(row);
            match recent.get(id).or_else(|| staged.get(&id).copied()) {
                Some(known) if known == fingerprint => checked.duplicates += 1,
                Some(_) => checked.conflicts.push(row),
                None => {
                    staged.insert(id, fingerprint);
                    checked.new.push(u32::try_from(row).expect("a request has at most 10,000 events"));
                }
            }
        }
        checked
    }
}
