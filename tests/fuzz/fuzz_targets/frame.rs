//! Bytes from disk as a file header and as frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lastseen_log::fuzz::frame(bytes));
