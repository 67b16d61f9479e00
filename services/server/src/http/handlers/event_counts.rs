//! `GET /v1/event-counts` and `GET /v1/tenants/{tenant_id}/event-counts`: how many events of each type occurred day by
//! day, or period by period.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use lastseen_event::{EventType, Position, UtcInstant};
use lastseen_projections::{Day, TypeSet, WeekStart};
use lastseen_store::EventTypes;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::{Answer, DEFINITION, Json, Table, Version, Writer};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::params;
use crate::http::params::value::{Length, Previous, TableFormat};
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::questions::moment::KnownAt;
use crate::questions::span::{Dates, Span};
use crate::questions::traffic::TrafficRow;

params! {
    /// Traffic.
    EventCountsParams {
        /// a date such as `2026-01-31`
        from: Day = "29 days before `to`",
        /// a date
        to: Day = "today in `tz`",
        /// an IANA time zone such as `Europe/Berlin`
        tz: Tz = "`UTC`",
        /// `day`, `week`, `month`, `quarter` or `year`
        period: Length = "`day`",
        /// the first day of a week, `monday` or `sunday`
        week_start: WeekStart = "`monday`",
        /// a comma list of event types
        types: EventTypes = "all",
        /// a position or an instant, inclusive
        known_at: KnownAt = "all events",
        /// `previous`: adds as many rows of the periods right before, in `previous`
        compare: Previous = "none",
        /// a position
        min_position: Position = "none",
        /// `json` or `csv`
        format: TableFormat = "`json`",
    }
}

/// Numbers of events, period by period.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct EventCounts {
    /// The tenant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) tenant_id: Option<String>,
    /// An IANA time zone.
    pub(in crate::http) tz: &'static str,
    pub(in crate::http) period: &'static str,
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    pub(in crate::http) from: String,
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    pub(in crate::http) to: String,
    /// The instant for which the answer holds.
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) at: UtcInstant,
    pub(in crate::http) rows: Vec<Row>,
    /// Rows of the periods right before, as many as `rows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) previous: Option<Vec<Row>>,
    #[serde(flatten)]
    pub(in crate::http) reflected: Reflected,
    /// The version of the definitions of the numbers.
    pub(in crate::http) definition: u32,
}

impl Answer for EventCounts {
    const NAME: &'static str = "EventCounts";
    const EXAMPLE: &'static str = include_str!("../description/examples/EventCounts.json");
    const HAS_ETAG: bool = true;
    const TABLE: Option<Table<Self>> = Some(Table {
        file: "event-counts.csv",
        position: |answer| &answer.reflected.position,
        write: Self::write,
    });
}

impl EventCounts {
    /// A column for each type. Rows of the periods before stand beside those that are compared with them.
    fn write(&self, writer: &mut Writer) -> csv::Result<()> {
        let types = || self.rows.first().into_iter().flat_map(|row| row.counts.keys().copied());
        let before = || {
            let names = ["from", "to"].into_iter().chain(types());
            self.previous.iter().flat_map(move |_| names.clone().map(|name| format!("previous_{name}")))
        };
        let own = ["from", "to"].into_iter().chain(types()).chain(["partial"]);
        writer.write_record(own.map(str::to_owned).chain(before()))?;
        for (at, row) in self.rows.iter().enumerate() {
            let previous = self.previous.as_ref().and_then(|rows| rows.get(at));
            let before = previous.into_iter().flat_map(Row::cells);
            writer.write_record(row.cells().chain([row.partial.to_string()]).chain(before))?;
        }
        Ok(())
    }
}

/// The events of one period.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "EventCountsRow")]
pub(in crate::http) struct Row {
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    pub(in crate::http) from: String,
    /// Inclusive.
    #[schemars(with = "schema::Date")]
    pub(in crate::http) to: String,
    /// Each type that was asked for, also one without an event.
    pub(in crate::http) counts: BTreeMap<&'static str, u64>,
    /// True if the period is not over yet.
    pub(in crate::http) partial: bool,
}

impl Row {
    /// The dates and the counts.
    fn cells(&self) -> impl Iterator<Item = String> {
        let dates = [self.from.clone(), self.to.clone()];
        dates.into_iter().chain(self.counts.values().map(u64::to_string))
    }

    fn new(row: &TrafficRow, types: Option<EventTypes>, partial: bool) -> Self {
        let wanted = |event_type: &EventType| types.is_none_or(|types| types.contains(*event_type));
        let types = EventType::PUBLISHABLE.iter().copied().filter(wanted);
        Self {
            from: row.days.start().to_string(),
            to: row.days.end().to_string(),
            counts: types.map(|event_type| (event_type.as_str(), row.counts.of(event_type))).collect(),
            partial,
        }
    }
}

/// `GET /v1/event-counts`, also of one tenant
pub(in crate::http) async fn event_counts(
    ask: Ask<Query, EventCountsParams>,
) -> Result<Json<EventCounts>, Problem> {
    let (questions, params) = (ask.questions()?, &ask.params);
    let reading = ask.reading(params.min_position).await?;
    let scope = questions.scope(&reading, ask.tenant_id(), params.known_at.is_none())?;
    let dates = Dates {
        from: params.from,
        to: params.to,
        zone: params.tz.unwrap_or(Tz::UTC),
        period: params.period.unwrap_or_default().period(params.week_start),
        of_persons: false,
        as_of: None,
        known_at: params.known_at,
        types: TypeSet::all(),
        observed_only: false,
        everyone: false,
    };
    let span = questions.span(dates, &reading).await?;
    let traffic = questions.traffic(&reading, (scope, span.clone()), params.compare.is_some()).await?;
    let span: &Span = &span;
    let row = |row: &TrafficRow| Row::new(row, params.types, span.is_partial(*row.days.end(), traffic.at));
    let rows: Vec<_> = traffic.rows.iter().map(row).collect();
    let is_absolute = match params.known_at {
        Some(KnownAt::Moment(moment)) => moment.is_absolute(),
        Some(KnownAt::Position(_)) | None => true,
    };
    let is_fixed =
        is_absolute && params.from.is_some() && params.to.is_some() && rows.iter().all(|row| !row.partial);
    let (count, version) = (rows.len(), Version::of(&reading, traffic.position));
    let body = EventCounts {
        tenant_id: ask.tenant_id().map(str::to_owned),
        tz: span.zone.name(),
        period: Length::of(span.periods.period).as_str(),
        from: span.periods.days.start().to_string(),
        to: span.periods.days.end().to_string(),
        at: traffic.at,
        rows,
        previous: traffic.previous.as_ref().map(|rows| rows.iter().map(row).collect()),
        reflected: ask.reflected(traffic.position)?,
        definition: DEFINITION,
    };
    Ok(Json::new(body).format(params.format).rows(count).version(is_fixed.then_some(version)))
}
