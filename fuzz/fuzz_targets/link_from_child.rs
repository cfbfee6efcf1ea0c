#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxyd::link::fuzzing::from_child(data));
