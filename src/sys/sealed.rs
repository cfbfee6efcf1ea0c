//! Memory that processes share by a descriptor and none of them can change (`F_SEAL_WRITE` in fcntl(2)).

use std::{io, os::fd::OwnedFd, sync::Arc};

use rustix::{
    fs::{SealFlags, fcntl_add_seals, fcntl_get_seals, fstat},
    io::write,
};
use zeroize::Zeroizing;

use super::memfd;

/// What no process may do to it: write it, change its length, or change that.
const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::GROW)
    .union(SealFlags::SHRINK)
    .union(SealFlags::SEAL);

/// A file in memory that is being written, and that no other process knows yet.
#[derive(Debug)]
pub struct Unsealed {
    file: OwnedFd,
    length: u64,
}

/// A file in memory that no process can change, not even one that holds its descriptor.
#[derive(Debug)]
pub struct Sealed {
    file: Arc<OwnedFd>,
    length: u64,
}

impl Unsealed {
    /// Makes an empty file; takes a descriptor. The name is for people who look at what processes have
    /// open.
    pub fn new(name: &str) -> io::Result<Self> {
        let file = memfd::create(name)?;
        Ok(Self { file, length: 0 })
    }

    /// Returns how many bytes were written.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes bytes at the end.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = write(&self.file, bytes)?;
            bytes = bytes.get(written..).unwrap_or_default();
            self.length += written as u64;
        }
        Ok(())
    }

    /// Keeps every process from changing it from now on.
    pub fn seal(self) -> io::Result<Sealed> {
        fcntl_add_seals(&self.file, SEALS)?;
        Ok(Sealed {
            file: Arc::new(self.file),
            length: self.length,
        })
    }
}

impl Sealed {
    /// Takes one that another process has made.
    pub fn from_descriptor(file: OwnedFd) -> io::Result<Self> {
        let length = u64::try_from(fstat(&file)?.st_size).unwrap_or_default();
        Ok(Self {
            file: Arc::new(file),
            length,
        })
    }

    /// Takes one that a process of the user `owner` has sealed; refuses any other file, so that neither its content nor
    /// its length can change, and no process of another user has made it.
    pub fn authentic(file: OwnedFd, owner: u32) -> io::Result<Self> {
        if !fcntl_get_seals(&file)?.contains(SEALS) {
            return Err(io::Error::other("its content is not sealed"));
        }
        if fstat(&file)?.st_uid != owner {
            return Err(io::Error::other("it belongs to another user"));
        }
        Self::from_descriptor(file)
    }

    /// Returns the descriptor by which another process can read it.
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.file)
    }

    /// Returns how many bytes it holds.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads `length` bytes from `offset` on; fails if it does not hold them all.
    pub fn read(&self, offset: u64, length: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        if !self.holds(offset, length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        memfd::fill(&*self.file, &mut bytes, offset)?;
        Ok(bytes)
    }

    /// Returns whether it holds `length` bytes from `offset` on.
    pub fn holds(&self, offset: u64, length: usize) -> bool {
        let end = offset.checked_add(length as u64);
        end.is_some_and(|end| end <= self.length)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write as _, os::fd::AsRawFd as _};

    use rustix::io::Errno;

    use super::*;

    fn sealed(bytes: &[u8]) -> Sealed {
        let mut file = Unsealed::new("test").unwrap();
        file.append(bytes).unwrap();
        file.seal().unwrap()
    }

    #[test]
    fn what_was_written_is_read_from_any_place() {
        let file = sealed(b"onetwothree");
        assert_eq!(*file.read(3, 3).unwrap(), b"two");
        assert_eq!(*file.read(0, 11).unwrap(), b"onetwothree");
        assert_eq!(*file.read(11, 0).unwrap(), b"");
    }

    #[test]
    fn what_lies_outside_is_not_read() {
        let file = sealed(b"one");
        for (offset, length) in [(0, 4), (3, 1), (4, 0), (u64::MAX, 1)] {
            assert!(file.read(offset, length).is_err(), "{offset} {length}");
        }
    }

    #[test]
    fn only_what_this_user_has_sealed_is_authentic() {
        let own = rustix::process::geteuid().as_raw();
        let copy = || sealed(b"one").descriptor().try_clone().unwrap();
        Sealed::authentic(copy(), own).unwrap();
        let error = Sealed::authentic(copy(), own + 1).unwrap_err();
        assert!(error.to_string().contains("another user"), "{error}");
        for missing in SEALS.iter() {
            let open = Unsealed::new("test").unwrap().file;
            fcntl_add_seals(&open, SEALS - missing).unwrap();
            let error = Sealed::authentic(open, own).unwrap_err();
            assert!(error.to_string().contains("not sealed"), "{error}");
        }
        let null = std::fs::File::open("/dev/null").unwrap();
        Sealed::authentic(null.into(), own).unwrap_err();
    }

    #[test]
    fn who_holds_the_descriptor_cannot_change_it() {
        let file = sealed(b"one");
        let copy = file.descriptor().try_clone().unwrap();
        assert_eq!(rustix::io::pwrite(&copy, b"x", 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&copy, 0), Err(Errno::PERM));
        assert!(fcntl_add_seals(&copy, SealFlags::empty()).is_err());
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        if let Ok(mut opened) = OpenOptions::new().write(true).open(path) {
            opened.write_all(b"x").unwrap_err();
        }
        let other = Sealed::from_descriptor(copy).unwrap();
        assert_eq!(*other.read(0, 3).unwrap(), b"one");
    }
}
