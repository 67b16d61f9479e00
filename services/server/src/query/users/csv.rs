//! A whole list as CSV: the rows of one instant are collected, sorted aside and streamed in pieces.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use lastseen_event::UtcInstant;
use lastseen_projections::{MemberState, Scope, Window};

use super::ListQuery;
use crate::engine::Engine;
use crate::live::SharedViews;
use crate::problem::Problem;
use crate::query::page::{Lister, compare_places};
use crate::query::row::UserRow;
use crate::query::scope::Answering;
use crate::query::tenant::tenant;
use crate::tasks;

/// Rows turned into text at a time.
const PIECE_ROWS: usize = 1_000;

/// The list as `text/csv` with a header row; `Lastseen-Position` is the position it reflects.
pub(super) async fn answer(
    (engine, live): (&Arc<Engine>, &SharedViews),
    tenant_id: String,
    list: &ListQuery,
) -> Result<Response, Problem> {
    let tenant = tenant((engine, live), &tenant_id)?;
    let at = list.question.at(engine.now());
    let filter = list.filter(at);
    let (mut users, position) = {
        let mut views = Answering::question((engine, live), Scope::Tenant(tenant), &list.question).await?;
        let position = views.position();
        let lister = Lister { log: &engine.log, tenant, filter: &filter, sort: list.sort };
        let mut users: Vec<(Box<str>, MemberState)> = Vec::new();
        lister.each(&mut views, |members, user| users.push((user.user_id(members).into(), user.state)));
        (users, position)
    };
    let sort = list.sort;
    let users = tasks::blocking(move || {
        users.sort_unstable_by(|a, b| compare_places(sort, place(a), place(b)));
        users
    });
    let rows =
        Rows { tenant_id, users: users.await, window: list.question.window.clone(), since: filter.since };
    let pieces = rows.users.len().div_ceil(PIECE_ROWS).max(1);
    let stream = futures_util::stream::iter((0..pieces).map(move |piece| rows.piece(piece)));
    let headers = [
        (CONTENT_TYPE.as_str(), "text/csv; charset=utf-8".to_owned()),
        (CONTENT_DISPOSITION.as_str(), "attachment; filename=\"users.csv\"".to_owned()),
        ("lastseen-position", position.get().to_string()),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

fn place((user_id, state): &(Box<str>, MemberState)) -> (Option<UtcInstant>, &str) {
    (state.last_seen.map(|seen| seen.at), user_id)
}

struct Rows {
    tenant_id: String,
    users: Vec<(Box<str>, MemberState)>,
    window: Window,
    since: UtcInstant,
}

impl Rows {
    /// The header row with the first piece.
    fn piece(&self, piece: usize) -> Result<Vec<u8>, std::io::Error> {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        if piece == 0 {
            writer.write_record(UserRow::COLUMNS)?;
        }
        for (user_id, state) in self.users.iter().skip(piece * PIECE_ROWS).take(PIECE_ROWS) {
            let row = UserRow::new((&self.tenant_id, user_id), state, (self.since, &self.window));
            writer.serialize(row)?;
        }
        writer.into_inner().map_err(|error| std::io::Error::other(error.to_string()))
    }
}
