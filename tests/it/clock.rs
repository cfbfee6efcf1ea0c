//! What time alone changes: certificates that become valid, and a clock that is set.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::support::{
    client::{self, Client},
    configuration::Configuration,
    daemon::TestDaemon,
    openssl::{self, openssl},
    pki::{Ca, Leaf, overwrite, replace},
    program::run,
    scene::{NAME, Scene},
    skip, until,
};

/// How far ahead certificates begin here: long enough for a daemon to see before that they are not valid.
const AHEAD: u64 = 5;

/// A daemon that looks at files only when the kernel tells of a change, and so not by chance just when a
/// certificate becomes valid.
fn watching() -> Scene {
    Scene::with(|builder| builder.watch().set("watch_interval", "\"1h\""))
}

fn moment_in(seconds: u64) -> String {
    let mut command = Command::new("date");
    let moment = format!("{seconds} seconds");
    command.args(["-u", "+%Y%m%d%H%M%SZ", "-d", &moment]);
    run(command, Duration::from_secs(5))
        .answer()
        .trim()
        .to_owned()
}

/// Has OpenSSL issue a certificate that begins so many seconds from now; returns it, its key, and the
/// authority in PEM.
fn issued_by_openssl(folder: &Path, seconds: u64) -> (String, String, String) {
    let configuration = "[ca]\ndefault_ca = it\n[it]\ndatabase = index\nserial = serial\n\
         new_certs_dir = .\ndefault_md = sha256\npolicy = any\nx509_extensions = leaf\n\
         [any]\ncommonName = supplied\n[leaf]\nsubjectAltName = DNS:localhost\n\
         extendedKeyUsage = serverAuth\nauthorityKeyIdentifier = keyid\n\
         [req]\ndistinguished_name = any_name\n[any_name]\n[authority]\n\
         basicConstraints = critical,CA:true\nsubjectKeyIdentifier = hash\n";
    fs::write(folder.join("cnf"), configuration).unwrap();
    fs::write(folder.join("index"), "").unwrap();
    fs::write(folder.join("serial"), "1001\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config cnf";
    openssl(
        folder,
        &format!(
            "req -x509 {key} -extensions authority -keyout ca.key -out ca.pem -subj /CN=authority -days 9"
        ),
    );
    openssl(
        folder,
        &format!("req {key} -keyout leaf.key -out request -subj /CN={NAME}"),
    );
    let (from, until) = (moment_in(seconds), moment_in(90 * 86_400));
    openssl(
        folder,
        &format!(
            "ca -batch -notext -config cnf -cert ca.pem -keyfile ca.key -in request -out leaf.pem \
             -startdate {from} -enddate {until}"
        ),
    );
    let read = |name| fs::read_to_string(folder.join(name)).unwrap();
    (read("leaf.pem"), read("leaf.key"), read("ca.pem"))
}

#[test]
fn what_openssl_issued_for_a_moment_later_is_served_from_then_on_by_itself() {
    if !openssl::is_there() {
        return;
    }
    let scene = watching();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key, ca) = issued_by_openssl(folder.path(), AHEAD);
    let files = scene.daemon.files("default");
    overwrite(&files.key, key);
    replace(&files.cert, cert);
    let status = scene.daemon.await_status("it is not valid yet", |status| {
        status["tls"]["disk"]["state"] == "invalid"
    });
    let reason = status["tls"]["disk"]["reason"].as_str().unwrap();
    assert!(reason.contains("not valid before"), "{reason}");
    scene.shows(&scene.old);
    let status = scene
        .daemon
        .await_status("it is served", |status| status["tls"]["generation"] == 2);
    assert_eq!(status["tls"]["trigger"], "watch");
    assert_eq!(status["tls"]["disk"]["state"], "same");
    let session = Client::trusting(&ca).connect(scene.daemon.address());
    assert!(session.is_ok(), "{:?}", session.err());
    // It became valid within the grace time, so nothing was reported as failed.
    assert_eq!(status["tls"]["last_error"], serde_json::Value::Null);
}

#[test]
fn what_is_put_into_a_folder_for_a_moment_later_is_served_from_then_on() {
    let ca = Ca::new("authority");
    let now = ca.leaf("now.test");
    let later = ca.request(&["later.test"]).starting_in(AHEAD).issue();
    let put = |folder: &Path, name: &str, leaf: &Leaf| {
        let text = format!("{}{}", leaf.cert, leaf.key);
        replace(&folder.join(name), text);
    };
    let mut daemon = TestDaemon::builder()
        .identity_dir("fleet")
        .watch()
        .set("watch_interval", "\"1h\"")
        .prepare();
    put(&daemon.path("fleet"), "now.pem", &now);
    daemon.start();
    put(&daemon.path("fleet"), "later.pem", &later);
    daemon.await_status("both are served", |status| {
        status["tls"]["identities"].as_array().unwrap().len() == 2
    });
    let shown = client::handshake(daemon.address(), "later.test", &ca).unwrap();
    assert_eq!(shown.sha256, later.sha256);
}

