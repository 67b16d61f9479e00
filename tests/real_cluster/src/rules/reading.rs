//! Reads and subscriptions: the places that they start at, the order of frames, silence.

use std::time::Duration;

use super::Asked;
use crate::ground::Ground;
use crate::raw::{Client, Expect, Frame, From, backwards, event, filtered, limited, of_all};
use crate::suite::not_asked;
use crate::waiting::{WITHIN, wait};
use crate::which_cluster::SCAVENGED_NOTHING;

/// Considered events after which a checkpoint comes.
const WINDOW: u32 = 1_000;

impl Asked {
    /// Appends events to streams in turn; their positions.
    async fn fill(&self, streams: &[&str], events: usize) -> Vec<u64> {
        let mut positions = Vec::new();
        for number in 0..events {
            let stream = self.stream(streams[number % streams.len()]);
            let told = self.client.append(&stream, Expect::Any, vec![event("{}")]).await;
            positions.push(told.unwrap().position());
        }
        positions
    }

    async fn read(&self, from: From) -> Vec<u64> {
        let frames = self.client.all(filtered(of_all(from), &self.prefix, WINDOW)).await.unwrap();
        positions(&frames)
    }

    async fn subscribed(&self, from: From) -> Vec<u64> {
        let mut frames = self.client.subscribe(from, &self.prefix, WINDOW).await.unwrap();
        positions(&frames.caught_up().await)
    }
}

fn positions(frames: &[Frame]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame.event().map(|event| event.2)).collect()
}

/// The store reads on inclusively, and subscribes behind what it has just read.
pub(crate) fn a_read_includes_its_start_and_a_subscription_does_not(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let put = asked.fill(&["a", "b"], 6).await;
        let at = From::At(put[2], put[2]);
        assert_eq!(asked.read(at).await, put[2..]);
        assert_eq!(asked.subscribed(at).await, put[3..]);
        let back = backwards(filtered(of_all(at), &asked.prefix, WINDOW));
        let back = positions(&asked.client.all(back).await.unwrap());
        assert_eq!(back, [put[1], put[0]]);
        let last = backwards(limited(filtered(of_all(From::End), &asked.prefix, WINDOW), 1));
        assert_eq!(positions(&asked.client.all(last).await.unwrap()), [put[5]], "the last event by a prefix");
    });
}

/// Nothing tells a copy that it has more than its cluster.
pub(crate) fn beyond_the_end_there_is_silence(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let put = asked.fill(&["a"], 2).await;
        let beyond = put[1] + (1 << 40);
        assert_eq!(asked.client.all(of_all(From::At(beyond, beyond))).await.unwrap(), []);
        let mut frames =
            asked.client.subscribe(From::At(beyond, beyond), &asked.prefix, WINDOW).await.unwrap();
        assert_eq!(positions(&frames.caught_up().await), [0_u64; 0]);
        asked.fill(&["a"], 2).await;
        let next = tokio::time::timeout(Duration::from_secs(1), frames.event()).await;
        assert!(next.is_err(), "an event below the position was told");
    });
}

/// Confirmed, history, caught up, and then what comes: once each.
pub(crate) fn a_subscription_has_history_then_what_comes(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let put = asked.fill(&["a", "b", "c"], 100).await;
        let mut frames = asked.client.subscribe(From::Start, &asked.prefix, WINDOW).await.unwrap();
        let history = frames.caught_up().await;
        assert_eq!(history[0], Frame::Confirmed);
        assert!(matches!(history.last(), Some(Frame::CaughtUp(_))));
        assert_eq!(positions(&history), put);
        let more = asked.fill(&["c", "d"], 50).await;
        for position in more {
            assert_eq!(frames.event().await, position);
        }
    });
}

/// Each place that a checkpoint names is good to go on from.
pub(crate) fn a_checkpoint_is_good_to_resume_from(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let put = asked.fill(&["a", "b"], 150).await;
        let mut frames = asked.client.subscribe(From::Start, &asked.prefix, 32).await.unwrap();
        let history = frames.caught_up().await;
        let mut seen = 0;
        let mut checkpoints = 0;
        for frame in &history {
            match frame {
                Frame::Checkpoint(commit, prepare) => {
                    checkpoints += 1;
                    let rest = asked.subscribed(From::At(*commit, *prepare)).await;
                    let missing = put[seen..].iter().filter(|position| !rest.contains(position)).count();
                    assert_eq!(missing, 0, "from the checkpoint ({commit}, {prepare})");
                }
                frame => seen += usize::from(frame.event().is_some()),
            }
        }
        assert!(checkpoints > 0, "150 events were looked at, and a checkpoint comes after 32");
    });
}

/// A scavenged event takes the next one with it where a subscription starts behind it. A read does not lose it.
pub(crate) fn a_subscription_from_a_scavenged_event_loses_the_next_one(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let put = asked.fill(&["gone", "keep"], 10).await;
        asked.client.delete(&asked.stream("gone")).await.unwrap();
        tokio::task::block_in_place(|| asked.cluster.scavenge());
        let gone = From::At(put[2], put[2]);
        let is_gone = async |client: &Client| {
            let frames = client.all(filtered(of_all(From::Start), &asked.prefix, WINDOW)).await.unwrap();
            !positions(&frames).contains(&put[2])
        };
        let deadline = tokio::time::Instant::now() + WITHIN;
        while !is_gone(&asked.client).await {
            if tokio::time::Instant::now() >= deadline {
                not_asked(SCAVENGED_NOTHING);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(asked.read(gone).await, [put[3], put[5], put[7], put[8], put[9]]);
        assert_eq!(asked.subscribed(gone).await, [put[5], put[7], put[8], put[9]]);
    });
}
