//! Files in memory that processes share by a descriptor (`memfd_create(2)`, and `F_ADD_SEALS` in fcntl(2)).

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_get_seals, fstat, memfd_create},
    io::{Errno, pread},
};

/// Makes an empty file that can be sealed; takes a descriptor.
///
/// Operators see its name where they look at what processes have open. Fails as `memfd_create(2)` does.
pub(super) fn create(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag; later ones may be told to insist on it (sysctl
    // vm.memfd_noexec).
    let file = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        made => made,
    };
    Ok(file?)
}

/// Fills `bytes` with those of a file from an offset on, in bytes; fails if there are not so many.
pub(super) fn fill(file: impl AsFd, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let read = pread(&file, &mut bytes[filled..], offset + filled as u64)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
    }
    Ok(())
}

/// Refuses a file that has not all of these seals, or that does not hold just so many bytes.
pub(super) fn check(file: impl AsFd, seals: SealFlags, bytes: usize) -> io::Result<()> {
    if !fcntl_get_seals(&file)?.contains(seals) {
        return Err(io::Error::other("its length is not sealed"));
    }
    let length = fstat(&file)?.st_size;
    if usize::try_from(length) != Ok(bytes) {
        return Err(io::Error::other(format!(
            "it has {length} bytes, not {bytes}"
        )));
    }
    Ok(())
}
