//! Whether the process lives, and whether its views are caught up.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use crate::app::AppState;
use crate::problem::Problem;
use crate::query::answer::json;
use crate::query::params::Params;

#[derive(Serialize)]
struct Alive {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    position: u64,
}

/// `GET /healthz`
pub(crate) async fn alive(RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Params::parse(query.as_deref(), &[])?;
    Ok(json(&Alive { status: "ok" }))
}

/// `GET /readyz`
pub(crate) async fn ready(State(app): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Params::parse(query.as_deref(), &[])?;
    let position = app.engine()?.position().get();
    Ok(json(&Ready { status: "ready", position }))
}
