//! A definition on its way from history to the live views, which follow it from then on.

use std::sync::Arc;

use lastseen_event::{Fact, Provenance};

use super::Definition;
use super::activity::ActivityDays;
use super::builder::{ActivityBuilder, Observations};
use super::presence::{PresenceBuilder, PresenceDays};
use crate::calendar::Calendar;
use crate::paged::Paged;
use crate::roster::Roster;
use crate::{Retracted, Views};

/// Members looked at under one hold of the views.
const STEP_MEMBERS: u32 = 16_384;

/// Days of a definition that are being made.
///
/// Activity comes from a scan up to some position ([`Following::see_all`]). Presence comes from the live views, some
/// members at a time ([`Following::look_at_some`]), and not at all where they follow the zone already. Both are then
/// brought up to the views with the facts since ([`Following::catch_up`]), and handed over to
/// [`Views::follow`].
#[derive(Debug)]
pub struct Following {
    definition: Definition,
    retracted: Retracted,
    activity: Making,
    presence: Option<PresenceBuilder>,
    next_member: u32,
}

#[derive(Debug)]
enum Making {
    /// From the scan.
    Scan(ActivityBuilder),
    /// From facts one by one.
    Follow(ActivityDays, Paged<Observations>),
}

impl Following {
    /// Begins for views. The calendar is that of the definition's zone.
    pub fn new(definition: Definition, calendar: Arc<Calendar>, views: &Views) -> Self {
        Self::beside(definition, calendar, views.retracted().clone(), !views.follows_zone(definition.zone))
    }

    /// Begins for views that leave out these batches, and follow the zone already unless `with_presence`.
    pub fn beside(
        definition: Definition,
        calendar: Arc<Calendar>,
        retracted: Retracted,
        with_presence: bool,
    ) -> Self {
        let presence = with_presence.then(|| PresenceBuilder::new(calendar.clone()));
        Self {
            definition,
            retracted,
            activity: Making::Scan(ActivityBuilder::new(calendar, definition.counted)),
            presence,
            next_member: 0,
        }
    }

    /// The definition.
    pub fn definition(&self) -> Definition {
        self.definition
    }

    /// Folds facts of the scan in. Batches that the views leave out are left out.
    pub fn see_all(&mut self, facts: &[Fact]) {
        const GROUP: usize = 64;
        let Making::Scan(builder) = &mut self.activity else { return };
        for group in facts.chunks(GROUP) {
            builder.touch(group.iter().map(|fact| fact.member.member));
            for fact in group.iter().filter(|fact| !self.retracted.has(fact)) {
                builder.see(fact.member.member, fact.occurred_at, fact.event_type);
            }
        }
    }

    /// Looks at the presence of some members. `false`: all were looked at.
    pub fn look_at_some(&mut self, views: &Views) -> bool {
        let Some(presence) = &mut self.presence else { return false };
        let roster = views.roster();
        let slots = u32::try_from(roster.slots()).unwrap_or(u32::MAX);
        let end = slots.min(self.next_member.saturating_add(STEP_MEMBERS));
        if self.next_member >= end {
            return false;
        }
        presence.look_at(roster, self.next_member..end);
        self.next_member = end;
        true
    }

    /// Ends the scan and the look at all members. Takes a while, and no views.
    pub fn put_together(&mut self) {
        if let Making::Scan(builder) = &mut self.activity {
            let definition = self.definition;
            let empty = ActivityBuilder::new(Arc::new(Calendar::utc()), definition.counted);
            let (days, observations) = std::mem::replace(builder, empty).finish();
            self.activity = Making::Follow(days, observations);
        }
        if let Some(presence) = &mut self.presence {
            presence.looked_at_all();
        }
    }

    /// Folds facts in that came after what was seen or looked at before. The views hold them already; facts that were
    /// seen change nothing.
    pub fn catch_up(&mut self, views: &Views, facts: &[Fact]) {
        self.catch_up_with(views.roster(), facts);
    }

    pub(crate) fn catch_up_with(&mut self, roster: &Roster, facts: &[Fact]) {
        let Making::Follow(days, observations) = &mut self.activity else { return };
        for fact in facts.iter().filter(|fact| !self.retracted.has(fact)) {
            let of_member = observations.slot(fact.member.member.index());
            days.follow(fact, of_member.first());
            let is_counted = self.definition.counted.contains(fact.event_type);
            if is_counted && fact.event_type.activity() == Some(Provenance::Observed) {
                of_member.add(fact.occurred_at, days.calendar.date(fact.occurred_at));
            }
            if let Some(presence) = &mut self.presence {
                presence.look_again(roster, fact);
            }
        }
    }

    pub(crate) fn retracted(&self) -> &Retracted {
        &self.retracted
    }

    /// Bytes of the days, about.
    pub fn bytes(&self) -> usize {
        match &self.activity {
            Making::Scan(_) => 0,
            Making::Follow(days, _) => {
                days.bytes() + self.presence.as_ref().map_or(0, PresenceBuilder::bytes)
            }
        }
    }

    /// Takes out the days, and those of presence where the views did not follow the zone. What they were made of stays:
    /// it takes long to free.
    pub(crate) fn take(&mut self) -> Option<(ActivityDays, Option<PresenceDays>)> {
        let Making::Follow(days, _) = &mut self.activity else { return None };
        let empty = ActivityDays::new(days.calendar.clone(), self.definition.counted);
        let presence = self.presence.as_mut().map(PresenceBuilder::take);
        Some((std::mem::replace(days, empty), presence))
    }
}
