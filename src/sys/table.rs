//! The memory in which a worker keeps what outlives it: records of sessions and bytes that wait
//! (mmap(2)).
//!
//! The supervisor makes a table and never maps it. One worker maps it to write; once that worker has ended,
//! its heir maps it to read. The length is sealed, so that no process can end another by SIGBUS. A process
//! that maps a table holds a record lock on it (`F_SETLK` in `fcntl_locking(2)`), which belongs to the process:
//! a copy of the descriptor elsewhere neither keeps nor drops it, and the kernel drops it when the process
//! ends. It is also dropped when the process closes any descriptor of the table.

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use std::{
    fmt, io,
    os::fd::{AsFd, OwnedFd},
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use nix::libc;
use rustix::{
    fs::{FlockOperation, SealFlags, fcntl_add_seals, fcntl_lock, ftruncate},
    io::Errno,
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap},
};

use super::memfd;

/// Bytes of a word.
const WORD: usize = size_of::<AtomicU64>();

/// What no process may do to a table, so that all of a mapping can always be accessed.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// Whether this process has mapped a table of its own.
static MAPPED: AtomicBool = AtomicBool::new(false);

/// Makes a table of so many bytes, which are zero. It uses one descriptor, and memory only for pages that were read or
/// written.
///
/// Fails as `memfd_create(2)`, ftruncate(2) and
/// fcntl(2) do.
pub fn create(bytes: u64) -> io::Result<OwnedFd> {
    let file = memfd::create("proxyd-table")?;
    ftruncate(&file, bytes)?;
    fcntl_add_seals(&file, SEALS)?;
    Ok(file)
}

/// The table that this process writes, for as long as the process lives.
pub struct Own {
    /// The words at its beginning, which are read and written as a whole.
    pub words: &'static [AtomicU64],
    /// The bytes behind them.
    pub bytes: &'static mut [u8],
    /// The table itself. No copy of it may be closed in this process, which would drop the lock.
    pub file: &'static OwnedFd,
}

impl Own {
    /// Maps a table of `words` words of eight bytes and `bytes` bytes behind them.
    ///
    /// The words fill whole pages. Nothing of the table gets into a core file. The descriptor stays open, which
    /// keeps the lock. Fails with [`io::ErrorKind::WouldBlock`] while another process has mapped the table, with
    /// [`io::ErrorKind::AlreadyExists`] when this process has mapped a table of its own before, and when the
    /// length or the seals are others.
    pub fn map(file: OwnedFd, words: usize, bytes: usize) -> io::Result<Self> {
        let length = check(&file, words, bytes)?;
        lock(&file)?;
        claim()?;
        let start = map(&file, length, ProtFlags::READ | ProtFlags::WRITE)?;
        // SAFETY: this is the whole mapping that was just made. The advice changes what a core file holds and
        // not what memory holds.
        unsafe { madvise(start.as_ptr().cast(), length, Advice::LinuxDontDump) }?;
        // Closing it would drop the lock.
        let file = Box::leak(Box::new(file));
        // SAFETY: the mapping is that long, its seals keep every process from shortening it, and it is never
        // unmapped. It is aligned to a page and holds initialized bytes, of which any are a valid `AtomicU64`.
        let counters = unsafe { slice::from_raw_parts(start.as_ptr().cast(), words) };
        // SAFETY: as above; these bytes lie behind the words, within the mapping. No other reference to
        // them exists: the mapping is new, this process maps no second table to write (`claim`), and no other
        // process maps this one while this process lives (`lock`, which all of the program's processes take).
        let bytes = unsafe { slice::from_raw_parts_mut(start.as_ptr().add(words * WORD), bytes) };
        Ok(Self {
            words: counters,
            bytes,
            file,
        })
    }
}

/// Shows no contents, which are secret.
impl fmt::Debug for Own {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Own")
            .field("words", &self.words.len())
            .field("bytes", &self.bytes.len())
            .field("file", &self.file)
            .finish()
    }
}

/// The table of a worker that has ended.
#[derive(Debug)]
pub struct Inherited {
    start: NonNull<u8>,
    words: usize,
    bytes: usize,
    // Closing it drops the lock.
    file: OwnedFd,
}

impl Inherited {
    /// Maps a table of `words` words of eight bytes and `bytes` bytes behind them, whose worker has ended.
    ///
    /// Fails with [`io::ErrorKind::WouldBlock`] while another process has mapped the table, and when the length
    /// or the seals are others.
    pub fn map(file: OwnedFd, words: usize, bytes: usize) -> io::Result<Self> {
        let length = check(&file, words, bytes)?;
        lock(&file)?;
        let start = map(&file, length, ProtFlags::READ)?;
        Ok(Self {
            start,
            words,
            bytes,
            file,
        })
    }

