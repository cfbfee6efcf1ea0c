#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxyd::tls::records::fuzzing::tls_records(data));
