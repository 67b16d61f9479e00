//! The state of all nodes, under one lock: who runs, who leads, what is written where, and who waits for a quorum.
//! Every function is short and blocks on nothing; files are written by the heart, outside the lock.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::disk::{NodeFile, Stored, encode};
use crate::gate::Gate;
use crate::options::Timing;
use crate::record::{Position, Record, Ticks};
use crate::store::{Decision, Expected, Proposal, Removal, Store, Written};

/// The answer to an append or a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Stored, on a quorum.
    Written(Written),
    /// Refused: the stream has another state.
    WrongExpectedVersion {
        /// Revision of its last event.
        current: Option<i64>,
    },
    /// Refused: the stream has a tombstone.
    StreamDeleted,
    /// No quorum in time. Stored or not, nobody knows yet.
    TimedOut,
    /// Refused: the node knows no leader.
    NotReady,
}

/// Called once with the outcome, never under the lock.
pub(crate) type Reply = Box<dyn FnOnce(Outcome) + Send>;

/// A change that a client asks for.
#[derive(Debug)]
pub(crate) enum Change {
    /// Events for a stream.
    Append(Proposal),
    /// The end of a stream.
    Remove { stream: String, expected: Expected, removal: Removal },
}

/// The part of a node in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Takes appends.
    Leader,
    /// Has what this leader has.
    Follower {
        /// Index of the leader.
        leader: usize,
    },
    /// Knows no leader.
    NotReady,
}

/// A node's process while it runs: all of it is lost when it is killed.
pub(crate) struct Process {
    pub(crate) store: Store,
    pub(crate) role: Role,
    /// Records that are durable in its file.
    pub(crate) synced: usize,
    /// Frames that are not in the file yet.
    pub(crate) unsynced: Vec<u8>,
    /// Records that were sent while it was frozen: it takes them when it thaws.
    pub(crate) inbox: Vec<Stored>,
    pub(crate) waiting: VecDeque<Waiting>,
    /// Repeats of appends that have no quorum yet: a server drops them, so they only run out of time.
    pub(crate) dropped: VecDeque<(Instant, Reply)>,
    /// Held by the heart while it writes; `None` once the process has ended, so that nothing is written after it.
    pub(crate) file: Arc<Mutex<Option<NodeFile>>>,
    /// Says how many records are committed, and wakes readers.
    pub(crate) commits: watch::Sender<usize>,
    pub(crate) gate: Arc<Gate>,
    /// Accepts connections until it is aborted.
    pub(crate) server: AbortHandle,
    pub(crate) instance: Uuid,
    /// Since when a leader has no quorum.
    pub(crate) alone_since: Option<Instant>,
}

/// An append that waits for a quorum.
pub(crate) struct Waiting {
    /// Records of the log that must be committed.
    upto: usize,
    deadline: Instant,
    written: Written,
    reply: Reply,
}

/// A node, whether it runs or not.
pub(crate) struct Node {
    pub(crate) dir: PathBuf,
    pub(crate) process: Option<Process>,
    /// Starts so far: tells a process from the one before it.
    pub(crate) starts: u64,
    pub(crate) frozen: bool,
    pub(crate) cut: bool,
}

/// All nodes.
pub(crate) struct Core {
    pub(crate) nodes: Vec<Node>,
    pub(crate) timing: Timing,
    /// The last leader, by index and number of starts.
    pub(crate) last_leader: Option<(usize, u64)>,
    pub(crate) election_due: Option<Instant>,
    /// Outcomes that are to be told once the lock is released.
    pub(crate) done: Vec<(Reply, Outcome)>,
}

impl Core {
    /// The process of a node that runs.
    pub(crate) fn process(&self, node: usize) -> Option<&Process> {
        self.nodes[node].process.as_ref()
    }

    pub(crate) fn process_mut(&mut self, node: usize) -> Option<&mut Process> {
        self.nodes[node].process.as_mut()
    }

    pub(crate) fn role(&self, node: usize) -> Role {
        self.process(node).map_or(Role::NotReady, |process| process.role)
    }

    /// True if a node can talk to others.
    pub(crate) fn is_connected(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.process.is_some() && !node.frozen && !node.cut
    }

    pub(crate) fn reach_each_other(&self, one: usize, other: usize) -> bool {
        one == other || self.is_connected(one) && self.is_connected(other)
    }

