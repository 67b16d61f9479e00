//! `GET /v1/tenants/{tenant_id}/users/{user_id}/events`: one user's history, newest first, page by page.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lastseen_event::wire::encode_ndjson;
use lastseen_event::{MemberOrdinal, Position};
use lastseen_projections::Retracted;
use lastseen_store::{Detail, EventReader, EventStore, Filter, ReadError, Scan};

use super::answer::DEFINITION;
use super::params::Params;
use super::scope;
use super::tenant::tenant;
use crate::app::AppState;
use crate::engine::Engine;
use crate::problem::Problem;
use crate::tasks;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// `GET /v1/tenants/{tenant_id}/users/{user_id}/events`
pub(crate) async fn list(
    State(app): AppState,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Path((tenant_id, user_id)) = path.map_err(Problem::invalid_path)?;
    let params = Params::parse(query.as_deref(), &["limit", "cursor", "min_position"])?;
    let limit = params.get("limit", super::limit::<LIMIT_MAX>)?.unwrap_or(LIMIT_DEFAULT);
    let cursor = params.get("cursor", cursor)?;
    let engine = app.engine()?;
    let live = scope::live(engine, &params).await?;
    tenant((engine, &live), &tenant_id)?;
    let member = engine.log.members().find(&tenant_id, &user_id).ok_or_else(Problem::unknown_user)?;
    live.read().member(member.member).ok_or_else(Problem::unknown_user)?;
    let position = engine.position();
    let before = cursor.map_or(position, |before| before.min(position));
    let reading = engine.clone();
    let left_out = live.read().retracted().clone();
    let found = tasks::blocking(move || newest(&reading, (member.member, before), &left_out, limit));
    let lines = found.await.map_err(|error| Problem::unreadable(&error))?;
    Ok(answer(&lines, limit, position))
}

fn answer(lines: &[Line], limit: usize, position: Position) -> Response {
    let shown = &lines[..lines.len().min(limit)];
    let mut body = b"{\"events\":[".to_vec();
    for (at, (_, line)) in shown.iter().enumerate() {
        body.extend_from_slice(if at == 0 { b"" } else { b"," });
        body.extend_from_slice(line.trim_ascii_end());
    }
    // The page begins behind the last event of this one.
    let next = shown.last().filter(|_| lines.len() > limit).map(|(last, _)| format!("\"{}\"", last.get()));
    let next = next.unwrap_or_else(|| "null".to_owned());
    let rest =
        format!("],\"next_cursor\":{next},\"position\":{},\"definition\":{DEFINITION}}}", position.get());
    body.extend_from_slice(rest.as_bytes());
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// An event as a line, and where it stands.
type Line = (Position, Vec<u8>);

/// The latest events of a member up to a position, newest first: one more than `limit` where there are more. Goes back
/// part by part of the log and stops when it has them.
fn newest(
    engine: &Arc<Engine>,
    (member, before): (MemberOrdinal, Position),
    left_out: &Retracted,
    limit: usize,
) -> Result<Vec<Line>, ReadError> {
    let filter = Filter { member: Some(member), ..Filter::default() };
    let mut lines: Vec<Line> = Vec::new();
    let mut until = before;
    for after in engine.log.parts().into_iter().rev().filter(|after| *after < before) {
        let wanted = limit + 1 - lines.len();
        let mut part: VecDeque<Line> = VecDeque::new();
        let mut reader = engine.log.scan(Scan { after, until: Some(until), detail: Detail::Events, filter });
        while let Some(batch) = reader.next_batch()? {
            for (fact, event) in batch.facts.iter().zip(batch.events.iter()) {
                if part.len() == wanted {
                    part.pop_front();
                }
                let mut line = Vec::new();
                encode_ndjson(&event, fact.position, fact.recorded_at, &mut line);
                if left_out.has(fact) {
                    // It stays on record, and counts no more.
                    line.truncate(line.trim_ascii_end().len() - 1);
                    line.extend_from_slice(b",\"retracted\":true}");
                }
                part.push_back((fact.position, line));
            }
        }
        lines.extend(part.into_iter().rev());
        if lines.len() > limit {
            break;
        }
        until = after;
    }
    Ok(lines)
}

/// The position of the last event that was shown; the next page ends before it.
fn cursor(text: &str) -> Result<Position, &'static str> {
    let last: Option<u64> = text.parse().ok();
    last.and_then(|last| last.checked_sub(1))
        .map(Position::new)
        .ok_or("expected the next_cursor of a page before")
}
