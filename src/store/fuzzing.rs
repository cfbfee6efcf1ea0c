//! One entry for each fuzz target, shared with the test that replays the recorded inputs.
//!
//! Each takes any bytes and panics when a promise of this room is broken.

#![expect(
    clippy::missing_panics_doc,
    reason = "to panic is what they are for, said above"
)]

use std::fmt::Write as _;

use super::identity::{passphrase::Passphrase, pbes2, pkcs12};
use crate::x509::pem::{self, Block};

/// What the recorded stores and keys are encrypted with.
const PASSPHRASE: &[u8] = b"fuzzing";

/// Splits `data` into blocks; what they hold is written anew and read back.
pub fn pem(data: &[u8]) {
    let Ok(blocks) = pem::blocks(data) else {
        return;
    };
    assert!(!blocks.is_empty());
    let lines = data.split(|byte| *byte == b'\n').count();
    let mut text = String::new();
    for block in &blocks {
        assert!((1..=lines).contains(&block.line) && !block.der.is_empty());
        write(&mut text, block);
    }
    let again = pem::blocks(text.as_bytes()).expect("what was written is PEM");
    let shown = |block: &Block| (block.label.clone(), block.der.clone());
    assert!(blocks.iter().map(shown).eq(again.iter().map(shown)));
}

/// Writes a block, its body in base64.
fn write(text: &mut String, block: &Block) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut body = String::new();
    for three in block.der.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(three.get(at).copied().unwrap_or(0))
        });
        for digit in 0..4 {
            let place = (bits >> (18 - 6 * digit) & 0x3f) as usize;
            let padding = digit > three.len();
            body.push(if padding {
                '='
            } else {
                char::from(DIGITS[place])
            });
        }
    }
    let label = &block.label;
    // Writing into a `String` cannot fail.
    let _ = writeln!(
        text,
        "-----BEGIN {label}-----\n{body}\n-----END {label}-----"
    );
}

/// Opens `data` as PKCS#12 and as an encrypted key.
pub fn pkcs12(data: &[u8]) {
    let Ok(passphrase) = Passphrase::one_line(PASSPHRASE) else {
        return;
    };
    let _ = pbes2::decrypt_key(data, &passphrase);
    if let Ok(store) = pkcs12::read(data, &passphrase) {
        let most = data.len();
        assert!(store.certificates.iter().all(|it| it.len() <= most));
        assert!(store.keys.iter().all(|it| it.len() <= most));
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;

    use super::*;

    struct Target(&'static str, fn(&[u8]));

    const TARGETS: [Target; 2] = [Target("pem", pem), Target("pkcs12", pkcs12)];

    fn corpus(name: &str) -> Vec<PathBuf> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let files = corpus.join(name).read_dir();
        let files = files.expect("each target has a corpus");
        files.map(|file| file.expect("a file").path()).collect()
    }

    #[test]
    fn recorded_inputs_are_survived() {
        for Target(name, target) in TARGETS {
            let inputs = corpus(name);
            assert!(!inputs.is_empty(), "{name} has recorded inputs");
            for input in inputs {
                target(&std::fs::read(input).expect("a readable file"));
            }
        }
    }

    /// Otherwise they would say little about what is behind the encryption.
    #[test]
    fn recorded_stores_open() {
        let passphrase = Passphrase::one_line(PASSPHRASE).unwrap();
        let opened = corpus("pkcs12").into_iter().filter(|input| {
            let data = std::fs::read(input).expect("a readable file");
            let store = pkcs12::read(&data, &passphrase);
            store.is_ok_and(|it| !it.keys.is_empty() && !it.certificates.is_empty())
        });
        assert!(opened.count() >= 3);
    }

    proptest! {
        #[test]
        fn any_input_is_survived(data: Vec<u8>) {
            for Target(_, target) in TARGETS {
                target(&data);
            }
        }

        #[test]
        fn any_damage_to_a_recorded_store_is_survived(
            which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            bits in 1..=u8::MAX,
        ) {
            let inputs = corpus("pkcs12");
            let mut data = std::fs::read(which.get(&inputs)).expect("a readable file");
            let at = at.index(data.len());
            data[at] ^= bits;
            pkcs12(&data);
        }
    }
}
