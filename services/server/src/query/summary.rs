//! `GET /v1/summary` and `GET /v1/tenants/{tenant_id}/summary`: how many there are and how many are active.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use lastseen_event::UtcInstant;
use lastseen_projections::{Scope, Summary};
use serde::{Serialize, Serializer};

use super::answer::{DEFINITION, json};
use super::params::Params;
use super::scope::{self, Question};
use super::tenant::{TenantPath, tenant};
use crate::app::{App, AppState};
use crate::config::Persons;
use crate::problem::Problem;

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<&'a str>,
    window: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<UtcInstant>,
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Counts>,
    position: u64,
    definition: u32,
}

/// The numbers by name.
struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    fn of(summary: &Summary, persons: Persons) -> Self {
        Self(summary.named(persons == Persons::UserId))
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// `GET /v1/summary`
pub(crate) async fn overall(State(app): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    answer(&app, None, query.as_deref()).await
}

/// `GET /v1/tenants/{tenant_id}/summary`
pub(crate) async fn of_tenant(
    State(app): AppState,
    path: TenantPath,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Path(tenant_id) = path.map_err(Problem::invalid_path)?;
    answer(&app, Some(&tenant_id), query.as_deref()).await
}

async fn answer(app: &App, tenant_id: Option<&str>, query: Option<&str>) -> Result<Response, Problem> {
    let mut known = scope::PARAMS.to_vec();
    known.push("compare");
    let params = Params::parse(query, &known)?;
    let question = Question::parse(&params)?;
    let compare =
        params.get("compare", |value| if value == "previous" { Ok(()) } else { Err("expected previous") })?;
    let engine = app.engine()?;
    scope::wait_for_min_position(engine, &params).await?;
    let scope = match tenant_id {
        Some(tenant_id) => Scope::Tenant(tenant(engine, tenant_id)?),
        None => Scope::All,
    };
    let at = question.at(engine.now());
    let previous = match compare {
        Some(()) => {
            let earlier = question.previous(at);
            let (summary, _) = earlier.summary(engine, scope, earlier.at(at)).await?;
            Some(Counts::of(&summary, app.persons))
        }
        None => None,
    };
    let (summary, position) = question.summary(engine, scope, at).await?;
    Ok(json(&Answer {
        tenant_id,
        window: &question.window.text,
        as_of: question.as_of,
        counts: Counts::of(&summary, app.persons),
        previous,
        position: position.get(),
        definition: DEFINITION,
    }))
}
