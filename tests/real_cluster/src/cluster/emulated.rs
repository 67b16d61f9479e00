//! A cluster of the protocol emulator, with times that are short.

use std::time::Duration;

use eventstoredb_emulator::{Cluster, Options};
use lastseen_eventstoredb::{Credentials, Timing};

use super::TestCluster;
use crate::model::Seen;
use crate::raw::Client;
use crate::waiting::enter;

/// A cluster of the emulator.
pub(crate) struct Emulated {
    cluster: Cluster,
    credentials: Option<Credentials>,
    /// More parameters of the address.
    parameters: String,
}

/// Times of the client for nodes that answer at once or never, in milliseconds.
const CLIENT: &str = "&discoveryInterval=5&gossipTimeout=250";

impl Emulated {
    pub(crate) fn start(mut options: Options) -> Self {
        options.timing = eventstoredb_emulator::Timing::short();
        Self::with_its_times(options)
    }

    /// One that elects and gives up as slowly as the options say.
    pub(crate) fn with_its_times(options: Options) -> Self {
        let cluster = Cluster::start(options).unwrap();
        cluster.wait_until(|cluster| cluster.nodes().all(|node| node.is_ready()));
        Self { cluster, credentials: None, parameters: CLIENT.to_owned() }
    }

    pub(crate) fn with_user(mut self, user: &str, password: &str) -> Self {
        self.credentials = Some(Credentials { user: user.to_owned(), password: password.to_owned() });
        self
    }

    pub(crate) fn with_parameters(mut self, parameters: &str) -> Self {
        self.parameters.push_str(parameters);
        self
    }
}

impl TestCluster for Emulated {
    fn address(&self) -> String {
        self.cluster.connection_string() + &self.parameters
    }

    fn credentials(&self) -> Option<Credentials> {
        self.credentials.clone()
    }

    fn timing(&self) -> Timing {
        Timing {
            call: Duration::from_millis(500),
            outcome: Duration::from_secs(4),
            visible: Duration::from_secs(2),
            pulse: Duration::from_millis(50),
            contact: Duration::from_millis(500),
            // Far more than a node takes that wakes on a busy machine.
            doubt: Duration::from_secs(4),
            ..Timing::default()
        }
    }

    fn nodes(&self) -> usize {
        self.cluster.addresses().len()
    }

    fn leader(&self) -> Option<usize> {
        self.cluster.leader()
    }

    fn kill(&self, node: usize) {
        self.cluster.node(node).kill();
    }

    fn start(&self, node: usize) {
        self.cluster.node(node).start().unwrap();
    }

    fn freeze(&self, node: usize) {
        self.cluster.node(node).freeze();
    }

    fn thaw(&self, node: usize) {
        self.cluster.node(node).thaw();
    }

    fn scavenge(&self) {
        self.cluster.scavenge().unwrap();
    }

    fn seen(&self, prefix: &str) -> Vec<Seen> {
        let records = self.cluster.committed();
        let of_prefix = records.iter().filter_map(|record| Some((record.position.0, record.event()?)));
        let of_prefix = of_prefix.filter(|(_, event)| event.stream.starts_with(prefix));
        of_prefix
            .map(|(position, event)| Seen {
                position,
                stream: event.stream.to_string(),
                id: event.id,
                event_type: event.event_type.to_string(),
                ticks: event.created.0,
                data: event.payload.data().to_vec(),
                metadata: event.payload.metadata().to_vec(),
            })
            .collect()
    }

    fn raw(&self, node: usize) -> Client {
        let _context = enter();
        let client = Client::to(self.cluster.addresses()[node]);
        match &self.credentials {
            Some(Credentials { user, password }) => client.with_user(user, password),
            None => client,
        }
    }

    fn emulator(&self) -> Option<&Cluster> {
        Some(&self.cluster)
    }
}
