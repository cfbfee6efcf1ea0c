#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxyd::protocol::fuzzing::postgres_login(data));
