//! The numbers of a scope: now, at any instant, over the events that count.

use std::sync::Arc;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Scope, Summary};

use super::Questions;
use super::admission::{Cost, Kind};
use super::as_of::{self, Asked};
use super::error::QuestionError;
use super::question::{Question, Way};
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

/// Bytes that a count as of an instant takes a member: bitmaps, and a byte of what it was.
pub(super) const AS_OF_BYTES_A_MEMBER: usize = 3;

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
        let question = &question.of(self.by_position(reading, question.selection).await?);
        let at = question.at(reading.at);
        let since = question.since(at);
        match question.way() {
            Way::Live => {
                let views = reading.views();
                Ok(Counted { summary: views.summary(scope, since), position: views.position(), at })
            }
            Way::AsOf => {
                let counted = self.as_of(reading, vec![question.asked(scope, at)], None).await?;
                let summary = counted.then.first().copied().unwrap_or_default();
                Ok(Counted { summary, position: counted.position, at })
            }
            Way::Scan => {
                let source = self.source(reading, scope, question).await?;
                let summary = source.hold().summary(scope, since);
                Ok(Counted { summary, position: source.position_of_now(), at })
            }
        }
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
        let question = &question.of(self.by_position(reading, question.selection).await?);
        let at = question.at(reading.at);
        let earlier = question.previous(at);
        let before = earlier.at(reading.at);
        let of = |summary, position, at| Counted { summary, position, at };
        match question.way() {
            Way::Live => {
                let now = Some((scope, question.since(at)));
                let counted = self.as_of(reading, vec![earlier.asked(scope, before)], now).await?;
                let previous = counted.then.first().copied().unwrap_or_default();
                let now = counted.now.unwrap_or_default();
                Ok((of(now, counted.position, at), of(previous, counted.position, before)))
            }
            Way::AsOf => {
                let asked = vec![question.asked(scope, at), earlier.asked(scope, before)];
                let counted = self.as_of(reading, asked, None).await?;
                let [then, previous] = [0, 1].map(|at| counted.then.get(at).copied().unwrap_or_default());
                Ok((of(then, counted.position, at), of(previous, counted.position, before)))
            }
            Way::Scan => {
                let [question, earlier] = [*question, earlier].map(|it| it.known_until(reading.position));
                let previous = self.summary(reading, scope, &earlier).await?;
                Ok((self.summary(reading, scope, &question).await?, previous))
            }
        }
    }

    /// Counts from the live views, all at one position.
    pub(super) async fn as_of(
        self: &Arc<Self>,
        reading: &Reading,
        asked: Vec<Asked>,
        now: Option<(Scope, UtcInstant)>,
    ) -> Result<Arc<as_of::Counted>, QuestionError> {
        let bytes = self.model.log().members().len() * AS_OF_BYTES_A_MEMBER * asked.len();
        let key = (format!("{asked:?} {now:?}"), reading);
        let cost = Cost { kind: Kind::Count, bytes };
        self.shared(&self.flights.as_of, key, cost, move |asking, reading, permit| {
            as_of::count(asking.model.log(), &reading, (&asked, now), permit.deadline()).map(Arc::new)
        })
        .await
    }
}
