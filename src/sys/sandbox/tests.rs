//! Each test confines a process of its own, this program again, and attacks from inside.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream, ToSocketAddrs as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        linux::net::SocketAddrExt as _,
        unix::{
            net::{SocketAddr as UnixAddress, UnixListener, UnixStream},
            process::ExitStatusExt as _,
        },
    },
    panic,
    path::PathBuf,
    process::{Command, ExitStatus},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use nix::{
    libc::*,
    sys::signal::{SigSet, SigmaskHow, sigprocmask},
    unistd::{Uid, getppid, setuid},
};

use super::{
    attack::{call, fork},
    *,
};
use crate::{
    facts::Enforcement,
    sys::{
        keeping,
        shared::{Memory, Seen, Written},
        table,
        tcp_counts::TcpCounts,
    },
};

/// Set in the process that confines itself.
const INSIDE: &str = "PROXYD_TEST_CONFINED";

/// What has no arguments, or wrong ones.
const NOTHING: [i64; 6] = [0; 6];

/// Runs `body` in a process of its own, which must not end by itself before; returns how it ended.
fn run_alone(test: &str, body: impl FnOnce()) -> Option<(ExitStatus, String)> {
    if env::var_os(INSIDE).is_some() {
        body();
        return None;
    }
    let (_, module) = module_path!().split_once("::").unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
        .args(["--test-threads=1"])
        .env(INSIDE, "1")
        // A backtrace is made of the program's files.
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    Some((output.status, String::from_utf8_lossy(&told).into_owned()))
}

/// Runs `body` in a process of its own, to its end.
#[track_caller]
fn alone(test: &str, body: impl FnOnce()) {
    let Some((status, told)) = run_alone(test, body) else {
        return;
    };
    for line in told.lines().filter(|line| line.contains("SKIPPED")) {
        eprintln!("{line}");
    }
    assert!(
        status.success() && told.contains("1 passed"),
        "{status}\n{told}"
    );
}

/// Confines this process; says so and returns `None` where its system calls cannot be filtered.
fn confined(profile: Profile) -> Option<Confinement> {
    let confinement = confine(profile);
    if !confinement.system_calls {
        eprintln!("SKIPPED: {:?}", confinement.missing);
        return None;
    }
    Some(confinement)
}

/// Asserts that a call was refused as `error`, by the filter of system calls.
#[track_caller]
fn assert_refused<T: std::fmt::Debug>(
    what: &str,
    error: i32,
    attempt: impl FnOnce() -> Result<T, i32>,
) {
    let before = denied().calls;
    let outcome = attempt();
    assert_eq!(outcome.err(), Some(error), "{what}");
    assert!(denied().calls > before, "{what} was not counted");
}

fn code<T>(result: io::Result<T>) -> Result<T, i32> {
    result.map_err(|error| error.raw_os_error().unwrap_or_default())
}

fn pointer<T: ?Sized>(to: &T) -> i64 {
    i64::try_from(std::ptr::from_ref(to).cast::<u8>().addr()).unwrap()
}

fn number(of: impl Into<i64>) -> i64 {
    of.into()
}

/// Calls that neither a worker nor a page has any use for.
fn forbidden_to_all_that_serve() -> Vec<(&'static str, i64, i32)> {
    let mut calls = vec![
        ("clone", SYS_clone, EPERM),
        ("clone3", SYS_clone3, ENOSYS),
        ("execve", SYS_execve, EPERM),
        ("execveat", SYS_execveat, EPERM),
        ("ptrace", SYS_ptrace, EPERM),
        ("process_vm_readv", SYS_process_vm_readv, EPERM),
        ("process_vm_writev", SYS_process_vm_writev, EPERM),
        ("unshare", SYS_unshare, EPERM),
        ("setns", SYS_setns, EPERM),
        ("io_uring_setup", SYS_io_uring_setup, ENOSYS),
        ("io_uring_enter", SYS_io_uring_enter, ENOSYS),
        ("userfaultfd", SYS_userfaultfd, EPERM),
        ("bpf", SYS_bpf, EPERM),
        ("keyctl", SYS_keyctl, EPERM),
        ("mount", SYS_mount, EPERM),
        ("open_tree", SYS_open_tree, ENOSYS),
        ("openat2", SYS_openat2, ENOSYS),
        ("pidfd_open", SYS_pidfd_open, ENOSYS),
        ("pidfd_getfd", SYS_pidfd_getfd, ENOSYS),
        ("pidfd_send_signal", SYS_pidfd_send_signal, ENOSYS),
        ("bind", SYS_bind, EPERM),
        ("listen", SYS_listen, EPERM),
        ("socketpair", SYS_socketpair, EPERM),
        ("ioctl", SYS_ioctl, EPERM),
        ("prlimit64", SYS_prlimit64, EPERM),
        ("seccomp", SYS_seccomp, EPERM),
        ("memfd_create", SYS_memfd_create, EPERM),
        ("a call that does not exist", 10_000, ENOSYS),
    ];
    #[cfg(target_arch = "x86_64")]
    calls.extend([
        ("fork", SYS_fork, EPERM),
        ("vfork", SYS_vfork, EPERM),
        ("open", SYS_open, EPERM),
    ]);
    calls
}

