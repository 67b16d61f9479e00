//! A plain client over the generated stubs: it tries nothing again and hides nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ::uuid::Uuid;
use eventstoredb_emulator::proto::client::streams::append_req::options::ExpectedStreamRevision;
use eventstoredb_emulator::proto::client::streams::append_resp::success::{
    CurrentRevisionOption, PositionOption,
};
use eventstoredb_emulator::proto::client::streams::append_resp::wrong_expected_version::CurrentRevisionOption as Current;
use eventstoredb_emulator::proto::client::streams::read_req::Options;
use eventstoredb_emulator::proto::client::streams::read_req::options::filter_options::{
    self, Expression, Window,
};
use eventstoredb_emulator::proto::client::streams::read_req::options::stream_options::RevisionOption;
use eventstoredb_emulator::proto::client::streams::read_req::options::{
    AllOptions, CountOption, FilterOption, FilterOptions, Position, ReadDirection, StreamOption,
    StreamOptions, SubscriptionOptions, UuidOption, all_options::AllOption, uuid_option,
};
use eventstoredb_emulator::proto::client::streams::read_resp::Content;
use eventstoredb_emulator::proto::client::streams::streams_client::StreamsClient;
use eventstoredb_emulator::proto::client::streams::{
    AppendReq, DeleteReq, ReadReq, ReadResp, TombstoneReq, append_req, append_resp, delete_req, delete_resp,
    tombstone_req,
};
use eventstoredb_emulator::proto::client::{Empty, StreamIdentifier, Uuid as UuidMessage, uuid};
use tokio_stream::StreamExt;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// Longest wait for a frame that must come.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// The state that a stream must have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    Any,
    Exists,
    None,
    At(u64),
}

/// The answer to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// Revision and position of the last event.
    At(Option<u64>, u64),
    /// Refused; the stream's last revision.
    Wrong(Option<u64>),
}

impl Appended {
    #[track_caller]
    pub(crate) fn position(self) -> u64 {
        match self {
            Self::At(_, position) => position,
            Self::Wrong(current) => panic!("refused: the stream is at {current:?}"),
        }
    }
}

/// A frame of a read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Confirmed,
    Event {
        stream: String,
        revision: u64,
        position: u64,
        id: Uuid,
        event_type: String,
        data: String,
    },
    Checkpoint(u64, u64),
    /// With the position that it tells.
    CaughtUp(Option<u64>),
    NotFound,
}

/// The start of a read of `$all`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Start,
    End,
    At(u64, u64),
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) streams: StreamsClient<Channel>,
    headers: Vec<(&'static str, String)>,
}

/// An event with an id of its own.
pub(crate) fn event(data: &str) -> append_req::ProposedMessage {
    with_id(Uuid::new_v4(), data)
}

pub(crate) fn with_id(id: Uuid, data: &str) -> append_req::ProposedMessage {
    append_req::ProposedMessage {
        id: Some(UuidMessage { value: Some(uuid::Value::String(id.to_string())) }),
        metadata: properties(),
        custom_metadata: "".into(),
        data: data.to_owned().into(),
    }
}

pub(crate) fn properties() -> BTreeMap<String, String> {
    [("type", "t"), ("content-type", "application/json")]
        .map(|(key, value)| (key.into(), value.into()))
        .into()
}

