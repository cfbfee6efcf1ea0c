use std::{path::Path, process::Command};

use rcgen::{ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use zeroize::Zeroizing;

use super::*;
use crate::tls::{
    files::Stamp,
    testing::{Ca, Leaf, params, self_signed},
};

fn content(text: &str) -> Content {
    Content {
        bytes: Zeroizing::new(text.as_bytes().to_vec()),
        mode: 0o600,
        stamp: Stamp::of(&std::env::temp_dir()).unwrap(),
    }
}

fn judge(cert: &str, key: &str) -> Result<Proved, Vec<Fault>> {
    prove(
        &content(cert),
        &content(key),
        Role::Server,
        Timestamp::now(),
    )
}

/// Returns what is wrong, with the file it is about in front.
fn reasons(cert: &str, key: &str) -> String {
    let faults = judge(cert, key).unwrap_err();
    let told = faults.iter().map(|fault| match fault {
        Fault::Certificate(fault) => format!("cert: {fault}"),
        Fault::Key(fault) => format!("key: {fault}"),
    });
    told.collect::<Vec<_>>().join("; ")
}

fn sample() -> (Ca, Leaf) {
    let ca = Ca::new("root");
    let leaf = ca.server(&["db.example.com"]);
    (ca, leaf)
}

/// Runs openssl in a folder; returns whether it is there at all.
fn openssl(dir: &Path, args: &str) -> bool {
    let output = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(dir)
        .output();
    let Ok(output) = output else { return false };
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "openssl {args}: {complaint}");
    true
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
    let ca_first = format!("{}{cert}", ca.pem);
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
        (&ca_first, key, "cert: the chain must begin with the leaf"),
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
        (cert, &other.key, "key: the private key does not match"),
        (cert, &format!("{key}{key}"), "key: it holds 2 private keys"),
        (
            cert,
            &label(key, "ENCRYPTED PRIVATE KEY"),
            "key: the key needs a passphrase",
        ),
        (
            cert,
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAEC\n-----END OPENSSH PRIVATE KEY-----",
            "key: the OPENSSH PRIVATE KEY of line 1 is damaged or of a kind",
        ),
        (&other.cert, key, "key: the private key does not match"),
        (half, half_key, "cert: the CERTIFICATE block"),
        (half, half_key, "; key: the PRIVATE KEY block"),
    ];
    for (index, (cert, key, expected)) in table.into_iter().enumerate() {
        let reasons = reasons(cert, key);
        assert!(reasons.contains(expected), "{index}: {expected}: {reasons}");
    }
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
        let (cert, key) = (content(&leaf.cert), content(&leaf.key));
        prove(&cert, &key, role, Timestamp::now()).is_ok()
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
fn a_key_that_others_can_read_is_told() {
    let (_, leaf) = sample();
    let told = |mode| {
        let key = Content {
            mode,
            ..content(&leaf.key)
        };
        let proved = prove(&content(&leaf.cert), &key, Role::Server, Timestamp::now());
        proved.unwrap().key_warnings.join("; ")
    };
    assert_eq!(told(0o600), "");
    assert!(told(0o644).contains("mode 0644"));
    assert!(told(0o640).contains("mode 0640"));
}

#[test]
fn one_file_may_hold_certificate_and_key() {
    let (_, leaf) = sample();
    let joined = format!("# made by hand\r\n{}{}", leaf.key, leaf.cert);
    assert!(judge(&joined, &joined).is_ok());
}

#[test]
fn keys_as_openssl_writes_them_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
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
        if !openssl(dir, make) {
            return;
        }
        openssl(dir, "req -x509 -key k -subj /CN=db -days 9 -out c");
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        let proved = judge(&read("c"), &read("k")).unwrap();
        assert_eq!(proved.facts.key_type, key_type);
    }
}

#[test]
fn what_openssl_makes_and_cannot_be_served_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    if !openssl(
        dir,
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=db -days 9 -keyout k -out c",
    ) {
        return;
    }
    openssl(
        dir,
        "rsa -in k -traditional -aes128 -passout pass:x -out old",
    );
    openssl(dir, "pkcs8 -topk8 -in k -passout pass:x -out new");
    for name in ["old", "new"] {
        let reason = reasons(&read("c"), &read(name));
        assert!(reason.contains("the key needs a passphrase"), "{reason}");
    }
    openssl(dir, "req -new -key k -subj /CN=db -out r");
    openssl(dir, "x509 -req -in r -signkey k -days 9 -out v1");
    let reason = reasons(&read("v1"), &read("k"));
    assert!(reason.contains("X.509 version 1"), "{reason}");
    openssl(
        dir,
        "req -x509 -newkey rsa:1024 -nodes -subj /CN=db -days 9 -keyout k -out c",
    );
    let reason = reasons(&read("c"), &read("k"));
    assert!(reason.contains("1024-bit RSA key is too short"), "{reason}");
}
