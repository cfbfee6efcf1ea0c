//! Certificates for a daemon that was given none: created whole, or refused.
//!
//! `ca.pem`, `ca-key.pem`, `server.pem` and `server-key.pem` come into being together, by renaming
//! one folder, so that a crash or a full disk never leaves some without the others. If only
//! some are found, the rest was lost or moved, and no guess is made.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

pub use super::issue::IssueError;
use super::{
    files::read::{self, IDENTITY_LIMIT},
    issue::{Authority, Issued},
};

/// The files of a created identity.
const FILES: [&str; 4] = ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"];
/// Folders of this name that a crash may have left before one is given up on.
const ATTEMPTS: u32 = 100;

/// Where the certificates of an identity came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// They were created now.
    Created,
    /// They were there.
    Used,
}

/// Why certificates could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Some are there, and some are not.
    #[error(
        "{} has {present} but not {absent}; put back what is missing, or move all four away to \
         have new ones created", dir.display()
    )]
    Partial {
        /// Their folder.
        dir: PathBuf,
        /// Those that are there.
        present: String,
        /// Those that are not.
        absent: String,
    },
    /// The folder holds something else, so it cannot be put in place whole.
    #[error(
        "{} holds other files, so the certificates cannot be created in it at one stroke; \
         move those files away", .0.display()
    )]
    Occupied(PathBuf),
    /// A file could not be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The authority that should issue could not be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No certificate could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// Makes sure that the folder `dir` holds an authority and a server certificate for `host`.
///
/// The server certificate holds `host`, `localhost` and the loopback addresses. `server.pem` is
/// the leaf alone: clients that trust `ca.pem` have the authority already.
pub fn ensure(dir: &Path, host: &str, now: Timestamp) -> Result<Creation, CreateError> {
    // A link to a folder stays a link; what it points to is put in place.
    let dir = &fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    if already_there(dir)? {
        return Ok(Creation::Used);
    }
    let (authority, ca) = Authority::create(host, now)?;
    let server = authority.issue(&[host], now)?;
    let scratch = Scratch::beside(dir)?;
    write_issued(&scratch.path, "ca.pem", "ca-key.pem", &ca)?;
    write_issued(&scratch.path, "server.pem", "server-key.pem", &server)?;
    sync_folder(&scratch.path)?;
    match scratch.become_folder(dir) {
        // Another daemon may have come first; what it made is as good.
        Err(CreateError::Occupied(_)) if already_there(dir)? => Ok(Creation::Used),
        other => other.map(|()| Creation::Created),
    }
}

/// Issues a new server certificate and key, for `names` and this machine's local names, from the
/// authority in `dir`, in place of the old ones.
///
/// Each file is replaced at one stroke, the key first. Between the two strokes they do not belong
/// together; a load waits for that to pass.
pub fn issue_server(dir: &Path, names: &[&str], now: Timestamp) -> Result<(), CreateError> {
    let cert = read(&dir.join("ca.pem"))?;
    let key = read(&dir.join("ca-key.pem"))?;
    let key = text(&dir.join("ca-key.pem"), &key)?;
    let issued = Authority::from_pem(&cert.bytes, key)?.issue(names, now)?;
    replace(&dir.join("server-key.pem"), issued.key.as_bytes(), 0o600)?;
    replace(&dir.join("server.pem"), issued.cert.as_bytes(), 0o644)?;
    sync_folder(dir)
}

/// Returns this machine's name, for a certificate that is to hold it.
#[must_use]
pub fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Returns what [`ensure`] would do with the folder `dir`; makes nothing.
///
/// Fails if some of the files are there and some are not, or something else is in their place. Whether
/// files can be made beside `dir` is not looked at.
pub fn check(dir: &Path) -> Result<Creation, CreateError> {
    let target = fs::canonicalize(dir);
    if already_there(target.as_deref().unwrap_or(dir))? {
        return Ok(Creation::Used);
    }
    match target {
        Ok(folder) => {
            let mut entries = fs::read_dir(&folder).map_err(failed(&folder, "look into it"))?;
            match entries.next() {
                Some(_) => Err(CreateError::Occupied(folder)),
                None => Ok(Creation::Created),
            }
        }
        // A folder cannot take the place of a link that leads nowhere.
        Err(_) if fs::symlink_metadata(dir).is_ok() => Err(CreateError::Occupied(dir.to_owned())),
        Err(_) => Ok(Creation::Created),
    }
}

