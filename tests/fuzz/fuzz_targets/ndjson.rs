//! A request body as NDJSON. What is one good line there is one good object as JSON, and the same event.
#![no_main]

use lastseen_event::UtcInstant;
use lastseen_event::wire::{Accept, Decoded, FaultsKept, decode_json, decode_ndjson};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let latest = UtcInstant::from_micros(1_800_000_000_000_000);
    let Ok(decoded) = decode_ndjson(body, Accept::all(latest, FaultsKept::All), || ()) else { return };
    let Decoded { batch, faults, faults_total, .. } = decoded;
    assert!(faults.is_sorted_by_key(|fault| fault.index));
    assert_eq!(faults.len(), faults_total);
    let first =
        decode_ndjson(body, Accept::all(latest, FaultsKept::First(2)), || ()).expect("it was read before");
    assert_eq!((&first.faults[..], first.faults_total), (&faults[..faults_total.min(2)], faults_total));
    if batch.len() == 1 && faults.is_empty() {
        let json =
            decode_json(body, Accept::all(latest, FaultsKept::All), || ()).expect("a good line is good JSON");
        assert!(json.batch.iter().eq(batch.iter()));
    }
});
