//! `POST /v1/tenants/{tenant_id}/users/lookup`: many users of one tenant in one call.

use axum::extract::{Path, RawQuery, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::answer::{DEFINITION, json};
use super::params::{self, Params};
use super::row::UserRow;
use super::scope;
use super::tenant::{TenantPath, tenant};
use crate::app::AppState;
use crate::body;
use crate::problem::Problem;

/// Most users in one call.
const USER_IDS_MAX: usize = 1_000;
/// Room for that many of the longest ids with every character escaped.
const BODY_BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lookup {
    user_ids: Vec<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    /// In the order they were asked for.
    users: Vec<UserRow<'a>>,
    unknown: Vec<&'a str>,
    window: &'a str,
    position: u64,
    definition: u32,
}

/// `POST /v1/tenants/{tenant_id}/users/lookup`
pub(crate) async fn lookup(
    State(app): AppState,
    path: TenantPath,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let Path(tenant_id) = path.map_err(Problem::invalid_path)?;
    let params = Params::parse(query.as_deref(), &["window", "min_position"])?;
    let window = params.get("window", params::window)?.unwrap_or_default();
    let engine = app.engine()?;
    let Lookup { user_ids } = read(request).await?;
    let live = scope::live(engine, &params).await?;
    tenant((engine, &live), &tenant_id)?;
    let since = engine.now().saturating_sub(window.span);
    let found: Vec<_> = {
        let members = engine.log.members();
        user_ids.iter().map(|user_id| (user_id.as_str(), members.find(&tenant_id, user_id))).collect()
    };
    let views = live.read();
    let mut users = Vec::with_capacity(found.len());
    let mut unknown = Vec::new();
    for (user_id, member) in found {
        match member.and_then(|member| views.member(member.member)) {
            Some(state) => users.push(UserRow::new((&tenant_id, user_id), &state, (since, &window))),
            None => unknown.push(user_id),
        }
    }
    let position = views.position().get();
    drop(views);
    Ok(json(&Answer { users, unknown, window: &window.text, position, definition: DEFINITION }))
}

async fn read(request: Request) -> Result<Lookup, Problem> {
    let (found, media_type) = body::content_type(request.headers());
    if media_type != "application/json" {
        return Err(Problem::unsupported_media_type("application/json", found));
    }
    let body = body::read(request.into_body(), BODY_BYTES_MAX).await?;
    if body.trim_ascii().is_empty() {
        return Err(Problem::empty_body(r#"expected {"user_ids":[...]}"#));
    }
    let lookup: Lookup = serde_json::from_slice(&body).map_err(|error| {
        Problem::invalid_json(format_args!(r#"expected {{"user_ids":["..."]}}: {error}"#))
    })?;
    if lookup.user_ids.len() > USER_IDS_MAX {
        let detail = format_args!("expected at most {USER_IDS_MAX} ids, found {}", lookup.user_ids.len());
        return Err(Problem::invalid_field("user_ids", detail));
    }
    Ok(lookup)
}
