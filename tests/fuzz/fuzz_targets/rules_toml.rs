//! See `src/rules_toml.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pipewright_fuzz::rules_toml::run(data));
