//! What is in the image, and what a container of it may do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::life::Served;
use crate::support::{
    PATIENCE, client,
    podman::{CONFINED, ID, Image, Volume},
    process,
    program::run,
};

/// Prints what the user of the image could write to below the working directory. What `/proc`, `/sys` and `/dev` have
/// is the container runtime's.
const WRITABLE: &str =
    "find . -path ./proc -prune -o -path ./sys -prune -o -path ./dev -prune -o -writable -print";

/// A listener whose database is verified, by no authority of its own.
const VERIFYING: &str = "[[listener]]
bind = \"127.0.0.1:3307\"
protocol = \"postgres\"
backend = \"database.test:5432\"
backend_tls = { mode = \"verify-full\" }
channel_binding = \"disable\"
";

/// Runs a shell's command in a folder, as another user if so; returns the lines that it prints, sorted.
fn look(root: &Path, user: Option<u32>, command: &str) -> Vec<String> {
    let mut words = Command::new("setpriv");
    if let Some(user) = user {
        words.args([format!("--reuid={user}"), format!("--regid={user}")]);
        words.arg("--clear-groups");
    }
    words.args(["sh", "-c", command]).current_dir(root);
    let outcome = run(words, PATIENCE);
    let mut lines: Vec<_> = outcome.stdout.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Returns what podman knows of the image.
fn inspect(image: &Image) -> Value {
    let asked = image.podman(&["image", "inspect", image.name()]);
    let told: Value = serde_json::from_str(&run(asked, PATIENCE).answer()).unwrap();
    told[0].clone()
}

#[test]
fn the_image_says_how_it_is_run() {
    let Some(image) = Image::of_this_build() else {
        return;
    };
    let told = inspect(&image);
    let config = &told["Config"];
    assert_eq!(config["User"], format!("{ID}:{ID}"));
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/proxyd"]));
    assert_eq!(config["StopSignal"], "SIGTERM");
    let volumes = json!({"/run/proxyd": {}, "/var/lib/proxyd": {}});
    assert_eq!(config["Volumes"], volumes);
    assert_eq!(told["Healthcheck"]["Test"][0], "CMD", "without a shell");
    let version = &config["Labels"]["org.opencontainers.image.version"];
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_image_has_the_programs_what_they_need_and_nothing_else() {
    let Some(image) = Image::of_this_build() else {
        return;
    };
    let podman = |verb| run(image.podman(&["image", verb, image.name()]), PATIENCE).answer();
    let root = PathBuf::from(podman("mount"));
    let files = look(&root, None, "find . ! -type d");
    podman("unmount");
    let is_library = |file: &str| file.starts_with("./lib") && file.contains(".so.");
    let others: Vec<_> = files.iter().filter(|file| !is_library(file)).collect();
    let known = [
        "./etc/group",
        "./etc/nsswitch.conf",
        "./etc/passwd",
        "./etc/ssl/certs/ca-certificates.crt",
        "./usr/bin/proxyctl",
        "./usr/bin/proxyd",
        "./usr/share/doc/proxyd/LICENSE-APACHE",
        "./usr/share/doc/proxyd/LICENSE-MIT",
    ];
    assert_eq!(others, known);
    assert!(
        files.len() < 16,
        "two programs need few libraries: {files:?}"
    );
}

#[test]
fn a_database_may_be_verified_by_the_authorities_that_the_builder_trusts() {
    let Some(image) = Image::of_this_build() else {
        return;
    };
    let configuration = Volume::projected(&[("proxyd.toml", VERIFYING)]);
    let own = [configuration.read_only_at("/etc/proxyd")];
    let options = CONFINED.map(str::to_owned).into_iter().chain(own);
    let options: Vec<_> = options.collect();
    let checked = image.run(&options, &["--check-config"]);
    assert!(checked.is_success(), "{checked:#?}");

    let none = Volume::empty();
    let checked = image.run(
        &[options, vec![none.at("/etc/ssl/certs")]].concat(),
        &["--check-config"],
    );
    let said = checked.complaint();
    assert!(said.contains("trusts no authority"), "{said}");
}

#[test]
fn a_container_can_write_to_its_volumes_alone_and_none_of_its_processes_has_rights() {
    let Some(served) = Served::start(&[]) else {
        return;
    };
    client::handshake(served.address, "localhost", &served.ca).unwrap();
    let container = &served.container;
    for pid in container.processes() {
        let line = |name| process::status_line(pid, name).unwrap();
        assert!(line("Uid").starts_with(&format!("{ID}\t{ID}\t{ID}")));
        for rights in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(line(rights), "0000000000000000", "{rights} of {pid}");
        }
        assert_eq!(line("NoNewPrivs"), "1");
        assert_eq!(line("Seccomp"), "2", "filtered");
    }
    let root = container.root();
    let error = fs::write(root.join("written"), "").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let writable = look(&root, Some(ID), WRITABLE);
    let in_volumes = |path: &String| {
        ["./run/proxyd", "./var/lib/proxyd"]
            .iter()
            .any(|volume| path.starts_with(volume))
    };
    assert!(writable.iter().any(in_volumes), "{writable:?}");
    let others: Vec<_> = writable.iter().filter(|path| !in_volumes(path)).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(
        served.container.status()["sandbox"]["missing"],
        json!([]),
        "what workers forbid themselves is not in the runtime's way"
    );
}

#[test]
fn proxyctl_answers_there_to_the_users_it_should() {
    let Some(served) = Served::start(&[]) else {
        return;
    };
    let container = &served.container;
    let checked = container.ctl(&["check"]);
    assert!(checked.is_success(), "{checked:#?}");
    let told = inspect(&Image::of_this_build().unwrap());
    let words = told["Healthcheck"]["Test"].as_array().unwrap();
    let words: Vec<_> = words.iter().skip(1).filter_map(Value::as_str).collect();
    let health = container.exec(&[], &words);
    assert!(health.is_success(), "{health:#?}");
    // Without its rights, root is a stranger to the folder with the cookie.
    let root = container.exec(&["--user=0"], &["/usr/bin/proxyctl", "check"]);
    assert_eq!(root.code(), 3, "{root:#?}");
}
