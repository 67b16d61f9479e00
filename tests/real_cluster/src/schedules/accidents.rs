//! The accidents of a schedule, in the order that its seed decides.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use eventstoredb_emulator::{AppendFault, Cluster};
use lastseen_tests::Seeded;

use super::PACE;
use super::publishers::{Publishers, Site};
use crate::cluster::{Emulated, TestCluster};
use crate::waiting::{until, within};

/// The kinds of accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accident {
    KillLeader,
    KillFollower,
    FreezeLeader,
    FreezeFollower,
    CutLeader,
    Restart,
    Faults,
    EndSubscriptions,
    RepeatCheckpoints,
    PauseReads,
    Scavenge,
    Reopen,
    Delete,
}

const ACCIDENTS: [Accident; 15] = [
    Accident::KillLeader,
    Accident::KillLeader,
    Accident::KillFollower,
    Accident::FreezeLeader,
    Accident::FreezeFollower,
    Accident::CutLeader,
    Accident::Restart,
    Accident::Faults,
    Accident::Faults,
    Accident::EndSubscriptions,
    Accident::RepeatCheckpoints,
    Accident::PauseReads,
    Accident::Scavenge,
    Accident::Reopen,
    Accident::Delete,
];

const FAULTS: [AppendFault; 7] = [
    AppendFault::CommitThenDropReply,
    AppendFault::DropBeforeStoring,
    AppendFault::Refuse,
    AppendFault::NotLeader { tells_leader: true },
    AppendFault::NotLeader { tells_leader: false },
    AppendFault::AbortedButStored,
    AppendFault::AbortedNotStored,
];

/// A schedule under way.
pub(crate) struct Script<'a> {
    cluster: &'a Emulated,
    sites: &'a [Arc<Site>; 2],
    publishers: &'a Publishers,
    numbers: Seeded,
    /// Nodes that were ended by the script, and not by themselves.
    killed: BTreeSet<usize>,
    frozen: BTreeSet<usize>,
    cut: BTreeSet<usize>,
    story: Story,
}

impl<'a> Script<'a> {
    pub(crate) fn new(
        cluster: &'a Emulated,
        sites: &'a [Arc<Site>; 2],
        publishers: &'a Publishers,
        numbers: Seeded,
    ) -> Self {
        let empty = BTreeSet::new();
        Self {
            cluster,
            sites,
            publishers,
            numbers,
            killed: empty.clone(),
            frozen: empty.clone(),
            cut: empty,
            story: Story::default(),
        }
    }