    pub(crate) fn quorum(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    /// The node that leads and can be talked to.
    pub(crate) fn leader(&self) -> Option<usize> {
        (0..self.nodes.len()).find(|node| self.role(*node) == Role::Leader && self.is_connected(*node))
    }

    /// Takes a change at `node`, which passes it on if it follows.
    pub(crate) fn change(
        &mut self,
        node: usize,
        change: &Change,
        reply: Reply,
        (now, ticks): (Instant, Ticks),
    ) {
        let leader = match self.role(node) {
            Role::Leader => node,
            Role::Follower { leader } => leader,
            Role::NotReady => return self.done.push((reply, Outcome::NotReady)),
        };
        let deadline = now + self.timing.commit_timeout;
        if !self.reach_each_other(node, leader) || self.role(leader) != Role::Leader {
            if let Some(process) = self.process_mut(node) {
                process.dropped.push_back((deadline, reply));
            }
            return;
        }
        let Some(process) = self.process_mut(leader) else { return };
        let decision = match change {
            Change::Append(proposal) => process.store.decide(proposal, ticks),
            Change::Remove { stream, expected, removal } => {
                process.store.decide_removal(stream, *expected, *removal, ticks)
            }
        };
        let outcome = match decision {
            Decision::Write(records, written) => {
                self.write(leader, &records);
                let Some(process) = self.process_mut(leader) else { return };
                let upto = process.store.log().len();
                return process.waiting.push_back(Waiting { upto, deadline, written, reply });
            }
            Decision::RepeatOfPending => return process.dropped.push_back((deadline, reply)),
            Decision::Repeat(written) => Outcome::Written(written),
            Decision::WrongExpectedVersion { current } => Outcome::WrongExpectedVersion { current },
            Decision::StreamDeleted => Outcome::StreamDeleted,
        };
        self.done.push((reply, outcome));
    }

    /// Writes records at the leader and sends them to those that have all before them.
    pub(crate) fn write(&mut self, leader: usize, records: &[Arc<Record>]) {
        let Some(process) = self.process_mut(leader) else { return };
        let before = process.store.log().len();
        process.store.write_as_leader(records);
        let mut frames = Vec::new();
        let mut stored = Vec::with_capacity(records.len());
        for record in records {
            let end = Position(record.position.0 + record.size().unwrap_or(0));
            encode(record, end, &mut frames);
            stored.push((Arc::clone(record), end));
        }
        process.unsynced.extend_from_slice(&frames);
        for node in 0..self.nodes.len() {
            if node == leader || self.role(node) != (Role::Follower { leader }) || self.nodes[leader].cut {
                continue;
            }
            let is_reached = self.reach_each_other(leader, node);
            let is_frozen = self.nodes[node].frozen && !self.nodes[node].cut;
            let Some(process) = self.process_mut(node) else { continue };
            let has = process.store.log().len() + process.inbox.len();
            if has != before {
                continue;
            }
            if is_reached {
                process.unsynced.extend_from_slice(&frames);
                for (record, end) in &stored {
                    process.store.push(Arc::clone(record), *end);
                }
            } else if is_frozen {
                process.inbox.extend(stored.iter().cloned());
            }
        }
    }

    /// Commits what a quorum has, and answers those who waited for it.
    pub(crate) fn advance(&mut self) {
        for leader in 0..self.nodes.len() {
            if self.role(leader) != Role::Leader || self.nodes[leader].frozen {
                continue;
            }
            let mut synced: Vec<usize> = (0..self.nodes.len())
                .filter(|node| *node == leader || self.role(*node) == Role::Follower { leader })
                .filter(|node| self.reach_each_other(leader, *node))
                .filter_map(|node| self.process(node).map(|process| process.synced))
                .collect();
            synced.sort_unstable_by(|one, other| other.cmp(one));
            let Some(committed) = synced.get(self.quorum() - 1).copied() else { continue };
            self.commit(leader, committed);
        }
    }

    /// Tells the leader and those that follow it how many records are committed.
    fn commit(&mut self, leader: usize, count: usize) {
        for node in 0..self.nodes.len() {
            let follows = node == leader || self.role(node) == Role::Follower { leader };
            if !follows || !self.reach_each_other(leader, node) {
                continue;
            }
            let Some(process) = self.process_mut(node) else { continue };
            if process.store.committed().len() < count {
                process.store.commit(count);
                process.commits.send_replace(process.store.committed().len());
            }
        }
        let Some(process) = self.process_mut(leader) else { return };
        let committed = process.store.committed().len();
        let mut done = Vec::new();
        while process.waiting.front().is_some_and(|waiting| waiting.upto <= committed)
            && let Some(waiting) = process.waiting.pop_front()
        {
            done.push((waiting.reply, Outcome::Written(waiting.written)));
        }
        self.done.append(&mut done);
    }

    /// Answers those whose time has run out.
    pub(crate) fn expire(&mut self, now: Instant) {
        let mut done = Vec::new();
        for node in self.nodes.iter_mut().filter(|node| !node.frozen) {
            let Some(process) = &mut node.process else { continue };
            while process.waiting.front().is_some_and(|waiting| waiting.deadline <= now)
                && let Some(waiting) = process.waiting.pop_front()
            {
                done.push((waiting.reply, Outcome::TimedOut));
            }
            while process.dropped.front().is_some_and(|(deadline, _)| *deadline <= now)
                && let Some((_, reply)) = process.dropped.pop_front()
            {
                done.push((reply, Outcome::TimedOut));
            }
        }
        self.done.append(&mut done);
    }
}
