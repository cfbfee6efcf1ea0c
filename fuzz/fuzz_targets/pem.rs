#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxyd::store::fuzzing::pem(data));
