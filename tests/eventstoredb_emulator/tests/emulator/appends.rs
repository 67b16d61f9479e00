//! Appends: the state that is expected, properties, sizes, positions, batches.

use ::uuid::Uuid;
use eventstoredb_emulator::proto::client::streams::batch_append_req::options::ExpectedStreamPosition;
use eventstoredb_emulator::proto::client::streams::batch_append_req::{Options, ProposedMessage};
use eventstoredb_emulator::proto::client::streams::batch_append_resp::Result as Answer;
use eventstoredb_emulator::proto::client::streams::{BatchAppendReq, BatchAppendResp};
use eventstoredb_emulator::proto::client::{Uuid as UuidMessage, uuid};
use eventstoredb_emulator::proto::google::rpc::Code as BatchCode;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::client::{Appended, Client, Expect, Frame, event, named, properties};
use crate::one_node;

fn trailer<'a>(status: &'a Status, name: &str) -> &'a str {
    status.metadata().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn an_append_is_stored_only_in_the_state_that_it_expects() {
    let (_cluster, client) = one_node();
    let at =
        |revision| move |appended: Appended| matches!(appended, Appended::At(Some(it), _) if it == revision);
    let append = async |stream, expect| client.append(stream, expect, vec![event("{}")]).await.unwrap();
    assert_eq!(append("s", Expect::Exists).await, Appended::Wrong(None));
    assert_eq!(append("s", Expect::At(7)).await, Appended::Wrong(None));
    assert!(at(0)(append("s", Expect::None).await));
    assert_eq!(append("s", Expect::None).await, Appended::Wrong(Some(0)));
    assert!(at(1)(append("s", Expect::At(0)).await));
    assert_eq!(append("s", Expect::At(0)).await, Appended::Wrong(Some(1)));
    assert_eq!(append("s", Expect::At(2)).await, Appended::Wrong(Some(1)));
    assert!(at(2)(append("s", Expect::Exists).await));
    assert!(at(3)(append("s", Expect::Any).await));
    assert_eq!(client.revisions("s").await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn positions_are_those_of_a_log_of_bytes_and_an_answer_has_that_of_its_last_event() {
    let (_cluster, client) = one_node();
    let name = "n".repeat(40);
    let first = client.put(&name, "{}").await;
    assert_eq!(first, 733);
    let answer =
        client.append(&name, Expect::Any, vec![event("{}"), event("not json"), event("{}")]).await.unwrap();
    assert_eq!(answer, Appended::At(Some(3), first + 133 + 133 + 139));
    assert_eq!(client.put(&name, "{}").await, answer.position() + 133);
}

#[tokio::test]
async fn an_append_without_events_moves_the_next_position() {
    let (cluster, client) = one_node();
    let before = client.put("stream", "{}").await;
    let committed = cluster.committed().len();
    let empty = client.append("stream", Expect::Any, Vec::new()).await.unwrap();
    assert_eq!(empty, Appended::At(Some(0), before + 90 + 6 + 1 + 2));
    assert_eq!(client.put("stream", "{}").await, empty.position() + 96);
    assert_eq!(cluster.committed().len(), committed + 2);
    assert_eq!(client.revisions("stream").await, [0, 1]);
}

#[tokio::test]
async fn an_event_that_lacks_a_property_is_refused_by_name() {
    let (_cluster, client) = one_node();
    for property in ["type", "content-type"] {
        let mut lacking = event("{}");
        lacking.metadata.remove(property);
        let status = client.append("s", Expect::Any, vec![lacking]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), format!("Required Metadata Property '{property}' is missing"));
        assert_eq!(trailer(&status, "exception"), "missing-required-metadata-property");
        assert_eq!(trailer(&status, "required-metadata-properties"), "type,content-type");
    }
}

#[tokio::test]
async fn ids_types_and_names_that_are_none_look_like_a_fault_of_the_server() {
    let (_cluster, client) = one_node();
    let id = |text: &str| Some(UuidMessage { value: Some(uuid::Value::String(text.to_owned())) });
    let mut bad = vec![("s", event("{}")); 4];
    bad[0].1.id = None;
    bad[1].1.id = id("nonsense");
    bad[2].1.id = id(&Uuid::nil().to_string());
    bad[3].1.metadata.insert("type".to_owned(), String::new());
    bad.push(("", event("{}")));
    for (stream, event) in bad {
        let status = client.append(stream, Expect::Any, vec![event]).await.unwrap_err();
        assert_eq!(status.code(), Code::Unknown);
        assert_eq!(status.message(), "Exception was thrown by handler.");
        assert_eq!(trailer(&status, "exception"), "");
    }
}

#[tokio::test]
async fn an_append_has_a_mebibyte_at_most_and_a_message_sixteen() {
    let (_cluster, client) = one_node();
    let of = |kib: usize| event(&"a".repeat(kib * 1024));
    client.append("s", Expect::Any, vec![of(1023)]).await.unwrap().position();
    for events in [vec![of(1025)], vec![of(600), of(600)], vec![of(16_000)]] {
        let status = client.append("s", Expect::Any, events).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "Maximum Append Size of 1048576 Exceeded.");
        assert_eq!(trailer(&status, "exception"), "maximum-append-size-exceeded");
        assert_eq!(trailer(&status, "maximum-append-size"), "1048576");
    }
    let status = client.append("s", Expect::Any, vec![of(17_000)]).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "Received message exceeds the maximum configured message size.");
    assert_eq!(client.revisions("s").await, [0]);
}

