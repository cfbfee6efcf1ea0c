//! What an intruder tries, straight at the kernel.

#![expect(
    unsafe_code,
    reason = "these system calls are made past every library that would refuse them"
)]

use std::io;

use nix::libc;

/// Makes a system call; returns its result or its error.
pub(super) fn call(number: i64, arguments: [i64; 6]) -> Result<i64, i32> {
    let it = arguments;
    // SAFETY: callers pass numbers, and pointers to what lives as long as the call; in a confined process,
    // none of these calls does anything.
    let result = unsafe { libc::syscall(number, it[0], it[1], it[2], it[3], it[4], it[5]) };
    if result == -1 {
        Err(io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or_default())
    } else {
        Ok(result)
    }
}

/// Makes a process by fork(2); returns the error if none was made. A process that was made ends.
pub(super) fn fork() -> Result<(), i32> {
    // SAFETY: the child calls nothing but _exit(2).
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or_default()),
        // SAFETY: it ends the process.
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}
