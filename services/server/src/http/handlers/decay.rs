//! `GET /v1/decay` and `GET /v1/tenants/{tenant_id}/decay`: how many of the active stay so, if nobody came back.

use lastseen_event::UtcInstant;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::{Answer, DEFINITION, Json, Table, Version};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::params;
use crate::http::params::question::QuestionParams;
use crate::http::params::value::{DayCount, TableFormat};
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::questions::decay::StillActive;

params! {
    /// Days to come.
    DecayParams {
        ..question: QuestionParams,
        /// an integer from 1 to 366
        days: DayCount = "`30`",
        /// `json` or `csv`
        format: TableFormat = "`json`",
    }
}

/// Those who are still active on the days to come, if nobody came back.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Decay")]
pub(in crate::http) struct DecayAnswer {
    /// The tenant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) tenant_id: Option<String>,
    /// One every 24 hours after `at`.
    pub(in crate::http) rows: Vec<Row>,
    /// The window that was asked for.
    pub(in crate::http) window: String,
    /// The instant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) as_of: Option<UtcInstant>,
    /// The instant from which on nobody comes back.
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) at: UtcInstant,
    #[serde(flatten)]
    pub(in crate::http) reflected: Reflected,
    /// The version of the definitions of the numbers.
    pub(in crate::http) definition: u32,
}

impl Answer for DecayAnswer {
    const NAME: &'static str = "Decay";
    const EXAMPLE: &'static str = include_str!("../description/examples/Decay.json");
    const HAS_ETAG: bool = true;
    const TABLE: Option<Table<Self>> = Some(Table {
        file: "decay.csv",
        position: |answer| &answer.reflected.position,
        write: |answer, writer| answer.rows.iter().try_for_each(|row| writer.serialize(row)),
    });
}

/// One day to come.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "DecayRow")]
pub(in crate::http) struct Row {
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) at: UtcInstant,
    /// Still active: `observed` and `estimated`.
    pub(in crate::http) active: u64,
    /// Through an event that happened.
    pub(in crate::http) observed: u64,
    /// Through a guess from older data.
    pub(in crate::http) estimated: u64,
}

/// `GET /v1/decay`, also of one tenant
pub(in crate::http) async fn decay(ask: Ask<Query, DecayParams>) -> Result<Json<DecayAnswer>, Problem> {
    let (questions, params) = (ask.questions()?, &ask.params);
    let reading = ask.reading(params.question.min_position).await?;
    let scope = questions.scope(&reading, ask.tenant_id(), params.question.known_at.is_none())?;
    let question = params.question.question(reading.at);
    let days = params.days.unwrap_or_default().0;
    let decay = questions.decay(&reading, (scope, days), &question).await?;
    let row = |row: &StillActive| Row {
        at: row.at,
        active: row.observed + row.estimated,
        observed: row.observed,
        estimated: row.estimated,
    };
    let version = Version::of(&reading, decay.position);
    let body = DecayAnswer {
        tenant_id: ask.tenant_id().map(str::to_owned),
        rows: decay.rows.iter().map(row).collect(),
        window: params.question.window().text,
        as_of: question.as_of,
        at: decay.at,
        reflected: ask.reflected(decay.position)?,
        definition: DEFINITION,
    };
    let json = Json::new(body).format(params.format).rows(decay.rows.len());
    Ok(json.version(params.question.is_fixed().then_some(version)))
}
