//! Whether the process lives, and whether its views are caught up.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::problem::Problem;
use crate::query::answer::json;
use crate::routes::AppState;

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
pub(crate) async fn alive() -> Response {
    json(&Alive { status: "ok" })
}

/// `GET /readyz`
pub(crate) async fn ready(State(app): AppState) -> Result<Response, Problem> {
    let position = app.engine()?.position().get();
    Ok(json(&Ready { status: "ready", position }))
}
