//! `GET /v1/tenants`: all tenants with their numbers, sorted, page by page.

use lastseen_event::UtcInstant;
use lastseen_projections::Scope;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::counts::UserCounts;
use crate::http::answer::{Answer, DEFINITION, Json, Version};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::cursor::{Cursor, Paged};
use crate::http::params::params;
use crate::http::params::question::QuestionParams;
use crate::http::params::value::{DayCount, PageLimit, Previous};
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::questions::tenants::{TenantRow, TenantSort, TenantsQuestion};

params! {
    /// A page of tenants.
    TenantsParams {
        ..question: QuestionParams,
        /// `tenant_id` or the name of a count; `-` in front: descending
        sort: TenantSort = "`-active_users`",
        /// `previous`: adds the counts one window earlier, in `previous`
        compare: Previous = "none",
        /// an integer from 1 to 366: adds `trend`, the active users of as many days that are over
        trend: DayCount = "none",
        /// a tenant: its row alone, with its `rank` among all
        tenant_id: String = "all",
        /// an integer from 1 to 1000
        limit: PageLimit = "`100`",
        /// a `next_cursor` of this list
        cursor: Cursor = "the first page",
    }
}

/// A page of tenants.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Tenants")]
pub(in crate::http) struct TenantsAnswer {
    pub(in crate::http) tenants: Vec<Row>,
    /// Tenants of the whole list, whose pages these are. For a key that is bound to tenants: of this page.
    pub(in crate::http) total: u64,
    /// The cursor of the next page; null on the last one.
    pub(in crate::http) next_cursor: Option<String>,
    /// The window that was asked for.
    pub(in crate::http) window: String,
    /// The instant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) as_of: Option<UtcInstant>,
    /// The instant for which the answer holds.
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) at: UtcInstant,
    #[serde(flatten)]
    pub(in crate::http) reflected: Reflected,
    /// The version of the definitions of the numbers.
    pub(in crate::http) definition: u32,
}

impl Answer for TenantsAnswer {
    const NAME: &'static str = "Tenants";
    const EXAMPLE: &'static str = include_str!("../description/examples/Tenants.json");
    const HAS_ETAG: bool = true;
}

/// A tenant with its counts.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TenantRow")]
pub(in crate::http) struct Row {
    /// The tenant that was asked for.
    pub(in crate::http) tenant_id: String,
    /// Its place among all tenants in the order of the list, from 1. Null: the key is bound to tenants.
    pub(in crate::http) rank: Option<u64>,
    #[serde(flatten)]
    pub(in crate::http) counts: UserCounts,
    /// The latest of its users. Null: nobody was seen.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) last_seen_at: Option<UtcInstant>,
    /// The tenant exists from this instant, that of the first event.
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) created_at: Option<UtcInstant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) previous: Option<UserCounts>,
    /// Of the last days that are over, the earliest first, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) trend: Option<Vec<u64>>,
}

/// `GET /v1/tenants`
pub(in crate::http) async fn tenants(ask: Ask<Query, TenantsParams>) -> Result<Json<TenantsAnswer>, Problem> {
    let paged = Paged::read(ask.params.clone(), ask.params.cursor.clone(), &ask.query, "")?;
    let params = &paged.params;
    let reading = ask.reading(ask.params.question.min_position).await?;
    let now = paged.now.or(params.question.is_relative().then_some(reading.at));
    let question = params.question.question(now.unwrap_or(reading.at));
    let question = paged.position.map_or(question, |position| question.known_until(position));
    let questions = ask.questions()?;
    let is_known_whole = params.question.known_at.is_none();
    let only = match questions.scope(&reading, params.tenant_id.as_deref(), is_known_whole)? {
        Scope::All => None,
        Scope::Tenant(tenant) => Some(tenant),
    };
    let asked = TenantsQuestion {
        only,
        question,
        sort: params.sort.unwrap_or_default(),
        now,
        after: paged.after.clone(),
        limit: params.limit.unwrap_or_default().0,
        with_previous: params.compare.is_some(),
        trend_days: params.trend.map_or(0, |days| days.0),
    };
    let page = questions.tenants(&reading, asked).await?;
    let position = page.stands_still.then_some(page.position);
    let next_cursor = page.next.clone().map(|after| paged.next("", (page.now, position), after));
    let version = Version::of(&reading, page.position);
    // It is not told how many others there are.
    let is_bound = ask.positions().are_sealed();
    let tenant = |row: &TenantRow| Row {
        tenant_id: row.tenant_id.to_string(),
        rank: (!is_bound).then_some(row.rank),
        counts: UserCounts::from(&row.summary),
        last_seen_at: row.last_seen_at,
        created_at: row.created_at,
        previous: row.previous.as_ref().map(UserCounts::from),
        trend: params.trend.map(|_| row.trend.clone()),
    };
    let body = TenantsAnswer {
        tenants: page.tenants.iter().map(tenant).collect(),
        total: if is_bound { page.tenants.len() as u64 } else { page.total },
        next_cursor,
        window: params.question.window().text,
        as_of: question.as_of,
        at: question.at(page.now),
        reflected: ask.reflected(page.position)?,
        definition: DEFINITION,
    };
    let is_fixed = params.question.is_fixed();
    Ok(Json::new(body).rows(page.tenants.len()).version(is_fixed.then_some(version)))
}
