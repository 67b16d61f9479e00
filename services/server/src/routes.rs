//! Every route on one page, and what holds for all of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::app::App;
use crate::http::origin::Origin;
use crate::http::{cors, hosts};
use crate::problem::Problem;
use crate::{backfills, health, ingest, query, replay, unread};

/// All routes. Pages of `origins` may use them through a browser.
pub(crate) fn router(app: Arc<App>, origins: Arc<[Origin]>) -> Router {
    Router::new()
        .route("/v1/events", post(ingest::publish).get(replay::events))
        .route("/v1/summary", get(query::summary::answer))
        .route("/v1/active-users", get(query::days::answer))
        .route("/v1/retention", get(query::retention::answer))
        .route("/v1/tenants", get(query::tenants::list))
        .route("/v1/tenants/{tenant_id}/active-users", get(query::days::answer))
        .route("/v1/tenants/{tenant_id}/retention", get(query::retention::answer))
        .route("/v1/tenants/{tenant_id}/summary", get(query::summary::answer))
        .route("/v1/tenants/{tenant_id}/users", get(query::users::list))
        .route(
            "/v1/tenants/{tenant_id}/users/lookup",
            post(query::lookup::lookup).get(query::user::called_lookup),
        )
        .route("/v1/tenants/{tenant_id}/users/{user_id}", get(query::user::one))
        .route("/v1/tenants/{tenant_id}/users/{user_id}/events", get(query::user_events::list))
        .route("/v1/backfills", get(backfills::list))
        .route("/v1/backfills/{batch}", get(backfills::one).delete(backfills::retract))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(async |uri: Uri| Problem::unknown_route(uri.path()))
        .layer(from_fn(wrong_method))
        .layer(from_fn_with_state(origins.clone(), cors::share))
        .layer(from_fn_with_state(origins, hosts::guard))
        .layer(from_fn(unread::discard))
        .with_state(app)
}

/// Gives the router's bare 405 a body; the Allow header is added behind this.
async fn wrong_method(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        return Problem::method_not_allowed(method.as_str()).into_response();
    }
    response
}