pub(crate) fn named(stream: &str) -> StreamIdentifier {
    StreamIdentifier { stream_name: stream.to_owned().into() }
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().tcp_nodelay(true);
        let endpoint = endpoint.initial_stream_window_size(1 << 20).initial_connection_window_size(1 << 20);
        Self::over(endpoint.connect_lazy())
    }

    pub(crate) fn over(channel: Channel) -> Self {
        let streams = StreamsClient::new(channel).max_decoding_message_size(32 << 20);
        Self { streams, headers: Vec::new() }
    }

    /// Sends a header with every request.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn with_user(self, name: &str, password: &str) -> Self {
        use base64::Engine;
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        self.with("authorization", &format!("Basic {encoded}"))
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in &self.headers {
            request.metadata_mut().insert(*name, MetadataValue::try_from(value.as_str()).unwrap());
        }
        request
    }

    pub(crate) async fn append(
        &self,
        stream: &str,
        expect: Expect,
        events: Vec<append_req::ProposedMessage>,
    ) -> Result<Appended, Status> {
        let expected = match expect {
            Expect::Any => ExpectedStreamRevision::Any(Empty {}),
            Expect::Exists => ExpectedStreamRevision::StreamExists(Empty {}),
            Expect::None => ExpectedStreamRevision::NoStream(Empty {}),
            Expect::At(revision) => ExpectedStreamRevision::Revision(revision),
        };
        let options = append_req::Options {
            stream_identifier: Some(named(stream)),
            expected_stream_revision: Some(expected),
        };
        let mut messages = vec![append_req::Content::Options(options)];
        messages.extend(events.into_iter().map(append_req::Content::ProposedMessage));
        let messages = messages.into_iter().map(|content| AppendReq { content: Some(content) });
        let request = self.request(tokio_stream::iter(messages.collect::<Vec<_>>()));
        let response = self.streams.clone().append(request).await?.into_inner();
        Ok(match response.result.unwrap() {
            append_resp::Result::Success(success) => {
                let revision = match success.current_revision_option.unwrap() {
                    CurrentRevisionOption::CurrentRevision(revision) => Some(revision),
                    CurrentRevisionOption::NoStream(_) => None,
                };
                let Some(PositionOption::Position(position)) = success.position_option else { panic!() };
                assert_eq!(position.commit_position, position.prepare_position);
                Appended::At(revision, position.commit_position)
            }
            append_resp::Result::WrongExpectedVersion(wrong) => {
                Appended::Wrong(match wrong.current_revision_option.unwrap() {
                    Current::CurrentRevision(revision) => Some(revision),
                    Current::CurrentNoStream(_) => None,
                })
            }
        })
    }

    /// Appends one event, whatever the state of the stream.
    #[track_caller]
    pub(crate) fn put(&self, stream: &str, data: &str) -> impl Future<Output = u64> {
        let (this, stream, event) = (self.clone(), stream.to_owned(), event(data));
        async move { this.append(&stream, Expect::Any, vec![event]).await.unwrap().position() }
    }

    pub(crate) async fn delete(&self, stream: &str) -> Result<u64, Status> {
        let any = delete_req::options::ExpectedStreamRevision::Any(Empty {});
        let options = delete_req::Options {
            stream_identifier: Some(named(stream)),
            expected_stream_revision: Some(any),
        };
        let request = self.request(DeleteReq { options: Some(options) });
        match self.streams.clone().delete(request).await?.into_inner().position_option {
            Some(delete_resp::PositionOption::Position(position)) => Ok(position.commit_position),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn tombstone(&self, stream: &str) -> Result<(), Status> {
        let any = tombstone_req::options::ExpectedStreamRevision::Any(Empty {});
        let options = tombstone_req::Options {
            stream_identifier: Some(named(stream)),
            expected_stream_revision: Some(any),
        };
        let request = self.request(TombstoneReq { options: Some(options) });
        self.streams.clone().tombstone(request).await.map(drop)
    }

    pub(crate) async fn read(&self, options: Options) -> Result<Frames, Status> {
        let request = self.request(ReadReq { options: Some(options) });
        Ok(Frames(self.streams.clone().read(request).await?.into_inner()))
    }

    /// All that a read gives until it ends.
    pub(crate) async fn all(&self, options: Options) -> Result<Vec<Frame>, Status> {
        let mut frames = self.read(options).await?;
        let mut all = Vec::new();
        while let Some(frame) = frames.next().await? {
            all.push(frame);
        }
        Ok(all)
    }

    /// The revisions of a stream that are read.
    pub(crate) async fn revisions(&self, stream: &str) -> Vec<u64> {
        let frames = self.all(of_stream(stream)).await.unwrap();
        frames.iter().filter_map(|frame| frame.event().map(|(_, revision, _)| revision)).collect()
    }

    /// Subscribes to `$all` by a prefix of streams.
    pub(crate) async fn subscribe(&self, from: From, prefix: &str, window: u32) -> Result<Frames, Status> {
        self.read(subscription(filtered(of_all(from), prefix, window))).await
    }
}

impl Frame {
    /// Stream, revision and position of an event.
    pub(crate) fn event(&self) -> Option<(&str, u64, u64)> {
        match self {
            Self::Event { stream, revision, position, .. } => Some((stream, *revision, *position)),
            _ => None,
        }
    }
}

pub(crate) struct Frames(pub(crate) Streaming<ReadResp>);

impl Frames {
    /// The next frame; `None`: the read has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, Status> {
        let next = tokio::time::timeout(WITHIN, self.0.next()).await.expect("a frame comes in time");
        next.transpose().map(|frame| frame.map(|frame| seen(frame.content.unwrap())))
    }

    /// All frames up to the first `CaughtUp`, which is the last.
    pub(crate) async fn caught_up(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await.unwrap().expect("a subscription goes on");
            let is_last = matches!(frame, Frame::CaughtUp(_));
            frames.push(frame);
            if is_last {
                return frames;
            }
        }
    }

    /// Position of the next event.
    pub(crate) async fn event(&mut self) -> u64 {
        loop {
            if let Some((_, _, position)) =
                self.next().await.unwrap().expect("a subscription goes on").event()
            {
                return position;
            }
        }
    }
}