/// Attacks as a worker or a page that was taken over.
fn attack_as_server(profile: Profile) {
    let parent = i64::from(getppid().as_raw());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = number(listener.as_raw_fd());
    listener.set_nonblocking(true).unwrap();
    if confined(profile).is_none() {
        return;
    }
    assert_eq!(
        denied(),
        Denied {
            calls: 0,
            last: None
        }
    );
    for (what, call_number, error) in forbidden_to_all_that_serve() {
        assert_refused(what, error, || call(call_number, NOTHING));
        assert_eq!(denied().last.map(i64::from), Some(call_number));
    }
    assert_refused("a thread", EPERM, || {
        code(thread::Builder::new().spawn(|| ()))
    });
    assert_refused("fork(3)", EPERM, fork);
    assert_refused("a program", EPERM, || {
        code(Command::new("/bin/true").status())
    });
    for path in ["/etc/passwd", "/proc/self/environ", "/proc/self/mem"] {
        assert_refused(path, EPERM, || code(fs::read(path)));
    }
    for process in [parent, 1, 0, -1] {
        let signal = [process, 0, 0, 0, 0, 0];
        assert_refused("kill", EPERM, || call(SYS_kill, signal));
        assert_refused("tkill", EPERM, || call(SYS_tkill, signal));
        let signal = [process, process, 0, 0, 0, 0];
        assert_refused("tgkill", EPERM, || call(SYS_tgkill, signal));
    }
    attack_memory();
    attack_socket(socket);
    attack_table();
    attack_signals();
}

fn attack_memory() {
    let map = |protection: i32| {
        let anonymous = number(MAP_PRIVATE | MAP_ANONYMOUS);
        call(SYS_mmap, [0, 4096, number(protection), anonymous, -1, 0])
    };
    assert_refused("mmap", EPERM, || map(PROT_READ | PROT_EXEC));
    let page = map(PROT_READ | PROT_WRITE).unwrap();
    assert_refused("mprotect", EPERM, || {
        call(
            SYS_mprotect,
            [page, 4096, number(PROT_READ | PROT_EXEC), 0, 0, 0],
        )
    });
    assert_refused("prctl", EPERM, || {
        call(SYS_prctl, [number(PR_SET_DUMPABLE), 1, 0, 0, 0, 0])
    });
}

fn attack_socket(socket: i64) {
    assert_refused("fcntl", EPERM, || {
        call(SYS_fcntl, [socket, number(F_SETFL), 0, 0, 0, 0])
    });
    assert_refused("fcntl", EPERM, || {
        call(SYS_fcntl, [socket, number(F_SETFD), 0, 0, 0, 0])
    });
    for option in [SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF, SO_RCVBUF] {
        assert_refused("setsockopt", EPERM, || {
            call(
                SYS_setsockopt,
                [
                    socket,
                    number(SOL_SOCKET),
                    number(option),
                    pointer(&0_i32),
                    4,
                    0,
                ],
            )
        });
    }
    assert_refused("setsockopt", EPERM, || {
        call(
            SYS_setsockopt,
            [
                socket,
                number(IPPROTO_TCP),
                number(TCP_ULP),
                pointer(b"tls"),
                3,
                0,
            ],
        )
    });
    for (family, kind) in [
        (AF_NETLINK, SOCK_RAW),
        (AF_INET, SOCK_DGRAM),
        (AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC),
        (AF_INET, SOCK_RAW),
        (AF_UNIX, SOCK_DGRAM),
        (AF_UNIX, SOCK_SEQPACKET),
        (AF_PACKET, SOCK_RAW),
        (AF_ALG, SOCK_SEQPACKET),
        (AF_VSOCK, SOCK_STREAM),
    ] {
        assert_refused("socket", EPERM, || {
            call(SYS_socket, [number(family), number(kind), 0, 0, 0, 0])
        });
    }
}

