//! Bytes from disk as a manifest, an index file, a members file, a dictionary or a run of ids.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lastseen_log::fuzz::sealed(bytes));
