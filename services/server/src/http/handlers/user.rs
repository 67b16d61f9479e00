//! `GET /v1/tenants/{tenant_id}/users/{user_id}`: one user.

use lastseen_event::UtcInstant;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::user::UserRow;
use crate::http::answer::{Answer, DEFINITION, Json};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::question::QuestionParams;
use crate::http::problem::Problem;
use crate::http::schema;
use crate::keys::seal::ShownPosition;

/// One user.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "User")]
pub(in crate::http) struct UserAnswer {
    #[serde(flatten)]
    user: UserRow,
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

impl Answer for UserAnswer {
    const NAME: &'static str = "User";
    const EXAMPLE: &'static str = include_str!("../description/examples/User.json");
}

/// `GET /v1/tenants/{tenant_id}/users/{user_id}`
pub(in crate::http) async fn user(ask: Ask<Query, QuestionParams>) -> Result<Json<UserAnswer>, Problem> {
    let reading = ask.reading(ask.params.min_position).await?;
    let (question, window) = (ask.params.question(reading.at), ask.params.window());
    let (state, position) = ask.questions()?.user(&reading, ask.user(), &question).await?;
    let at = question.at(reading.at);
    Ok(Json::new(UserAnswer {
        user: UserRow::new(ask.user(), &state, (question.since(at), &window), ask.positions()),
        window: window.text,
        as_of: question.as_of,
        at,
        position: ask.show(position),
        definition: DEFINITION,
    }))
}
