//! What openssl and keytool write, in every form that is read.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::Command,
};

use super::*;

/// A folder in which tools write.
pub(super) struct Desk(tempfile::TempDir);

impl Desk {
    /// Returns a folder with a key `k` and its certificate `c`; `None` skips the test.
    pub(super) fn new() -> Option<Self> {
        let desk = Self::empty()?;
        desk.openssl("ecparam -name prime256v1 -genkey -noout -out k");
        desk.certify();
        Some(desk)
    }

    pub(super) fn empty() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            skip("openssl");
            return None;
        }
        Some(Self(tempfile::tempdir().unwrap()))
    }

    pub(super) fn certify(&self) {
        self.openssl("req -x509 -key k -subj /CN=db -days 9 -out c");
    }

    /// Runs openssl; arguments stand between blanks.
    pub(super) fn openssl(&self, arguments: &str) {
        self.run("openssl", arguments);
    }

    pub(super) fn run(&self, program: &str, arguments: &str) {
        let output = Command::new(program)
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{program} {arguments}: {complaint}"
        );
    }

    /// Does what a complaint says to do.
    pub(super) fn mend(&self, reason: &str, options: &str) {
        let command = reason.split('`').nth(1).unwrap();
        let arguments = command.strip_prefix("openssl ").unwrap();
        self.openssl(&format!("{arguments} {options}"));
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Returns whether a program is there; skips the test otherwise.
    pub(super) fn has(&self, program: &str) -> bool {
        let is_there = Command::new(program)
            .current_dir(self.0.path())
            .arg("-?")
            .output()
            .is_ok();
        if !is_there {
            skip(program);
        }
        is_there
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }

    pub(super) fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    /// Returns what is served of the plain files.
    pub(super) fn expected(&self) -> Proved {
        judge(&self.text("c"), &self.text("k")).unwrap()
    }

    /// Returns a PKCS#12 file to be judged.
    pub(super) fn store(bytes: &[u8]) -> Case<'_> {
        Case {
            cert: bytes,
            encoding: PairEncoding::Pkcs12,
            ..Case::one("")
        }
    }
}

/// Says that a test does nothing.
fn skip(program: &str) {
    // Past the test runner, which shows nothing of what a test that passes prints.
    let _ = writeln!(io::stderr(), "SKIPPED: {program} is not installed");
}

#[test]
fn keys_of_every_kind_are_read() {
    let Some(desk) = Desk::empty() else { return };
    let makes = [
        ("genrsa -traditional -out k 2048", "rsa-2048"),
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out k",
            "rsa-3072",
        ),
        ("ecparam -name prime256v1 -genkey -out k", "ecdsa-p256"),
        (
            "ecparam -name secp384r1 -genkey -noout -out k",
            "ecdsa-p384",
        ),
        ("ecparam -name secp521r1 -genkey -out k", "ecdsa-p521"),
        ("genpkey -algorithm ed25519 -out k", "ed25519"),
    ];
    for (make, key_type) in makes {
        desk.openssl(make);
        desk.certify();
        let proved = desk.expected();
        assert_eq!(proved.facts.key_type, key_type);
        assert_eq!(proved.key_warnings, [""; 0]);
        // The same in the forms that the key can be converted to.
        for convert in ["pkcs8 -topk8 -nocrypt -in k -out k2", "pkey -in k -out k2"] {
            desk.openssl(convert);
            judge(&desk.text("c"), &desk.text("k2")).unwrap();
        }
        let joined = desk.text("k") + &desk.text("c");
        Case::one(&joined).judge().unwrap();
    }
}

#[test]
fn encrypted_keys_are_opened() {
    let Some(desk) = Desk::new() else { return };
    for convert in [
        "pkcs8 -topk8",
        "pkcs8 -topk8 -v2 aes-128-cbc",
        "pkcs8 -topk8 -v2 aes-192-cbc",
        "pkcs8 -topk8 -v2 aes-256-cbc",
        "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1",
        "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 100000",
        "pkcs8 -topk8 -scrypt",
        "pkey -aes256",
        "pkey -aes-128-cbc",
    ] {
        desk.openssl(&format!("{convert} -in k -passout pass:s3cret -out e"));
        let (cert, key) = (desk.text("c"), desk.text("e"));
        assert!(key.contains("BEGIN ENCRYPTED PRIVATE KEY"));
        let case = Case::two(&cert, &key);
        let proved = Case::two(&cert, &key).passphrase("s3cret\n").judge();
        let proved = proved.unwrap_or_else(|faults| panic!("{convert}: {faults:?}"));
        assert_eq!(proved.facts.sha256, desk.expected().facts.sha256);
        assert_eq!(proved.key_warnings, [""; 0]);
        assert!(case.reasons().contains("give `passphrase_file` or"));
        let reason = case.passphrase("other").reasons();
        assert_eq!(
            reason,
            "key: the passphrase in /passphrase does not open it"
        );
        let joined = cert + &key;
        Case::one(&joined).passphrase("s3cret").judge().unwrap();
    }
}

