//! Many identities: folders of them, reloads of some of them, all or nothing.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use nix::sys::signal::Signal;
use rustls::AlertDescription;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, alert, connect},
    configuration::Listener,
    daemon::TestDaemon,
    is_root,
    openssl::s_client,
    pki::{Ca, Leaf, overwrite, replace},
    process,
    program::Outcome,
    skip, until,
};

/// A daemon whose identities lie in a folder called `live`, and their authority.
struct Fleet {
    ca: Ca,
    daemon: TestDaemon,
}

impl Fleet {
    /// Starts one with a combined file for each of these names.
    fn new(names: &[&str]) -> Self {
        Self::with(names, |fleet| fleet.daemon.start())
    }

    fn with(names: &[&str], start: impl FnOnce(&mut Self)) -> Self {
        let daemon = TestDaemon::builder().identity_dir("live").prepare();
        let mut fleet = Self {
            ca: Ca::new("authority"),
            daemon,
        };
        for name in names {
            fleet.put(name);
        }
        start(&mut fleet);
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.daemon.path("live").join(name)
    }

    /// Puts a new certificate and its key there, in one file.
    fn put(&self, name: &str) -> Leaf {
        let leaf = self.ca.leaf(name);
        self.put_text(name, &(leaf.key.clone() + &leaf.cert));
        leaf
    }

    fn put_text(&self, name: &str, text: &str) {
        replace(&self.path(&format!("{name}.pem")), text);
    }

    #[track_caller]
    fn shown(&self, name: &str) -> String {
        let client = Client::new(&self.ca).name(name);
        let mut session = client.connect(self.daemon.address()).unwrap();
        session.echo("hello").unwrap();
        session.shown().sha256
    }

