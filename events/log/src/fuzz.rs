//! The decoders of bytes from disk, for fuzz targets: whatever the bytes are, they end without a panic and
//! without an allocation that the bytes do not pay for.

use lastseen_event::MemberOrdinal;

use crate::damage::Malformed;
use crate::format::Version;
use crate::identity::IdKey;
use crate::ids::run;
use crate::manifest::Manifest;
use crate::members::image::{Counts, Restoring};
use crate::members::{Members, Seed};
use crate::segment::index;
use crate::segment::members::define;
use crate::wal::frame::{FileHeader, FrameHeader, FrameKind};
use crate::wal::payload::{Layout, Payload};
use crate::wal::settled::{Extent, next_header, used_len};
use lastseen_store::{LogId, MemberDictionary};

/// Reads `bytes` as a file header and as frames of a log.
///
/// # Panics
/// If the walk over them is wrong.
pub fn frame(bytes: &[u8]) {
    let header = FileHeader::decode(bytes).unwrap_or(FileHeader {
        version: Version::NEWEST,
        number: 1,
        first_place: crate::place::Place::new(1),
        log_id: LogId::from_bytes([0; 16]),
        capacity: 0,
    });
    let log_id = header.log_id;
    if let Some((header, payload)) = FrameHeader::decode_frame(bytes, log_id) {
        assert!(header.frame_len() <= bytes.len());
        assert_eq!(payload.len(), header.payload_len);
    }
    let extent = Extent::of(bytes, &header);
    assert!(extent.records == 0 || extent.end <= bytes.len());
    let rest = bytes.get(extent.end..).unwrap_or_default();
    assert!(used_len(rest) <= rest.len());
    assert!(next_header(rest, log_id).is_none_or(|at| at < rest.len()));
}

/// Reads `bytes` as the payload of a frame whose checksum was right, of every version and kind.
///
/// # Panics
/// If more is read than there is.
pub fn payload(bytes: &[u8]) {
    for version in [Version::V1, Version::V2] {
        for kind in [FrameKind::Events, FrameKind::Retraction] {
            for stamps in [0, 1, 7, u32::MAX] {
                payload_of(Layout { version, kind, stamps }, bytes);
            }
        }
    }
}

fn payload_of(layout: Layout, bytes: &[u8]) {
    let Ok(payload) = Payload::new(layout, bytes) else { return };
    let mut members = 0;
    let whole = payload.for_each_member(|_| {
        members += 1;
        Ok(())
    });
    assert!(whole == Err(Malformed) || members * 8 <= bytes.len(), "a member takes at least eight bytes");
    let stamps = (0..layout.stamps as usize).map_while(|place| payload.stamp(place)).count();
    assert!(stamps == layout.stamps as usize && stamps * 16 <= bytes.len(), "a stamp takes sixteen bytes");
    let records = payload.records().flatten().count();
    assert!(records * 10 <= bytes.len(), "a record takes at least ten bytes");
}

/// Reads `bytes` as what stands in the files of sealed history, behind a checksum that was right: the first byte says in which.
///
/// # Panics
/// If more is read than there is.
pub fn sealed(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 5 {
        0 => manifest(bytes),
        1 => {
            let mut batches = Vec::new();
            let _ = index::reach_in(bytes);
            let _ = index::decode_batches(bytes, &mut batches);
            assert!(batches.len() * 11 <= bytes.len(), "a batch takes at least eleven bytes");
        }
        2 => {
            let mut members = Members::new(IdKey::default());
            let _ = define(&mut members, bytes, |_| true, false);
            check_names(&members);
        }
        3 => dictionary(bytes),
        _ => {
            let _ = run::log_id_in(bytes);
        }
    }
}

fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = format!("{{\"crc32c\":{},\"manifest\":{text}}}", crc32c::crc32c(bytes));
    if let Ok(manifest) = Manifest::decode(file.as_bytes()) {
        assert!(manifest.segments.iter().map(|entry| entry.positions[1]).is_sorted());
    }
}

/// Parts of a dictionary, each with its length in two bytes.
fn dictionary(mut bytes: &[u8]) {
    let counts = Counts { tenants: 16, persons: 256, ordinals: 256, members: 256, text: 4_096 };
    let mut restoring = Restoring::new(IdKey::default(), Seed(0), counts);
    while let Some(([low, high], rest)) = bytes.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([*low, *high]));
        let Some((part, rest)) = rest.split_at_checked(len) else { return };
        if restoring.read(part).is_err() {
            return;
        }
        bytes = rest;
    }
    let _ = restoring.finish();
}

/// Panics unless each member is found by its names.
fn check_names(members: &Members) {
    let refs = (0..members.slots().min(4_096))
        .filter_map(|slot| members.member_ref(MemberOrdinal::new(u32::try_from(slot).unwrap_or(u32::MAX))));
    for member in refs {
        let (tenant, user) = (members.tenant_id(member.tenant), members.user_id(member.person));
        assert_eq!(members.find(tenant.as_str(), user.as_str()), Some(member));
    }
}
