//! An authority that is run by the `openssl` command, and its revocation lists.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::support::{
    PATIENCE,
    openssl::openssl,
    pki::Leaf,
    program::{Outcome, run},
};

/// Where certificates of [`Authority::leaf`] say that their list is.
pub(crate) const POINT: &str = "http://ca.example/now.crl";

/// A folder with keys, certificates and the books of `openssl ca`.
pub(crate) struct Authority {
    folder: TempDir,
}

/// Extensions of certificates; `{point}` stands for their distribution point.
const CERTIFICATES: &str = "
[leaf]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth, serverAuth
subjectAltName = DNS:localhost
crlDistributionPoints = URI:{point}
[bare]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth, serverAuth
[issuer]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
crlDistributionPoints = URI:{point}
";

impl Authority {
    /// Makes a root of this name.
    pub(crate) fn new(name: &str) -> Self {
        let it = Self::without_certificate();
        it.openssl(&format!(
            "req -x509 -key ca.key -subj /CN={name} -days 30 -config ca.cnf -extensions issuer \
             -out ca.crt"
        ));
        it
    }

    /// Makes another certificate of this name and key, in which the name is no `UTF8String`; returns
    /// its file.
    pub(crate) fn printable(&self, name: &str) -> PathBuf {
        let config = self.read("ca.cnf");
        let config = config.replace("[req]\n", "[req]\nstring_mask = nombstr\n");
        fs::write(self.path("printable.cnf"), config).unwrap();
        self.openssl(&format!(
            "req -x509 -key ca.key -subj /CN={name} -days 30 -config printable.cnf \
             -extensions issuer -out printable.crt"
        ));
        self.path("printable.crt")
    }

    /// Makes an authority of this name that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let it = Self::without_certificate();
        it.openssl(&format!(
            "req -new -key ca.key -subj /CN={name} -config ca.cnf -out ca.csr"
        ));
        self.sign(&it.path("ca.csr"), "issuer", &it.path("ca.crt"));
        it
    }

    /// Vouches for the key of another authority too; returns what holds that.
    pub(crate) fn vouch(&self, other: &Self) -> PathBuf {
        let out = self.path("other.crt");
        self.sign(&other.path("ca.csr"), "issuer", &out);
        out
    }

    fn without_certificate() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("index.txt", "");
        write("number", "01\n");
        let here = folder.path().display();
        let certificates = CERTIFICATES.replace("{point}", POINT);
        write(
            "ca.cnf",
            &format!(
                "[ca]\ndefault_ca = it\n[it]\ndatabase = {here}/index.txt\nrand_serial = yes\n\
                 new_certs_dir = {here}\nprivate_key = {here}/ca.key\ncertificate = {here}/ca.crt\n\
                 default_md = sha256\ndefault_days = 9\npolicy = any\nunique_subject = no\n\
                 [any]\ncommonName = supplied\n[req]\ndistinguished_name = name\n[name]\n\
                 {certificates}"
            ),
        );
        let it = Self { folder };
        it.openssl("ecparam -name prime256v1 -genkey -noout -out ca.key");
        it
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Returns its certificate in PEM.
    pub(crate) fn pem(&self) -> String {
        self.read("ca.crt")
    }

    #[track_caller]
    fn openssl(&self, arguments: &str) {
        openssl(self.folder.path(), arguments);
    }

    fn sign(&self, request: &Path, extensions: &str, out: &Path) {
        let (request, out) = (request.display(), out.display());
        self.openssl(&format!(
            "ca -batch -notext -config ca.cnf -extensions {extensions} -in {request} -out {out}"
        ));
    }

    /// Issues a certificate for this name.
    pub(crate) fn leaf(&self, name: &str) -> Leaf {
        self.leaf_with(name, "leaf")
    }

    /// Issues one that says nothing about lists.
    pub(crate) fn bare(&self, name: &str) -> Leaf {
        self.leaf_with(name, "bare")
    }

    fn leaf_with(&self, name: &str, extensions: &str) -> Leaf {
        self.openssl(&format!(
            "ecparam -name prime256v1 -genkey -noout -out {name}.key"
        ));
        self.openssl(&format!(
            "req -new -key {name}.key -subj /CN={name} -config ca.cnf -out {name}.csr"
        ));
        let (request, out) = (self.path(&format!("{name}.csr")), format!("{name}.crt"));
        self.sign(&request, extensions, &self.path(&out));
        Leaf::of_pem(&self.read(&out), &self.read(&format!("{name}.key")))
    }

    /// Revokes the certificate of this name.
    pub(crate) fn revoke(&self, name: &str) {
        self.openssl(&format!("ca -config ca.cnf -revoke {name}.crt"));
    }

    /// Revokes a certificate that this file holds.
    pub(crate) fn revoke_file(&self, file: &Path) {
        self.openssl(&format!("ca -config ca.cnf -revoke {}", file.display()));
    }

    /// Returns a list of all that is revoked, with these lines as its extensions; without any it is
    /// of version 1.
    pub(crate) fn list(&self, extensions: &str) -> String {
        self.list_for("-crldays 9", extensions)
    }

    /// Returns such a list that bears the name of this certificate.
    pub(crate) fn list_of(&self, certificate: &Path, extensions: &str) -> String {
        let time = format!("-crldays 9 -cert {}", certificate.display());
        self.list_for(&time, extensions)
    }

    /// Returns such a list that has ended.
    pub(crate) fn late_list(&self, extensions: &str) -> String {
        self.list_for(
            "-crl_lastupdate 20200101000000Z -crl_nextupdate 20210101000000Z",
            extensions,
        )
    }

    fn list_for(&self, time: &str, extensions: &str) -> String {
        let config = self.read("ca.cnf");
        let numbered = if extensions.is_empty() {
            (String::new(), String::new())
        } else {
            let number = format!("crlnumber = {}/number\n[any]", self.folder.path().display());
            (number, format!("\n[list]\n{extensions}\n"))
        };
        let config = match &numbered {
            (number, _) if number.is_empty() => config,
            (number, section) => config.replace("[any]", number) + section,
        };
        fs::write(self.path("list.cnf"), config).unwrap();
        let section = if extensions.is_empty() {
            ""
        } else {
            "-crlexts list"
        };
        self.openssl(&format!(
            "ca -gencrl -config list.cnf {time} {section} -out list.crl"
        ));
        self.read("list.crl")
    }

    /// Returns what openssl says of the last list.
    pub(crate) fn text(&self) -> String {
        let mut command = Command::new("openssl");
        command.current_dir(self.folder.path());
        command.args(["crl", "-noout", "-text", "-in", "list.crl"]);
        run(command, PATIENCE).answer()
    }

    /// Asks openssl about the certificate of this name and the last list.
    pub(crate) fn verify(&self, name: &str) -> Outcome {
        let cert = self.path(&format!("{name}.crt"));
        self.verify_file("-crl_check", &self.path("ca.crt"), &cert)
    }

    /// Asks openssl about a certificate by these authorities and the last list.
    pub(crate) fn verify_file(&self, how: &str, authorities: &Path, cert: &Path) -> Outcome {
        let mut command = Command::new("openssl");
        let command_line = ["verify", how, "-CRLfile", "list.crl", "-CAfile"];
        command.current_dir(self.folder.path()).args(command_line);
        command.args([authorities, cert]);
        run(command, PATIENCE)
    }
}
