//! Pairs of files that are judged.

mod causes;
mod openssl;
mod order;

use std::path::Path;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, date_time_ymd};

use super::*;
use crate::{
    store::files::read::Content,
    tls::testing::{Ca, Leaf, params, self_signed},
};

/// A pair of PEM files that are to be judged.
struct Case<'a> {
    cert: &'a [u8],
    key: Option<&'a [u8]>,
    passphrase: Option<&'a str>,
    encoding: PairEncoding,
}

impl<'a> Case<'a> {
    fn two(cert: &'a str, key: &'a str) -> Self {
        Self {
            key: Some(key.as_bytes()),
            ..Self::one(cert)
        }
    }

    fn one(file: &'a str) -> Self {
        Self {
            cert: file.as_bytes(),
            key: None,
            passphrase: None,
            encoding: PairEncoding::Pem,
        }
    }

    fn passphrase(self, passphrase: &'a str) -> Self {
        Self {
            passphrase: Some(passphrase),
            ..self
        }
    }

    fn judge_as(&self, role: Role) -> Result<Proved, Vec<Fault>> {
        let (cert, key) = (Content::of(self.cert), self.key.map(Content::of));
        let passphrase = self.passphrase.map(|text| Content::of(text.as_bytes()));
        let contents = PairContents {
            cert: &cert,
            key: key.as_ref(),
            encoding: self.encoding,
            opener: passphrase.as_ref().map_or(Opener::Nothing, |it| {
                Opener::File(Path::new("/passphrase"), it)
            }),
        };
        prove(&contents, role, Timestamp::now())
    }

    fn judge(&self) -> Result<Proved, Vec<Fault>> {
        self.judge_as(Role::Server)
    }

    /// Returns what is wrong, with the file it is about in front.
    fn reasons(&self) -> String {
        let faults = self.judge().unwrap_err();
        let told = faults.iter().map(|fault| match fault {
            Fault::Certificate(fault) => format!("cert: {fault}"),
            Fault::Key(fault) => format!("key: {fault}"),
            Fault::Passphrase(fault) => format!("passphrase: {fault}"),
        });
        told.collect::<Vec<_>>().join("; ")
    }
}

fn judge(cert: &str, key: &str) -> Result<Proved, Vec<Fault>> {
    Case::two(cert, key).judge()
}

fn reasons(cert: &str, key: &str) -> String {
    Case::two(cert, key).reasons()
}

fn sample() -> (Ca, Leaf) {
    let ca = Ca::new("root");
    let leaf = ca.server(&["db.example.com"]);
    (ca, leaf)
}

#[test]
fn broken_files_are_refused_with_their_reason() {
    let (ca, leaf) = sample();
    let other = ca.server(&["other.example.com"]);
    let (cert, key) = (leaf.cert.as_str(), leaf.key.as_str());
    let half = &cert[..cert.len() / 2];
    let half_key = &key[..key.len() / 2];
    let label = |text: &str, label: &str| text.replace("PRIVATE KEY", label);
    let garbled = cert.replacen("MII", "M!I", 1);
    // Cut at a whole number of base64 groups, so that only the DER tells.
    let lines: Vec<_> = cert.lines().collect();
    let shorn = format!("{}\n{}\n{}", lines[0], lines[1], lines[lines.len() - 1]);
    let both = format!("{cert}{}", other.cert);
    let two_keys = format!("{key}{}", other.key);
    let table: [(&str, &str, &str); 16] = [
        ("", key, "cert: it holds no PEM block"),
        (
            half,
            key,
            "cert: the CERTIFICATE block of line 1 has no END line",
        ),
        (
            &garbled,
            key,
            "cert: the CERTIFICATE block of line 1 is damaged",
        ),
        (&shorn, key, "cert: the certificate of line 1 is damaged"),
        (key, key, "cert: it holds no certificate, only: PRIVATE KEY"),
        (
            &both,
            &two_keys,
            "key: 2 of its private keys belong to certificates",
        ),
        (cert, "", "key: it holds no PEM block"),
        (
            cert,
            half_key,
            "key: the PRIVATE KEY block of line 1 has no END",
        ),
        (
            cert,
            cert,
            "key: it holds no private key, only: CERTIFICATE",
        ),
        (
            cert,
            &other.key,
            "key: the private key (ecdsa-p256) does not match",
        ),
        (
            &ca.pem,
            &two_keys,
            "key: the private key (ecdsa-p256) does not match",
        ),
        (
            cert,
            &label(key, "ENCRYPTED PRIVATE KEY"),
            "key: the key needs a passphrase, and a daemon has no terminal",
        ),
        (
            cert,
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAEC\n-----END OPENSSH PRIVATE KEY-----",
            "key: the OPENSSH PRIVATE KEY of line 1 is damaged or of a kind",
        ),
        (
            &other.cert,
            key,
            "key: the private key (ecdsa-p256) does not match",
        ),
        (half, half_key, "cert: the CERTIFICATE block"),
        (half, half_key, "; key: the PRIVATE KEY block"),
    ];
    for (index, (cert, key, expected)) in table.into_iter().enumerate() {
        let reasons = reasons(cert, key);
        assert!(reasons.contains(expected), "{index}: {expected}: {reasons}");
    }
}