#[test]
fn the_verdict_on_the_disk_follows_the_time_where_nothing_is_watched() {
    let scene = Scene::new();
    let later = scene.ca.request(&[NAME]).starting_in(AHEAD).issue();
    scene.daemon.files("default").put(&later);
    for state in ["invalid", "changed"] {
        scene
            .daemon
            .await_status(state, |status| status["tls"]["disk"]["state"] == state);
        scene.shows(&scene.old);
    }
    scene.reload_tls();
    scene.shows(&later);
}

/// Returns the library that shows programs another time; `None` skips the test.
fn faketime() -> Option<PathBuf> {
    let named = std::env::var_os("PROXYD_TEST_FAKETIME").map(PathBuf::from);
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = named
        .into_iter()
        .chain(folders.map(|it| it.path().join("faketime/libfaketime.so.1")));
    let found = found.find(|path| path.exists());
    if found.is_none() {
        skip("libfaketime is not installed, run tests/run");
    }
    found
}

/// A daemon to which the clock can be set.
struct Clocked {
    scene: Scene,
    time: PathBuf,
}

impl Clocked {
    fn with(watch: &str) -> Option<Self> {
        let library = faketime()?;
        let mut scene = Scene::prepare(|builder| {
            builder
                .set("watch", watch)
                .set("watch_interval", "\"1h\"")
                .set("heartbeat_timeout", "\"2s\"")
        });
        let time = scene.daemon.path("time");
        replace(&time, "+0");
        scene.daemon.set_environment(&[
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", time.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]);
        scene.daemon.start();
        Some(Self { scene, time })
    }

    /// Sets its clock to so many hours after the machine's.
    fn set(&self, hours: u32) {
        replace(&self.time, format!("+{hours}h"));
    }

    /// Returns the fingerprint of what it serves, which is not valid for others than itself perhaps.
    fn served(&self) -> String {
        let status = self.scene.daemon.status();
        let identity = &status["tls"]["identities"][0];
        identity["sha256"].as_str().unwrap().to_owned()
    }

    /// Waits for an event that says that the clock has jumped like that.
    fn await_jump(&self, words: &str) {
        until(words, || {
            self.scene.daemon.events().iter().any(|event| {
                let message = event["message"].as_str().unwrap();
                event["kind"] == "clock-jumped" && message.contains(words)
            })
        });
        until("it is logged", || self.scene.daemon.log().contains(words));
    }
}

#[test]
fn a_clock_that_is_set_is_told_of_and_certificates_are_judged_by_it() {
    let Some(clocked) = Clocked::with("true") else {
        return;
    };
    let scene = &clocked.scene;
    let later = scene.ca.request(&[NAME]).starting_in(3 * 3600).issue();
    scene.daemon.files("default").put(&later);
    scene.daemon.await_status("it is not valid yet", |status| {
        status["tls"]["disk"]["state"] == "invalid"
    });
    clocked.set(4);
    clocked.await_jump("The clock jumped forward by 144");
    scene
        .daemon
        .await_status("it is served", |status| status["tls"]["generation"] == 2);
    assert_eq!(clocked.served(), later.sha256);
    clocked.set(0);
    clocked.await_jump("The clock jumped back by 144");
    let status = scene.daemon.await_status("it is judged again", |status| {
        status["tls"]["disk"]["state"] == "invalid"
    });
    assert_eq!(status["tls"]["generation"], 2);
}

#[test]
fn a_clock_that_is_set_is_told_of_where_nothing_is_watched() {
    let Some(clocked) = Clocked::with("false") else {
        return;
    };
    clocked.set(2);
    clocked.await_jump("files are not watched, so the next reload judges them");
}

/// Returns how often a daemon whose log says so has read its files.
fn loads(daemon: &TestDaemon) -> usize {
    daemon
        .log()
        .matches("the TLS files are read and judged")
        .count()
}

#[test]
fn the_end_of_what_only_another_configuration_needed_makes_no_loads() {
    let mut scene = Scene::prepare(|builder| {
        let builder = builder.watch().set("watch_interval", "\"1h\"");
        builder.arguments(&["--log-level", "debug"])
    });
    let soon = scene.ca.request(&[NAME]).expiring_in(15).issue();
    scene.daemon.files("default").put(&soon);
    scene.daemon.start();
    let other = scene.ca.request(&["other.test"]).expiring_in(8).issue();
    scene.daemon.files("other").put(&other);
    let add = |it: &mut Configuration| it.identities.push("other".to_owned());
    scene.daemon.reconfigure(add);
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["disk"]["state"], "changed", "{status:#}");
    let back = |it: &mut Configuration| _ = it.identities.pop();
    scene.daemon.reconfigure(back);
    // The daemon has seen that what it serves ends, and that is after the end of the other.
    until("the served one ends", || {
        scene
            .daemon
            .events()
            .iter()
            .any(|it| it["kind"] == "expired")
    });
    let all = loads(&scene.daemon);
    assert!((1..=5).contains(&all), "it has read its files {all} times");
}
