use std::time::Duration;

use jiff::Timestamp;
use rcgen::{CertificateParams, SanType};
use rustls::{AlertDescription, OtherError};

use super::*;
use crate::{
    config::OnUnknown,
    tls::{
        testing::{Ca, Leaf, der_of, params},
        trust::revocation::StatusUnknown,
        unix_time,
    },
};

fn auth(change: impl FnOnce(&mut ClientAuth)) -> ClientAuth {
    let mut auth = ClientAuth {
        mode: ClientAuthMode::Required,
        ..ClientAuth::default()
    };
    change(&mut auth);
    auth
}

fn bundle(roots: &[&Ca], lists: &[&str]) -> Bundle {
    let roots: Vec<_> = roots.iter().map(|ca| ca.der()).collect();
    let crls = lists.iter().map(|list| der_of(list));
    Bundle {
        crls: crls.collect(),
        roots,
    }
}

/// Returns what becomes of a client with this certificate.
fn verdict(auth: &ClientAuth, bundle: &Bundle, leaf: &Leaf) -> Result<(), Error> {
    let verifier = ClientVerifier::new(auth, bundle).unwrap();
    let chain = leaf.pair().certificates();
    verifier.check(&chain[0], &chain[1..], unix_time(Timestamp::now()))
}

/// Returns why it is not known whether a certificate is revoked, if that is what is wrong.
fn unknown(error: Error) -> Option<StatusUnknown> {
    match error {
        Error::InvalidCertificate(error) => StatusUnknown::of(&error).cloned(),
        _ => None,
    }
}

fn refusal(error: CertificateError) -> Result<(), Error> {
    Err(error.into())
}

#[test]
fn a_revoked_client_is_refused_and_lists_of_others_shut_nobody_out() {
    let (ca, second) = (Ca::new("root"), Ca::new("second"));
    let (good, revoked) = (ca.server(&["good"]), ca.server(&["revoked"]));
    let listless = second.server(&["listless"]);
    // A list that is late is believed as far as it goes.
    for next_update in [2090, 2021] {
        let bundle = bundle(&[&ca, &second], &[&ca.revoke(&revoked, next_update)]);
        let verdict = |leaf| verdict(&auth(|_| {}), &bundle, leaf);
        assert_eq!(verdict(&good), Ok(()));
        assert_eq!(verdict(&listless), Ok(()));
        assert_eq!(verdict(&revoked), refusal(CertificateError::Revoked));
    }
}

#[test]
fn a_list_whose_issuer_is_written_in_another_string_type_is_asked() {
    let ca = Ca::new("root");
    let (good, revoked) = (ca.server(&["good"]), ca.server(&["revoked"]));
    let strict = auth(|it| it.unknown_revocation = OnUnknown::Refuse);
    let bundle = bundle(&[&ca], &[&ca.printable_list(&[&revoked], 1, 2090)]);
    assert_eq!(verdict(&strict, &bundle, &good), Ok(()));
    let verdict = verdict(&strict, &bundle, &revoked);
    assert_eq!(verdict, refusal(CertificateError::Revoked));
}

#[test]
fn doubts_count_against_a_client_where_that_is_wanted() {
    let (ca, second) = (Ca::new("root"), Ca::new("second"));
    let (good, listless) = (ca.server(&["good"]), second.server(&["listless"]));
    let other = ca.server(&["other"]);
    let strict = auth(|it| it.unknown_revocation = OnUnknown::Refuse);
    let lists = bundle(&[&ca, &second], &[&ca.revoke(&other, 2090)]);
    assert_eq!(verdict(&strict, &lists, &good), Ok(()));
    let unknown = |lists: &Bundle, strict: &ClientAuth, leaf: &Leaf| {
        unknown(verdict(strict, lists, leaf).unwrap_err())
    };
    assert_eq!(
        unknown(&lists, &strict, &listless),
        Some(StatusUnknown::NoList)
    );
    let late = bundle(&[&ca, &second], &[&ca.revoke(&other, 2021)]);
    let strict = auth(|it| it.expired_crl = OnUnknown::Refuse);
    let ended = "2021-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(
        unknown(&late, &strict, &good),
        Some(StatusUnknown::Expired(ended))
    );
    assert_eq!(verdict(&strict, &late, &listless), Ok(()));
    assert_eq!(verdict(&strict, &lists, &good), Ok(()));
}

