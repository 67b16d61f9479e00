//! Subscriptions: where they start, checkpoints, and the step from history to what comes.

use eventstoredb_emulator::ServerVersion::{self, V23_10, V24_10};
use tonic::Code;

use crate::client::{Client, Expect, Frame, From, event, filtered, of_all, of_stream, subscription};
use crate::{client_of, one_node, one_node_of, three_nodes};

/// Longest wait for a frame that must not come.
const SILENCE: std::time::Duration = std::time::Duration::from_millis(100);

async fn fill(client: &Client, count: usize) -> Vec<u64> {
    let mut positions = Vec::new();
    for at in (0..count).step_by(500) {
        let events = (at..count.min(at + 500)).map(|_| event("{}")).collect();
        client.append("fill-aaaaaaaaaaaaaaaa", Expect::Any, events).await.unwrap();
    }
    for frame in client.all(filtered(of_all(From::Start), "fill-", 32)).await.unwrap() {
        positions.push(frame.event().unwrap().2);
    }
    positions
}

fn checkpoints(frames: &[Frame]) -> Vec<(u64, u64)> {
    let checkpoint = |frame: &Frame| match frame {
        Frame::Checkpoint(commit, prepare) => Some((*commit, *prepare)),
        _ => None,
    };
    frames.iter().filter_map(checkpoint).collect()
}

fn events(frames: &[Frame]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame.event().map(|(_, _, position)| position)).collect()
}

#[tokio::test]
async fn a_subscription_has_history_then_what_comes_without_gap_or_repeat() {
    let (_cluster, client) = one_node();
    let mut put = fill(&client, 1_000).await;
    let mut frames = client.subscribe(From::Start, "fill-", 32).await.unwrap();
    let writer = client.clone();
    let mut writing = tokio::task::JoinSet::new();
    writing.spawn(async move {
        let mut put = Vec::new();
        for _ in 0..500 {
            put.push(writer.put("fill-live", "{}").await);
        }
        put
    });
    let mut seen = Vec::new();
    while seen.len() < 1_500 {
        seen.push(frames.event().await);
    }
    put.extend(writing.join_next().await.unwrap().unwrap());
    assert_eq!(seen, put);
}

#[tokio::test]
async fn frames_come_in_the_order_confirmed_events_caught_up() {
    let (_cluster, client) = one_node();
    let put = fill(&client, 3).await;
    let frames = client.subscribe(From::Start, "fill-", 1_000).await.unwrap().caught_up().await;
    assert_eq!(frames.first(), Some(&Frame::Confirmed));
    assert_eq!(events(&frames), put);
    assert_eq!(frames.len(), 5);
}

/// Frames until caught up, from a place between events.
async fn resumed(client: &Client, commit: u64, prepare: u64) -> Vec<u64> {
    let mut frames = client.subscribe(From::At(commit, prepare), "fill-", 1_000).await.unwrap();
    events(&frames.caught_up().await)
}

#[tokio::test]
async fn a_subscription_starts_behind_its_position() {
    for version in [V23_10, V24_10] {
        let (_cluster, client) = one_node_of(version);
        let put = fill(&client, 10).await;
        assert_eq!(resumed(&client, put[5], put[5]).await, put[6..], "{version}");
        let with_zero = if version == V23_10 { &put[6..] } else { &put[5..] };
        assert_eq!(resumed(&client, put[5], 0).await, with_zero, "{version}");
    }
}

#[tokio::test]
async fn a_subscription_from_no_boundary_fails() {
    for version in [V23_10, V24_10] {
        let (_cluster, client) = one_node_of(version);
        let put = fill(&client, 1).await;
        for bad in [5, put[0] + 1, put[0] - 1] {
            match (version, client.subscribe(From::At(bad, bad), "fill-", 32).await) {
                (V23_10, Err(status)) => {
                    assert_eq!(
                        (status.code(), status.message()),
                        (Code::Unknown, "Exception was thrown by handler.")
                    );
                }
                (V24_10, Ok(mut frames)) => {
                    assert_eq!(frames.next().await.unwrap(), Some(Frame::Confirmed));
                    let status = frames.next().await.unwrap_err();
                    let invalid = "Trying to read from an invalid position.";
                    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, invalid));
                }
                (version, other) => panic!("{version}: {:?}", other.map(drop)),
            }
        }
    }
}

