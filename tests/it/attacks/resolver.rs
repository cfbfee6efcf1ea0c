//! The resolver, which answers every worker over a link of their own.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    time::{Duration, Instant},
};

use nix::{
    libc::{self, c_int},
    sys::signal::Signal,
};
use serde_json::{Value, json};

use super::{Attack, descriptors};
use crate::support::{
    client::Client,
    configuration::Listener,
    is_root,
    orders::{bytes, call, length, number, space, with_descriptors},
    pki::hex,
    process, skip, until,
};

/// A daemon whose backends are a name and a path, which the resolver finds.
fn attack() -> Option<Attack> {
    if !is_root() {
        skip("only root sees what a worker has open");
        return None;
    }
    Attack::with(|builder| {
        let backend = builder.backend().address();
        let port = backend.rsplit_once(':').unwrap().1.to_owned();
        let mut named = Listener::tcp("named", "");
        named.backend = format!("localhost:{port}");
        builder.listener(named)
    })
}

/// Returns the resolver's process id.
fn resolver(attack: &Attack) -> u32 {
    let children = process::children(attack.daemon().pid()).into_iter();
    let mut found = children.filter(|it| process::name(*it).as_deref() == Some("proxyd-resolver"));
    found.next().unwrap()
}

/// Returns the hostile worker's descriptor of its link to the resolver: the one of this kind of socket
/// that does not lead to the supervisor, whose number is the lowest.
fn pair(attack: &Attack) -> c_int {
    let size = || bytes(4_u32.to_ne_bytes());
    let kind = |fd| {
        let option = [number(libc::SOL_SOCKET), number(libc::SO_TYPE)];
        let arguments = [number(fd)].into_iter().chain(option);
        call(libc::SYS_getsockopt, arguments.chain([space(4), size()]))
    };
    let packets = hex(&libc::SOCK_SEQPACKET.to_ne_bytes());
    let all = attack.descriptors_with(kind, |it| it.result == 0 && it.spaces == [packets.clone()]);
    // The link is there twice.
    let link = process::descriptors(attack.hostile.pid);
    let target = |fd: c_int| {
        link.iter()
            .find(|it| i64::from(it.0) == i64::from(fd))
            .unwrap()
            .1
            .clone()
    };
    let supervisor = target(0);
    all.into_iter()
        .find(|fd| target(*fd) != supervisor)
        .unwrap()
}

fn ask(wanted: &Value) -> Value {
    json!({"number": 1_u64 << 40, "wanted": wanted, "within": {"secs": 3, "nanos": 0}})
}

/// Returns the call that sends the resolver this, once there is room.
fn send(pair: c_int, memory: &Value) -> Value {
    let zeros = std::iter::repeat_n(number(0), 3);
    let packet = [number(pair), json!({"memory": memory}), length(1)];
    let mut call = call(libc::SYS_sendto, packet.into_iter().chain(zeros));
    call["patient"] = json!(true);
    call
}

/// Asserts that clients are connected to a backend that is named, at once.
#[track_caller]
fn resolves(attack: &Attack) {
    let scene = &attack.obeying.scene;
    let address = scene.daemon.address_of("named");
    let client = Client::new(&scene.ca);
    for _ in 0..8 {
        let asked = Instant::now();
        let mut session = client.connect(address).unwrap();
        session.echo("hello").unwrap();
        assert!(asked.elapsed() < super::PROMPT, "{:?}", asked.elapsed());
    }
}

#[test]
fn the_resolver_connects_a_worker_to_no_socket_that_is_no_backend() {
    let Some(attack) = attack() else { return };
    let path = attack.daemon().path("other.sock");
    let other = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    other.set_nonblocking(true).unwrap();
    let pair = pair(&attack);
    let wanted = [path, attack.daemon().socket()].map(|it| json!({"Path": it}));
    let asks = wanted.map(|it| send(pair, &json!({"ask": ask(&it)})));
    let sent = attack.hostile.make(&asks);
    assert!(sent.iter().all(|it| it.result > 0), "{sent:#?}");
    // What it asks later is answered later.
    resolves(&attack);
    assert!(other.accept().is_err(), "the resolver has connected");
    attack.changed_nothing();
}

#[test]
fn a_flood_of_questions_does_not_keep_the_resolver_from_answering_others() {
    let Some(attack) = attack() else { return };
    let pair = pair(&attack);
    let hosts = (0..20).map(|it| json!({"Host": format!("{it}.invalid")}));
    let asks: Vec<Value> = hosts
        .map(|it| send(pair, &json!({"ask": ask(&it)})))
        .collect();
    let begun = Instant::now();
    let time = Duration::from_secs(2);
    let busy = attack.hostile.begin(&asks, time);
    while begun.elapsed() < time {
        attack.is_prompt();
    }
    let _ = busy.finish();
    resolves(&attack);
    attack.ends_with_its_death();
    resolves(&attack);
}

#[test]
fn what_is_no_question_costs_only_the_worker_that_sent_it_its_answers() {
    for junk in ["ff".repeat(16), "00".to_owned(), "00".repeat(60_000)] {
        let Some(attack) = attack() else { return };
        let (pair, before) = (pair(&attack), resolver(&attack));
        attack.hostile.make(&[send(pair, &json!({"bytes": junk}))]);
        process::send(attack.hostile.pid, Signal::SIGKILL);
        attack.is_replaced();
        resolves(&attack);
        assert_eq!(resolver(&attack), before, "the resolver has died");
    }
}

#[test]
fn descriptors_that_a_worker_sends_along_do_not_fill_the_resolvers_table() {
    let Some(attack) = attack() else { return };
    let pair = pair(&attack);
    let resolver = resolver(&attack);
    let before = descriptors(resolver);
    let said = json!({"ask": ask(&json!({"Host": "localhost"}))});
    let call = with_descriptors(pair, &said, 253);
    attack.hostile.make(&vec![call; 100]);
    until("the resolver keeps no descriptors", || {
        descriptors(resolver) <= before + 8
    });
    process::send(attack.hostile.pid, Signal::SIGKILL);
    attack.is_replaced();
    resolves(&attack);
}
