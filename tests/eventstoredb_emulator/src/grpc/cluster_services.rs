//! Gossip and the list of methods: how clients find the leader, and learn what a server can do.

use tonic::{Request, Response, Status};

use super::Node;
use crate::clock;
use crate::cluster::Role;
use crate::proto::client::gossip::gossip_server::Gossip;
use crate::proto::client::gossip::member_info::VNodeState;
use crate::proto::client::gossip::{ClusterInfo, EndPoint, MemberInfo};
use crate::proto::client::server_features::server_features_server::ServerFeatures;
use crate::proto::client::server_features::{SupportedMethod, SupportedMethods};
use crate::proto::client::{Empty, Uuid as UuidMessage, uuid};
use crate::version::ServerVersion;

/// Services with their methods, and the features of a method: as both servers list them, in their order.
const METHODS: [(&str, &[(&str, &str)]); 7] = [
    (
        "event_store.client.persistent_subscriptions.persistentsubscriptions",
        &[
            ("create", "stream,all"),
            ("update", "stream,all"),
            ("delete", "stream,all"),
            ("read", "stream,all"),
            ("getinfo", "stream,all"),
            ("replayparked", "stream,all"),
            ("list", "stream,all"),
            ("restartsubsystem", "stream,all"),
        ],
    ),
    (
        "event_store.client.users.users",
        &[
            ("create", ""),
            ("update", ""),
            ("delete", ""),
            ("disable", ""),
            ("enable", ""),
            ("details", ""),
            ("changepassword", ""),
            ("resetpassword", ""),
        ],
    ),
    (
        "event_store.client.streams.streams",
        &[
            ("read", "position,events"),
            ("append", ""),
            ("delete", ""),
            ("tombstone", ""),
            ("batchappend", "deadline_duration"),
        ],
    ),
    (
        "event_store.client.operations.operations",
        &[
            ("startscavenge", ""),
            ("stopscavenge", ""),
            ("shutdown", ""),
            ("mergeindexes", ""),
            ("resignnode", ""),
            ("setnodepriority", ""),
            ("restartpersistentsubscriptions", ""),
        ],
    ),
    ("event_store.client.gossip.gossip", &[("read", "")]),
    ("event_store.client.monitoring.monitoring", &[("stats", "")]),
    ("event_store.client.server_features.serverfeatures", &[("getsupportedmethods", "")]),
];

/// The service that 23.10 lists first and 24.10 last.
const REDACTION: (&str, &[(&str, &str)]) =
    ("event_store.client.redaction.redaction", &[("geteventpositions", ""), ("switchchunks", "")]);

#[tonic::async_trait]
impl ServerFeatures for Node {
    async fn get_supported_methods(&self, _: Request<Empty>) -> Result<Response<SupportedMethods>, Status> {
        let version = self.cluster().options.version;
        let mut services = METHODS.to_vec();
        match version {
            ServerVersion::V23_10 => services.insert(0, REDACTION),
            ServerVersion::V24_10 => services.push(REDACTION),
        }
        let methods = services.into_iter().flat_map(|(service, methods)| {
            methods.iter().map(|(method, features)| SupportedMethod {
                method_name: (*method).to_owned(),
                service_name: service.to_owned(),
                features: features.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            })
        });
        Ok(Response::new(SupportedMethods {
            methods: methods.collect(),
            event_store_server_version: version.told().to_owned(),
        }))
    }
}

#[tonic::async_trait]
impl Gossip for Node {
    /// The members as this node sees them, the leader first.
    async fn read(&self, _: Request<Empty>) -> Result<Response<ClusterInfo>, Status> {
        let cluster = self.cluster();
        let now = clock::now().0;
        let mut members: Vec<MemberInfo> = cluster.shared.look(|core| {
            let member = |node: usize| {
                let instance = core.process(node).map(|process| process.instance).unwrap_or_default();
                let (most, least) = instance.as_u64_pair();
                let is_alive = core.reach_each_other(self.index, node);
                let state = match core.role(node) {
                    Role::Leader => VNodeState::Leader,
                    Role::Follower { .. } => VNodeState::Follower,
                    Role::NotReady => VNodeState::Unknown,
                };
                MemberInfo {
                    instance_id: Some(UuidMessage {
                        value: Some(uuid::Value::Structured(uuid::Structured {
                            most_significant_bits: most.cast_signed(),
                            least_significant_bits: least.cast_signed(),
                        })),
                    }),
                    time_stamp: now,
                    state: state.into(),
                    is_alive,
                    http_end_point: Some(EndPoint {
                        address: cluster.addresses[node].ip().to_string(),
                        port: u32::from(cluster.addresses[node].port()),
                    }),
                }
            };
            (0..core.nodes.len()).map(member).collect()
        });
        members.sort_by_key(|member| std::cmp::Reverse((member.is_alive, member.state)));
        Ok(Response::new(ClusterInfo { members }))
    }
}
