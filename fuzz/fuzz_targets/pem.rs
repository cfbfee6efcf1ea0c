#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxyd::tls::fuzzing::pem(data));