fn already_there(dir: &Path) -> Result<bool, CreateError> {
    let mut present = Vec::new();
    let mut absent = Vec::new();
    for name in FILES {
        let path = dir.join(name);
        match fs::symlink_metadata(&path) {
            Ok(_) => present.push(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => absent.push(name),
            Err(error) => return Err(failed(&path, "look at it")(error)),
        }
    }
    if present.is_empty() || absent.is_empty() {
        return Ok(absent.is_empty());
    }
    Err(CreateError::Partial {
        dir: dir.to_owned(),
        present: present.join(", "),
        absent: absent.join(", "),
    })
}

fn failed<'p>(path: &'p Path, action: &'static str) -> impl Fn(io::Error) -> CreateError + use<'p> {
    move |source| CreateError::Io {
        path: path.to_owned(),
        action,
        source,
    }
}

fn read(path: &Path) -> Result<read::Content, CreateError> {
    read::read(path, IDENTITY_LIMIT).map_err(|fault| unreadable(path, fault.to_string()))
}

fn text<'c>(path: &Path, content: &'c read::Content) -> Result<&'c str, CreateError> {
    std::str::from_utf8(&content.bytes).map_err(|error| unreadable(path, error.to_string()))
}

fn unreadable(path: &Path, reason: String) -> CreateError {
    let path = path.to_owned();
    CreateError::Unreadable { path, reason }
}

fn write_issued(dir: &Path, cert: &str, key: &str, issued: &Issued) -> Result<(), CreateError> {
    write_new(&dir.join(key), issued.key.as_bytes(), 0o600)?;
    write_new(&dir.join(cert), issued.cert.as_bytes(), 0o644)
}

/// Writes a file that has its mode from the first byte on, and reaches the disk.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), CreateError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(failed(path, "create it"))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(failed(path, "write it"))
}

/// Puts a file in the place of another at one stroke.
fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), CreateError> {
    let temporary = path.with_extension("pem.new");
    // A leftover of a crash is of no use.
    let _ = fs::remove_file(&temporary);
    let written = write_new(&temporary, content, mode)
        .and_then(|()| fs::rename(&temporary, path).map_err(failed(path, "replace it")));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn sync_folder(path: &Path) -> Result<(), CreateError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(failed(path, "write it"))
}

