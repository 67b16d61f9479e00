//! `POST /v1/tenants/{tenant_id}/users/lookup`: many users of one tenant in one call.

use lastseen_event::UtcInstant;
use lastseen_event::wire::describe_json_error;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::http::answer::user::UserRow;
use crate::http::answer::{Answer, DEFINITION, Json};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::body::{self, decompress};
use crate::http::description::{Content, ENCODING, RequestBody};
use crate::http::params::question::QuestionParams;
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::tasks;

/// Most users in one call.
const USER_IDS_MAX: usize = 1_000;
/// Room for that many of the longest ids with every character escaped.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The users to look up.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lookup {
    #[schemars(length(max = USER_IDS_MAX))]
    user_ids: Vec<String>,
}

/// The body of a request: the ids.
pub(in crate::http) fn body(generator: &mut SchemaGenerator) -> RequestBody {
    let example = include_str!("../description/examples/Lookup.json");
    RequestBody {
        about: "The ids.",
        content: vec![Content::json::<Lookup>(generator, example)],
        headers: vec![ENCODING],
    }
}

/// Users by their ids.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct LookedUp {
    /// In the order they were asked for.
    users: Vec<UserRow>,
    unknown: Vec<String>,
    /// The window that was asked for.
    window: String,
    /// The instant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    as_of: Option<UtcInstant>,
    /// The instant for which the answer holds.
    #[schemars(with = "schema::Instant")]
    at: UtcInstant,
    #[serde(flatten)]
    reflected: Reflected,
    /// The version of the definitions of the numbers.
    definition: u32,
}

impl Answer for LookedUp {
    const NAME: &'static str = "LookedUp";
    const EXAMPLE: &'static str = include_str!("../description/examples/LookedUp.json");
}

/// `POST /v1/tenants/{tenant_id}/users/lookup`
pub(in crate::http) async fn lookup(ask: Ask<Query, QuestionParams>) -> Result<Json<LookedUp>, Problem> {
    ask.questions()?;
    let Lookup { user_ids } = read(&ask).await?;
    let reading = ask.reading(ask.params.min_position).await?;
    let (question, window) = (ask.params.question(reading.at), ask.params.window());
    let tenant_id = ask.tenant_id().unwrap_or_default().to_owned();
    let asked = (tenant_id.clone(), user_ids);
    let found = ask.questions()?.look_up(&reading, asked, &question).await?;
    let at = question.at(reading.at);
    let since = question.since(at);
    let row = |(user_id, state): &(String, _)| {
        UserRow::new((&tenant_id, user_id), state, (since, &window), ask.positions())
    };
    let rows = found.users.len();
    Ok(Json::new(LookedUp {
        users: found.users.iter().map(row).collect(),
        unknown: found.unknown,
        window: window.text.clone(),
        as_of: question.as_of,
        at,
        reflected: ask.reflected(found.position)?,
        definition: DEFINITION,
    })
    .rows(rows))
}

async fn read(ask: &Ask<Query, QuestionParams>) -> Result<Lookup, Problem> {
    let (found, media_type) = body::content_type(&ask.headers);
    if media_type != "application/json" {
        return Err(Problem::unsupported_media_type("application/json", found));
    }
    let encoding = decompress::Encoding::of_headers(&ask.headers)?;
    let body = body::read(ask.take_body(), BODY_BYTES_MAX, ask.app()).await?;
    let text = move || encoding.text(body, BODY_BYTES_MAX);
    let (text, _memory) = if encoding.is_compressed() {
        tasks::blocking(text).await.map_err(Problem::of_this_request)?
    } else {
        text()?
    };
    if text.trim_ascii().is_empty() {
        return Err(Problem::empty_body(r#"expected {"user_ids":[...]}"#));
    }
    let lookup: Lookup = serde_json::from_slice(&text).map_err(|error| {
        let found = describe_json_error(&error);
        Problem::invalid_json(format_args!(r#"expected {{"user_ids":["..."]}}: {found}"#))
    })?;
    if lookup.user_ids.len() > USER_IDS_MAX {
        let detail = format_args!("expected at most {USER_IDS_MAX} ids, found {}", lookup.user_ids.len());
        return Err(Problem::invalid_field("user_ids", detail));
    }
    Ok(lookup)
}
