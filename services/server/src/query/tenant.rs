//! The tenant that a route names.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use lastseen_event::TenantOrdinal;

use crate::engine::Engine;
use crate::problem::Problem;

/// The tenant in a route's path.
pub(crate) type TenantPath = Result<Path<String>, PathRejection>;

/// The tenant of this name, if an event that the views reflect names it.
///
/// # Errors
/// `unknown_tenant`.
pub(crate) fn tenant(engine: &Engine, tenant_id: &str) -> Result<TenantOrdinal, Problem> {
    let tenant = engine.log.members().tenant(tenant_id).ok_or_else(Problem::unknown_tenant)?;
    if engine.views.read().knows_tenant(tenant) { Ok(tenant) } else { Err(Problem::unknown_tenant()) }
}
