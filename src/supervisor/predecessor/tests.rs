//! Tests of what is chosen of what was found.

use std::{os::fd::AsFd as _, sync::Arc};

use jiff::Timestamp;

use super::*;
use crate::{
    facts::Trigger,
    link::{Generation, Packs},
    supervisor::state::write_generation,
    sys::rewritten::Rewritten,
    tls::{Material, testing},
};

fn own() -> u32 {
    geteuid().as_raw()
}

fn copy(file: &Arc<OwnedFd>) -> OwnedFd {
    file.as_fd().try_clone_to_owned().unwrap()
}

fn book(reign: u64, program: &str) -> Rewritten {
    let book = Book {
        reign,
        program: program.to_owned(),
        ..Book::default()
    };
    let mut memory = Rewritten::new("test", 100_000).unwrap();
    memory.rewrite(|room| book.encode(room)).unwrap();
    memory
}

fn generation(reign: u64, number: u64) -> Vec<OwnedFd> {
    let material = Material {
        identities: vec![testing::any_identity("one")],
        listeners: vec![],
        system_roots: vec![],
    };
    let generation = Generation {
        number,
        loaded_at: Timestamp::UNIX_EPOCH,
        trigger: Trigger::Start,
        config: Arc::new(testing::config(vec![])),
        packs: Packs::default().next(&material).unwrap(),
        material,
    };
    let file = write_generation(&generation, reign).unwrap();
    let packs = generation.packs.descriptors();
    std::iter::once(copy(&file))
        .chain(packs.iter().map(copy))
        .collect()
}

fn state(book: &Rewritten, generation: Vec<OwnedFd>) -> Vec<OwnedFd> {
    let book = copy(&book.descriptor());
    std::iter::once(book).chain(generation).collect()
}

fn chosen(states: Vec<Vec<OwnedFd>>) -> Predecessor {
    let found = Found {
        states,
        ..Found::default()
    };
    found.choose(own()).unwrap()
}

#[test]
fn nothing_found_is_no_predecessor() {
    assert!(Found::default().choose(own()).is_none());
}

#[test]
fn the_newest_of_what_workers_hold_is_gone_on_with() {
    let (old, new) = (book(3, "old"), book(5, "new"));
    let states = vec![
        state(&old, generation(3, 9)),
        state(&new, generation(5, 7)),
        state(&new, vec![]),
        state(&new, generation(5, 8)),
        vec![],
    ];
    let predecessor = chosen(states);
    assert_eq!(predecessor.book.program, "new");
    let generation = predecessor.generation.unwrap();
    assert_eq!((generation.reign, generation.number), (5, 8));
    assert_eq!(predecessor.troubles, [""; 0]);
}

#[test]
fn what_cannot_be_read_costs_only_itself_and_is_told() {
    let null = || OwnedFd::from(std::fs::File::open("/dev/zero").unwrap());
    let good = book(1, "good");
    let predecessor = chosen(vec![vec![null(), null()], state(&good, generation(1, 2))]);
    assert_eq!(predecessor.book.program, "good");
    assert_eq!(predecessor.generation.unwrap().number, 2);
    let [trouble] = &predecessor.troubles[..] else {
        panic!("{:?}", predecessor.troubles)
    };
    assert!(trouble.contains("left what it knew"), "{trouble}");
    let nothing = chosen(vec![vec![null()]]);
    assert_eq!(nothing.book.reign, 0);
    assert!(nothing.generation.is_none());
}

#[test]
fn what_another_user_wrote_is_not_believed() {
    let good = book(1, "good");
    let states = vec![state(&good, generation(1, 2))];
    let found = Found {
        states,
        ..Found::default()
    };
    let predecessor = found.choose(own() + 1).unwrap();
    assert_eq!(predecessor.book.reign, 0);
    assert!(predecessor.generation.is_none());
    assert_eq!(predecessor.troubles.len(), 2, "{:?}", predecessor.troubles);
}
