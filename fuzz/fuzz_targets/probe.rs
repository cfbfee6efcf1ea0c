#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxyd::probe::fuzzing::any_bytes(data));
