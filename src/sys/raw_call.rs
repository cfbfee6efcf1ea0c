//! Any system call with any arguments, for the test build whose workers take orders.
//!
//! No other build has this: the module exists only with the feature `orders`.

#![expect(
    unsafe_code,
    reason = "a test that plays a worker that was taken over makes calls for which there is no safe form"
)]

use std::io;

use nix::libc::{c_long, syscall};

/// Makes the system call `number`; returns its result, or the number of its error.
///
/// It is not sound, and cannot be: the kernel reads and writes wherever the arguments say. That is what code
/// in a worker that was taken over can do, and what the tests are to show the effect of.
pub fn call(number: i64, arguments: [u64; 6]) -> Result<i64, i32> {
    let [one, two, three, four, five, six] = arguments;
    let number = c_long::from(number);
    // SAFETY: none is claimed. The build is for tests alone, whose orders name memory that the caller
    // keeps until the call returns.
    let result = unsafe { syscall(number, one, two, three, four, five, six) };
    match result {
        -1 => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        result => Ok(result),
    }
}