#[tokio::test]
async fn data_is_stored_as_it_came_and_every_other_content_type_becomes_octets() {
    let (cluster, client) = one_node();
    let mut text = event("not json");
    text.metadata.insert("content-type".to_owned(), "text/plain".to_owned());
    client.append("s", Expect::Any, vec![event("not json"), text]).await.unwrap();
    let committed = cluster.committed();
    let content: Vec<_> =
        committed.iter().filter_map(|record| record.event()).map(|event| event.content.text()).collect();
    assert_eq!(content[content.len() - 2..], ["application/json", "application/octet-stream"]);
    for frame in client.all(crate::client::of_stream("s")).await.unwrap() {
        assert!(matches!(frame, Frame::Event { data, .. } if data == "not json"));
    }
}

/// A batch session.
pub(crate) struct Session {
    pub(crate) requests: mpsc::Sender<BatchAppendReq>,
    pub(crate) answers: Streaming<BatchAppendResp>,
}

impl Session {
    pub(crate) async fn open(client: &Client) -> Result<Self, Status> {
        let (requests, received) = mpsc::channel(4_096);
        let request = client.request(ReceiverStream::new(received));
        let answers = client.streams.clone().batch_append(request).await?.into_inner();
        Ok(Self { requests, answers })
    }

    pub(crate) async fn send(
        &self,
        correlation: Uuid,
        (stream, expected): (&str, ExpectedStreamPosition),
        data: &[&str],
    ) {
        let messages = data.iter().map(|data| ProposedMessage {
            id: Some(text_id(Uuid::new_v4())),
            metadata: properties(),
            custom_metadata: "".into(),
            data: (*data).to_owned().into(),
        });
        let request = BatchAppendReq {
            correlation_id: Some(text_id(correlation)),
            options: Some(Options {
                stream_identifier: Some(named(stream)),
                expected_stream_position: Some(expected),
                deadline_option: None,
            }),
            proposed_messages: messages.collect(),
            is_final: true,
        };
        // A call that has ended takes nothing: its answers say so.
        let _ = self.requests.send(request).await;
    }

    pub(crate) async fn put(&self, stream: &str) -> Uuid {
        let correlation = Uuid::new_v4();
        self.send(correlation, (stream, ExpectedStreamPosition::Any(())), &["{}"]).await;
        correlation
    }

