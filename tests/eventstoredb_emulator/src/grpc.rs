//! The services of one node. They translate: requests into changes and reads, outcomes into messages and errors.
//! Nothing is decided here that the store or the cluster decides.

#![expect(clippy::result_large_err, reason = "the error of every call is tonic's status, which is large")]

mod access;
mod append;
mod batch;
mod cluster_services;
mod events;
mod frames;
mod read;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{oneshot, watch};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::clock;
use crate::cluster::{Change, Core, Inner, Outcome, Reply, Role};
use crate::proto::client::gossip::gossip_server::GossipServer;
use crate::proto::client::server_features::server_features_server::ServerFeaturesServer;
use crate::proto::client::streams::streams_server::{Streams, StreamsServer};
use crate::proto::client::streams::{
    AppendReq, AppendResp, BatchAppendReq, DeleteReq, DeleteResp, ReadReq, TombstoneReq, TombstoneResp,
};
use crate::store::Store;

use access::Caller;

/// A node as its services see it.
#[derive(Clone)]
pub(crate) struct Node {
    cluster: Arc<Inner>,
    index: usize,
}

/// All services of a node.
pub(crate) fn services(cluster: Arc<Inner>, index: usize) -> tonic::service::Routes {
    let node = Node { cluster, index };
    let streams = StreamsServer::new(node.clone()).max_decoding_message_size(status::MESSAGE_BYTES_MAX);
    tonic::service::Routes::new(streams)
        .add_service(GossipServer::new(node.clone()))
        .add_service(ServerFeaturesServer::new(node))
}

impl Node {
    fn cluster(&self) -> &Inner {
        &self.cluster
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// Access is denied; the node knows no leader; the node follows, and the request is for a leader.
    fn admit(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let caller = access::caller(metadata, &self.cluster.options)?;
        let for_leader = metadata.get("requires-leader").is_some_and(|value| value == "true");
        match self.cluster.shared.look(|core| core.role(self.index)) {
            Role::NotReady => Err(status::not_ready()),
            Role::Follower { leader } if for_leader => {
                Err(status::not_leader(Some(self.cluster.addresses[leader])))
            }
            Role::Leader | Role::Follower { .. } => Ok(caller),
        }
    }

    fn leader_address(&self) -> Option<SocketAddr> {
        self.cluster.shared.look(Core::leader).map(|leader| self.cluster.addresses[leader])
    }

    /// Looks at the node's store.
    ///
    /// # Errors
    /// The node does not run, or what `look` says.
    fn look<T>(&self, look: impl FnOnce(&Store) -> Result<T, Status>) -> Result<T, Status> {
        self.cluster.shared.look(|core| match core.process(self.index) {
            Some(process) => look(&process.store),
            None => Err(status::not_ready()),
        })
    }

    /// Tells when more is committed. `None`: the node does not run.
    fn commits(&self) -> Option<watch::Receiver<usize>> {
        self.cluster.shared.look(|core| core.process(self.index).map(|process| process.commits.subscribe()))
    }

    /// Has a change made; `reply` is called once, now or when a quorum has it.
    fn change_then(&self, change: &Change, reply: Reply) {
        let now = (Instant::now(), clock::now());
        self.cluster.shared.with(|core| core.change(self.index, change, reply, now));
    }

    /// Has a change made, and waits for it.
    async fn change(&self, change: Change) -> Outcome {
        let (told, outcome) = oneshot::channel();
        // A caller that has gone needs no answer.
        self.change_then(&change, Box::new(|outcome| drop(told.send(outcome))));
        // A leader that ended while it was asked by another node tells nothing.
        outcome.await.unwrap_or(Outcome::TimedOut)
    }
}

#[tonic::async_trait]
impl Streams for Node {
    type ReadStream = frames::Frames;
    type BatchAppendStream = batch::Answers;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Self::ReadStream>, Status> {
        read::read(self, request)
    }

    async fn append(&self, request: Request<Streaming<AppendReq>>) -> Result<Response<AppendResp>, Status> {
        append::append(self, request).await
    }

    async fn delete(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        append::delete(self, request).await
    }

    async fn tombstone(&self, request: Request<TombstoneReq>) -> Result<Response<TombstoneResp>, Status> {
        append::tombstone(self, request).await
    }

    async fn batch_append(
        &self,
        request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Self::BatchAppendStream>, Status> {
        batch::batch_append(self.clone(), request)
    }
}
