//! Cohorts: the members who were new in a week or a month, and how many of them were active after.

use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Cohort, Scope};

use super::Questions;
use super::admission::{Cost, Kind, Permit};
use super::error::QuestionError;
use super::series::SCAN_BYTES_A_MEMBER;
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
        let members = self.model.log().members().len();
        let cost = if span.is_live() {
            Cost { kind: Kind::Cohorts, bytes: members }
        } else {
            Cost { kind: Kind::Scan, bytes: members * SCAN_BYTES_A_MEMBER }
        };
        let key = (format!("{scope:?} {}", span.key()), reading);
        self.shared(&self.flights.cohorts, key, cost, move |asking, reading, permit| {
            asking.count_cohorts(&reading, scope, span, &permit).map(Arc::new)
        })
        .await
    }

    fn count_cohorts(
        &self,
        reading: &Reading,
        scope: Scope,
        span: Arc<Span>,
        permit: &Permit,
    ) -> Result<Cohorts, QuestionError> {
        let (live, position) = {
            let views = reading.views();
            (span.is_live().then(|| views.days(scope, span.days.clone())), views.position())
        };
        let sets = match live {
            Some(sets) => sets,
            None => {
                self.scan_days((reading, position), (scope, &span, span.days.clone()), permit.deadline())?
            }
        };
        permit.deadline().check()?;
        Ok(Cohorts { rows: sets.cohorts(span.period), span, position, at: reading.at })
    }
}
