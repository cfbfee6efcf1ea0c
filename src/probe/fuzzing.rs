//! What fuzzers feed with bytes of strangers.

use super::{hosts, reply, stranger::Stranger};

/// Takes bytes for a list of servers, and for what a server says before TLS.
///
/// # Panics
///
/// When what is told of them could steer a terminal.
pub fn any_bytes(bytes: &[u8]) {
    let _ = hosts::parse(bytes, None, None);
    let _ = reply::mysql(bytes);
    let _ = reply::postgres(bytes, true);
    let told = Stranger::of(bytes).told(crate::protocol::Protocol::Tcp);
    assert!(!told.contains(char::is_control), "{told:?}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            any_bytes(&bytes);
        }

        #[test]
        fn any_greeting_is_survived(behind: Vec<u8>, code in prop_oneof![Just(10), Just(255)]) {
            let length = u8::try_from(behind.len() % 200).unwrap();
            any_bytes(&[&[length, 0, 0, 0, code][..], &behind].concat());
            any_bytes(&[b"E\0\0", &behind[..]].concat());
        }
    }
}
