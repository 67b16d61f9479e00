//! `GET /v1/persons/{user_id}`: one person with its memberships in all tenants.

use lastseen_event::UtcInstant;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::person::PersonRow;
use crate::http::answer::user::UserRow;
use crate::http::answer::{Answer, DEFINITION, Json};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::question::QuestionParams;
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;

/// One person.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Person")]
pub(in crate::http) struct PersonAnswer {
    #[serde(flatten)]
    pub(in crate::http) person: PersonRow,
    /// All of them, also those that are deleted or left out, by bytes of `tenant_id`.
    pub(in crate::http) memberships: Vec<UserRow>,
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

impl Answer for PersonAnswer {
    const NAME: &'static str = "Person";
    const EXAMPLE: &'static str = include_str!("../description/examples/Person.json");
}

/// `GET /v1/persons/{user_id}`
pub(in crate::http) async fn person(ask: Ask<Query, QuestionParams>) -> Result<Json<PersonAnswer>, Problem> {
    let reading = ask.reading(ask.params.min_position).await?;
    let (question, window) = (ask.params.question(reading.at), ask.params.window());
    let (_, user_id) = ask.user();
    let questions = ask.questions()?;
    questions.check_persons().map_err(|_| Problem::persons_off())?;
    let person = questions.person(&reading, user_id, &question).await?;
    let at = question.at(reading.at);
    let since = question.since(at);
    let membership = |(tenant_id, state): &(Box<str>, _)| {
        UserRow::new((tenant_id, user_id), state, (since, &window), ask.positions())
    };
    let memberships: Vec<_> = person.memberships.iter().map(membership).collect();
    let rows = memberships.len();
    Ok(Json::new(PersonAnswer {
        person: PersonRow::new(&person.person, (since, &window), ask.positions()),
        memberships,
        window: window.text,
        as_of: question.as_of,
        at,
        reflected: ask.reflected(person.position)?,
        definition: DEFINITION,
    })
    .rows(rows))
}