#[test]
fn two_keys_of_one_name_each_have_their_list() {
    let (old, new) = (Ca::new("root"), Ca::new("root"));
    let leaves = [&old, &new].map(|ca| [ca.server(&["good"]), ca.server(&["revoked"])]);
    let [of_old, of_new] = [&leaves[0][1], &leaves[1][1]];
    let named = [old.revoke(of_old, 2090), new.revoke(of_new, 2090)];
    let nameless = [
        old.nameless_list(&[of_old], 1, 2090),
        new.nameless_list(&[of_new], 2, 2090),
    ];
    let roots = [[&old, &new], [&new, &old]];
    for (roots, lists) in roots.iter().flat_map(|it| [(it, &named), (it, &nameless)]) {
        let bundle = bundle(roots, &lists.each_ref().map(String::as_str));
        let policy = auth(|it| it.unknown_revocation = OnUnknown::Refuse);
        for [good, revoked] in &leaves {
            assert_eq!(verdict(&policy, &bundle, good), Ok(()));
            assert_eq!(
                verdict(&policy, &bundle, revoked),
                refusal(CertificateError::Revoked)
            );
        }
    }
}

#[test]
fn every_authority_of_a_chain_may_have_changed_its_key() {
    let roots = [Ca::new("root"), Ca::new("root")];
    let issuers = roots.each_ref().map(|root| root.intermediate("issuer"));
    let lists: Vec<_> = roots.iter().chain(&issuers).zip(1..).collect();
    let lists = lists
        .iter()
        .map(|(ca, number)| ca.nameless_list(&[], *number, 2090));
    let lists: Vec<_> = lists.collect();
    let lists: Vec<_> = lists.iter().map(String::as_str).collect();
    let bundle = bundle(&[&roots[0], &roots[1]], &lists);
    let policy = auth(|it| it.unknown_revocation = OnUnknown::Refuse);
    let verifier = ClientVerifier::new(&policy, &bundle).unwrap();
    for (root, issuer) in roots
        .iter()
        .flat_map(|root| issuers.each_ref().map(|it| (root, it)))
    {
        let leaf = issuer.server(&["app"]).pair().certificates();
        let text = root.sign(issuer);
        let link = der_of(&text).to_certificate();
        let checked = verifier.check(&leaf[0], &[link], unix_time(Timestamp::now()));
        assert_eq!(checked, Ok(()));
    }
}

#[test]
fn of_lists_whose_key_is_not_known_the_newest_that_fits_counts() {
    let root = Ca::new("root");
    let issuer = root.intermediate("issuer");
    let (good, revoked) = (issuer.server(&["good"]), issuer.server(&["revoked"]));
    let old = issuer.nameless_list(&[], 1, 2021);
    let new = issuer.nameless_list(&[&revoked], 2, 2090);
    let policy = auth(|it| it.expired_crl = OnUnknown::Refuse);
    for lists in [[&*old, &*new], [&*new, &*old]] {
        let verifier = ClientVerifier::new(&policy, &bundle(&[&root], &lists)).unwrap();
        let verdict = |leaf: &Leaf| {
            let chain = leaf.pair().certificates();
            let link = issuer.der().to_certificate();
            verifier.check(&chain[0], &[link], unix_time(Timestamp::now()))
        };
        assert_eq!(verdict(&good), Ok(()));
        assert_eq!(verdict(&revoked), refusal(CertificateError::Revoked));
    }
}

