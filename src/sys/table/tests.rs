use std::{
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::process::CommandExt as _,
    },
    process::{Command, Stdio},
};

use rustix::{
    fs::fstat,
    io::{FdFlags, fcntl_setfd},
};

use super::*;

const WORDS: usize = 4096;
const BYTES: usize = 1 << 20;

fn table() -> OwnedFd {
    create((WORDS * WORD + BYTES) as u64).unwrap()
}

/// Returns how many bytes of memory a table takes.
fn taken(file: impl AsFd) -> u64 {
    u64::try_from(fstat(file).unwrap().st_blocks).unwrap() * 512
}

#[test]
fn what_a_worker_wrote_is_read_by_its_heir() {
    let file = table();
    let own = Own::map(file.try_clone().unwrap(), WORDS, BYTES).unwrap();
    own.words[WORDS - 1].store(7, Ordering::Relaxed);
    own.bytes[0] = 1;
    own.bytes[BYTES - 1] = 2;
    let inherited = Inherited::map(file, WORDS, BYTES).unwrap();
    assert_eq!(inherited.word(WORDS - 1), Some(7));
    assert_eq!(inherited.word(0), Some(0));
    assert_eq!(inherited.word(WORDS), None);
    assert_eq!(inherited.word(usize::MAX), None);
    let bytes = inherited.bytes();
    assert_eq!(bytes.len(), BYTES);
    assert_eq!((bytes[0], bytes[1], bytes[BYTES - 1]), (1, 0, 2));
}

#[test]
fn a_large_table_takes_memory_only_where_it_was_touched() {
    let bytes = 16 << 30;
    let file = create((WORDS * WORD + bytes) as u64).unwrap();
    let own = Own::map(file.try_clone().unwrap(), WORDS, bytes).unwrap();
    own.bytes[bytes - 1] = 1;
    assert!(taken(&file) <= 2 << 20, "{}", taken(&file));
}

#[test]
fn what_could_be_shortened_and_what_has_another_length_is_not_mapped() {
    let file = memfd::create("test").unwrap();
    ftruncate(&file, (WORDS * WORD + BYTES) as u64).unwrap();
    let error = Own::map(file, WORDS, BYTES).unwrap_err();
    assert!(error.to_string().contains("not sealed"), "{error}");
    for bytes in [BYTES - 1, BYTES + 1] {
        let error = Inherited::map(table(), WORDS, bytes).unwrap_err();
        assert!(error.to_string().contains("1081344 bytes"), "{error}");
    }
    for (words, bytes) in [(WORDS + 1, BYTES - WORD), (usize::MAX, 0), (0, usize::MAX)] {
        Own::map(table(), words, bytes).unwrap_err();
        Inherited::map(table(), words, bytes).unwrap_err();
    }
    let null = std::fs::File::open("/dev/null").unwrap();
    Inherited::map(null.into(), WORDS, BYTES).unwrap_err();
}

#[test]
fn no_process_can_change_the_length_or_the_seals() {
    let file = table();
    for length in [0, (WORDS * WORD + 2 * BYTES) as u64] {
        assert_eq!(ftruncate(&file, length), Err(Errno::PERM));
    }
    assert_eq!(
        fcntl_add_seals(&file, SealFlags::WRITE),
        Err(Errno::PERM),
        "its worker can always write it"
    );
}

#[test]
fn a_table_that_another_process_has_locked_is_not_mapped_until_that_process_ends() {
    let file = table();
    let theirs = file.as_raw_fd();
    // The lock is taken behind fork(2), by the process that becomes `cat`; it waits for its input to end.
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    // SAFETY: fcntl(2) may be called between fork(2) and exec(2). The descriptor is open until this test ends.
    unsafe {
        command.pre_exec(move || {
            let theirs = BorrowedFd::borrow_raw(theirs);
            // Closing it would drop the lock.
            fcntl_setfd(theirs, FdFlags::empty())?;
            lock(theirs)
        });
    }
    let mut other = command.spawn().unwrap();
    for _ in 0..2 {
        let error = Own::map(file.try_clone().unwrap(), WORDS, BYTES).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let error = Inherited::map(file.try_clone().unwrap(), WORDS, BYTES).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
    other.kill().unwrap();
    other.wait().unwrap();
    Own::map(file, WORDS, BYTES).unwrap();
}

#[test]
fn what_was_given_back_is_zero_and_takes_no_memory() {
    let file = table();
    let own = Own::map(file.try_clone().unwrap(), WORDS, BYTES).unwrap();
    own.bytes.fill(9);
    let full = taken(&file);
    let page = page_size();
    // It begins and ends within a page.
    let range = 100..BYTES - 100;
    give_back(&mut own.bytes[range.clone()]);
    // Reading a page takes memory for it again.
    let pages = (BYTES - 2 * page) as u64;
    assert_eq!(full - taken(&file), pages);
    assert!(own.bytes[range].iter().all(|byte| *byte == 0));
    assert_eq!((own.bytes[99], own.bytes[BYTES - 100]), (9, 9));
    for part in [0..0, 10..20, 0..page - 1, page + 1..2 * page + 1] {
        own.bytes[part.clone()].fill(3);
        give_back(&mut own.bytes[part.clone()]);
        assert!(own.bytes[part].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn memory_that_is_no_table_becomes_zero_too() {
    let mut bytes = vec![5; 3 * page_size()];
    give_back(&mut bytes);
    assert!(bytes.iter().all(|byte| *byte == 0));
}
