use std::{process::Command, sync::Arc};

use rcgen::CertificateParams;
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion,
    pki_types::PrivateKeyDer,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::*;
use crate::tls::{
    prove::complete,
    testing::{Ca, Leaf, der_of, params, self_signed},
};

/// A certificate of the first version and its key, in DER.
struct Old {
    leaf: CertificateDer<'static>,
    key: Vec<u8>,
}

/// Makes one with this kind of key; `None` where there is no openssl.
fn old(key: &str) -> Option<Old> {
    let dir = tempfile::tempdir().unwrap();
    let steps = [
        &format!("req -newkey {key} -nodes -subj /CN=db -keyout k -out r"),
        "x509 -req -in r -signkey k -days 9 -outform DER -out c",
        "pkcs8 -topk8 -nocrypt -in k -outform DER -out d",
    ];
    for step in steps {
        let mut openssl = Command::new("openssl");
        let made = openssl
            .args(step.split(' '))
            .current_dir(dir.path())
            .output();
        assert!(made.ok()?.status.success(), "{step}");
    }
    Some(Old {
        leaf: CertificateDer::from(std::fs::read(dir.path().join("c")).unwrap()),
        key: std::fs::read(dir.path().join("d")).unwrap(),
    })
}

/// The kinds of keys that an old certificate may have.
const KEYS: [&str; 3] = [
    "rsa:2048",
    "ec -pkeyopt ec_paramgen_curve:P-256",
    "ec -pkeyopt ec_paramgen_curve:P-384",
];

fn verdict(verifier: &BackendVerifier, leaf: &CertificateDer<'_>) -> Result<(), Error> {
    let name = ServerName::try_from("db").unwrap();
    let verdict = verifier.verify_server_cert(leaf, &[], &name, &[], UnixTime::now());
    verdict.map(|_| ())
}

#[test]
fn an_old_certificate_is_refused_by_its_version_where_it_is_checked() {
    let Some(Old { leaf, .. }) = old(KEYS[0]) else {
        return;
    };
    let other = Ca::new("x").der().to_certificate();
    for (check, trusted) in [
        (Check::Issuer, &other),
        (Check::IssuerAndName, &other),
        (Check::IssuerAndName, &leaf),
    ] {
        let verifier = BackendVerifier::new(check, vec![trusted.clone()]).unwrap();
        let reason = verdict(&verifier, &leaf).unwrap_err().to_string();
        assert!(reason.contains("X.509 version 1"), "{reason}");
    }
    assert_eq!(check_version(&other), Ok(()));
}

#[test]
fn an_old_certificate_passes_where_nothing_is_checked_or_it_is_the_one_that_is_trusted() {
    let Some(Old { leaf, .. }) = old(KEYS[0]) else {
        return;
    };
    let trusting = BackendVerifier::new(Check::Issuer, vec![leaf.clone()]).unwrap();
    assert_eq!(verdict(&trusting, &leaf), Ok(()));
    let careless = BackendVerifier::new(Check::Nothing, vec![]).unwrap();
    assert_eq!(verdict(&careless, &leaf), Ok(()));
}

/// Lets a client that checks nothing meet a server with these.
fn meet(
    version: &'static SupportedProtocolVersion,
    leaf: CertificateDer<'static>,
    key: &[u8],
) -> Result<(), Error> {
    let key = PrivateKeyDer::try_from(key).unwrap();
    let key = provider().key_provider.load_private_key(key.clone_key())?;
    let shown = CertifiedKey::new(vec![leaf], key);
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let verifier = BackendVerifier::new(Check::Nothing, vec![])?;
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let name = ServerName::try_from("db").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    complete(&mut client, &mut server)
}

#[test]
fn whoever_shows_an_old_certificate_must_hold_its_key() {
    for kind in KEYS {
        let (Some(mine), Some(other)) = (old(kind), old(kind)) else {
            return;
        };
        for version in [&TLS13, &TLS12] {
            assert_eq!(
                meet(version, mine.leaf.clone(), &mine.key),
                Ok(()),
                "{kind}"
            );
            let error = meet(version, mine.leaf.clone(), &other.key).unwrap_err();
            assert_eq!(error, CertificateError::BadSignature.into(), "{kind}");
        }
    }
}

