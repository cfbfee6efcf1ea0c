//! The image, built by its own Containerfile with the programs of this build.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

use super::read;
use crate::support::{
    pki::{Ca, hex},
    program::{Outcome, clean_command, run},
    servers::found,
};

/// How long podman may take to build on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// What makes the image, beside the programs.
const SOURCES: [&str; 2] = [
    "packaging/container/Containerfile",
    "packaging/container/make-root",
];

/// Stands for cargo in the image that is built in: it hands out the programs of this build, which takes minutes to
/// make anew.
const CARGO: &str = "#!/bin/sh
set -eu
test \"$*\" = 'build --release --locked --bins'
install -D -t target/release /opt/proxyd /opt/proxyctl
";

/// The image that is built in.
const BUILDER: &str = "FROM localhost/proxyd-builder
COPY cargo /usr/local/bin/
COPY proxyd proxyctl /opt/
COPY authorities /etc/ssl/certs/ca-certificates.crt
";

/// An image that is there.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    podman: PathBuf,
    name: String,
}

impl Image {
    /// Returns the image of this build; `None` skips the test.
    pub(crate) fn of_this_build() -> Option<Self> {
        let podman = PathBuf::from(found("podman", "PROXYD_TEST_PODMAN")?);
        let image = Self {
            name: format!("localhost/proxyd-test:{}", digest()),
            podman,
        };
        // Several tests may want it at once.
        let file = File::create(image.podman.with_file_name("lock")).unwrap();
        let _locked = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        let there = image.podman(&["image", "exists", &image.name]);
        if !run(there, PATIENCE).is_success() {
            image.remove_older();
            image.build();
        }
        Some(image)
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns a command of podman.
    pub(crate) fn podman(&self, words: &[&str]) -> Command {
        let mut command = clean_command(&self.podman);
        command.args(words);
        command
    }

    /// Runs a container with these options of `podman run` and these arguments of the program to its end.
    pub(crate) fn run(&self, options: &[String], arguments: &[&str]) -> Outcome {
        let mut command = self.podman(&["run", "--rm"]);
        command.args(options).arg(&self.name).args(arguments);
        run(command, PATIENCE)
    }

    fn build(&self) {
        let folder = TempDir::new().unwrap();
        let place = folder.path();
        for program in programs() {
            let mut strip = Command::new("strip");
            let target = place.join(program.file_name().unwrap());
            strip
                .arg("--strip-debug")
                .arg("-o")
                .args([&target, &program]);
            run(strip, PATIENCE).answer();
        }
        fs::write(place.join("cargo"), CARGO).unwrap();
        fs::set_permissions(place.join("cargo"), Permissions::from_mode(0o755)).unwrap();
        fs::write(place.join("authorities"), Ca::new("builder's").pem()).unwrap();
        fs::write(place.join("Containerfile"), BUILDER).unwrap();

        let builder = self.name.replace("proxyd-test", "proxyd-test-builder");
        self.build_in(place, &builder, &[]);
        let base = format!("--build-arg=BUILD={builder}");
        let file = format!("--file={}", SOURCES[0]);
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        self.build_in(repository, &self.name, &[&base, &file, "--format=docker"]);
        run(self.podman(&["rmi", "--force", &builder]), PATIENCE).answer();
    }

    /// Builds in a folder, as podman can where it is not allowed much.
    fn build_in(&self, folder: &Path, name: &str, options: &[&str]) {
        let tag = format!("--tag={name}");
        let words = ["build", "--quiet", "--layers=false", "--isolation=chroot"];
        let mut command = self.podman(&[&words, options, &["--pull-never", &tag, "."]].concat());
        command.current_dir(folder);
        run(command, PATIENCE).answer();
    }

    /// Removes the images of builds before; they are large. Another run of the tests may still need one that is young.
    fn remove_older(&self) {
        let title = "label=org.opencontainers.image.title=proxyd";
        let words = ["image", "prune", "--all", "--force", "--filter=until=1h"];
        let command = self.podman(&[&words[..], &["--filter", title]].concat());
        run(command, PATIENCE).answer();
    }
}

fn programs() -> [PathBuf; 2] {
    [
        env!("CARGO_BIN_EXE_proxyd").into(),
        env!("CARGO_BIN_EXE_proxyctl").into(),
    ]
}

/// Returns what tells this build's image from others.
fn digest() -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = SOURCES.map(|source| repository.join(source));
    let mut context = Context::new(&SHA256);
    for file in programs().iter().chain(&sources) {
        context.update(&read(file));
    }
    context.update(BUILDER.as_bytes());
    context.update(CARGO.as_bytes());
    hex(&context.finish().as_ref()[..16])
}
