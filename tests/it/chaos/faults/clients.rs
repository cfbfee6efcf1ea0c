//! Clients and operators that misbehave.

use std::{
    io::Write as _,
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{Fault, Outcome};
use crate::{
    chaos::{commands::ask, journal::Entry, random::Random, run::Run},
    support::{process, program::clean_command},
};

/// Clients and operators that misbehave.
pub(crate) const LANE: &[Fault] = &[
    Fault::new("garbage", garbage),
    Fault::new("control-flood", control_flood),
    Fault::new("follower-stopped", follower_stopped),
];

/// How many clients send garbage at a time.
const GARBAGE: usize = 40;

/// How many connections to the control socket send nothing: more than the daemon serves at a time.
const IDLE: usize = 80;

/// Clients send garbage instead of a handshake, and some of them leave at once.
fn garbage(run: &Run<'_>, random: &mut Random, _: Entry) -> Outcome {
    let place = random.pick(&run.places);
    let mut clients = Vec::new();
    for _ in 0..GARBAGE {
        let patience = Duration::from_secs(5);
        let Ok(mut client) = TcpStream::connect_timeout(&place.address, patience) else {
            continue;
        };
        let words = (0..=random.below(64)).flat_map(|_| random.next().to_le_bytes());
        let mut bytes: Vec<u8> = words.collect();
        if random.coin() {
            // The head of a handshake record, so that the garbage is looked at more closely.
            bytes[..5].copy_from_slice(&[22, 3, 1, 1, 0]);
        }
        // The daemon may have closed it already.
        let _ = client.write_all(&bytes);
        clients.extend(random.coin().then_some(client));
    }
    run.wait(random.millis(0..500));
    Outcome::Struck
}

/// Many connections to the control socket send nothing, and an operator runs a command meanwhile.
fn control_flood(run: &Run<'_>, _: &mut Random, entry: Entry) -> Outcome {
    let socket = run.daemon.socket();
    let idle: Vec<_> = (0..IDLE)
        .map_while(|_| UnixStream::connect(&socket).ok())
        .collect();
    let answer = ask(run, &["status"]);
    let took = answer.ended - answer.begun;
    run.note(entry, format!("{} idle, status took {took:?}", idle.len()));
    Outcome::Struck
}

/// A client follows the events and is stopped, so that it does not read them.
fn follower_stopped(run: &Run<'_>, random: &mut Random, _: Entry) -> Outcome {
    let mut command: Command = clean_command(env!("CARGO_BIN_EXE_proxyctl"));
    command
        .arg("--socket")
        .arg(run.daemon.socket())
        .args(["--json", "events", "--follow"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut follower = command.spawn().unwrap();
    run.wait(Duration::from_millis(200));
    process::send(follower.id(), Signal::SIGSTOP);
    run.wait(random.millis(500..2000));
    follower.kill().unwrap();
    follower.wait().unwrap();
    Outcome::Struck
}
