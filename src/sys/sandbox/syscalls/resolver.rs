//! What a process that resolves names cannot call.
//!
//! Modules of the C library's name service may call anything else, so this is a list of what none of
//! them needs and what an intruder wants.

#![allow(
    clippy::wildcard_imports,
    reason = "naming each system call twice would make two lists of them"
)]

use nix::libc::*;
use seccompiler::SeccompAction;

use super::{
    Filter,
    rules::{
        Argument::{Has, Lacks},
        Rules,
    },
};

const FORBIDDEN: &[i64] = &[
    SYS_acct,
    SYS_add_key,
    SYS_bpf,
    SYS_chroot,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_execve,
    SYS_execveat,
    SYS_fanotify_init,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_init_module,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_kcmp,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_perf_event_open,
    SYS_personality,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_pivot_root,
    SYS_process_madvise,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_ptrace,
    SYS_quotactl,
    SYS_reboot,
    SYS_request_key,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_setns,
    SYS_setpgid,
    SYS_setsid,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_umount2,
    SYS_unshare,
    SYS_userfaultfd,
    SYS_vhangup,
];

/// Flags by which clone(2) makes a namespace.
const NAMESPACES: [i32; 7] = [
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
];

/// The bit by which this processor may know its calls once more, as those of x32.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Calls that make a process, whatever their arguments are.
#[cfg(target_arch = "x86_64")]
const FORKS: &[i64] = &[SYS_fork, SYS_vfork, SYS_fork | X32, SYS_vfork | X32];
#[cfg(not(target_arch = "x86_64"))]
const FORKS: &[i64] = &[];

/// The call that makes a thread or a process.
#[cfg(target_arch = "x86_64")]
const CLONES: &[i64] = &[SYS_clone, SYS_clone | X32];
#[cfg(not(target_arch = "x86_64"))]
const CLONES: &[i64] = &[SYS_clone];

/// The same with flags in memory.
#[cfg(target_arch = "x86_64")]
const CLONE3: &[i64] = &[SYS_clone3, SYS_clone3 | X32];
#[cfg(not(target_arch = "x86_64"))]
const CLONE3: &[i64] = &[SYS_clone3];

/// Returns the filters that forbid what is listed alone.
pub(super) fn filters() -> Vec<Filter> {
    let mut rules = of_x32(Rules::default().always(FORBIDDEN));
    for namespace in NAMESPACES {
        for clone in CLONES {
            rules = rules.with(*clone, &[Has(0, namespace)]);
        }
    }
    let forbidden = Filter {
        rules,
        matching: SeccompAction::Trap,
        other: SeccompAction::Allow,
    };
    // The kernel cannot look at its flags, and the C library calls clone(2) where it does not exist. It
    // does so with all signals blocked, when a trap would end the process.
    let without_flags = Filter {
        rules: Rules::default().always(CLONE3),
        matching: SeccompAction::Errno(ENOSYS.cast_unsigned()),
        other: SeccompAction::Allow,
    };
    vec![without_flags, forks(), forbidden]
}

/// Forbids to make a process, which what asks a daemon for names does not do. The C library makes one as
/// well with all signals blocked, so that this is no trap and is not counted.
fn forks() -> Filter {
    let mut rules = Rules::default().always(FORKS);
    for clone in CLONES {
        rules = rules.with(*clone, &[Lacks(0, CLONE_THREAD)]);
    }
    Filter {
        rules,
        matching: SeccompAction::Errno(EPERM.cast_unsigned()),
        other: SeccompAction::Allow,
    }
}

/// Adds the same calls by the numbers of x32, which this processor may know beside its own.
#[cfg(target_arch = "x86_64")]
fn of_x32(rules: Rules) -> Rules {
    /// Calls that have a number of their own there: execve, ptrace, `kexec_load`, `process_vm_readv`,
    /// `process_vm_writev`, execveat.
    const OWN: [i64; 6] = [520, 521, 528, 539, 540, 545];
    let numbers = FORBIDDEN.iter().chain(&OWN).map(|call| call | X32);
    let numbers: Vec<i64> = numbers.collect();
    rules.always(&numbers)
}

#[cfg(not(target_arch = "x86_64"))]
fn of_x32(rules: Rules) -> Rules {
    rules
}
