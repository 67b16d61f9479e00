//! The views as bytes, taken part by part while the fold goes on, and the views again from them.
//!
//! It only composes: each view encodes and decodes its own part with `bytes`. Each part is of the moment it
//! was copied at, at or after the snapshot's position. Folding everything after that position again gives the
//! views, since facts that a part has already change nothing. Bitmaps are copied after all members: they have
//! whatever a member's record has, and each day's facts are in all of them or in none. Counts are not kept: they are counted from the members again. Members of a
//! person are not kept either, so a snapshot is the same with persons and without.

use std::collections::VecDeque;
use std::sync::Arc;

use lastseen_event::{BatchOrdinal, MemberOrdinal, MemberRef, Position};
use roaring::RoaringBitmap;

use crate::bytes::{BadPart, Bytes};
use crate::calendar::Day;
use crate::days::{ActivityBitmaps, ByDay, Reach};
use crate::members::Members;
use crate::persons::Persons;
use crate::roster::Roster;
use crate::views::UtcDays;
use crate::{Retracted, Traffic, TypeSet, Views, ViewsBuilder};

/// The version of the parts' content and of the fold of facts. Changes with either.
pub const SNAPSHOT_VERSION: u32 = 4;

/// Members copied under one hold of the views: some 400 KiB.
const PART_MEMBERS: usize = 8_192;

/// A snapshot that is being taken.
#[derive(Debug)]
pub struct Taking {
    checkpoint: Position,
    part_members: usize,
    has_retracted: bool,
    /// The first member that was not copied.
    next: usize,
    /// Bitmaps that were copied and wait to be written; `None` until all members are.
    days: Option<VecDeque<DayPart>>,
    /// The events of days as of the checkpoint: they are counted, so they cannot be of a later moment.
    traffic: Traffic,
    /// The days of it that wait to be written; `None` until the first is.
    traffic_days: Option<VecDeque<Day>>,
}

/// A bitmap that was copied.
#[derive(Debug)]
struct DayPart {
    kind: u8,
    day: Day,
    members: Arc<RoaringBitmap>,
}

const MEMBERS: u8 = 1;
const DAYS: u8 = 2;
const RETRACTED: u8 = 3;
const TRAFFIC: u8 = 4;

impl Taking {
    /// Begins a snapshot of the views at their position.
    pub fn of(views: &Views) -> Self {
        Self::in_parts_of(views, PART_MEMBERS)
    }

    /// [`Taking::of`] for tests, with so many members a part.
    #[doc(hidden)]
    pub fn in_parts_of(views: &Views, part_members: usize) -> Self {
        Self {
            checkpoint: views.position(),
            part_members,
            has_retracted: false,
            next: 0,
            days: None,
            traffic: views.utc_traffic().clone(),
            traffic_days: None,
        }
    }

    /// The position after which everything has to be folded again.
    pub fn checkpoint(&self) -> Position {
        self.checkpoint
    }

    /// Copies some members, or takes out the bitmaps, while the views are held. `false`: nothing is left to
    /// copy.
    pub fn copy(&mut self, views: &Views, part: &mut Vec<u8>) -> bool {
        if self.days.is_some() {
            return false;
        }
        if !std::mem::replace(&mut self.has_retracted, true) && !views.retracted().is_empty() {
            part.push(RETRACTED);
            views.retracted().iter().for_each(|batch| part.extend_from_slice(&batch.get().to_le_bytes()));
            return true;
        }
        let (members, (activity, presence)) = (views.members(), views.utc());
        let end = members.roster.slots();
        if self.next < end {
            let slots = self.next..end.min(self.next + self.part_members);
            self.next = slots.end;
            part.push(MEMBERS);
            members.roster.encode(slots, views.position(), part);
            return true;
        }
        let activity = activity.share(&Reach::EVER);
        let bitmaps = activity.kinds().into_iter().chain(presence.bitmaps().kinds()).zip(0..);
        let of_kind = |(days, kind): (&ByDay, u8)| -> Vec<_> {
            let part = |(day, members): (&Day, &Arc<RoaringBitmap>)| DayPart {
                kind,
                day: *day,
                members: Arc::clone(members),
            };
            days.iter().map(part).collect()
        };
        self.days = Some(bitmaps.flat_map(of_kind).collect());
        false
    }

