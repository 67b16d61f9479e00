//! Cohorts: those who were new in a period, and how many of them were active after.

use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Cohort, Scope};

use super::Questions;
use super::admission::{Cost, Kind};
use super::error::{Overload, QuestionError};
use super::span::Span;
use crate::read_model::Reading;

/// The cohorts of a span, and when they hold.
#[derive(Debug)]
pub(crate) struct Cohorts {
    pub(crate) span: Arc<Span>,
    /// One for each period, in order.
    pub(crate) rows: Vec<Cohort>,
    /// The last position they reflect.
    pub(crate) position: Position,
    /// The instant that they hold for.
    pub(crate) at: UtcInstant,
}

/// Tries to count from days that may be followed no longer a moment later.
const TRIES: usize = 3;

impl Questions {
    /// The cohorts of a span.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub(crate) async fn cohorts(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        span: Arc<Span>,
    ) -> Result<Arc<Cohorts>, QuestionError> {
        for _ in 0..TRIES {
            let days = self.days_of(reading, scope, &span).await?;
            let bytes = self.model.log().members().len();
            let (key, span) = ((format!("{scope:?} {}", span.key()), reading), span.clone());
            let counted = self.shared(
                &self.flights.cohorts,
                key,
                Cost { kind: Kind::Cohorts, bytes },
                move |asking, reading, permit| {
                    let deadline = permit.deadline();
                    let sets = asking.sets((&reading, &days), (scope, &span), &span.periods, deadline)?;
                    let Some((sets, position, _)) = sets else { return Ok(None) };
                    deadline.check()?;
                    let at = span.at(reading.at);
                    Ok(Some(Arc::new(Cohorts { rows: sets.cohorts(), span, position, at })))
                },
            );
            if let Some(cohorts) = counted.await? {
                return Ok(cohorts);
            }
        }
        Err(QuestionError::Overloaded(Overload::Definitions))
    }
}