/// Returns a key in PEM with other bytes at a place of its DER.
fn forged(key: &str, place: usize, bytes: &[u8]) -> String {
    let mut der = rcgen::KeyPair::from_pem(key).unwrap().serialize_der();
    der[place..place + bytes.len()].copy_from_slice(bytes);
    pem_of("PRIVATE KEY", &der)
}

fn pem_of(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for bytes in der.chunks(3) {
        let all = bytes
            .iter()
            .fold(0_usize, |all, it| all << 8 | usize::from(*it))
            << (8 * (3 - bytes.len()));
        let digits = (0..4).map(|place| char::from(DIGITS[all >> (18 - 6 * place) & 63]));
        text.extend(digits.take(bytes.len() + 1));
    }
    text.extend(std::iter::repeat_n('=', (3 - der.len() % 3) % 3));
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[test]
fn a_key_whose_halves_do_not_belong_together_is_refused() {
    let (_, leaf) = sample();
    // In PKCS#8 of P-256, the private number stands at byte 36.
    let key = forged(&leaf.key, 40, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let reason = reasons(&leaf.cert, &key);
    assert!(reason.contains("damaged or of a kind"), "{reason}");
}

#[test]
fn a_chain_that_fits_into_no_handshake_message_is_refused() {
    let (ca, leaf) = sample();
    let fits = |others: usize| {
        let others: Vec<String> = (0..others)
            .map(|number| {
                let names: Vec<String> = (0..900)
                    .map(|it| format!("{it}.{number}.example"))
                    .collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                ca.server(&names).cert
            })
            .collect();
        judge(&(leaf.cert.clone() + &others.concat()), &leaf.key)
    };
    fits(2).unwrap();
    let faults = fits(5).unwrap_err();
    assert!(
        matches!(
            &faults[..],
            [Fault::Certificate(CertificateFault::Handshake(_))]
        ),
        "{faults:?}"
    );
}

#[test]
fn a_certificate_outside_its_dates_is_refused() {
    let ca = Ca::new("root");
    let mut early = params(&["db"]);
    early.not_before = date_time_ymd(2090, 1, 1);
    let leaf = ca.leaf(&early);
    let reason = reasons(&leaf.cert, &leaf.key);
    assert!(
        reason.contains("not valid before 2090-01-01T00:00:00Z"),
        "{reason}"
    );
    assert!(reason.contains("clock"), "{reason}");
    let mut late = params(&["db"]);
    late.not_after = date_time_ymd(2020, 1, 1);
    let leaf = ca.leaf(&late);
    let reason = reasons(&leaf.cert, &leaf.key);
    assert!(
        reason.contains("expired at 2020-01-01T00:00:00Z"),
        "{reason}"
    );
}

#[test]
fn a_certificate_must_be_meant_for_its_role() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    let ca = Ca::new("root");
    let of = |usages: &[ExtendedKeyUsagePurpose], role| {
        let mut params = params(&["db"]);
        params.extended_key_usages = usages.to_vec();
        let leaf = ca.leaf(&params);
        Case::two(&leaf.cert, &leaf.key).judge_as(role).is_ok()
    };
    assert!(of(&[], Role::Server) && of(&[], Role::Client));
    assert!(of(&[ServerAuth], Role::Server) && !of(&[ServerAuth], Role::Client));
    assert!(of(&[ClientAuth], Role::Client) && !of(&[ClientAuth], Role::Server));
    assert!(of(&[Any], Role::Server) && of(&[Any], Role::Client));
}

#[test]
fn what_is_odd_is_told_but_served() {
    let (ca, leaf) = sample();
    let stranger = Ca::new("stranger");
    let odd = |cert: &str, key: &str| judge(cert, key).unwrap().cert_warnings.join("; ");
    let twice = format!("{0}{0}{1}", leaf.cert, ca.pem);
    assert!(odd(&twice, &leaf.key).contains("more than once"));
    assert_eq!(judge(&twice, &leaf.key).unwrap().pair.chain.len(), 2);
    assert_eq!(odd(&format!("{}{}", leaf.cert, ca.pem), &leaf.key), "");
    let foreign = format!("{}{}", leaf.cert, stranger.pem);
    assert!(odd(&foreign, &leaf.key).contains("do not lead"));
    let nameless = self_signed(&{
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    });
    let told = odd(&nameless.cert, &nameless.key);
    assert!(told.contains("no subject alternative name"), "{told}");
    assert!(told.contains("marked as an authority's"), "{told}");
}

#[test]
fn what_has_no_use_in_a_file_is_told() {
    let (ca, leaf) = sample();
    let other = ca.server(&["other.example.com"]);
    let cert = format!(
        "{}-----BEGIN CERTIFICATE REQUEST-----\nAAEC\n-----END CERTIFICATE REQUEST-----\n{}",
        leaf.cert, other.key
    );
    let proved = Case::two(&cert, &leaf.key).passphrase("secret").judge();
    let proved = proved.unwrap();
    let told = proved.cert_warnings.join("; ");
    assert!(
        told.contains("the CERTIFICATE REQUEST block of line"),
        "{told}"
    );
    assert!(told.contains("it holds a private key too"), "{told}");
    let told = proved.key_warnings.join("; ");
    assert!(
        told.contains("is not encrypted, and its passphrase"),
        "{told}"
    );
}

#[test]
fn of_several_keys_the_one_that_belongs_to_the_certificate_is_used() {
    let (ca, leaf) = sample();
    let other = ca.server(&["other.example.com"]);
    for key in [&leaf.key, &other.key] {
        let keys = format!("{}{}{key}", other.key, leaf.key);
        let proved = judge(&leaf.cert, &keys).unwrap();
        assert_eq!(proved.pair.leaf(), leaf.pair().leaf());
        assert_eq!(proved.pair.digest(), leaf.pair().digest());
        let told = proved.key_warnings.join("; ");
        assert!(told.contains("it holds 3 private keys"), "{told}");
    }
}

#[test]
fn secrets_that_others_can_read_are_told() {
    let (_, leaf) = sample();
    let open = |text: &str| Content {
        mode: 0o644,
        ..Content::of(text.as_bytes())
    };
    let (cert, key, passphrase) = (open(&leaf.cert), open(&leaf.key), open("secret"));
    let contents = PairContents {
        cert: &cert,
        key: Some(&key),
        encoding: PairEncoding::Pem,
        opener: Opener::File(Path::new("/passphrase"), &passphrase),
    };
    let proved = prove(&contents, Role::Server, Timestamp::now()).unwrap();
    assert_eq!(proved.cert_warnings, [""; 0]);
    for (told, secret) in [
        (proved.key_warnings, "private key"),
        (proved.passphrase_warnings, "passphrase"),
    ] {
        let told = told.join("; ");
        assert!(
            told.contains(&format!("the {secret} can be read")),
            "{told}"
        );
        assert!(told.contains("mode 0644"), "{told}");
    }
}

#[test]
fn a_file_without_a_key_is_refused_with_the_way_to_name_one() {
    let (_, leaf) = sample();
    let reason = Case::one(&leaf.cert).reasons();
    assert!(
        reason.contains("only: CERTIFICATE; name the file"),
        "{reason}"
    );
    let reason = Case::one(&leaf.key).reasons();
    assert!(
        reason.contains("it holds no certificate, only: PRIVATE KEY"),
        "{reason}"
    );
    // What is wrong with one file is told once.
    assert_eq!(Case::one("").reasons(), "cert: it holds no PEM block");
}

#[test]
fn a_passphrase_that_is_none_is_told_of_its_file() {
    let (_, leaf) = sample();
    let key = leaf.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let case = |passphrase| Case::two(&leaf.cert, &key).passphrase(passphrase).reasons();
    assert!(case("\n").contains("passphrase: the passphrase is empty"));
    assert!(case("a\nb\n").contains("passphrase: it holds more than one line"));
    // It is no encrypted key, whatever its label says.
    let reason = case("secret");
    let expected = "key: the ENCRYPTED PRIVATE KEY of line 1 is damaged";
    assert!(reason.contains(expected), "{reason}");
}
