//! `lastseen listen`: takes the webhooks and log streams of identity providers, and publishes the activity in them.
//!
//! A delivery is answered once its events are stored, or kept in the outbox: a provider that hears nothing sends it again,
//! with the same ids, which adds nothing.

mod entry;
mod metrics;
mod providers;
mod signature;
mod sources;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use lastseen_client::{Event, Publisher};
use lastseen_server::{BoundAddress, ConnectionLimits, ListenAddress, TlsFiles, serve_router};
use lastseen_store::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::entry::{Entry, Meaning};
use self::metrics::Outcome;
use self::sources::Source;
use crate::args::ListenArgs;
use crate::signals::Signals;
use crate::written::described;
use crate::{logging, upload};

/// Largest body, in bytes, of whoever has shown the secret, and of the others. Batches of log streams are far smaller.
const BODY_BYTES_MAX: (usize, usize) = (4 << 20, 1 << 20);
/// Time for a body, from its head on, of whoever has shown the secret, and of the others.
const BODY_WITHIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));
/// Deliveries at once, of whoever has shown the secret, and of the others: bodies take 256 MiB each at most.
const DELIVERIES_MAX: (usize, usize) = (64, 256);
/// Time for which a delivery waits until it is stored. Some providers wait 3 s for an answer.
const STORED_WITHIN: Duration = Duration::from_millis(2_500);
/// Time for what waits, after a signal.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// All that requests share.
struct Listener {
    sources: Vec<Source>,
    publisher: Publisher,
    has_outbox: bool,
    /// Places for whoever has shown the secret: nobody else takes them. Places for those whose body is the proof.
    places: (Semaphore, Semaphore),
}

/// Reasons not to take a delivery; each has its status, its code and its words.
enum Refusal {
    Unknown,
    Method,
    Unproved,
    TooLarge(usize),
    Malformed(String),
    Later(&'static str),
}

/// Listens until a signal comes.
pub(crate) fn run(args: &ListenArgs) -> anyhow::Result<crate::Outcome> {
    let sources = sources::read(&args.sources)?;
    logging::start(&args.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(listen(args, sources))
}

async fn listen(args: &ListenArgs, sources: Vec<Source>) -> anyhow::Result<crate::Outcome> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    warn(args, &sources);
    let listener = Arc::new(Listener {
        sources,
        publisher: publisher(args)?,
        has_outbox: args.outbox.is_some(),
        places: (Semaphore::new(DELIVERIES_MAX.0), Semaphore::new(DELIVERIES_MAX.1)),
    });
    let router = Router::new().fallback(receive).with_state(listener.clone());
    let metrics = {
        let listener = listener.clone();
        let page = move || {
            let text =
                metrics::page(listener.sources.iter().map(|source| &source.counts), &listener.publisher);
            async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text) }
        };
        Router::new().route("/metrics", axum::routing::get(page))
    };
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    let tls = tls.map(|(certificate, key)| TlsFiles { certificate, key });
    let scheme = if tls.is_some() { "https" } else { "http" };
    let limits = ConnectionLimits::default();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let until = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
        // An error means that the sender is gone, and so is the command.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let serving = async {
        tokio::try_join!(
            serve_router(
                &args.listen,
                (router, tls),
                limits.clone(),
                until(stopped.clone()),
                announce("deliveries", scheme)
            ),
            serve_router(
                &args.metrics_listen,
                (metrics, None),
                limits,
                until(stopped),
                announce("metrics", "http")
            ),
        )
    };
    let stopping = async {
        let signal = signals.next().await;
        tracing::info!(signal, "stopping");
        let _ = stop.send(true);
        signals.next().await
    };
    tokio::select! {
        served = serving => drop(served?),
        _ = stopping => return Ok(crate::Outcome::Interrupted),
    }
    let publisher = listener.publisher.clone();
    let closed = tokio::task::spawn_blocking(move || publisher.close(STOP_WITHIN)).await?;
    // What is not answered is in the outbox, or was never acknowledged to its provider.
    if let Err(undelivered) = closed {
        tracing::warn!(%undelivered, "stopped");
    }
    Ok(crate::Outcome::Done)
}

/// Says on stdout where something is served.
fn announce(of: &'static str, scheme: &'static str) -> impl FnOnce(&[BoundAddress]) {
    move |addresses| {
        // A closed stdout is no reason not to listen.
        let mut stdout = std::io::stdout().lock();
        for address in addresses {
            let _ = writeln!(stdout, "lastseen listen: {of} on {scheme}://{address}");
        }
        let _ = stdout.flush();
    }
}

/// Starts the publisher.
fn publisher(args: &ListenArgs) -> anyhow::Result<Publisher> {
    let mut options = Publisher::to(&args.to.server).on_refused(|refused| {
        let faults = described(&refused.faults);
        tracing::error!(event = refused.event, faults, "the server refused an event");
    });
    if let Some(outbox) = &args.outbox {
        options = options.outbox(outbox, args.outbox_size as u64);
    }
    if let Some(key) = upload::key(args.to.key_file.as_deref(), args.to.key.as_deref())? {
        options = options.key(key);
    }
    Ok(options.start()?)
}

/// Says what may be meant otherwise.
fn warn(args: &ListenArgs, sources: &[Source]) {
    for source in sources.iter().filter(|source| args.outbox.is_none() && !source.provider.is_patient()) {
        tracing::warn!(
            source = source.path,
            "its provider hardly sends again what is not taken at once: with --outbox nothing is lost while the server is away"
        );
    }
    let is_outside = |address: &&ListenAddress| match address {
        ListenAddress::Unix(_) => false,
        ListenAddress::Tcp { host, .. } => !["127.0.0.1", "::1", "localhost"].contains(&host.as_str()),
    };
    if args.tls_cert.is_none()
        && let Some(address) = args.listen.iter().find(is_outside)
    {
        tracing::warn!(%address, "no TLS: secrets are in clear text on the network");
    }
}

