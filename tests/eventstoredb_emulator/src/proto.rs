//! The protocol's messages and services, generated from `proto/` when the crate is built.

pub use event_store::client;

#[expect(
    missing_docs,
    clippy::pedantic,
    clippy::large_enum_variant,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod event_store {
    pub mod client {
        tonic::include_proto!("event_store.client");

        pub mod streams {
            tonic::include_proto!("event_store.client.streams");
        }

        pub mod gossip {
            tonic::include_proto!("event_store.client.gossip");
        }

        pub mod server_features {
            tonic::include_proto!("event_store.client.server_features");
        }
    }
}

/// The form of errors in a batch.
#[expect(missing_docs, clippy::pedantic, reason = "generated")]
pub mod google {
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}
