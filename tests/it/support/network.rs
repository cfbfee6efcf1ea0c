//! A network between this machine and one beyond a router, which can begin to drop everything.

use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    process::{self, Command},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

use super::{PATIENCE, inside::Place, program::run, skip};

/// The address of this machine in that network.
pub(crate) const HERE: &str = "192.0.2.1";

/// The address of the one beyond the router.
pub(crate) const BEYOND: &str = "192.0.2.6";

/// A router that has a cable to this machine and another to the one beyond it.
pub(crate) struct Network {
    router: Machine,
    beyond: Machine,
}

/// Whether this is on a machine of the test's own, with the network. Outside it runs the test of this name
/// there, and the answer is nothing.
#[track_caller]
pub(crate) fn network_of(test: &str) -> Option<Network> {
    if Command::new("ip").arg("-V").output().is_err() {
        skip("a network of one's own needs ip(8), of iproute2");
        return None;
    }
    let place = Place {
        own: &["--net"],
        prepare: "ip link set lo up",
        arguments: &[],
    };
    place.is_here(test).then(Network::new).flatten()
}

impl Network {
    fn new() -> Option<Self> {
        let (router, beyond) = (Machine::new(), Machine::new());
        let to = |machine: &Machine, name: &str| {
            let place = format!("/proc/{}/fd/{}", process::id(), machine.0.as_raw_fd());
            format!("type veth peer name {name} netns {place}")
        };
        if !is_done(&format!("link add near {}", to(&router, "hither"))) {
            skip("this kernel has no pairs of network devices (veth)");
            return None;
        }
        ip(&format!("addr add {HERE}/30 dev near"));
        ip("link set near up");
        ip("route add 192.0.2.4/30 via 192.0.2.2");
        router.run(|| {
            ip(&format!("link add thither {}", to(&beyond, "far")));
            ip("addr add 192.0.2.2/30 dev hither");
            ip("addr add 192.0.2.5/30 dev thither");
            ip("link set hither up");
            ip("link set thither up");
        });
        beyond.run(|| {
            ip("link set lo up");
            ip(&format!("addr add {BEYOND}/30 dev far"));
            ip("link set far up");
            ip("route add default via 192.0.2.5");
        });
        let network = Self { router, beyond };
        if network.forward(true) {
            return Some(network);
        }
        skip("a router of one's own needs to write to /proc/sys");
        None
    }

    /// Does something on the machine beyond the router; sockets that were made there stay there.
    pub(crate) fn beyond<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.beyond.run(act)
    }

    /// Drops every packet from now on, and tells nobody.
    pub(crate) fn fail(&self) {
        assert!(self.forward(false));
    }

    /// Lets packets pass again.
    pub(crate) fn heal(&self) {
        assert!(self.forward(true));
    }

    fn forward(&self, on: bool) -> bool {
        let value = if on { "1" } else { "0" };
        let write = || fs::write("/proc/sys/net/ipv4/ip_forward", value).is_ok();
        self.router.run(write)
    }
}

/// Returns whether the peers of all sockets on this machine have acknowledged all that was sent to them
/// (`proc_net(5)`).
pub(crate) fn is_all_acknowledged() -> bool {
    let sockets = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let mut waiting = sockets.lines().skip(1).map(|socket| {
        let queues = socket.split_whitespace().nth(4).unwrap();
        queues.split_once(':').unwrap().0
    });
    waiting.all(|bytes| bytes == "00000000")
}

/// What has a network namespace of its own.
struct Machine(File);

impl Machine {
    fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self(made.join().unwrap())
    }

    /// Does something there, in a thread of its own; threads and programs that it starts are there too.
    fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            there.join().unwrap()
        })
    }
}

#[track_caller]
fn ip(words: &str) {
    assert!(is_done(words), "ip {words}");
}

fn is_done(words: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(words.split(' '));
    run(command, PATIENCE).is_success()
}
