//! A definition on its way from history to the live views, which follow it from then on.

use std::sync::Arc;

use lastseen_event::{Fact, Sighting};

use super::Definition;
use super::activity::ActivityDays;
use super::builder::{ActivityBuilder, MadeActivity};
use super::presence::{PresenceBuilder, PresenceDays};
use crate::calendar::Calendar;
use crate::roster::Roster;
use crate::{Retracted, Views};

/// Members looked at under one hold of the views.
const STEP_MEMBERS: u32 = 16_384;

/// Days of a definition that are being made.
///
/// Activity comes from scans up to some position ([`Following::join`]). Presence comes from the live views, some
/// members at a time ([`Following::look_at_some`]), and not at all where they follow the zone already. Both are then
/// brought up to the views with the facts since ([`Following::catch_up`]), and handed over to
/// [`Views::follow`].
#[derive(Debug)]
pub struct Following {
    definition: Definition,
    calendar: Arc<Calendar>,
    retracted: Retracted,
    activity: Making,
    presence: Option<PresenceBuilder>,
    next_member: u32,
}

#[derive(Debug)]
enum Making {
    /// From scans.
    Scan(ActivityScan),
    /// From facts one by one.
    Follow(MadeActivity),
}

/// The activity that a part of history holds by one definition. Parts are scanned side by side.
#[derive(Debug)]
pub struct ActivityScan {
    retracted: Retracted,
    builder: ActivityBuilder,
}

impl ActivityScan {
    /// Folds sightings in. Batches that the views leave out are left out.
    pub fn see_all(&mut self, sightings: &[Sighting]) {
        for sighting in sightings.iter().filter(|sighting| !self.retracted.has_batch(sighting.batch)) {
            self.builder.see(sighting.member, sighting.occurred_at, sighting.event_type);
        }
    }
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
        let builder = ActivityBuilder::new(calendar.clone(), definition.counted);
        Self {
            definition,
            activity: Making::Scan(ActivityScan { retracted: retracted.clone(), builder }),
            calendar,
            retracted,
            presence,
            next_member: 0,
        }
    }

    /// The definition.
    pub fn definition(&self) -> Definition {
        self.definition
    }

    /// A scan of a part of history, still empty.
    pub fn scan(&self) -> ActivityScan {
        let builder = ActivityBuilder::new(self.calendar.clone(), self.definition.counted);
        ActivityScan { retracted: self.retracted.clone(), builder }
    }

    /// Takes over what a scan saw. The parts may come in any order, and overlap.
    pub fn join(&mut self, scan: ActivityScan) {
        if let Making::Scan(joined) = &mut self.activity {
            joined.builder.join(scan.builder);
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
        let empty = self.scan();
        if let Making::Scan(joined) = &mut self.activity {
            let made = std::mem::replace(joined, empty).builder.finish();
            self.activity = Making::Follow(made);
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
        let Making::Follow(made) = &mut self.activity else { return };
        for fact in facts.iter().filter(|fact| !self.retracted.has(fact)) {
            made.follow(fact);
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
            Making::Follow(made) => {
                made.days.bytes() + self.presence.as_ref().map_or(0, PresenceBuilder::bytes)
            }
        }
    }

    /// Takes out the days, and those of presence where the views did not follow the zone. What they were made of stays:
    /// it takes long to free.
    pub(crate) fn take(&mut self) -> Option<(ActivityDays, Option<PresenceDays>)> {
        let Making::Follow(made) = &mut self.activity else { return None };
        let days = &mut made.days;
        let empty = ActivityDays::new(days.calendar.clone(), self.definition.counted);
        let presence = self.presence.as_mut().map(PresenceBuilder::take);
        Some((std::mem::replace(days, empty), presence))
    }
}
