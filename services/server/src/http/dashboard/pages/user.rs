//! `GET /tenants/{tenant_id}/users/{user_id}` and `GET /persons/{user_id}`.

use futures_util::future::join_all;

use crate::http::ask::Ask;
use crate::http::auth::Look;
use crate::http::dashboard::answered::{Answered, Api};
use crate::http::dashboard::asked::{Asked, PageParams, Resolved, segment};
use crate::http::dashboard::page::Page;
use crate::http::dashboard::templates::layout::Place;
use crate::http::dashboard::templates::message;
use crate::http::dashboard::templates::user::{
    EVENTS_MAX, OnePerson, OneUser, person as person_contents, user as user_contents,
};
use crate::http::handlers::user_events::{self, UserEvents};
use crate::http::handlers::{person as person_api, user as user_api, why};
use crate::http::problem::Problem;

/// `GET /tenants/{tenant_id}/users/{user_id}`
pub(in crate::http) async fn user(ask: Ask<Look, PageParams>) -> Result<Page, Problem> {
    let asked = match Asked::of(&ask, &ask.params)? {
        Resolved::Page(asked) => asked,
        Resolved::Elsewhere(address) => return Ok(Page::Elsewhere(address)),
    };
    let (api, (tenant_id, user_id)) = (Api::of(&ask, asked.now), ask.user());
    let path = format!("/v1/tenants/{}/users/{}", segment(tenant_id), segment(user_id));
    let pattern = "/v1/tenants/{tenant_id}/users/{user_id}";
    let why_pattern = "/v1/tenants/{tenant_id}/users/{user_id}/why";
    let (user, why, events) = tokio::join!(
        api.json((pattern, asked.question(&path, &[])), user_api::user),
        api.json((why_pattern, asked.question(&format!("{path}/why"), &[])), why::why),
        events(&api, (tenant_id, user_id)),
    );
    let user = user.or_no_page()?;
    let one = OneUser { tenant_id: tenant_id.to_owned(), user_id: user_id.to_owned(), user, why, events };
    Ok(Page::of(asked, one, user_contents))
}

async fn events(api: &Api<'_, PageParams>, (tenant_id, user_id): (&str, &str)) -> Answered<UserEvents> {
    let (tenant, user) = (segment(tenant_id), segment(user_id));
    let events = format!("/v1/tenants/{tenant}/users/{user}/events?limit={EVENTS_MAX}");
    let pattern = "/v1/tenants/{tenant_id}/users/{user_id}/events";
    api.json((pattern, events), user_events::user_events).await
}

/// `GET /persons/{user_id}`
pub(in crate::http) async fn person(ask: Ask<Look, PageParams>) -> Result<Page, Problem> {
    /// Most lanes of the timeline.
    const LANES_MAX: usize = 12;
    let asked = match Asked::of(&ask, &ask.params)? {
        Resolved::Page(asked) => asked,
        Resolved::Elsewhere(address) => return Ok(Page::Elsewhere(address)),
    };
    if let Some(tenants) = asked.reader.tenants.clone() {
        return Ok(Page::of(asked, tenants, |view, tenants| message::bound(view, tenants, Place::Users)));
    }
    let (api, (_, user_id)) = (Api::of(&ask, asked.now), ask.user());
    let question = asked.question(&format!("/v1/persons/{}", segment(user_id)), &[]);
    let person = api.json(("/v1/persons/{user_id}", question), person_api::person).await;
    let person = person.or_no_page()?;
    let known = person.ok();
    let memberships = known.iter().flat_map(|person| &person.memberships).take(LANES_MAX);
    let lanes = memberships.map(|row| async {
        (row.tenant_id.clone(), Box::pin(events(&api, (&row.tenant_id, user_id))).await)
    });
    let lanes = join_all(lanes).await;
    let one = OnePerson { user_id: user_id.to_owned(), person, events: lanes };
    Ok(Page::of(asked, one, person_contents))
}
