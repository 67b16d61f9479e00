//! Every route on one page, and what holds for all of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::app::App;
use crate::problem::Problem;
use crate::{backfills, health, ingest, query, replay, unread};

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
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
        .layer(from_fn(foreign_host))
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

/// Refuses requests under a name that is not this machine's own: a web page whose name was made to point here
/// must not reach an open server through its visitor's browser.
async fn foreign_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or("?"));
    match host.or(request.uri().host()) {
        Some(host) if !is_loopback(host) => Problem::foreign_host(host).into_response(),
        _ => next.run(request).await,
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_served() {
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "127.9.9.9", "[::1]", "[::1]:8080"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "10.0.0.1:8080", "[::2]:1", "127.0.0.1.evil"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
