//! A daemon that is process 1, as in a container.

use nix::sys::signal::Signal;

use super::upgrading::Upgrading;
use crate::{
    container::AS_PROCESS_1,
    support::{is_root, process, skip, until},
};

#[test]
fn process_1_is_upgraded_in_place_and_nothing_outlives_it() {
    if !is_root() {
        return skip("only root may make a namespace for processes");
    }
    let Some(it) = Upgrading::with(|it| it.workers(2).wrapped(&AS_PROCESS_1)) else {
        return;
    };
    let daemon = &it.scene.daemon;
    let mut session = it.scene.session();
    it.is_done();
    session.echo("still here").unwrap();
    assert_eq!(daemon.status()["supervisor"]["pid"], 1);
    let outcome = daemon.ctl(&["stop", "--for-restart"]);
    assert_eq!(outcome.code(), 1, "{outcome:?}");
    session.echo("still here").unwrap();
    let first = process::children(daemon.pid())[0];
    process::send(first, Signal::SIGKILL);
    until("nothing is left", || {
        process::running_in(it.programs.folder()).is_empty()
    });
    assert!(session.echo("gone").is_err());
}