fn seen(content: Content) -> Frame {
    match content {
        Content::Confirmation(_) => Frame::Confirmed,
        Content::Checkpoint(checkpoint) => {
            Frame::Checkpoint(checkpoint.commit_position, checkpoint.prepare_position)
        }
        Content::CaughtUp(caught_up) => {
            Frame::CaughtUp(caught_up.position.map(|position| position.commit_position))
        }
        Content::StreamNotFound(_) => Frame::NotFound,
        Content::Event(event) => {
            let event = event.event.unwrap();
            assert_eq!(event.commit_position, event.prepare_position);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let Some(uuid::Value::String(id)) = event.id.unwrap().value else { panic!("ids are text") };
            Frame::Event {
                stream: text(&event.stream_identifier.unwrap().stream_name),
                revision: event.stream_revision,
                position: event.commit_position,
                id: id.parse().unwrap(),
                event_type: event.metadata["type"].clone(),
                data: text(&event.data),
            }
        }
        other => panic!("{other:?}"),
    }
}

fn options(of: StreamOption) -> Options {
    Options {
        stream_option: Some(of),
        read_direction: ReadDirection::Forwards.into(),
        resolve_links: false,
        count_option: Some(CountOption::Count(u64::MAX)),
        filter_option: Some(FilterOption::NoFilter(Empty {})),
        uuid_option: Some(UuidOption { content: Some(uuid_option::Content::String(Empty {})) }),
        control_option: None,
    }
}

/// A read of all of a stream.
pub(crate) fn of_stream(stream: &str) -> Options {
    options(StreamOption::Stream(StreamOptions {
        stream_identifier: Some(named(stream)),
        revision_option: Some(RevisionOption::Start(Empty {})),
    }))
}

/// A read of `$all`.
pub(crate) fn of_all(from: From) -> Options {
    let from = match from {
        From::Start => AllOption::Start(Empty {}),
        From::End => AllOption::End(Empty {}),
        From::At(commit_position, prepare_position) => {
            AllOption::Position(Position { commit_position, prepare_position })
        }
    };
    options(StreamOption::All(AllOptions { all_option: Some(from) }))
}

/// Only streams whose names begin with `prefix`.
pub(crate) fn filtered(mut options: Options, prefix: &str, window: u32) -> Options {
    options.filter_option = Some(FilterOption::Filter(FilterOptions {
        filter: Some(filter_options::Filter::StreamIdentifier(Expression {
            regex: String::new(),
            prefix: vec![prefix.to_owned()],
        })),
        window: Some(Window::Max(window)),
        checkpoint_interval_multiplier: 1,
    }));
    options
}

pub(crate) fn subscription(mut options: Options) -> Options {
    options.count_option = Some(CountOption::Subscription(SubscriptionOptions {}));
    options
}

pub(crate) fn backwards(mut options: Options) -> Options {
    options.read_direction = ReadDirection::Backwards.into();
    options
}

pub(crate) fn limited(mut options: Options, count: u64) -> Options {
    options.count_option = Some(CountOption::Count(count));
    options
}
