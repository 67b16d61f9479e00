//! A cursor over the records of one frame in memory: a batch of them at a time, as readers get them.

use lastseen_event::{Event, Fact, Position, Retraction, Sighting};
use lastseen_store::{Batches, Detail, MemberDictionary, RecordedBatch, Scan};
use parking_lot::RwLock;

use super::frame::{FRAME_HEADER_LEN, FrameHeader};
use super::payload::{Layout, Payload};
use crate::damage::Malformed;
use crate::format::Version;
use crate::members::Members;
use crate::origin::Stamp;
use crate::place::{Place, following, preceding};
use crate::record::{Record, StoredEvent, StoredRetraction};

/// Records decoded at once. The dictionary's lock is held meanwhile, and the writer may wait for it.
pub(crate) const BATCH_RECORDS: u64 = 1_024;

/// The names that records have by their numbers. Both are locked while a batch is decoded.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) members: &'a RwLock<Members>,
    pub(crate) batches: &'a RwLock<Batches>,
}

/// A frame and where the cursor is in it.
#[derive(Clone, Debug)]
pub(crate) struct FrameCursor {
    header: FrameHeader,
    layout: Layout,
    /// Bytes up to the next record, from the first one.
    read: usize,
    /// The place of the next record.
    place: Place,
}

impl FrameCursor {
    /// At the first record of a frame in a file of this version.
    pub(crate) fn new(header: FrameHeader, version: Version) -> Self {
        Self { header, layout: Layout::of(version, &header), read: 0, place: header.first_place }
    }

    pub(crate) fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// True if no record is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.place == self.header.end()
    }

    /// The next records that are above `reached`, not above `end`, and wanted. `frame` has the header and the payload. At most
    /// [`BATCH_RECORDS`] are looked at, up to a multiple of that from the beginning of the frame: so cursors that began at
    /// different records meet. Of records with stamps, only those are wanted whose position is within the scan's.
    ///
    /// # Errors
    /// [`Malformed`]; the cursor stays where it was.
    pub(crate) fn decode(
        &mut self,
        frame: &[u8],
        (names, scan): (Names<'_>, &Scan),
        (reached, end): (Place, Place),
    ) -> Result<Decoded, Malformed> {
        let Self { header, layout, read, mut place } = self.clone();
        let payload = frame.get(FRAME_HEADER_LEN..header.frame_len()).ok_or(Malformed)?;
        let payload = Payload::new(layout, payload)?;
        let mut records = payload.records_from(read)?;
        while place <= reached {
            records.next().ok_or(Malformed)??;
            place = following(place);
        }
        let before = preceding(header.first_place).get();
        let step = before + ((place.get() - before - 1) / BATCH_RECORDS + 1) * BATCH_RECORDS;
        let until = end.min(preceding(header.end())).min(Place::new(step));
        let mut decoded = Decoded::up_to(until);
        let batch = &mut decoded.batch;
        if scan.detail != Detail::Sightings {
            let count = (until.get() + 1).saturating_sub(place.get());
            batch.facts.reserve(usize::try_from(count).unwrap_or(0));
        }
        let (members, batches) = (names.members.read(), names.batches.read());
        while place <= until {
            let stamp = stamp_of(&header, &payload, place)?;
            if header.stamped {
                if let Some(until) = scan.until.filter(|until| stamp.position > *until) {
                    (decoded.place, batch.reached) = (preceding(place), until);
                    break;
                }
                batch.reached = stamp.position;
            }
            let record = records.next().ok_or(Malformed)??;
            place = following(place);
            if header.stamped && stamp.position <= scan.after {
                continue;
            }
            let stored = match record {
                Record::Event(stored) => stored,
                Record::Retraction(stored) => {
                    let retraction = retraction(stamp, &stored, &batches)?;
                    let is_wanted =
                        scan.detail != Detail::Sightings && scan.filter.keeps_retraction(&retraction);
                    batch.retractions.extend(is_wanted.then_some(retraction));
                    continue;
                }
            };
            let fact = fact(stamp, &stored, (&members, &batches))?;
            if !scan.filter.keeps(&fact) {
                continue;
            }
            match scan.detail {
                Detail::Sightings => batch.sightings.extend(Sighting::of(&fact)),
                Detail::Facts => batch.facts.push(fact),
                Detail::Events => {
                    batch.facts.push(fact);
                    batch.events.push(&event(&stored, &members)?);
                }
            }
        }
        (self.read, self.place) = (records.offset(), place);
        Ok(decoded)
    }
}

/// A part of a frame.
pub(crate) struct Decoded {
    pub(crate) batch: RecordedBatch,
    /// The last record that was read or left out, by its place in this log.
    pub(crate) place: Place,
}

impl Decoded {
    /// Nothing yet of the records up to here, which have the positions of their places.
    pub(crate) fn up_to(place: Place) -> Self {
        Self::none((place, place.own_position()))
    }

    /// Nothing of the records up to this place and this position.
    pub(crate) fn none((place, reached): (Place, Position)) -> Self {
        Self { batch: RecordedBatch { reached, ..RecordedBatch::default() }, place }
    }
}

/// The stamp of the record at a place of a frame: its own, or its place and what the header says.
pub(crate) fn stamp_of(
    header: &FrameHeader,
    payload: &Payload<'_>,
    place: Place,
) -> Result<Stamp, Malformed> {
    if !header.stamped {
        return Ok(Stamp { position: place.own_position(), recorded_at: header.recorded_at });
    }
    let at = usize::try_from(place.get() - header.first_place.get()).map_err(|_| Malformed)?;
    payload.stamp(at).ok_or(Malformed)
}

fn retraction(
    Stamp { position, recorded_at }: Stamp,
    stored: &StoredRetraction<'_>,
    batches: &Batches,
) -> Result<Retraction, Malformed> {
    Ok(Retraction {
        position,
        id: stored.id(),
        occurred_at: stored.occurred_at,
        recorded_at,
        batch: batches.find(stored.batch.as_str()).ok_or(Malformed)?,
    })
}

fn fact(
    Stamp { position, recorded_at }: Stamp,
    stored: &StoredEvent<'_>,
    (members, batches): (&Members, &Batches),
) -> Result<Fact, Malformed> {
    let batch = match stored.batch {
        Some(name) => Some(batches.find(name.as_str()).ok_or(Malformed)?),
        None => None,
    };
    Ok(Fact {
        position,
        id: stored.id,
        occurred_at: stored.occurred_at,
        recorded_at,
        member: members.member_ref(stored.member).ok_or(Malformed)?,
        event_type: stored.event_type,
        created_confirmed: stored.confirmed == Some(true),
        counts: stored.counts,
        batch,
    })
}

fn event<'a>(stored: &StoredEvent<'a>, members: &'a Members) -> Result<Event<'a>, Malformed> {
    let member = members.member_ref(stored.member).ok_or(Malformed)?;
    let names = (members.tenant_id(member.tenant), members.user_id(member.person));
    Ok(Event {
        session_id: stored.session_id,
        from_tenant_id: stored.from_tenant_id,
        confirmed: stored.confirmed,
        counts: stored.counts,
        batch: stored.batch,
        ..Event::new(stored.id, stored.event_type, names, stored.occurred_at)
    })
}
