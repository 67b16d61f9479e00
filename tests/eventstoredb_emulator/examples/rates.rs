//! Rates of the emulator: `rates [EVENTS] [NODES] [IN_FLIGHT]`. Events of 100 bytes, one a stream, by batch append; then
//! one catch-up subscription over all of them. Client and nodes share the process.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use eventstoredb_emulator::proto::client::streams::batch_append_req::options::ExpectedStreamPosition;
use eventstoredb_emulator::proto::client::streams::batch_append_req::{self, ProposedMessage};
use eventstoredb_emulator::proto::client::streams::batch_append_resp::Result as Answer;
use eventstoredb_emulator::proto::client::streams::read_req::Options as ReadOptions;
use eventstoredb_emulator::proto::client::streams::read_req::options::filter_options::{
    Expression, Filter, Window,
};
use eventstoredb_emulator::proto::client::streams::read_req::options::{
    AllOptions, CountOption, FilterOption, FilterOptions, StreamOption, SubscriptionOptions, UuidOption,
    all_options::AllOption, uuid_option,
};
use eventstoredb_emulator::proto::client::streams::read_resp::Content;
use eventstoredb_emulator::proto::client::streams::streams_client::StreamsClient;
use eventstoredb_emulator::proto::client::streams::{BatchAppendReq, ReadReq};
use eventstoredb_emulator::proto::client::{Empty, StreamIdentifier, Uuid as UuidMessage, uuid::Value};
use eventstoredb_emulator::{Cluster, Options};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn id() -> UuidMessage {
    UuidMessage { value: Some(Value::String(Uuid::new_v4().to_string())) }
}

fn request(stream: usize, data: &bytes::Bytes) -> BatchAppendReq {
    let property = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    BatchAppendReq {
        correlation_id: Some(id()),
        options: Some(batch_append_req::Options {
            stream_identifier: Some(StreamIdentifier {
                stream_name: format!("user_activity-{stream:037}").into(),
            }),
            expected_stream_position: Some(ExpectedStreamPosition::Any(())),
            deadline_option: None,
        }),
        proposed_messages: vec![ProposedMessage {
            id: Some(id()),
            metadata: BTreeMap::from([
                property("type", "login"),
                property("content-type", "application/json"),
            ]),
            custom_metadata: bytes::Bytes::new(),
            data: data.clone(),
        }],
        is_final: true,
    }
}

/// Kibibytes of memory that the process has.
fn memory_kib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}

async fn append(mut client: StreamsClient<Channel>, events: usize, in_flight: usize) -> Outcome<()> {
    let (requests, received) = mpsc::channel(1_024);
    let room = Arc::new(Semaphore::new(in_flight));
    let mut answers = client.batch_append(ReceiverStream::new(received)).await?.into_inner();
    let data = bytes::Bytes::from(vec![b'a'; 100]);
    let taken = Arc::clone(&room);
    let mut sending = tokio::task::JoinSet::new();
    sending.spawn(async move {
        for stream in 0..events {
            let Ok(permit) = taken.acquire().await else { return };
            permit.forget();
            if requests.send(request(stream, &data)).await.is_err() {
                return;
            }
        }
    });
    for _ in 0..events {
        let answer = answers.next().await.ok_or("the session ended")??;
        match answer.result {
            Some(Answer::Success(_)) => room.add_permits(1),
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}

async fn catch_up(mut client: StreamsClient<Channel>) -> Outcome<usize> {
    let filter = FilterOptions {
        filter: Some(Filter::StreamIdentifier(Expression {
            regex: String::new(),
            prefix: vec!["user_activity-".to_owned()],
        })),
        window: Some(Window::Max(1_000)),
        checkpoint_interval_multiplier: 1,
    };
    let options = ReadOptions {
        stream_option: Some(StreamOption::All(AllOptions { all_option: Some(AllOption::Start(Empty {})) })),
        count_option: Some(CountOption::Subscription(SubscriptionOptions {})),
        filter_option: Some(FilterOption::Filter(filter)),
        uuid_option: Some(UuidOption { content: Some(uuid_option::Content::Structured(Empty {})) }),
        ..ReadOptions::default()
    };
    let mut frames = client.read(ReadReq { options: Some(options) }).await?.into_inner();
    let mut events = 0;
    while let Some(frame) = frames.next().await {
        match frame?.content {
            Some(Content::Event(_)) => events += 1,
            Some(Content::CaughtUp(_)) => break,
            _ => {}
        }
    }
    Ok(events)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let events = arguments.next().transpose()?.unwrap_or(1_000_000);
    let nodes = arguments.next().transpose()?.unwrap_or(1);
    let in_flight = arguments.next().transpose()?.unwrap_or(1_024);
    let cluster = Cluster::start(Options { nodes, ..Options::default() })?;
    let endpoint = Endpoint::from_shared(format!("http://{}", cluster.addresses()[0]))?.tcp_nodelay(true);
    let endpoint = endpoint.initial_stream_window_size(4 << 20).initial_connection_window_size(4 << 20);
    let client = StreamsClient::new(endpoint.connect().await?);
    let before = memory_kib()?;
    let began = Instant::now();
    append(client.clone(), events, in_flight).await?;
    let rate = |events: usize, began: Instant| {
        let micros = began.elapsed().as_micros().max(1);
        events as u128 * 1_000_000 / micros
    };
    let mut out = io::stdout();
    writeln!(out, "batch append, {in_flight} in flight, {nodes} nodes: {} events/s", rate(events, began))?;
    let kib = memory_kib()?.saturating_sub(before);
    writeln!(out, "memory: {} bytes an event, all nodes and 100 of data", kib * 1_024 / events as u64)?;
    let began = Instant::now();
    let read = catch_up(client).await?;
    writeln!(out, "catch-up subscription: {read} events, {} events/s", rate(read, began))?;
    Ok(())
}
