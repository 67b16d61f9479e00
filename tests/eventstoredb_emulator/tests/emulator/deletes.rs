//! Deletes, tombstones, and metadata that hides events.

use eventstoredb_emulator::METADATA_TYPE;
use tonic::Code;

use crate::client::{Appended, Expect, Frame, From, event, filtered, named, of_all, of_stream};
use crate::one_node;

fn metadata(text: &str) -> eventstoredb_emulator::proto::client::streams::append_req::ProposedMessage {
    let mut metadata = event(text);
    metadata.metadata.insert("type".to_owned(), METADATA_TYPE.to_owned());
    metadata
}

#[tokio::test]
async fn a_deleted_stream_is_not_found_and_goes_on_with_its_revisions() {
    let (cluster, client) = one_node();
    for _ in 0..3 {
        client.put("s", "{}").await;
    }
    client.append("$$s", Expect::Any, vec![metadata(r#"{"$maxCount":2,"custom":"x"}"#)]).await.unwrap();
    assert_eq!(client.revisions("s").await, [1, 2]);
    let deleted = client.delete("s").await.unwrap();
    assert_eq!(client.all(of_stream("s")).await.unwrap(), [Frame::NotFound]);
    assert!(
        client.delete("s").await.unwrap() > deleted,
        "a delete again is a success with a record of its own"
    );
    let again = client.append("s", Expect::Any, vec![event("{}")]).await.unwrap();
    assert!(matches!(again, Appended::At(Some(3), _)));
    assert_eq!(client.revisions("s").await, [3]);
    let texts: Vec<String> = cluster
        .committed()
        .iter()
        .filter_map(|record| record.event().filter(|event| &*event.stream == "$$s"))
        .map(|event| String::from_utf8(event.payload.data().to_vec()).unwrap())
        .collect();
    let all = r#"{"$tb":9223372036854775807}"#;
    assert_eq!(texts, [r#"{"$maxCount":2,"custom":"x"}"#, all, all, r#"{"$tb":3}"#]);
    let of_s = client.all(filtered(of_all(From::Start), "s", 32)).await.unwrap();
    assert_eq!(of_s.len(), 4, "all events are in $all: {of_s:?}");
}

#[tokio::test]
async fn a_deleted_stream_is_none_that_exists_for_a_delete() {
    use eventstoredb_emulator::proto::client::Empty;
    use eventstoredb_emulator::proto::client::streams::{DeleteReq, delete_req};
    let (_cluster, client) = one_node();
    client.put("s", "{}").await;
    let options = delete_req::Options {
        stream_identifier: Some(named("s")),
        expected_stream_revision: Some(delete_req::options::ExpectedStreamRevision::StreamExists(Empty {})),
    };
    let delete = async || {
        let request = client.request(DeleteReq { options: Some(options.clone()) });
        client.streams.clone().delete(request).await
    };
    delete().await.unwrap();
    let status = delete().await.unwrap_err();
    assert_eq!(status.metadata().get("exception").unwrap(), "stream-deleted");
}

#[tokio::test]
async fn a_deleted_stream_can_be_made_again_as_one_that_is_not_there() {
    let (_cluster, client) = one_node();
    client.put("s", "{}").await;
    client.delete("s").await.unwrap();
    let again = client.append("s", Expect::None, vec![event("{}")]).await.unwrap();
    assert!(matches!(again, Appended::At(Some(1), _)));
}

#[tokio::test]
async fn a_delete_of_what_never_was_fails_with_both_versions() {
    let (_cluster, client) = one_node();
    let status = client.delete("never").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.message(),
        "Delete failed due to WrongExpectedVersion. Stream: never, Expected version: -2, Actual version: -1"
    );
    for (name, value) in [
        ("exception", "wrong-expected-version"),
        ("stream-name", "never"),
        ("expected-version", "-2"),
        ("actual-version", "-1"),
    ] {
        assert_eq!(status.metadata().get(name).unwrap(), value);
    }
}

#[tokio::test]
async fn a_tombstone_ends_a_stream_for_ever() {
    let (cluster, client) = one_node();
    client.put("s", "{}").await;
    client.tombstone("s").await.unwrap();
    let failures = [
        client.all(of_stream("s")).await.map(drop),
        client.append("s", Expect::Any, vec![event("{}")]).await.map(drop),
        client.tombstone("s").await,
        client.delete("s").await.map(drop),
    ];
    for failure in failures {
        let status = failure.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "Event stream 's' is deleted.");
        assert_eq!(status.metadata().get("exception").unwrap(), "stream-deleted");
        assert_eq!(status.metadata().get("stream-name").unwrap(), "s");
    }
    let metadata_of = client.all(of_stream("$$s")).await.unwrap_err();
    assert_eq!(metadata_of.metadata().get("exception").unwrap(), "stream-deleted");
    let committed = cluster.committed();
    let last = committed.last().unwrap().event().unwrap();
    assert_eq!((&*last.event_type, last.revision), ("$streamDeleted", i64::MAX));
}

#[tokio::test]
async fn limits_in_metadata_hold_for_reads_of_the_stream_and_not_for_all() {
    let (_cluster, client) = one_node();
    for _ in 0..5 {
        client.put("s", "{}").await;
    }
    for (text, left) in [
        (r#"{"$maxCount":2}"#, &[3, 4][..]),
        (r#"{"$tb":1}"#, &[1, 2, 3, 4]),
        (r#"{"$maxAge":3600}"#, &[0, 1, 2, 3, 4]),
        (r#"{"$tb":1,"$maxCount":1}"#, &[4]),
    ] {
        client.append("$$s", Expect::Any, vec![metadata(text)]).await.unwrap();
        assert_eq!(client.revisions("s").await, left, "{text}");
        assert_eq!(client.all(filtered(of_all(From::Start), "s", 32)).await.unwrap().len(), 5);
    }
    // Events of now are older than an age that is negative.
    client.append("$$s", Expect::Any, vec![metadata(r#"{"$maxAge":-1}"#)]).await.unwrap();
    assert_eq!(client.revisions("s").await, [0_u64; 0]);
}
