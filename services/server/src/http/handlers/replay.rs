//! `GET /v1/events`: history in order, streamed as NDJSON.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use lastseen_event::{Position, UtcInstant};
use lastseen_store::{EventTypes, Filter};
use schemars::{SchemaGenerator, json_schema};

use crate::http::answer::{Pieces, Stream, UNTIL, of_position};
use crate::http::ask::Ask;
use crate::http::auth;
use crate::http::description::Content;
use crate::http::params::params;
use crate::http::params::value::{EventLimit, NewestFirst};
use crate::http::problem::Problem;
use crate::http::reflected::ThisLog;
use crate::http::schema::events::RecordedEvent;
use crate::keys::seal::Positions;
use crate::questions::events::{Replay, ReplayQuestion};
use crate::questions::moment::Moment;

params! {
    /// A replay.
    ReplayParams {
        /// a position; only events above it
        after: Position = "`0`",
        /// a position, inclusive
        until: Position = "the last one when the replay begins",
        /// an instant, inclusive
        recorded_since: Moment = "none",
        /// an instant, exclusive
        recorded_before: Moment = "none",
        /// an instant, inclusive
        occurred_since: Moment = "none",
        /// an instant, exclusive
        occurred_before: Moment = "none",
        /// a tenant
        tenant_id: String = "all",
        /// a user id; in every tenant if `tenant_id` is absent
        user_id: String = "all",
        /// a comma list of event types
        types: EventTypes = "all",
        /// `newest`: the last ones, at most `limit`, the newest first
        order: NewestFirst = "that of positions",
        /// an integer of at least 1; at most so many events; with `order=newest` at most 1000
        limit: EventLimit = "none; with `order=newest` 100",
        /// a position
        min_position: Position = "none",
    }
}

/// Text sent at once, at least, where there is more.
const PIECE_BYTES: usize = 256 * 1024;

/// The lines on their way.
pub(in crate::http) enum Lines {
    InOrder(Box<Replay>),
    /// All of them; `None` once they were sent.
    NewestFirst(Option<Vec<u8>>),
}

impl Pieces for Lines {
    const NAME: &'static str = "Events";

    fn describe(generator: &mut SchemaGenerator) -> (Vec<Content>, Vec<(&'static str, &'static str)>) {
        let schema = json_schema!({
            "type": "string",
            "description": "One event a line, in order of position.",
            "contentMediaType": "application/x-ndjson",
            "contentSchema": generator.subschema_for::<RecordedEvent>(),
        });
        let content = Content::new("application/x-ndjson", schema);
        (vec![content], vec![("Lastseen-Until", "The last position that the replay reaches.")])
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::InOrder(replay) => Ok(replay.next(PIECE_BYTES)?),
            Self::NewestFirst(text) => Ok(text.take().filter(|text| !text.is_empty())),
        }
    }
}

impl ReplayParams {
    fn asked(&self, now: UtcInstant, positions: Positions) -> ReplayQuestion {
        let since = |moment: Option<Moment>| moment.map(|moment| moment.at_utc(now));
        // The store's bounds are inclusive; instants are whole microseconds.
        let before = |moment: Option<Moment>| {
            moment.map(|moment| UtcInstant::from_micros(moment.at_utc(now).as_micros().saturating_sub(1)))
        };
        ReplayQuestion {
            after: self.after.unwrap_or(Position::START),
            until: self.until,
            filter: Filter {
                types: self.types,
                occurred_since: since(self.occurred_since),
                occurred_until: before(self.occurred_before),
                recorded_since: since(self.recorded_since),
                recorded_until: before(self.recorded_before),
                ..Filter::default()
            },
            tenant_id: self.tenant_id.clone(),
            user_id: self.user_id.clone(),
            limit: self.limit.map(|limit| limit.0),
            positions,
        }
    }
}

/// `GET /v1/events`
pub(in crate::http) async fn replay(ask: Ask<auth::Replay, ReplayParams>) -> Result<Stream<Lines>, Problem> {
    /// Most lines, where the newest come first.
    const NEWEST_MAX: u64 = 1_000;
    /// Their number where none is asked for.
    const NEWEST: u64 = 100;
    let (questions, params) = (ask.questions()?, &ask.params);
    let log = ask.model()?.log();
    if params.after.is_some_and(|after| after > log.tail().position()) {
        return Err(Problem::position_ahead(ThisLog::of(log, ask.positions())));
    }
    let reading = ask.reading(params.min_position).await?;
    let asked = params.asked(reading.at, ask.positions().clone());
    let (pieces, until, permit) = if params.order.is_some() {
        let limit = params.limit.map_or(NEWEST, |limit| limit.0);
        if limit > NEWEST_MAX {
            let detail = "expected at most 1000 with order=newest";
            return Err(Problem::invalid_parameter("limit", detail));
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (text, until) = questions.newest(&reading, asked, limit).await?;
        (Lines::NewestFirst(Some(text)), until, questions.download(reading.asker()).await?)
    } else {
        let replay = questions.replay(&reading, asked)?;
        let until = replay.until;
        (Lines::InOrder(Box::new(replay)), until, questions.download(reading.asker()).await?)
    };
    let headers = vec![
        (CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        of_position(UNTIL, &ask.show(until)),
    ];
    let stall_timeout = ask.app().stall_timeout;
    Ok(Stream { pieces, headers, permit, stall_timeout })
}
