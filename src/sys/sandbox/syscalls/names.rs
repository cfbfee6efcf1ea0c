//! Names of system calls that may be refused, for people.

use nix::libc;

macro_rules! table {
    ($($call:ident)*) => { &[$((libc::$call, stringify!($call))),*] };
}

/// Returns the name of a system call, if it is one that an intruder or a C library may try.
pub(super) fn name(number: u32) -> Option<&'static str> {
    let mut known = NAMES.iter().chain(OF_PROCESSOR);
    let (_, name) = known.find(|(it, _)| *it == i64::from(number))?;
    name.strip_prefix("SYS_")
}

const NAMES: &[(i64, &str)] = table!(
    SYS_accept SYS_accept4 SYS_acct SYS_add_key SYS_bind SYS_bpf SYS_capset SYS_chdir SYS_chroot
    SYS_clock_adjtime SYS_clock_settime SYS_clone SYS_clone3 SYS_close_range SYS_connect
    SYS_copy_file_range SYS_delete_module SYS_dup SYS_dup3 SYS_epoll_create1 SYS_execve SYS_execveat
    SYS_faccessat SYS_faccessat2 SYS_fanotify_init SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown
    SYS_fchownat SYS_fcntl SYS_finit_module SYS_flock SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick
    SYS_ftruncate SYS_futex_waitv SYS_get_mempolicy SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid
    SYS_getgid SYS_getppid SYS_getpriority SYS_getrlimit SYS_getrusage SYS_getsockopt SYS_getuid
    SYS_init_module SYS_inotify_add_watch SYS_inotify_init1 SYS_io_destroy SYS_io_setup SYS_io_submit
    SYS_io_uring_enter SYS_io_uring_register SYS_io_uring_setup SYS_ioctl SYS_kcmp
    SYS_kexec_load SYS_keyctl SYS_kill SYS_landlock_create_ruleset SYS_linkat SYS_listen SYS_lseek
    SYS_mbind SYS_memfd_create SYS_memfd_secret SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock
    SYS_mlock2 SYS_mlockall SYS_mmap SYS_mount SYS_mount_setattr SYS_move_mount SYS_mprotect
    SYS_msgget SYS_name_to_handle_at SYS_newfstatat SYS_open_by_handle_at SYS_open_tree SYS_openat
    SYS_openat2 SYS_perf_event_open SYS_personality SYS_pidfd_getfd SYS_pidfd_open
    SYS_pidfd_send_signal SYS_pipe2 SYS_pivot_root SYS_pkey_alloc SYS_pkey_mprotect SYS_ppoll SYS_prctl
    SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_madvise SYS_process_vm_readv
    SYS_process_vm_writev SYS_pselect6 SYS_ptrace SYS_pwrite64 SYS_pwritev SYS_quotactl SYS_readlinkat
    SYS_reboot SYS_recvmmsg SYS_renameat2 SYS_request_key SYS_rt_sigaction SYS_rt_sigqueueinfo
    SYS_rt_tgsigqueueinfo SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setscheduler SYS_seccomp
    SYS_semget SYS_sendfile SYS_sendmmsg SYS_set_mempolicy SYS_set_tid_address SYS_setdomainname
    SYS_setgid SYS_setgroups SYS_sethostname SYS_setns SYS_setpgid SYS_setpriority SYS_setresuid
    SYS_setrlimit SYS_setsid SYS_setsockopt SYS_settimeofday SYS_setuid SYS_shmat SYS_shmget
    SYS_signalfd4 SYS_socket SYS_socketpair SYS_splice SYS_statfs SYS_statx SYS_swapoff SYS_swapon
    SYS_symlinkat SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create SYS_timerfd_create
    SYS_timerfd_settime SYS_tkill SYS_umount2 SYS_uname SYS_unlinkat SYS_unshare SYS_userfaultfd
    SYS_utimensat SYS_vhangup SYS_vmsplice SYS_wait4 SYS_waitid
);

#[cfg(target_arch = "x86_64")]
const OF_PROCESSOR: &[(i64, &str)] = table!(
    SYS_access SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_fork SYS_getdents SYS_ioperm
    SYS_iopl SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_modify_ldt SYS_open SYS_pipe SYS_poll
    SYS_readlink SYS_rename SYS_rmdir SYS_select SYS_stat SYS_symlink SYS_unlink SYS_vfork
);
#[cfg(not(target_arch = "x86_64"))]
const OF_PROCESSOR: &[(i64, &str)] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_its_name_and_an_unknown_one_has_none() {
        let number = |call: i64| u32::try_from(call).unwrap();
        assert_eq!(name(number(libc::SYS_openat)), Some("openat"));
        assert_eq!(name(number(libc::SYS_clone3)), Some("clone3"));
        assert_eq!(name(10_000), None);
    }
}