/// What locks, and what asks and changes descriptors by other requests than a worker's.
fn attack_table() {
    for command in [F_SETLKW, F_OFD_SETLK, F_SETLEASE, F_SETOWN, F_ADD_SEALS] {
        assert_refused("fcntl", EPERM, || {
            call(SYS_fcntl, [0, number(command), 0, 0, 0, 0])
        });
    }
    for request in [FIONBIO, FIOASYNC, FIOCLEX, TIOCSTI] {
        let request = i64::try_from(request).unwrap();
        assert_refused("ioctl", EPERM, || {
            call(SYS_ioctl, [0, request, pointer(&0_i32), 0, 0, 0])
        });
    }
}

fn attack_signals() {
    assert_refused("sigaction of SIGSYS", EPERM, || {
        call(SYS_rt_sigaction, [number(SIGSYS), 0, 0, 8, 0, 0])
    });
    // Blocking it would make the next refused call end the process.
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None).unwrap();
    assert_refused("unshare", EPERM, || call(SYS_unshare, NOTHING));
    let caught = panic::catch_unwind(|| panic!("on purpose"));
    assert!(caught.is_err());
}

#[test]
fn a_worker_that_was_taken_over_is_refused_what_it_does_not_need_and_lives_on() {
    alone(
        "a_worker_that_was_taken_over_is_refused_what_it_does_not_need_and_lives_on",
        || attack_as_server(Profile::Worker),
    );
}

#[test]
fn a_page_that_was_taken_over_is_refused_what_it_does_not_need_and_lives_on() {
    alone(
        "a_page_that_was_taken_over_is_refused_what_it_does_not_need_and_lives_on",
        || {
            attack_as_server(Profile::Page);
            if denied().calls == 0 {
                return;
            }
            for family in [AF_INET, AF_INET6, AF_UNIX] {
                assert_refused("socket", EPERM, || {
                    call(
                        SYS_socket,
                        [number(family), number(SOCK_STREAM), 0, 0, 0, 0],
                    )
                });
            }
            assert_refused("connect", EPERM, || call(SYS_connect, NOTHING));
            // It has no sessions that outlive it.
            for option in [SO_OOBINLINE, SO_PEEK_OFF] {
                let arguments = [0, number(SOL_SOCKET), number(option), pointer(&1_i32), 4, 0];
                assert_refused("setsockopt", EPERM, || call(SYS_setsockopt, arguments));
            }
            for request in [FIONREAD, TIOCOUTQ] {
                let request = i64::try_from(request).unwrap();
                let arguments = [0, request, pointer(&0_i32), 0, 0, 0];
                assert_refused("ioctl", EPERM, || call(SYS_ioctl, arguments));
            }
            assert_refused("fcntl", EPERM, || {
                call(SYS_fcntl, [0, number(F_SETLK), 0, 0, 0, 0])
            });
        },
    );
}

/// Serves one client on `listener` with all that a worker does.
async fn serve(listener: TcpListener) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = listener.local_addr().unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    for socket in [&client, &server] {
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(10));
        let socket = socket2::SockRef::from(socket);
        socket.set_tcp_nodelay(true).unwrap();
        socket.set_tcp_keepalive(&keepalive).unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        socket.set_linger(None).unwrap();
    }
    server.write_all(b"hello").await.unwrap();
    let mut bytes = [0; 5];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut bytes).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Does with a table all that keeping sessions takes.
fn keep(file: OwnedFd) {
    const WORDS: usize = 512;
    const BYTES: usize = 1 << 16;
    let heir = file.try_clone().unwrap();
    let own = table::Own::map(file, WORDS, BYTES).unwrap();
    own.words[0].store(1, Ordering::Relaxed);
    own.bytes.fill(7);
    table::give_back(own.bytes);
    let inherited = table::Inherited::map(heir, WORDS, BYTES).unwrap();
    assert_eq!((inherited.word(0), inherited.bytes()[0]), (Some(1), 0));
}

