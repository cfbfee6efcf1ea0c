#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxyd::control::fuzzing::control_frame(data));
