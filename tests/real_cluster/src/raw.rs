//! The server asked without the store: the plain client that the emulator's own tests use, and the records of streams as they are.

#[expect(dead_code, reason = "the emulator's tests use all of it")]
#[path = "../../eventstoredb_emulator/tests/emulator/client.rs"]
mod client;

use eventstoredb_emulator::proto::client::streams::append_req::ProposedMessage;
use eventstoredb_emulator::proto::client::streams::read_req::Options;
use eventstoredb_emulator::proto::client::streams::read_resp::Content;
use eventstoredb_emulator::proto::client::uuid::Value;
use tokio_stream::StreamExt;
use uuid::Uuid;

pub(crate) use self::client::{
    Appended, Client, Expect, Frame, From, backwards, event, filtered, limited, of_all, of_stream, with_id,
};
use crate::model::Seen;
use crate::waiting::{until, wait};

/// An event of any form.
pub(crate) fn proposed(id: Uuid, event_type: &str, data: &str, metadata: &str) -> ProposedMessage {
    let mut message = with_id(id, data);
    message.metadata.insert("type".to_owned(), event_type.to_owned());
    message.custom_metadata = metadata.to_owned().into();
    message
}

impl Client {
    /// The events that a read gives, whole.
    pub(crate) async fn seen(&self, options: Options) -> Vec<Seen> {
        let mut frames = self.read(options).await.unwrap().0;
        let mut all = Vec::new();
        while let Some(frame) = frames.next().await {
            let Some(Content::Event(read)) = frame.unwrap().content else { continue };
            let event = read.event.unwrap();
            let Some(Value::String(id)) = event.id.unwrap().value else { panic!("ids are text") };
            assert_eq!(event.commit_position, event.prepare_position);
            all.push(Seen {
                position: event.commit_position,
                stream: String::from_utf8(event.stream_identifier.unwrap().stream_name.to_vec()).unwrap(),
                id: id.parse().unwrap(),
                event_type: event.metadata["type"].clone(),
                ticks: event.metadata["created"].parse().unwrap(),
                data: event.data.to_vec(),
                metadata: event.custom_metadata.to_vec(),
            });
        }
        all
    }

    /// Appends a record once more to its stream, as a node would that does not know of it; tries until a leader takes it.
    pub(crate) fn append_again(&self, record: &Seen, data: &[u8]) -> u64 {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (data, metadata) = (text(data), text(&record.metadata));
        let mut appended = None;
        until("an append is taken", || {
            let message = proposed(record.id, &record.event_type, &data, &metadata);
            appended = wait(self.append(&record.stream, Expect::Any, vec![message])).ok();
            appended.is_some()
        });
        appended.unwrap().position()
    }
}
