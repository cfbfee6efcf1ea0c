//! One entry for each fuzz target, shared with the test that replays the recorded inputs.
//!
//! Each takes any bytes and panics when a promise of this room is broken.

#![expect(
    clippy::missing_panics_doc,
    reason = "to panic is what they are for, said above"
)]

use super::state::Book;

/// Reads `data` as the book of the supervisor before this one; what was read is written and read back.
pub fn book(data: &[u8]) {
    let Ok(book) = Book::decode(data) else { return };
    let written = encoded(&book);
    let again = Book::decode(&written).expect("what was written can be read");
    assert_eq!(encoded(&again), written);
}

fn encoded(book: &Book) -> Vec<u8> {
    let mut room = vec![0; 1 << 20];
    loop {
        match book.encode(&mut room) {
            Ok(length) => {
                room.truncate(length);
                return room;
            }
            Err(_) => room.resize(room.len() * 2, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn recorded_inputs_are_survived_and_hold_books() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/supervisor_book");
        let files = corpus.read_dir().expect("the target has a corpus");
        let mut books = 0;
        for file in files {
            let data = fs::read(file.unwrap().path()).unwrap();
            book(&data);
            books += usize::from(Book::decode(&data).is_ok());
        }
        assert!(books >= 3);
    }
}
