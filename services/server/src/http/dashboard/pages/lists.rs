//! `GET /tenants`, `GET /users`, `GET /tenants/{tenant_id}/users` and `GET /events`.

use lastseen_projections::Window;

use crate::http::ask::Ask;
use crate::http::auth::Look;
use crate::http::dashboard::answered::{Answered, Api};
use crate::http::dashboard::asked::{Asked, PageParams, Resolved, segment};
use crate::http::dashboard::page::Page;
use crate::http::dashboard::templates::layout::{Contents, Place};
use crate::http::dashboard::templates::lists::{
    People, PeopleRow, PeopleRows, events as latest_events, latest_request, people,
};
use crate::http::dashboard::templates::message;
use crate::http::dashboard::templates::parts::asked_before;
use crate::http::dashboard::templates::tenants::{SORTS, contents as tenants_contents};
use crate::http::dashboard::templates::view::View;
use crate::http::handlers::summary::{self, Summary};
use crate::http::handlers::tenants as tenants_api;
use crate::http::handlers::users::{self as users_api, PersonsAnswer, UsersAnswer};
use crate::http::params::params;
use crate::http::params::value::{Conditions, Prefix};
use crate::http::problem::Problem;
use crate::questions::tenants::TenantSort;
use crate::questions::users::Sort;

/// Rows of a page of a list.
const ROWS: &str = "50";

params! {
    /// A page of the list of tenants.
    TenantsPageParams {
        ..page: PageParams,
        /// `tenant_id` or the name of a count; `-` in front: descending
        sort: TenantSort = "`-active_users`",
        /// a `next_cursor` of this list
        cursor: String = "the first page",
        /// the number of the page, for its reader
        page_number: u64 = "`1`",
    }
}

params! {
    /// A page of a list of people.
    PeoplePageParams {
        ..page: PageParams,
        /// a comma list of `active`, `inactive`, `pending`, `never_seen`, `deleted`, `left_out`
        status: Conditions = "all but `deleted` and `left_out`",
        /// a duration
        window: Window = "`30d`",
        /// the beginning of the user id
        prefix: Prefix = "any",
        /// `last_seen_at` or `created_at`, descending with `-` in front, or `user_id`
        sort: Sort = "`-last_seen_at`",
        /// a `next_cursor` of this list
        cursor: String = "the first page",
        /// the number of the page, for its reader
        page_number: u64 = "`1`",
    }
}

/// The number of a page, which is for its reader alone.
fn page_number(given: Option<u64>) -> u64 {
    given.unwrap_or(1).clamp(1, 1_000_000)
}

/// A page about all tenants, for a key that is bound to some of them.
fn for_bound(asked: Box<Asked>, place: Place) -> Result<Box<Asked>, Page> {
    match asked.reader.tenants.clone() {
        None => Ok(asked),
        Some(tenants) => {
            Err(Page::of(asked, tenants, move |view, tenants| message::bound(view, tenants, place)))
        }
    }
}

/// `GET /tenants`
pub(in crate::http) async fn tenants(ask: Ask<Look, TenantsPageParams>) -> Result<Page, Problem> {
    let asked = match Asked::of(&ask, &ask.params.page)? {
        Resolved::Page(asked) => asked,
        Resolved::Elsewhere(address) => return Ok(Page::Elsewhere(address)),
    };
    let asked = match for_bound(asked, Place::Tenants) {
        Ok(asked) => asked,
        Err(page) => return Ok(page),
    };
    let sort = ask.params.sort.and_then(|_| ask.query.text("sort")).unwrap_or(SORTS[0].0).to_owned();
    let mut own = vec![("sort", sort.as_str()), ("limit", ROWS), ("compare", "previous"), ("trend", "30")];
    own.extend(ask.params.cursor.as_deref().map(|cursor| ("cursor", cursor)));
    let api = asked.question("/v1/tenants", &own);
    let list = Api::of(&ask, asked.now).json(("/v1/tenants", api), tenants_api::tenants).await;
    let number = page_number(ask.params.page_number);
    Ok(Page::of(asked, (list, sort), move |view, (list, sort)| tenants_contents(view, list, (number, sort))))
}

/// The list of a page: of users, or of persons.
enum Listed {
    Users(Answered<UsersAnswer>),
    Persons(Answered<PersonsAnswer>),
}

/// Everything that a page of people shows.
struct Gathered {
    tenant_id: Option<String>,
    summary: Answered<Summary>,
    listed: Listed,
    status: Option<String>,
    window: String,
    prefix: Option<String>,
    sort: String,
    page: u64,
    whole: [String; 2],
}

