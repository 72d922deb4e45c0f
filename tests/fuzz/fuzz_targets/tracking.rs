//! See `src/tracking.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pipewright_fuzz::tracking::run(data));
