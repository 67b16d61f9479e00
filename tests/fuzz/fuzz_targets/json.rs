//! A request body as JSON: an event or an array of them.
#![no_main]

use lastseen_event::UtcInstant;
use lastseen_event::wire::{Decoded, decode_json};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    if let Ok(Decoded { batch, faults }) = decode_json(body, UtcInstant::from_micros(1_800_000_000_000_000)) {
        assert!(!batch.is_empty() || !faults.is_empty(), "a body that is read has an event, good or bad");
        assert!(faults.is_sorted_by_key(|fault| fault.index));
        assert_eq!(batch.iter().count(), batch.len());
    }
});
