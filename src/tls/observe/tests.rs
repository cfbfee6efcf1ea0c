use std::sync::Arc;

use rcgen::CertificateParams;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    pki_types::PrivateKeyDer,
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};

use super::*;
use crate::tls::testing::{Ca, Leaf, der_of, params, self_signed};

fn server(
    leaf: &Leaf,
    version: &'static SupportedProtocolVersion,
    clients: Option<&Ca>,
) -> ServerConnection {
    let pair = leaf.pair();
    let key = der_of(&leaf.key).as_bytes().to_vec();
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der().to_certificate()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(key).unwrap();
    let config = builder.with_single_cert(pair.certificates(), key).unwrap();
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// Carries what the two say until neither has anything to say, or the client has an error.
fn carry(client: &mut Observation, server: &mut ServerConnection) -> Result<(), Broken> {
    loop {
        let said = client.output();
        let _ = server.read_tls(&mut &said[..]);
        let _ = server.process_new_packets();
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        if said.is_empty() && answer.is_empty() {
            return Ok(());
        }
        client.receive(&answer)?;
    }
}

fn observation() -> Observation {
    let name = ServerName::try_from("db").unwrap();
    Observation::new(Protocol::Tcp, Some(&name)).unwrap()
}

#[test]
fn a_server_is_observed_whatever_its_certificate_is() {
    let leaf = Ca::new("stranger").server(&["elsewhere"]);
    for (version, told) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let mut client = observation();
        carry(&mut client, &mut server(&leaf, version, None)).unwrap();
        let observed = client.observed();
        assert_eq!(observed.version, Some(told));
        assert!(observed.suite.unwrap().starts_with("TLS_"), "{observed:?}");
        assert_eq!(
            observed.group.as_deref(),
            Some("X25519MLKEM768")
                .filter(|_| told == "TLSv1.3")
                .or(Some("x25519"))
        );
        assert_eq!(observed.chain, [der_of(&leaf.cert).as_bytes()]);
        assert!(observed.is_proved && !client.is_handshaking());
        assert!(!observed.asks_for_certificate);
    }
}

#[test]
fn a_server_that_wants_a_certificate_shows_its_own_all_the_same() {
    let ca = Ca::new("root");
    let leaf = ca.server(&["db"]);
    for version in [&TLS12, &TLS13] {
        let mut client = observation();
        let end = carry(&mut client, &mut server(&leaf, version, Some(&ca)));
        assert!(matches!(end, Err(Broken::Alert(_))), "{end:?}");
        let observed = client.observed();
        assert!(observed.asks_for_certificate && observed.is_proved);
        assert_eq!(observed.chain.len(), 1);
    }
}

#[test]
fn what_is_no_tls_is_told_so() {
    for said in [&b"HTTP/1.1 400 Bad Request\r\n"[..], &[0xff; 64], &[0; 64]] {
        let mut client = observation();
        assert_eq!(client.receive(said), Err(Broken::NotTls), "{said:x?}");
    }
    let old = [21, 3, 1, 0, 2, 2, 70];
    assert_eq!(observation().receive(&old), Err(Broken::OldTls));
    let failure = observation().receive(&[21, 3, 3, 0, 2, 2, 40]).unwrap_err();
    let words = failure.to_string();
    assert!(words.contains("\"handshake_failure\""), "{words}");
}

fn judge(trusted: &[&Ca], chain: &[&str], name: &str) -> Judgement {
    let trusted: Vec<_> = trusted.iter().map(|it| it.der()).collect();
    let chain: Vec<_> = chain
        .iter()
        .map(|it| der_of(it).as_bytes().to_vec())
        .collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let judge = Judge::new(&trusted).unwrap();
    let judgement = judge.judge(&chain, Some(&name), jiff::Timestamp::now());
    judgement.unwrap()
}

#[track_caller]
fn assert_doubts(judgement: &Judgement, doubts: &[&str]) {
    let told = &judgement.doubts;
    assert_eq!(told.len(), doubts.len(), "{told:#?}");
    for (told, doubt) in told.iter().zip(doubts) {
        assert!(told.contains(doubt), "{told} has not {doubt}");
    }
}

#[test]
fn a_good_chain_is_believed_and_ends_with_its_first_end() {
    let root = Ca::new("root");
    let middle = root.intermediate("middle");
    let leaf = middle.server(&["db", "db2"]);
    let judgement = judge(&[&root], &[&leaf.cert, &middle.pem], "db2");
    assert_doubts(&judgement, &[]);
    assert_eq!(judgement.oddities, [""; 0]);
    assert_eq!(judgement.chain.len(), 2);
    assert!(judgement.ends_first.is_some());
}