    /// Reloads and returns how that ended, and what became of each identity.
    fn reload(&self, arguments: &[&str]) -> (Outcome, Vec<(String, String)>) {
        let words = [&["--json", "reload-tls"], arguments].concat();
        let outcome = self.daemon.ctl(&words);
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let identities = report["identities"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let became = identities.map(|it| (text(&it["name"]), text(&it["outcome"])));
        let became = became.collect();
        (outcome, became)
    }
}

fn became(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let all = all.iter();
    all.map(|(name, outcome)| (format!("live/{name}"), (*outcome).to_owned()))
        .collect()
}

#[test]
fn a_folder_is_served_in_the_layouts_of_common_tools() {
    let mut leaves = Vec::new();
    let fleet = Fleet::with(&["combined.example"], |fleet| {
        let certbot = fleet.ca.leaf("certbot.example");
        let archive = fleet.daemon.path("archive");
        fs::create_dir_all(&archive).unwrap();
        fs::write(archive.join("fullchain1.pem"), &certbot.cert).unwrap();
        fs::write(archive.join("privkey1.pem"), &certbot.key).unwrap();
        let live = fleet.path("certbot.example");
        fs::create_dir(&live).unwrap();
        symlink("../../archive/fullchain1.pem", live.join("fullchain.pem")).unwrap();
        symlink("../../archive/privkey1.pem", live.join("privkey.pem")).unwrap();
        fs::write(fleet.path("README"), "not a certificate").unwrap();

        let secret = fleet.ca.leaf("secret.example");
        let volume = fleet.path("secret");
        fs::create_dir_all(volume.join("..2026")).unwrap();
        fs::write(volume.join("..2026/tls.crt"), &secret.cert).unwrap();
        fs::write(volume.join("..2026/tls.key"), &secret.key).unwrap();
        symlink("..2026", volume.join("..data")).unwrap();
        symlink("..data/tls.crt", volume.join("tls.crt")).unwrap();
        symlink("..data/tls.key", volume.join("tls.key")).unwrap();
        leaves = vec![certbot, secret];
        fleet.daemon.start();
    });
    assert_eq!(fleet.shown("certbot.example"), leaves[0].sha256);
    assert_eq!(fleet.shown("secret.example"), leaves[1].sha256);
    fleet.shown("combined.example");
    let status = fleet.daemon.status();
    let identities = status["tls"]["identities"].as_array().unwrap();
    let names: Vec<_> = identities.iter().map(|it| &it["name"]).collect();
    assert_eq!(
        names,
        [
            "live/certbot.example",
            "live/combined.example",
            "live/secret"
        ]
    );
    assert_eq!(status["tls"]["restart_safe"], true);
    assert_eq!(status["tls"]["disk"]["state"], "same");
}

#[test]
fn what_comes_changes_and_goes_in_a_folder_is_told_and_served() {
    let fleet = Fleet::new(&["a.example", "b.example", "c.example"]);
    let (b, d) = (fleet.put("b.example"), fleet.put("d.example"));
    fs::remove_file(fleet.path("c.example.pem")).unwrap();
    let (outcome, identities) = fleet.reload(&[]);
    assert!(outcome.is_success(), "{outcome:#?}");
    assert_eq!(
        identities,
        became(&[
            ("a.example", "unchanged"),
            ("b.example", "updated"),
            ("d.example", "updated"),
            ("c.example", "removed"),
        ])
    );
    assert_eq!(fleet.shown("b.example"), b.sha256);
    assert_eq!(fleet.shown("d.example"), d.sha256);
}

#[test]
fn what_is_broken_is_kept_or_left_out_and_the_rest_moves_on() {
    let fleet = Fleet::new(&["a.example", "b.example"]);
    let old = fleet.shown("b.example");
    let a = fleet.put("a.example");
    fleet.put_text("b.example", "rubbish");
    fleet.put_text("new.example", "rubbish");
    let (outcome, identities) = fleet.reload(&[]);
    assert_eq!(outcome.code(), 1);
    for file in ["b.example.pem", "new.example.pem"] {
        assert!(outcome.stderr.contains(file), "{}", outcome.stderr);
    }
    assert_eq!(
        identities,
        became(&[
            ("a.example", "updated"),
            ("b.example", "kept"),
            ("new.example", "left-out"),
        ])
    );
    assert_eq!(fleet.shown("a.example"), a.sha256);
    assert_eq!(fleet.shown("b.example"), old);
    let status = fleet.daemon.status();
    assert_eq!(status["tls"]["restart_safe"], false);
    let repaired = fleet.put("b.example");
    fleet.put("new.example");
    let (outcome, _) = fleet.reload(&[]);
    assert!(outcome.is_success(), "{outcome:#?}");
    assert_eq!(fleet.shown("b.example"), repaired.sha256);
}

/// Waits until a file has rested for longer than the coarsest clock of a file system ticks.
fn rest(path: &Path) {
    until("the file has rested", || {
        let changed = fs::metadata(path).unwrap().ctime();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs().cast_signed() > changed + 3
    });
}

/// Returns the text of a new identity, as long as all others.
fn padded(leaf: &Leaf) -> String {
    format!("{:\n<4096}", leaf.key.clone() + &leaf.cert)
}

#[test]
fn a_reload_sees_a_change_that_neither_size_nor_time_of_modification_tells() {
    let fleet = Fleet::with(&["b.example"], |fleet| {
        fleet.put_text("a.example", &padded(&fleet.ca.leaf("a.example")));
        fleet.daemon.start();
    });
    let path = fleet.path("a.example.pem");
    rest(&path);
    let unchanged = became(&[("a.example", "unchanged"), ("b.example", "unchanged")]);
    assert_eq!(fleet.reload(&[]).1, unchanged);
    let file = fs::File::options().write(true).open(&path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let leaf = fleet.ca.leaf("a.example");
    overwrite(&path, padded(&leaf));
    file.set_modified(modified).unwrap();
    assert!(fleet.reload(&[]).0.is_success());
    assert_eq!(fleet.shown("a.example"), leaf.sha256);
}

/// A write through a shared mapping that was read before leaves a file of tmpfs with all its times.
const MAP: &str = "import mmap, sys; \
    f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0); m[0]; m[:] = sys.stdin.buffer.read()";

#[test]
fn what_no_time_tells_is_found_by_a_reload_that_reads_all_files() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        return skip("there is no /dev/shm");
    };
    let mapped = memory.path().join("mapped.pem");
    let fleet = Fleet::with(&["b.example"], |fleet| {
        overwrite(&mapped, padded(&fleet.ca.leaf("a.example")));
        symlink(&mapped, fleet.path("a.example.pem")).unwrap();
        fleet.daemon.start();
    });
    rest(&mapped);
    let unchanged = became(&[("a.example", "unchanged"), ("b.example", "unchanged")]);
    assert_eq!(fleet.reload(&[]).1, unchanged);
    let leaf = fleet.ca.leaf("a.example");
    let python = Command::new("python3")
        .args(["-c", MAP])
        .arg(&mapped)
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut python) = python else {
        return skip("there is no python3");
    };
    let mut input = python.stdin.take().unwrap();
    input.write_all(padded(&leaf).as_bytes()).unwrap();
    drop(input);
    assert!(python.wait().unwrap().success());
    assert_eq!(fleet.reload(&[]).1, unchanged);
    assert!(fleet.reload(&["--read-all"]).0.is_success());
    assert_eq!(fleet.shown("a.example"), leaf.sha256);
}

