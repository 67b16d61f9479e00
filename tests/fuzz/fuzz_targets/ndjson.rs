//! A request body as NDJSON. What is one good line there is one good object as JSON, and the same event.
#![no_main]

use lastseen_event::UtcInstant;
use lastseen_event::wire::{Decoded, decode_json, decode_ndjson};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let latest = UtcInstant::from_micros(1_800_000_000_000_000);
    let Ok(Decoded { batch, faults }) = decode_ndjson(body, latest) else { return };
    assert!(faults.is_sorted_by_key(|fault| fault.index));
    if batch.len() == 1 && faults.is_empty() {
        let json = decode_json(body, latest).expect("a good line is good JSON");
        assert!(json.batch.iter().eq(batch.iter()));
    }
});
