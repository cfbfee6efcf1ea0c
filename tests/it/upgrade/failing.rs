//! Programs that are good in their trial and fail when they have gone on.

use super::{programs::Programs, traffic::Traffic};
use crate::support::{PATIENCE, orders, program::End, scene::Scene};

/// Sessions that are open meanwhile.
const SESSIONS: usize = 4;

/// A daemon that was upgraded to a program of the build for tests, which fails in this way.
fn upgraded(how: &str, then: impl FnOnce(&mut Scene, crate::support::program::Outcome)) {
    let (Some(programs), Some(obeying)) = (Programs::new(), orders::program()) else {
        return;
    };
    let (old, new) = (programs.daemon("proxyd"), programs.copy(obeying, "failing"));
    let mut scene = Scene::with(|it| {
        let it = it.program(&old).workers(2);
        it.environment("PROXYD_ORDERS_AFTER_EXEC", how)
    });
    let (traffic, knocker) = (Traffic::start(&scene, SESSIONS), scene.knock());
    traffic.flows(50);
    let outcome = scene
        .daemon
        .ctl(&["upgrade", "--binary", new.to_str().unwrap()]);
    then(&mut scene, outcome);
    traffic.flows(50);
    knocker.was_never_refused();
    traffic.lost_nothing();
    assert_eq!(scene.daemon.status()["sessions"]["lost_total"], 0);
}

#[test]
fn a_program_that_cannot_start_after_all_goes_back_to_the_one_before() {
    upgraded("refuse", |scene, outcome| {
        assert_eq!(outcome.end, End::Exit(1), "{outcome:?}");
        assert!(outcome.stderr.contains("told not to start"), "{outcome:?}");
        let status = scene.daemon.status();
        let last = &status["upgrades"]["last"];
        assert_eq!(last["result"], "rolled-back", "{status}");
        assert!(
            last["reason"]
                .as_str()
                .unwrap()
                .contains("told not to start")
        );
        assert_eq!(status["program"]["replaced"], false, "{status}");
    });
}

#[test]
fn a_program_that_dies_leaves_everything_to_the_next_start() {
    upgraded("abort", |scene, outcome| {
        assert_eq!(outcome.end, End::Exit(1), "{outcome:?}");
        scene.daemon.wait_exit(PATIENCE);
        scene.daemon.start();
    });
}
