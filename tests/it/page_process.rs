//! The process that serves the metrics page: what it has, and what happens when it is gone.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use crate::{
    metrics::{ask, page, scrape},
    shortage::leave,
    support::{
        PATIENCE,
        builder::Builder,
        client::{self, exchange},
        configuration::Listener,
        daemon::TestDaemon,
        eventually, is_root,
        pki::Ca,
        ports::free_port,
        process::{self, Known},
        skip, until,
    },
};

struct Front {
    daemon: TestDaemon,
    page: SocketAddr,
}

impl Front {
    /// Starts a daemon whose page is at a port that is known before.
    fn at_known_port(change: impl FnOnce(Builder) -> Builder) -> Self {
        let port = free_port();
        let bind = format!("{{ bind = \"127.0.0.1:{port}\" }}");
        let builder = TestDaemon::builder().set("metrics", &bind);
        Self {
            daemon: change(builder).start(),
            page: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    fn new(change: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = TestDaemon::builder()
            .set("metrics", "{ bind = \"127.0.0.1:0\" }")
            .identity("default", &Ca::new("authority").leaf("localhost"));
        let daemon = change(builder).start();
        let front = Self {
            page: page(&daemon),
            daemon,
        };
        assert_eq!(front.get("/healthz"), 200);
        front
    }

    /// Returns the process that serves the page.
    #[track_caller]
    fn process(&self) -> Known {
        let found = || {
            let children = process::children(self.daemon.pid()).into_iter();
            let mut pages =
                children.filter(|it| process::name(*it).as_deref() == Some("proxyd-page"));
            let page = Known::new(pages.next()?)?;
            (pages.next().is_none() && page.is_alive()).then_some(page)
        };
        eventually("one process serves the page", PATIENCE, found)
    }

    /// Waits until another process serves the page than this one.
    #[track_caller]
    fn await_successor(&self, of: &Known) {
        until("another process serves the page", || {
            !of.is_alive() && self.process() != *of
        });
    }

    /// Returns the status code of the answer to a request.
    #[track_caller]
    fn get(&self, path: &str) -> u16 {
        ask(self.page, "GET", path).0
    }

    /// Returns how many helpers have failed, as events tell.
    fn failures(&self) -> usize {
        let events = self.daemon.events();
        events
            .iter()
            .filter(|event| event["kind"] == "helper-failed")
            .count()
    }
}

/// Sends a request, whose answer may come much later.
fn begin(page: SocketAddr, path: &str) -> TcpStream {
    let mut stream = client::connect(page).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    stream
}

/// Returns the status code of the answer to a request that was sent.
fn finish(mut stream: TcpStream) -> u16 {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_page_process_that_is_killed_is_replaced_and_refuses_no_client() {
    let front = Front::new(|it| it);
    for _ in 0..3 {
        let killed = front.process();
        killed.send(Signal::SIGKILL);
        // Each connection is taken, whether there is a process yet or not.
        while front.process() == killed {
            assert_eq!(front.get("/healthz"), 200);
        }
        assert_eq!(
            scrape(&front.daemon)["proxyd_workers_serving"].to_string(),
            "1"
        );
    }
    assert_eq!(front.failures(), 3);
    assert_eq!(front.daemon.status()["restarts"]["total"], 0);
}

#[test]
fn a_request_that_came_while_no_process_was_there_is_answered() {
    let front = Front::new(|it| it);
    let stopped = front.process();
    stopped.send(Signal::SIGSTOP);
    let waiting: Vec<_> = ["/metrics", "/healthz", "/readyz", "/"]
        .iter()
        .map(|path| begin(front.page, path))
        .collect();
    stopped.send(Signal::SIGKILL);
    for stream in waiting {
        assert_eq!(finish(stream), 200);
    }
}

#[test]
fn a_page_process_that_hangs_is_replaced() {
    let front = Front::new(|it| it.set("heartbeat_timeout", "\"1s\""));
    let hung = front.process();
    hung.send(Signal::SIGSTOP);
    let waiting = begin(front.page, "/metrics");
    front.await_successor(&hung);
    assert_eq!(finish(waiting), 200);
    assert_eq!(front.failures(), 1);
    assert!(front.daemon.log().contains("no sign of life"));
}

#[test]
fn health_is_denied_while_the_supervisor_does_not_turn() {
    let mut front = Front::new(|it| it);
    let page = front.process();
    front.daemon.signal(Signal::SIGSTOP);
    for _ in 0..2 {
        let began = Instant::now();
        let (status, answer) = ask(front.page, "GET", "/healthz");
        assert_eq!(status, 503);
        assert!(answer.contains("its loop does not turn"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(4));
    }
    assert_eq!(front.get("/metrics"), 503);
    let (status, answer) = ask(front.page, "GET", "/");
    assert_eq!(status, 503);
    assert!(
        answer.contains("The supervisor does not answer</h1>"),
        "{answer}"
    );
    front.daemon.signal(Signal::SIGCONT);
    until("the daemon is well again", || front.get("/healthz") == 200);
    assert_eq!(front.get("/metrics"), 200);
    assert_eq!(front.process(), page);
}

#[test]
fn the_page_process_is_another_and_has_no_rights() {
    let front = Front::new(|it| it);
    let page = front.process().pid;
    assert_ne!(page, front.daemon.pid());
    let worker = front.daemon.workers()[0];
    assert_eq!(process::user(page), process::user(worker));
    let line = |name| process::status_line(page, name).unwrap();
    assert_eq!(line("NoNewPrivs"), "1");
    assert_eq!(line("CapEff").trim_start_matches('0'), "");
    if front.daemon.status()["sandbox"]["system_calls"] == true {
        assert_eq!(line("Seccomp"), "2");
    }
    if is_root() {
        assert_ne!(process::user(page), Some(0));
        assert_eq!(line("Groups"), "");
    }
}

#[test]
fn the_page_process_has_no_descriptor_but_its_link_its_log_its_socket_and_the_size_of_its_memory() {
    if !is_root() {
        return skip("only root sees the descriptors of the page");
    }
    let front = Front::new(|it| it);
    scrape(&front.daemon);
    let page = front.process().pid;
    // By this it tells how much memory it takes.
    let own = format!("/proc/{page}/statm");
    let ours: BTreeSet<PathBuf> = targets(front.daemon.pid()).into_iter().collect();
    until("what clients and statuses needed is closed", || {
        let all = targets(page).into_iter().map(|it| it.display().to_string());
        let known = ["socket:", "pipe:", "anon_inode:[event", "/dev/null", &own];
        let is_known = |it: &String| known.iter().any(|start| it.starts_with(start));
        let (known, others): (Vec<_>, Vec<_>) = all.partition(is_known);
        let sockets = known.iter().filter(|it| it.starts_with("socket:"));
        let shared: Vec<_> = sockets.filter(|it| ours.contains(Path::new(it))).collect();
        // Of the supervisor's sockets it has the port; its end of the link is another socket.
        others.is_empty() && shared.len() == 1
    });
}

/// Returns what the open descriptors of a process lead to.
fn targets(pid: u32) -> Vec<PathBuf> {
    let open = process::descriptors(pid).into_iter();
    open.map(|(_, target)| target).collect()
}

#[test]
fn a_port_that_the_page_process_shuts_and_lets_block_is_opened_again() {
    if !is_root() {
        return skip("only root takes descriptors of another process");
    }
    let front = Front::at_known_port(|it| it);
    let evil = front.process();
    let open = process::descriptors(evil.pid).into_iter();
    let sockets = open.filter(|(_, target)| target.to_string_lossy().starts_with("socket:"));
    let socket = sockets
        .filter_map(|(number, _)| process::descriptor_of(evil.pid, number.cast_signed()))
        .find(|it| rustix::net::sockopt::socket_acceptconn(it.as_fd()).unwrap_or(false))
        .unwrap();
    rustix::io::ioctl_fionbio(&socket, false).unwrap();
    rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
    drop(socket);
    front.await_successor(&evil);
    until("the page is served again", || {
        exchange(front.page, b"GET /healthz HTTP/1.0\r\n\r\n").is_ok_and(|it| !it.is_empty())
    });
    assert_eq!(front.get("/healthz"), 200);
}

#[test]
fn the_end_of_the_daemon_leaves_no_page_process() {
    for end in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut front = Front::new(|it| it);
        let page = front.process();
        front.daemon.signal(end);
        front.daemon.wait_exit(PATIENCE);
        if end == Signal::SIGTERM {
            assert!(!page.is_alive());
        }
        until("the page has ended", || !page.is_alive());
    }
}

#[test]
fn a_page_process_that_hangs_does_not_keep_the_port_from_the_next_daemon() {
    let mut front = Front::at_known_port(|it| it);
    for end in [Signal::SIGKILL, Signal::SIGTERM] {
        front.process().send(Signal::SIGSTOP);
        front.daemon.signal(end);
        front.daemon.wait_exit(PATIENCE);
        front.daemon.start();
        assert_eq!(front.get("/healthz"), 200);
    }
}

#[test]
fn a_daemon_without_metrics_has_no_page_process() {
    let daemon = TestDaemon::builder().start();
    let names = process::children(daemon.pid()).into_iter();
    let names: Vec<_> = names.filter_map(process::name).collect();
    assert!(names.iter().all(|name| name != "proxyd-page"), "{names:?}");
}

#[test]
fn a_supervisor_without_descriptors_still_tells_the_page_its_status() {
    let front = Front::new(|it| it);
    let supervisor = front.daemon.pid();
    assert_eq!(front.get("/metrics"), 200);
    if !leave(supervisor, 0) {
        return;
    }
    for _ in 0..3 {
        assert_eq!(front.get("/metrics"), 200);
    }
}

/// Sends a request and takes no more than the first byte of its answer.
fn dawdle(page: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Little of the answer fits there, and the daemon's kernel takes no more than for small segments.
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_tcp_mss(600).unwrap();
    socket.connect(&page.into()).unwrap();
    (&socket)
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    (&socket).read_exact(&mut [0]).unwrap();
    socket
}

#[test]
fn clients_that_take_their_answers_slowly_keep_few_of_them_in_memory() {
    let front = Front::at_known_port(|it| {
        let backend = it.backend().address();
        // Many, so that the answer is longer than what the kernel takes of it.
        let names = (0..100).map(|number| format!("listener-{number}"));
        names.fold(it, |it, name| it.listener(Listener::tcp(&name, &backend)))
    });
    let slow: Vec<_> = (0..4).map(|_| dawdle(front.page)).collect();
    let (status, answer) = ask(front.page, "GET", "/metrics");
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("other clients"), "{answer}");
    assert_eq!(front.get("/healthz"), 200);
    drop(slow);
    until("there is room again", || front.get("/metrics") == 200);
}
