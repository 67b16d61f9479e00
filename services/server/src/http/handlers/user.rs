//! `GET /v1/tenants/{tenant_id}/users/{user_id}`: one user.

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::Window;
use serde::Serialize;

use crate::http::answer::user::UserRow;
use crate::http::answer::{Answer, DEFINITION, Json};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::params;
use crate::http::problem::Problem;
use crate::keys::seal::ShownPosition;

params! {
    /// Users at the present instant.
    UserParams {
        window: Window,
        min_position: Position,
    }
}

#[derive(Serialize)]
pub(in crate::http) struct UserAnswer {
    #[serde(flatten)]
    user: UserRow,
    window: String,
    at: UtcInstant,
    position: ShownPosition,
    definition: u32,
}

impl Answer for UserAnswer {
    const NAME: &'static str = "User";
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
