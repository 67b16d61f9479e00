//! The views as bytes, taken part by part while the fold goes on, and the views again from them.
//!
//! Each part is of the moment it was copied at, at or after the position the snapshot says it is of: folding everything
//! behind that position again gives the views, since facts that a part has already change nothing. Bitmaps are
//! copied after all members: whatever a member's record has, the bitmaps have. What is counted is not kept, it is counted
//! from the members again.

use std::collections::VecDeque;
use std::sync::Arc;

use lastseen_event::{BatchOrdinal, MemberOrdinal, MemberRef, Position};
use roaring::RoaringBitmap;

use crate::calendar::Day;
use crate::days::{ByDay, Days};
use crate::members::Members;
use crate::roster::Roster;
use crate::{Retracted, Views, ViewsBuilder};

/// Version of what parts hold and of how facts are folded. Changes when either does.
pub const SNAPSHOT_VERSION: u32 = 2;

/// Members copied under one hold of the views: some 300 KiB.
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
    days: Option<VecDeque<(u8, Day, Arc<RoaringBitmap>)>>,
}

/// Bytes that are not a part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of a snapshot that breaks its format")]
pub struct BadPart;

const MEMBERS: u8 = 1;
const DAYS: u8 = 2;
const RETRACTED: u8 = 3;

impl Taking {
    /// Begins a snapshot of what the views reflect.
    pub fn of(views: &Views) -> Self {
        Self::in_parts_of(views, PART_MEMBERS)
    }

    /// As [`Taking::of`], for tests: so many members a part.
    #[doc(hidden)]
    pub fn in_parts_of(views: &Views, part_members: usize) -> Self {
        Self { checkpoint: views.position(), part_members, has_retracted: false, next: 0, days: None }
    }

    /// Everything behind this position has to be folded again.
    pub fn checkpoint(&self) -> Position {
        self.checkpoint
    }

    /// Copies some members, or takes out the bitmaps, with the views held. `false`: there is nothing left to copy.
    pub fn copy(&mut self, views: &Views, part: &mut Vec<u8>) -> bool {
        if self.days.is_some() {
            return false;
        }
        if !std::mem::replace(&mut self.has_retracted, true) && !views.retracted().is_empty() {
            part.push(RETRACTED);
            views.retracted().iter().for_each(|batch| part.extend_from_slice(&batch.get().to_le_bytes()));
            return true;
        }
        let (members, days) = views.parts();
        let end = members.roster.slots();
        if self.next < end {
            let slots = self.next..end.min(self.next + self.part_members);
            self.next = slots.end;
            part.push(MEMBERS);
            members.roster.encode(slots.clone(), part);
            days.encode_estimated(slots, part);
            return true;
        }
        let bitmaps = days.book().kinds().into_iter().zip(0..);
        let of_kind = |(days, kind): (&ByDay, u8)| -> Vec<_> {
            days.iter().map(|(day, members)| (kind, *day, Arc::clone(members))).collect()
        };
        self.days = Some(bitmaps.flat_map(of_kind).collect());
        false
    }

    /// Encodes the next bitmap; the views are not needed any more. `false`: that was all.
    pub fn next_day(&mut self, part: &mut Vec<u8>) -> bool {
        let Some((kind, day, members)) = self.days.as_mut().and_then(VecDeque::pop_front) else {
            return false;
        };
        encode_day((kind, day), &members, part);
        true
    }
}

fn encode_day((kind, day): (u8, Day), members: &RoaringBitmap, part: &mut Vec<u8>) {
    part.extend_from_slice(&[DAYS, kind]);
    part.extend_from_slice(&day.number().to_le_bytes());
    members.serialize_into(part).expect("writing to memory does not fail");
}

/// Views that are being read from a snapshot.
#[derive(Debug)]
pub struct Restoring {
    members: Members,
    days: Days,
    retracted: Retracted,
}

impl Restoring {
    /// Nothing read yet.
    #[expect(clippy::new_without_default, reason = "the beginning of a process, not a value")]
    pub fn new() -> Self {
        Self { members: Members::default(), days: Days::utc(), retracted: Retracted::default() }
    }

    /// Reads one part.
    ///
    /// # Errors
    /// [`BadPart`].
    pub fn read(&mut self, part: &[u8]) -> Result<(), BadPart> {
        let (kind, rest) = part.split_first().ok_or(BadPart)?;
        let mut bytes = Bytes(rest);
        match *kind {
            MEMBERS => {
                let slots = self.members.roster.decode(&mut bytes)?;
                self.days.decode_estimated(slots, &mut bytes)?;
            }
            DAYS => {
                let (kind, day) = (bytes.take::<1>()?[0], Day::new(i32::from_le_bytes(bytes.take()?)));
                let members = RoaringBitmap::deserialize_from(&mut bytes.0).map_err(|_| BadPart)?;
                let days = self.days.book_mut().kind_mut(kind).ok_or(BadPart)?;
                days.insert(day, Arc::new(members));
            }
            RETRACTED => {
                let (batches, rest) = bytes.0.as_chunks();
                let number = |bytes: &[u8; 4]| BatchOrdinal::new(u32::from_le_bytes(*bytes));
                self.retracted = batches.iter().map(number).collect();
                bytes = Bytes(rest);
            }
            _ => return Err(BadPart),
        }
        if bytes.0.is_empty() { Ok(()) } else { Err(BadPart) }
    }

    /// All parts are read: the views as of the snapshot's checkpoint, ready for what came after. `whose` tells tenant
    /// and person of a member.
    ///
    /// # Errors
    /// [`BadPart`] where a member has none.
    pub fn finish(
        mut self,
        checkpoint: Position,
        whose: impl Fn(MemberOrdinal) -> Option<MemberRef>,
    ) -> Result<ViewsBuilder, BadPart> {
        self.members.enter_all(whose).ok_or(BadPart)?;
        Ok(ViewsBuilder::from_parts((self.members, self.days), self.retracted, checkpoint))
    }
}

/// What is left to read of a part.
pub(crate) struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], BadPart> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(BadPart)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BadPart> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, BadPart> {
        self.take().map(i64::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, BadPart> {
        self.take().map(u64::from_le_bytes)
    }
}

/// How many slots an array over ordinals may have.
pub(crate) fn slots_of(first: u32, count: u32) -> Result<std::ops::Range<usize>, BadPart> {
    let end = first.checked_add(count).ok_or(BadPart)?;
    Ok(first as usize..end as usize)
}

impl Roster {
    /// The records of these slots, then the decisions about them.
    fn encode(&self, slots: std::ops::Range<usize>, part: &mut Vec<u8>) {
        let [first, end] =
            [slots.start, slots.end].map(|slot| u32::try_from(slot).expect("ordinals are 32 bits"));
        part.extend_from_slice(&first.to_le_bytes());
        part.extend_from_slice(&(end - first).to_le_bytes());
        self.encode_records(slots, part);
        self.encode_decisions(MemberOrdinal::new(first)..MemberOrdinal::new(end), part);
    }

    fn decode(&mut self, bytes: &mut Bytes<'_>) -> Result<std::ops::Range<usize>, BadPart> {
        let slots = slots_of(bytes.u32()?, bytes.u32()?)?;
        self.decode_records(slots.clone(), bytes)?;
        self.decode_decisions(bytes)?;
        Ok(slots)
    }
}
