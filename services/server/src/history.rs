//! Questions about a part of history: the log is read up to a fixed position and folded into views of its own,
//! beside the live ones.

use std::sync::Arc;

use lastseen_event::Position;
use lastseen_projections::{Selection, Views, ViewsBuilder};
use lastseen_store::{Detail, EventReader, EventStore, ReadError};

use crate::engine::Engine;
use crate::problem::Problem;
use crate::tasks;

/// Views of a part of history and the last position they reflect.
pub(crate) struct Folded {
    pub(crate) views: Views,
    pub(crate) position: Position,
}

/// Folds what each of `selections` chooses, in one pass over the log up to its present tail.
///
/// # Errors
/// A [`Problem`] where the log cannot be read.
pub(crate) async fn fold(engine: &Arc<Engine>, selections: Vec<Selection>) -> Result<Vec<Folded>, Problem> {
    let permit = engine.scans.clone().acquire_owned().await.map_err(|_| Problem::closing())?;
    let engine = engine.clone();
    let folded = tasks::blocking(move || {
        let _permit = permit;
        scan(&engine, &selections)
    });
    folded.await.map_err(|error| Problem::unreadable(&error))
}

fn scan(engine: &Engine, selections: &[Selection]) -> Result<Vec<Folded>, ReadError> {
    let until = engine.log.tail().position();
    let mut folds: Vec<_> = selections
        .iter()
        .map(|selection| (*selection, ViewsBuilder::new(*selection), Position::START))
        .collect();
    let mut reader = engine.log.read(Position::START, Detail::Facts);
    while let Some(batch) = reader.next_batch()? {
        for (selection, builder, position) in &mut folds {
            for fact in batch.facts.iter().take_while(|fact| fact.position <= until) {
                builder.apply(fact);
                if known(selection, fact) {
                    *position = fact.position;
                }
            }
        }
        if batch.facts.last().is_some_and(|last| last.position >= until) {
            break;
        }
    }
    Ok(folds.into_iter().map(|(_, builder, position)| Folded { views: builder.finish(), position }).collect())
}

/// Whether the fact was on record where the selection looks from, whenever it occurred.
fn known(selection: &Selection, fact: &lastseen_event::Fact) -> bool {
    Selection { occurred_until: None, ..*selection }.keeps(fact)
}
