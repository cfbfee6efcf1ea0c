//! What a worker that was taken over can do to the supervisor, to other workers and to the machine: the
//! attacks themselves, made from inside a worker of a build that takes orders.

mod calls;
mod control_socket;
mod counts;
mod descriptors;
mod files;
mod flags;
mod flood;
mod listening;
mod log;
mod mute;
mod packets;
mod processes;
mod resolver;
mod shared_memory;
mod signals;
mod sockets;

use std::time::{Duration, Instant};

use nix::{
    libc::{self, c_int},
    sys::signal::Signal,
};
use serde_json::{Value, json};

use crate::support::{
    builder::Builder,
    client::{Client, Session},
    daemon::TestDaemon,
    is_root,
    orders::{Obeying, Outcome, Worker, bytes, call, number, space},
    pki::hex,
    process, skip, until,
};

/// How long the supervisor may take for an answer, and a worker for a handshake, whatever another worker
/// does. Other tests run at the same time.
const PROMPT: Duration = Duration::from_secs(3);

/// More descriptors than a worker has here.
const DESCRIPTORS: c_int = 300;

/// By how much the supervisor's memory may grow in an attack: what an allocator keeps, and not what the
/// attack brings.
const GROWTH: u64 = 24 << 10;

/// A daemon of two workers, the first of which is hostile.
struct Attack {
    obeying: Obeying,
    hostile: Worker,
    /// The last worker, which is another one where there are two.
    neighbour: u32,
    /// What the supervisor had before the attack.
    memory: u64,
    descriptors: usize,
}

impl Attack {
    /// `None` skips the test.
    fn new() -> Option<Self> {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        Obeying::with(|builder| change(builder.workers(2))).map(Self::on)
    }

    /// Has a daemon that is not root; its workers have its own user.
    fn unprivileged() -> Option<Self> {
        Obeying::unprivileged(|builder| builder.workers(2)).map(Self::on)
    }

    fn on(obeying: Obeying) -> Self {
        let daemon = &obeying.scene.daemon;
        let (hostile, workers) = (obeying.worker(0), daemon.workers());
        let (memory, descriptors) = (memory(daemon.pid()), descriptors(daemon.pid()));
        Self {
            hostile,
            neighbour: workers[workers.len() - 1],
            memory,
            descriptors,
            obeying,
        }
    }

    fn daemon(&self) -> &TestDaemon {
        &self.obeying.scene.daemon
    }

    /// Asserts that the supervisor answers at once; returns the status.
    #[track_caller]
    fn is_prompt(&self) -> Value {
        let asked = Instant::now();
        let status = self.daemon().status();
        let taken = asked.elapsed();
        assert!(taken < PROMPT, "the supervisor took {taken:?} for a status");
        status
    }

    /// Asserts that the supervisor has not grown.
    #[track_caller]
    fn is_small(&self) {
        let (before, after) = (self.memory, memory(self.daemon().pid()));
        assert!(
            after < before + GROWTH,
            "the supervisor has grown from {before} to {after} KiB"
        );
    }

    /// Asserts that the first listener takes clients at once, whichever worker they come to.
    #[track_caller]
    fn serves(&self) {
        for _ in 0..8 {
            let asked = Instant::now();
            let mut session = self.session().unwrap();
            session.echo("still here").unwrap();
            let taken = asked.elapsed();
            assert!(taken < PROMPT, "a client was let in after {taken:?}");
        }
    }

    fn session(&self) -> std::io::Result<Session> {
        let scene = &self.obeying.scene;
        Client::new(&scene.ca).connect(scene.daemon.address())
    }

    /// Asserts that neither worker has been replaced, and that all is as before.
    #[track_caller]
    fn changed_nothing(&self) {
        let status = self.is_prompt();
        let workers = self.daemon().workers();
        assert_eq!(workers, [self.hostile.pid, self.neighbour], "{status:#}");
        self.serves();
    }

    /// Waits until another worker serves in the place of the hostile one; returns the status.
    #[track_caller]
    fn is_replaced(&self) -> Value {
        let status = self.obeying.scene.await_restarts(1);
        let workers = self.daemon().workers();
        assert_ne!(workers[0], self.hostile.pid, "{status:#}");
        assert_eq!(workers[1], self.neighbour, "the neighbour has died too");
        status
    }

    /// Kills the hostile worker and asserts that afterwards all is well.
    #[track_caller]
    fn ends_with_its_death(&self) {
        process::send(self.hostile.pid, Signal::SIGKILL);
        self.is_replaced();
        self.is_well();
    }

