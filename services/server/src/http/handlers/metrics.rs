//! `GET /metrics`: the state of the server for Prometheus.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use lastseen_projections::{Scope, Window};
use schemars::SchemaGenerator;

use crate::http::Service;
use crate::http::answer::{Reply, Wants};
use crate::http::ask::Ask;
use crate::http::auth::Access;
use crate::http::description::{Content, Success};
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::metrics::{Form, State};

/// Metrics as text.
pub(in crate::http) struct MetricsText(String, Form);

impl Reply for MetricsText {
    const NAME: &'static str = "Metrics";

    fn describe(_: &mut SchemaGenerator) -> Success {
        Success::of(vec![Content::text("text/plain"), Content::text("application/openmetrics-text")])
    }

    async fn respond(self, _: Wants) -> Response {
        let Self(text, form) = self;
        let content_type = match form {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        };
        let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
        (headers, text).into_response()
    }
}

/// `GET /metrics`. While the server is starting, most numbers are zero.
pub(in crate::http) async fn metrics<A: Access>(ask: Ask<A, NoParams>) -> Result<MetricsText, Problem> {
    let app = ask.app();
    let mut now = State {
        connections: app.connections.load(std::sync::atomic::Ordering::Relaxed),
        memory_budget_bytes: app.memory.budget_bytes(),
        memory_taken_bytes: app.memory.budget_bytes() - app.memory.free_bytes(),
        ..State::default()
    };
    if let Ok(Service { model, questions, .. }) = app.service() {
        let standstills = model.standstills();
        let reading = model.reading();
        let log = model.log();
        let gauges = log.gauges();
        let summary = {
            let views = reading.views();
            views.summary(Scope::All, reading.at.saturating_sub(Window::default().span))
        };
        now = State {
            is_ready: standstills.iter().all(|it| !it.is_final),
            standing_still: standstills.iter().map(|it| it.part).collect(),
            waiting_appends: gauges.waiting_appends,
            position: log.tail().position().get(),
            unsealed: log.health().unsealed_events,
            segments: log.parts().len() - 1,
            id_memory_bytes: gauges.id_memory_bytes,
            lag: model.lag(),
            store_lag: gauges.lag,
            snapshot_age: model.snapshot_age(),
            questions: questions.places(),
            definitions: model.definitions(),
            kept_bytes: questions.kept_past_bytes(),
            users: summary.total_users,
            active_users: summary.active_users,
            tenants: summary.overall.map_or(0, |overall| overall.tenants),
            ..now
        };
    }
    let form = form(&ask.headers);
    Ok(MetricsText(app.metrics.text(&now, form), form))
}

fn form(headers: &HeaderMap) -> Form {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let is_open = accepted.into_iter().any(|line| line.contains("application/openmetrics-text"));
    if is_open { Form::OpenMetrics } else { Form::Prometheus }
}
