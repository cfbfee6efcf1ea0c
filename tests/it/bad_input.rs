//! Certificates, keys and configurations that are wrong: refused at a cold start, kept out after it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::support::{
    backend::Backend,
    configuration::Listener,
    daemon::TestDaemon,
    is_root,
    pki::{Ca, Files, overwrite, replace},
    scene::{NAME, Scene},
};

/// Something to do to the files of an identity, after which they must not be served.
type Harm = fn(&Files, &Scene);

/// Which of the two files a complaint must name.
#[derive(Clone, Copy)]
enum Named {
    Cert,
    Key,
}

impl Named {
    fn of(self, files: &Files) -> &Path {
        match self {
            Self::Cert => &files.cert,
            Self::Key => &files.key,
        }
    }
}

#[track_caller]
fn refused_at_a_cold_start(harm: Harm, named: Named) {
    let scene = Scene::prepare(|builder| builder);
    let files = scene.daemon.files("default");
    harm(&files, &scene);
    let outcome = scene.daemon.run(&[]);
    assert_eq!(outcome.code(), 1, "{outcome:#?}");
    let path = named.of(&files).to_str().unwrap();
    assert!(outcome.stderr.contains(path), "{outcome:#?}");
    // What an operator named is never made up for them.
    assert!(!scene.daemon.path("state/tls").exists());
}

#[track_caller]
fn kept_out_by_a_reload(harm: Harm, named: Named) {
    let scene = Scene::new();
    let files = scene.daemon.files("default");
    harm(&files, &scene);
    let complaint = scene.daemon.ctl(&["reload-tls"]).complaint();
    let path = named.of(&files).to_str().unwrap();
    assert!(complaint.contains(path), "{complaint}");
    scene.shows(&scene.old);
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["generation"], 1);
    assert_eq!(status["tls"]["disk"]["state"], "invalid");
    assert_eq!(status["tls"]["restart_safe"], false);
}

macro_rules! harms {
    ($($name:ident: $named:expr, $harm:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn is_refused_at_a_cold_start() {
                refused_at_a_cold_start($harm, $named);
            }

            #[test]
            fn is_kept_out_by_a_reload() {
                kept_out_by_a_reload($harm, $named);
            }
        }
    )*};
}

harms! {
    a_missing_certificate: Named::Cert, |files, _| fs::remove_file(&files.cert).unwrap();
    a_missing_key: Named::Key, |files, _| fs::remove_file(&files.key).unwrap();
    an_empty_certificate: Named::Cert, |files, _| overwrite(&files.cert, "");
    an_empty_key: Named::Key, |files, _| overwrite(&files.key, "");
    a_certificate_cut_off: Named::Cert, |files, scene| {
        overwrite(&files.cert, &scene.old.cert[..scene.old.cert.len() / 2]);
    };
    a_key_cut_off: Named::Key, |files, scene| {
        overwrite(&files.key, &scene.old.key[..scene.old.key.len() / 2]);
    };
    a_certificate_of_noise: Named::Cert, |files, _| overwrite(&files.cert, [0xfe; 3000]);
    a_key_of_noise: Named::Key, |files, _| overwrite(&files.key, [0xfe; 3000]);
    a_key_that_does_not_match: Named::Key, |files, scene| {
        overwrite(&files.key, &scene.new.key);
    };
    a_key_in_the_place_of_the_certificate: Named::Cert, |files, scene| {
        overwrite(&files.cert, &scene.old.key);
    };
    an_expired_certificate: Named::Cert, |files, scene| {
        files.put(&scene.ca.request(&[NAME]).valid(-10, -1).issue());
    };
    a_certificate_that_is_not_valid_yet: Named::Cert, |files, scene| {
        files.put(&scene.ca.request(&[NAME]).valid(2, 10).issue());
    };
    a_certificate_for_clients_alone: Named::Cert, |files, scene| {
        let usages = [rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        files.put(&scene.ca.request(&[NAME]).usages(&usages).issue());
    };
    a_folder_in_the_place_of_the_certificate: Named::Cert, |files, _| {
        fs::remove_file(&files.cert).unwrap();
        fs::create_dir(&files.cert).unwrap();
    };
    a_fifo_in_the_place_of_the_certificate: Named::Cert, |files, _| {
        fs::remove_file(&files.cert).unwrap();
        mkfifo(&files.cert, Mode::S_IRUSR).unwrap();
    };
    a_fifo_in_the_place_of_the_key: Named::Key, |files, _| {
        fs::remove_file(&files.key).unwrap();
        mkfifo(&files.key, Mode::S_IRUSR).unwrap();
    };
    a_link_to_nowhere: Named::Cert, |files, _| {
        fs::remove_file(&files.cert).unwrap();
        std::os::unix::fs::symlink("nowhere", &files.cert).unwrap();
    };
    a_key_with_a_passphrase: Named::Key, |files, scene| {
        let plain = files.key.with_extension("plain");
        fs::write(&plain, &scene.old.key).unwrap();
        let encrypted = Command::new("openssl")
            .args(["pkey", "-aes128", "-passout", "pass:secret", "-in"])
            .arg(&plain)
            .output()
            .expect("openssl is there");
        assert!(encrypted.status.success(), "{encrypted:?}");
        overwrite(&files.key, encrypted.stdout);
    };
}

/// Takes the key away from a daemon that is not root.
fn take_away(files: &Files) {
    if is_root() {
        chown(&files.key, Some(0), Some(0)).unwrap();
    }
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o000)).unwrap();
}

