//! A single file that is mounted over, as container runtimes do it.

use std::process::Command;

use crate::support::{
    daemon::TestDaemon,
    pki::{Ca, replace},
    skip,
};

/// Mounts `outside.pem` over `inside.pem`, seen by the daemon alone, and becomes it.
const MOUNT: &str = "mount --bind \"$1/outside.pem\" \"$1/inside.pem\" && shift && exec \"$@\"";

/// Returns whether this machine lets a test mount; skips the test otherwise.
fn may_mount() -> bool {
    let tried = "d=$(mktemp -d) && touch $d/a $d/b && mount --bind $d/a $d/b && rm -f $d/a";
    let mut command = Command::new("unshare");
    let outcome = command.args(["-m", "sh", "-c", tried]).output();
    let may = outcome.is_ok_and(|outcome| outcome.status.success());
    if !may {
        skip("mounts in a namespace of one's own are not allowed here");
    }
    may
}

#[test]
fn a_file_that_is_mounted_over_and_replaced_outside_is_told() {
    if !may_mount() {
        return;
    }
    let ca = Ca::new("authority");
    let pair = |ca: &Ca| {
        let leaf = ca.leaf("localhost");
        leaf.key + &leaf.cert
    };
    let builder = TestDaemon::builder()
        .table("[[identity]]\nname = \"default\"\ncert = \"inside.pem\"\n")
        .file("outside.pem", pair(&ca))
        .file("inside.pem", "");
    let folder = builder.folder().to_str().unwrap().to_owned();
    let daemon = builder
        .wrapped(&["unshare", "-m", "sh", "-c", MOUNT, "sh", &folder])
        .watch()
        .start();
    assert!(
        daemon
            .log()
            .contains("inside.pem: it is a mount of its own")
    );
    let told = daemon.ctl(&["verify"]);
    assert!(told.is_success(), "{told:#?}");
    assert!(
        told.stderr.contains("mount its folder instead"),
        "{told:#?}"
    );
    assert_eq!(daemon.status()["tls"]["restart_safe"], true);

    replace(&daemon.path("outside.pem"), pair(&ca));
    let status = daemon.await_status("it sees that the name is gone", |status| {
        status["tls"]["disk"]["unseen"].is_string()
    });
    assert_eq!(status["tls"]["disk"]["state"], "same");
    assert_eq!(status["tls"]["restart_safe"], false);
    let gone = "inside.pem: the file that is mounted here was replaced or removed outside";
    let text = daemon.ctl(&["status"]).answer();
    assert!(text.contains("restart safe: not known"), "{text}");
    assert!(text.contains(gone), "{text}");
    let check = daemon.ctl(&["check"]);
    assert_eq!(check.code(), 1, "{check:#?}");
    assert!(check.stdout.contains(gone), "{check:#?}");
    for words in ["verify", "reload-tls"] {
        let told = daemon.ctl(&[words]);
        let all = told.stdout.clone() + &told.stderr + &daemon.log();
        assert!(all.contains(gone), "{words}: {told:#?}");
    }
}

#[test]
fn a_file_in_a_folder_is_told_of_no_mount() {
    let ca = Ca::new("authority");
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .start();
    assert!(!daemon.log().contains("mount"));
    assert!(!daemon.ctl(&["verify"]).stderr.contains("mount"));
}
