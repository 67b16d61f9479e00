//! A real cluster, as the environment names it. All tests share it; what is done to its nodes is done by commands.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lastseen_eventstoredb::{Credentials, Timing};
use parking_lot::Mutex;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::{Ability, TestCluster};
use crate::ground::variable;
use crate::model::Seen;
use crate::raw::{Client, From, filtered, of_all, of_stream};
use crate::waiting::{enter, wait};

/// The cluster.
pub(crate) struct Real {
    address: String,
    credentials: Option<Credentials>,
    /// Hosts and ports, in the order of the address: node 1 is the first.
    hosts: Vec<String>,
    /// The authority of its certificates. `None` with TLS: those of the system.
    authority: Option<String>,
    is_secure: bool,
}

/// The cluster as a test holds it. At the end of the test, nodes that it left behind come back.
pub(crate) struct Shared {
    real: Arc<Real>,
    /// Nodes that are killed, and those that are frozen.
    away: Mutex<[BTreeSet<usize>; 2]>,
}

impl Shared {
    pub(crate) fn new(real: Arc<Real>) -> Self {
        Self { real, away: Mutex::default() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let [killed, frozen] = std::mem::take(&mut *self.away.lock());
        for node in frozen {
            run(THAW, node);
        }
        for node in killed {
            run(START, node);
        }
    }
}

const KILL: &str = "LASTSEEN_EVENTSTOREDB_KILL";
const START: &str = "LASTSEEN_EVENTSTOREDB_START";
const FREEZE: &str = "LASTSEEN_EVENTSTOREDB_FREEZE";
const THAW: &str = "LASTSEEN_EVENTSTOREDB_THAW";
const SCAVENGE: &str = "LASTSEEN_EVENTSTOREDB_SCAVENGE";

impl Real {
    /// `None`: none is named.
    pub(crate) fn of_environment() -> Option<Self> {
        let address = variable("LASTSEEN_EVENTSTOREDB_URL")?;
        let credentials = variable("LASTSEEN_EVENTSTOREDB_USER").map(|user| {
            let file =
                variable("LASTSEEN_EVENTSTOREDB_PASSWORD_FILE").expect("a file for the user's password");
            let password = std::fs::read_to_string(file).expect("the file of the password");
            Credentials { user, password: password.trim_end_matches(['\r', '\n']).to_owned() }
        });
        let (front, query) = address.split_once('?').unwrap_or((&address, ""));
        let hosts = front.split_once("://").expect("an address such as esdb://host:2113").1;
        let with_port =
            |host: &str| if host.contains(':') { host.to_owned() } else { format!("{host}:2113") };
        let hosts = hosts.trim_end_matches('/').split(',').map(with_port).collect();
        let parameter = |name: &str| {
            let mut found = form_urlencoded::parse(query.as_bytes());
            found.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.into_owned())
        };
        let authority =
            parameter("tlsCaFile").map(|file| std::fs::read_to_string(file).expect("the CA file"));
        let is_secure = parameter("tls").is_none_or(|value| value != "false");
        Some(Self { credentials, hosts, authority, is_secure, address: address.clone() })
    }

    /// Says why something cannot be done. `None`: it can.
    pub(crate) fn lacks(&self, ability: Ability) -> Option<String> {
        let variables: &[&str] = match ability {
            Ability::ThreeNodes if self.hosts.len() >= 3 => &[],
            Ability::ThreeNodes => return Some("the address names fewer than three nodes".to_owned()),
            Ability::Kill => &[KILL, START],
            Ability::Freeze => &[FREEZE, THAW],
            Ability::Scavenge => &[SCAVENGE],
            Ability::Script => return Some("only the emulator has accidents like these".to_owned()),
        };
        let missing = variables.iter().find(|name| variable(name).is_none());
        missing.map(|name| format!("{name} is not set"))
    }

    fn client(&self, node: usize) -> Client {
        let scheme = if self.is_secure { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.hosts[node])).unwrap();
        let mut endpoint = endpoint.tcp_nodelay(true).connect_timeout(Duration::from_secs(2));
        if self.is_secure {
            let tls = match &self.authority {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_enabled_roots(),
            };
            endpoint = endpoint.tls_config(tls).unwrap();
        }
        let _context = enter();
        let client = Client::over(endpoint.connect_lazy());
        match &self.credentials {
            Some(Credentials { user, password }) => client.with_user(user, password),
            None => client,
        }
    }

    /// True if the node leads: only the leader answers a read that asks for one.
    fn leads(&self, node: usize) -> bool {
        let client = self.client(node).with("requires-leader", "true");
        let asked = async {
            tokio::time::timeout(Duration::from_secs(2), client.all(of_stream("lastseen-nobody"))).await
        };
        matches!(wait(asked), Ok(Ok(_)))
    }
}

/// Runs the command of a variable for a node, counted from 0 here and from 1 in the command.
fn run(name: &str, node: usize) {
    let command = variable(name).expect("it was looked for before");
    let command = command.replace("{node}", &(node + 1).to_string());
    let status = Command::new("sh").args(["-c", &command]).status().expect("a shell");
    assert!(status.success(), "{command}: {status}");
}

impl TestCluster for Shared {
    fn address(&self) -> String {
        self.real.address.clone()
    }

    fn credentials(&self) -> Option<Credentials> {
        self.real.credentials.clone()
    }

    fn timing(&self) -> Timing {
        Timing::default()
    }

    fn nodes(&self) -> usize {
        self.real.hosts.len()
    }

    fn leader(&self) -> Option<usize> {
        (0..self.real.hosts.len()).find(|node| self.real.leads(*node))
    }

    fn kill(&self, node: usize) {
        self.away.lock()[0].insert(node);
        run(KILL, node);
    }

    fn start(&self, node: usize) {
        run(START, node);
        self.away.lock()[0].remove(&node);
    }

    fn freeze(&self, node: usize) {
        self.away.lock()[1].insert(node);
        run(FREEZE, node);
    }

    fn thaw(&self, node: usize) {
        run(THAW, node);
        self.away.lock()[1].remove(&node);
    }

    fn scavenge(&self) {
        (0..self.real.hosts.len()).for_each(|node| run(SCAVENGE, node));
    }

    fn raw(&self, node: usize) -> Client {
        self.real.client(node)
    }

    fn seen(&self, prefix: &str) -> Vec<Seen> {
        wait(self.raw_leader().seen(filtered(of_all(From::Start), prefix, 4096)))
    }

    fn emulator(&self) -> Option<&eventstoredb_emulator::Cluster> {
        None
    }
}