#[test]
fn keys_that_openssl_makes_with_a_passphrase_are_opened() {
    let Some(desk) = Desk::empty() else { return };
    desk.openssl("genpkey -algorithm RSA -aes256 -pass pass:s3cret -out k");
    desk.openssl("req -x509 -key k -passin pass:s3cret -subj /CN=db -days 9 -out c");
    let (cert, key) = (desk.text("c"), desk.text("k"));
    let proved = Case::two(&cert, &key).passphrase("s3cret").judge().unwrap();
    assert_eq!(proved.facts.key_type, "rsa-2048");
}

/// What is told to do about it must help.
#[test]
fn old_encryption_is_refused_with_the_way_to_a_new_one() {
    let Some(desk) = Desk::new() else { return };
    let olds = [
        ("pkcs8 -topk8 -v2 des3", "encrypted with Triple DES"),
        (
            "pkcs8 -topk8 -v1 PBE-SHA1-3DES",
            "encrypted with Triple DES",
        ),
        ("ec -aes256", "encrypted in a way of old (Proc-Type)"),
    ];
    for (convert, expected) in olds {
        desk.openssl(&format!("{convert} -in k -passout pass:s3cret -out OLD"));
        let (cert, key) = (desk.text("c"), desk.text("OLD"));
        let reason = Case::two(&cert, &key).passphrase("s3cret").reasons();
        assert!(reason.contains(expected), "{convert}: {reason}");
        desk.mend(&reason, "-passin pass:s3cret -passout pass:s3cret");
        let key = desk.text("NEW");
        Case::two(&cert, &key).passphrase("s3cret").judge().unwrap();
    }
}

#[test]
fn what_cannot_be_served_is_refused() {
    let Some(desk) = Desk::empty() else { return };
    desk.openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=db -days 9 -keyout k -out c");
    desk.openssl("req -new -key k -subj /CN=db -out r");
    desk.openssl("x509 -req -in r -signkey k -days 9 -out v1");
    let reason = reasons(&desk.text("v1"), &desk.text("k"));
    assert!(reason.contains("X.509 version 1"), "{reason}");
    desk.openssl("req -x509 -newkey rsa:1024 -nodes -subj /CN=db -days 9 -keyout k -out c");
    let reason = reasons(&desk.text("c"), &desk.text("k"));
    assert!(reason.contains("1024-bit RSA key is too short"), "{reason}");
    desk.openssl("ecparam -name secp256k1 -genkey -noout -out k");
    desk.certify();
    let reason = reasons(&desk.text("c"), &desk.text("k"));
    assert!(reason.contains("is on the curve secp256k1"), "{reason}");
}

#[test]
fn an_rsa_key_whose_numbers_do_not_belong_together_is_refused() {
    let Some(desk) = Desk::empty() else { return };
    desk.openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=db -days 9 -keyout k -out c");
    desk.openssl("rsa -in k -traditional -outform DER -out der");
    let der = desk.bytes("der");
    // RFC 8017, A.1.2: the private exponent begins behind 270 bytes, the first prime behind 532.
    for place in [300, 560] {
        let mut der = der.clone();
        der[place] ^= 1;
        let key = pem_of("RSA PRIVATE KEY", &der);
        let reason = reasons(&desk.text("c"), &key);
        assert!(reason.contains("damaged or of a kind"), "{place}: {reason}");
    }
}

#[test]
fn a_signature_by_a_broken_digest_is_told() {
    let Some(desk) = Desk::new() else { return };
    desk.openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=ca -days 9 -keyout cak -out ca");
    desk.openssl("req -new -key k -subj /CN=db -addext subjectAltName=DNS:db -out r");
    desk.openssl("x509 -req -in r -CA ca -CAkey cak -sha1 -copy_extensions copy -days 9 -out c");
    let told = desk.expected().cert_warnings.join("; ");
    assert!(told.contains("of CN=db, is signed with SHA-1"), "{told}");
    // Its own signature is nothing that an authority is trusted for.
    desk.openssl("req -x509 -key k -sha1 -subj /CN=db -days 9 -out c");
    let told = desk.expected().cert_warnings.join("; ");
    assert!(!told.contains("SHA-1"), "{told}");
}