#[test]
fn all_or_nothing_turns_the_whole_reload_back() {
    let fleet = Fleet::new(&["a.example", "b.example"]);
    let old = fleet.shown("a.example");
    fleet.put("a.example");
    fleet.put_text("b.example", "rubbish");
    let (outcome, identities) = fleet.reload(&["--all-or-nothing"]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("b.example.pem"), "{outcome:#?}");
    assert_eq!(
        identities,
        became(&[("a.example", "held"), ("b.example", "kept")])
    );
    assert_eq!(fleet.shown("a.example"), old);
    assert_eq!(fleet.daemon.status()["tls"]["generation"], 1);
    let b = fleet.put("b.example");
    let (outcome, _) = fleet.reload(&["--all-or-nothing"]);
    assert!(outcome.is_success(), "{outcome:#?}");
    assert_ne!(fleet.shown("a.example"), old);
    assert_eq!(fleet.shown("b.example"), b.sha256);
}

#[test]
fn a_configuration_with_a_broken_identity_is_turned_back_too() {
    let mut fleet = Fleet::new(&["a.example", "b.example"]);
    fleet.put("a.example");
    fleet.put_text("b.example", "rubbish");
    fleet
        .daemon
        .reconfigure(|it| it.set("drain_timeout", "\"7s\""));
    let outcome = fleet.daemon.ctl(&["reload", "--all-or-nothing"]);
    assert_eq!(outcome.code(), 1);
    assert_eq!(fleet.daemon.status()["tls"]["generation"], 1);
    let outcome = fleet.daemon.ctl(&["reload"]);
    assert_eq!(outcome.code(), 1);
    assert_eq!(fleet.daemon.status()["tls"]["generation"], 2);
}

#[test]
fn a_folder_that_is_emptied_is_a_fault_and_takes_nothing_away() {
    let fleet = Fleet::new(&["a.example"]);
    let old = fleet.shown("a.example");
    fs::remove_file(fleet.path("a.example.pem")).unwrap();
    let (outcome, identities) = fleet.reload(&[]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("holds no identity"), "{outcome:#?}");
    assert_eq!(identities, became(&[("a.example", "kept")]));
    assert_eq!(fleet.shown("a.example"), old);
}

#[test]
fn a_cold_start_lists_all_that_is_broken() {
    let fleet = Fleet::with(&["good.example"], |_| {});
    fleet.put_text("one.example", "rubbish");
    fleet.put_text("two.example", "");
    for arguments in [&[][..], &["--check-config"]] {
        let outcome = fleet.daemon.run(arguments);
        assert_eq!(outcome.code(), 1);
        for part in ["one.example.pem", "two.example.pem", "it is empty"] {
            assert!(outcome.stderr.contains(part), "{part}: {outcome:#?}");
        }
        assert!(!outcome.stderr.contains("good.example"), "{outcome:#?}");
    }
}

