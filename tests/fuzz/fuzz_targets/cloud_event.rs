//! A request body as an event of CloudEvents: alone it is what it is in a batch.
#![no_main]

use lastseen_event::UtcInstant;
use lastseen_event::wire::{Accept, FaultsKept, decode_cloud_event, decode_cloud_event_batch};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let accept = Accept::all(UtcInstant::from_micros(1_800_000_000_000_000), FaultsKept::All);
    let Ok(one) = decode_cloud_event(body, accept) else { return };
    assert_eq!(one.batch.len() + usize::from(!one.faults.is_empty()), 1);
    let many = [b"[", body, b",", body, b"]"].concat();
    let many = decode_cloud_event_batch(&many, accept, || ()).expect("two events are a batch");
    assert_eq!(many.batch.len(), 2 * one.batch.len());
    assert_eq!(many.faults_total, 2 * one.faults_total);
});
