#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxyd::supervisor::fuzzing::book(data));
