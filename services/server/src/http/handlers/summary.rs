//! `GET /v1/summary` and `GET /v1/tenants/{tenant_id}/summary`: how many there are and how many are active.

use lastseen_event::UtcInstant;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::counts::Counts;
use crate::http::answer::{Answer, DEFINITION, Json, Version};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::params;
use crate::http::params::question::QuestionParams;
use crate::http::params::value::Previous;
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::questions::summary::Counted;

params! {
    /// Numbers of a scope.
    SummaryParams {
        ..question: QuestionParams,
        /// `previous`: adds the counts one window earlier, in `previous`
        compare: Previous = "none",
    }
}

/// Counts of users; over all tenants also of tenants and persons.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct Summary {
    /// The tenant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) tenant_id: Option<String>,
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
    pub(in crate::http) counts: Counts,
    /// The instant, inclusive, until which an estimate makes somebody active. Null: none does.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) estimates_until: Option<UtcInstant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) previous: Option<Counts>,
    #[serde(flatten)]
    pub(in crate::http) reflected: Reflected,
    /// The version of the definitions of the numbers.
    pub(in crate::http) definition: u32,
}

impl Answer for Summary {
    const NAME: &'static str = "Summary";
    const EXAMPLE: &'static str = include_str!("../description/examples/Summary.json");
    const HAS_ETAG: bool = true;
}

/// `GET /v1/summary`, also of one tenant
pub(in crate::http) async fn summary(ask: Ask<Query, SummaryParams>) -> Result<Json<Summary>, Problem> {
    let (questions, params) = (ask.questions()?, &ask.params);
    let reading = ask.reading(params.question.min_position).await?;
    let scope = questions.scope(&reading, ask.tenant_id(), params.question.known_at.is_none())?;
    let question = params.question.question(reading.at);
    let (counted, previous) = match params.compare {
        Some(Previous) => {
            let (counted, previous) = questions.summary_with_previous(&reading, scope, &question).await?;
            (counted, Some(previous))
        }
        None => (questions.summary(&reading, scope, &question).await?, None),
    };
    let counts = |counted: &Counted| Counts::from(&counted.summary);
    let version = Version::of(&reading, counted.position);
    Ok(Json::new(Summary {
        tenant_id: ask.tenant_id().map(str::to_owned),
        window: params.question.window().text,
        as_of: question.as_of,
        at: counted.at,
        counts: counts(&counted),
        estimates_until: counted.summary.last_estimate_at.map(|at| at.saturating_add(question.window)),
        previous: previous.as_ref().map(counts),
        reflected: ask.reflected(counted.position)?,
        definition: DEFINITION,
    })
    .version(params.question.is_fixed().then_some(version)))
}
