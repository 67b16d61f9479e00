//! `lastseen serve`: runs the server until a signal comes. The lines on stdout say that it listens, and where;
//! everything else goes to stderr.

use std::io::{self, Write};

use anyhow::Context;
use lastseen_server::{BoundAddress, ConnectionLimits, Limits, ServeConfig, TlsFiles};
use tokio::sync::oneshot;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{self, LimitArgs, ServeArgs};
use crate::signals::Signals;
use crate::{Outcome, logging};

/// Serves until the first SIGINT or SIGTERM, then ends in order: open requests are answered, the log is closed.
/// A second signal ends at once; the log survives that too.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<Outcome> {
    let registry = tracing_subscriber::registry().with(logging::layer(&args.log));
    #[cfg(feature = "otlp")]
    let (spans, _exporter) = args.otlp_endpoint.as_deref().map(crate::otlp::layer).transpose()?.unzip();
    #[cfg(feature = "otlp")]
    let registry = registry.with(spans);
    registry.init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime of the server")?;
    let outcome = runtime.block_on(serve(args));
    // Whoever still holds a connection open does not hold up the exit.
    runtime.shutdown_background();
    outcome
}

async fn serve(args: ServeArgs) -> anyhow::Result<Outcome> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        // An error means that the sender is gone: then there is nobody left to serve for.
        let _ = stopped.await;
    };
    let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
    let announce = move |addresses: &[BoundAddress]| announce(scheme, addresses);
    let serving = lastseen_server::serve(config(args), shutdown, announce);
    let stopping = async {
        signals.next().await;
        let _ = stop.send(());
        signals.next().await
    };
    tokio::select! {
        served = serving => served.map(|()| Outcome::Done).map_err(anyhow::Error::from),
        _ = stopping => Ok(Outcome::Interrupted),
    }
}

/// The settings that the arguments say.
pub(crate) fn config(args: ServeArgs) -> ServeConfig {
    let persons = match args.persons {
        args::Persons::UserId => lastseen_server::Persons::UserId,
        args::Persons::Off => lastseen_server::Persons::Off,
    };
    ServeConfig {
        data: args.data,
        cluster: args.store.config(),
        keys: args.keys,
        listen: args.listen,
        metrics_listen: args.metrics_listen,
        tls: args.tls_cert.zip(args.tls_key).map(|(certificate, key)| TlsFiles { certificate, key }),
        public_urls: args.public_urls,
        trusted_proxies: args.trusted_proxies,
        persons,
        future_tolerance: args.future_tolerance,
        segment_events: args.segment_events,
        segment_age: args.segment_age,
        batches_max: args.batches_max,
        id_filter_bytes: args.id_filter_memory,
        snapshot_events: args.snapshot_events,
        connections: ConnectionLimits {
            head_timeout: args.connections.head_timeout,
            idle_timeout: args.connections.idle_timeout,
            stall_timeout: args.connections.stall_timeout,
            connections_max: args.connections.connections_max,
            ..ConnectionLimits::default()
        },
        cors_origins: args.cors_origins,
        limits: limits(&args.limits),
    }
}

fn limits(args: &LimitArgs) -> Limits {
    Limits {
        memory_bytes: args.memory,
        scans: args.scans,
        counts: args.counts,
        lists: args.lists,
        downloads: args.downloads,
        decodes: args.decodes,
        waiting: args.waiting,
        wait: args.question_wait,
        deadline: args.question_deadline,
        definitions: args.definitions,
        kept_bytes: args.kept_memory,
        body_timeout: args.body_timeout,
    }
}

/// A line on stdout for each address. A closed stdout is no reason not to serve.
fn announce(scheme: &str, addresses: &[BoundAddress]) {
    let mut stdout = io::stdout().lock();
    for address in addresses {
        let _ = match address {
            BoundAddress::Tcp(address) => writeln!(stdout, "lastseen listening on {scheme}://{address}"),
            BoundAddress::Unix(_) => writeln!(stdout, "lastseen listening on {address}"),
        };
    }
    let _ = stdout.flush();
}
