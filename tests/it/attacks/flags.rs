//! What processes share that have copies of a descriptor: whether it blocks, and the memory of boards.

use std::time::Duration;

use nix::libc::{self, c_int};
use serde_json::Value;

use super::{Attack, DESCRIPTORS, shared_memory::shared};
use crate::support::{
    client::{Client, Session},
    configuration::Listener,
    is_root,
    orders::{bytes, call, number},
    skip, until,
};

/// How many sessions the limited listener takes.
const MOST: usize = 4;

/// A daemon with a Unix listener, whose socket all workers share, and one that takes few sessions.
fn attack() -> Option<Attack> {
    Attack::with(|builder| {
        let backend = builder.backend().address();
        let path = builder.folder().join("shared.sock");
        let limits = format!("limits = {{ max_connections = {MOST} }}");
        let shared = Listener::tcp("shared", &backend).bind(&format!("unix:{}", path.display()));
        builder
            .set("heartbeat_timeout", "\"2s\"")
            .listener(shared.line("tls = { mode = \"preferred\" }"))
            .listener(Listener::tcp("limited", &backend).line(&limits))
    })
}

fn on_all(change: impl Fn(c_int) -> Value) -> Vec<Value> {
    (0..DESCRIPTORS).map(change).collect()
}

/// Asserts that sessions over the socket that all workers share are served at once.
#[track_caller]
fn serves_shared(attack: &Attack) {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
    };
    for _ in 0..32 {
        let mut stream = UnixStream::connect(attack.daemon().path("shared.sock")).unwrap();
        stream.set_read_timeout(Some(super::PROMPT)).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
    }
}

/// Opens sessions of the limited listener until it takes no more.
fn fill(attack: &Attack) -> Vec<Session> {
    let address = attack.daemon().address_of("limited");
    let client = Client::new(&attack.obeying.scene.ca);
    let open = || {
        let mut session = client.connect(address).ok()?;
        session.echo("hello").ok().map(|()| session)
    };
    std::iter::repeat_with(open)
        .take(10 * MOST)
        .flatten()
        .collect()
}

#[test]
fn descriptors_that_are_set_to_block_stop_neither_the_supervisor_nor_the_neighbour() {
    let Some(attack) = attack() else { return };
    let block = |fd| {
        call(
            libc::SYS_fcntl,
            [number(fd), number(libc::F_SETFL), number(0)],
        )
    };
    attack.hostile.make(&on_all(block));
    attack.is_prompt();
    serves_shared(&attack);
    attack.is_prompt();
    attack.ends_with_its_death();
    serves_shared(&attack);
}

#[test]
fn descriptors_that_are_set_to_block_by_ioctl_stop_neither_the_supervisor_nor_the_neighbour() {
    let Some(attack) = attack() else { return };
    let no = || bytes(0_u32.to_ne_bytes());
    let fionbio = i64::try_from(libc::FIONBIO).unwrap();
    let block = |fd| call(libc::SYS_ioctl, [number(fd), number(fionbio), no()]);
    attack.hostile.make(&on_all(block));
    attack.is_prompt();
    serves_shared(&attack);
    attack.is_prompt();
    attack.ends_with_its_death();
    serves_shared(&attack);
}

#[test]
fn descriptors_with_other_flags_and_owners_stop_neither_the_supervisor_nor_the_neighbour() {
    let Some(attack) = attack() else { return };
    let flags = libc::O_ASYNC | libc::O_APPEND | libc::O_DIRECT;
    let set = |fd| {
        call(
            libc::SYS_fcntl,
            [number(fd), number(libc::F_SETFL), number(flags)],
        )
    };
    attack.hostile.make(&on_all(set));
    attack.is_prompt();
    serves_shared(&attack);
    attack.ends_with_its_death();
}

#[test]
fn junk_on_a_workers_board_takes_no_places_beyond_its_death() {
    if !is_root() {
        return skip("only root sees what memory a worker has");
    }
    let Some(attack) = attack() else { return };
    let shared = shared(attack.hostile.pid);
    assert!(!shared.is_empty(), "a worker has no board");
    let junk = |(from, length)| {
        let arguments = [number(from), number(length), number(0)];
        call(libc::SYS_getrandom, arguments)
    };
    let calls: Vec<Value> = shared.into_iter().map(junk).collect();
    // It may have harmed itself.
    let _ = attack.hostile.begin(&calls, Duration::ZERO).finish();
    attack.is_prompt();
    attack.ends_with_its_death();
    until("the listener takes as many sessions as it may", || {
        fill(&attack).len() == MOST
    });
}
