//! `GET /v1/active-users` and `GET /v1/tenants/{tenant_id}/active-users`: how many users were active day by day, or
//! period by period.

use std::sync::Arc;

use lastseen_event::UtcInstant;
use lastseen_projections::SeriesRow;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::{Answer, DEFINITION, Json, Table, Version};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::span::SeriesParams;
use crate::http::params::value::{Length, Of};
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::questions::series::Series;
use crate::questions::span::Span;

/// The beginning of an answer about days.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct SpanHead {
    /// The tenant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) tenant_id: Option<String>,
    /// An IANA time zone.
    pub(in crate::http) tz: &'static str,
    pub(in crate::http) period: &'static str,
    /// Whom the numbers count: `members` or `persons`.
    pub(in crate::http) of: &'static str,
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    pub(in crate::http) from: String,
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    pub(in crate::http) to: String,
    /// The instant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) as_of: Option<UtcInstant>,
    /// The instant for which the answer holds.
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) at: UtcInstant,
}

impl SpanHead {
    pub(super) fn new(tenant_id: Option<&str>, span: &Span, at: UtcInstant) -> Self {
        Self {
            tenant_id: tenant_id.map(str::to_owned),
            tz: span.zone.name(),
            period: Length::of(span.periods.period).as_str(),
            of: if span.of_persons { Of::Persons } else { Of::Members }.as_str(),
            from: span.periods.days.start().to_string(),
            to: span.periods.days.end().to_string(),
            as_of: span.selection.occurred_until,
            at,
        }
    }
}

/// Numbers of active users, period by period.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct ActiveUsers {
    #[serde(flatten)]
    pub(in crate::http) head: SpanHead,
    pub(in crate::http) rows: Vec<Row>,
    /// The mean of `active` over the last 30 days that are over and not after `to`, divided by the `mau` of the last of
    /// them. Null: that is 0.
    pub(in crate::http) stickiness: Option<f64>,
    #[serde(flatten)]
    pub(in crate::http) reflected: Reflected,
    /// The version of the definitions of the numbers.
    pub(in crate::http) definition: u32,
}

impl Answer for ActiveUsers {
    const NAME: &'static str = "ActiveUsers";
    const EXAMPLE: &'static str = include_str!("../description/examples/ActiveUsers.json");
    const HAS_ETAG: bool = true;
    const TABLE: Option<Table<Self>> = Some(Table {
        file: "active-users.csv",
        position: |answer| &answer.reflected.position,
        write: |answer, writer| answer.rows.iter().try_for_each(|row| writer.serialize(row)),
    });
}

/// One period.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "SeriesRow")]
pub(in crate::http) struct Row {
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    pub(in crate::http) from: String,
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    pub(in crate::http) to: String,
    pub(in crate::http) active: u64,
    /// Active on the day or in the six before it; rows of days only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) wau: Option<u64>,
    /// Active on the day or in the 29 before it; rows of days only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) mau: Option<u64>,
    pub(in crate::http) new: u64,
    pub(in crate::http) returning: u64,
    pub(in crate::http) resurrected: u64,
    pub(in crate::http) dormant: u64,
    /// Those of `active` whom only estimates make active.
    pub(in crate::http) estimated: u64,
    /// Those of `mau` whom only estimates make active; rows of days only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) mau_estimated: Option<u64>,
    /// Everybody by the end of the period, active or not; where it is not over, at `at`.
    pub(in crate::http) total: u64,
    /// True if the period is not over yet.
    pub(in crate::http) partial: bool,
}

impl Row {
    pub(super) fn new(row: &SeriesRow, partial: bool) -> Self {
        let SeriesRow { days, active, estimated, windows, new, returning, resurrected, dormant, total } = row;
        Self {
            from: days.start().to_string(),
            to: days.end().to_string(),
            active: *active,
            wau: windows.map(|windows| windows.wau),
            mau: windows.map(|windows| windows.mau),
            new: *new,
            returning: *returning,
            resurrected: *resurrected,
            dormant: *dormant,
            estimated: *estimated,
            mau_estimated: windows.map(|windows| windows.mau_estimated),
            total: *total,
            partial,
        }
    }
}

/// `GET /v1/active-users`, also of one tenant
pub(in crate::http) async fn active_users(
    ask: Ask<Query, SeriesParams>,
) -> Result<Json<ActiveUsers>, Problem> {
    let (questions, params) = (ask.questions()?, &ask.params);
    let reading = ask.reading(params.span.days.min_position).await?;
    let scope = questions.scope(&reading, ask.tenant_id(), params.span.known_at.is_none())?;
    let dates = params.span.dates(params.period.unwrap_or_default());
    let span = questions.span(dates, &reading).await?;
    let series = questions.series(&reading, scope, span).await?;
    let Series { span, rows, stickiness, position, at } = Arc::as_ref(&series);
    let rows: Vec<_> = rows.iter().map(|row| Row::new(row, span.is_partial(*row.days.end(), *at))).collect();
    // With both dates given and every period over, nothing but new events changes a row.
    let is_fixed = params.span.is_fixed() && rows.iter().all(|row| !row.partial);
    let version = Version::of(&reading, *position);
    let (count, head) = (rows.len(), SpanHead::new(ask.tenant_id(), span, *at));
    let body = ActiveUsers {
        head,
        rows,
        stickiness: *stickiness,
        reflected: ask.reflected(*position)?,
        definition: DEFINITION,
    };
    Ok(Json::new(body).format(params.format).rows(count).version(is_fixed.then_some(version)))
}
