//! What the tools that people use do to files.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{Rotation, watching};
use crate::support::{
    PATIENCE,
    client::Client,
    pki::{Ca, Files, Leaf, hex},
    program::run,
    scene::{NAME, Scene},
};

const TURNS: usize = 5;

/// The folders that certbot keeps: what is valid, and all that ever was.
struct Certbot {
    live: PathBuf,
    archive: PathBuf,
}

impl Certbot {
    fn new(folder: &Path) -> Self {
        let of = |kind| folder.join("letsencrypt").join(kind).join("db");
        let it = Self {
            live: of("live"),
            archive: of("archive"),
        };
        fs::create_dir_all(&it.live).unwrap();
        fs::create_dir_all(&it.archive).unwrap();
        it
    }

    /// Does what `certbot renew` does: new files beside the old, and then one link after the other.
    fn renew(&self, number: usize, leaf: &Leaf, ca: &Ca) {
        let chain = format!("{}{}", leaf.cert, ca.pem());
        for (kind, text) in [
            ("cert", leaf.cert.as_str()),
            ("privkey", &leaf.key),
            ("chain", ca.pem()),
            ("fullchain", &chain),
        ] {
            fs::write(self.archive.join(format!("{kind}{number}.pem")), text).unwrap();
        }
        for kind in ["cert", "privkey", "chain", "fullchain"] {
            let link = self.live.join(format!("{kind}.pem"));
            // For a moment there is none.
            let _ = fs::remove_file(&link);
            symlink(format!("../../archive/db/{kind}{number}.pem"), link).unwrap();
        }
    }
}

/// A secret in a volume, as Kubernetes mounts it.
struct Volume(PathBuf);

impl Volume {
    fn new(folder: &Path) -> Self {
        let path = folder.join("volume");
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Does what a kubelet does: a folder named after the time, one link in one step, and the last
    /// folder is gone.
    fn update(&self, number: usize, leaf: &Leaf) {
        let (name, last) = (Self::version(number), Self::version(number.wrapping_sub(1)));
        let folder = self.0.join(&name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("tls.crt"), &leaf.cert).unwrap();
        fs::write(folder.join("tls.key"), &leaf.key).unwrap();
        let temporary = self.0.join("..data_tmp");
        symlink(&name, &temporary).unwrap();
        fs::rename(&temporary, self.0.join("..data")).unwrap();
        for file in ["tls.crt", "tls.key"] {
            // It is there from the second time on.
            let _ = symlink(Path::new("..data").join(file), self.0.join(file));
        }
        let _ = fs::remove_dir_all(self.0.join(last));
    }

    fn version(number: usize) -> String {
        format!("..2026_11_23_10_{number:02}_00.123456789")
    }
}

/// Starts a daemon whose identity is in these files.
fn start(scene: &mut Scene, cert: &Path, key: &Path) {
    let files = scene.daemon.files("default");
    for (link, target) in [(&files.cert, cert), (&files.key, key)] {
        fs::remove_file(link).unwrap();
        symlink(target, link).unwrap();
    }
    scene.daemon.start();
}

fn prepare() -> Scene {
    Scene::prepare(watching)
}

#[test]
fn certbot_renews_five_times() {
    let mut scene = prepare();
    let certbot = Certbot::new(scene.daemon.folder());
    certbot.renew(1, &scene.old, &scene.ca);
    let (cert, key) = (
        certbot.live.join("fullchain.pem"),
        certbot.live.join("privkey.pem"),
    );
    start(&mut scene, &cert, &key);
    let mut rotation = Rotation::of(scene.daemon, &scene.ca, &scene.old);
    for number in 2..2 + TURNS {
        let leaf = scene.ca.leaf(NAME);
        rotation.turn(&leaf, |_| certbot.renew(number, &leaf, &scene.ca));
    }
    rotation.end_in_peace();
}

#[test]
fn a_kubernetes_volume_is_updated_five_times() {
    let mut scene = prepare();
    let volume = Volume::new(scene.daemon.folder());
    volume.update(1, &scene.old);
    let (cert, key) = (volume.0.join("tls.crt"), volume.0.join("tls.key"));
    start(&mut scene, &cert, &key);
    let mut rotation = Rotation::of(scene.daemon, &scene.ca, &scene.old);
    for number in 2..2 + TURNS {
        let leaf = scene.ca.leaf(NAME);
        rotation.turn(&leaf, |_| volume.update(number, &leaf));
    }
    rotation.end_in_peace();
}

/// An authority of openssl's.
struct Openssl(PathBuf);

impl Openssl {
    fn new(folder: &Path) -> Self {
        let it = Self(folder.join("openssl"));
        fs::create_dir(&it.0).unwrap();
        it.run(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=openssl",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        it
    }

    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(&self.0);
        run(command, PATIENCE).answer();
    }

    /// Lets openssl write a new key and certificate over the files, with EC parameters before the
    /// key.
    fn issue(&self, files: &Files) -> String {
        let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
        self.run(&["ecparam", "-name", "prime256v1", "-genkey", "-out", key]);
        self.run(&[
            "req",
            "-new",
            "-key",
            key,
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-out",
            "request.pem",
        ]);
        self.run(&[
            "x509",
            "-req",
            "-in",
            "request.pem",
            "-copy_extensions",
            "copy",
            "-days",
            "1",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            cert,
        ]);
        let cert = CertificateDer::from_pem_file(&files.cert).unwrap();
        hex(digest(&SHA256, &cert).as_ref())
    }
}

#[test]
fn openssl_writes_over_the_files() {
    let mut scene = prepare();
    let openssl = Openssl::new(scene.daemon.folder());
    let files = scene.daemon.files("default");
    let first = openssl.issue(&files);
    scene.daemon.start();
    let ca = fs::read_to_string(openssl.0.join("ca.pem")).unwrap();
    let mut rotation = Rotation::trusting(scene.daemon, Client::trusting(&ca), &first);
    for _ in 0..2 {
        rotation.turn_to(|daemon| openssl.issue(&daemon.files("default")));
    }
    rotation.end_in_peace();
}
