//! Two releases that go on for each other, in both directions, under sessions of every kind.
//!
//! The next release is a build of this one that writes another version of everything that the two leave each other.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    busy::Busy,
    kind::{Kind, PLAIN, TLS12, TLS13, unix},
    stage::Stage,
};
use crate::{
    support::{
        PATIENCE,
        client::Client,
        configuration::Listener,
        pause, process,
        program::{End, Outcome, run},
        scene::{Knocker, Scene},
        until,
    },
    upgrade::programs::Programs,
};

/// The version of the program under test.
const THIS: &str = env!("CARGO_PKG_VERSION");

/// The version that the build of the next release says of itself.
const NEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "+next");

/// A daemon, and the programs of both releases.
struct Releases {
    stage: Stage,
    programs: Programs,
    /// The path that the daemon is started by, at which this release lies at first.
    place: PathBuf,
    this: PathBuf,
    next: PathBuf,
}

/// Sessions that are always busy, sessions that say something now and then, and a client that knocks all the time.
struct Load {
    busy: Busy,
    idle: Vec<super::talk::Talk>,
    knocker: Knocker,
}

impl Releases {
    /// Starts a daemon of this release, whose next release does what it is told by [`Programs::order`]; `None` skips the test.
    fn start() -> Option<Self> {
        let programs = Programs::new()?;
        let next = programs.next("next")?;
        let (place, this) = (programs.daemon("proxyd"), programs.daemon("this"));
        let stage = Stage::with(&[], |it| programs.obeying(it.program(&place).workers(2)));
        Some(Self {
            stage,
            programs,
            place,
            this,
            next,
        })
    }

    fn load(&mut self) -> Load {
        let kinds = [
            Kind::of(PLAIN, PLAIN),
            Kind::of(TLS13, PLAIN),
            Kind::of(TLS12, TLS13),
            Kind::of(unix(None), PLAIN),
            Kind::of(TLS13, unix(None)),
        ];
        let busy = self.stage.open_all(&kinds);
        let mut idle = self.stage.open_all(&kinds);
        idle.extend(self.stage.open_all(&Kind::mixed()));
        self.stage.await_kept(busy.len() + idle.len());
        let address = self.stage.daemon.address_of("tcp-tcp-plain");
        let load = Load {
            busy: Busy::start(busy),
            idle,
            knocker: Knocker::start(address),
        };
        load.busy.go_on();
        load
    }

    fn upgrade(&self, to: &Path) -> Outcome {
        let path = to.to_str().unwrap();
        self.stage.daemon.ctl(&["upgrade", "--binary", path])
    }

    /// Upgrades to a program, which says that it is this version, from that one.
    #[track_caller]
    fn becomes(&self, to: &Path, [before, after]: [&str; 2]) {
        let outcome = self.upgrade(to);
        assert_eq!(outcome.end, End::Exit(0), "{outcome:?}");
        let status = self.settled(after);
        let last = &status["upgrades"]["last"];
        assert_eq!(last["result"], "done", "{last}");
        assert_eq!(
            (&last["from"], &last["to"]),
            (&before.into(), &after.into())
        );
    }

    /// Ends the supervisor by SIGKILL and starts this program in its place, which says that it is this version.
    #[track_caller]
    fn dies_and_is_started_as(&mut self, program: &Path, version: &str) {
        self.stage.daemon.signal(Signal::SIGKILL);
        self.stage.daemon.wait_exit(PATIENCE);
        self.programs.replace(&self.place, program);
        self.stage.daemon.start();
        self.settled(version);
    }

    /// Waits until only workers of this version's supervisor are left, which serve.
    #[track_caller]
    fn settled(&self, version: &str) -> Value {
        let status = self
            .stage
            .daemon
            .await_status("only own workers are left", |status| {
                let workers = status["workers"].as_array().unwrap();
                workers.len() == 2 && workers.iter().all(|it| it["state"] == "serving")
            });
        assert_eq!(status["supervisor"]["version"], version, "{status}");
        status
    }
}

impl Load {
    /// Sees that every session goes on.
    #[track_caller]
    fn goes_on(&mut self) {
        self.busy.go_on();
        self.idle.iter_mut().for_each(|it| it.exchange());
    }