#[test]
fn a_list_for_other_certificates_counts_for_those_that_it_names_and_by_its_age() {
    let ca = Ca::new("root");
    let (good, revoked) = (ca.server(&["good"]), ca.server(&["revoked"]));
    let elsewhere = |year| ca.list_at("http://ca.example/moved", &[&revoked], year);
    let [lax, strict, ageing] = [
        auth(|_| {}),
        auth(|it| it.unscoped_crl = OnUnknown::Refuse),
        auth(|it| it.expired_crl = OnUnknown::Refuse),
    ];
    for (lists, expected) in [
        (vec![elsewhere(2090)], [None, Some("Unscoped"), None]),
        (
            vec![elsewhere(2021)],
            [None, Some("Unscoped"), Some("Expired")],
        ),
        (vec![elsewhere(2021), ca.list(&[], 1, 2090)], [None; 3]),
        (
            vec![elsewhere(2090), ca.list(&[], 1, 2021)],
            [None, None, Some("Expired")],
        ),
    ] {
        let lists: Vec<_> = lists.iter().map(String::as_str).collect();
        let bundle = bundle(&[&ca], &lists);
        for (auth, expected) in [&lax, &strict, &ageing].into_iter().zip(expected) {
            let error = verdict(auth, &bundle, &good).err().and_then(unknown);
            let error = error.map(|it| format!("{it:?}"));
            let fits = match (&error, expected) {
                (None, None) => true,
                (Some(error), Some(expected)) => error.starts_with(expected),
                _ => false,
            };
            assert!(fits, "{error:?} for {expected:?}");
            let error = verdict(auth, &bundle, &revoked);
            assert_eq!(error, refusal(CertificateError::Revoked));
        }
    }
}

#[test]
fn a_revoked_authority_of_the_bundle_lets_nobody_in() {
    let root = Ca::new("root");
    let issuer = root.intermediate("issuer");
    let leaf = issuer.server(&["good"]);
    let (own, of_root) = (issuer.list(&[], 1, 2090), root.list(&[], 1, 2090));
    let revoking = root.list(&[&issuer.as_leaf()], 2, 2090);
    for policy in [
        auth(|_| {}),
        auth(|it| it.unknown_revocation = OnUnknown::Refuse),
    ] {
        for roots in [[&root, &issuer], [&issuer, &root]] {
            let verdict = |list: &str| verdict(&policy, &bundle(&roots, &[&own, list]), &leaf);
            assert_eq!(verdict(&of_root), Ok(()));
            assert_eq!(verdict(&revoking), refusal(CertificateError::Revoked));
        }
    }
    // Without the root nobody can tell whether the list is its own.
    let alone = bundle(&[&issuer], &[&own, &revoking]);
    assert_eq!(verdict(&auth(|_| {}), &alone, &leaf), Ok(()));
}

#[test]
fn whom_another_authority_still_vouches_for_is_let_in_past_a_revoked_one() {
    let (root, other) = (Ca::new("root"), Ca::new("other"));
    let issuer = root.intermediate("issuer");
    let leaf = issuer.server(&["good"]).pair().certificates();
    let revoking = root.list(&[&issuer.as_leaf()], 2, 2090);
    let bundle = bundle(&[&root, &other, &issuer], &[&revoking]);
    let verifier = ClientVerifier::new(&auth(|_| {}), &bundle).unwrap();
    let link = der_of(&other.sign(&issuer)).to_certificate();
    let now = unix_time(Timestamp::now());
    let revoked = refusal(CertificateError::Revoked);
    assert_eq!(verifier.check(&leaf[0], &[], now), revoked);
    assert_eq!(verifier.check(&leaf[0], &[link], now), Ok(()));
}

#[test]
fn a_list_of_another_key_of_the_same_name_counts_as_none() {
    let (old, new) = (Ca::new("root"), Ca::new("root"));
    let leaf = new.server(&["good"]);
    let strict = auth(|it| it.unknown_revocation = OnUnknown::Refuse);
    for roots in [vec![&new], vec![&old, &new]] {
        let bundle = bundle(&roots, &[&old.revoke(&leaf, 2090)]);
        assert_eq!(verdict(&auth(|_| {}), &bundle, &leaf), Ok(()));
        let error = verdict(&strict, &bundle, &leaf).unwrap_err();
        assert_eq!(unknown(error), Some(StatusUnknown::OtherKey));
    }
}

