//! A cluster: its nodes, its threads, and the switches of tests. Everything that happens to a node from outside comes
//! through here: start, kill, freeze, cut, scavenge.

mod core;
mod election;
mod heart;
mod node;
mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock;
use crate::disk::NodeFile;
use crate::faults::Faults;
use crate::gate::Gate;
use crate::options::Options;
use crate::record::{Body, ContentType, Event, METADATA_TYPE, Payload, Position, Record, empty_len};
use crate::store::Store;

pub(crate) use self::core::Core;
pub(crate) use self::core::{Change, Outcome, Reply, Role};
use self::core::{Node, Process};
use self::heart::Shared;
pub use self::node::NodeHandle;

/// Why a cluster or a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Only 1 and 3 nodes are emulated.
    #[error("a cluster has 1 or 3 nodes, not {0}")]
    Nodes(usize),
    /// The port is taken, or a file cannot be read or written.
    #[error("node {node}")]
    Node {
        /// Number of the node, from 1.
        node: usize,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or its key is none.
    #[error("TLS")]
    Tls(#[source] tonic::transport::Error),
    /// Threads or a temporary folder could not be made.
    #[error("threads or a folder")]
    Resources(#[source] std::io::Error),
}

/// The parts of a cluster that its services share.
pub(crate) struct Inner {
    pub(crate) shared: Shared,
    pub(crate) faults: Faults,
    pub(crate) options: Options,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// A cluster that runs. Dropped, it ends, and a temporary folder with it.
pub struct Cluster {
    inner: Arc<Inner>,
    heart: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
    _temporary: Option<TempDir>,
}

/// The records that a leader writes into an empty log behind its epoch, which ends at `start`.
fn first_events(start: u64) -> Vec<Arc<Record>> {
    /// Bytes of the first event of `$all` of real servers. Which stream it is of was not asked.
    const LEN: u64 = 185;
    const STREAM: &str = "$$$emulator";
    let text = r#"{"$maxCount":1}"#;
    let rest = LEN - empty_len(STREAM) - METADATA_TYPE.len() as u64;
    let width = usize::try_from(rest).unwrap_or_default();
    let event = Event {
        stream: STREAM.into(),
        revision: 0,
        id: Uuid::new_v4(),
        created: clock::now(),
        event_type: METADATA_TYPE.into(),
        content: ContentType::Json,
        payload: Payload::copied(format!("{text:<width$}").as_bytes(), b""),
    };
    vec![Arc::new(Record { position: Position(start), body: Body::Event(event) })]
}

impl Cluster {
    /// Starts all nodes; returns once one leads.
    ///
    /// # Errors
    /// A port is taken, a file is damaged or cannot be written, the certificate is none.
    pub fn start(options: Options) -> Result<Self, StartError> {
        if !matches!(options.nodes, 1 | 3) {
            return Err(StartError::Nodes(options.nodes));
        }
        let temporary = match &options.data {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(StartError::Resources)?),
        };
        let data = options.data.clone().or(temporary.as_ref().map(|dir| dir.path().to_owned()));
        let data = data.unwrap_or_default();
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        let runtime = threads.thread_name("emulator").enable_all().build().map_err(StartError::Resources)?;
        let (listeners, addresses) = server::listen(&runtime, &options)?;
        let core = Core {
            nodes: (1..=options.nodes).map(|number| node(&data, number)).collect(),
            timing: options.timing,
            last_leader: None,
            election_due: None,
            done: Vec::new(),
        };
        let inner =
            Arc::new(Inner { shared: Shared::new(core), faults: Faults::default(), options, addresses });
        let mut cluster = Self { inner, heart: None, runtime: Some(runtime), _temporary: temporary };
        for (index, listener) in listeners.into_iter().enumerate() {
            cluster.run(index, Some(listener))?;
        }
        let beating = Arc::clone(&cluster.inner);
        let heart = std::thread::Builder::new().name("emulator-heart".to_owned());
        cluster.heart = Some(heart.spawn(move || beating.shared.beat()).map_err(StartError::Resources)?);
        cluster.wait_until(|cluster| cluster.leader().is_some());
        Ok(cluster)
    }

    /// Starts the process of a node.
    fn run(&self, index: usize, listener: Option<tokio::net::TcpListener>) -> Result<(), StartError> {
        let at_node = |source| StartError::Node { node: index + 1, source };
        let inner = &self.inner;
        let dir = inner.shared.look(|core| core.nodes[index].dir.clone());
        let (file, stored) = NodeFile::open(&dir).map_err(at_node)?;
        let mut store = Store::new(inner.options.recent_bytes_max);
        let records = stored.len();
        for (record, end) in stored {
            store.push(record, end);
        }
        let gate = Arc::new(Gate::default());
        let runtime = self.runtime.as_ref().expect("a cluster has its threads until it is dropped");
        let listener = match listener {
            Some(listener) => listener,
            None => server::listen_again(runtime, inner.addresses[index]).map_err(at_node)?,
        };
        let server = server::serve(runtime, (Arc::clone(inner), index), listener, Arc::clone(&gate))?;
        inner.shared.with(|core| {
            let node = &mut core.nodes[index];
            node.starts += 1;
            node.process = Some(Process {
                store,
                role: Role::NotReady,
                synced: records,
                unsynced: Vec::new(),
                inbox: Vec::new(),
                waiting: std::collections::VecDeque::new(),
                dropped: std::collections::VecDeque::new(),
                file: Arc::new(Mutex::new(Some(file))),
                commits: watch::Sender::new(0),
                gate,
                server,
                instance: Uuid::new_v4(),
                alone_since: None,
            });
        });
        Ok(())
    }

    /// Waits for something that the cluster does by itself.
    ///
    /// # Panics
    /// It has not happened after 30 s.
    pub fn wait_until(&self, happened: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !happened(self) {
            assert!(Instant::now() < deadline, "the cluster did not get there within 30 s");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Index of the node that leads, from 0. `None`: none does, or it is frozen or cut off.
    pub fn leader(&self) -> Option<usize> {
        self.inner.shared.look(Core::leader)
    }

    /// One node, by its index from 0.
    ///
    /// # Panics
    /// There is no such node.
    pub fn node(&self, index: usize) -> NodeHandle<'_> {
        assert!(index < self.inner.addresses.len(), "there is no node {index}");
        NodeHandle { cluster: self, index }
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeHandle<'_>> {
        (0..self.inner.addresses.len()).map(|index| self.node(index))
    }

    /// Addresses of the nodes.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.inner.addresses
    }

    /// Settings of clients: `esdb://...`, all nodes named.
    pub fn connection_string(&self) -> String {
        let hosts: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        let tls = self.inner.options.tls.is_some();
        format!("esdb://{}?tls={tls}", hosts.join(","))
    }

    /// The fault script.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// The truth: all records that the leader has committed, in order. Empty while none leads.
    pub fn committed(&self) -> Vec<Arc<Record>> {
        self.inner.shared.look(|core| {
            let leader = core.leader().and_then(|leader| core.process(leader));
            leader.map(|process| process.store.committed().to_vec()).unwrap_or_default()
        })
    }

    /// Scavenges all nodes that run; returns the number of events that the leader removed.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn scavenge(&self) -> std::io::Result<usize> {
        let leader = self.leader();
        let mut removed = 0;
        for node in self.nodes().filter(NodeHandle::is_running) {
            let of_node = node.scavenge()?;
            if Some(node.index) == leader {
                removed = of_node;
            }
        }
        Ok(removed)
    }

    /// Ends all nodes, removes their files, and starts them: a cluster that was restored from nothing.
    ///
    /// # Errors
    /// A file cannot be removed, or a node does not start.
    pub fn start_from_empty(&self) -> Result<(), StartError> {
        self.nodes().for_each(|node| node.kill());
        self.inner.shared.with(|core| core.last_leader = None);
        for node in self.nodes() {
            let dir = self.inner.shared.look(|core| core.nodes[node.index].dir.clone());
            std::fs::remove_dir_all(&dir)
                .map_err(|source| StartError::Node { node: node.index + 1, source })?;
        }
        self.nodes().try_for_each(|node| node.start())?;
        self.wait_until(|cluster| cluster.leader().is_some());
        Ok(())
    }
}

fn node(data: &Path, number: usize) -> Node {
    let dir: PathBuf = data.join(format!("node-{number}"));
    Node { dir, process: None, starts: 0, frozen: false, cut: false }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.inner.shared.end();
        if let Some(heart) = self.heart.take() {
            // A heart that panicked has said so.
            let _ = heart.join();
        }
        self.nodes().for_each(|node| node.kill());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
