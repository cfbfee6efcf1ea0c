//! The entry of the fuzz target, shared with the test that replays the recorded inputs.

use super::{
    Request, Response, cookie, fixed,
    verdict::Verdict,
    wire::{MAX_FRAME, decode, encode, read_frame_blocking, read_hello_blocking},
};

/// Reads `data` as what a peer sends on the control socket: hello, then frames, behind a cookie, a verdict or
/// neither.
///
/// # Panics
///
/// When what was decoded is not encoded and decoded as itself.
pub fn control_frame(data: &[u8]) {
    let mut stream = data;
    let _ = read_hello_blocking(&mut stream);
    frames(stream);
    frames(stream.get(cookie::LENGTH..).unwrap_or_default());
    if let Ok(verdict) = Verdict::read(&mut stream) {
        let again = Verdict::read(&mut verdict.to_bytes().as_slice()).ok();
        // A reason that is no UTF-8 grows when it is read, and may then be cut.
        assert!(again.is_some(), "what was read can be written and read");
        frames(stream);
    }
    message(data);
}

fn frames(mut stream: &[u8]) {
    while let Ok(Some(body)) = read_frame_blocking(&mut stream, MAX_FRAME) {
        message(&body);
    }
}

fn message(body: &[u8]) {
    let _ = fixed::answer(body);
    if let Ok(request) = fixed::request(body) {
        let again = fixed::encode(&request).expect("what was decoded can be encoded");
        assert_eq!(fixed::request(&again).expect("and decoded"), request);
    }
    let _ = decode::<Response>(body, MAX_FRAME);
    if let Ok(request) = decode::<Request>(body, MAX_FRAME) {
        let again = encode(&request, MAX_FRAME).expect("what was decoded can be encoded");
        let again = decode::<Request>(&again, MAX_FRAME).expect("and decoded");
        assert_eq!(again, request);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn recorded_inputs_are_survived() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/control_frame");
        let files = corpus.read_dir().expect("the target has a corpus");
        let inputs: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        assert!(!inputs.is_empty());
        for input in inputs {
            control_frame(&std::fs::read(input).expect("a readable file"));
        }
    }

    proptest! {
        #[test]
        fn any_input_is_survived(data: Vec<u8>) {
            control_frame(&data);
        }
    }
}
