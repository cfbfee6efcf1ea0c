//! OpenSSL as an authority, with any dates, keys and extensions.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::openssl::{is_there, openssl};

const CNF: &str = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\npolicy=p\n\
                   unique_subject=no\ndefault_md=sha256\nrand_serial=yes\n\
                   crlnumber=crlnumber\n[p]\ncommonName=supplied\n";

/// The kind of a key, as `openssl req -newkey` takes it.
pub(crate) const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

/// Extensions of an authority.
pub(crate) const AUTHORITY: &str =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";

/// Extensions of what an authority issues for `localhost`.
pub(crate) const LEAF: &str = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n";

/// A folder in which OpenSSL issues certificates.
pub(crate) struct Desk(TempDir);

impl Desk {
    /// Returns one with `root`; `None` skips the test.
    pub(crate) fn new() -> Option<Self> {
        let desk = is_there().then(|| Self(tempfile::tempdir().unwrap()))?;
        fs::write(desk.path("ca.cnf"), CNF).unwrap();
        fs::write(desk.path("index.txt"), "").unwrap();
        fs::write(desk.path("crlnumber"), "01\n").unwrap();
        desk.openssl(&format!(
            "req -x509 -newkey {P256} -nodes -subj /CN=root -days 99 -keyout root.key -out root.pem"
        ));
        Some(desk)
    }

    /// Returns the folder.
    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of a file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Runs OpenSSL in it; arguments stand between blanks.
    #[track_caller]
    pub(crate) fn openssl(&self, arguments: &str) {
        openssl(self.folder(), arguments);
    }

    /// Makes NAME.key and NAME.pem, valid between these days from now.
    #[track_caller]
    pub(crate) fn issue(
        &self,
        name: &str,
        subject: &str,
        by: &str,
        extensions: &str,
        days: (i64, i64),
    ) {
        self.request(name, subject, P256);
        self.sign(name, by, extensions, days, "sha256");
    }

    /// Makes NAME.key of this kind, and NAME.csr that asks for a certificate.
    #[track_caller]
    pub(crate) fn request(&self, name: &str, subject: &str, kind: &str) {
        self.openssl(&format!(
            "req -new -newkey {kind} -nodes -subj /CN={subject} -keyout {name}.key -out {name}.csr"
        ));
    }

    /// Makes NAME.pem of NAME.csr, signed with this digest; `by` is `root`, the name of another, or the
    /// name itself.
    #[track_caller]
    pub(crate) fn sign(
        &self,
        name: &str,
        by: &str,
        extensions: &str,
        days: (i64, i64),
        digest: &str,
    ) {
        fs::write(self.path("ext"), extensions).unwrap();
        let issuer = if by == name {
            format!("-selfsign -keyfile {by}.key")
        } else {
            format!("-cert {by}.pem -keyfile {by}.key")
        };
        // An hour before, so that what is left of the last day does not depend on the second.
        let (from, to) = (date(24 * days.0), date(24 * days.1 - 1));
        self.openssl(&format!(
            "ca -batch -config ca.cnf {issuer} -in {name}.csr -notext -md {digest} -extfile ext \
             -startdate {from} -enddate {to} -out {name}.pem"
        ));
    }

    /// Returns a revocation list of `by`, to be replaced so many hours from now.
    #[track_caller]
    pub(crate) fn list(&self, by: &str, hours: i64) -> String {
        let (from, to) = (date(-24 * 9), date(hours));
        self.openssl(&format!(
            "ca -gencrl -config ca.cnf -cert {by}.pem -keyfile {by}.key -out list.pem \
             -crl_lastupdate {from} -crl_nextupdate {to}"
        ));
        self.read(&["list"])
    }

    /// Returns these certificates, one behind the other.
    pub(crate) fn read(&self, names: &[&str]) -> String {
        let read = |name: &&str| fs::read_to_string(self.path(&format!("{name}.pem")));
        names.iter().map(|it| read(it).unwrap()).collect()
    }

    /// Returns the key that belongs to a certificate.
    pub(crate) fn key(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.key"))).unwrap()
    }
}

/// Returns the time so many hours from now, as OpenSSL takes it.
fn date(hours: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_hours(hours);
    at.strftime("%Y%m%d%H%M%SZ").to_string()
}