/// Does with sockets all that keeping their sessions takes.
fn keep_sockets(tcp: &TcpStream, unix: &UnixStream) {
    keeping::oob_inline(tcp).unwrap();
    assert!(keeping::is_tcp(tcp).unwrap());
    TcpCounts::of(tcp).unwrap();
    keeping::peek_from(unix, Some(0)).unwrap();
    assert_eq!(keeping::peek_offset(unix).unwrap(), 0);
    keeping::reset(tcp).unwrap();
}

#[test]
fn a_worker_is_refused_nothing_that_it_does() {
    alone("a_worker_is_refused_nothing_that_it_does", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let counters = Memory::new(1).unwrap();
        let table = table::create(512 * 8 + (1 << 16)).unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _peer = TcpListener::accept(&listener).unwrap();
        // The first call looks for devices that tell of clones of this machine.
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random).unwrap();
        if confined(Profile::Worker).is_none() {
            return;
        }
        runtime.block_on(serve(listener));
        keep(table);
        keep_sockets(&tcp, &near);
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap();
        // Large enough to be mapped, moved and given back.
        let mut large = vec![1_u8; 1 << 20];
        large.resize(1 << 26, 2);
        large.truncate(1);
        large.shrink_to_fit();
        drop(large);
        aws_lc_rs::rand::fill(&mut random).unwrap();
        let written = Written::map(counters.descriptor(), 1).unwrap();
        let seen = Seen::map(counters.descriptor(), 1).unwrap();
        written.counters()[0].store(1, Ordering::Relaxed);
        assert_eq!(seen.load(0), 1);
        drop((written, seen));
        let caught = panic::catch_unwind(|| panic!("on purpose"));
        assert!(caught.is_err());
        runtime.shutdown_background();
        assert_eq!(
            denied(),
            Denied {
                calls: 0,
                last: None
            }
        );
    });
}

#[test]
fn a_worker_that_aborts_ends_by_the_signal_for_that() {
    let ended = run_alone("a_worker_that_aborts_ends_by_the_signal_for_that", || {
        confine(Profile::Worker);
        std::process::abort();
    });
    let (status, told) = ended.unwrap();
    assert_eq!(status.signal(), Some(SIGABRT), "{told}");
}

#[test]
fn sigsys_from_another_process_changes_nothing() {
    alone("sigsys_from_another_process_changes_nothing", || {
        syscalls::filter(Profile::Resolver).unwrap_or_else(|reason| eprintln!("SKIPPED: {reason}"));
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGSYS).unwrap();
        assert_eq!(denied().calls, 0);
    });
}

/// Returns the files in `/etc` that this process can read and that are not for name resolution, as a key
/// there would be.
fn other_files_in_etc() -> Vec<PathBuf> {
    let known: Vec<PathBuf> = name_service::files().collect();
    let all = fs::read_dir("/etc").unwrap().map(|it| it.unwrap());
    let files = all.filter(|it| it.file_type().unwrap().is_file());
    files
        .map(|it| it.path())
        .filter(|path| !known.contains(path) && fs::read(path).is_ok())
        .collect()
}

#[test]
fn a_resolver_resolves_and_can_neither_run_programs_nor_leave_its_folders() {
    alone(
        "a_resolver_resolves_and_can_neither_run_programs_nor_leave_its_folders",
        || {
            let (files, others) = (NameFiles::now(), other_files_in_etc());
            assert!(!others.is_empty());
            let Some(confinement) = confined(Profile::Resolver) else {
                return;
            };
            let resolve = || ("localhost", 1).to_socket_addrs().unwrap().count();
            assert!(thread::spawn(resolve).join().unwrap() > 0);
            assert_eq!(files.out_of_reach(), None);
            assert_eq!(denied().calls, 0);
            for (what, call_number) in [
                ("execve", SYS_execve),
                ("ptrace", SYS_ptrace),
                ("process_vm_readv", SYS_process_vm_readv),
                ("unshare", SYS_unshare),
                ("setns", SYS_setns),
                ("setpgid", SYS_setpgid),
                ("setsid", SYS_setsid),
                ("bpf", SYS_bpf),
                ("userfaultfd", SYS_userfaultfd),
                ("mount", SYS_mount),
                ("keyctl", SYS_keyctl),
            ] {
                assert_refused(what, EPERM, || call(call_number, NOTHING));
            }
            assert_refused("io_uring_setup", ENOSYS, || {
                call(SYS_io_uring_setup, NOTHING)
            });
            assert_refused("a namespace", EPERM, || {
                call(SYS_clone, [number(CLONE_NEWUSER), 0, 0, 0, 0, 0])
            });
            assert_eq!(call(SYS_clone3, NOTHING), Err(ENOSYS));
            let shared = [number(CLONE_VM | CLONE_VFORK), 0, 0, 0, 0, 0];
            assert_eq!(call(SYS_clone, shared), Err(EPERM));
            assert_eq!(fork(), Err(EPERM));
            assert_eq!(code(Command::new("/bin/true").status()).err(), Some(EPERM));
            assert!(thread::spawn(resolve).join().unwrap() > 0);
            if confinement.files == Enforcement::None {
                return;
            }
            fs::read("/etc/hosts").unwrap();
            for path in ["/proc/self/environ", "/proc/self/mem"] {
                assert_eq!(code(fs::read(path)), Err(EACCES), "{path}");
            }
            assert_eq!(code(fs::read_dir("/etc").map(drop)), Err(EACCES));
            for path in others {
                assert_eq!(code(fs::read(&path)), Err(EACCES), "{path:?}");
            }
        },
    );
}

