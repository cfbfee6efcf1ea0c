//! What processes share that have copies of a descriptor: whether it blocks, where its counter stands.

use std::time::Duration;

use nix::libc::{self, c_int};
use serde_json::Value;

use super::{Attack, DESCRIPTORS};
use crate::support::{
    client::{Client, Session},
    configuration::Listener,
    orders::{bytes, call, number, space},
    until,
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

#[track_caller]
fn a_forged_counter_does_no_harm(value: u64) {
    let Some(attack) = attack() else { return };
    let counters = attack.leading_to("[eventfd]");
    let write = |fd: &i64| {
        call(
            libc::SYS_write,
            [number(*fd), bytes(value.to_ne_bytes()), number(8)],
        )
    };
    attack
        .hostile
        .make(&counters.iter().map(write).collect::<Vec<_>>());
    attack.is_prompt();
    attack.serves();
    attack.ends_with_its_death();
    until("the listener takes as many sessions as it may", || {
        fill(&attack).len() == MOST
    });
}

#[test]
fn a_worker_that_counts_a_shared_counter_far_up_gives_no_places_away() {
    a_forged_counter_does_no_harm(1 << 40);
}

#[test]
fn a_worker_that_counts_a_shared_counter_to_its_end_gives_no_places_away() {
    a_forged_counter_does_no_harm(u64::MAX - 1);
}

#[test]
fn a_worker_that_empties_shared_counters_takes_no_places_beyond_its_death() {
    let Some(attack) = attack() else { return };
    let counters = attack.leading_to("[eventfd]");
    let nonblocking = |fd: &i64| {
        let flags = [number(libc::F_SETFL), number(libc::O_NONBLOCK)];
        call(libc::SYS_fcntl, [number(*fd)].into_iter().chain(flags))
    };
    let read = |fd: &i64| call(libc::SYS_read, [number(*fd), space(8), number(8)]);
    let mut all: Vec<Value> = counters.iter().map(nonblocking).collect();
    all.extend(vec![counters.iter().map(read).collect::<Vec<_>>(); 2 * MOST].concat());
    // It may wait for what is empty until it is ended for that.
    let _ = attack.hostile.begin(&all, Duration::ZERO).finish();
    attack.is_prompt();
    attack.ends_with_its_death();
    until("the listener takes as many sessions as it may", || {
        fill(&attack).len() == MOST
    });
}