    /// Writes a word, for whichever process maps the table after this one. Does nothing beyond the first page; fails as
    /// mmap(2) does.
    pub fn set(&self, index: usize, value: u64) -> io::Result<()> {
        let page = page_size();
        if index >= self.words || index >= page / WORD {
            return Ok(());
        }
        let start = map(&self.file, page, ProtFlags::READ | ProtFlags::WRITE)?;
        // SAFETY: the index lies within the mapping that was just made, which is aligned to a page, and which the seals
        // keep from being shortened. This process reads the same memory through `self`, by atomic loads alone.
        let word = unsafe { start.cast::<AtomicU64>().add(index).as_ref() };
        word.store(value, Ordering::Release);
        // SAFETY: this is the whole mapping that was just made, and no reference into it is used any more.
        Ok(unsafe { munmap(start.as_ptr().cast(), page) }?)
    }

    /// Returns a word; `None` beyond the last.
    pub fn word(&self, index: usize) -> Option<u64> {
        if index >= self.words {
            return None;
        }
        // SAFETY: the index lies within the mapping, which its seals keep from being shortened and which is
        // aligned to a page. The memory is read-only for this process, of which a relaxed load of eight bytes
        // is allowed by `std::sync::atomic` on the 64-bit machines that there are; no other kind of access is
        // made. The writer has ended, so there is nothing to be ordered with.
        let word = unsafe { self.start.cast::<AtomicU64>().add(index).as_ref() };
        Some(word.load(Ordering::Relaxed))
    }

    /// Returns the bytes behind the words.
    ///
    /// They are what a worker left that may have been taken over by an attacker: decode them, and trust no
    /// length in them.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is that long and lives as long as `self`, and its seals keep every process from
        // shortening it. Nothing changes the bytes meanwhile: the one process that wrote them has ended, no
        // other maps the table while this one has the lock, and this one maps it to read alone.
        unsafe { slice::from_raw_parts(self.start.as_ptr().add(self.words * WORD), self.bytes) }
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        let length = self.words * WORD + self.bytes;
        // SAFETY: this is the whole mapping that `map` has made, and no reference into it outlives `self`. It
        // fails only for an address that is not aligned.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), length) };
    }
}

// SAFETY: the mapping belongs to no thread, and is only read.
unsafe impl Send for Inherited {}
// SAFETY: as above.
unsafe impl Sync for Inherited {}

/// Makes bytes of a table zero and gives the memory of the whole pages among them back to the system.
///
/// Bytes that lie elsewhere become zero, and keep their memory.
pub fn give_back(bytes: &mut [u8]) {
    bytes.fill(0);
    let page = page_size();
    let before = bytes.as_ptr().align_offset(page);
    let Some(rest) = bytes.get_mut(before..) else {
        return;
    };
    let whole = rest.len() / page * page;
    if whole == 0 {
        return;
    }
    // SAFETY: the pages lie within `bytes`, which this function alone may access. All that they hold is zero
    // already, and zero is what they hold once their memory was given back. The kernel refuses where memory is
    // no shared mapping (EINVAL), and then changes nothing.
    let _ = unsafe { madvise(rest.as_mut_ptr().cast(), whole, Advice::LinuxRemove) };
}

/// Returns the length of a table; refuses one whose length is another or could be changed.
fn check(file: impl AsFd, words: usize, bytes: usize) -> io::Result<usize> {
    let front = words
        .checked_mul(WORD)
        .filter(|front| front % page_size() == 0);
    let length = front.and_then(|front| front.checked_add(bytes));
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    memfd::check(file, SEALS, length)?;
    Ok(length)
}

/// Locks a table for this process, for as long as any of its descriptors of the table stays open: the first one that it
/// closes drops the lock. Fails with [`io::ErrorKind::WouldBlock`] while another process works on the table.
pub fn lock(file: impl AsFd) -> io::Result<()> {
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        // POSIX allows either (fcntl_locking(2)).
        Err(Errno::ACCESS | Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
        locked => Ok(locked?),
    }
}

/// Refuses a second table of this process's own, but in unit tests, whose one process stands for many workers.
fn claim() -> io::Result<()> {
    if !cfg!(test) && MAPPED.swap(true, Ordering::Relaxed) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    Ok(())
}

/// Returns the bytes of a page of memory.
fn page_size() -> usize {
    // SAFETY: it takes a number and returns one.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // Every system has a page size (sysconf(3)).
    usize::try_from(size).unwrap_or(4096)
}

fn map(file: impl AsFd, length: usize, access: ProtFlags) -> io::Result<NonNull<u8>> {
    // SAFETY: the kernel chooses an address that is free, so no reference to that memory exists.
    let start = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file, 0) }?;
    Ok(NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?)
}

#[cfg(test)]
mod tests;
