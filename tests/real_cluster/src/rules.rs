//! Rules of the server that the store depends on, asked of the server itself. Each is named as the emulator's ledger names it.

mod appends;
mod nodes;
mod reading;
mod users;

use uuid::Uuid;

use crate::cluster::TestCluster;
use crate::ground::{Ground, installation};
use crate::raw::Client;

pub(crate) use self::appends::*;
pub(crate) use self::nodes::*;
pub(crate) use self::reading::*;
pub(crate) use self::users::*;

/// A cluster, a client of the node that leads, and a beginning of names that nobody else uses.
struct Asked {
    cluster: Box<dyn TestCluster>,
    client: Client,
    prefix: String,
}

impl Asked {
    fn of(cluster: Box<dyn TestCluster>) -> Self {
        let client = cluster.raw_leader();
        Self { cluster, client, prefix: format!("lastseen_rules_{}-", installation()) }
    }

    fn one(ground: &Ground) -> Self {
        Self::of(ground.small_cluster())
    }

    /// The name of a stream.
    fn stream(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn id() -> Uuid {
    Uuid::new_v4()
}