#[test]
fn attributes_that_openssl_writes_between_blocks_mean_nothing() {
    let Some(desk) = Desk::new() else { return };
    desk.openssl("pkcs12 -export -inkey k -in c -name db -passout pass: -out p12");
    desk.openssl("pkcs12 -in p12 -passin pass: -nodes -out all");
    let text = desk.text("all");
    assert!(text.contains("Bag Attributes"));
    let proved = Case::one(&text).judge().unwrap();
    assert_eq!(proved.facts.sha256, desk.expected().facts.sha256);
    desk.openssl("pkcs12 -in p12 -passin pass: -passout pass:s3cret -out all");
    let text = desk.text("all");
    Case::one(&text).passphrase("s3cret").judge().unwrap();
}

#[test]
fn pkcs12_is_opened() {
    let Some(desk) = Desk::new() else { return };
    desk.openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=x -days 9 -keyout xk -out x");
    for (options, passphrase) in [
        ("", "s3cret"),
        ("-name db", "s3cret"),
        ("-certfile x", "s3cret"),
        ("-keypbe NONE", "s3cret"),
        ("-certpbe NONE", "s3cret"),
        ("-nomac", "s3cret"),
        ("-macalg sha1", "s3cret"),
        ("-macalg sha512 -iter 5000", "s3cret"),
        ("-keypbe AES-128-CBC -certpbe AES-192-CBC", "s3cret"),
        ("", "pässwörd\u{1f511}"),
        ("", ""),
    ] {
        desk.openssl(&format!(
            "pkcs12 -export -inkey k -in c {options} -passout pass:{passphrase} -out p"
        ));
        let bytes = desk.bytes("p");
        let case = Desk::store(&bytes);
        let proved = if passphrase.is_empty() {
            case.judge()
        } else {
            assert!(case.reasons().contains("the key needs a passphrase"));
            case.passphrase(passphrase).judge()
        };
        let proved = proved.unwrap_or_else(|faults| panic!("{options}: {faults:?}"));
        assert_eq!(proved.facts.sha256, desk.expected().facts.sha256);
        let reason = Desk::store(&bytes).passphrase("other").reasons();
        let expected = "the passphrase in /passphrase does not open it";
        assert!(reason.contains(expected), "{options}: {reason}");
    }
}

#[test]
fn old_pkcs12_is_refused_with_the_way_to_a_new_one() {
    let Some(desk) = Desk::new() else { return };
    for (options, expected) in [
        ("-legacy", "it is encrypted with RC2"),
        (
            "-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES",
            "it is encrypted with Triple DES",
        ),
    ] {
        desk.openssl(&format!(
            "pkcs12 -export -inkey k -in c {options} -passout pass:s3cret -out OLD"
        ));
        let reason = Desk::store(&desk.bytes("OLD"))
            .passphrase("s3cret")
            .reasons();
        assert!(reason.contains(expected), "{reason}");
        desk.mend(&reason, "-passin pass:s3cret -passout pass:new");
        let pem = desk.text("NEW");
        Case::one(&pem).passphrase("new").judge().unwrap();
    }
}

#[test]
fn files_that_are_no_pkcs12_or_not_all_of_a_pair_are_told() {
    let Some(desk) = Desk::new() else { return };
    let pem = desk.bytes("c");
    let reason = Desk::store(&pem).reasons();
    assert!(reason.contains("cert: it is PEM, not PKCS#12"), "{reason}");
    desk.openssl("pkcs12 -export -nokeys -in c -passout pass: -out p");
    let reason = Desk::store(&desk.bytes("p")).reasons();
    let expected = "key: it holds no private key, only: certificates";
    assert!(reason.contains(expected), "{reason}");
    desk.openssl("pkcs12 -export -inkey k -in c -passout pass: -out p");
    let whole = desk.bytes("p");
    let reason = Case {
        encoding: PairEncoding::Pem,
        ..Desk::store(&whole)
    }
    .reasons();
    assert!(reason.contains("cert: it is PKCS#12, not PEM"), "{reason}");
    for end in (0..whole.len()).step_by(7) {
        let reason = Desk::store(&whole[..end]).reasons();
        assert!(reason.contains("cert: it is damaged"), "{end}: {reason}");
    }
}

#[test]
fn what_keytool_writes_is_opened() {
    let Some(desk) = Desk::empty() else { return };
    if Command::new("keytool").arg("-help").output().is_err() {
        return skip("keytool");
    }
    desk.run(
        "keytool",
        "-genkeypair -alias db -keyalg EC -groupname secp256r1 -dname CN=db \
         -ext san=dns:db -storetype PKCS12 -storepass s3cret -keystore p",
    );
    let bytes = desk.bytes("p");
    let proved = Desk::store(&bytes).passphrase("s3cret").judge().unwrap();
    assert_eq!(proved.facts.subject, "CN=db");
    let reason = Desk::store(&bytes).passphrase("secret").reasons();
    assert!(reason.contains("does not open it"), "{reason}");
}
