//! Spans on their way to a collector of OpenTelemetry: OTLP over HTTP, in protobuf.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// Longest time for the collector to take some spans.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends spans until it is dropped; then those that wait.
pub(crate) struct Exporter(SdkTracerProvider);

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
            eprintln!("lastseen: cannot send the last spans: {error}");
        }
    }
}

/// A layer that sends the spans of the server to the collector at `endpoint`, such as `http://127.0.0.1:4318`.
pub(crate) fn layer<S: tracing::Subscriber + for<'a> LookupSpan<'a>>(
    endpoint: &str,
) -> anyhow::Result<(impl Layer<S> + use<S>, Exporter)> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Http(ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into()))
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(TIMEOUT)
        .build()
        .context("cannot send spans")?;
    let resource = Resource::builder()
        .with_service_name("lastseen")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let of_ours = Targets::new().with_target("lastseen_server", LevelFilter::DEBUG);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("lastseen")).with_filter(of_ours);
    Ok((layer, Exporter(provider)))
}

/// The client of HTTP that the commands have, on the thread of the exporter.
#[derive(Debug)]
struct Http(ureq::Agent);

impl HttpClient for Http {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let answer = self.0.run(Request::from_parts(head, body.to_vec()))?;
            let (head, mut body) = answer.into_parts();
            Ok(Response::from_parts(head, body.read_to_vec()?.into()))
        })
    }
}
