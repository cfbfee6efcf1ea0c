//! What processes that serve peers can call: a list of all that they need.

#![allow(
    clippy::wildcard_imports,
    reason = "naming each system call twice would make two lists of them"
)]

use nix::libc::*;
use seccompiler::SeccompAction;

use super::{
    Filter,
    rules::{
        Argument::{Is, IsNot, Lacks, Masked},
        Rules,
    },
};

/// What names a range of memory, for people who look for leaks; the C library's allocator calls it.
const PR_SET_VMA: i32 = 0x5356_4d41;

/// Memory, threads that wait, descriptors, clocks: what any program of ours calls all the time.
const BASICS: &[i64] = &[
    SYS_brk,
    SYS_clock_getres,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_close,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_exit,
    SYS_exit_group,
    SYS_fstat,
    SYS_futex,
    SYS_getcpu,
    SYS_getpid,
    SYS_getrandom,
    SYS_gettid,
    SYS_gettimeofday,
    SYS_madvise,
    SYS_membarrier,
    SYS_mremap,
    SYS_munmap,
    SYS_nanosleep,
    SYS_pread64,
    SYS_read,
    SYS_readv,
    SYS_restart_syscall,
    SYS_rseq,
    SYS_rt_sigreturn,
    SYS_sched_getaffinity,
    SYS_sched_yield,
    SYS_set_robust_list,
    SYS_sigaltstack,
    SYS_write,
    SYS_writev,
];

/// What only this processor has.
#[cfg(target_arch = "x86_64")]
const OF_PROCESSOR: &[i64] = &[SYS_epoll_wait, SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const OF_PROCESSOR: &[i64] = &[];

/// Sockets that there are.
const SOCKETS: &[i64] = &[
    SYS_accept4,
    SYS_getpeername,
    SYS_getsockname,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendmsg,
    SYS_sendto,
    SYS_shutdown,
];

/// Options of a socket that can be set. What a worker sets on a listening socket is undone by the supervisor
/// (`sys::tune::tune_listening`).
const OPTIONS: &[(i32, i32)] = &[
    (SOL_SOCKET, SO_KEEPALIVE),
    // By which the connection of a dead peer is reset.
    (SOL_SOCKET, SO_LINGER),
    (IPPROTO_TCP, TCP_KEEPIDLE),
    (IPPROTO_TCP, TCP_KEEPINTVL),
    (IPPROTO_TCP, TCP_NODELAY),
];

/// Options that a worker sets on the sockets of sessions that outlive it (`sys::keeping`).
const OPTIONS_OF_KEPT: &[(i32, i32)] = &[(SOL_SOCKET, SO_OOBINLINE), (SOL_SOCKET, SO_PEEK_OFF)];

/// What a worker asks of the sockets of such sessions by ioctl(2): how many bytes are unread (`SIOCINQ`), and how
/// many are not acknowledged (`SIOCOUTQ`; `sys::tcp_counts`). `<linux/sockios.h>` gives both the numbers that
/// these have.
const COUNTS_OF_KEPT: &[u64] = &[FIONREAD, TIOCOUTQ];

/// What can be asked of a descriptor. What changes it would change it for the supervisor too, and for
/// the workers that share it.
const DESCRIPTOR: &[i32] = &[F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_GET_SEALS];

/// What a page can call.
pub(super) fn page() -> Rules {
    let rules = Rules::default()
        .always(BASICS)
        .always(OF_PROCESSOR)
        .always(SOCKETS);
    signals(memory(descriptors(rules)))
}

/// What a worker can call.
pub(super) fn worker() -> Rules {
    keeping(backends(page()))
}

/// Returns the filters that allow `rules` alone.
///
/// A change of the signals that are blocked does nothing and succeeds. The C library blocks all signals
/// before it tries to make a thread or a process, and a trap while SIGSYS is blocked ends the process. No
/// signal is blocked when the process confines itself, and none of its code needs one blocked.
pub(super) fn filters(rules: Rules) -> Vec<Filter> {
    let blocking = Filter {
        rules: Rules::default().always(&[SYS_rt_sigprocmask]),
        matching: SeccompAction::Errno(0),
        other: SeccompAction::Allow,
    };
    let listed = Filter {
        // The kernel takes the stricter answer of two filters, which would be that of this one.
        rules: rules.always(&[SYS_rt_sigprocmask]),
        matching: SeccompAction::Allow,
        other: SeccompAction::Trap,
    };
    vec![blocking, listed]
}

/// Memory that can be written to is never executed.
fn memory(rules: Rules) -> Rules {
    rules
        .with(SYS_mmap, &[Lacks(2, PROT_EXEC)])
        .with(SYS_mprotect, &[Lacks(2, PROT_EXEC)])
        .with(SYS_prctl, &[Is(0, PR_SET_VMA)])
}

fn descriptors(mut rules: Rules) -> Rules {
    for what in DESCRIPTOR {
        rules = rules.with(SYS_fcntl, &[Is(1, *what)]);
    }
    for (level, option) in OPTIONS {
        rules = rules.with(SYS_setsockopt, &[Is(1, *level), Is(2, *option)]);
    }
    for level in [SOL_SOCKET, IPPROTO_TCP] {
        rules = rules.with(SYS_getsockopt, &[Is(1, level)]);
    }
    rules
}

/// This process alone can be signalled, which abort(3) does.
fn signals(rules: Rules) -> Rules {
    let own = nix::unistd::getpid().as_raw();
    rules
        .with(SYS_tgkill, &[Is(0, own)])
        .with(SYS_tkill, &[Is(0, own)])
        .with(SYS_rt_sigaction, &[IsNot(0, SIGSYS)])
}

/// Connections to backends.
fn backends(mut rules: Rules) -> Rules {
    for family in [AF_INET, AF_INET6] {
        rules = rules.with(SYS_socket, &stream_of(family));
    }
    rules.always(&[SYS_connect])
}

/// Sessions that outlive this process: their sockets, and the lock on its table (`sys::table`). Memory of the
/// table is given back by madvise(2).
fn keeping(mut rules: Rules) -> Rules {
    for (level, option) in OPTIONS_OF_KEPT {
        rules = rules.with(SYS_setsockopt, &[Is(1, *level), Is(2, *option)]);
    }
    for request in COUNTS_OF_KEPT {
        // The numbers have 16 bits.
        #[expect(clippy::cast_possible_truncation)]
        let request = *request as i32;
        rules = rules.with(SYS_ioctl, &[Is(1, request)]);
    }
    rules.with(SYS_fcntl, &[Is(1, F_SETLK)])
}

/// The family's own stream sockets: MPTCP, SCTP and SMC have them too, each with a protocol number and
/// much code of the kernel behind it.
fn stream_of(family: i32) -> [super::rules::Argument; 3] {
    const FLAGS: i32 = SOCK_CLOEXEC | SOCK_NONBLOCK;
    [Is(0, family), Masked(1, !FLAGS, SOCK_STREAM), Is(2, 0)]
}
