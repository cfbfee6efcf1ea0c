//! Keys in every form in which people have them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{
    builder::Builder,
    client,
    daemon::TestDaemon,
    openssl::{is_there, openssl, s_client},
    pki::{Ca, Leaf, overwrite, replace},
};

const NAME: &str = "localhost";

/// What nobody may be told.
const SECRET: &str = "Rumpelstilzchen";

/// A folder in which OpenSSL converts keys.
struct Desk(tempfile::TempDir);

impl Desk {
    /// Returns one; `None` skips the test.
    fn new() -> Option<Self> {
        is_there().then(|| Self(tempfile::tempdir().unwrap()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Converts a leaf, whose files are `k` and `c`, into what is written to `o`.
    fn convert(&self, leaf: &Leaf, arguments: &str) -> Vec<u8> {
        fs::write(self.path("k"), &leaf.key).unwrap();
        fs::write(self.path("c"), &leaf.cert).unwrap();
        openssl(self.0.path(), arguments);
        fs::read(self.path("o")).unwrap()
    }

    fn encrypted(&self, leaf: &Leaf, passphrase: &str) -> Vec<u8> {
        let convert = format!("pkcs8 -topk8 -in k -passout pass:{passphrase} -out o");
        self.convert(leaf, &convert)
    }

    fn pkcs12(&self, leaf: &Leaf, passphrase: &str) -> Vec<u8> {
        let convert = format!("pkcs12 -export -inkey k -in c -passout pass:{passphrase} -out o");
        self.convert(leaf, &convert)
    }
}

/// A daemon with one identity that has these keys in its table.
fn front(keys: &str) -> Builder {
    TestDaemon::builder().table(&format!("[[identity]]\nname = \"default\"\n{keys}"))
}

/// A daemon whose key is encrypted by [`SECRET`], with this way to the passphrase.
fn encrypted(desk: &Desk, leaf: &Leaf, passphrase: &str) -> Builder {
    front(&format!(
        "cert = \"c.pem\"\nkey = \"k.pem\"\n{passphrase}\n"
    ))
    .file("c.pem", &leaf.cert)
    .file("k.pem", desk.encrypted(leaf, SECRET))
}

/// Writes a program that notes each of its runs in `runs` and then does what the script says.
fn program(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("ask");
    let runs = folder.join("runs");
    let text = format!("#!/bin/sh\necho run >> {}\n{script}\n", runs.display());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[track_caller]
fn shows(daemon: &TestDaemon, ca: &Ca, leaf: &Leaf) {
    let shown = client::handshake(daemon.address(), NAME, ca).unwrap();
    assert_eq!(shown.sha256, leaf.sha256);
}

#[track_caller]
fn keeps_its_secret(daemon: &TestDaemon) {
    for text in [daemon.log(), daemon.status().to_string()] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn a_key_is_opened_by_a_passphrase_from_a_file() {
    let Some(desk) = Desk::new() else { return };
    let ca = Ca::new("authority");
    let (old, new) = (ca.leaf(NAME), ca.leaf(NAME));
    let daemon = encrypted(&desk, &old, "passphrase_file = \"word\"")
        .file("word", format!("{SECRET}\n"))
        .start();
    shows(&daemon, &ca, &old);

    // A renewed key with another passphrase, which is there only later.
    let other = format!("{SECRET}-2");
    overwrite(&daemon.path("k.pem"), desk.encrypted(&new, &other));
    overwrite(&daemon.path("c.pem"), &new.cert);
    let complaint = daemon.ctl(&["reload-tls"]).complaint();
    for name in ["k.pem", "word"] {
        let path = daemon.path(name);
        assert!(complaint.contains(path.to_str().unwrap()), "{complaint}");
    }
    assert!(complaint.contains("does not open it"), "{complaint}");
    assert!(!complaint.contains(SECRET), "{complaint}");
    shows(&daemon, &ca, &old);
    daemon.await_status("a restart would fail", |status| {
        status["tls"]["restart_safe"] == false
    });

    overwrite(&daemon.path("word"), &other);
    daemon.ctl(&["reload-tls"]).answer();
    shows(&daemon, &ca, &new);
    keeps_its_secret(&daemon);
}

#[test]
fn a_passphrase_that_comes_late_is_noticed_by_itself() {
    let Some(desk) = Desk::new() else { return };
    let ca = Ca::new("authority");
    let (old, new) = (ca.leaf(NAME), ca.leaf(NAME));
    let daemon = encrypted(&desk, &old, "passphrase_file = \"word\"")
        .file("word", SECRET)
        .watch()
        .start();
    let other = format!("{SECRET}-2");
    overwrite(&daemon.path("k.pem"), desk.encrypted(&new, &other));
    overwrite(&daemon.path("c.pem"), &new.cert);
    daemon.await_status("it has noticed the key", |status| {
        status["tls"]["disk"]["state"] == "invalid"
    });
    overwrite(&daemon.path("word"), &other);
    daemon.await_status("it has noticed the passphrase", |status| {
        status["tls"]["generation"] == 2 && status["workers"][0]["generation"] == 2
    });
    shows(&daemon, &ca, &new);
}

#[test]
fn a_key_is_opened_by_a_passphrase_from_a_program() {
    let Some(desk) = Desk::new() else { return };
    let ca = Ca::new("authority");
    let (old, new) = (ca.leaf(NAME), ca.leaf(NAME));
    let script = format!("test \"$1\" = 'a b' && test -z \"$HOME\" && echo {SECRET}");
    let ask = program(desk.0.path(), &script);
    let line = format!("passphrase_command = [{ask:?}, \"a b\"]");
    let daemon = encrypted(&desk, &old, &line)
        .environment("HOME", "/root")
        .start();
    shows(&daemon, &ca, &old);
    overwrite(&daemon.path("k.pem"), desk.encrypted(&new, SECRET));
    overwrite(&daemon.path("c.pem"), &new.cert);
    daemon.ctl(&["reload-tls"]).answer();
    shows(&daemon, &ca, &new);
    keeps_its_secret(&daemon);
}

#[test]
fn a_program_that_fails_keeps_what_is_served_and_its_words_are_told() {
    let Some(desk) = Desk::new() else { return };
    let ca = Ca::new("authority");
    let (old, new) = (ca.leaf(NAME), ca.leaf(NAME));
    let ask = program(desk.0.path(), &format!("echo {SECRET}"));
    let line = format!("passphrase_command = [{ask:?}]");
    let daemon = encrypted(&desk, &old, &line).start();
    program(
        desk.0.path(),
        &format!("echo {SECRET}; echo 'the vault is sealed' >&2; exit 2"),
    );
    overwrite(&daemon.path("k.pem"), desk.encrypted(&new, SECRET));
    overwrite(&daemon.path("c.pem"), &new.cert);
    let complaint = daemon.ctl(&["reload-tls"]).complaint();
    let key = daemon.path("k.pem");
    for part in [
        key.to_str().unwrap(),
        ask.to_str().unwrap(),
        "it exited with status 2 (the vault is sealed)",
    ] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
    assert!(!complaint.contains(SECRET), "{complaint}");
    shows(&daemon, &ca, &old);
    keeps_its_secret(&daemon);
}

#[test]
fn a_program_of_a_configuration_that_is_not_in_force_is_not_run_for_a_status() {
    let Some(desk) = Desk::new() else { return };
    let ca = Ca::new("authority");
    let (old, new) = (ca.leaf(NAME), ca.leaf(NAME));
    let ask = program(desk.0.path(), &format!("echo {SECRET}"));
    let mut daemon = encrypted(&desk, &new, &format!("passphrase_command = [{ask:?}]"))
        .file("old.pem", [&*old.cert, &old.key].concat())
        .prepare();
    let written = daemon.configuration.tables.clone();
    let plain = "[[identity]]\nname = \"default\"\ncert = \"old.pem\"".to_owned();
    daemon.reconfigure(|it| it.tables = vec![plain]);
    daemon.start();
    daemon.reconfigure(|it| it.tables = written);
    let tls = &daemon.status()["tls"];
    assert_eq!(tls["disk"]["state"], "changed");
    assert_eq!(tls["disk"]["reason"], Value::Null);
    let unseen = tls["disk"]["unseen"].as_str().unwrap();
    let start = "identity \"default\": it was not looked at";
    assert!(unseen.starts_with(start), "{unseen}");
    assert_eq!(tls["restart_safe"], false);
    let text = daemon.ctl(&["status"]).answer();
    assert!(text.contains("restart safe: not known: identity"), "{text}");
    assert!(!desk.path("runs").exists());
    daemon.ctl(&["reload"]).answer();
    shows(&daemon, &ca, &new);
    assert!(desk.path("runs").exists());
    let tls = &daemon.status()["tls"];
    assert_eq!(tls["disk"]["unseen"], Value::Null);
    assert_eq!(tls["restart_safe"], true);
}

#[test]
fn a_program_is_not_run_for_a_key_that_needs_no_passphrase() {
    let Some(desk) = Desk::new() else { return };
    let ca = Ca::new("authority");
    let leaf = ca.leaf(NAME);
    let ask = program(desk.0.path(), "exit 1");
    let daemon = encrypted(&desk, &leaf, &format!("passphrase_command = [{ask:?}]"))
        .file("k.pem", &leaf.key)
        .start();
    shows(&daemon, &ca, &leaf);
    assert!(!desk.path("runs").exists());
    let told = warnings(&daemon);
    assert!(told.contains("its passphrase has no use"), "{told}");
}

#[test]
fn a_wrong_passphrase_refuses_the_start() {
    let Some(desk) = Desk::new() else { return };
    let leaf = Ca::new("authority").leaf(NAME);
    let wrong = "Heinrich";
    let ask = program(desk.0.path(), &format!("echo {wrong}"));
    let command = format!("passphrase_command = [{ask:?}]");
    for (line, origin) in [
        ("passphrase_file = \"word\"", "the passphrase in "),
        (&command, "the passphrase that "),
    ] {
        let daemon = encrypted(&desk, &leaf, line).file("word", wrong).prepare();
        for arguments in [&[][..], &["--check-config"]] {
            let outcome = daemon.run(arguments);
            assert_eq!(outcome.code(), 1, "{outcome:#?}");
            let told = &outcome.stderr;
            let key = daemon.path("k.pem");
            assert!(told.contains(key.to_str().unwrap()), "{told}");
            assert!(told.contains(origin), "{told}");
            assert!(told.contains("does not open it"), "{told}");
            assert!(!told.contains(wrong), "{told}");
        }
    }
}

#[test]
fn pkcs12_is_served_and_replaced() {
    let Some(desk) = Desk::new() else { return };
    let ca = Ca::new("authority");
    let (old, new) = (ca.leaf(NAME), ca.leaf(NAME));
    let daemon = front("pkcs12 = \"server.p12\"\npassphrase_file = \"word\"")
        .file("server.p12", desk.pkcs12(&old, SECRET))
        .file("word", SECRET)
        .start();
    shows(&daemon, &ca, &old);
    let store = daemon.path("server.p12");
    let identity = &daemon.status()["tls"]["identities"][0];
    for key in ["cert", "key"] {
        assert_eq!(identity[key], store.to_str().unwrap());
    }

    let renewed = desk.pkcs12(&new, SECRET);
    overwrite(&store, &renewed[..renewed.len() / 2]);
    let complaint = daemon.ctl(&["reload-tls"]).complaint();
    assert!(complaint.contains("it is damaged"), "{complaint}");
    shows(&daemon, &ca, &old);
    replace(&store, desk.pkcs12(&new, "other"));
    let complaint = daemon.ctl(&["reload-tls"]).complaint();
    assert!(complaint.contains("does not open it"), "{complaint}");
    shows(&daemon, &ca, &old);
    replace(&store, renewed);
    daemon.ctl(&["reload-tls"]).answer();
    shows(&daemon, &ca, &new);
    keeps_its_secret(&daemon);
}

#[test]
fn pkcs12_without_a_passphrase_needs_none() {
    let Some(desk) = Desk::new() else { return };
    let ca = Ca::new("authority");
    let leaf = ca.leaf(NAME);
    let daemon = front("pkcs12 = \"server.p12\"")
        .file("server.p12", desk.pkcs12(&leaf, ""))
        .start();
    shows(&daemon, &ca, &leaf);
}

#[test]
fn one_file_may_hold_all_in_any_order_and_with_anything_between() {
    let Some(desk) = Desk::new() else { return };
    let root = Ca::new("root");
    let intermediate = root.intermediate("intermediate");
    let leaf = intermediate.leaf(NAME);
    let sec1 = desk.convert(&leaf, "ec -in k -out o");
    let sec1 = String::from_utf8(sec1).unwrap();
    assert!(sec1.contains("EC PRIVATE KEY"));
    openssl(desk.0.path(), "ecparam -name prime256v1 -out o");
    let parameters = fs::read_to_string(desk.path("o")).unwrap();
    assert!(parameters.contains("EC PARAMETERS"));
    let key = format!("{parameters}{sec1}");
    let (cert, issuer) = (leaf.cert.as_str(), intermediate.pem());
    for text in [
        format!("{key}{cert}{issuer}"),
        format!("{cert}{key}{issuer}"),
        format!("{cert}{issuer}{key}"),
        format!("{issuer}# the leaf\n\n{cert}subject=CN = x\n{key}"),
        format!("{cert}{issuer}{key}").replace('\n', "\r\n"),
        format!("\u{feff}{key}{issuer}{cert}").replace('\n', "\r\n"),
    ] {
        let daemon = front("cert = \"all.pem\"").file("all.pem", &text).start();
        shows(&daemon, &root, &leaf);
    }
}

/// Returns what is told of the files on disk that load all the same.
fn warnings(daemon: &TestDaemon) -> String {
    let report = daemon.ctl(&["--json", "verify"]).answer();
    let report: Value = serde_json::from_str(&report).unwrap();
    report["warnings"].to_string()
}

#[test]
fn what_is_odd_is_told_and_served() {
    let root = Ca::new("root");
    let intermediate = root.intermediate("intermediate");
    let leaf = intermediate.leaf(NAME);
    let other = root.leaf(NAME);
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAEC\n-----END CERTIFICATE REQUEST-----\n";
    let text = [
        intermediate.pem(),
        &other.key,
        &leaf.cert,
        &leaf.key,
        request,
        intermediate.pem(),
    ];
    let daemon = front("cert = \"all.pem\"")
        .file("all.pem", text.concat())
        .start();
    shows(&daemon, &root, &leaf);
    let path = daemon.path("all.pem");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let told = warnings(&daemon);
    for part in [
        "its certificates are not in order",
        "it holds a certificate more than once",
        "the CERTIFICATE REQUEST block of line",
        "it holds 2 private keys; the one that belongs to the certificate is used",
        "the private key can be read by others than its owner (mode 0644)",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }

    // In order and by itself, nothing is odd about it.
    let text = [&leaf.cert, intermediate.pem(), &leaf.key].map(String::from);
    replace(&path, text.concat());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(warnings(&daemon), "[]");
    // Without the intermediate, clients have no way to the root.
    let text = [leaf.cert.as_str(), root.pem(), &leaf.key];
    replace(&path, text.concat());
    let told = warnings(&daemon);
    assert!(told.contains("do not lead from it to its issuer"), "{told}");
}

#[test]
fn ed25519_is_shown_to_those_who_know_it_and_rsa_to_the_others() {
    let ca = Ca::new("authority");
    let of = |algorithm| ca.request(&[NAME]).algorithm(algorithm).issue();
    let (modern, old) = (of(&rcgen::PKCS_ED25519), of(&rcgen::PKCS_RSA_SHA256));
    let daemon = TestDaemon::builder()
        .identity("modern", &modern)
        .identity("old", &old)
        .start();
    for (algorithms, expected) in [("ed25519", &modern), ("RSA-PSS+SHA256", &old)] {
        let arguments = ["-servername", NAME, "-sigalgs", algorithms, "-showcerts"];
        let text = s_client(daemon.address(), &arguments).stdout;
        assert!(text.contains(expected.cert.trim()), "{algorithms} {text}");
    }
}

/// What people name by mistake: the file, the true cause, and what mends it.
#[test]
fn a_file_that_is_no_usable_key_or_certificate_is_told_for_what_it_is() {
    let Some(desk) = Desk::new() else { return };
    let ca = Ca::new("authority");
    let leaf = ca.leaf(NAME);
    let wide: Vec<u8> = leaf
        .cert
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let wide = [&[0xff, 0xfe], &wide[..]].concat();
    let der = desk.convert(&leaf, "pkey -in k -outform DER -out o");
    let written = "ecparam -name prime256v1 -genkey -noout -param_enc explicit -out x";
    openssl(desk.0.path(), written);
    let issue = "req -x509 -key x -subj /CN=localhost -days 9 -out o";
    let written = desk.convert(&leaf, issue);
    let written_key = fs::read(desk.path("x")).unwrap();
    // OpenSSL's own word on it: a good key.
    openssl(desk.0.path(), "pkey -in x -check -noout");
    let squeezed = "ec -in k -conv_form compressed -out x";
    openssl(desk.0.path(), squeezed);
    let squeezed = desk.convert(&leaf, issue);
    let squeezed_key = fs::read(desk.path("x")).unwrap();
    let (cert, key) = (leaf.cert.as_bytes(), leaf.key.as_bytes());
    let table: [(&[u8], &[u8], &str, &str); 6] = [
        (&wide, key, "c.pem", "it is UTF-16 text"),
        (cert, &der, "k.pem", "it is a private key in DER, not PEM"),
        (key, cert, "c.pem", "exchange the two"),
        (&written, &written_key, "c.pem", "-param_enc named_curve"),
        (&squeezed, &squeezed_key, "c.pem", "-conv_form uncompressed"),
        (cert, &[0; 512], "k.pem", "it holds NUL bytes"),
    ];
    let daemon = front("cert = \"c.pem\"\nkey = \"k.pem\"\n")
        .file("c.pem", cert)
        .file("k.pem", key)
        .start();
    for (cert, key, file, expected) in table {
        overwrite(&daemon.path("c.pem"), cert);
        overwrite(&daemon.path("k.pem"), key);
        for outcome in [daemon.run(&["--check-config"]), daemon.ctl(&["reload-tls"])] {
            assert_eq!(outcome.code(), 1, "{expected}: {outcome:#?}");
            for words in [file, expected] {
                assert!(outcome.stderr.contains(words), "{words}: {outcome:#?}");
            }
        }
        shows(&daemon, &ca, &leaf);
    }
}

#[test]
fn a_key_of_another_certificate_is_told_with_that_certificate() {
    let ca = Ca::new("authority");
    let (leaf, other) = (ca.leaf(NAME), ca.leaf("other.example"));
    let daemon = front("cert = \"c.pem\"\nkey = \"k.pem\"\n")
        .file("c.pem", &leaf.cert)
        .file("k.pem", &other.key)
        .file("other.crt", &other.cert)
        .prepare();
    let outcome = daemon.run(&["--check-config"]);
    assert_eq!(outcome.code(), 1, "{outcome:#?}");
    let words = format!(
        "k.pem: the private key (ecdsa-p256) does not match the certificate (ecdsa-p256); it \
         matches the certificate in {}",
        daemon.path("other.crt").display()
    );
    assert!(outcome.stderr.contains(&words), "{outcome:#?}");
    overwrite(&daemon.path("other.crt"), "");
    let outcome = daemon.run(&["--check-config"]);
    assert!(outcome.stderr.contains("does not match"), "{outcome:#?}");
    assert!(!outcome.stderr.contains("it matches"), "{outcome:#?}");
}