    /// Encodes the next bitmap, or the events of the next day; the views are not needed any more. `false`: that was all.
    pub fn next_day(&mut self, part: &mut Vec<u8>) -> bool {
        let traffic_days = self.traffic_days.get_or_insert_with(|| {
            self.traffic.settle();
            self.traffic.days().collect()
        });
        if let Some(day) = traffic_days.pop_front() {
            part.push(TRAFFIC);
            self.traffic.encode(day, part);
            return true;
        }
        let Some(DayPart { kind, day, members }) = self.days.as_mut().and_then(VecDeque::pop_front) else {
            return false;
        };
        part.extend_from_slice(&[DAYS, kind]);
        part.extend_from_slice(&day.number().to_le_bytes());
        encode_bitmap(&members, part);
        true
    }
}

fn encode_bitmap(members: &RoaringBitmap, part: &mut Vec<u8>) {
    members.serialize_into(part).expect("writing to memory does not fail");
}

/// Views that are being read from a snapshot.
#[derive(Debug)]
pub struct Restoring {
    roster: Roster,
    activity: ActivityBitmaps,
    /// Their activity is that of `activity` in the end.
    days: UtcDays,
    retracted: Retracted,
}

impl Restoring {
    /// Begins without a part.
    #[expect(clippy::new_without_default, reason = "the beginning of a process, not a value")]
    pub fn new() -> Self {
        let days = UtcDays::new(TypeSet::all(), Retracted::default());
        Self {
            roster: Roster::default(),
            activity: ActivityBitmaps::default(),
            days,
            retracted: Retracted::default(),
        }
    }

    /// Reads one part.
    ///
    /// # Errors
    /// [`BadPart`].
    pub fn read(&mut self, part: &[u8]) -> Result<(), BadPart> {
        let mut bytes = Bytes::new(part);
        match bytes.u8()? {
            MEMBERS => {
                self.roster.decode(&mut bytes)?;
            }
            DAYS => {
                let (kind, day) = (bytes.u8()?, Day::new(bytes.i32()?));
                let members = RoaringBitmap::deserialize_from(bytes.rest()).map_err(|_| BadPart)?;
                let presence = self.days.presence.bitmaps_mut().kinds_mut();
                let mut kinds = self.activity.kinds_mut().into_iter().chain(presence);
                let days = kinds.nth(kind.into()).ok_or(BadPart)?;
                days.insert(day, Arc::new(members));
            }
            RETRACTED => {
                let (batches, rest) = bytes.rest().as_chunks();
                let number = |bytes: &[u8; 4]| BatchOrdinal::new(u32::from_le_bytes(*bytes));
                self.retracted = batches.iter().map(number).collect();
                bytes = Bytes::new(rest);
            }
            TRAFFIC => self.days.traffic.decode(&mut bytes)?,
            _ => return Err(BadPart),
        }
        bytes.end()
    }

    /// Returns the views as of the snapshot's checkpoint, after all parts were read. They are ready for the
    /// facts after it. `whose` gives tenant and person of a member; members are joined to persons as
    /// `persons` says, whatever the setting was when the snapshot was taken.
    ///
    /// # Errors
    /// [`BadPart`] where `whose` does not know a member.
    pub fn finish(
        mut self,
        checkpoint: Position,
        persons: Persons,
        whose: impl Fn(MemberOrdinal) -> Option<MemberRef>,
    ) -> Result<ViewsBuilder, BadPart> {
        let mut members = Members::new(persons);
        members.roster = self.roster;
        members.enter_all(whose).ok_or(BadPart)?;
        self.days.activity.take_over(self.activity);
        self.days.traffic.leave_out(self.retracted.clone());
        Ok(ViewsBuilder::from_parts(members, self.days, self.retracted, checkpoint))
    }
}
