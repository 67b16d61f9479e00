//! `GET /v1/tenants/{tenant_id}/users`: the users of a tenant, filtered, sorted, page by page or as CSV.

use axum::response::Response;
use lastseen_event::{TenantOrdinal, UtcInstant};
use lastseen_projections::Scope;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;

use crate::http::answer::csv::{CsvUsers, Dialect};
use crate::http::answer::user::UserRow;
use crate::http::answer::{Answer, DEFINITION, Json, Reply, Stream, Version, Wants};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::description::Success;
use crate::http::params::cursor::{Cursor, Paged};
use crate::http::params::params;
use crate::http::params::question::QuestionParams;
use crate::http::params::value::{Conditions, ListFormat, PageLimit};
use crate::http::problem::Problem;
use crate::http::schema;
use crate::keys::seal::ShownPosition;
use crate::questions::moment::Moment;
use crate::questions::users::{Sort, UsersFilter, UsersQuestion};
use crate::read_model::Reading;

params! {
    /// A list of users.
    UsersParams {
        ..question: QuestionParams,
        /// `last_seen_at` or `-last_seen_at`
        sort: Sort = "`-last_seen_at`",
        /// a comma list of `active`, `inactive`, `pending`, `never_seen`, `deleted`, `left_out`
        status: Conditions = "all but `deleted` and `left_out`",
        /// an instant, inclusive
        seen_since: Moment = "none",
        /// an instant, exclusive
        seen_before: Moment = "none",
        /// an integer from 1 to 1000; JSON only
        limit: PageLimit = "`100`",
        /// a `next_cursor` of this list; JSON only
        cursor: Cursor = "the first page",
        /// `json`, `csv` or `excel`
        format: ListFormat = "`json`",
    }
}

/// A page of users.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Users")]
pub(in crate::http) struct UsersAnswer {
    users: Vec<UserRow>,
    /// The cursor of the next page; null on the last one.
    next_cursor: Option<String>,
    /// The window that was asked for.
    window: String,
    /// The instant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    as_of: Option<UtcInstant>,
    /// The instant for which the answer holds.
    #[schemars(with = "schema::Instant")]
    at: UtcInstant,
    /// The answer reflects all events up to this position.
    position: ShownPosition,
    /// The version of the definitions of the numbers.
    definition: u32,
}

impl Answer for UsersAnswer {
    const NAME: &'static str = "Users";
    const EXAMPLE: &'static str = include_str!("../description/examples/Users.json");
    const HAS_ETAG: bool = true;
}

/// A page, or all of the list.
pub(in crate::http) enum List {
    Page(Json<UsersAnswer>),
    All(Box<Stream<CsvUsers>>),
}

impl Reply for List {
    const NAME: &'static str = UsersAnswer::NAME;

    fn describe(generator: &mut SchemaGenerator) -> Success {
        let page = Json::<UsersAnswer>::describe(generator);
        let all = Stream::<CsvUsers>::describe(generator);
        let content = page.content.into_iter().chain(all.content).collect();
        Success { content, headers: all.headers, ..page }
    }

    async fn respond(self, wants: Wants) -> Response {
        match self {
            Self::Page(page) => page.respond(wants).await,
            Self::All(all) => all.respond(wants).await,
        }
    }
}

impl UsersParams {
    fn asked(
        &self,
        tenant: TenantOrdinal,
        paged: (Option<UtcInstant>, Option<crate::questions::place::Place>),
        reading: &Reading,
    ) -> UsersQuestion {
        let bounds = [self.seen_since, self.seen_before];
        let is_relative = |moment: Moment| !moment.is_absolute();
        let is_relative = self.question.is_relative() || bounds.into_iter().flatten().any(is_relative);
        let fixed = paged.0.or(is_relative.then_some(reading.at));
        let now = fixed.unwrap_or(reading.at);
        UsersQuestion {
            tenant,
            question: self.question.question(now),
            filter: UsersFilter {
                conditions: self.status.clone().unwrap_or_default().0,
                seen_since: self.seen_since.map(|moment| moment.at_utc(now)),
                seen_before: self.seen_before.map(|moment| moment.at_utc(now)),
            },
            sort: self.sort.unwrap_or_default(),
            now: fixed,
            after: paged.1,
            limit: self.limit.unwrap_or_default().0,
        }
    }

