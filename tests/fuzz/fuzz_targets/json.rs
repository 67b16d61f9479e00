//! A request body as JSON: an event or an array of them.
#![no_main]

use lastseen_event::UtcInstant;
use lastseen_event::wire::{Accept, Decoded, FaultsKept, decode_json};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let latest = UtcInstant::from_micros(1_800_000_000_000_000);
    if let Ok(Decoded { batch, faults, faults_total, .. }) =
        decode_json(body, Accept::all(latest, FaultsKept::All), || ())
    {
        assert_eq!(faults.len(), faults_total);
        assert!(!batch.is_empty() || !faults.is_empty(), "a body that is read has an event, good or bad");
        assert!(faults.is_sorted_by_key(|fault| fault.index));
        assert_eq!(batch.iter().count(), batch.len());
    }
});
