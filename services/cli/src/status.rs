//! `lastseen status`: asks a server how it is. Exit code 0 means that it is ready: containers use it as their health check.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{HumanBytes, HumanCount, HumanDuration};
use serde::Deserialize;

use crate::Outcome;
use crate::args::StatusArgs;
use crate::progress;
use crate::signals::Interrupt;
use crate::stdout::outln;
use crate::upload::{Seen, Uploader};

/// The time between two looks, for rates.
const RATE_OVER: Duration = Duration::from_secs(1);

/// The fields of an answer of `/readyz`, ready or not.
#[derive(Deserialize)]
struct Ready {
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    cluster: Option<Cluster>,
}

/// The distance to the cluster that has the events.
#[derive(Deserialize)]
struct Cluster {
    connected: bool,
    lag_seconds: f64,
    #[serde(default)]
    lag_positions: Option<u64>,
}

impl Cluster {
    /// In words.
    fn told(&self) -> String {
        let behind = self.lag_positions.map(|positions| format!(", {} positions", HumanCount(positions)));
        let behind = format!("{:.1} seconds{} behind", self.lag_seconds, behind.unwrap_or_default());
        match (self.connected, self.lag_seconds > 0.0) {
            (true, false) => "the copy of the cluster is at its end".to_owned(),
            (true, true) => format!("the copy of the cluster is {behind}"),
            (false, _) => format!("the cluster does not answer; the copy is {behind}"),
        }
    }
}

/// A part that stands still.
#[derive(Deserialize)]
struct Part {
    #[serde(rename = "part")]
    name: String,
    since: String,
    cause: String,
}

/// The sums of metrics by name, whatever their labels.
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn read(text: &str) -> Self {
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let name = name.split('{').next().unwrap_or(name);
            *sums.entry(name.to_owned()).or_insert(0.0) += value.parse().unwrap_or(0.0);
        }
        Self(sums)
    }

    fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and bytes")]
    fn count(&self, name: &str) -> u64 {
        self.of(name).max(0.0) as u64
    }
}

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let uploader = Uploader::new(&args.server, interrupt.clone())?;
    let Seen { status, body } = uploader.look("/readyz")?;
    let ready: Ready = serde_json::from_slice(&body)
        .with_context(|| format!("{} did not answer as Lastseen does", args.server.server))?;
    for Part { name, since, cause } in &ready.parts {
        outln!("{name} stands still since {since}: {cause}");
    }
    if status != 200 {
        bail!("not ready: {}", ready.detail.unwrap_or_default());
    }
    if progress::is_silenced() {
        return Ok(Outcome::Done);
    }
    outln!("ready");
    if let Some(cluster) = &ready.cluster {
        outln!("{}", cluster.told());
    }
    let Seen { status, body } = uploader.look("/metrics")?;
    if status != 200 {
        outln!("more is told to a key with the scope admin");
        return Ok(Outcome::Done);
    }
    let first = Metrics::read(&String::from_utf8_lossy(&body));
    if interrupt.sleep(RATE_OVER) {
        return Ok(Outcome::Interrupted);
    }
    let now = Metrics::read(&String::from_utf8_lossy(&uploader.look("/metrics")?.body));
    print(&first, &now);
    Ok(Outcome::Done)
}

fn print(first: &Metrics, now: &Metrics) {
    let count = |name: &str| HumanCount(now.count(name)).to_string();
    let bytes = |name: &str| HumanBytes(now.count(name)).to_string();
    let rate = |name: &str| {
        let more = now.count(name).saturating_sub(first.count(name));
        format!("{} a second", HumanCount(more / RATE_OVER.as_secs()))
    };
    let age = HumanDuration(Duration::from_secs(now.count("lastseen_snapshot_age_seconds")));
    for (name, value) in [
        ("users", count("lastseen_users")),
        ("active users (30 days)", count("lastseen_users_active")),
        ("tenants", count("lastseen_tenants")),
        ("position", count("lastseen_log_position")),
        ("events stored", rate("lastseen_events_stored_total")),
        ("requests", rate("lastseen_http_request_duration_seconds_count")),
        ("events behind in the views", count("lastseen_views_lag_events")),
        ("appends that wait", count("lastseen_log_appends_waiting")),
        ("events not sealed", count("lastseen_log_unsealed_events")),
        ("segments", count("lastseen_log_segments")),
        ("age of the snapshot", age.to_string()),
        ("connections", count("lastseen_http_connections")),
        ("questions that wait", count("lastseen_questions_waiting")),
        ("resident memory", bytes("lastseen_memory_resident_bytes")),
        ("bodies and answers", bytes("lastseen_memory_taken_bytes")),
    ] {
        outln!("{name:<27} {value:>16}");
    }
}
