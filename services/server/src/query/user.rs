//! `GET /v1/tenants/{tenant_id}/users/{user_id}`: one user.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use super::answer::{DEFINITION, json};
use super::params::{self, Params};
use super::row::UserRow;
use super::scope;
use super::tenant::{TenantPath, tenant};
use crate::app::{App, AppState};
use crate::problem::Problem;

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    user: UserRow<'a>,
    window: &'a str,
    position: u64,
    definition: u32,
}

/// `GET /v1/tenants/{tenant_id}/users/{user_id}`
pub(crate) async fn one(
    State(app): AppState,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Path((tenant_id, user_id)) = path.map_err(Problem::invalid_path)?;
    answer(&app, &tenant_id, &user_id, query.as_deref()).await
}

/// The user whose id is `lookup`: that path belongs to another route, which takes POST only.
pub(crate) async fn called_lookup(
    State(app): AppState,
    path: TenantPath,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Path(tenant_id) = path.map_err(Problem::invalid_path)?;
    answer(&app, &tenant_id, "lookup", query.as_deref()).await
}

async fn answer(app: &App, tenant_id: &str, user_id: &str, query: Option<&str>) -> Result<Response, Problem> {
    let params = Params::parse(query, &["window", "min_position"])?;
    let window = params.get("window", params::window)?.unwrap_or_default();
    let engine = app.engine()?;
    let live = scope::live(engine, &params).await?;
    tenant((engine, &live), tenant_id)?;
    let member = engine.log.members().find(tenant_id, user_id).ok_or_else(Problem::unknown_user)?;
    let since = engine.now().saturating_sub(window.span);
    let views = live.read();
    let state = views.member(member.member).ok_or_else(Problem::unknown_user)?;
    Ok(json(&Answer {
        user: UserRow::new((tenant_id, user_id), &state, (since, &window)),
        window: &window.text,
        position: views.position().get(),
        definition: DEFINITION,
    }))
}