#[test]
fn an_authority_beside_identities_is_passed_over_with_a_warning() {
    let mut fleet = Fleet::with(&["good.example"], |_| {});
    fleet.put_text("ca", fleet.ca.pem());
    fleet.daemon.start();
    fleet.shown("good.example");
    let status = fleet.daemon.status();
    assert_eq!(status["tls"]["identities"].as_array().unwrap().len(), 1);
    assert_eq!(status["tls"]["restart_safe"], true);
    let told = fleet.daemon.ctl(&["verify"]);
    assert_eq!(told.code(), 0, "{told:#?}");
    let words = "ca.pem: it holds authorities and no key";
    assert!(told.stderr.contains(words), "{told:#?}");
    fs::remove_file(fleet.path("good.example.pem")).unwrap();
    let outcome = fleet.daemon.run(&["--check-config"]);
    assert_eq!(outcome.code(), 1, "{outcome:#?}");
    let words = "no good identity is in the folder";
    assert!(outcome.stderr.contains(words), "{outcome:#?}");
}

#[test]
fn a_crashed_worker_s_successor_serves_what_came_into_the_folder_meanwhile() {
    let fleet = Fleet::new(&["a.example"]);
    let b = fleet.put("b.example");
    let pid = i32::try_from(fleet.daemon.workers()[0]).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    fleet.daemon.await_status("the successor serves", |status| {
        status["tls"]["generation"] == 2 && status["workers"][0]["state"] == "serving"
    });
    assert_eq!(fleet.shown("b.example"), b.sha256);
}

/// A listener that turns unknown names away, beside one that does not.
#[test]
fn a_strict_listener_refuses_unknown_names_by_the_alert_for_it() {
    let ca = Ca::new("authority");
    let builder = TestDaemon::builder().identity("one", &ca.leaf("one.example"));
    let backend = builder.backend().address();
    let strict = Listener::tcp("strict", &backend).line("tls = { unknown_name = \"refuse\" }");
    let daemon = builder
        .listener(strict)
        .listener(Listener::tcp("lax", &backend))
        .start();
    let known = Client::new(&ca).name("one.example");
    for listener in ["strict", "lax"] {
        let mut session = known.connect(daemon.address_of(listener)).unwrap();
        session.echo("hello").unwrap();
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let unknown = [version, "-servername", "two.example"];
        let outcome = s_client(daemon.address_of("strict"), &unknown);
        let complaint = &outcome.stderr;
        assert!(complaint.contains("SSL alert number 112"), "{outcome:#?}");
        let outcome = s_client(daemon.address_of("lax"), &unknown);
        assert!(outcome.stdout.contains("BEGIN CERTIFICATE"), "{outcome:#?}");
        let nameless = s_client(daemon.address_of("strict"), &[version, "-noservername"]);
        assert!(
            nameless.stdout.contains("BEGIN CERTIFICATE"),
            "{nameless:#?}"
        );
    }
    let status = daemon.await_status("both refusals are counted", |status| {
        let connections = &status["listeners"][0]["connections"];
        connections["failed_handshakes"] == 2
            && connections["failed_by_reason"]["unknown_name"] == 2
    });
    assert_eq!(
        status["listeners"][1]["connections"]["failed_handshakes"],
        json!(0)
    );
    until("it is logged", || daemon.log().contains("two.example"));
}

#[test]
fn a_hello_in_several_records_is_answered_by_the_name_in_it() {
    let ca = Ca::new("authority");
    let two = ca.leaf("two.example");
    let builder = TestDaemon::builder()
        .identity("one", &ca.leaf("one.example"))
        .identity("two", &two);
    let strict = "tls = { unknown_name = \"refuse\" }";
    let listener = Listener::tcp("strict", &builder.backend().address()).line(strict);
    let daemon = builder.listener(listener).start();
    for segment in [7, usize::MAX] {
        let over = |name: &str| {
            let client = Client::new(&ca).name(name).records(100);
            client.behind(&[], segment, connect(daemon.address()).unwrap())
        };
        let mut session = over("two.example").unwrap();
        session.echo("hello").unwrap();
        assert_eq!(session.shown().sha256, two.sha256);
        let refused = alert(&over("three.example").unwrap_err());
        assert_eq!(refused, AlertDescription::UnrecognisedName);
    }
}

