//! `GET /v1/tenants/{tenant_id}/users`: the users of a tenant, filtered, sorted, page by page or as CSV.

mod csv;

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use lastseen_event::UtcInstant;
use lastseen_projections::{Condition, Scope};
use serde::Serialize;

use super::answer::{DEFINITION, json};
use super::cursor::Cursor;
use super::page::{Filter, Lister, Sort};
use super::params::{self, Params};
use super::row::UserRow;
use super::scope::{self, Answering, Question};
use super::tenant::{TenantPath, tenant};
use crate::app::AppState;
use crate::engine::Engine;
use crate::live::SharedViews;
use crate::problem::Problem;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

const OWN_PARAMS: [&str; 7] = ["sort", "status", "seen_since", "seen_before", "limit", "cursor", "format"];

/// Parameters that do not change what a list is: they may differ from page to page.
const PER_PAGE: [&str; 2] = ["cursor", "min_position"];

#[derive(Serialize)]
struct Answer<'a> {
    users: Vec<UserRow<'a>>,
    next_cursor: Option<String>,
    window: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<UtcInstant>,
    position: u64,
    definition: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

/// Everything a list depends on besides its tenant.
struct ListQuery {
    question: Question,
    sort: Sort,
    conditions: Vec<Condition>,
    seen_since: Option<UtcInstant>,
    seen_before: Option<UtcInstant>,
    limit: usize,
    format: Format,
    /// The same, as a cursor remembers it.
    canonical: String,
}

impl ListQuery {
    fn parse(params: &Params) -> Result<Self, Problem> {
        let query = Self {
            question: Question::parse(params)?,
            sort: params.get("sort", sort)?.unwrap_or(Sort::NewestFirst),
            conditions: params.get("status", conditions)?.unwrap_or_default(),
            seen_since: params.get("seen_since", params::instant)?,
            seen_before: params.get("seen_before", params::instant)?,
            limit: params.get("limit", super::limit::<LIMIT_MAX>)?.unwrap_or(LIMIT_DEFAULT),
            format: params.get("format", format)?.unwrap_or(Format::Json),
            canonical: params.canonical(&PER_PAGE),
        };
        if query.format == Format::Csv {
            for paged in ["limit", "cursor"] {
                params.get(paged, |_| {
                    Err::<(), _>("CSV has all users at once: expected no limit and no cursor")
                })?;
            }
        }
        Ok(query)
    }

    fn filter(&self, at: UtcInstant) -> Filter {
        Filter {
            conditions: self.conditions.clone(),
            seen_since: self.seen_since,
            seen_before: self.seen_before,
            since: self.question.since(at),
        }
    }
}

/// `GET /v1/tenants/{tenant_id}/users`
pub(crate) async fn list(
    State(app): AppState,
    path: TenantPath,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Path(tenant_id) = path.map_err(Problem::invalid_path)?;
    let known: Vec<&str> = scope::PARAMS.into_iter().chain(OWN_PARAMS).collect();
    let params = Params::parse(query.as_deref(), &known)?;
    let cursor = Cursor::read(&params)?;
    let list = match &cursor {
        Some(cursor) => ListQuery::parse(&cursor.resume(&params, &tenant_id, (&known, &PER_PAGE))?)?,
        None => ListQuery::parse(&params)?,
    };
    let engine = app.engine()?;
    let live = scope::live(engine, &params).await?;
    match list.format {
        Format::Json => page((engine, &live), &tenant_id, &list, cursor).await,
        Format::Csv => csv::answer((engine, &live), tenant_id, &list).await,
    }
}

async fn page(
    (engine, live): (&Arc<Engine>, &SharedViews),
    tenant_id: &str,
    list: &ListQuery,
    cursor: Option<Cursor>,
) -> Result<Response, Problem> {
    let tenant = tenant((engine, live), tenant_id)?;
    let at = list.question.at(cursor.as_ref().map_or_else(|| engine.now(), |cursor| cursor.at));
    let filter = list.filter(at);
    let mut views = Answering::question((engine, live), Scope::Tenant(tenant), &list.question).await?;
    let position = views.position().get();
    let lister = Lister { log: &engine.log, tenant, filter: &filter, sort: list.sort };
    let (shown, more) = lister.page(&mut views, cursor.as_ref().map(|cursor| &cursor.after), list.limit);
    drop(views);
    let members = engine.log.members();
    let next_cursor = shown.last().filter(|_| more).map(|last| {
        let (tenant_id, query) = (tenant_id.to_owned(), list.canonical.clone());
        Cursor { tenant_id, query, at, after: last.place(&members) }.encode()
    });
    let row = |user: &super::page::Listed| {
        UserRow::new((tenant_id, user.user_id(&members)), &user.state, (filter.since, &list.question.window))
    };
    Ok(json(&Answer {
        users: shown.iter().map(row).collect(),
        next_cursor,
        window: &list.question.window.text,
        as_of: list.question.as_of,
        position,
        definition: DEFINITION,
    }))
}

fn sort(value: &str) -> Result<Sort, &'static str> {
    match value {
        "last_seen_at" => Ok(Sort::OldestFirst),
        "-last_seen_at" => Ok(Sort::NewestFirst),
        _ => Err("expected last_seen_at or -last_seen_at"),
    }
}

fn conditions(value: &str) -> Result<Vec<Condition>, &'static str> {
    let condition = |name| match name {
        "active" => Some(Condition::Active),
        "inactive" => Some(Condition::Inactive),
        "pending" => Some(Condition::Pending),
        "never_seen" => Some(Condition::NeverSeen),
        "deleted" => Some(Condition::Deleted),
        _ => None,
    };
    let all = value.split(',').map(condition).collect::<Option<Vec<_>>>();
    all.ok_or("expected a comma list of active, inactive, pending, never_seen, deleted")
}

fn format(value: &str) -> Result<Format, &'static str> {
    match value {
        "json" => Ok(Format::Json),
        "csv" => Ok(Format::Csv),
        _ => Err("expected json or csv"),
    }
}