#[tokio::test]
async fn a_subscription_from_beyond_the_end_is_silent_for_ever() {
    for (version, told) in [(V23_10, None), (V24_10, Some(1_000_000_000_000))] {
        let (_cluster, client) = one_node_of(version);
        fill(&client, 3).await;
        let from = From::At(1_000_000_000_000, 1_000_000_000_000);
        let mut frames = client.subscribe(from, "fill-", 32).await.unwrap();
        assert_eq!(frames.caught_up().await, [Frame::Confirmed, Frame::CaughtUp(told)]);
        client.put("fill-more", "{}").await;
        assert!(tokio::time::timeout(SILENCE, frames.next()).await.is_err());
    }
}

/// Layout A of checkpoints.txt: 3,000 events that do not match, a window of 100.
#[tokio::test]
async fn a_checkpoint_without_a_match_is_where_its_page_began() {
    for (version, count) in [(V23_10, 30), (V24_10, 31)] {
        let (_cluster, client) = one_node_of(version);
        let put = fill(&client, 3_000).await;
        let mut frames = client.subscribe(From::Start, "match-", 100).await.unwrap();
        let checkpoints = checkpoints(&frames.caught_up().await);
        assert_eq!(checkpoints.len(), count, "{version}");
        assert_eq!(checkpoints[..4], [(0, 0), (11_905, 0), (23_305, 0), (34_705, 0)], "{version}");
        let places = checkpoints[1..].iter().map(|(commit, _)| put.binary_search(commit).unwrap());
        assert_eq!(places.collect::<Vec<_>>(), (98..3_000).step_by(100).take(count - 1).collect::<Vec<_>>());
    }
}

/// Layout B of checkpoints.txt: the same layout, with matches where checkpoints were.
#[tokio::test]
async fn a_match_comes_before_the_checkpoint_of_its_position() {
    for version in [V23_10, V24_10] {
        let (_cluster, client) = one_node_of(version);
        for at in 0..899 {
            let stream = if at >= 298 && (at - 98) % 100 == 0 {
                "match-aaaaaaaaaaaaaaa"
            } else {
                "fill-aaaaaaaaaaaaaaaa"
            };
            client.put(stream, "{}").await;
        }
        let mut frames = client.subscribe(From::Start, "match-", 100).await.unwrap();
        let frames = frames.caught_up().await;
        let positions = [34_705, 46_105, 57_505, 68_905, 80_305, 91_705];
        assert_eq!(events(&frames)[..6], positions);
        for position in positions {
            let event = frames.iter().position(|it| it.event().is_some_and(|it| it.2 == position)).unwrap();
            assert_eq!(frames[event + 1], Frame::Checkpoint(position, position), "{version}");
        }
    }
}

/// The subscription of load-three-nodes.txt: all events match, a window of 1,000.
#[tokio::test]
async fn checkpoints_come_with_the_page_of_events_that_fills_the_window() {
    let (_cluster, client) = one_node();
    fill(&client, 3_100).await;
    let frames = client.subscribe(From::Start, "fill-", 1_000).await.unwrap().caught_up().await;
    let mut events = 0;
    let mut after = Vec::new();
    for frame in &frames {
        events += usize::from(frame.event().is_some());
        if let Frame::Checkpoint(commit, prepare) = frame {
            assert_eq!(commit, prepare);
            after.push(events);
        }
    }
    assert_eq!(after, [1_024, 2_016, 3_008]);
}

#[tokio::test]
async fn every_checkpoint_is_good_to_resume_from() {
    let (_cluster, client) = one_node();
    for at in 0..400 {
        client.put(if at % 37 == 0 { "match-1" } else { "fill-1" }, "{}").await;
    }
    let frames = client.subscribe(From::Start, "match-", 10).await.unwrap().caught_up().await;
    let all = events(&frames);
    let mut before = 0;
    for frame in &frames {
        before += usize::from(frame.event().is_some());
        if let Frame::Checkpoint(commit, prepare) = frame {
            let mut rest = client.subscribe(From::At(*commit, *prepare), "match-", 10).await.unwrap();
            assert_eq!(events(&rest.caught_up().await), all[before..], "({commit}, {prepare})");
        }
    }
}

