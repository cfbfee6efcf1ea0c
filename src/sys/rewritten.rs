//! Memory that one process rewrites in place, and that others can only read (`F_SEAL_FUTURE_WRITE` in fcntl(2)).
//!
//! It outlives its writer for as long as any process holds a descriptor of it. There are two halves, and a word says which
//! of them counts: a writer fills the other half and then changes the word. So whenever the writer is killed, one
//! half is whole.
//!
//! Its layout, in the byte order of the machine, which it does not leave: a page with a magic number, the bytes of a half as
//! a `u64`, and a `u64` that counts how often it was written; then the halves, of which that with index `count % 2` counts.
//! A half begins with SHA-256 of what follows it: its count and its length as `u64`s, and so many bytes.

#![expect(unsafe_code, reason = "mapping memory has no safe form")]

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    ptr::{self, NonNull},
    slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering, fence},
    },
};

use aws_lc_rs::digest::{self, SHA256, SHA256_OUTPUT_LEN};
use rustix::{
    fs::{SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate},
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap},
};
use zeroize::{Zeroize as _, Zeroizing};

use super::memfd;

/// What such memory begins with.
const MAGIC: [u8; 8] = *b"PRXHALVE";

/// Bytes in front of the halves: a multiple of every page size of 64-bit Linux.
const FRONT: usize = 64 << 10;

/// Where the bytes of a half are told.
const HALF_AT: usize = 8;

/// Where the count is.
const COUNT_AT: usize = 16;

/// Bytes in front of what a half holds: a digest, its count and its length.
const HEAD: usize = SHA256_OUTPUT_LEN + 16;

/// The longest half that is read, in bytes.
const MOST: usize = 64 << 20;

/// What others may not do to it: write it, change its length, or change that.
const SEALS: SealFlags = SealFlags::FUTURE_WRITE
    .union(SealFlags::GROW)
    .union(SealFlags::SHRINK)
    .union(SealFlags::SEAL);

/// How often a reader tries again while the writer writes.
const TRIES: usize = 64;

/// Memory that this process rewrites in place.
#[derive(Debug)]
pub struct Rewritten {
    file: Arc<OwnedFd>,
    start: NonNull<u8>,
    half: usize,
    count: u64,
    /// How many bytes each half holds that are not zero.
    used: [usize; 2],
}

impl Rewritten {
    /// Makes memory for at most `most` bytes, of which it holds none; takes a descriptor, and memory only for pages that
    /// were written. The name is for operators who look at what processes have open.
    ///
    /// Fails as `memfd_create(2)`, ftruncate(2), mmap(2) and fcntl(2) do, and where `most` is beyond what is read.
    pub fn new(name: &str, most: usize) -> io::Result<Self> {
        let half = most.checked_add(HEAD).filter(|half| *half <= MOST);
        let half = half.ok_or(io::ErrorKind::InvalidInput)?;
        let half = half.next_multiple_of(FRONT);
        let length = FRONT + 2 * half;
        let file = memfd::create(name)?;
        ftruncate(&file, length as u64)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address that is free, so no reference to that memory exists.
        let start = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, &file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut made = Self {
            file: Arc::new(file),
            start,
            half,
            count: 0,
            used: [0; 2],
        };
        made.front()[..HALF_AT].copy_from_slice(&MAGIC);
        made.front()[HALF_AT..COUNT_AT].copy_from_slice(&(half as u64).to_ne_bytes());
        // SAFETY: this is the whole mapping that was just made. The advice changes what a core file holds and not what
        // memory holds.
        unsafe { madvise(start.as_ptr().cast(), length, Advice::LinuxDontDump) }?;
        fcntl_add_seals(&made.file, SEALS)?;
        Ok(made)
    }

    /// Returns the descriptor by which others can read it.
    #[must_use]
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.file)
    }

    /// Returns how many bytes it can hold.
    #[must_use]
    pub fn most(&self) -> usize {
        self.half - HEAD
    }

    /// Puts what `write` writes in the place of what it holds; `write` is given all the room there is, and returns how
    /// many bytes it has written. If it fails, what was held stays. What is replaced is wiped.
    ///
    /// # Errors
    ///
    /// Fails as `write` does, and when that says to have written more than there is room for.
    pub fn rewrite(
        &mut self,
        write: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let count = self.count + 1;
        let (new, old) = (index(count), index(self.count));
        let room = self.most();
        let half = self.half(new);
        let written = write(&mut half[HEAD..]);
        let length = match written {
            Ok(length) if length <= room => length,
            failed => {
                // It is not known how much of it was written.
                half.zeroize();
                self.used[new] = 0;
                return Err(failed.err().unwrap_or(io::ErrorKind::InvalidInput.into()));
            }
        };
        half[SHA256_OUTPUT_LEN..][..8].copy_from_slice(&count.to_ne_bytes());
        half[SHA256_OUTPUT_LEN + 8..HEAD].copy_from_slice(&(length as u64).to_ne_bytes());
        let digest = digest(&half[SHA256_OUTPUT_LEN..HEAD + length]);
        half[..SHA256_OUTPUT_LEN].copy_from_slice(&digest);
        self.used[new] = HEAD + length;
        self.count = count;
        self.word().store(count, Ordering::Release);
        // The half that was in force is left alone until the word is seen to say so by every process, also by one
        // that reads after this one was killed between two stores.
        fence(Ordering::SeqCst);
        let used = std::mem::take(&mut self.used[old]);
        self.half(old)[..used].zeroize();
        Ok(())
    }

    fn front(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is longer than that and lives as long as `self`; its seals keep every process from
        // shortening it, and no other process can write it. It holds initialized bytes. The word behind `COUNT_AT` is
        // not among them, so that no reference overlaps with that of `word`.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), COUNT_AT) }
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: the word lies within the mapping, which lives as long as `self` and is aligned to a page, so the word
        // is aligned. Any eight initialized bytes are a valid `AtomicU64`, and it is accessed by this alone.
        unsafe { self.start.add(COUNT_AT).cast().as_ref() }
    }

    /// Returns the bytes of a half, `index` 0 or 1.
    fn half(&mut self, index: usize) -> &mut [u8] {
        let at = FRONT + index * self.half;
        // SAFETY: as of `front`; the halves lie behind each other and behind the front.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().add(at), self.half) }
    }
}

