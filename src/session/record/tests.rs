//! The bytes of records, and what is no record.

use super::*;
use crate::{control::golden::Golden, session::scratch::INPUT_LEN};

#[test]
fn golden_bytes_of_a_session_belong_to_their_version() {
    let samples = samples::all().into_iter();
    samples
        .fold(
            Golden::new("session", VERSION, "session::record::VERSION"),
            |golden, (name, record)| golden.bytes(name, &record.encode().unwrap()),
        )
        .check();
}

#[test]
fn what_is_written_is_read_again() {
    for (name, record) in samples::all() {
        let bytes = record.encode().unwrap();
        let read = Record::decode(&bytes).unwrap();
        assert_eq!(*read.encode().unwrap(), *bytes, "{name}");
        assert_eq!(format!("{read:?}"), format!("{record:?}"), "{name}");
    }
}

#[test]
fn a_record_that_is_cut_or_too_long_is_refused() {
    for (name, record) in samples::all() {
        let bytes = record.encode().unwrap();
        for length in 0..bytes.len() {
            assert!(Record::decode(&bytes[..length]).is_err(), "{name} {length}");
        }
        let long = [&bytes[..], &[0]].concat();
        assert!(
            matches!(Record::decode(&long), Err(Damaged::Long)),
            "{name}"
        );
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    let (_, record) = samples::all().remove(0);
    let mut bytes = record.encode().unwrap().to_vec();
    // Behind the moving part and the body's length.
    let (moving, _) = bytes.split_first_chunk::<4>().unwrap();
    let at = 4 + u32::from_be_bytes(*moving) as usize + 4;
    bytes[at..at + 2].copy_from_slice(&[1, 2]);
    assert!(matches!(
        Record::decode(&bytes),
        Err(Damaged::Version(0x102))
    ));
}

#[test]
fn a_length_is_bounded_before_it_is_believed() {
    let (_, record) = &samples::all()[0];
    let mut bytes = record.encode().unwrap().to_vec();
    let at = bytes.windows(5).position(|it| it == b"early").unwrap();
    bytes[at - 4..at].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(Record::decode(&bytes), Err(Damaged::Length)));
}

#[test]
fn a_session_that_holds_too_much_is_not_recorded() {
    let (_, mut record) = samples::all().remove(0);
    record.client.unsent = Zeroizing::new(vec![0; MOST_WAITING + 1]);
    let long = TooLong {
        length: MOST_WAITING + 1,
        limit: MOST_WAITING,
    };
    assert_eq!(record.encode().unwrap_err(), long);
}

#[test]
fn a_head_that_finds_no_room_in_the_scratch_space_is_neither_written_nor_read() {
    let (_, mut record) = samples::all().remove(1);
    let long = TooLong {
        length: INPUT_LEN + 1,
        limit: INPUT_LEN,
    };
    record.client.taken = u64::MAX;
    record.client.held = Zeroizing::new(b"a head".to_vec());
    let mut bytes = record.encode().unwrap().to_vec();
    let at = bytes.windows(6).position(|it| it == b"a head").unwrap();
    let length = u32::try_from(long.length).unwrap().to_be_bytes();
    bytes[at - 4..at].copy_from_slice(&length);
    assert!(matches!(Record::decode(&bytes), Err(Damaged::Length)));
    record.client.held = Zeroizing::new(vec![0; long.length]);
    assert_eq!(record.encode().unwrap_err(), long);
}

#[test]
fn nothing_secret_is_shown() {
    for (_, record) in samples::all() {
        let shown = format!("{record:?}");
        assert!(
            !shown.contains("early\"") && !shown.contains("unsent\""),
            "{shown}"
        );
    }
}
