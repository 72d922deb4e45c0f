//! See `src/fql.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pipewright_fuzz::fql::run(data));
