//! Bytes from disk as the payload of a frame: members and events.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lastseen_log::fuzz::payload(bytes));