    fn emulator(&self) -> &'a Cluster {
        self.cluster.script()
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..5 + self.numbers.below(6) {
            let accident = *self.numbers.pick(&ACCIDENTS);
            let leader = self.emulator().leader();
            self.story.tell(&format!("{accident:?} while {leader:?} leads"));
            self.happens(accident);
            self.pass_time();
        }
    }

    /// Waits for some answers, or a moment. A node that stopped by itself is started, as a supervisor of processes does.
    fn pass_time(&mut self) {
        let wanted = self.publishers.answered() + 1 + self.numbers.below(30);
        within(PACE, || {
            self.start_those_that_stopped();
            self.publishers.answered() >= wanted
        });
        // All of what is away comes back now and then.
        if self.numbers.below(3) == 0 {
            self.mend();
        }
    }

    fn start_those_that_stopped(&self) {
        for (index, node) in self.emulator().nodes().enumerate() {
            if !node.is_running() && !self.killed.contains(&index) {
                node.start().unwrap();
            }
        }
    }

    /// One node at most is away, sometimes two.
    fn may_lose_one(&mut self) -> bool {
        let away = self.killed.len() + self.frozen.len() + self.cut.len();
        away == 0 || away == 1 && self.numbers.below(5) == 0
    }

    fn follower(&mut self) -> Option<usize> {
        let leader = self.emulator().leader();
        let up: Vec<usize> = (0..3)
            .filter(|node| {
                Some(*node) != leader && !self.killed.contains(node) && !self.frozen.contains(node)
            })
            .collect();
        if up.is_empty() { None } else { Some(*self.numbers.pick(&up)) }
    }

    fn happens(&mut self, accident: Accident) {
        let leader = self.emulator().leader();
        match accident {
            Accident::KillLeader | Accident::FreezeLeader | Accident::CutLeader => {
                if let Some(leader) = leader
                    && self.may_lose_one()
                {
                    self.lose_leader(accident, leader);
                }
            }
            Accident::KillFollower | Accident::FreezeFollower => {
                if self.may_lose_one()
                    && let Some(node) = self.follower()
                {
                    if accident == Accident::KillFollower {
                        self.killed.insert(node);
                        self.cluster.kill(node);
                    } else {
                        self.frozen.insert(node);
                        self.cluster.freeze(node);
                    }
                }
            }
            Accident::Restart => self.mend(),
            Accident::Faults => {
                for _ in 0..=self.numbers.below(5) {
                    let good = u32::try_from(self.numbers.below(40)).unwrap();
                    let fault = *self.numbers.pick(&FAULTS);
                    self.emulator().faults().append_after(good, fault);
                }
            }
            Accident::EndSubscriptions => self.emulator().faults().end_subscriptions(),
            Accident::RepeatCheckpoints => self.emulator().faults().repeat_checkpoints(3),
            Accident::PauseReads => {
                let pause = Duration::from_millis(self.numbers.below(30));
                self.emulator().faults().pause_reads(pause);
            }
            Accident::Scavenge => self.cluster.scavenge(),
            Accident::Reopen | Accident::Delete => self.reopen(accident == Accident::Delete),
        }
    }

    fn lose_leader(&mut self, accident: Accident, leader: usize) {
        match accident {
            Accident::KillLeader => {
                self.publishers.accident("leader killed");
                self.killed.insert(leader);
                self.cluster.kill(leader);
            }
            Accident::FreezeLeader => {
                self.publishers.accident("leader frozen");
                self.frozen.insert(leader);
                self.cluster.freeze(leader);
            }
            _ => {
                self.publishers.accident("leader cut off");
                self.cut.insert(leader);
                self.emulator().node(leader).cut();
            }
        }
    }

    /// Closes a node of Lastseen and opens it again, in some with an empty directory, which needs the cluster.
    fn reopen(&mut self, is_empty: bool) {
        if is_empty {
            self.mend();
        }
        let site = &self.sites[usize::try_from(self.numbers.below(2)).unwrap()];
        site.with(|peer| {
            peer.stop();
            if is_empty {
                peer.delete();
            }
            peer.start().unwrap();
        });
    }

    /// Brings every node back.
    fn mend(&mut self) {
        let states: Vec<_> = self.emulator().nodes().map(|node| node.state()).collect();
        self.story.tell(&format!("mending {states:?}"));
        for node in std::mem::take(&mut self.frozen) {
            self.cluster.thaw(node);
        }
        for node in std::mem::take(&mut self.cut) {
            self.emulator().node(node).heal();
        }
        self.killed.clear();
        self.start_those_that_stopped();
    }

    /// All accidents that happened.
    pub(crate) fn story(self) -> Story {
        self.story
    }

    /// Ends all accidents, and waits until the cluster is whole.
    pub(crate) fn heal(&mut self) {
        self.emulator().faults().clear();
        self.mend();
        self.publishers.accident("all healed");
        until("the cluster is whole", || {
            self.start_those_that_stopped();
            self.emulator().leader().is_some() && self.emulator().nodes().all(|node| node.is_ready())
        });
        let wanted = self.publishers.answered() + 10;
        until("publishers are answered", || self.publishers.answered() >= wanted);
    }
}

/// The accidents, for whoever looks into a failure: printed if the test fails while this is held.
#[derive(Default)]
pub(crate) struct Story(String);

impl Story {
    fn tell(&mut self, what: &str) {
        let _ = write!(self.0, "{what}; ");
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the story: {}", self.0);
        }
    }
}
