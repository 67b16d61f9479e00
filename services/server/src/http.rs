//! HTTP: requests in, answers out. Parses and renders; asks `questions` and `publishing` for everything else.
//!
//! [`routes`] is the one table of routes: method, path, access, parameters and answer of each. A handler gets the
//! service from an [`ask::Ask`], which is made only once [`auth`] has allowed the route. [`problem`] is the one place
//! that turns errors into a status.

mod answer;
mod ask;
mod auth;
mod body;
mod body_fault;
pub(crate) mod connections;
mod cors;
mod dashboard;
mod description;
mod handlers;
mod hosts;
mod params;
pub(crate) mod problem;
mod reflected;
pub(crate) mod routes;
mod schema;
mod trace;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipnet::IpNet;
use lastseen_projections::Persons;
use lastseen_store::LogId;
use tokio::sync::Semaphore;

use self::dashboard::Kept;
use self::description::Description;
use self::problem::Problem;
use crate::audit::Audit;
use crate::config::{Limits, ServeConfig};
use crate::keys::attempts::Attempts;
use crate::keys::live::LiveKeys;
use crate::keys::sessions::Sessions;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::origin::Origin;
use crate::publishing::Publishing;
use crate::questions::Questions;
use crate::questions::live::LiveNumbers;
use crate::read_model::ReadModel;
use crate::tasks;

/// The state that all requests share.
pub(crate) struct App {
    /// Set once the log is recovered and folded.
    service: OnceLock<Service>,
    /// Events folded so far, while starting.
    folded_events: AtomicU64,
    limits: Limits,
    /// Longest time for a reader to take nothing of an answer.
    stall_timeout: Duration,
    memory: Memory,
    /// One permit a large body that is being decoded.
    decodes: Semaphore,
    public_urls: Vec<Origin>,
    /// True if the server speaks TLS itself.
    has_tls: bool,
    trusted_proxies: Vec<IpNet>,
    /// Connections that are open.
    connections: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    keys: Arc<LiveKeys>,
    sessions: Arc<Sessions>,
    /// Answers that pages showed lately.
    kept: Arc<Kept>,
    attempts: Attempts,
    audit: Arc<Audit>,
    persons: Persons,
    future_tolerance: Duration,
    /// Most readers of live numbers: others need connections as well.
    live_readers_max: usize,
    /// Set once the routes are known.
    description: OnceLock<Description>,
}

/// Everything that a running server answers from.
struct Service {
    model: Arc<ReadModel>,
    questions: Arc<Questions>,
    publishing: Publishing,
    live: Arc<LiveNumbers>,
}

impl App {
    pub(crate) fn new(config: &ServeConfig, keys: Arc<LiveKeys>, audit: Arc<Audit>) -> Self {
        let ServeConfig { limits, persons, future_tolerance, .. } = *config;
        Self {
            service: OnceLock::new(),
            folded_events: AtomicU64::new(0),
            memory: Memory::new(limits.memory_bytes),
            decodes: Semaphore::new(limits.decodes.max(1)),
            public_urls: config.public_urls.clone(),
            has_tls: config.tls.is_some(),
            trusted_proxies: config.trusted_proxies.clone(),
            connections: Arc::default(),
            metrics: Arc::new(Metrics::new()),
            keys,
            sessions: Arc::default(),
            kept: Arc::default(),
            attempts: Attempts::default(),
            audit,
            limits,
            stall_timeout: config.connections.stall_timeout,
            live_readers_max: config.connections.connections_max / 2,
            persons,
            future_tolerance,
            description: OnceLock::new(),
        }
    }

    /// The description of the API.
    fn description(&self) -> &Description {
        self.description.get().expect("set with the routes, before there are requests")
    }

    /// Notes how many events were folded so far.
    pub(crate) fn folded(&self, events: u64) {
        self.folded_events.store(events, Ordering::Relaxed);
    }

    /// The number of connections, for whoever opens and closes them.
    pub(crate) fn connections(&self) -> Arc<AtomicUsize> {
        self.connections.clone()
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// From now on requests are answered from this model.
    pub(crate) fn open(&self, model: Arc<ReadModel>) {
        let service = self.service.get_or_init(|| Service {
            questions: Questions::new(
                model.clone(),
                self.limits,
                (self.memory.clone(), self.metrics.question_waits()),
                self.persons,
            ),
            publishing: Publishing::new(model.clone()),
            live: LiveNumbers::new(model.clone(), self.live_readers_max),
            model,
        });
        tasks::task(service.questions.clone().follow_again());
        tasks::task(LiveNumbers::run(Arc::downgrade(&service.live)));
    }

    /// Ends the answers that have no end of their own: the server is stopping.
    pub(crate) fn end_live(&self) {
        if let Some(service) = self.service.get() {
            service.live.close();
        }
    }

    /// The id of the log. `None` while the server is starting.
    fn log_id(&self) -> Option<LogId> {
        Some(self.service.get()?.model.log().lineage().log_id())
    }

    /// # Errors
    /// `not_ready` while the server is starting.
    fn service(&self) -> Result<&Service, Problem> {
        let folded = || self.keys.is_open().then(|| self.folded_events.load(Ordering::Relaxed));
        self.service.get().ok_or_else(|| Problem::not_ready(folded()))
    }
}
