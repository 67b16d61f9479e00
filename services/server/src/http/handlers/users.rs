//! `GET /v1/users`, `GET /v1/tenants/{tenant_id}/users` and `GET /v1/persons`: users of all tenants, of one, and the
//! persons behind them, filtered, sorted, page by page or all at once.

use axum::response::Response;
use lastseen_event::UtcInstant;
use lastseen_projections::Scope;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;

use crate::http::answer::list::{Notation, WholeList};
use crate::http::answer::person::PersonRow;
use crate::http::answer::user::UserRow;
use crate::http::answer::{Answer, DEFINITION, Json, Reply, Stream, Version, Wants};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::description::Success;
use crate::http::params::cursor::{Cursor, Paged};
use crate::http::params::params;
use crate::http::params::question::QuestionParams;
use crate::http::params::value::{Conditions, ListFormat, PageLimit, Prefix};
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::questions::moment::Moment;
use crate::questions::place::Place;
use crate::questions::users::{NamedUser, Sort, UsersFilter, UsersPage, UsersQuestion, Whom};
use crate::read_model::Reading;

params! {
    /// A list of users.
    UsersParams {
        ..question: QuestionParams,
        /// `last_seen_at` or `created_at`, descending with `-` in front, or `user_id`
        sort: Sort = "`-last_seen_at`",
        /// a comma list of `active`, `inactive`, `pending`, `never_seen`, `deleted`, `left_out`
        status: Conditions = "all but `deleted` and `left_out`",
        /// an instant, inclusive
        seen_since: Moment = "none",
        /// an instant, exclusive
        seen_before: Moment = "none",
        /// an instant, inclusive
        created_since: Moment = "none",
        /// an instant, exclusive
        created_before: Moment = "none",
        /// the beginning of the user id
        prefix: Prefix = "any",
        /// an integer from 1 to 1000; JSON only
        limit: PageLimit = "`100`",
        /// a `next_cursor` of this list; JSON only
        cursor: Cursor = "the first page",
        /// `json`, `csv`, `excel` or `ndjson`
        format: ListFormat = "`json`",
    }
}

/// The end of an answer with a list.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct ListTail {
    /// Rows of the whole list.
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

/// A page of users.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Users")]
pub(in crate::http) struct UsersAnswer {
    pub(in crate::http) users: Vec<UserRow>,
    #[serde(flatten)]
    pub(in crate::http) tail: ListTail,
}

impl Answer for UsersAnswer {
    const NAME: &'static str = "Users";
    const EXAMPLE: &'static str = include_str!("../description/examples/Users.json");
    const HAS_ETAG: bool = true;
}

/// A page of persons.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Persons")]
pub(in crate::http) struct PersonsAnswer {
    pub(in crate::http) persons: Vec<PersonRow>,
    #[serde(flatten)]
    pub(in crate::http) tail: ListTail,
}

impl Answer for PersonsAnswer {
    const NAME: &'static str = "Persons";
    const EXAMPLE: &'static str = include_str!("../description/examples/Persons.json");
    const HAS_ETAG: bool = true;
}

/// A page, or all of the list.
pub(in crate::http) enum List<A> {
    Page(Json<A>),
    All(Box<Stream<WholeList>>),
}

impl<A: Answer> List<A> {
    /// The page, which was asked for.
    pub(in crate::http) fn into_page(self) -> Result<A, Problem> {
        match self {
            Self::Page(page) => Ok(page.into_body()),
            Self::All(_) => Err(Problem::invalid_parameter("format", "expected a page")),
        }
    }
}

impl<A: Answer> Reply for List<A> {
    const NAME: &'static str = A::NAME;

