//! The parameters that all numbers share, and the views that answer them: the live ones where everything counts
//! and now is meant, views of their own folded from history otherwise.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{Scope, Selection, Summary, Views, Window};
use parking_lot::RwLockReadGuard;

use super::params::{self, KnownAt, Params};
use super::tenant::tenant;
use crate::engine::Engine;
use crate::history::{self, Folded};
use crate::live::SharedViews;
use crate::problem::Problem;

/// Names of the parameters read here.
pub(crate) const PARAMS: [&str; 6] = ["window", "as_of", "known_at", "types", "provenance", "min_position"];

/// What a question is about.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) window: Window,
    pub(crate) as_of: Option<UtcInstant>,
    pub(crate) selection: Selection,
}

impl Question {
    /// # Errors
    /// `invalid_parameter`.
    pub(crate) fn parse(params: &Params) -> Result<Self, Problem> {
        let window = params.get("window", params::window)?.unwrap_or_default();
        let as_of = params.get("as_of", params::instant)?;
        let mut selection = Selection { occurred_until: as_of, ..Selection::default() };
        match params.get("known_at", params::known_at)? {
            Some(KnownAt::Position(position)) => selection.position_until = Some(position),
            Some(KnownAt::Instant(instant)) => selection.recorded_until = Some(instant),
            None => {}
        }
        if let Some(types) = params.get("types", params::types)? {
            selection.types = types;
        }
        selection.observed_only = params.get("provenance", params::observed_only)?.unwrap_or(false);
        Ok(Self { window, as_of, selection })
    }

    /// Whether the live views answer it.
    fn is_live(&self) -> bool {
        self.selection == Selection::default()
    }

    /// Whether it is about an instant, and about everything that had occurred by then.
    fn is_as_of(&self) -> bool {
        self.as_of.is_some()
            && self.selection == Selection { occurred_until: self.as_of, ..Selection::default() }
    }

    /// The numbers of a scope at `at`, and the position they reflect.
    ///
    /// # Errors
    /// A [`Problem`] where history cannot be read.
    pub(crate) async fn summary(
        &self,
        (engine, live): (&Arc<Engine>, &SharedViews),
        scope: Scope,
        at: UtcInstant,
    ) -> Result<(Summary, Position), Problem> {
        let since = self.since(at);
        if self.is_as_of()
            && let Some(counted) = history::as_of(engine, live, scope, (since, at)).await?
        {
            return Ok(counted);
        }
        let views = Answering::question((engine, live), scope, self).await?;
        Ok((views.summary(scope, since), views.position()))
    }

    /// The instant the question is asked for: `as_of`, else `now`.
    pub(crate) fn at(&self, now: UtcInstant) -> UtcInstant {
        self.as_of.unwrap_or(now)
    }

    /// The lower edge of the window that ends at `at`, inclusive.
    pub(crate) fn since(&self, at: UtcInstant) -> UtcInstant {
        at.saturating_sub(self.window.span)
    }

    /// The same question one window earlier.
    pub(crate) fn previous(&self, at: UtcInstant) -> Self {
        let earlier = self.since(at);
        let selection = Selection { occurred_until: Some(earlier), ..self.selection };
        Self { as_of: Some(earlier), selection, ..self.clone() }
    }
}

/// Views that answer a question, held for as long as it takes.
pub(crate) enum Answering<'a> {
    Live(RwLockReadGuard<'a, Views>),
    Folded(Box<Folded>),
}

impl<'a> Answering<'a> {
    /// Answers about the members of `scope`, and about no other.
    ///
    /// # Errors
    /// A [`Problem`] where history cannot be read.
    pub(crate) async fn question(
        (engine, live): (&Arc<Engine>, &'a SharedViews),
        scope: Scope,
        question: &Question,
    ) -> Result<Self, Problem> {
        if question.is_live() {
            return Ok(Self::Live(live.read()));
        }
        history::fold(engine, live, scope, question.selection)
            .await
            .map(|folded| Self::Folded(Box::new(folded)))
    }

    /// Lets the fold go on, if it waits.
    pub(crate) fn give_turn(&mut self) {
        if let Self::Live(views) = self {
            RwLockReadGuard::bump(views);
        }
    }

    /// The last position the views reflect.
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Live(views) => views.position(),
            Self::Folded(folded) => folded.position,
        }
    }
}

impl Deref for Answering<'_> {
    type Target = Views;

    fn deref(&self) -> &Views {
        match self {
            Self::Live(views) => views,
            Self::Folded(folded) => &folded.views,
        }
    }
}

/// The views to ask, once they reflect the position the caller asks for. One answer comes from these alone.
///
/// # Errors
/// `invalid_parameter`, `position_not_reached`.
pub(crate) async fn live(engine: &Engine, params: &Params) -> Result<SharedViews, Problem> {
    const PATIENCE: Duration = Duration::from_secs(2);
    match params.get("min_position", params::position)? {
        Some(position) if !engine.reach(position, PATIENCE).await => {
            Err(Problem::position_not_reached(engine.position().get()))
        }
        _ => Ok(engine.live()),
    }
}

/// Whose members are asked about, and the views to ask, once they reflect the position that the caller asks for.
///
/// # Errors
/// `unknown_tenant`, `invalid_parameter`, `position_not_reached`.
pub(crate) async fn of(
    engine: &Arc<Engine>,
    params: &Params,
    tenant_id: Option<&str>,
) -> Result<(Scope, SharedViews), Problem> {
    let live = live(engine, params).await?;
    let scope = match tenant_id {
        Some(tenant_id) => Scope::Tenant(tenant((engine, &live), tenant_id)?),
        None => Scope::All,
    };
    Ok((scope, live))
}
