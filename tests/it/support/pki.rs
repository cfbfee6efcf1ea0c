//! Throw-away authorities, what they issue, and files to put it in.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm,
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::parse_x509_certificate;

use super::{PATIENCE, program::run};

/// The moment so many days from now, in the type that rcgen takes, which has no name here.
macro_rules! at {
    ($days:expr) => {
        rcgen::date_time_ymd(1970, 1, 1) + seconds_in($days)
    };
}

fn seconds_in(days: i64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = now.unwrap().as_secs().checked_add_signed(days * 86_400);
    Duration::from_secs(seconds.unwrap())
}

/// An authority.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    /// Makes an authority of this name.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Makes an authority of this name that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Returns its certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for this name, good for a quarter of a year.
    pub(crate) fn leaf(&self, name: &str) -> Leaf {
        self.request(&[name]).issue()
    }

    /// Begins a certificate for these names; the first is its subject.
    pub(crate) fn request(&self, names: &[&str]) -> Request<'_> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let subject = names.first().map_or("nobody", String::as_str);
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name = named(subject);
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from(next_serial()));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        Request {
            ca: self,
            params,
            algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
        }
        .valid(-1, 90)
    }

    /// Returns a revocation list, good for a month, of these certificates.
    pub(crate) fn revoke(&self, revoked: &[&Leaf]) -> String {
        self.revoke_until(revoked, 30)
    }

    /// Returns such a list that is to be replaced so many days from now.
    pub(crate) fn revoke_until(&self, revoked: &[&Leaf], days: i64) -> String {
        let revoked = revoked.iter().map(|leaf| RevokedCertParams {
            serial_number: leaf.serial.clone(),
            revocation_time: at!(-1),
            reason_code: None,
            invalidity_date: None,
        });
        CertificateRevocationListParams {
            this_update: at!(-30),
            next_update: at!(days),
            crl_number: SerialNumber::from(next_serial()),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .unwrap()
        .pem()
        .unwrap()
    }
}

/// Serial numbers that no two certificates of a process share.
fn next_serial() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0x1000);
    LAST.fetch_add(1, Ordering::Relaxed)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// A certificate to be issued.
#[must_use]
pub(crate) struct Request<'ca> {
    ca: &'ca Ca,
    params: CertificateParams,
    algorithm: &'static SignatureAlgorithm,
}

impl Request<'_> {
    /// Makes it good from so many days from now until so many.
    pub(crate) fn valid(mut self, from: i64, until: i64) -> Self {
        self.params.not_before = at!(from);
        // An hour before, so that what is left of the last day does not depend on the second.
        self.params.not_after = at!(until) - Duration::from_secs(60 * 60);
        self
    }

    /// Makes it good from so many seconds from now.
    pub(crate) fn starting_in(mut self, seconds: u64) -> Self {
        self.params.not_before = at!(0) + Duration::from_secs(seconds);
        self
    }

    /// Lets it expire so many seconds from now.
    pub(crate) fn expiring_in(mut self, seconds: u64) -> Self {
        self.params.not_after = at!(0) + Duration::from_secs(seconds);
        self
    }

    /// Gives it a URI, such as a SPIFFE id, beside its names.
    pub(crate) fn uri(mut self, uri: &str) -> Self {
        let uri = SanType::URI(uri.try_into().unwrap());
        self.params.subject_alt_names.push(uri);
        self
    }

    /// Makes it good for these uses only.
    pub(crate) fn usages(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.params.extended_key_usages = usages.to_vec();
        self
    }

    /// Makes its key one of another kind.
    pub(crate) fn algorithm(mut self, algorithm: &'static SignatureAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Issues it by its own key instead of the authority's.
    pub(crate) fn self_signed(self) -> Leaf {
        let key = KeyPair::generate_for(self.algorithm).unwrap();
        let cert = self.params.self_signed(&key).unwrap();
        Self::leaf(self.params, &cert, &key)
    }

    /// Issues it.
    pub(crate) fn issue(self) -> Leaf {
        let key = KeyPair::generate_for(self.algorithm).unwrap();
        let cert = self.params.signed_by(&key, &self.ca.issuer).unwrap();
        Self::leaf(self.params, &cert, &key)
    }

    fn leaf(params: CertificateParams, cert: &rcgen::Certificate, key: &KeyPair) -> Leaf {
        Leaf {
            serial: params.serial_number.unwrap(),
            sha256: hex(digest(&SHA256, cert.der()).as_ref()),
            cert: cert.pem(),
            key: key.serialize_pem(),
            der: cert.der().to_vec(),
            key_der: key.serialize_der(),
        }
    }
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// In PEM.
    pub(crate) cert: String,
    /// In PEM.
    pub(crate) key: String,
    /// In DER.
    pub(crate) der: Vec<u8>,
    /// In DER.
    pub(crate) key_der: Vec<u8>,
    /// SHA-256 of the DER, lower-case hexadecimal.
    pub(crate) sha256: String,
    serial: SerialNumber,
}

