//! Elections: who leads, who follows, and what becomes of a log that went its own way. Called at every tick and
//! after every change of who can talk to whom.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::{Core, Role};
use crate::disk::encode;

impl Core {
    /// Looks at who can talk to whom, and acts on it.
    pub(crate) fn tick(&mut self, now: Instant) {
        let connected: Vec<usize> = (0..self.nodes.len()).filter(|node| self.is_connected(*node)).collect();
        self.settle(&connected, now);
        for node in 0..self.nodes.len() {
            if self.nodes[node].cut && !self.nodes[node].frozen && self.process(node).is_some() {
                self.settle(&[node], now);
            }
        }
        self.expire(now);
        self.advance();
    }

    /// Acts for nodes that can all talk to each other, and to no other.
    fn settle(&mut self, group: &[usize], now: Instant) {
        let epoch =
            |core: &Self, node: usize| core.process(node).and_then(|process| process.store.last_epoch());
        let leader = group
            .iter()
            .copied()
            .filter(|node| self.role(*node) == Role::Leader)
            .max_by_key(|node| epoch(self, *node));
        if group.len() < self.quorum() {
            return self.without_quorum(group, leader, now);
        }
        let newest = group.iter().map(|node| epoch(self, *node)).max();
        let deposed = leader.filter(|leader| Some(epoch(self, *leader)) < newest);
        if let Some(process) = deposed.and_then(|leader| self.process_mut(leader)) {
            // Others had a leader while this one was away: what that one committed would be cut off.
            process.role = Role::NotReady;
        }
        let leader = leader.filter(|_| deposed.is_none());
        let Some(leader) = leader else { return self.without_leader(group, now) };
        self.election_due = None;
        if let Some(process) = self.process_mut(leader) {
            process.alone_since = None;
        }
        for node in group.iter().copied().filter(|node| *node != leader) {
            self.follow(node, leader);
        }
    }

    /// A leader that finds no quorum resigns after a while; others know no leader.
    fn without_quorum(&mut self, group: &[usize], leader: Option<usize>, now: Instant) {
        let patience = self.timing.commit_timeout;
        for node in group.iter().copied() {
            let leader_is_silent = match self.role(node) {
                Role::Follower { leader } => self.nodes[leader].frozen && !self.nodes[node].cut,
                Role::Leader | Role::NotReady => false,
            };
            let Some(process) = self.process_mut(node) else { continue };
            if Some(node) == leader {
                let since = *process.alone_since.get_or_insert(now);
                if now.duration_since(since) < patience {
                    continue;
                }
            } else if leader_is_silent {
                continue;
            }
            process.role = Role::NotReady;
        }
    }

    /// A quorum without a leader elects one, once it knows that the last one is gone.
    fn without_leader(&mut self, group: &[usize], now: Instant) {
        let old = self.last_leader.map(|(node, _)| node);
        let is_silent = old.is_some_and(|node| self.process(node).is_some() && !group.contains(&node));
        let delay = match old {
            None => Duration::ZERO,
            Some(_) if self.nodes.len() == 1 => Duration::ZERO,
            Some(_) if is_silent => self.timing.election_after_silence,
            Some(_) => self.timing.election_after_death,
        };
        if !is_silent {
            for node in group.iter().copied() {
                if let Some(process) = self.process_mut(node) {
                    process.role = Role::NotReady;
                }
            }
        }
        let due = *self.election_due.get_or_insert(now + delay);
        if now >= due {
            self.elect(group);
            self.settle(group, now);
        }
    }

    /// The node with the longest log leads; of equals the one that led before, then the first.
    fn elect(&mut self, group: &[usize]) {
        let last_leader = self.last_leader.map(|(node, _)| node);
        let rank = |node: &usize| {
            let store = self.process(*node).map(|process| &process.store);
            let log = store.map(|store| (store.last_epoch(), store.log().len()));
            (log, Some(*node) == last_leader, Reverse(*node))
        };
        let Some(node) = group.iter().copied().max_by_key(rank) else { return };
        let this = Some((node, self.nodes[node].starts));
        let leads_again = self.last_leader == this;
        self.last_leader = this;
        let Some(process) = self.process_mut(node) else { return };
        process.role = Role::Leader;
        process.alone_since = None;
        if leads_again {
            return;
        }
        process.store.forget_recent();
        let mut records = vec![process.store.epoch()];
        let is_first = process.store.log().is_empty();
        if is_first {
            records.extend(super::first_events(records[0].size().unwrap_or(0)));
        }
        self.write(node, &records);
        if let Some(process) = self.process_mut(node) {
            process.store.forget_recent();
        }
    }

    /// Brings `node` to what `leader` has. A node that has written what the leader has not stops its process.
    fn follow(&mut self, node: usize, leader: usize) {
        let (Some(it), Some(leading)) = (self.process(node), self.process(leader)) else { return };
        let (own, theirs) = (it.store.log(), leading.store.log());
        if it.role == (Role::Follower { leader }) && own.len() == theirs.len() {
            return;
        }
        let mut common = own.len().min(theirs.len());
        while common > 0 && !own[common - 1].is_same(&theirs[common - 1]) {
            common -= 1;
        }
        if common < own.len() {
            return self.stop_to_truncate(node, common);
        }
        let missing: Vec<_> = theirs[common..].to_vec();
        let (end, committed) = (leading.store.end(), leading.store.committed().len());
        let Some(process) = self.process_mut(node) else { return };
        for (place, record) in missing.iter().enumerate() {
            let end = missing.get(place + 1).map_or(end, |next| next.position);
            encode(record, end, &mut process.unsynced);
            process.store.push(Arc::clone(record), end);
        }
        process.role = Role::Follower { leader };
        process.store.commit(committed);
        process.commits.send_replace(committed);
    }

    /// Ends the process of a node whose log must be cut, as a server does: a supervisor has to start it again.
    fn stop_to_truncate(&mut self, node: usize, keep: usize) {
        if let Some(process) = self.process(node)
            && let Some(file) = process.file.lock().as_ref()
        {
            file.mark_truncation(keep).expect("the folder of a node can be written");
        }
        self.stop(node);
    }

    /// Ends a process: its memory is lost, its connections break.
    pub(crate) fn stop(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.frozen = false;
        if let Some(process) = node.process.take() {
            process.server.abort();
            process.gate.sever();
            // Waits for a write that is under way: the next process reads the file.
            process.file.lock().take();
        }
    }

    /// Takes what was sent to a node while it was frozen.
    pub(crate) fn take_inbox(&mut self, node: usize) {
        let Some(process) = self.process_mut(node) else { return };
        for (record, end) in std::mem::take(&mut process.inbox) {
            encode(&record, end, &mut process.unsynced);
            process.store.push(record, end);
        }
    }
}