#[test]
fn what_was_odd_at_the_start_is_not_told_again_by_the_watch() {
    let ca = Ca::new("authority");
    let mut odd = ca.leaf("odd.example");
    odd.cert.push_str(ca.pem());
    odd.cert.push_str(ca.pem());
    let daemon = TestDaemon::builder()
        .watch()
        .identity("one", &ca.leaf("one.example"))
        .identity("odd", &odd)
        .identity("double", &odd)
        .start();
    replace(&daemon.files("one").cert, "torn");
    daemon.await_status("the watch has loaded", |status| {
        status["tls"]["identities"][0]["kept_since"].is_string()
    });
    let log = daemon.log();
    let told = |words: &str| log.matches(words).count();
    assert_eq!(told("holds the same certificate"), 1, "{log}");
    assert_eq!(told("more than once"), 2, "{log}");
}

#[test]
fn a_dry_run_tells_what_is_odd_about_what_is_on_disk() {
    let ca = Ca::new("authority");
    let first = ca.leaf("one.example");
    let builder = TestDaemon::builder().identity("one", &first);
    let backend = builder.backend().address();
    let listener = Listener::tcp("main", &backend)
        .line("server_names = [\"one.example\", \"orders.example\"]");
    let daemon = builder.listener(listener).start();
    let older = ca
        .request(&["one.example"])
        .algorithm(&rcgen::PKCS_RSA_SHA256)
        .valid(-40, 10)
        .issue();
    daemon.files("one").put(&older);
    let outcome = daemon.ctl(&["verify"]);
    assert!(outcome.is_success(), "{outcome:#?}");
    for part in [
        "listener \"main\": none of its identities holds its name orders.example",
        "the key is rsa-2048 where ecdsa-p256 was served",
        "is older than the one served",
    ] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:#?}");
    }
    assert!(!outcome.stderr.contains("its name one.example"));
}

