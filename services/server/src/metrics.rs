//! Metrics: counted where things happen, read as a whole by `/metrics`.
//!
//! Every metric stands in [`Metrics::new`] with its help text. No label has a tenant, a user or a key: the numbers are of
//! the server as a whole, and their count is bounded.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lastseen_event::{EventType, Fact};
use lastseen_store::{Clock, Lag, SystemClock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// A gauge of seconds or bytes that need not be whole.
type RealGauge = Gauge<f64, AtomicU64>;

/// Requests of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// The path with `{name}` for a name.
    pub(crate) route: &'static str,
    /// The class of the answer, such as `2xx`.
    pub(crate) status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Type {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabel {
    part: &'static str,
}

/// All metrics of a server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Histogram, fn() -> Histogram>,
    problems: Family<Code, Counter>,
    stored: Family<Type, Counter>,
    refused_accesses: Counter,
    duplicates: Counter,
    refused_events: Counter,
    group_events: Histogram,
    sync_seconds: Histogram,
    question_waits: QuestionWaits,
    gauges: Gauges,
}

/// The waits of costly questions for a place and for memory, by kind.
#[derive(Clone, Debug)]
pub(crate) struct QuestionWaits(Family<KindLabel, Histogram, fn() -> Histogram>);

impl Default for QuestionWaits {
    fn default() -> Self {
        Self(Family::new_with_constructor(latencies))
    }
}

impl QuestionWaits {
    /// Counts a question that was admitted.
    pub(crate) fn waited(&self, kind: &'static str, time: Duration) {
        self.0.get_or_create(&KindLabel { kind }).observe(time.as_secs_f64());
    }
}

/// Metrics that are looked at when they are asked for.
#[derive(Default)]
struct Gauges {
    ready: Gauge,
    standing_still: Family<PartLabel, Gauge>,
    connections: Gauge,
    waiting_appends: Gauge,
    position: Gauge,
    unsealed: Gauge,
    memory_ids: Gauge,
    segments: Gauge,
    lag: Gauge,
    store_lag_positions: Gauge,
    store_lag: RealGauge,
    store_connected: Gauge,
    snapshot_age: RealGauge,
    places: Family<KindLabel, Gauge>,
    running: Family<KindLabel, Gauge>,
    waiting: Family<KindLabel, Gauge>,
    definitions: Gauge,
    memory_kept: Gauge,
    memory_budget: Gauge,
    memory_taken: Gauge,
    resident: Gauge,
    users: Gauge,
    active_users: Gauge,
    tenants: Gauge,
}

/// The state of a server at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) is_ready: bool,
    /// The parts that stand still.
    pub(crate) standing_still: Vec<&'static str>,
    pub(crate) connections: usize,
    /// Appends that wait for the writer.
    pub(crate) waiting_appends: usize,
    /// The last position of the log.
    pub(crate) position: u64,
    pub(crate) unsealed: u64,
    /// Memory for the ids of sealed events.
    pub(crate) id_memory_bytes: u64,
    pub(crate) segments: usize,
    /// Events that are durable and not in the views yet.
    pub(crate) lag: u64,
    /// The distance to the cluster, if there is one.
    pub(crate) store_lag: Option<Lag>,
    pub(crate) snapshot_age: Duration,
    /// By kind of question: its name, places, places that are taken, questions that wait.
    pub(crate) questions: Vec<(&'static str, usize, usize, usize)>,
    /// Definitions that are followed besides those of UTC.
    pub(crate) definitions: usize,
    /// Memory of the kept past.
    pub(crate) kept_bytes: usize,
    pub(crate) memory_budget_bytes: usize,
    pub(crate) memory_taken_bytes: usize,
    pub(crate) users: u64,
    /// Active within 30 days.
    pub(crate) active_users: u64,
    pub(crate) tenants: u64,
}

/// The form of a text of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus' own, version 0.0.4.
    Prometheus,
}

fn latencies() -> Histogram {
    Histogram::new([
        0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        30.0,
    ])
}

