//! Whatever a peer sends on the control socket: a value or an error, never a panic.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use proxyd::control::{
    Request, Response,
    wire::{MAX_FRAME, decode, encode, read_frame_blocking, read_hello_blocking},
};

fuzz_target!(|bytes: &[u8]| {
    let mut stream = Cursor::new(bytes);
    let _ = read_hello_blocking(&mut stream);
    while let Ok(Some(body)) = read_frame_blocking(&mut stream, MAX_FRAME) {
        let _ = decode::<Response>(&body, MAX_FRAME);
        if let Ok(request) = decode::<Request>(&body, MAX_FRAME) {
            let again = encode(&request, MAX_FRAME).expect("what was decoded can be encoded");
            assert_eq!(decode::<Request>(&again, MAX_FRAME).expect("and decoded"), request);
        }
    }
    let _ = decode::<Request>(bytes, MAX_FRAME);
    let _ = decode::<Response>(bytes, MAX_FRAME);
});