    /// True if position and parameters alone decide the answer.
    fn is_fixed(&self) -> bool {
        let bounds = [self.seen_since, self.seen_before];
        self.question.is_fixed() && bounds.into_iter().flatten().all(Moment::is_absolute)
    }
}

/// `GET /v1/tenants/{tenant_id}/users`
pub(in crate::http) async fn users(ask: Ask<Query, UsersParams>) -> Result<List, Problem> {
    match ask.params.format.unwrap_or_default() {
        ListFormat::Json => page(ask).await.map(List::Page),
        ListFormat::Csv => all(ask, Dialect::Exact).await.map(Box::new).map(List::All),
        ListFormat::Excel => all(ask, Dialect::Spreadsheet).await.map(Box::new).map(List::All),
    }
}

async fn page(ask: Ask<Query, UsersParams>) -> Result<Json<UsersAnswer>, Problem> {
    let (tenant_id, questions) = (ask.tenant_id().unwrap_or_default(), ask.questions()?);
    let paged = Paged::read(ask.params.clone(), ask.params.cursor.clone(), &ask.query, tenant_id)?;
    let params = &paged.params;
    let reading = ask.reading(ask.params.question.min_position).await?;
    let tenant = tenant(&ask, &reading)?;
    let mut asked = params.asked(tenant, (paged.now, paged.after.clone()), &reading);
    if let Some(position) = paged.position {
        asked.question = asked.question.known_until(position);
    }
    let question = asked.question;
    let page = questions.users(&reading, asked).await?;
    let at = question.at(page.now);
    let (since, window) = (question.since(at), params.question.window());
    let position = page.stands_still.then_some(page.position);
    let next_cursor = page.next().map(|after| paged.next(tenant_id, (page.now, position), after));
    let version = Version::of(&reading, page.position);
    let row = |(user_id, state): &(Box<str>, _)| {
        UserRow::new((tenant_id, user_id), state, (since, &window), ask.positions())
    };
    let body = UsersAnswer {
        users: page.users.iter().map(row).collect(),
        next_cursor,
        window: window.text.clone(),
        as_of: question.as_of,
        at,
        position: ask.show(page.position),
        definition: DEFINITION,
    };
    Ok(Json::new(body).rows(page.users.len()).version(params.is_fixed().then_some(version)))
}

async fn all(ask: Ask<Query, UsersParams>, dialect: Dialect) -> Result<Stream<CsvUsers>, Problem> {
    let (questions, params) = (ask.questions()?, &ask.params);
    for (name, is_given) in [("limit", params.limit.is_some()), ("cursor", params.cursor.is_some())] {
        if is_given {
            let detail = "CSV has all users at once: expected no limit and no cursor";
            return Err(Problem::invalid_parameter(name, detail));
        }
    }
    let reading = ask.reading(params.question.min_position).await?;
    let tenant = tenant(&ask, &reading)?;
    let permit = questions.download(reading.asker()).await?;
    let export = questions.export(&reading, params.asked(tenant, (None, None), &reading)).await?;
    let tenant_id = ask.tenant_id().unwrap_or_default().to_owned();
    let (window, positions) = (params.question.window(), ask.positions().clone());
    let pieces = CsvUsers { export, tenant_id, window, dialect, positions, begun: false };
    let stall_timeout = ask.app().stall_timeout;
    Ok(Stream { headers: pieces.headers(), pieces, permit, stall_timeout })
}

fn tenant(ask: &Ask<Query, UsersParams>, reading: &Reading) -> Result<TenantOrdinal, Problem> {
    let is_known_whole = ask.params.question.known_at.is_none();
    match ask.questions()?.scope(reading, ask.tenant_id(), is_known_whole)? {
        Scope::Tenant(tenant) => Ok(tenant),
        Scope::All => Err(Problem::unknown_tenant()),
    }
}