#[test]
fn a_key_that_may_not_be_read_is_refused_at_a_cold_start() {
    let Some(scene) = Scene::unprivileged() else {
        return;
    };
    let files = scene.daemon.files("default");
    take_away(&files);
    let outcome = scene.daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    assert!(
        outcome.stderr.contains(files.key.to_str().unwrap()),
        "{outcome:#?}"
    );
    assert!(outcome.stderr.contains("may not read"), "{outcome:#?}");
}

#[test]
fn a_key_that_may_not_be_read_is_kept_out_by_a_reload() {
    let Some(mut scene) = Scene::unprivileged() else {
        return;
    };
    scene.daemon.start();
    let files = scene.daemon.files("default");
    take_away(&files);
    let complaint = scene.daemon.ctl(&["reload-tls"]).complaint();
    assert!(
        complaint.contains(files.key.to_str().unwrap()),
        "{complaint}"
    );
    scene.shows(&scene.old);
}

#[test]
fn all_problems_are_listed_at_once() {
    let ca = Ca::new("authority");
    let daemon = TestDaemon::builder()
        .identity("one", &ca.leaf("one.test"))
        .identity("two", &ca.leaf("two.test"))
        .identity("three", &ca.leaf("three.test"))
        .prepare();
    let one = daemon.files("one").cert;
    fs::remove_file(&one).unwrap();
    let two = daemon.files("two").key;
    overwrite(&two, "nonsense");
    let outcome = daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    for path in [&one, &two] {
        assert!(
            outcome.stderr.contains(path.to_str().unwrap()),
            "{outcome:#?}"
        );
    }
    assert!(!outcome.stderr.contains("three"), "{outcome:#?}");
}

#[test]
fn some_of_the_created_files_without_the_others_are_refused_by_name() {
    let mut daemon = TestDaemon::builder().start();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.wait_exit(crate::support::PATIENCE);
    fs::remove_file(daemon.path("state/tls/server-key.pem")).unwrap();
    let outcome = daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    for name in ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"] {
        assert!(outcome.stderr.contains(name), "{outcome:#?}");
    }
    assert!(!daemon.path("state/tls/server-key.pem").exists());
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_nearest() {
    let daemon = TestDaemon::builder()
        .text("\nworker = 2\n[[listener]]\nbind = \"127.0.0.1:0\"\nbackend = \"127.0.0.1:1\"\n")
        .prepare();
    let outcome = daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    for part in ["proxyd.toml:2", "`worker`", "`workers`"] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:#?}");
    }
}

#[test]
fn a_file_of_secrets_in_the_place_of_the_configuration_is_not_shown() {
    let scene = Scene::new();
    let key = &scene.old.key;
    let inside = key.lines().nth(1).unwrap();
    for (secret, text, told) in [
        (inside, &**key, "it is the file of a certificate or key"),
        ("hunter2", "hunter2\n", "proxyd.toml:1"),
    ] {
        scene.daemon.write_configuration(text);
        let outcomes = [
            scene.daemon.run(&[]),
            scene.daemon.run(&["--check-config"]),
            scene.daemon.ctl(&["reload"]),
            scene.daemon.ctl(&["--json", "reload"]),
        ];
        for outcome in outcomes {
            assert_eq!(outcome.code(), 1, "{outcome:#?}");
            let all = [&*outcome.stdout, &outcome.stderr].concat();
            assert!(all.contains(told), "{all}");
            assert!(!all.contains(secret), "{all}");
        }
        let more = ["status", "verify", "events", "check"].map(|it| scene.daemon.ctl(&[it]));
        assert!(!format!("{more:?}{}", scene.daemon.log()).contains(secret));
    }
}

#[test]
fn a_configuration_that_is_not_there_is_told_by_name() {
    let daemon = TestDaemon::builder().prepare();
    fs::remove_file(daemon.path("proxyd.toml")).unwrap();
    let outcome = daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("proxyd.toml"), "{outcome:#?}");
}

#[test]
fn a_busy_port_is_told_by_name() {
    let busy = Backend::tcp();
    let daemon = TestDaemon::builder()
        .listener(Listener::tcp("main", "127.0.0.1:1").bind(&busy.address()))
        .prepare();
    let outcome = daemon.run(&[]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains(&busy.address()), "{outcome:#?}");
    assert!(outcome.stderr.contains("main"), "{outcome:#?}");
}

#[test]
fn a_file_half_written_in_place_is_never_served() {
    let scene = Scene::new();
    let files = scene.daemon.files("default");
    replace(&files.key, &scene.new.key);
    for end in (1..scene.new.cert.len()).step_by(97) {
        overwrite(&files.cert, &scene.new.cert[..end]);
        assert_eq!(scene.daemon.ctl(&["reload-tls"]).code(), 1);
    }
    scene.shows(&scene.old);
    overwrite(&files.cert, &scene.new.cert);
    scene.reload_tls();
    scene.shows(&scene.new);
}
