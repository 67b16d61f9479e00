//! `GET /v1/tenants/{tenant_id}/users/{user_id}`: one user.

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::Window;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::user::UserRow;
use crate::http::answer::{Answer, DEFINITION, Json};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::params;
use crate::http::problem::Problem;
use crate::http::schema;
use crate::keys::seal::ShownPosition;

params! {
    /// Users at the present instant.
    UserParams {
        /// a duration
        window: Window = "`30d`",
        /// a position
        min_position: Position = "none",
    }
}

/// One user.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "User")]
pub(in crate::http) struct UserAnswer {
    #[serde(flatten)]
    user: UserRow,
    /// The window that was asked for.
    window: String,
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
pub(in crate::http) async fn user(ask: Ask<Query, UserParams>) -> Result<Json<UserAnswer>, Problem> {
    let reading = ask.reading(ask.params.min_position).await?;
    let window = ask.params.window.clone().unwrap_or_default();
    let (state, position) = ask.questions()?.user(&reading, ask.user())?;
    let since = reading.at.saturating_sub(window.span);
    Ok(Json::new(UserAnswer {
        user: UserRow::new(ask.user(), &state, (since, &window), ask.positions()),
        window: window.text,
        at: reading.at,
        position: ask.show(position),
        definition: DEFINITION,
    }))
}