    /// The next answer with its correlation id.
    pub(crate) async fn answer(&mut self) -> Option<Result<(Uuid, Answer), Status>> {
        let next = tokio::time::timeout(crate::client::WITHIN, self.answers.next()).await.expect("an answer");
        let answer = match next? {
            Ok(answer) => answer,
            Err(status) => return Some(Err(status)),
        };
        let Some(uuid::Value::String(id)) = answer.correlation_id.unwrap().value else { panic!("text") };
        Some(Ok((id.parse().unwrap(), answer.result.unwrap())))
    }
}

fn text_id(id: Uuid) -> UuidMessage {
    UuidMessage { value: Some(uuid::Value::String(id.to_string())) }
}

#[tokio::test]
async fn a_failed_append_of_a_batch_is_answered_and_the_others_go_on() {
    let (_cluster, client) = one_node();
    client.put("ended", "{}").await;
    client.tombstone("ended").await.unwrap();
    let mut session = Session::open(&client).await.unwrap();
    let big = "a".repeat(1_100_000);
    let any = || ExpectedStreamPosition::Any(());
    let cases = [
        (("b", any()), "{}", None),
        (
            ("b", ExpectedStreamPosition::NoStream(())),
            "{}",
            Some((BatchCode::AlreadyExists, "WrongExpectedVersion")),
        ),
        (("ended", any()), "{}", Some((BatchCode::NotFound, "StreamDeleted"))),
        (("b", any()), big.as_str(), Some((BatchCode::InvalidArgument, "MaximumAppendSizeExceeded"))),
        (("b", any()), "{}", None),
    ];
    let mut awaited = std::collections::HashMap::new();
    for (of, data, failure) in cases {
        let correlation = Uuid::new_v4();
        session.send(correlation, of, &[data]).await;
        awaited.insert(correlation, failure);
    }
    for _ in 0..5 {
        let (correlation, answer) = session.answer().await.unwrap().unwrap();
        match (awaited.remove(&correlation).unwrap(), answer) {
            (None, Answer::Success(_)) => {}
            (Some((code, name)), Answer::Error(status)) => {
                assert_eq!((status.code(), status.message.as_str()), (code, name));
                let url = status.details.unwrap().type_url;
                assert_eq!(url, format!("type.googleapis.com/event_store.client.{name}"));
            }
            other => panic!("{other:?}"),
        }
    }
    drop(session.requests);
    assert!(session.answers.next().await.is_none(), "the call ends when the client has sent all");
    assert_eq!(client.revisions("b").await, [0, 1]);
}

#[tokio::test]
async fn a_batch_without_a_quorum_and_with_a_bad_event_is_answered() {
    let cluster = crate::three_nodes();
    let mut session = Session::open(&crate::client_of(&cluster, 0)).await.unwrap();
    cluster.node(1).freeze();
    cluster.node(2).freeze();
    session.put("s").await;
    let mut bad = BatchAppendReq {
        correlation_id: Some(text_id(Uuid::new_v4())),
        options: Some(Options {
            stream_identifier: Some(named("s")),
            expected_stream_position: Some(ExpectedStreamPosition::Any(())),
            deadline_option: None,
        }),
        proposed_messages: vec![ProposedMessage { metadata: properties(), ..ProposedMessage::default() }],
        is_final: false,
    };
    // In two messages: the second one makes it whole.
    session.requests.send(bad.clone()).await.unwrap();
    (bad.options, bad.is_final, bad.proposed_messages) = (None, true, Vec::new());
    session.requests.send(bad).await.unwrap();
    for (code, name) in [(BatchCode::InvalidArgument, "BadRequest"), (BatchCode::DeadlineExceeded, "Timeout")]
    {
        let (_, Answer::Error(status)) = session.answer().await.unwrap().unwrap() else { panic!("{name}") };
        assert_eq!((status.code(), status.message.as_str()), (code, name));
    }
}
