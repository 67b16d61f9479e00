//! `GET /v1/tenants`: all tenants with their counts, sorted, page by page.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use lastseen_event::{TenantOrdinal, UtcInstant};
use lastseen_projections::{Scope, Summary};
use serde::{Serialize, Serializer};

use super::answer::{DEFINITION, json};
use super::cursor::{Cursor, Place};
use super::params::Params;
use super::scope::{self, Answering, Question};
use crate::app::AppState;
use crate::engine::Engine;
use crate::live::SharedViews;
use crate::problem::Problem;
use crate::tasks;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

const OWN_PARAMS: [&str; 3] = ["sort", "limit", "cursor"];

/// Parameters that may differ from page to page.
const PER_PAGE: [&str; 2] = ["cursor", "min_position"];

/// Tenants counted under one hold of the views' lock.
const LOCKED_TENANTS: u32 = 64;

#[derive(Serialize)]
struct Answer<'a> {
    tenants: Vec<TenantRow>,
    next_cursor: Option<String>,
    window: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<UtcInstant>,
    position: u64,
    definition: u32,
}

/// A tenant and its counts.
struct TenantRow {
    tenant_id: String,
    summary: Summary,
}

impl Serialize for TenantRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tenant_id", &self.tenant_id)?;
        for (name, count) in self.summary.named() {
            map.serialize_entry(name, &count)?;
        }
        map.end()
    }
}

/// By name, or by the count at this place among all counts, ties by name ascending.
#[derive(Clone, Copy)]
struct Sort {
    count: Option<usize>,
    descending: bool,
}

impl Sort {
    fn key(self, row: &TenantRow) -> Option<i64> {
        let count = row.summary.named()[self.count?].1;
        Some(i64::try_from(count).unwrap_or(i64::MAX))
    }

    fn compare(self, a: (Option<i64>, &str), b: (Option<i64>, &str)) -> Ordering {
        let (by_count, by_name) = (a.0.cmp(&b.0), a.1.cmp(b.1));
        match (self.count, self.descending) {
            (Some(_), true) => by_count.reverse().then(by_name),
            (Some(_), false) => by_count.then(by_name),
            (None, true) => by_name.reverse(),
            (None, false) => by_name,
        }
    }
}

struct ListQuery {
    question: Question,
    sort: Sort,
    limit: usize,
    /// The same, as a cursor remembers it.
    canonical: String,
}

impl ListQuery {
    fn parse(params: &Params) -> Result<Self, Problem> {
        Ok(Self {
            question: Question::parse(params)?,
            sort: params
                .get("sort", sort)?
                .unwrap_or(Sort { count: place_of("active_users"), descending: true }),
            limit: params.get("limit", super::limit::<LIMIT_MAX>)?.unwrap_or(LIMIT_DEFAULT),
            canonical: params.canonical(&PER_PAGE),
        })
    }
}

/// `GET /v1/tenants`
pub(crate) async fn list(State(app): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let known: Vec<&str> = scope::PARAMS.into_iter().chain(OWN_PARAMS).collect();
    let params = Params::parse(query.as_deref(), &known)?;
    let cursor = Cursor::read(&params)?;
    let list = match &cursor {
        Some(cursor) => ListQuery::parse(&cursor.resume(&params, "", (&known, &PER_PAGE))?)?,
        None => ListQuery::parse(&params)?,
    };
    let engine = app.engine()?;
    let live = scope::live(engine, &params).await?;
    let at = list.question.at(cursor.as_ref().map_or_else(|| engine.now(), |cursor| cursor.at));
    let (rows, position) = rows((engine, &live), &list.question, at).await?;
    let sort = list.sort;
    let place = |row: &TenantRow| (sort.key(row), row.tenant_id.clone());
    let mut rows: Vec<((Option<i64>, String), TenantRow)> =
        rows.into_iter().map(|row| (place(&row), row)).collect();
    if let Some(Cursor { after, .. }) = &cursor {
        rows.retain(|((key, name), _)| sort.compare((*key, name), (after.key, &after.name)).is_gt());
    }
    rows.sort_unstable_by(|((a, a_name), _), ((b, b_name), _)| sort.compare((*a, a_name), (*b, b_name)));
    let more = rows.len() > list.limit;
    rows.truncate(list.limit);
    let next_cursor = rows.last().filter(|_| more).map(|((key, name), _)| {
        let after = Place { key: *key, name: name.clone() };
        Cursor { tenant_id: String::new(), query: list.canonical.clone(), at, after }.encode()
    });
    Ok(json(&Answer {
        tenants: rows.into_iter().map(|(_, row)| row).collect(),
        next_cursor,
        window: &list.question.window.text,
        as_of: list.question.as_of,
        position,
        definition: DEFINITION,
    }))
}

/// Every tenant that the live views know, in no order. Each row is of one moment; the position is that of the first.
async fn rows(
    (engine, live): (&Arc<Engine>, &SharedViews),
    question: &Question,
    at: UtcInstant,
) -> Result<(Vec<TenantRow>, u64), Problem> {
    let since = question.since(at);
    let folded = match Answering::question((engine, live), Scope::All, question).await? {
        Answering::Folded(folded) => Some(folded),
        Answering::Live(_) => None,
    };
    let (engine, shared) = (engine.clone(), live.clone());
    let counted = tasks::blocking(move || {
        let live = shared.read();
        let (tenants, position) = (u32::try_from(live.tenants()).unwrap_or(u32::MAX), live.position());
        drop(live);
        let mut rows = Vec::new();
        for first in (0..tenants).step_by(LOCKED_TENANTS as usize) {
            let part = (first..tenants.min(first + LOCKED_TENANTS)).map(TenantOrdinal::new);
            let live = shared.read();
            let views = folded.as_ref().map_or(&*live, |folded| &folded.views);
            let part = part.filter(|tenant| live.knows_tenant(*tenant));
            let part: Vec<_> =
                part.map(|tenant| (tenant, views.summary(Scope::Tenant(tenant), since))).collect();
            drop(live);
            let members = engine.log.members();
            let row = |(tenant, summary)| TenantRow {
                tenant_id: members.tenant_id(tenant).as_str().to_owned(),
                summary,
            };
            rows.extend(part.into_iter().map(row));
        }
        (rows, folded.map_or(position, |folded| folded.position).get())
    });
    Ok(counted.await)
}

fn sort(text: &str) -> Result<Sort, String> {
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    match place_of(name) {
        None if name != "tenant_id" => {
            let names: Vec<_> = Summary::default().named().into_iter().map(|(name, _)| name).collect();
            Err(format!("expected tenant_id, {}, or one of them behind a -", names.join(", ")))
        }
        count => Ok(Sort { count, descending }),
    }
}

/// Where a count stands among all counts.
fn place_of(name: &str) -> Option<usize> {
    Summary::default().named().iter().position(|(of, _)| *of == name)
}
