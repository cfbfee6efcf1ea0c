//! Tests of memory that one process rewrites and others only read.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::fd::AsRawFd as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use rustix::io::Errno;

use super::*;

const MOST: usize = 200_000;

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn memory() -> Rewritten {
    Rewritten::new("test", MOST).unwrap()
}

fn put(memory: &mut Rewritten, bytes: &[u8]) {
    let write = |room: &mut [u8]| {
        room[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    };
    memory.rewrite(write).unwrap();
}

#[test]
fn what_was_written_last_is_read() {
    let mut memory = memory();
    let error = read(&*memory.descriptor(), own()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    for text in ["one", "", "three", "4"] {
        put(&mut memory, text.as_bytes());
        let held = read(&*memory.descriptor(), own()).unwrap();
        assert_eq!(*held, text.as_bytes());
    }
    let file = memory.descriptor();
    drop(memory);
    assert_eq!(*read(&*file, own()).unwrap(), *b"4");
}

#[test]
fn what_cannot_be_written_leaves_what_was_held() {
    let mut memory = memory();
    put(&mut memory, b"held");
    let too_much = memory.most() + 1;
    memory.rewrite(|_| Ok(too_much)).unwrap_err();
    memory
        .rewrite(|room| {
            room.fill(b'x');
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
    assert_eq!(*read(&*memory.descriptor(), own()).unwrap(), *b"held");
    assert!(!raw(&memory).contains(&b'x'), "what was begun is wiped");
}

/// Returns all that the memory holds.
fn raw(memory: &Rewritten) -> Vec<u8> {
    let mut all = vec![0; FRONT + 2 * memory.half];
    memfd::fill(&*memory.file, &mut all, 0).unwrap();
    all
}

#[test]
fn what_was_replaced_is_wiped() {
    let mut memory = memory();
    put(&mut memory, b"an old secret");
    put(&mut memory, b"new");
    let all = raw(&memory);
    let holds = |text: &[u8]| all.windows(text.len()).any(|it| it == text);
    assert!(holds(b"new") && !holds(b"secret"));
}

#[test]
fn no_other_process_can_change_it() {
    let mut memory = memory();
    put(&mut memory, b"held");
    let passed = memory.descriptor();
    let path = format!("/proc/self/fd/{}", passed.as_raw_fd());
    let opened = fs::OpenOptions::new().read(true).write(true).open(path);
    let opened = OwnedFd::from(opened.unwrap());
    for file in [&*passed, &opened] {
        assert_eq!(rustix::io::pwrite(file, b"x", 0), Err(Errno::PERM));
        assert_eq!(ftruncate(file, 0), Err(Errno::PERM));
        let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        let punched = rustix::fs::fallocate(file, hole, 0, FRONT as u64);
        assert_eq!(punched, Err(Errno::PERM));
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address that is free.
        let mapped = unsafe { mmap(ptr::null_mut(), FRONT, access, MapFlags::SHARED, file, 0) };
        assert_eq!(mapped, Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(file, SealFlags::empty()), Err(Errno::PERM));
    }
    put(&mut memory, b"and its writer still can");
}

#[test]
fn other_files_are_refused() {
    let mut memory = memory();
    put(&mut memory, b"held");
    let error = read(&*memory.descriptor(), own() + 1).unwrap_err();
    assert!(error.to_string().contains("another user"), "{error}");
    read(fs::File::open("/dev/null").unwrap(), own()).unwrap_err();
    let forged = |bytes: &[u8], seals| {
        let file = memfd::create("test").unwrap();
        rustix::io::pwrite(&file, bytes, 0).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        read(&file, own())
    };
    let all = raw(&memory);
    assert_eq!(*forged(&all, SEALS).unwrap(), *b"held");
    for missing in SEALS.iter() {
        let error = forged(&all, SEALS - missing).unwrap_err();
        assert!(error.to_string().contains("not sealed"), "{error}");
    }
    for length in [0, 1, COUNT_AT, FRONT, all.len() - 1] {
        forged(&all[..length], SEALS).unwrap_err();
    }
    let mut damaged = all.clone();
    damaged[FRONT + memory.half + HEAD] ^= 1;
    let error = forged(&damaged, SEALS).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

proptest! {
    #[test]
    fn no_byte_of_the_heads_leads_out_of_the_file(place in 0..(COUNT_AT + 8 + HEAD), byte: u8) {
        let mut memory = Rewritten::new("test", 100).unwrap();
        put(&mut memory, b"held");
        let mut all = raw(&memory);
        let place = if place < COUNT_AT + 8 { place } else { place - COUNT_AT - 8 + FRONT + memory.half };
        let same = all[place] == byte;
        all[place] = byte;
        let file = memfd::create("test").unwrap();
        rustix::io::pwrite(&file, &all, 0).unwrap();
        fcntl_add_seals(&file, SEALS).unwrap();
        prop_assert_eq!(read(&file, own()).is_ok(), same);
    }
}

/// Bytes of which each tells the number of the write.
fn content(number: u64) -> Vec<u8> {
    let length = usize::try_from(number * 7919 % MOST as u64).unwrap();
    let words = number.to_ne_bytes().repeat(length / 8 + 1);
    words[..length.max(8)].to_vec()
}

/// The variable that makes the test below the writer that is killed.
const WRITER: &str = "PROXYD_TEST_WRITER";

#[test]
fn whenever_its_writer_is_killed_what_it_held_before_or_after_is_read_whole() {
    if env::var_os(WRITER).is_some() {
        return write_for_ever();
    }
    let mut seed = 1_u32;
    let mut furthest = 0;
    for _ in 0..60 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (mut writer, file) = start_writer();
        let until = Instant::now() + Duration::from_micros(u64::from(seed >> 16) / 16);
        let mut before = 0;
        while Instant::now() < until {
            before = number_read(&file, before);
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        furthest = furthest.max(number_read(&file, before));
    }
    assert!(furthest > 10, "the writer wrote: {furthest}");
}

/// Reads what the writer has written whole; returns its number, which is not below that of `before`.
fn number_read(file: &fs::File, before: u64) -> u64 {
    let held = match read(file, own()) {
        Ok(held) => held,
        // It writes faster than this reads.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return before,
        Err(error) => panic!("{error}"),
    };
    let number = u64::from_ne_bytes(*held.first_chunk().unwrap());
    assert!(*held == content(number), "it is whole");
    assert!(number >= before, "{number} after {before}");
    number
}

/// Starts a process that writes for ever; returns it with the memory that it has written once at least.
fn start_writer() -> (Child, fs::File) {
    let name = module_path!().split_once("::").unwrap().1.to_owned()
        + "::whenever_its_writer_is_killed_what_it_held_before_or_after_is_read_whole";
    let mut writer = Command::new(env::current_exe().unwrap())
        .args([name.as_str(), "--exact", "--nocapture"])
        .env(WRITER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut told = lines.map_while(Result::ok);
    let told = told.find_map(|it| Some(it.split_once("memory at ")?.1.to_owned()));
    let path = format!("/proc/{}/fd/{}", writer.id(), told.unwrap());
    (writer, fs::File::open(path).unwrap())
}

#[expect(clippy::print_stdout, reason = "it tells the test where the memory is")]
fn write_for_ever() {
    let mut memory = memory();
    put(&mut memory, &content(1));
    println!("memory at {}", memory.file.as_raw_fd());
    for number in 2.. {
        put(&mut memory, &content(number));
    }
}
