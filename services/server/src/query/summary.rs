//! `GET /v1/summary` and `GET /v1/tenants/{tenant_id}/summary`: how many there are and how many are active.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use lastseen_event::UtcInstant;
use lastseen_projections::Summary;
use serde::{Serialize, Serializer};

use super::answer::{DEFINITION, json};
use super::params::Params;
use super::scope::{self, Question};
use super::tenant::ScopePath;
use crate::app::AppState;
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
    fn of(summary: &Summary) -> Self {
        Self(summary.named())
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// `GET /v1/summary`, also of one tenant
pub(crate) async fn answer(
    State(app): AppState,
    ScopePath(tenant_id): ScopePath,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut known = scope::PARAMS.to_vec();
    known.push("compare");
    let params = Params::parse(query.as_deref(), &known)?;
    let question = Question::parse(&params)?;
    let compare =
        params.get("compare", |value| if value == "previous" { Ok(()) } else { Err("expected previous") })?;
    let engine = app.engine()?;
    let (scope, live) = scope::of(engine, &params, tenant_id.as_deref()).await?;
    let at = question.at(engine.now());
    let previous = match compare {
        Some(()) => {
            let earlier = question.previous(at);
            let (summary, _) = earlier.summary((engine, &live), scope, earlier.at(at)).await?;
            Some(Counts::of(&summary))
        }
        None => None,
    };
    let (summary, position) = question.summary((engine, &live), scope, at).await?;
    Ok(json(&Answer {
        tenant_id: tenant_id.as_deref(),
        window: &question.window.text,
        as_of: question.as_of,
        counts: Counts::of(&summary),
        previous,
        position: position.get(),
        definition: DEFINITION,
    }))
}
