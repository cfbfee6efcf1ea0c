//! Memory of counters that one process writes and other processes read (mmap(2)).
//!
//! The length is sealed, so that a process that maps the memory can always read all of it: memory
//! that another process could shorten would end its readers with SIGBUS. Once those that are to write it
//! have mapped it, it is sealed against all other writers (`F_SEAL_FUTURE_WRITE` in fcntl(2)).

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use std::{
    ffi::c_void,
    io,
    os::fd::{AsFd, OwnedFd},
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{SealFlags, fcntl_add_seals, ftruncate},
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use super::memfd;

/// Bytes of a counter.
const COUNTER: usize = size_of::<AtomicU64>();

/// Memory of counters that this process has made for others.
#[derive(Debug)]
pub struct Memory {
    file: Arc<OwnedFd>,
    own: Written,
}

/// Counters that this process writes.
#[derive(Debug)]
pub struct Written(Mapping);

/// Counters that this process can only read.
#[derive(Debug)]
pub struct Seen(Mapping);

/// Mapped memory of counters.
#[derive(Debug)]
struct Mapping {
    start: NonNull<AtomicU64>,
    counters: usize,
}

impl Memory {
    /// Makes memory of so many counters, which are zero; takes a descriptor.
    pub fn new(counters: usize) -> io::Result<Self> {
        let file = memfd::create("proxyd-board")?;
        ftruncate(&file, bytes_of(counters)? as u64)?;
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
        let own = Written::map(&file, counters)?;
        Ok(Self {
            file: Arc::new(file),
            own,
        })
    }

    /// Returns the descriptor by which other processes can map it.
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.file)
    }

    /// Leaves it from now on to those that have mapped it already: no process can write it any more but
    /// through a mapping that there is, whatever user it runs as.
    pub fn close_to_writers(&self) -> io::Result<()> {
        Ok(fcntl_add_seals(
            &self.file,
            SealFlags::FUTURE_WRITE | SealFlags::SEAL,
        )?)
    }

    /// Returns the counters.
    pub fn counters(&self) -> &[AtomicU64] {
        self.own.counters()
    }
}

impl Written {
    /// Maps memory of so many counters, which is not closed to writers yet.
    pub fn map(file: impl AsFd, counters: usize) -> io::Result<Self> {
        Mapping::new(file, counters, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    /// Returns the counters.
    pub fn counters(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is that long and lives as long as `self`, and its seals keep other
        // processes from shortening it. It may be written. Memory that is mapped is aligned to a page
        // and holds initialized bytes, of which any are a valid `AtomicU64`.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.counters) }
    }
}

impl Seen {
    /// Maps memory of so many counters.
    pub fn map(file: impl AsFd, counters: usize) -> io::Result<Self> {
        Mapping::new(file, counters, ProtFlags::READ).map(Self)
    }

    /// Maps memory of so many counters that is closed to writers already; fails for other memory.
    pub fn map_closed(file: impl AsFd, counters: usize) -> io::Result<Self> {
        memfd::check(&file, SealFlags::FUTURE_WRITE, bytes_of(counters)?)?;
        Self::map(file, counters)
    }

    /// Returns a counter as it is now, without any order with other accesses; 0 beyond the last.
    pub fn load(&self, index: usize) -> u64 {
        if index >= self.0.counters {
            return 0;
        }
        // SAFETY: the index lies within the mapping; see `Written::counters`. The memory is read-only
        // for this process, of which a relaxed load of eight bytes is allowed by `std::sync::atomic` on
        // the 64-bit machines that there are; no other kind of access is made.
        unsafe { self.0.start.add(index).as_ref() }.load(Ordering::Relaxed)
    }
}

impl Mapping {
    fn new(file: impl AsFd, counters: usize, access: ProtFlags) -> io::Result<Self> {
        let bytes = bytes_of(counters)?;
        memfd::check(&file, SealFlags::SHRINK, bytes)?;
        // SAFETY: the kernel chooses an address that is free, so no reference to that memory exists.
        // What other processes write there is read through atomics alone.
        let start = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, &file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, counters })
    }
}

// SAFETY: the mapping belongs to no thread, and its memory is accessed through atomics alone.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        let start: *mut c_void = self.start.as_ptr().cast();
        // SAFETY: this is the whole mapping that `new` has made, and no reference into it outlives
        // `self`. It fails only for an address that is not aligned.
        let _ = unsafe { munmap(start, self.counters * COUNTER) };
    }
}

fn bytes_of(counters: usize) -> io::Result<usize> {
    let bytes = counters.checked_mul(COUNTER);
    bytes.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use rustix::io::Errno;

    use super::*;

    const COUNTERS: usize = 1024;

    fn unsealed(bytes: usize) -> OwnedFd {
        let file = memfd::create("test").unwrap();
        ftruncate(&file, bytes as u64).unwrap();
        file
    }

    #[test]
    fn what_one_process_writes_is_seen_by_all_that_have_mapped_it() {
        let memory = Memory::new(COUNTERS).unwrap();
        let written = Written::map(memory.descriptor(), COUNTERS).unwrap();
        memory.close_to_writers().unwrap();
        let seen = Seen::map(memory.descriptor(), COUNTERS).unwrap();
        written.counters()[7].store(3, Ordering::Relaxed);
        assert_eq!((seen.load(7), seen.load(8)), (3, 0));
        assert_eq!(seen.load(COUNTERS), 0);
        memory.counters()[7].store(4, Ordering::Relaxed);
        assert_eq!(seen.load(7), 4);
        assert_eq!(written.counters()[7].load(Ordering::Relaxed), 4);
    }

    #[test]
    fn what_is_closed_to_writers_cannot_be_written_by_any_descriptor() {
        let memory = Memory::new(COUNTERS).unwrap();
        memory.close_to_writers().unwrap();
        let passed = memory.descriptor();
        let path = format!("/proc/self/fd/{}", passed.as_raw_fd());
        let opened = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path);
        let opened = OwnedFd::from(opened.unwrap());
        for file in [&*passed, &opened] {
            let error = Written::map(file, COUNTERS).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(rustix::io::pwrite(file, b"x", 0), Err(Errno::PERM));
            let seals = fcntl_add_seals(file, SealFlags::empty());
            assert_eq!(seals, Err(Errno::PERM), "no other seals");
        }
    }

    #[test]
    fn no_process_can_change_its_length() {
        let memory = Memory::new(COUNTERS).unwrap();
        for length in [0, (COUNTERS * COUNTER * 2) as u64] {
            assert_eq!(ftruncate(&*memory.descriptor(), length), Err(Errno::PERM));
        }
    }

    #[test]
    fn what_could_be_shortened_and_what_has_another_length_is_not_mapped() {
        let error = Seen::map(unsealed(COUNTERS * COUNTER), COUNTERS).unwrap_err();
        assert!(error.to_string().contains("not sealed"), "{error}");
        let memory = Memory::new(COUNTERS).unwrap();
        for counters in [COUNTERS - 1, COUNTERS + 1] {
            let error = Seen::map(memory.descriptor(), counters).unwrap_err();
            assert!(error.to_string().contains("8192 bytes"), "{error}");
        }
        Seen::map(memory.descriptor(), usize::MAX).unwrap_err();
        Seen::map(std::fs::File::open("/dev/null").unwrap(), COUNTERS).unwrap_err();
    }
}
