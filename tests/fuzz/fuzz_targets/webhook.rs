//! See `src/webhook.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pipewright_fuzz::webhook::run(data));