/// The warning is true: the client that it speaks of is turned away, and served as it advises.
#[test]
fn a_fallback_that_shuts_out_clients_of_rsa_alone_is_told() {
    let ca = Ca::new("authority");
    let rsa = ca.request(&["old.example"]);
    let rsa = rsa.algorithm(&rcgen::PKCS_RSA_SHA256).issue();
    let mut daemon = TestDaemon::builder()
        .identity("new", &ca.leaf("new.example"))
        .identity("old", &rsa)
        .identity("late", &ca.leaf("new.example"))
        .start();
    let of_old = ["-noservername", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"];
    let shuts_out = "listener \"main\": clients that know RSA alone and that ask for no name, as \
        most of MySQL's do, or for one that no identity holds are refused: the fallback is its first \
        identity, \"new\" (ecdsa-p256), although identity \"old\" (rsa-2048) would do";
    let hides = "listener \"main\": identity \"late\" is not shown to clients that ask for \
        new.example: \"new\" comes before it";
    let checked = daemon.run(&["--check-config"]);
    let verified = daemon.ctl(&["verify"]);
    for outcome in [&checked, &verified] {
        assert!(outcome.is_success(), "{outcome:#?}");
        for words in [shuts_out, hides] {
            let told = outcome.stdout.clone() + &outcome.stderr;
            assert_eq!(told.matches(words).count(), 1, "{outcome:#?}");
        }
    }
    assert!(daemon.log().contains("clients that know RSA alone"));
    let outcome = s_client(daemon.address(), &of_old);
    assert!(
        !outcome.stdout.contains("BEGIN CERTIFICATE"),
        "{outcome:#?}"
    );

    let names = "identities = [\"old\", \"new\"]";
    daemon.reconfigure(|it| it.listener("main").lines.push(names.to_owned()));
    daemon.ctl(&["reload"]).answer();
    let outcome = s_client(daemon.address(), &of_old);
    assert!(outcome.stdout.contains("BEGIN CERTIFICATE"), "{outcome:#?}");
    let outcome = daemon.ctl(&["verify"]);
    assert!(!outcome.stderr.contains("RSA alone"), "{outcome:#?}");
}

/// Enough for a status of more than a megabyte, and for reading on several threads.
#[test]
fn thousands_of_identities_are_served_and_told_of() {
    const COUNT: usize = 2000;
    let names: Vec<String> = (0..COUNT).map(|n| format!("db{n}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = Fleet::new(&names);
    let status = fleet.daemon.status();
    let identities = status["tls"]["identities"].as_array().unwrap();
    assert_eq!(identities.len(), COUNT);
    let renewed = fleet.put("db777.example");
    let (outcome, identities) = fleet.reload(&[]);
    assert!(outcome.is_success());
    let changed: Vec<_> = identities
        .iter()
        .filter(|(_, outcome)| outcome != "unchanged")
        .collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(fleet.shown("db777.example"), renewed.sha256);
    fleet.shown("db1999.example");
    let text = fleet.daemon.ctl(&["reload-tls"]).answer();
    assert!(
        text.contains("2000 more identities are unchanged"),
        "{text}"
    );
}

#[test]
fn after_the_death_of_all_workers_each_of_thousands_of_names_gets_its_certificate() {
    const COUNT: usize = 2000;
    let mut leaves = Vec::new();
    let fleet = Fleet::with(&[], |fleet| {
        leaves = (0..COUNT)
            .map(|n| fleet.put(&format!("db{n}.example")))
            .collect();
        fleet.daemon.start();
    });
    // A renewal lies apart from the rest.
    leaves[7] = fleet.put("db7.example");
    assert!(fleet.reload(&[]).0.is_success());
    for worker in fleet.daemon.workers() {
        process::send(worker, Signal::SIGKILL);
    }
    for n in [1999, 7, 0, 1000, 8] {
        assert_eq!(fleet.shown(&format!("db{n}.example")), leaves[n].sha256);
    }
}

#[test]
fn renewals_one_by_one_leave_workers_a_few_descriptors() {
    if !is_root() {
        return skip("only root may look at a worker that protects its memory");
    }
    let fleet = Fleet::new(&["a.example", "b.example", "c.example", "d.example"]);
    let old = fleet.daemon.workers();
    let mut open = Vec::new();
    for round in 0..24 {
        let name = ["a.example", "b.example", "c.example", "d.example"][round % 4];
        let leaf = fleet.put(name);
        assert!(fleet.reload(&[]).0.is_success());
        assert_eq!(fleet.shown(name), leaf.sha256);
        let all = process::descriptors(old[0]);
        let is_memory = |path: &PathBuf| path.starts_with("/memfd:proxyd-identities (deleted)");
        open.push(all.iter().filter(|(_, path)| is_memory(path)).count());
    }
    assert!(open.iter().all(|count| (1..=8).contains(count)), "{open:?}");
    assert_eq!(fleet.daemon.workers(), old);
}

#[test]
fn what_was_turned_back_is_not_taken_in_parts_by_the_daemon_itself() {
    let fleet = Fleet::with(&["a.example", "b.example"], |fleet| {
        fleet.daemon.start();
    });
    let old = fleet.shown("a.example");
    fleet.put("a.example");
    fleet.put_text("b.example", "rubbish");
    let (outcome, _) = fleet.reload(&["--all-or-nothing"]);
    assert_eq!(outcome.code(), 1);
    process::send(fleet.daemon.workers()[0], Signal::SIGKILL);
    fleet.daemon.await_status("the successor serves", |status| {
        status["restarts"]["total"] == 1 && status["workers"][0]["state"] == "serving"
    });
    assert_eq!(fleet.shown("a.example"), old);
    let (_, identities) = fleet.reload(&[]);
    assert_eq!(
        identities,
        became(&[("a.example", "updated"), ("b.example", "kept")])
    );
}

#[test]
fn a_folder_whose_only_identity_is_broken_is_no_reason_to_stop_serving() {
    let mut fleet = Fleet::new(&["a.example"]);
    let old = fleet.shown("a.example");
    fs::create_dir(fleet.daemon.path("more")).unwrap();
    fs::write(fleet.daemon.path("more/x.pem"), "rubbish").unwrap();
    fleet
        .daemon
        .reconfigure(|it| it.identity_dirs.push("more".to_owned()));
    assert_eq!(fleet.daemon.ctl(&["reload"]).code(), 1);
    assert_eq!(fleet.daemon.status()["tls"]["generation"], 1);
    assert_eq!(fleet.shown("a.example"), old);
    fs::remove_file(fleet.path("a.example.pem")).unwrap();
    fs::write(fleet.path("ca.pem"), fleet.ca.pem()).unwrap();
    let (outcome, _) = fleet.reload(&[]);
    assert_eq!(outcome.code(), 1);
    assert_eq!(fleet.shown("a.example"), old);
}