impl Leaf {
    /// Makes a certificate of the first version that signed itself, as MariaDB 11.4.0 and 11.4.1
    /// make them.
    pub(crate) fn first_version(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let read = |name| fs::read(folder.path().join(name)).unwrap();
        for words in [
            &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout key -out request"),
            "x509 -req -in request -signkey key -days 9 -out cert",
            "x509 -in cert -outform DER -out cert.der",
            "pkcs8 -topk8 -nocrypt -in key -outform DER -out key.der",
        ] {
            let mut command = Command::new("openssl");
            command.args(words.split(' ')).current_dir(folder.path());
            run(command, PATIENCE).answer();
        }
        let der = read("cert.der");
        let serial = parse_x509_certificate(&der)
            .unwrap()
            .1
            .raw_serial()
            .to_vec();
        Self {
            serial: SerialNumber::from(serial),
            sha256: hex(digest(&SHA256, &der).as_ref()),
            cert: String::from_utf8(read("cert")).unwrap(),
            key: String::from_utf8(read("key")).unwrap(),
            key_der: read("key.der"),
            der,
        }
    }

    /// Reads one and its key, which others have made.
    pub(crate) fn of_pem(cert: &str, key: &str) -> Self {
        let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        let (_, parsed) = parse_x509_certificate(&der).unwrap();
        let key_der = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        Self {
            serial: SerialNumber::from(parsed.raw_serial().to_vec()),
            sha256: hex(digest(&SHA256, &der).as_ref()),
            cert: cert.to_owned(),
            key: key.to_owned(),
            key_der: key_der.secret_der().to_vec(),
            der: der.to_vec(),
        }
    }

    /// Returns SHA-256 of the DER.
    pub(crate) fn der_digest(&self) -> Vec<u8> {
        digest(&SHA256, &self.der).as_ref().to_vec()
    }

    /// Returns the serial number as status writes it.
    pub(crate) fn serial(&self) -> String {
        let digits = hex(self.serial.as_ref());
        digits.trim_start_matches('0').to_owned()
    }
}

/// Writes bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The two files of an identity.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The chain.
    pub(crate) cert: PathBuf,
    /// The private key.
    pub(crate) key: PathBuf,
}

impl Files {
    /// Names the files of an identity in a folder.
    pub(crate) fn of(folder: &Path, name: &str) -> Self {
        Self {
            cert: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        }
    }

    /// Puts a certificate and its key there, each by renaming.
    pub(crate) fn put(&self, leaf: &Leaf) {
        replace(&self.key, &leaf.key);
        fs::set_permissions(&self.key, fs::Permissions::from_mode(0o600)).unwrap();
        replace(&self.cert, &leaf.cert);
    }
}

/// Puts a whole file in the place of another, or where there was none.
pub(crate) fn replace(path: &Path, contents: impl AsRef<[u8]>) {
    let temporary = path.with_extension("new");
    fs::write(&temporary, contents).unwrap();
    fs::rename(&temporary, path).unwrap();
}

/// Writes over a file, which a reader may see half done.
pub(crate) fn overwrite(path: &Path, contents: impl AsRef<[u8]>) {
    fs::write(path, contents).unwrap();
}
