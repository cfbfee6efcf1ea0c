//! Deaths while disks, back-offs and descriptors stand in the way.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    busy::Busy,
    kind::{Kind, PLAIN},
    stage::Stage,
    talk::Talk,
};
use crate::{
    stuck_disk::Disk,
    support::{
        openssl,
        pki::{Ca, Leaf, replace},
        until,
    },
};

/// How long a session at work may stand still here, on a busy machine: much less than a back-off.
const GAP: Duration = Duration::from_secs(2);

#[test]
fn a_back_off_delays_no_session() {
    let mut stage = Stage::new();
    let talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    let busy = Busy::start(talks);
    // After so many failures in a row, the next start waits for seconds.
    for _ in 0..9 {
        busy.go_on();
        stage.kill();
    }
    let died = Instant::now();
    busy.go_on();
    let gap = died.elapsed();
    assert!(gap < GAP, "{gap:?}");
    busy.end_whole();
    stage.lost_none();
}

#[test]
fn a_disk_that_does_not_answer_delays_no_session() {
    let mut stage = Stage::prepare(&[], |it| it.workers(2));
    let Some(disk) = Disk::mount(&stage.daemon, "state") else {
        return;
    };
    stage.daemon.start();
    let talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    let busy = Busy::start(talks);
    disk.freeze();
    // The change waits for the disk.
    let change = ["set-on-exit-failure", "--", "/bin/true"];
    assert_eq!(stage.daemon.ctl(&change).code(), 1);
    for _ in 0..3 {
        stage.kill();
        let died = Instant::now();
        busy.go_on();
        let gap = died.elapsed();
        assert!(gap < GAP, "{gap:?}");
    }
    assert!(disk.thaw());
    busy.end_whole();
    stage.lost_none();
}

#[test]
fn a_load_that_hangs_delays_no_session() {
    if !openssl::is_there() {
        return;
    }
    let ca = Ca::new("authority");
    let mut stage = Stage::with(&[], |it| {
        let folder = it.folder().display().to_string();
        let ask = it.folder().join("ask");
        let hangs = format!("test ! -e {folder}/hangs || exec sleep 1000");
        fs::write(&ask, format!("#!/bin/sh\n{hangs}\necho secret\n")).unwrap();
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o755)).unwrap();
        encrypt(it.folder(), &ca.leaf("localhost"));
        it.table(&format!(
            "[[identity]]\nname = \"secret\"\ncert = \"secret.crt\"\nkey = \"secret.key\"\n\
             passphrase_command = [{ask:?}]"
        ))
    });
    let talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    let busy = Busy::start(talks);
    // The load that follows a death finds a new key, and asks for its passphrase in vain.
    fs::write(stage.daemon.path("hangs"), "").unwrap();
    encrypt(stage.daemon.folder(), &ca.leaf("localhost"));
    for _ in 0..2 {
        stage.kill();
        let died = Instant::now();
        busy.go_on();
        let gap = died.elapsed();
        assert!(gap < GAP, "{gap:?}");
    }
    busy.end_whole();
    stage.lost_none();
}

/// Puts a certificate and its encrypted key into a folder.
fn encrypt(folder: &Path, leaf: &Leaf) {
    replace(&folder.join("clear.key"), &leaf.key);
    let arguments = "pkcs8 -topk8 -in clear.key -passout pass:secret -out new.key";
    openssl::openssl(folder, arguments);
    replace(&folder.join("secret.crt"), &leaf.cert);
    fs::rename(folder.join("new.key"), folder.join("secret.key")).unwrap();
}

#[test]
fn a_supervisor_short_of_descriptors_keeps_what_it_can_and_refuses_no_client() {
    let limit = ["prlimit", "--nofile=400:400"];
    let mut stage = Stage::with(&[], |it| it.wrapped(&limit));
    let kind = Kind::of(PLAIN, PLAIN);
    let mut talks = Vec::new();
    until("some are not kept", || {
        talks.extend(stage.open_all(&[kind; 6]));
        until("all could have been kept", || {
            stage.list(&["--older-than", "1s"]).len() == talks.len()
        });
        let sessions = &stage.daemon.status()["sessions"];
        sessions["kept"].as_u64() < Some(talks.len() as u64)
    });
    let sessions = stage.daemon.status()["sessions"].clone();
    let number = talks.len() as u64;
    assert_eq!(sessions["open"], number, "{sessions}");
    let kept = sessions["kept"].as_u64().unwrap();
    assert!(kept > 0, "{sessions}");
    stage.kill();
    stage.daemon.await_status("the others are lost", |status| {
        status["sessions"]["lost_total"] == number - kept
    });
    let over = |talk: &mut Talk| talk.client.say(b"x").and_then(|()| talk.backend.hear());
    let alive = talks
        .iter_mut()
        .map(over)
        .filter(|it| matches!(it, Ok(words) if !words.is_empty()))
        .count();
    assert_eq!(alive as u64, kept);
    // Clients that come now are served all the same.
    stage.open(&kind).finish();
}