#[tokio::test]
async fn pages_without_any_frame_are_passed_over() {
    use eventstoredb_emulator::proto::client::streams::read_req::options::FilterOption;
    let (_cluster, client) = one_node();
    fill(&client, 5_000).await;
    let put = client.put("match-1", "{}").await;
    let mut options = filtered(of_all(From::Start), "match-", 100);
    assert_eq!(events(&client.all(options.clone()).await.unwrap()), [put]);
    let Some(FilterOption::Filter(filter)) = &mut options.filter_option else { panic!() };
    filter.checkpoint_interval_multiplier = 20;
    let frames = client.read(subscription(options)).await.unwrap().caught_up().await;
    assert_eq!(events(&frames), [put]);
    assert_eq!(checkpoints(&frames).len(), 2, "one for 20 windows");
}

#[tokio::test]
async fn a_checkpoint_interval_of_none_is_an_error() {
    let (_cluster, client) = one_node();
    let status = client.subscribe(From::Start, "fill-", 0).await.err().unwrap();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "Exception was thrown by handler."));
}

#[tokio::test]
async fn a_subscription_without_a_filter_has_no_checkpoints() {
    let (_cluster, client) = one_node();
    fill(&client, 200).await;
    let frames = client.read(subscription(of_all(From::Start))).await.unwrap().caught_up().await;
    assert_eq!(checkpoints(&frames), []);
    assert_eq!(events(&frames).len(), 201);
}

#[tokio::test]
async fn caught_up_tells_the_last_position_on_the_later_server_only() {
    let told = async |version: ServerVersion| {
        let (_cluster, client) = one_node_of(version);
        let put = fill(&client, 3).await;
        let from_end = client.subscribe(From::End, "fill-", 32).await.unwrap().caught_up().await;
        let from_start = client.subscribe(From::Start, "fill-", 32).await.unwrap().caught_up().await;
        assert_eq!(checkpoints(&from_end), []);
        (put[2], from_end.last().cloned(), from_start.last().cloned(), checkpoints(&from_start))
    };
    let (_, end, start, checkpoints) = told(V23_10).await;
    assert_eq!((end, start), (Some(Frame::CaughtUp(None)), Some(Frame::CaughtUp(None))));
    assert_eq!(checkpoints, []);
    let (last, end, start, checkpoints) = told(V24_10).await;
    assert_eq!((end, start), (Some(Frame::CaughtUp(Some(last))), Some(Frame::CaughtUp(Some(last)))));
    assert_eq!(checkpoints, [(last, last)], "24.10 sends one when it has caught up");
}

#[tokio::test]
async fn a_subscription_to_a_stream_that_is_not_there_gets_its_first_event() {
    for version in [V23_10, V24_10] {
        let (_cluster, client) = one_node_of(version);
        let mut frames = client.read(subscription(of_stream("s"))).await.unwrap();
        assert_eq!(frames.next().await.unwrap(), Some(Frame::Confirmed));
        if version == V24_10 {
            assert_eq!(frames.next().await.unwrap(), Some(Frame::CaughtUp(None)));
        }
        let put = client.put("s", "{}").await;
        assert_eq!(frames.next().await.unwrap().unwrap().event(), Some(("s", 0, put)), "{version}");
    }
}

#[tokio::test]
async fn a_subscription_to_a_stream_goes_on_live() {
    let (_cluster, client) = one_node();
    for _ in 0..50 {
        client.put("s", "{}").await;
    }
    let mut frames = client.read(subscription(of_stream("s"))).await.unwrap();
    assert_eq!(events(&frames.caught_up().await).len(), 50);
    let put = client.put("s", "{}").await;
    assert_eq!(frames.event().await, put);
}

#[tokio::test]
async fn followers_serve_subscriptions() {
    let cluster = three_nodes();
    let mut frames = client_of(&cluster, 2).subscribe(From::Start, "s", 32).await.unwrap();
    frames.caught_up().await;
    let put = client_of(&cluster, 0).put("s", "{}").await;
    assert_eq!(frames.event().await, put);
}
