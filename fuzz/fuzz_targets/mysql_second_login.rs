#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxyd::protocol::fuzzing::mysql_second_login(data));