    /// Ends it; not a byte may be missing, and no client may have been refused.
    #[track_caller]
    fn see_whole(mut self, stage: &Stage) {
        self.goes_on();
        self.knocker.was_never_refused();
        self.busy.end_whole();
        self.idle.into_iter().for_each(|it| it.finish());
        stage.lost_none();
    }
}

/// Returns what must never go back: the generation, the last event, and the clients that were accepted.
fn counted(status: &Value, events: &[Value]) -> [u64; 3] {
    let listeners = status["listeners"].as_array().unwrap().iter();
    let accepted = listeners.map(|it| it["connections"]["total"].as_u64().unwrap());
    [
        status["tls"]["generation"].as_u64().unwrap(),
        events.last().map_or(0, |it| it["seq"].as_u64().unwrap()),
        accepted.sum(),
    ]
}

#[test]
fn each_release_says_which_one_it_is() {
    let Some(programs) = Programs::new() else {
        return;
    };
    let Some(next) = programs.next("next") else {
        return;
    };
    for (program, version) in [(programs.daemon("this"), THIS), (next, NEXT)] {
        let mut command = std::process::Command::new(program);
        command.arg("--version");
        let said = run(command, PATIENCE).stdout;
        assert_eq!(said.trim(), format!("proxyd {version}"));
    }
}

#[test]
fn upgrades_and_downgrades_in_turn_lose_no_session_and_no_byte() {
    let Some(mut it) = Releases::start() else {
        return;
    };
    let mut load = it.load();
    for _ in 0..4 {
        it.becomes(&it.next, [THIS, NEXT]);
        load.goes_on();
        it.becomes(&it.this, [NEXT, THIS]);
        load.goes_on();
    }
    load.see_whole(&it.stage);
    assert_eq!(it.stage.daemon.status()["upgrades"]["total"], 8);
}

#[test]
fn a_supervisor_that_was_killed_is_followed_by_one_of_the_other_release() {
    let Some(mut it) = Releases::start() else {
        return;
    };
    let mut load = it.load();
    let daemon = &it.stage.daemon;
    let mut before = counted(&daemon.status(), &daemon.events());
    for round in 0..4 {
        let (program, version) = if round % 2 == 0 {
            (it.next.clone(), NEXT)
        } else {
            (it.this.clone(), THIS)
        };
        it.dies_and_is_started_as(&program, version);
        load.goes_on();
        let daemon = &it.stage.daemon;
        let after = counted(&daemon.status(), &daemon.events());
        assert_eq!(after[0], before[0], "the generation is the same");
        assert!(
            after[1] > before[1] && after[2] >= before[2],
            "{before:?} {after:?}"
        );
        before = after;
    }
    load.see_whole(&it.stage);
}

#[test]
fn a_release_that_fails_after_all_is_gone_back_from_with_the_sessions_that_it_had() {
    // Nothing was handed over yet, or everything.
    for point in ["Read", "Confirming"] {
        let Some(mut it) = Releases::start() else {
            return;
        };
        let told = format!("told not to go on at {point}");
        let mut load = it.load();
        for _ in 0..2 {
            it.programs.order(&[format!("{point} Fail")]);
            let outcome = it.upgrade(&it.next);
            assert_eq!(outcome.end, End::Exit(1), "{outcome:?}");
            assert!(outcome.stderr.contains(&told), "{outcome:?}");
            let status = it.settled(THIS);
            let last = &status["upgrades"]["last"];
            assert_eq!(last["result"], "rolled-back", "{last}");
            assert_eq!((&last["from"], &last["to"]), (&THIS.into(), &NEXT.into()));
            load.goes_on();
        }
        load.see_whole(&it.stage);
    }
}

#[test]
fn a_worker_that_is_killed_during_an_upgrade_or_a_downgrade_takes_no_session_along() {
    let Some(mut it) = Releases::start() else {
        return;
    };
    let busy = it.stage.open_all(&Kind::mixed());
    it.stage.await_kept(busy.len());
    let busy = Busy::start(busy);
    for moment in 0..8 {
        busy.go_on();
        let (program, version) = if moment % 2 == 0 {
            (&it.next, NEXT)
        } else {
            (&it.this, THIS)
        };
        let old = it.stage.daemon.workers();
        let path = program.to_str().unwrap();
        let mut asked = it.stage.daemon.ctl_command(&["upgrade", "--binary", path]);
        let mut asked = asked.stdout(Stdio::null()).spawn().unwrap();
        pause(Duration::from_millis(50 * moment));
        process::send(old[0], Signal::SIGKILL);
        assert!(asked.wait().unwrap().success(), "moment {moment}");
        it.settled(version);
    }
    busy.go_on();
    busy.end_whole();
    it.stage.lost_none();
}

