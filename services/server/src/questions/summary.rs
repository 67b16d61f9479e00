//! The numbers of a scope: now, at any instant, over the events that count.

use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Scope, Summary};

use super::Questions;
use super::admission::{Cost, Kind};
use super::as_of::{self, AsOfAnswer};
use super::error::QuestionError;
use super::question::Question;
use crate::read_model::Reading;

/// Numbers, and when they hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) summary: Summary,
    /// The last position they reflect.
    pub(crate) position: Position,
    /// The instant that they hold for.
    pub(crate) at: UtcInstant,
}

/// Bytes that a count as of an instant takes a member: bitmaps and two bits.
const AS_OF_BYTES_A_MEMBER: usize = 2;

impl Questions {
    /// The numbers of a scope. Of now, the live views tell them in microseconds.
    ///
    /// # Errors
    /// [`QuestionError`] where history is read.
    pub(crate) async fn summary(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        question: &Question,
    ) -> Result<Counted, QuestionError> {
        let at = question.at(reading.at);
        let since = question.since(at);
        if question.is_as_of()
            && let AsOfAnswer::Counted(summary, position) = self.as_of(reading, (scope, since, at)).await?
        {
            return Ok(Counted { summary, position, at });
        }
        let source = self.source(reading, scope, question).await?;
        let views = source.hold();
        let (summary, live) = (views.summary(scope, since), views.position());
        drop(views);
        let position = if question.is_live() { live } else { source.position_of_now() };
        Ok(Counted { summary, position, at })
    }

    /// The numbers of a scope, and those of one window before, both at the same position.
    ///
    /// # Errors
    /// [`QuestionError`] where history is read.
    pub(crate) async fn summary_with_previous(
        self: &Arc<Self>,
        reading: &Reading,
        scope: Scope,
        question: &Question,
    ) -> Result<(Counted, Counted), QuestionError> {
        /// Attempts to count both from the live views before all of history is folded instead.
        const TRIES: usize = 3;
        let earlier = question.previous(question.at(reading.at));
        if question.is_live() || question.is_as_of() {
            for _ in 0..TRIES {
                let previous = self.summary(reading, scope, &earlier).await?;
                let counted = self.summary(reading, scope, question).await?;
                // An event after the previous numbers that had occurred by then would have changed them.
                if reading.views().reach_of(previous.at) <= previous.position {
                    return Ok((counted, previous));
                }
            }
        }
        let [question, earlier] = [*question, earlier].map(|it| it.known_until(reading.position));
        let previous = self.summary(reading, scope, &earlier).await?;
        Ok((self.summary(reading, scope, &question).await?, previous))
    }

    async fn as_of(
        self: &Arc<Self>,
        reading: &Reading,
        (scope, since, at): (Scope, UtcInstant, UtcInstant),
    ) -> Result<AsOfAnswer, QuestionError> {
        let bytes = self.model.log().members().len() * AS_OF_BYTES_A_MEMBER;
        let key = (format!("{scope:?} {since:?} {at:?}"), reading);
        let cost = Cost { kind: Kind::Count, bytes };
        self.shared(&self.flights.as_of, key, cost, move |asking, reading, permit| {
            as_of::count(asking.model.log(), &reading, (scope, since, at), permit.deadline())
        })
        .await
    }
}