    fn describe(generator: &mut SchemaGenerator) -> Success {
        let page = Json::<A>::describe(generator);
        let all = Stream::<WholeList>::describe(generator);
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
    fn bounds(&self) -> impl Iterator<Item = Moment> {
        let bounds = [self.seen_since, self.seen_before, self.created_since, self.created_before];
        bounds.into_iter().flatten()
    }

    fn asked(
        &self,
        whom: Whom,
        (now, after): (Option<UtcInstant>, Option<Place>),
        reading: &Reading,
    ) -> UsersQuestion {
        let is_relative = self.question.is_relative() || !self.bounds().all(Moment::is_absolute);
        let fixed = now.or(is_relative.then_some(reading.at));
        let now = fixed.unwrap_or(reading.at);
        let at = |moment: Option<Moment>| moment.map(|moment| moment.at_utc(now));
        UsersQuestion {
            whom,
            question: self.question.question(now),
            filter: UsersFilter {
                conditions: self.status.clone().unwrap_or_default().0,
                seen_since: at(self.seen_since),
                seen_before: at(self.seen_before),
                created_since: at(self.created_since),
                created_before: at(self.created_before),
                prefix: self.prefix.clone().unwrap_or_default().0,
            },
            sort: self.sort.unwrap_or_default(),
            now: fixed,
            after,
            limit: self.limit.unwrap_or_default().0,
        }
    }

    /// True if position and parameters alone decide the answer.
    fn is_fixed(&self) -> bool {
        self.question.is_fixed() && self.bounds().all(Moment::is_absolute)
    }
}

/// `GET /v1/users`, also of one tenant
pub(in crate::http) async fn users(ask: Ask<Query, UsersParams>) -> Result<List<UsersAnswer>, Problem> {
    let row = |user: &NamedUser, since, window: &_, ask: &Ask<Query, UsersParams>| {
        UserRow::new((&user.tenant_id, &user.user_id), &user.state, (since, window), ask.positions())
    };
    list(ask, false, row, |users, tail| UsersAnswer { users, tail }).await
}

/// `GET /v1/persons`
pub(in crate::http) async fn persons(ask: Ask<Query, UsersParams>) -> Result<List<PersonsAnswer>, Problem> {
    let row = |user: &NamedUser, since, window: &_, ask: &Ask<Query, UsersParams>| {
        PersonRow::new(user, (since, window), ask.positions())
    };
    list(ask, true, row, |persons, tail| PersonsAnswer { persons, tail }).await
}

async fn list<A: Answer, R>(
    ask: Ask<Query, UsersParams>,
    of_persons: bool,
    row: impl Fn(&NamedUser, UtcInstant, &lastseen_projections::Window, &Ask<Query, UsersParams>) -> R,
    answer: impl FnOnce(Vec<R>, ListTail) -> A,
) -> Result<List<A>, Problem> {
    let notation = match ask.params.format.unwrap_or_default() {
        ListFormat::Json => return page(ask, of_persons, row, answer).await.map(List::Page),
        ListFormat::Csv => Notation::Csv,
        ListFormat::Excel => Notation::Excel,
        ListFormat::Ndjson => Notation::Ndjson,
    };
    all(ask, of_persons, notation).await.map(Box::new).map(List::All)
}

async fn page<A: Answer, R>(
    ask: Ask<Query, UsersParams>,
    of_persons: bool,
    row: impl Fn(&NamedUser, UtcInstant, &lastseen_projections::Window, &Ask<Query, UsersParams>) -> R,
    answer: impl FnOnce(Vec<R>, ListTail) -> A,
) -> Result<Json<A>, Problem> {
    // No tenant has such an id.
    let all = if of_persons { "\u{0}persons" } else { "\u{0}users" };
    let (list, questions) = (ask.tenant_id().unwrap_or(all), ask.questions()?);
    let paged = Paged::read(ask.params.clone(), ask.params.cursor.clone(), &ask.query, list)?;
    let params = &paged.params;
    let reading = ask.reading(ask.params.question.min_position).await?;
    let whom = whom(&ask, params, of_persons, &reading)?;
    let mut asked = params.asked(whom, (paged.now, paged.after.clone()), &reading);
    if let Some(position) = paged.position {
        asked.question = asked.question.known_until(position);
    }
    let question = asked.question;
    let page = questions.users(&reading, asked).await?;
    let UsersPage { users, next, total, position, now, stands_still } = &*page;
    let (at, window) = (question.at(*now), params.question.window());
    let since = question.since(at);
    let next_cursor = next.clone().map(|after| {
        let stands_at = stands_still.then_some(*position);
        paged.next(list, (*now, stands_at), after)
    });
    let rows = users.iter().map(|user| row(user, since, &window, &ask)).collect();
    let tail = ListTail {
        total: *total,
        next_cursor,
        window: window.text.clone(),
        as_of: question.as_of,
        at,
        reflected: ask.reflected(*position)?,
        definition: DEFINITION,
    };
    let version = Version::of(&reading, *position);
    Ok(Json::new(answer(rows, tail)).rows(users.len()).version(params.is_fixed().then_some(version)))
}

async fn all(
    ask: Ask<Query, UsersParams>,
    of_persons: bool,
    notation: Notation,
) -> Result<Stream<WholeList>, Problem> {
    let (questions, params) = (ask.questions()?, &ask.params);
    for (name, is_given) in [("limit", params.limit.is_some()), ("cursor", params.cursor.is_some())] {
        if is_given {
            let detail = "this format has all rows at once: expected no limit and no cursor";
            return Err(Problem::invalid_parameter(name, detail));
        }
    }
    let reading = ask.reading(params.question.min_position).await?;
    let whom = whom(&ask, params, of_persons, &reading)?;
    let permit = questions.download(reading.asker()).await?;
    let export = questions.export(&reading, params.asked(whom, (None, None), &reading)).await?;
    let (window, positions) = (params.question.window(), ask.positions().clone());
    let pieces = WholeList { export, of_persons, window, notation, positions, begun: false };
    let stall_timeout = ask.app().stall_timeout;
    Ok(Stream { headers: pieces.headers(), pieces, permit, stall_timeout })
}

/// Those whom the list is about.
fn whom(
    ask: &Ask<Query, UsersParams>,
    params: &UsersParams,
    of_persons: bool,
    reading: &Reading,
) -> Result<Whom, Problem> {
    let questions = ask.questions()?;
    if of_persons {
        questions.check_persons().map_err(|_| Problem::persons_off())?;
        return Ok(Whom::Persons);
    }
    let is_known_whole = params.question.known_at.is_none();
    let scope: Scope = questions.scope(reading, ask.tenant_id(), is_known_whole)?;
    Ok(Whom::Members(scope))
}
