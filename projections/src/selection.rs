//! The part of history that a scan folds: its bounds, and the activity that counts as being seen.

use std::str::FromStr;

use lastseen_event::{EventType, Fact, Position, Provenance, UtcInstant};

use crate::decisions::{Decision, Matter};

/// A part of history. The default is all of it.
///
/// The three bounds leave an event out altogether. `types` and `observed_only` only choose the events that
/// feed last seen and first seen: existence, confirmation and deletion come from all events that are left.
/// `everyone` asks as if no event ever said that a member does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Greatest `occurred_at` that is kept, inclusive: history as of this instant.
    pub occurred_until: Option<UtcInstant>,
    /// Greatest position that is kept, inclusive.
    pub position_until: Option<Position>,
    /// Greatest `recorded_at` that is kept, inclusive: what was known at this instant.
    pub recorded_until: Option<UtcInstant>,
    /// The types that count as activity.
    pub types: TypeSet,
    /// True if estimates do not count, even if `types` contains them.
    pub observed_only: bool,
    /// True if nobody is left out.
    pub everyone: bool,
}

impl Selection {
    /// True if the fact lies within all bounds.
    pub fn keeps(&self, fact: &Fact) -> bool {
        self.occurred_until.is_none_or(|until| fact.occurred_at <= until)
            && self.position_until.is_none_or(|until| fact.position <= until)
            && self.recorded_until.is_none_or(|until| fact.recorded_at <= until)
    }

    /// The decision of a fact about its member, and its matter.
    pub(crate) fn decision(&self, fact: &Fact) -> Option<(Matter, Decision)> {
        Decision::of(fact).filter(|(matter, _)| !(self.everyone && *matter == Matter::LeavingOut))
    }

    /// The types that feed last seen, `observed_only` applied.
    pub fn counted(&self) -> TypeSet {
        if self.observed_only { self.types.without_estimates() } else { self.types }
    }
}

/// A set of activity types, estimates included or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeSet(u16);

impl TypeSet {
    /// All activity: the four observed types and estimates.
    pub const fn all() -> Self {
        Self(
            bit(EventType::Login)
                | bit(EventType::TokenRefresh)
                | bit(EventType::TenantSwitch)
                | bit(EventType::SignupComplete)
                | bit(EventType::EstimatedActivity),
        )
    }

    /// Exactly these observed types, no estimates. What is not observed activity is ignored.
    pub fn of(types: impl IntoIterator<Item = EventType>) -> Self {
        let observed = types.into_iter().filter(|at| at.activity() == Some(Provenance::Observed));
        Self(observed.fold(0, |bits, event_type| bits | bit(event_type)))
    }

    /// True if an event of this type counts as activity.
    pub const fn contains(self, event_type: EventType) -> bool {
        self.0 & bit(event_type) != 0
    }

    const fn without_estimates(self) -> Self {
        Self(self.0 & !bit(EventType::EstimatedActivity))
    }
}

/// The text is not a list of observed activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a comma list of login, token_refresh, tenant_switch, signup_complete")]
pub struct InvalidTypes;

/// A comma list of observed activity types.
impl FromStr for TypeSet {
    type Err = InvalidTypes;

    fn from_str(text: &str) -> Result<Self, InvalidTypes> {
        let observed = |event_type: &EventType| event_type.activity() == Some(Provenance::Observed);
        let list = text.split(',').map(|name| EventType::parse(name).filter(observed));
        list.collect::<Option<Vec<_>>>().map(Self::of).ok_or(InvalidTypes)
    }
}

/// [`TypeSet::all`].
impl Default for TypeSet {
    fn default() -> Self {
        Self::all()
    }
}

const fn bit(event_type: EventType) -> u16 {
    1 << event_type as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_every_activity_and_of_is_never_an_estimate() {
        for event_type in EventType::ALL {
            assert_eq!(TypeSet::all().contains(event_type), event_type.activity().is_some(), "{event_type}");
            assert_eq!(
                TypeSet::of(EventType::ALL).contains(event_type),
                event_type.activity() == Some(Provenance::Observed),
                "{event_type}"
            );
        }
        assert!(!TypeSet::of([EventType::Login]).contains(EventType::TokenRefresh));
    }

    #[test]
    fn only_observed_types_can_be_chosen() {
        assert!("login,token_refresh".parse::<TypeSet>().unwrap().contains(EventType::TokenRefresh));
        for bad in ["", "login,", "estimated_activity", "user_created", "Login"] {
            assert!(bad.parse::<TypeSet>().is_err(), "{bad}");
        }
    }
}