/// `GET /users` and `GET /tenants/{tenant_id}/users`
pub(in crate::http) async fn users(ask: Ask<Look, PeoplePageParams>) -> Result<Page, Problem> {
    let asked = match Asked::of(&ask, &ask.params.page)? {
        Resolved::Page(asked) => asked,
        Resolved::Elsewhere(address) => return Ok(Page::Elsewhere(address)),
    };
    let tenant_id = ask.tenant_id().map(str::to_owned);
    let asked = if tenant_id.is_some() {
        asked
    } else {
        match for_bound(asked, Place::Users) {
            Ok(asked) => asked,
            Err(page) => return Ok(page),
        }
    };
    let of_persons = asked.is_of_persons() && tenant_id.is_none();
    let (pattern, path) = match (&tenant_id, of_persons) {
        (Some(tenant_id), _) => {
            ("/v1/tenants/{tenant_id}/users", format!("/v1/tenants/{}/users", segment(tenant_id)))
        }
        (None, true) => ("/v1/persons", "/v1/persons".to_owned()),
        (None, false) => ("/v1/users", "/v1/users".to_owned()),
    };
    let PeoplePageParams { status, window, prefix, sort, .. } = &ask.params;
    let given = [
        ("status", status.is_some()),
        ("window", window.is_some()),
        ("prefix", prefix.is_some()),
        ("sort", sort.is_some()),
    ];
    // Passed on as they were written, once they were read.
    let texts = given.map(|(name, is_given)| ask.query.text(name).filter(|_| is_given).map(str::to_owned));
    let filters: Vec<(&str, &str)> =
        given.iter().zip(&texts).filter_map(|((name, _), text)| Some((*name, text.as_deref()?))).collect();
    let cursor = ask.params.cursor.as_deref().map(|cursor| ("cursor", cursor));
    let api = asked.question(&path, &[&filters[..], &[("limit", ROWS)], cursor.as_slice()].concat());
    let whole =
        ["csv", "excel"].map(|format| asked.question(&path, &[&filters[..], &[("format", format)]].concat()));
    let asking = Api::of(&ask, asked.now);
    let listed = async {
        if of_persons {
            Listed::Persons(asking.list((pattern, api), users_api::persons).await)
        } else {
            Listed::Users(asking.list((pattern, api), users_api::users).await)
        }
    };
    let [status, window, prefix, sort] = texts;
    let window = window.unwrap_or_else(|| "30d".to_owned());
    let scope = tenant_id
        .as_ref()
        .map_or_else(|| "/v1".to_owned(), |tenant_id| format!("/v1/tenants/{}", segment(tenant_id)));
    let pattern = if tenant_id.is_some() { "/v1/tenants/{tenant_id}/summary" } else { "/v1/summary" };
    let counts = asked.question(&format!("{scope}/summary"), &[("window", &window)]);
    let (listed, summary) = tokio::join!(listed, asking.json((pattern, counts), summary::summary));
    // A tenant that is not there has no list.
    let summary = if tenant_id.is_some() { summary.or_no_page()? } else { summary };
    let gathered = Gathered {
        tenant_id,
        summary,
        listed,
        status,
        window,
        prefix,
        sort: sort.unwrap_or_else(|| "-last_seen_at".to_owned()),
        page: page_number(ask.params.page_number),
        whole,
    };
    Ok(Page::of(asked, gathered, people_contents))
}

fn people_contents(view: &View<'_>, gathered: &Gathered) -> Contents {
    let Gathered { tenant_id, summary, listed, status, window, prefix, sort, page, whole } = gathered;
    let (api, before, rows) = match listed {
        Listed::Users(users) => {
            let rows = users.answer.as_ref().map(|answer| PeopleRows {
                rows: answer.users.iter().map(PeopleRow::User).collect(),
                total: answer.tail.total,
                next_cursor: answer.tail.next_cursor.as_deref(),
                position: answer.tail.reflected.position.to_string(),
            });
            (&users.api, asked_before(view, users), rows)
        }
        Listed::Persons(persons) => {
            let rows = persons.answer.as_ref().map(|answer| PeopleRows {
                rows: answer.persons.iter().map(PeopleRow::Person).collect(),
                total: answer.tail.total,
                next_cursor: answer.tail.next_cursor.as_deref(),
                position: answer.tail.reflected.position.to_string(),
            });
            (&persons.api, asked_before(view, persons), rows)
        }
    };
    let statuses = status.as_deref().map(|text| text.split(',').collect()).unwrap_or_default();
    let list = People {
        tenant_id: tenant_id.as_deref(),
        summary,
        statuses,
        window,
        prefix: prefix.as_deref(),
        sort,
        page: *page,
        api,
        before,
        whole: whole.clone(),
        rows,
    };
    people(view, &list)
}

/// `GET /events`
pub(in crate::http) async fn events(ask: Ask<Look, PageParams>) -> Result<Page, Problem> {
    let asked = match Asked::of(&ask, &ask.params)? {
        Resolved::Page(asked) => asked,
        Resolved::Elsewhere(address) => return Ok(Page::Elsewhere(address)),
    };
    let asked = match for_bound(asked, Place::Events) {
        Ok(asked) => asked,
        Err(page) => return Ok(page),
    };
    let latest = Api::of(&ask, asked.now).newest(latest_request("100", None)).await;
    Ok(Page::of(asked, latest, latest_events))
}