/// Asks for an upgrade to `program`, waits until the supervisor has stopped as it was ordered, calls `meanwhile`, and lets it
/// go on; returns how the command ended.
fn while_stopped(
    it: &Releases,
    program: &Path,
    meanwhile: impl FnOnce(),
) -> std::process::ExitStatus {
    let (daemon, path) = (&it.stage.daemon, program.to_str().unwrap());
    let supervisor = daemon.pid();
    let mut asked = daemon.ctl_command(&["upgrade", "--binary", path]);
    let streams = asked.stdout(Stdio::null()).stderr(Stdio::null());
    let mut asked = streams.spawn().unwrap();
    until("the supervisor has stopped", || {
        process::status_line(supervisor, "State").is_some_and(|it| it.starts_with('T'))
    });
    meanwhile();
    process::send(supervisor, Signal::SIGCONT);
    asked.wait().unwrap()
}

#[test]
fn a_worker_that_is_killed_just_before_a_downgrade_takes_no_idle_session_along() {
    let Some(mut it) = Releases::start() else {
        return;
    };
    // Their records are written at no other time.
    let idle = it.stage.open_all(&Kind::mixed());
    it.stage.await_kept(idle.len());
    it.becomes(&it.next, [THIS, NEXT]);
    it.programs.order(&["Executing Stop".to_owned()]);
    let old = it.stage.daemon.workers();
    let ended = while_stopped(&it, &it.this, || {
        for pid in old {
            process::send(pid, Signal::SIGKILL);
        }
    });
    assert!(ended.success());
    it.settled(THIS);
    for mut session in idle {
        session.exchange();
        session.finish();
    }
    it.stage.lost_none();
}

#[test]
fn sessions_of_a_worker_that_does_not_answer_the_release_that_is_gone_back_to_stay_with_it() {
    let Some(mut it) = Releases::start() else {
        return;
    };
    let idle = it.stage.open_all(&Kind::mixed());
    it.stage.await_kept(idle.len());
    let old = it.stage.daemon.workers();
    let orders = ["Confirming Stop", "Confirming Fail"];
    it.programs.order(&orders.map(str::to_owned));
    let mut hung = Vec::new();
    let ended = while_stopped(&it, &it.next, || {
        let supervisor = it.stage.daemon.pid();
        let workers = process::workers(supervisor).into_iter();
        hung = workers.filter(|pid| !old.contains(pid)).collect();
        assert_eq!(hung.len(), 2);
        for pid in &hung {
            process::send(*pid, Signal::SIGSTOP);
        }
    });
    assert!(!ended.success());
    it.settled(THIS);
    for pid in &hung {
        process::send(*pid, Signal::SIGCONT);
    }
    for mut session in idle {
        session.exchange();
        session.finish();
    }
    it.stage.lost_none();
}

#[test]
fn tickets_of_either_release_are_taken_by_the_other() {
    let Some(programs) = Programs::new() else {
        return;
    };
    let Some(next) = programs.next("next") else {
        return;
    };
    let this = programs.daemon("this");
    let scene = Scene::with(|it| {
        let backend = it.backend().address();
        let main = Listener::tcp("main", &backend).line("tls = { resumption = \"tickets\" }");
        it.program(&this).listener(main)
    });
    for tls12 in [false, true] {
        let client = Client::new(&scene.ca).old(tls12).resuming();
        let is_resumed = || {
            let mut session = client.connect(scene.daemon.address()).unwrap();
            session.echo("hello").unwrap();
            session.is_resumed()
        };
        assert!(!is_resumed());
        for program in [&next, &this, &next, &this] {
            let path = program.to_str().unwrap();
            scene.daemon.json(&["upgrade", "--binary", path]);
            assert!(is_resumed(), "by {path}");
        }
    }
}
