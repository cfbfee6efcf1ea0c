//! The entry of the fuzz target, shared with the test that replays the recorded inputs.

use std::fmt::Debug;

use super::{Ask, FORMAT, FromPage, FromResolver, FromWorker, Message, end};

/// Reads `data` as a packet of a child that was taken over: as the supervisor reads it from a worker, the
/// resolver or the page, and as the resolver reads it from a worker.
///
/// # Panics
///
/// When what was decoded breaks its own limits, or is not encoded and decoded as itself.
pub fn from_child(data: &[u8]) {
    message::<FromWorker>(data);
    message::<FromResolver>(data);
    message::<FromPage>(data);
    message::<Ask>(data);
}

fn message<In: Message + Debug + PartialEq>(packet: &[u8]) {
    if let Ok(message) = end::decode::<In>(packet, FORMAT) {
        let again = end::encode(&message, FORMAT).expect("what was decoded can be encoded");
        let again = end::decode::<In>(&again, FORMAT).expect("and decoded");
        assert_eq!(again, message);
        assert!(*message.descriptors().end() <= In::MOST_DESCRIPTORS);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    fn corpus() -> Vec<Vec<u8>> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/link_from_child");
        let files = corpus.read_dir().expect("the target has a corpus");
        let read = |it: std::io::Result<fs::DirEntry>| fs::read(it.unwrap().path()).unwrap();
        files.map(read).collect()
    }

    #[test]
    fn recorded_inputs_are_survived_and_hold_messages() {
        let inputs = corpus();
        for input in &inputs {
            from_child(input);
        }
        let messages = inputs
            .iter()
            .filter(|it| end::decode::<FromWorker>(it, FORMAT).is_ok());
        assert!(messages.count() >= 5);
    }

    proptest! {
        #[test]
        fn any_packet_is_survived(data: Vec<u8>) {
            from_child(&[&FORMAT.to_be_bytes()[..], &data].concat());
        }

        #[test]
        fn a_message_with_any_byte_changed_is_survived(
            pick in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            let inputs = corpus();
            let mut input = inputs[pick.index(inputs.len())].clone();
            let place = place.index(input.len());
            input[place] = byte;
            from_child(&input);
        }
    }
}
