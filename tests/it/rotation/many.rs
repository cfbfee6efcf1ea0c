//! A hundred reloads under two thousand sessions.

use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{
    client::{Client, Session},
    daemon::TestDaemon,
    pki::Ca,
    process::{descriptors, status_line},
    scene::NAME,
    skip,
};

const SESSIONS: usize = 2000;
const RELOADS: usize = 100;

/// After so many, everything that is made once has been made, and as much is remembered as ever is.
const WARM: usize = 40;

/// Identities, all of them new in each generation, so that one that is not freed weighs something.
const IDENTITIES: usize = 60;

/// Memory that may come and go, in KiB; generations that stayed weigh nearly twice that and
/// more.
const SLACK: usize = 3 * 1024;

/// Descriptors that may come and go.
const FEW: usize = 3;

/// What a process holds.
#[derive(Debug)]
struct Weight {
    pid: u32,
    kib: usize,
    descriptors: usize,
}

/// Weighs the supervisor and its workers.
fn weigh(daemon: &TestDaemon) -> Vec<Weight> {
    let pids = std::iter::once(daemon.pid()).chain(daemon.workers());
    pids.map(|pid| {
        let memory = status_line(pid, "VmRSS").unwrap();
        Weight {
            pid,
            kib: memory.trim_end_matches(" kB").parse().unwrap(),
            descriptors: descriptors(pid).len(),
        }
    })
    .collect()
}

/// Has this process open two descriptors a session; `false` skips the test.
fn may_open_enough() -> bool {
    let enough = SESSIONS as u64 * 2 + 500;
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if now >= enough
        || setrlimit(Resource::RLIMIT_NOFILE, enough.min(most), most).is_ok() && most >= enough
    {
        return true;
    }
    skip("this process may not have thousands of descriptors");
    false
}

fn sessions(daemon: &TestDaemon, ca: &Ca) -> Vec<Session> {
    const THREADS: usize = 4;
    let address = daemon.address();
    let client = Client::new(ca);
    let open = || {
        let open = |_| {
            let mut session = client.connect(address).unwrap();
            session.echo("hello").unwrap();
            session
        };
        (0..SESSIONS / THREADS).map(open).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(open)).collect();
        let opened = threads.into_iter().flat_map(|it| it.join().unwrap());
        opened.collect()
    })
}

#[test]
fn sessions_stay_and_old_generations_go() {
    if !may_open_enough() {
        return;
    }
    let ca = Ca::new("authority");
    let names: Vec<String> = (0..IDENTITIES)
        .map(|number| format!("of-{number}"))
        .collect();
    let leaf = ca.leaf(NAME);
    let builder = TestDaemon::builder().workers(2);
    let daemon = names
        .iter()
        .fold(builder, |builder, name| builder.identity(name, &leaf))
        .start();
    let mut sessions = sessions(&daemon, &ca);
    let mut before = Vec::new();
    for number in 0..RELOADS {
        if number == WARM {
            before = weigh(&daemon);
        }
        let leaf = ca.leaf(NAME);
        for name in &names {
            daemon.files(name).put(&leaf);
        }
        let report = daemon.json(&["reload-tls"]);
        assert_eq!(report["generation"], number + 2);
        assert_eq!(report["workers"], 2);
    }
    for (before, after) in before.iter().zip(weigh(&daemon)) {
        assert_eq!(before.pid, after.pid);
        assert!(after.kib < before.kib + SLACK, "{before:?} {after:?}");
        let grown = after.descriptors.saturating_sub(before.descriptors);
        assert!(grown <= FEW, "{before:?} {after:?}");
    }
    for session in &mut sessions {
        session.echo("still there").unwrap();
    }
    assert_eq!(sessions.len(), SESSIONS);
    assert_eq!(daemon.backend.accepted(), SESSIONS);
}