impl Metrics {
    /// All metrics at zero.
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::new_with_constructor(latencies),
            problems: Family::default(),
            stored: Family::default(),
            refused_accesses: Counter::default(),
            duplicates: Counter::default(),
            refused_events: Counter::default(),
            group_events: Histogram::new([1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5]),
            sync_seconds: latencies(),
            question_waits: QuestionWaits::default(),
            gauges: Gauges::default(),
        };
        // Types that did not come yet are there as zeros: a rate begins with the first event.
        for event_type in EventType::PUBLISHABLE {
            drop(metrics.stored.get_or_create(&Type { r#type: event_type.as_str() }));
        }
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let mut registry = Registry::with_prefix("lastseen");
        let it = &self;
        let gauges = &self.gauges;
        registry.register_with_unit(
            "http_request_duration",
            "Time from a whole head to the head of its answer, by route",
            Unit::Seconds,
            it.requests.clone(),
        );
        registry.register("http_problems", "Answers that are problems, by code", it.problems.clone());
        registry.register("access_refused", "Requests without a key in force", it.refused_accesses.clone());
        registry.register(
            "events_stored",
            "Events that were stored since the start, by type",
            it.stored.clone(),
        );
        registry.register("events_duplicate", "Events that were stored before", it.duplicates.clone());
        registry.register("events_refused", "Events that were refused", it.refused_events.clone());
        registry.register("log_group_events", "New events made durable by one sync", it.group_events.clone());
        registry.register_with_unit(
            "log_sync_duration",
            "Time of the sync of one group",
            Unit::Seconds,
            it.sync_seconds.clone(),
        );
        for (name, help, gauge) in [
            ("ready", "1 if the server is ready, as /readyz says", &gauges.ready),
            ("http_connections", "Connections that are open", &gauges.connections),
            ("log_appends_waiting", "Appends that wait for the writer", &gauges.waiting_appends),
            ("log_position", "Last position of the log", &gauges.position),
            ("log_unsealed_events", "Durable events that are not in a segment yet", &gauges.unsealed),
            ("log_segments", "Sealed segments", &gauges.segments),
            ("views_lag_events", "Durable events that are not in the views yet", &gauges.lag),
            ("users", "Users that are not deleted (total_users)", &gauges.users),
            ("users_active", "Users active within 30 days (active_users)", &gauges.active_users),
            ("tenants", "Tenants with a user that is not deleted", &gauges.tenants),
        ] {
            registry.register(name, help, gauge.clone());
        }
        for (name, help, gauge) in [
            ("memory_budget", "Budget of bodies and answers under way (--memory)", &gauges.memory_budget),
            ("memory_taken", "Part of the budget that is taken", &gauges.memory_taken),
            ("memory_kept", "Memory of the kept past (--kept-memory)", &gauges.memory_kept),
            ("memory_ids", "Memory for ids of sealed events (--id-filter-memory)", &gauges.memory_ids),
            ("memory_resident", "Resident memory of the process", &gauges.resident),
        ] {
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        }
        registry.register_with_unit(
            "snapshot_age",
            "Time since the last snapshot of the views, or since the start",
            Unit::Seconds,
            gauges.snapshot_age.clone(),
        );
        registry.register(
            "part_standing_still",
            "1 for each part that stands still",
            gauges.standing_still.clone(),
        );
        self.register_store(&mut registry);
        self.register_questions(&mut registry);
        let build = prometheus_client::metrics::info::Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the program", build);
        let start = RealGauge::default();
        #[expect(clippy::cast_precision_loss, reason = "microseconds are exact for 285 years")]
        start.set(SystemClock.now().as_micros() as f64 / 1e6);
        registry.register_with_unit("start_time", "Start of the process, since 1970", Unit::Seconds, start);
        self.registry = registry;
        self
    }

    fn register_store(&self, registry: &mut Registry) {
        registry.register(
            "store_connected",
            "1 if the cluster (--store) answers, or there is none",
            self.gauges.store_connected.clone(),
        );
        registry.register(
            "store_lag_positions",
            "Positions from the end of the copy to that of the cluster (--store), as last known",
            self.gauges.store_lag_positions.clone(),
        );
        registry.register_with_unit(
            "store_lag",
            "Time since the copy of a cluster (--store) was at its end; 0 without a cluster",
            Unit::Seconds,
            self.gauges.store_lag.clone(),
        );
    }

    fn register_questions(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "question_wait",
            "Time that costly questions waited for a place and for memory, by kind",
            Unit::Seconds,
            self.question_waits.0.clone(),
        );
        registry.register(
            "definitions_followed",
            "Definitions that are followed besides those of UTC",
            self.gauges.definitions.clone(),
        );
        registry.register(
            "question_places",
            "Places of costly questions, by kind",
            self.gauges.places.clone(),
        );
        registry.register(
            "questions_running",
            "Costly questions under way, by kind",
            self.gauges.running.clone(),
        );
        registry.register(
            "questions_waiting",
            "Costly questions that wait, by kind",
            self.gauges.waiting.clone(),
        );
    }

    /// The counter of the waits of costly questions.
    pub(crate) fn question_waits(&self) -> QuestionWaits {
        self.question_waits.clone()
    }

    /// Counts a request and its time.
    pub(crate) fn request(&self, request: &Request, took: Duration) {
        self.requests.get_or_create(request).observe(took.as_secs_f64());
    }

    /// Counts an answer that is a problem.
    pub(crate) fn problem(&self, code: &'static str) {
        self.problems.get_or_create(&Code { code }).inc();
    }

    /// Counts a request without a key in force.
    pub(crate) fn access_refused(&self) {
        self.refused_accesses.inc();
    }

    /// Counts the events of a request that were not stored.
    pub(crate) fn not_stored(&self, duplicates: usize, refused: usize) {
        self.duplicates.inc_by(duplicates as u64);
        self.refused_events.inc_by(refused as u64);
    }

    /// Counts a group that became durable.
    pub(crate) fn group(&self, events: usize, synced: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a group has far fewer than 2^53 events")]
        self.group_events.observe(events as f64);
        self.sync_seconds.observe(synced.as_secs_f64());
    }

    /// Counts events that were stored.
    pub(crate) fn events(&self, facts: &[Fact]) {
        let mut counts = [0_u64; 256];
        for fact in facts {
            counts[usize::from(fact.event_type.code())] += 1;
        }
        for event_type in EventType::PUBLISHABLE {
            let count = counts[usize::from(event_type.code())];
            if count > 0 {
                self.stored.get_or_create(&Type { r#type: event_type.as_str() }).inc_by(count);
            }
        }
    }

    /// The text of all metrics.
    pub(crate) fn text(&self, now: &State, form: Form) -> String {
        self.gauges.show(now);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        match form {
            Form::OpenMetrics => text,
            Form::Prometheus => as_prometheus(&text),
        }
    }
}

impl Gauges {
    fn show(&self, now: &State) {
        let show = |gauge: &Gauge, number: u64| {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        };
        show(&self.ready, now.is_ready.into());
        show(&self.connections, now.connections as u64);
        show(&self.waiting_appends, now.waiting_appends as u64);
        show(&self.position, now.position);
        show(&self.unsealed, now.unsealed);
        show(&self.memory_ids, now.id_memory_bytes);
        show(&self.segments, now.segments as u64);
        show(&self.lag, now.lag);
        if let Some(positions) = now.store_lag.and_then(|lag| lag.positions) {
            show(&self.store_lag_positions, positions);
        }
        self.store_lag.set(now.store_lag.map_or(0.0, |lag| lag.time.as_secs_f64()));
        show(&self.store_connected, now.store_lag.is_none_or(|lag| lag.is_connected).into());
        self.snapshot_age.set(now.snapshot_age.as_secs_f64());
        show(&self.definitions, now.definitions as u64);
        show(&self.memory_kept, now.kept_bytes as u64);
        show(&self.memory_budget, now.memory_budget_bytes as u64);
        show(&self.memory_taken, now.memory_taken_bytes as u64);
        show(&self.resident, resident_bytes().unwrap_or_default());
        show(&self.users, now.users);
        show(&self.active_users, now.active_users);
        show(&self.tenants, now.tenants);
        self.standing_still.clear();
        for part in &now.standing_still {
            self.standing_still.get_or_create(&PartLabel { part }).set(1);
        }
        for &(kind, places, running, waiting) in &now.questions {
            let kind = KindLabel { kind };
            show(&self.places.get_or_create(&kind), places as u64);
            show(&self.running.get_or_create(&kind), running as u64);
            show(&self.waiting.get_or_create(&kind), waiting as u64);
        }
    }
}

/// Resident memory of this process, where the system tells it.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Writes `OpenMetrics` as Prometheus' older form: there, help and type of a counter name it with its suffix, and there are
/// neither units nor an end mark.
fn as_prometheus(text: &str) -> String {
    let mut counters: Vec<&str> = Vec::new();
    for line in text.lines() {
        let declared = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '));
        if let Some((name, "counter")) = declared {
            counters.push(name);
        }
    }
    let mut out = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(&name) => {
                out.push_str(&["# ", what, " ", name, "_total ", rest].concat());
            }
            // An info is a gauge there.
            (Some("#"), Some(what), Some(name), Some(rest)) if name == "lastseen_build" => {
                let rest = if what == "TYPE" { "gauge" } else { rest };
                out.push_str(&["# ", what, " ", name, "_info ", rest].concat());
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_form_has_each_sample_under_a_declared_name() {
        let metrics = Metrics::new();
        metrics.problem("unknown_route");
        let request = Request { method: "GET", route: "/v1/summary", status: "2xx" };
        metrics.request(&request, Duration::from_millis(3));
        let now =
            State { standing_still: vec!["writer"], questions: vec![("scan", 1, 0, 0)], ..State::default() };
        let open = metrics.text(&now, Form::OpenMetrics);
        assert!(open.ends_with("# EOF\n"), "{open}");
        let text = metrics.text(&now, Form::Prometheus);
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
        let declared: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = |suffix| name.strip_suffix(suffix).is_some_and(|family| declared.contains(&family));
            let is_declared =
                declared.contains(&name) || ["_bucket", "_sum", "_count"].into_iter().any(family);
            assert!(is_declared, "{line} in {text}");
        }
        assert!(text.contains("lastseen_http_problems_total{code=\"unknown_route\"} 1"), "{text}");
        assert!(text.contains("lastseen_events_stored_total{type=\"login\"} 0"), "{text}");
    }
}
