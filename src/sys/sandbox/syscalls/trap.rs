//! What happens to a system call that is refused: it is counted and fails (SIGSYS in signal(7)).

#![expect(
    unsafe_code,
    reason = "a signal's handler is given pointers, and installing one has no safe form"
)]

use std::{
    ffi::c_void,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use nix::{
    libc::{self, c_int, siginfo_t, ucontext_t},
    sys::signal::{
        SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
    },
};

use super::names;

/// Whether the registers are known by which a call gets its result.
pub(super) const KNOWS_REGISTERS: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// What `si_code` says of a signal that a filter has caused.
const SYS_SECCOMP: c_int = 1;

/// The first number that a call has on all processors. C libraries get by without these calls, and ask
/// for them by trying: a kernel without one says `ENOSYS`.
const FIRST_COMMON: u32 = 424;

/// No call has this number.
const NONE: u32 = u32::MAX;

static CALLS: AtomicU64 = AtomicU64::new(0);
static LAST: AtomicU32 = AtomicU32::new(NONE);

/// The system calls of this process that were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// How many.
    pub calls: u64,
    /// The number of the last one.
    pub last: Option<u32>,
}

impl Denied {
    /// Returns the name of the last one, if its number is known.
    pub fn name(&self) -> Option<&'static str> {
        names::name(self.last?)
    }
}

/// Returns the system calls of this process that were refused since it confined itself.
pub fn denied() -> Denied {
    Denied {
        calls: CALLS.load(Ordering::Relaxed),
        last: Some(LAST.load(Ordering::Relaxed)).filter(|last| *last != NONE),
    }
}

/// Makes refused calls fail instead of ending the process.
pub(super) fn catch() -> nix::Result<()> {
    // Without the last flag, a handler that runs when the stack is used up would end the process.
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_RESTART | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::SigAction(refuse), flags, SigSet::empty());
    // SAFETY: the handler reads and writes what the kernel passes to it, and atomic numbers.
    unsafe { sigaction(Signal::SIGSYS, &action) }?;
    let mut own = SigSet::empty();
    own.add(Signal::SIGSYS);
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&own), None)
}

extern "C" fn refuse(_signal: c_int, about: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: with `SA_SIGINFO`, the kernel passes valid pointers to both, which nothing else uses until
    // the handler returns.
    let (about, context) = unsafe { (&*about, &mut *context.cast::<ucontext_t>()) };
    // Another process may have sent the signal; then the registers are those of any code.
    if about.si_code != SYS_SECCOMP {
        return;
    }
    let number = u32::try_from(number(context)).unwrap_or(NONE);
    CALLS.fetch_add(1, Ordering::Relaxed);
    LAST.store(number, Ordering::Relaxed);
    set_result(context, -i64::from(error(number)));
}

fn error(number: u32) -> c_int {
    if number < FIRST_COMMON {
        libc::EPERM
    } else {
        libc::ENOSYS
    }
}

#[cfg(target_arch = "x86_64")]
fn number(context: &ucontext_t) -> i64 {
    context.uc_mcontext.gregs[libc::REG_RAX.cast_unsigned() as usize]
}

#[cfg(target_arch = "x86_64")]
fn set_result(context: &mut ucontext_t, result: i64) {
    context.uc_mcontext.gregs[libc::REG_RAX.cast_unsigned() as usize] = result;
}

#[cfg(target_arch = "aarch64")]
fn number(context: &ucontext_t) -> i64 {
    context.uc_mcontext.regs[8].cast_signed()
}

#[cfg(target_arch = "aarch64")]
fn set_result(context: &mut ucontext_t, result: i64) {
    context.uc_mcontext.regs[0] = result.cast_unsigned();
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn number(_context: &ucontext_t) -> i64 {
    i64::from(NONE)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn set_result(_context: &mut ucontext_t, _result: i64) {}