fn advice(check: Check, trusted: &Ca, leaf: &Leaf) -> String {
    let trusted = vec![trusted.der().to_certificate()];
    let verifier = BackendVerifier::new(check, trusted).unwrap();
    let leaf = &leaf.pair().certificates()[0];
    let mut notes = notes::Notes::default();
    notes.lend(|| verdict(&verifier, leaf)).unwrap_err();
    notes.refused.unwrap().advice.unwrap()
}

#[test]
fn a_refusal_says_what_to_do() {
    let (ca, stranger) = (Ca::new("root"), Ca::new("stranger"));
    let nameless = ca.leaf(&CertificateParams::default());
    let words = advice(Check::IssuerAndName, &ca, &nameless);
    assert!(
        words.contains("use verify-ca, or issue one with \"db\""),
        "{words}"
    );
    let other = ca.server(&["other"]);
    let words = advice(Check::IssuerAndName, &ca, &other);
    assert!(words.contains("set backend_tls.server_name"), "{words}");
    let words = advice(Check::Issuer, &ca, &stranger.server(&["db"]));
    assert!(
        words.contains("is of CN=db, issued by CN=stranger"),
        "{words}"
    );
    let mut own = params(&["db"]);
    own.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let words = advice(Check::Issuer, &ca, &self_signed(&own));
    assert!(words.contains("name exactly this certificate"), "{words}");
}

#[test]
fn a_revoked_backend_is_refused_though_it_is_trusted_itself() {
    let root = Ca::new("root");
    let issuer = root.intermediate("issuer");
    let (good, bad) = (issuer.server(&["db"]), issuer.server(&["db"]));
    let [good, bad] = [good, bad].map(|it| (it.pair().certificates().remove(0), it));
    let link = issuer.der().to_certificate();
    let lists = [der_of(&issuer.revoke(&bad.1, 2090))];
    let leaves = [good.0.clone(), bad.0.clone()];
    for (authority, sent) in [
        (link.clone(), vec![]),
        (root.der().to_certificate(), vec![link]),
    ] {
        let trusted = [&leaves[..], &[authority]].concat();
        let verifier = BackendVerifier::new(Check::IssuerAndName, trusted).unwrap();
        let verifier = verifier.with_lists(&lists).unwrap();
        let verdict = |leaf| verifier.check_issuer(leaf, &sent, UnixTime::now());
        assert_eq!(verdict(&good.0), Ok(()));
        assert_eq!(verdict(&bad.0), Err(CertificateError::Revoked.into()));
    }
    // Nobody can tell whether a list is its issuer's where there is no issuer.
    let verifier = BackendVerifier::new(Check::Issuer, leaves.to_vec()).unwrap();
    let verifier = verifier.with_lists(&lists).unwrap();
    assert_eq!(verdict(&verifier, &bad.0), Ok(()));
}

#[test]
fn a_backend_of_a_new_key_needs_no_list_of_it() {
    let (old, new) = (Ca::new("root"), Ca::new("root"));
    let trusted = [&old, &new].map(|it| it.der().to_certificate());
    let verifier = BackendVerifier::new(Check::Issuer, trusted.to_vec()).unwrap();
    let verifier = verifier.with_lists(&[der_of(&old.list(&[], 1, 2090))]);
    let leaf = new.server(&["db"]).pair().certificates().remove(0);
    assert_eq!(verdict(&verifier.unwrap(), &leaf), Ok(()));
}

#[test]
fn a_revoked_backend_is_refused_whatever_its_name() {
    let ca = Ca::new("root");
    let (good, bad) = (ca.server(&["db"]), ca.server(&["db"]));
    let lists = [der_of(&ca.revoke(&bad, 2090))];
    for check in [Check::Issuer, Check::IssuerAndName] {
        let verifier = BackendVerifier::new(check, vec![ca.der().to_certificate()]).unwrap();
        let verifier = verifier.with_lists(&lists).unwrap();
        let verdict = |leaf: &Leaf| verdict(&verifier, &leaf.pair().certificates()[0]);
        assert_eq!(verdict(&good), Ok(()));
        assert_eq!(verdict(&bad), Err(CertificateError::Revoked.into()));
    }
}
