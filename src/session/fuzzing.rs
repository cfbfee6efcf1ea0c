//! The entry of the fuzz target, shared with the test that replays the recorded inputs.

use super::record::{MOST_BYTES, Record};

/// Reads `data` as the record of a session, as a worker reads one that another has left behind.
///
/// # Panics
///
/// When what was read and written again is read as something else.
pub fn record(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        let written = record.encode().expect("what was read can be written");
        assert!(written.len() <= MOST_BYTES);
        let again = Record::decode(&written).expect("what was written can be read");
        assert!(again.encode().is_ok_and(|again| *again == *written));
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use proptest::{prelude::*, sample::Index};

    use super::*;
    use crate::session::record::samples;

    /// Returns the recorded inputs: one of each sample, written anew with [`super::record`]'s version.
    fn corpus() -> Vec<Vec<u8>> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/session_record");
        if env::var_os("PROXYD_REGENERATE").is_some() {
            fs::create_dir_all(&corpus).unwrap();
            for (name, record) in samples::all() {
                fs::write(corpus.join(name), &*record.encode().unwrap()).unwrap();
            }
        }
        let files = corpus.read_dir().expect("the target has a corpus");
        let read = |it: std::io::Result<fs::DirEntry>| fs::read(it.unwrap().path()).unwrap();
        files.map(read).collect()
    }

    #[test]
    fn recorded_inputs_are_records_and_survived() {
        let inputs = corpus();
        assert_eq!(inputs.len(), samples::all().len());
        for input in inputs {
            assert!(Record::decode(&input).is_ok());
            record(&input);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data: Vec<u8>) {
            record(&data);
        }

        #[test]
        fn damaged_records_are_survived(
            which: Index, at: Index, byte: u8, cut: Index, damages in 0..3_usize,
        ) {
            let all = samples::all();
            let (_, sample) = &all[which.index(all.len())];
            let mut data = sample.encode().unwrap().to_vec();
            for damage in 0..damages {
                let at = (at.index(data.len()) + 7 * damage) % data.len();
                data[at] ^= byte;
            }
            data.truncate(cut.index(data.len() + 1));
            record(&data);
        }
    }
}
