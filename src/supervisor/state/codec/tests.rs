//! Tests of the book as bytes.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    control::{Event, EventKind, LoadError},
    facts::{ListenerCounts, Trigger},
    link::board::ClientSecret,
    supervisor::state::{EventsBook, LoadsBook, WorkerBook},
    tls::tickets::TicketSecrets,
};

fn encoded(book: &Book) -> Vec<u8> {
    let mut room = vec![0; 1 << 20];
    let length = book.encode(&mut room).unwrap();
    room.truncate(length);
    room
}

fn event(seq: u64, message: &str) -> Arc<Event> {
    Arc::new(Event {
        seq,
        at: Timestamp::from_second(1).unwrap(),
        kind: EventKind::Reloaded,
        message: message.to_owned(),
    })
}

fn full(numbers: &[u64], text: &str) -> Book {
    let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
    let mut counts = ListenerCounts::default();
    counts.connections.total = number(0);
    let mut secrets = TicketSecrets::default();
    secrets.rotate().unwrap();
    let mut book = Book {
        reign: number(1),
        program: text.to_owned(),
        loads: LoadsBook {
            generation: number(2),
            last_error: Some(LoadError {
                at: Timestamp::UNIX_EPOCH,
                trigger: Trigger::Watch,
                message: text.to_owned(),
            }),
            ..LoadsBook::default()
        },
        events: EventsBook {
            last: number(3),
            newest: numbers.iter().map(|it| event(*it, text)).collect(),
        },
        clients: Some(ClientSecret::new().unwrap()),
        ..Book::default()
    };
    book.tickets.secrets = secrets;
    book.ids.origins = numbers.to_vec();
    book.workers.retired.insert(text.to_owned(), counts.clone());
    book.workers.living.push(WorkerBook {
        origin: number(4),
        counts: [(text.to_owned(), counts)].into(),
        ..WorkerBook::default()
    });
    book
}

proptest! {
    #[test]
    fn a_book_is_read_as_it_was_written(numbers: Vec<u64>, text: String) {
        let book = full(&numbers, &text);
        let bytes = encoded(&book);
        let read = Book::decode(&bytes).unwrap();
        prop_assert_eq!(read.events.newest, book.events.newest.clone());
        prop_assert_eq!(&read.workers.retired, &book.workers.retired);
        prop_assert_eq!(encoded(&Book::decode(&bytes).unwrap()), bytes);
    }

    #[test]
    fn no_bytes_are_too_bad_to_be_judged(bytes: Vec<u8>, place: prop::sample::Index, byte: u8) {
        let _ = Book::decode(&bytes);
        let mut book = encoded(&full(&[1, 2, 3], "text"));
        let place = place.index(book.len());
        book[place] = byte;
        let _ = Book::decode(&book);
        let _ = Book::decode(&book[..place]);
    }
}

#[test]
fn what_is_no_book_or_one_of_a_release_too_far_away_is_told_so() {
    let bytes = encoded(&Book::default());
    // What a program of two releases later has left: its own version and the one before that.
    let mut other = KIND.to_vec();
    other.extend(2_u16.to_be_bytes());
    for version in [versions::VERSION + 1, versions::VERSION + 2] {
        other.extend(version.to_be_bytes());
        other.extend(2_u64.to_be_bytes());
    }
    other.extend(b"{}{}");
    let error = Book::decode(&other).unwrap_err().to_string();
    assert!(error.contains("start one between the two first"), "{error}");
    other[0] = b'x';
    let is = |bytes: &[u8], unread| matches!(Book::decode(bytes), Err(Unreadable::Unread(it)) if it == unread);
    assert!(is(&other, Unread::Other));
    assert!(is(&bytes[..bytes.len() - 1], Unread::Short));
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() = b'x';
    assert!(matches!(
        Book::decode(&damaged),
        Err(Unreadable::Content(_))
    ));
    Book::default().encode(&mut vec![0; bytes.len()]).unwrap();
    Book::default()
        .encode(&mut vec![0; bytes.len() - 1])
        .unwrap_err();
}

fn of_json(json: &str) -> Book {
    Book::decode(&versions::written(KIND, json.as_bytes())).unwrap()
}

#[test]
fn parts_that_another_version_wrote_are_passed_over_and_the_others_read() {
    let book = of_json(
        r#"{"reign": 7, "something": {"new": 1},
            "loads": {"generation": 3, "rollback": "by-telepathy", "last_error": {"odd": true}},
            "events": {"last": 2, "newest": [
                {"seq": 1, "at": "1970-01-01T00:00:01Z", "kind": "of-tomorrow", "message": ""},
                {"seq": 2, "at": "1970-01-01T00:00:01Z", "kind": "reloaded", "message": "two"}]},
            "hook": 3,
            "workers": {"living": [5, {"id": 6}], "retired": {"a": {"odd": 1}, "b": {"connections": 4}}, "denied": 9}}"#,
    );
    assert_eq!((book.reign, book.loads.generation), (7, 3));
    assert!(book.loads.rollback.is_none() && book.loads.last_error.is_none());
    assert_eq!(book.events.newest, [event(2, "two")]);
    assert_eq!(book.workers.living.len(), 1);
    assert_eq!(book.workers.denied, 9);
    let empty = of_json("{}");
    assert_eq!((empty.reign, empty.events.last), (0, 0));
}

#[test]
fn secrets_survive_and_are_never_printed() {
    let book = full(&[1], "text");
    let shown = format!("{book:?}");
    assert!(shown.contains("TicketSecrets(1 secrets)") && shown.contains("ClientSecret(..)"));
    let json = serde_json::to_value(&book).unwrap();
    let again = serde_json::to_value(Book::decode(&encoded(&book)).unwrap()).unwrap();
    assert_eq!(json["tickets"]["secrets"][0].as_array().unwrap().len(), 32);
    assert_eq!(json["tickets"], again["tickets"]);
    assert_eq!(json["clients"], again["clients"]);
}