impl Drop for Rewritten {
    fn drop(&mut self) {
        let length = FRONT + 2 * self.half;
        // SAFETY: this is the whole mapping that `new` has made, and no reference into it outlives `self`. It fails only
        // for an address that is not aligned.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), length) };
    }
}

// SAFETY: the mapping belongs to no thread.
unsafe impl Send for Rewritten {}

/// Returns the index of the half that counts after so many writes.
fn index(count: u64) -> usize {
    usize::from(count % 2 == 1)
}

fn digest(bytes: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut digest = [0; SHA256_OUTPUT_LEN];
    digest.copy_from_slice(digest::digest(&SHA256, bytes).as_ref());
    digest
}

/// Reads what such memory holds that a process of the user `owner` has made, also while that writes it; refuses any other
/// file. What is read is wiped when it is dropped.
///
/// # Errors
///
/// Fails with [`io::ErrorKind::NotFound`] if nothing was written yet, and where the file is no such memory, belongs to
/// another user or is damaged.
pub fn read(file: impl AsFd, owner: u32) -> io::Result<Zeroizing<Vec<u8>>> {
    let half = check(&file, owner)?;
    for _ in 0..TRIES {
        let count = count(&file)?;
        let newest = match count {
            0 => return Err(io::ErrorKind::NotFound.into()),
            count => read_half(&file, half, count)?,
        };
        if let Some(bytes) = newest {
            return Ok(bytes);
        }
        // Another one counts by now, unless it is damaged.
        if self::count(&file)? == count {
            return Err(damaged());
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Returns the bytes of a half; refuses a file that others may have changed, or that another user has made.
///
/// Boards ([`super::shared`]) have the same seals and owner, and the worker that has mapped one before it was sealed
/// writes what it likes there. No board is that long: its length is an odd number of counters.
fn check(file: impl AsFd, owner: u32) -> io::Result<usize> {
    let about = fstat(&file)?;
    if !fcntl_get_seals(&file)?.contains(SEALS) {
        return Err(io::Error::other("its content is not sealed"));
    }
    if about.st_uid != owner {
        return Err(io::Error::other("it belongs to another user"));
    }
    let mut front = [0; COUNT_AT];
    memfd::fill(&file, &mut front, 0)?;
    let (magic, half) = front.split_at(HALF_AT);
    let half = half.try_into().map_or(0, u64::from_ne_bytes);
    let half = usize::try_from(half).ok();
    let half = half.filter(|half| (HEAD..=MOST.next_multiple_of(FRONT)).contains(half));
    let half = half.filter(|half| half.is_multiple_of(FRONT));
    let half = half.filter(|_| magic == MAGIC).ok_or_else(damaged)?;
    if usize::try_from(about.st_size) != Ok(FRONT + 2 * half) {
        return Err(damaged());
    }
    Ok(half)
}

fn count(file: impl AsFd) -> io::Result<u64> {
    let mut count = [0; 8];
    memfd::fill(file, &mut count, COUNT_AT as u64)?;
    Ok(u64::from_ne_bytes(count))
}

/// Returns what a half holds; `None` if it is not that of this count, or not whole.
fn read_half(file: impl AsFd, half: usize, count: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let at = FRONT + index(count) * half;
    let mut head = [0; HEAD];
    memfd::fill(&file, &mut head, at as u64)?;
    let (digest, told) = head.split_at(SHA256_OUTPUT_LEN);
    let (its_count, length) = told.split_at(8);
    let length = length.try_into().map_or(0, u64::from_ne_bytes);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if its_count != count.to_ne_bytes() || length > half - HEAD {
        return Ok(None);
    }
    let mut all = Zeroizing::new(vec![0; told.len() + length]);
    all[..told.len()].copy_from_slice(told);
    memfd::fill(&file, &mut all[told.len()..], (at + HEAD) as u64)?;
    if self::digest(&all) != digest {
        return Ok(None);
    }
    all.drain(..told.len());
    Ok(Some(all))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is damaged")
}

#[cfg(test)]
mod tests;