#[test]
fn a_trusted_authority_that_has_expired_is_told() {
    let (root, good) = (Ca::expired("root"), Ca::new("root"));
    let leaf = root.server(&["db"]);
    let judgement = judge(&[&root], &[&leaf.cert], "db");
    assert_doubts(
        &judgement,
        &["the trusted authority CN=root expired at 2020"],
    );
    // Which of two authorities of one name issued it is for signatures to say; clients find the good one if it is.
    assert_doubts(&judge(&[&root, &good], &[&leaf.cert], "db"), &[]);
}

#[test]
fn an_old_cross_signature_that_has_expired_keeps_no_client_from_a_trusted_authority() {
    let (root, old) = (Ca::new("root"), Ca::new("old"));
    let middle = root.intermediate("middle");
    let leaf = middle.server(&["db"]);
    let chain = [&*leaf.cert, &middle.pem, &old.sign_expired(&root)];
    let judgement = judge(&[&root], &chain, "db");
    assert_doubts(&judgement, &[]);
    assert_ne!(judgement.ends_first, Some(2));
    assert_eq!(judge(&[&old], &chain, "db").ends_first, Some(2));
}

#[test]
fn a_missing_intermediate_is_told_apart_from_a_stranger() {
    let root = Ca::new("root");
    let middle = root.intermediate("middle");
    let last = middle.intermediate("last");
    let leaf = last.server(&["db"]);
    let alone = judge(&[&root], &[&leaf.cert], "db");
    assert_doubts(
        &alone,
        &["CN=last is not trusted, and the server sends no intermediate"],
    );
    assert!(alone.is_of_strangers);
    let short = judge(&[&root], &[&leaf.cert, &last.pem], "db");
    assert_doubts(&short, &["unknown issuer: CN=middle"]);
    let own = self_signed(&params(&["db"]));
    assert_doubts(&judge(&[&root], &[&own.cert], "db"), &["self-signed"]);
}

#[test]
fn a_wrong_name_is_told_with_those_that_are_right() {
    let root = Ca::new("root");
    let leaf = root.server(&["db1", "db2"]);
    let judgement = judge(&[&root], &[&leaf.cert], "db");
    assert_doubts(&judgement, &["not for db, but for db1, db2"]);
    let judgement = judge(&[&root], &[&leaf.cert], "10.0.0.1");
    assert_doubts(&judgement, &["not for 10.0.0.1, but"]);
    let nameless = root.leaf(&CertificateParams::default());
    let judgement = judge(&[&root], &[&nameless.cert], "db");
    assert_doubts(&judgement, &["no subject alternative name"]);
    let names: Vec<_> = (0..20).map(|it| format!("db{it}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let judgement = judge(&[&root], &[&root.server(&names).cert], "x");
    assert_doubts(&judgement, &["db7, 12 more"]);
}

#[test]
fn every_fault_of_a_certificate_is_told() {
    let (root, stranger) = (Ca::new("root"), Ca::new("stranger"));
    let mut late = params(&["db"]);
    late.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let judgement = judge(&[&root], &[&root.leaf(&late).cert], "other");
    assert_doubts(&judgement, &["expired at 2020-01-01", "not for other"]);
    let mut early = params(&["db"]);
    early.not_before = rcgen::date_time_ymd(2090, 1, 1);
    early.not_after = rcgen::date_time_ymd(2091, 1, 1);
    let judgement = judge(&[&root], &[&root.leaf(&early).cert], "db");
    assert_doubts(&judgement, &["not valid before 2090-01-01"]);
    let mut client = params(&["db"]);
    client.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let judgement = judge(&[&root], &[&root.leaf(&client).cert], "db");
    assert_doubts(&judgement, &["lacks serverAuth"]);
    let judgement = judge(&[&root], &[&root.server(&["db"]).cert, &stranger.pem], "db");
    assert_doubts(&judgement, &[]);
    assert!(
        judgement.oddities[0].contains("issued none"),
        "{judgement:?}"
    );
}

#[test]
fn a_certificate_that_cannot_be_read_is_told() {
    let judge = Judge::new(&[Ca::new("root").der()]).unwrap();
    let judgement = judge.judge(&[vec![1, 2, 3]], None, jiff::Timestamp::now());
    let judgement = judgement.unwrap();
    assert_doubts(&judgement, &["cannot be read"]);
    assert_eq!((judgement.sha256.len(), judgement.chain.len()), (64, 0));
}

#[test]
fn a_certificate_that_is_trusted_itself_is_believed() {
    let own = self_signed(&params(&["db"]));
    let trusted = [der_of(&own.cert)];
    let judge = Judge::new(&trusted).unwrap();
    let chain = [trusted[0].as_bytes().to_vec()];
    let judgement = judge.judge(&chain, None, jiff::Timestamp::now());
    assert_doubts(&judgement.unwrap(), &[]);
    assert_eq!(judge.judge(&[], None, jiff::Timestamp::now()), None);
}
