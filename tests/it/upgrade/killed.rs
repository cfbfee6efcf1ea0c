//! Supervisors that are killed in the middle of an upgrade.

use std::{process::Stdio, time::Duration};

use nix::sys::signal::Signal;

use super::{programs::Programs, traffic::Traffic};
use crate::support::{PATIENCE, pause, scene::Scene};

/// Sessions that are open meanwhile.
const SESSIONS: usize = 4;

/// Moments at which it is killed, counted from the request: an upgrade takes some hundred milliseconds.
const MOMENTS: u64 = 12;

/// The time between two moments.
const STEP: Duration = Duration::from_millis(40);

#[test]
fn a_supervisor_that_is_killed_at_any_moment_of_an_upgrade_takes_no_session_along() {
    let Some(programs) = Programs::new() else {
        return;
    };
    let (old, new) = (programs.daemon("proxyd"), programs.daemon("proxyd-next"));
    let mut scene = Scene::with(|it| it.program(&old).workers(2));
    let (traffic, knocker) = (Traffic::start(&scene, SESSIONS), scene.knock());
    let path = new.to_str().unwrap();
    for moment in 0..MOMENTS {
        traffic.flows(20);
        let mut asked = scene.daemon.ctl_command(&["upgrade", "--binary", path]);
        let mut asked = asked
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        pause(STEP * u32::try_from(moment).unwrap());
        scene.daemon.signal(Signal::SIGKILL);
        scene.daemon.wait_exit(PATIENCE);
        asked.wait().unwrap();
        traffic.flows(20);
        scene.daemon.start();
    }
    knocker.was_never_refused();
    traffic.lost_nothing();
    assert_eq!(scene.daemon.status()["sessions"]["lost_total"], 0);
}
