//! The state of one member as folded, and the one definition of every condition a member can meet.

use std::cmp::Reverse;

use lastseen_event::{BatchOrdinal, EventType, Position, Provenance, UtcInstant};

/// A member that exists: at least one event tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Least `occurred_at` of all its events.
    pub exists_from: UtcInstant,
    /// Least `occurred_at` of its confirming events: any activity or estimate, `user_confirmed`,
    /// `user_created` with `confirmed: true`. `None`: not confirmed.
    pub confirmed_from: Option<UtcInstant>,
    /// `occurred_at` of the deciding `user_deleted`. `None`: not deleted.
    pub deleted_at: Option<UtcInstant>,
    /// `occurred_at` of the deciding `counts: false`. `None`: the member counts.
    pub left_out_at: Option<UtcInstant>,
    /// The activity that last seen comes from. `None`: never seen.
    pub last_seen: Option<Seen>,
    /// Least `occurred_at` of any activity that counts, estimates included.
    pub first_seen_at: Option<UtcInstant>,
    /// Number of its events, each as often as it was folded.
    pub events: u32,
}

/// The activity that a last-seen value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its `occurred_at`.
    pub at: UtcInstant,
    /// Among activity of the same instant, the type that [`EventType`] lists first.
    pub event_type: EventType,
    /// Among activity of the same instant and type, the least.
    pub position: Position,
    /// The backfill that it came with.
    pub batch: Option<BatchOrdinal>,
}

impl Seen {
    /// The order in which the greatest decides between memberships: the latest, then the type that is listed first, then
    /// the least position.
    fn decides(&self) -> (UtcInstant, Reverse<u8>, Reverse<Position>) {
        (self.at, Reverse(self.event_type.code()), Reverse(self.position))
    }

    /// True if it is a guess.
    pub fn is_estimated(&self) -> bool {
        self.provenance() == Provenance::Estimated
    }

    /// Returns `Estimated` for a guess, `Observed` for an event that happened.
    pub fn provenance(&self) -> Provenance {
        if self.event_type == EventType::EstimatedActivity {
            Provenance::Estimated
        } else {
            Provenance::Observed
        }
    }
}

/// A member in one word: the first that holds, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Left out of the numbers, deleted or not.
    LeftOut,
    /// Soft-deleted and not restored since.
    Deleted,
    /// Not confirmed.
    Pending,
    /// Confirmed, without any activity.
    NeverSeen,
    /// Last seen within the window.
    Active,
    /// Last seen before the window.
    Inactive,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Active, Self::Inactive, Self::Pending, Self::NeverSeen, Self::Deleted, Self::LeftOut];

    /// The word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeftOut => "left_out",
            Self::Deleted => "deleted",
            Self::Pending => "pending",
            Self::NeverSeen => "never_seen",
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }
}

/// The conditions that are counted and that lists filter by. They overlap: whoever is pending is never seen
/// too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Neither deleted nor left out, confirmed, last seen within the window.
    Active,
    /// Neither deleted nor left out, last seen before the window.
    Inactive,
    /// Neither deleted nor left out, not confirmed.
    Pending,
    /// Neither deleted nor left out, last seen null.
    NeverSeen,
    /// Deleted and not left out.
    Deleted,
    /// Left out, deleted or not.
    LeftOut,
}

impl MemberState {
    /// True if the member is neither deleted nor left out.
    pub fn is_present(&self) -> bool {
        self.deleted_at.is_none() && self.left_out_at.is_none()
    }

    /// The state of a person with these memberships. `None`: there are none.
    ///
    /// Last seen and confirmation come from the memberships that are present, or from all if none is. The person exists
    /// and was first seen with those that are not left out, or with all if all are. It is left out if all are; it is
    /// deleted if none is present otherwise, since the last of them was.
    pub fn of_person(memberships: &[Self]) -> Option<Self> {
        let or_all = |is_wanted: fn(&Self) -> bool| {
            let wanted = move |of: &&Self| is_wanted(of) || !memberships.iter().any(is_wanted);
            memberships.iter().filter(wanted)
        };
        let present = || or_all(Self::is_present);
        let counting = || or_all(|of| of.left_out_at.is_none());
        let gone = !memberships.iter().any(Self::is_present);
        let is_left_out = memberships.iter().all(|of| of.left_out_at.is_some());
        Some(Self {
            exists_from: counting().map(|of| of.exists_from).min()?,
            confirmed_from: present().filter_map(|of| of.confirmed_from).min(),
            deleted_at: memberships
                .iter()
                .filter_map(|of| of.deleted_at)
                .max()
                .filter(|_| gone && !is_left_out),
            left_out_at: memberships.iter().filter_map(|of| of.left_out_at).max().filter(|_| is_left_out),
            last_seen: present().filter_map(|of| of.last_seen).max_by_key(Seen::decides),
            first_seen_at: counting().filter_map(|of| of.first_seen_at).min(),
            events: memberships.iter().map(|of| of.events).fold(0, u32::saturating_add),
        })
    }

    /// The first status that holds. `since` is the lower edge of the window, inclusive.
    pub fn status(&self, since: UtcInstant) -> Status {
        if self.left_out_at.is_some() {
            return Status::LeftOut;
        }
        if self.deleted_at.is_some() {
            return Status::Deleted;
        }
        match (&self.last_seen, self.confirmed_from) {
            (None, None) => Status::Pending,
            (None, Some(_)) => Status::NeverSeen,
            (Some(seen), _) if seen.at >= since => Status::Active,
            (Some(_), _) => Status::Inactive,
        }
    }

    /// True if the condition holds. `since` is the lower edge of the window, inclusive.
    pub fn meets(&self, condition: Condition, since: UtcInstant) -> bool {
        let status = self.status(since);
        match condition {
            Condition::Active => status == Status::Active,
            Condition::Inactive => status == Status::Inactive,
            Condition::Pending => status == Status::Pending,
            Condition::NeverSeen => matches!(status, Status::Pending | Status::NeverSeen),
            Condition::Deleted => status == Status::Deleted,
            Condition::LeftOut => status == Status::LeftOut,
        }
    }
}
