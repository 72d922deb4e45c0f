//! See `src/plan.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pipewright_fuzz::plan::run(data));