    /// Asserts that nothing is left of the attack.
    #[track_caller]
    fn is_well(&self) {
        self.is_prompt();
        self.serves();
        self.is_small();
        until("nothing is counted as open", || {
            let status = self.daemon().status();
            let listeners = status["listeners"].as_array().unwrap();
            listeners.iter().all(|it| it["connections"]["open"] == 0)
        });
        let (before, after) = (self.descriptors, descriptors(self.daemon().pid()));
        assert!(
            after <= before + 8,
            "the supervisor had {before} descriptors and has {after}"
        );
    }

    /// Asserts that the worker may make none of these calls, has died of none, and goes on.
    #[track_caller]
    fn is_refused(&self, calls: &[(&str, Value)]) {
        let mut made = Vec::new();
        for (name, call) in calls {
            let busy = self
                .hostile
                .begin(std::slice::from_ref(call), Duration::ZERO);
            match busy.finish() {
                Ok(outcomes) if outcomes.iter().all(Outcome::is_refused) => {}
                outcomes => made.push((*name, outcomes)),
            }
            if !process::is_alive(self.hostile.pid) {
                break;
            }
        }
        assert!(made.is_empty(), "not refused: {made:#?}");
        self.changed_nothing();
    }

    /// Returns the descriptors of the hostile worker for which a call has this result.
    #[track_caller]
    fn descriptors_with(
        &self,
        call: impl Fn(c_int) -> Value,
        is_it: impl Fn(&Outcome) -> bool,
    ) -> Vec<c_int> {
        let calls: Vec<Value> = (0..DESCRIPTORS).map(call).collect();
        let made = self.hostile.make(&calls);
        let found = (0..).zip(made).filter(|(_, outcome)| is_it(outcome));
        found.map(|(descriptor, _)| descriptor).collect()
    }

    /// Returns the descriptors of the hostile worker's listening sockets, without its door, which keeps packets apart.
    #[track_caller]
    fn listening(&self) -> Vec<c_int> {
        let listening = self.with_option(libc::SO_ACCEPTCONN, 1);
        let mut streams = self.with_option(libc::SO_TYPE, libc::SOCK_STREAM);
        streams.retain(|it| listening.contains(it));
        assert!(!streams.is_empty(), "the worker has no listening socket");
        streams
    }

    /// Returns the descriptors of the hostile worker's sockets for which an option (`socket(7)`) has this value.
    fn with_option(&self, option: c_int, value: c_int) -> Vec<c_int> {
        let size = 4_u32.to_ne_bytes();
        let ask = |fd| {
            call(
                libc::SYS_getsockopt,
                [
                    number(fd),
                    number(libc::SOL_SOCKET),
                    number(option),
                    space(4),
                    bytes(size),
                ],
            )
        };
        self.descriptors_with(ask, |it| {
            it.result == 0 && it.spaces == [hex(&value.to_ne_bytes())]
        })
    }

    /// Returns the descriptors of the hostile worker that lead to this, as the kernel writes it; none if
    /// only root may see that.
    fn leading_to(&self, what: &str) -> Vec<i64> {
        if !is_root() {
            skip("only root sees what a worker has open");
            return Vec::new();
        }
        let all = process::descriptors(self.hostile.pid);
        let found = all
            .into_iter()
            .filter(|(_, target)| target.to_string_lossy().contains(what));
        found.map(|(number, _)| i64::from(number)).collect()
    }
}

/// Returns the size of a process in memory, in KiB.
fn memory(pid: u32) -> u64 {
    let line = process::status_line(pid, "VmRSS").unwrap();
    line.trim_end_matches(" kB").parse().unwrap()
}

/// Returns how many descriptors a process has.
fn descriptors(pid: u32) -> usize {
    process::descriptors(pid).len()
}

/// Returns how many calls of a worker were denied, as the status tells.
fn denied_calls(status: &Value, pid: u32) -> Option<u64> {
    let mut workers = status["workers"].as_array()?.iter();
    workers.find(|it| it["pid"] == pid)?["denied_calls"].as_u64()
}

/// Returns a worker's message that counts sessions of a listener, as so many of each kind.
fn counts(listener: &str, number: u64) -> Value {
    let counts = json!({
        "open": number,
        "total": number,
        "failed_handshakes": number,
        "failed_by_reason": {"timeout": number},
        "refused": number,
        "failed_backends": number,
        "ended": {"full": number},
    });
    json!({"Counts": {"listener": listener, "counts": counts}})
}
