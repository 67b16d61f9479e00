//! The tenant that a route names.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use lastseen_event::TenantOrdinal;

use crate::engine::Engine;
use crate::live::SharedViews;
use crate::problem::Problem;

/// The tenant in a route's path.
pub(crate) type TenantPath = Result<Path<String>, PathRejection>;

/// The tenant in the path of a route that is there for one tenant and for all.
pub(crate) struct ScopePath(pub(crate) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for ScopePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Option::<Path<String>>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.map(|Path(tenant_id)| tenant_id))).map_err(Problem::invalid_path)
    }
}

/// The tenant of this name, if an event that the views reflect names it.
///
/// # Errors
/// `unknown_tenant`.
pub(crate) fn tenant(
    (engine, live): (&Engine, &SharedViews),
    tenant_id: &str,
) -> Result<TenantOrdinal, Problem> {
    let tenant = engine.log.members().tenant(tenant_id).ok_or_else(Problem::unknown_tenant)?;
    if live.read().knows_tenant(tenant) { Ok(tenant) } else { Err(Problem::unknown_tenant()) }
}
