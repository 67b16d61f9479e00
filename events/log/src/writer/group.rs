//! The requests of one group, row by row: new, duplicate or conflict. Nothing outside the group changes until
//! it is durable.

use lastseen_event::{EventBatch, MemberRef, Position};
use lastseen_store::{AppendError, Appended, Batches, RefusedRows};

use super::{Answer, Reply, Request};
use crate::recent::{RecentIds, Standing};
use crate::thread::yield_now;

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
    refused: RefusedRows,
}

impl Group {
    /// Sorts out every row of every request, in order. A later request sees the ids of the earlier ones: those that are
    /// to be written are staged in `recent`.
    pub(super) fn check(requests: Vec<Request>, recent: &mut RecentIds, batches: &Batches) -> Self {
        /// Rows that are sorted out before others get a turn on this core.
        const STEP_ROWS: usize = 1_000;
        let mut group = Self { requests: Vec::with_capacity(requests.len()), new_events: 0 };
        let mut rows = 0;
        for request in requests {
            if rows >= STEP_ROWS {
                yield_now();
                rows = 0;
            }
            rows += request.batch.len();
            if request.looked_up_until < recent.first() {
                let _ = request.reply.send(Answer::LookAgain(request.batch));
                continue;
            }
            let on_refused = request.on_refused;
            let checked = Checked::new(request, recent, batches);
            if on_refused.refuses(&checked.refused) {
                recent.unstage(checked.new.len());
                let _ = checked.reply.send(Answer::Done(Err(AppendError::Refused(checked.refused))));
            } else {
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

    /// The rows to be written, in order, with their members where they are known.
    pub(super) fn new_rows(&self) -> impl Iterator<Item = (&EventBatch, usize, Option<MemberRef>)> {
        self.requests.iter().flat_map(|Checked { batch, members, new, .. }| {
            new.iter().map(|row| *row as usize).map(move |row| (batch, row, members[row]))
        })
    }

    /// The success of every request; `position` is that of the log's last event.
    pub(super) fn answers(&mut self, position: Position) -> Vec<(Reply, Appended)> {
        let answer = |request: Checked| {
            let Checked { new, duplicates, refused, reply, .. } = request;
            (reply, Appended { stored: new.len(), duplicates, refused, position })
        };
        self.requests.drain(..).map(answer).collect()
    }

    /// Tells every request the same error.
    pub(super) fn refuse(self, error: &AppendError) {
        for request in self.requests {
            let _ = request.reply.send(Answer::Done(Err(error.clone())));
        }
    }
}

impl Checked {
    fn new(request: Request, recent: &mut RecentIds, batches: &Batches) -> Self {
        /// Rows whose places are read at once.
        const AT_ONCE: usize = 64;
        let Request { batch, members, known, reply, .. } = request;
        let (mut new, mut duplicates) = (Vec::with_capacity(batch.len()), 0);
        let mut refused = RefusedRows::default();
        let mut ids = Vec::with_capacity(AT_ONCE);
        for start in (0..batch.len()).step_by(AT_ONCE) {
            let rows = start..batch.len().min(start + AT_ONCE);
            ids.clear();
            ids.extend(
                rows.clone().map(|row| recent.within(batch.names(row).0.as_str(), batch.identity(row).0)),
            );
            recent.touch(ids.iter().copied());
            for (row, id) in rows.zip(&ids) {
                if batch.batch_name(row).is_some_and(|name| batches.is_retracted(name)) {
                    refused.retracted.push(row);
                    continue;
                }
                let (_, fingerprint) = batch.identity(row);
                if known.get(row).copied().unwrap_or(false) {
                    duplicates += 1;
                    continue;
                }
                match recent.standing(*id, fingerprint) {
                    Standing::Duplicate => duplicates += 1,
                    Standing::Conflict => refused.conflicts.push(row),
                    Standing::New => {
                        recent.stage(*id, fingerprint);
                        new.push(u32::try_from(row).expect("a request has at most 10,000 events"));
                    }
                }
            }
        }
        Self { batch, members, reply, new, duplicates, refused }
    }
}
