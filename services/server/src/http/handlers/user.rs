//! `GET /v1/tenants/{tenant_id}/users/{user_id}`: one user.

use lastseen_event::UtcInstant;
use lastseen_projections::MemberState;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::user::UserRow;
use crate::http::answer::{Answer, DEFINITION, Json};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::question::QuestionParams;
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::questions::user::User;

/// One user.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "User")]
pub(in crate::http) struct UserAnswer {
    #[serde(flatten)]
    pub(in crate::http) user: UserRow,
    /// Events about the user, those of retracted batches left out.
    pub(in crate::http) total_events: u32,
    /// The backfill that last seen came with. Null: none, or the key is bound to tenants.
    pub(in crate::http) last_seen_batch: Option<String>,
    /// The same user id in other tenants, by bytes of `tenant_id`. Null: more than 100, or the server runs with
    /// `--persons off`, or the key is bound to tenants.
    pub(in crate::http) memberships: Option<Vec<Membership>>,
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

impl Answer for UserAnswer {
    const NAME: &'static str = "User";
    const EXAMPLE: &'static str = include_str!("../description/examples/User.json");
}

/// The same user id in another tenant.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct Membership {
    pub(in crate::http) tenant_id: String,
    #[schemars(with = "schema::UserStatus")]
    pub(in crate::http) status: &'static str,
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) last_seen_at: Option<UtcInstant>,
}

/// `GET /v1/tenants/{tenant_id}/users/{user_id}`
pub(in crate::http) async fn user(ask: Ask<Query, QuestionParams>) -> Result<Json<UserAnswer>, Problem> {
    let reading = ask.reading(ask.params.min_position).await?;
    let (question, window) = (ask.params.question(reading.at), ask.params.window());
    let questions = ask.questions()?;
    let user = questions.user(&reading, ask.user(), &question).await?;
    let User { state, last_seen_batch, others, position } = user;
    let at = question.at(reading.at);
    let since = question.since(at);
    let membership = |(tenant_id, state): &(Box<str>, MemberState)| Membership {
        tenant_id: tenant_id.to_string(),
        status: state.status(since).as_str(),
        last_seen_at: state.last_seen.map(|seen| seen.at),
    };
    // Batches and other tenants are not for everybody.
    let sees_all = !ask.positions().are_sealed();
    let others = others.filter(|_| sees_all && questions.check_persons().is_ok());
    let others = others.map(|others| others.iter().map(membership).collect());
    Ok(Json::new(UserAnswer {
        user: UserRow::new(ask.user(), &state, (since, &window), ask.positions()),
        total_events: state.events,
        last_seen_batch: last_seen_batch.filter(|_| sees_all).map(String::from),
        memberships: others,
        window: window.text,
        as_of: question.as_of,
        at,
        reflected: ask.reflected(position)?,
        definition: DEFINITION,
    }))
}