/// A folder that is removed with all it holds unless it becomes the real one.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn beside(dir: &Path) -> Result<Self, CreateError> {
        let parent = dir.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(failed(parent, "create it"))?;
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            // The process id alone is not enough: in a container it is the same at every start.
            let name = format!(".tls.new-{}-{attempt}", std::process::id());
            let path = parent.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some(error),
                Err(error) => return Err(failed(&path, "create it")(error)),
            }
        }
        let error = last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into());
        Err(failed(parent, "create a folder in it")(error))
    }

    /// Takes the place of `dir`, which is absent or empty.
    fn become_folder(self, dir: &Path) -> Result<(), CreateError> {
        fs::rename(&self.path, dir).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                CreateError::Occupied(dir.to_owned())
            }
            _ => failed(dir, "put it in place")(error),
        })?;
        sync_folder(dir.parent().unwrap_or(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After it took its place there is nothing of this name left to remove.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{
        store::identity::{self, PairContents, Role},
        x509::{certificate, pem},
    };

    fn now() -> Timestamp {
        Timestamp::now()
    }

    fn prove(dir: &Path) -> identity::Proved {
        let file = |name| read(&dir.join(name)).unwrap();
        let pair = (file("server.pem"), file("server-key.pem"));
        let contents = PairContents::pem(&pair.0, &pair.1);
        identity::prove(&contents, Role::Server, now()).unwrap()
    }

    fn left_in(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = names
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_created_serves_and_is_used_the_next_time() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("deep/tls");
        assert_eq!(ensure(&dir, "db1", now()).unwrap(), Creation::Created);
        let first = prove(&dir);
        assert_eq!(first.cert_warnings, [""; 0]);
        assert_eq!(first.key_warnings, [""; 0]);
        assert_eq!(
            first.facts.dns_names,
            ["db1", "localhost", "127.0.0.1", "::1"]
        );
        assert_eq!(ensure(&dir, "db1", now()).unwrap(), Creation::Used);
        assert_eq!(prove(&dir).facts, first.facts);
        assert_eq!(left_in(dir.parent().unwrap()), ["tls"]);
    }

    #[test]
    fn keys_are_for_their_owner_alone() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("tls");
        fs::create_dir(&dir).unwrap();
        ensure(&dir, "db1", now()).unwrap();
        let mode = |name: &str| {
            let about = fs::metadata(dir.join(name)).unwrap();
            about.permissions().mode() & 0o777
        };
        assert_eq!(mode(""), 0o700);
        assert_eq!((mode("ca-key.pem"), mode("server-key.pem")), (0o600, 0o600));
    }

    #[test]
    fn the_authority_is_one_and_the_leaf_ends_no_later() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("tls");
        ensure(&dir, "db1", now()).unwrap();
        let text = fs::read(dir.join("ca.pem")).unwrap();
        let blocks = pem::blocks(&text).unwrap();
        let ca = certificate::parse(&blocks[0].der).unwrap();
        assert!(ca.basic_constraints().unwrap().unwrap().critical && ca.is_ca());
        let usage = ca.key_usage().unwrap().unwrap().value;
        assert!(usage.key_cert_sign() && usage.crl_sign());
        let leaf = prove(&dir).facts;
        assert!(leaf.not_after <= certificate::not_after(&ca));
        assert!(leaf.not_before < now().into());
        assert_eq!(leaf.issuer, ca.subject().to_string());
    }

    #[test]
    fn some_without_the_others_are_refused_by_name() {
        for missing in FILES {
            let state = tempfile::tempdir().unwrap();
            let dir = state.path().join("tls");
            ensure(&dir, "db1", now()).unwrap();
            fs::remove_file(dir.join(missing)).unwrap();
            let reason = ensure(&dir, "db1", now()).unwrap_err().to_string();
            assert!(reason.contains(&format!("but not {missing};")), "{reason}");
            assert_eq!(left_in(&dir).len(), 3);
        }
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("tls");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("notes"), "x").unwrap();
        let error = ensure(&dir, "db1", now()).unwrap_err();
        assert!(matches!(error, CreateError::Occupied(_)), "{error}");
        assert_eq!(left_in(state.path()), ["tls"]);
        assert_eq!(left_in(&dir), ["notes"]);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("file");
        fs::write(&file, "x").unwrap();
        let reason = ensure(&file.join("tls"), "db1", now())
            .unwrap_err()
            .to_string();
        assert!(reason.contains("file"), "{reason}");
    }

    #[test]
    fn a_new_server_certificate_takes_the_old_one_s_place() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("tls");
        ensure(&dir, "db1", now()).unwrap();
        let before = prove(&dir).facts;
        issue_server(&dir, &["db2.example.com"], now()).unwrap();
        let after = prove(&dir).facts;
        assert_ne!(before.serial, after.serial);
        assert_eq!(before.issuer, after.issuer);
        assert_eq!(after.subject, "CN=db2.example.com");
        assert_eq!(left_in(&dir).len(), 4);
    }

    #[test]
    fn strict_openssl_believes_what_is_created() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("tls");
        ensure(&dir, "db1", now()).unwrap();
        issue_server(&dir, &["db2"], now()).unwrap();
        let args = "verify -x509_strict -purpose sslserver -CAfile ca.pem server.pem";
        let output = std::process::Command::new("openssl")
            .args(args.split_whitespace())
            .current_dir(&dir)
            .output();
        let Ok(output) = output else { return };
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
    }
}