#[test]
fn without_a_filter_of_system_calls_files_ports_and_processes_are_out_of_reach() {
    alone(
        "without_a_filter_of_system_calls_files_ports_and_processes_are_out_of_reach",
        || {
            let name = format!("proxyd-test-{}", std::process::id());
            let address = UnixAddress::from_abstract_name(name).unwrap();
            let _outside = UnixListener::bind_addr(&address).unwrap();
            let parent = [i64::from(getppid().as_raw()), 0, 0, 0, 0, 0];
            let mut missing = Vec::new();
            let (files, scopes) = landlock::confine(Profile::Worker, &mut missing);
            if !missing.is_empty() {
                return eprintln!("SKIPPED: {missing:?}");
            }
            assert_eq!((files, scopes), (Enforcement::Full, true));
            for path in ["/etc/passwd", "/etc/hosts", "/proc/self/environ"] {
                assert_eq!(code(fs::read(path)), Err(EACCES), "{path}");
            }
            assert_eq!(code(fs::write("/tmp/proxyd-test", "")), Err(EACCES));
            assert_eq!(
                code(TcpListener::bind("127.0.0.1:0").map(drop)),
                Err(EACCES)
            );
            assert_eq!(
                code(UnixStream::connect_addr(&address).map(drop)),
                Err(EPERM)
            );
            assert_eq!(call(SYS_kill, parent), Err(EPERM));
        },
    );
}

#[test]
fn a_worker_with_afunix_reaches_no_abstract_socket() {
    alone("a_worker_with_afunix_reaches_no_abstract_socket", || {
        let name = format!("proxyd-test-{}", std::process::id());
        let address = UnixAddress::from_abstract_name(name).unwrap();
        let _outside = UnixListener::bind_addr(&address).unwrap();
        let Some(confinement) = confined(Profile::Worker) else {
            return;
        };
        if !confinement.scopes {
            return eprintln!("SKIPPED: {:?}", confinement.missing);
        }
        let reached = code(UnixStream::connect_addr(&address).map(drop));
        assert_eq!(reached, Err(EPERM));
    });
}

#[test]
fn without_a_filter_of_system_calls_a_user_makes_no_process_and_no_thread() {
    alone(
        "without_a_filter_of_system_calls_a_user_makes_no_process_and_no_thread",
        || {
            if Uid::effective().is_root() {
                setuid(Uid::from_raw(65_534)).unwrap();
            }
            limits::forbid(Profile::Worker).unwrap();
            assert_eq!(fork(), Err(EAGAIN));
            assert_eq!(
                code(thread::Builder::new().spawn(|| ())).err(),
                Some(EAGAIN)
            );
        },
    );
}

#[test]
fn what_was_found_missing_is_empty_where_all_is_enforced() {
    alone(
        "what_was_found_missing_is_empty_where_all_is_enforced",
        || {
            let confinement = confine(Profile::Page);
            let all = Confinement {
                files: Enforcement::Full,
                scopes: true,
                system_calls: true,
                missing: Vec::new(),
            };
            assert_eq!(confinement.missing.is_empty(), confinement == all);
        },
    );
}