async fn receive(State(listener): State<Arc<Listener>>, request: Request<Body>) -> Response {
    let path = request.uri().path();
    let Some(source) = listener.sources.iter().find(|source| source.path == path) else {
        return Refusal::Unknown.into_response();
    };
    let answer = deliver(&listener, source, request).await;
    if answer.is_err() {
        source.counts.refused_deliveries();
    }
    answer.map_or_else(IntoResponse::into_response, |told| axum::Json(told).into_response())
}

async fn deliver(listener: &Listener, source: &Source, request: Request<Body>) -> Result<Value, Refusal> {
    let (head, body) = request.into_parts();
    let is_shown = source.secret.is_in_header();
    if is_shown && !source.secret.proves(&head.headers, b"", SystemClock.now()) {
        return Err(Refusal::Unproved);
    }
    let places = if is_shown { &listener.places.0 } else { &listener.places.1 };
    let _place = places.try_acquire().map_err(|_| Refusal::Later("too many deliveries at once"))?;
    let most = if is_shown { BODY_BYTES_MAX.0 } else { BODY_BYTES_MAX.1 };
    let within = if is_shown { BODY_WITHIN.0 } else { BODY_WITHIN.1 };
    let body = tokio::time::timeout(within, to_bytes(body, most)).await;
    let body = body.map_err(|_| Refusal::Later("the body did not come in time"))?;
    let body = body.map_err(|_| Refusal::TooLarge(most))?;
    if !is_shown && !source.secret.proves(&head.headers, &body, SystemClock.now()) {
        return Err(Refusal::Unproved);
    }
    match head.method {
        // The question of Okta whether this address is one of ours.
        Method::GET => challenge(&head.headers).ok_or(Refusal::Method),
        Method::POST => publish(listener, source, (&head.headers, &body)).await,
        _ => Err(Refusal::Method),
    }
}

fn challenge(headers: &HeaderMap) -> Option<Value> {
    let challenge = headers.get("x-okta-verification-challenge")?.to_str().ok()?;
    Some(json!({ "verification": challenge }))
}

async fn publish(
    listener: &Listener,
    source: &Source,
    (headers, body): (&HeaderMap, &[u8]),
) -> Result<Value, Refusal> {
    let entries = source.provider.read(body, signature::delivery(headers)).map_err(Refusal::Malformed)?;
    let mut events: Vec<Event> = Vec::new();
    let mut outcomes = Vec::new();
    for Entry { kind, meaning } in &entries {
        let outcome = match meaning {
            Meaning::Happened(happened) if happened.iter().any(|it| source.leaves_out(it)) => {
                Outcome::Nothing
            }
            Meaning::Happened(happened) => {
                let of_entry =
                    happened.iter().map(|it| it.event(source.provider.name(), source.tenant_of(it)));
                match of_entry.collect::<Result<Vec<_>, _>>() {
                    Ok(of_entry) => {
                        events.extend(of_entry);
                        Outcome::Published
                    }
                    // The provider would send the same again: it is told here, and taken.
                    Err(faults) => Outcome::Unfit(kind, described(&faults)),
                }
            }
            Meaning::Nothing => Outcome::Nothing,
            Meaning::Unknown => Outcome::Unknown(kind),
        };
        outcomes.push(outcome);
    }
    let has_events = !events.is_empty();
    let stored = async {
        for event in events {
            listener.publisher.publish(event).await.map_err(|_| Refusal::Later("stopping"))?;
        }
        let kept = if listener.has_outbox {
            listener.publisher.keep().await
        } else {
            listener.publisher.flush().await
        };
        kept.map_err(|_| Refusal::Later("stopping"))
    };
    if has_events {
        let stored = tokio::time::timeout(STORED_WITHIN, stored).await;
        stored.map_err(|_| Refusal::Later("not stored yet; send it again"))??;
    }
    let published = outcomes.iter().filter(|outcome| **outcome == Outcome::Published).count();
    source.counts.count(outcomes);
    Ok(json!({ "entries": entries.len(), "published": published }))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, detail) = match self {
            Self::Unknown => (StatusCode::NOT_FOUND, "unknown_source", "no source has this path".to_owned()),
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "expected POST".to_owned())
            }
            Self::Unproved => (
                StatusCode::UNAUTHORIZED,
                "not_signed",
                "the signature or the secret is missing or wrong".to_owned(),
            ),
            Self::TooLarge(most) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("expected at most {most} bytes"))
            }
            Self::Malformed(detail) => (StatusCode::BAD_REQUEST, "invalid_json", detail),
            Self::Later(detail) => (StatusCode::SERVICE_UNAVAILABLE, "try_later", detail.to_owned()),
        };
        // Anybody may knock: that is counted, and told to whoever looks closely.
        let request_id = Uuid::now_v7().to_string();
        tracing::debug!(request_id, code, detail, "a delivery is refused");
        let problem = json!({
            "type": format!("urn:lastseen:problem:{code}"),
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": code,
            "detail": detail,
            "request_id": request_id,
        });
        let mut answer =
            (status, [(CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response();
        // A body that was not read to its end costs the connection: the peer is to know.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, 5.into());
        }
        answer
    }
}
