//! `GET /v1/tenants/{tenant_id}/users/{user_id}/events`: one user's history, the newest event first, page by page.

use lastseen_event::Position;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::http::answer::{Answer, DEFINITION, Json, Version};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::params;
use crate::http::params::value::{EventCursor, PageLimit};
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema::events::RecordedEvent;

params! {
    /// A page of a user's events. The cursor is the position of the last event that was shown.
    UserEventsParams {
        /// an integer from 1 to 1000
        limit: PageLimit = "`100`",
        /// a `next_cursor` of this list
        cursor: EventCursor = "the first page",
        /// a position
        min_position: Position = "none",
    }
}

/// A page of the events of one user.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct UserEvents {
    #[schemars(with = "Vec<RecordedEvent>")]
    pub(in crate::http) events: Vec<Box<RawValue>>,
    /// Events of the whole list, those of retracted batches among them.
    pub(in crate::http) total: u64,
    /// The cursor of the next page; null on the last one.
    pub(in crate::http) next_cursor: Option<String>,
    #[serde(flatten)]
    pub(in crate::http) reflected: Reflected,
    /// The version of the definitions of the numbers.
    pub(in crate::http) definition: u32,
}

impl Answer for UserEvents {
    const NAME: &'static str = "UserEvents";
    const EXAMPLE: &'static str = include_str!("../description/examples/UserEvents.json");
    const HAS_ETAG: bool = true;
}

/// `GET /v1/tenants/{tenant_id}/users/{user_id}/events`
pub(in crate::http) async fn user_events(
    ask: Ask<Query, UserEventsParams>,
) -> Result<Json<UserEvents>, Problem> {
    let reading = ask.reading(ask.params.min_position).await?;
    let limit = ask.params.limit.unwrap_or_default().0;
    let before = ask.params.cursor.map(|cursor| cursor.0);
    let page = ask
        .questions()?
        .latest_events(&reading, ask.user(), before, (limit, ask.positions().clone()))
        .await?;
    let raw = |event: Vec<u8>| {
        let text = String::from_utf8(event).expect("an encoded event is UTF-8");
        RawValue::from_string(text).expect("an encoded event is JSON")
    };
    let events: Vec<_> = page.events.into_iter().map(raw).collect();
    let rows = events.len();
    let version = Version::of(&reading, page.position);
    let body = UserEvents {
        events,
        total: page.total,
        next_cursor: page.next.map(|position| ask.show(position).to_string()),
        reflected: ask.reflected(page.position)?,
        definition: DEFINITION,
    };
    Ok(Json::new(body).rows(rows).version(Some(version)))
}