#[test]
fn an_authority_that_only_shares_a_name_is_unknown() {
    let (ca, namesake) = (Ca::new("root"), Ca::new("root"));
    let leaf = namesake.server(&["app"]);
    let verdict = verdict(&auth(|_| {}), &bundle(&[&ca], &[]), &leaf);
    assert_eq!(verdict, refusal(CertificateError::UnknownIssuer));
}

fn holder(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
    let mut params = params(&["app.example"]);
    change(&mut params);
    ca.leaf(&params)
}

#[test]
fn only_those_are_let_in_who_fit_a_rule() {
    let ca = Ca::new("root");
    let uri = SanType::URI("spiffe://prod/ns/db/app".try_into().unwrap());
    let leaf = holder(&ca, |params| params.subject_alt_names.push(uri));
    let digest = data_encoding::HEXLOWER.encode(&certificate::digest(leaf.pair().leaf()));
    let parsed = leaf.pair();
    let parsed = certificate::parse(parsed.leaf()).unwrap();
    let pin = data_encoding::BASE64.encode(&certificate::digest(parsed.public_key().raw));
    let bundle = bundle(&[&ca], &[]);
    let verdict = |rules: &[&str]| {
        let auth = auth(|it| it.allow = rules.iter().map(|it| it.parse().unwrap()).collect());
        verdict(&auth, &bundle, &leaf)
    };
    for rule in [
        "dns:app.example",
        "dns:*.example",
        "uri:spiffe://prod/ns/db/app",
        "uri:spiffe://prod/ns/*",
        "cn:app.example",
        &format!("sha256:{digest}"),
        &format!("spki:{pin}"),
    ] {
        assert_eq!(verdict(&[rule]), Ok(()), "{rule}");
        assert_eq!(verdict(&["cn:other", rule]), Ok(()), "{rule}");
    }
    for rule in [
        "dns:other.example",
        "uri:spiffe://prod/ns/web/*",
        "cn:other",
        &format!("spki:{digest}"),
    ] {
        let refused = refusal(CertificateError::ApplicationVerificationFailure);
        assert_eq!(verdict(&[rule]), refused, "{rule}");
    }
    assert_eq!(verdict(&[]), Ok(()));
}

#[test]
fn a_rule_is_no_way_past_the_authorities() {
    let (ca, stranger) = (Ca::new("root"), Ca::new("stranger"));
    let policy = auth(|it| it.allow = vec!["cn:app.example".parse().unwrap()]);
    let leaf = holder(&stranger, |_| {});
    assert_eq!(
        verdict(&policy, &bundle(&[&ca], &[]), &leaf),
        refusal(CertificateError::UnknownIssuer)
    );
}

#[test]
fn the_alert_says_why() {
    let alert = |error: CertificateError| AlertDescription::from(error);
    assert_eq!(
        alert(CertificateError::ApplicationVerificationFailure),
        AlertDescription::AccessDenied
    );
    assert_eq!(
        alert(CertificateError::Revoked),
        AlertDescription::CertificateRevoked
    );
    assert_eq!(
        alert(CertificateError::UnknownIssuer),
        AlertDescription::UnknownCA
    );
    let unknown = CertificateError::Other(OtherError(Arc::new(StatusUnknown::NoList)));
    assert_eq!(alert(unknown), AlertDescription::CertificateUnknown);
}

#[test]
fn a_verdict_holds_until_the_first_thing_it_stands_on_ends() {
    let ca = Ca::new("root");
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    let leaf = holder(&ca, |params| params.not_after = year(2080));
    let lists = bundle(&[&ca], &[&ca.revoke(&ca.server(&["x"]), 2070)]);
    let end = |auth: &ClientAuth| {
        let verifier = ClientVerifier::new(auth, &lists).unwrap();
        verifier.good_until(&leaf.pair().certificates()[0], &[])
    };
    let at = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).unwrap();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    };
    let of_leaf = at("2080-01-01T00:00:00Z".parse().unwrap());
    let of_list = at("2070-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(end(&auth(|_| {})), of_leaf);
    assert_eq!(end(&auth(|it| it.expired_crl = OnUnknown::Refuse)), of_list);
}
