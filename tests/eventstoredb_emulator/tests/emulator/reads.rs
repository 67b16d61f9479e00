//! Reads of streams and of `$all`.

use eventstoredb_emulator::ServerVersion;
use tonic::Code;

use crate::client::{Client, Frame, From, backwards, filtered, limited, of_all, of_stream};
use crate::{one_node, one_node_of};

async fn positions(
    client: &Client,
    options: eventstoredb_emulator::proto::client::streams::read_req::Options,
) -> Vec<u64> {
    let frames = client.all(options).await.unwrap();
    frames.iter().filter_map(|frame| frame.event().map(|(_, _, position)| position)).collect()
}

#[tokio::test]
async fn a_read_of_a_stream_has_its_events_in_both_directions() {
    let (_cluster, client) = one_node();
    for _ in 0..100 {
        client.put("s", "{}").await;
    }
    assert_eq!(client.revisions("s").await, (0..100).collect::<Vec<_>>());
    assert_eq!(client.all(limited(of_stream("s"), 3)).await.unwrap().len(), 3);
    assert_eq!(client.all(of_stream("nowhere")).await.unwrap(), [Frame::NotFound]);
    let mut newest_first = backwards(of_stream("s"));
    let end = eventstoredb_emulator::proto::client::Empty {};
    let Some(eventstoredb_emulator::proto::client::streams::read_req::options::StreamOption::Stream(of)) =
        &mut newest_first.stream_option
    else {
        panic!()
    };
    of.revision_option = Some(
        eventstoredb_emulator::proto::client::streams::read_req::options::stream_options::RevisionOption::End(
            end,
        ),
    );
    let frames = client.all(newest_first).await.unwrap();
    let revisions: Vec<u64> = frames.iter().map(|frame| frame.event().unwrap().1).collect();
    assert_eq!(revisions, (0..100).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_read_of_all_includes_its_start_forwards_and_not_backwards() {
    let (_cluster, client) = one_node();
    let mut put = Vec::new();
    for _ in 0..40 {
        put.push(client.put("s", "{}").await);
    }
    let from = |index: usize| From::At(put[index], put[index]);
    assert_eq!(positions(&client, filtered(of_all(from(7)), "s", 32)).await, put[7..]);
    let zero_prepare = of_all(From::At(put[7], 0));
    assert_eq!(positions(&client, filtered(zero_prepare, "s", 32)).await, put[7..]);
    let before: Vec<u64> = put[..7].iter().rev().copied().collect();
    assert_eq!(positions(&client, backwards(filtered(of_all(from(7)), "s", 32))).await, before);
    assert_eq!(positions(&client, limited(of_all(From::Start), 1)).await, [548]);
}

#[tokio::test]
async fn a_position_that_begins_no_record_is_an_error_and_one_beyond_the_end_is_not() {
    for (version, details) in [
        (ServerVersion::V23_10, "Unexpected ReadAllResult: Error"),
        (ServerVersion::V24_10, "Unexpected ReadAllResult: InvalidPosition"),
    ] {
        let (_cluster, client) = one_node_of(version);
        let put = client.put("s", "{}").await;
        for bad in [5, put - 1, put + 1] {
            let status = client.all(of_all(From::At(bad, bad))).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unknown, details));
        }
        let beyond = of_all(From::At(1_000_000_000_000, 1_000_000_000_000));
        assert_eq!(client.all(beyond).await.unwrap(), []);
        let status = client.all(of_all(From::At(put, put + 1))).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unknown, "Exception was thrown by handler."));
    }
}

#[tokio::test]
async fn a_read_of_no_events_is_an_error() {
    let (_cluster, client) = one_node();
    client.put("s", "{}").await;
    let status = client.all(limited(of_stream("s"), 0)).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "Unexpected ReadStreamResult: Error"));
}

#[tokio::test]
async fn a_regular_expression_makes_prefixes_void() {
    use eventstoredb_emulator::proto::client::streams::read_req::options::{FilterOption, filter_options};
    let (_cluster, client) = one_node();
    let one = client.put("apple-1", "{}").await;
    client.put("pear-1", "{}").await;
    let mut options = filtered(of_all(From::Start), "pear", 32);
    let Some(FilterOption::Filter(filter)) = &mut options.filter_option else { panic!() };
    let Some(filter_options::Filter::StreamIdentifier(expression)) = &mut filter.filter else { panic!() };
    expression.regex = "^ap+le".to_owned();
    assert_eq!(positions(&client, options.clone()).await, [one]);
    let Some(FilterOption::Filter(filter)) = &mut options.filter_option else { panic!() };
    let Some(filter_options::Filter::StreamIdentifier(expression)) = filter.filter.take() else { panic!() };
    let by_type = filter_options::Expression { regex: "^t$".to_owned(), ..expression };
    filter.filter = Some(filter_options::Filter::EventType(by_type));
    assert_eq!(positions(&client, options).await.len(), 2);
}
