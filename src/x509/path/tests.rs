//! Chains with one fault each.

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints,
};

use super::*;
use crate::tls::{self, testing::params};

const NOW: &str = "2026-06-01T00:00:00Z";

/// An authority that may issue the next certificate.
struct Link {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn root() -> Link {
    let (params, key) = (authority("root"), KeyPair::generate().unwrap());
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Link {
        der,
        issuer: Issuer::new(params, key),
    }
}

fn below(above: &Link, params: CertificateParams) -> Link {
    let key = KeyPair::generate().unwrap();
    let der = params.signed_by(&key, &above.issuer).unwrap();
    Link {
        der: der.der().to_vec(),
        issuer: Issuer::new(params, key),
    }
}

fn leaf() -> CertificateParams {
    let mut leaf = params(&["db.example.com", "10.0.0.1"]);
    leaf.not_before = rcgen::date_time_ymd(2026, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(2027, 1, 1);
    leaf
}

fn faults(chain: &[&Link]) -> Vec<(usize, Fault)> {
    let chain: Vec<_> = chain
        .iter()
        .map(|it| certificate::parse(&it.der).unwrap())
        .collect();
    let algorithms = tls::provider().signature_verification_algorithms;
    let found = judge(&chain, Purpose::Server, NOW.parse().unwrap(), &algorithms);
    found.into_iter().map(|it| (it.place, it.fault)).collect()
}

/// The faults of a leaf and its intermediate, which `change` made odd.
fn odd(change: impl FnOnce(&mut CertificateParams)) -> Vec<(usize, Fault)> {
    let mut params = authority("intermediate");
    change(&mut params);
    let intermediate = below(&root(), params);
    faults(&[&below(&intermediate, leaf()), &intermediate])
}

fn at(text: &str) -> Moment {
    text.parse().unwrap()
}

#[test]
fn a_good_chain_has_no_fault_with_its_root_and_without() {
    let root = root();
    let intermediate = below(&root, authority("intermediate"));
    let leaf = below(&intermediate, leaf());
    assert_eq!(faults(&[&leaf, &intermediate]), []);
    assert_eq!(faults(&[&leaf, &intermediate, &root]), []);
}

#[test]
fn dates_are_judged_for_every_certificate() {
    let found = odd(|it| it.not_after = rcgen::date_time_ymd(2026, 5, 1));
    let until = at("2026-05-01T00:00:00Z");
    assert_eq!(found, [(2, Fault::Expired { until })]);
    let found = odd(|it| it.not_after = rcgen::date_time_ymd(2026, 7, 1));
    let (until, leaf) = (at("2026-07-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
    assert_eq!(found, [(2, Fault::EndsBeforeLeaf { until, leaf })]);
    let found = odd(|it| it.not_before = rcgen::date_time_ymd(2026, 7, 1));
    let from = at("2026-07-01T00:00:00Z");
    assert_eq!(found, [(2, Fault::NotYet { from })]);
}

#[test]
fn an_issuer_must_be_an_authority_for_this() {
    let found = odd(|it| it.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(found, [(2, Fault::NoAuthority)]);
    let found = odd(|it| it.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_eq!(found, [(2, Fault::NoCertSign)]);
    let found = odd(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let lacks = "serverAuth";
    assert_eq!(found, [(2, Fault::Purpose { lacks })]);
    let first = {
        let mut params = authority("first");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        below(&root(), params)
    };
    let second = below(&first, authority("second"));
    let found = faults(&[&below(&second, leaf()), &second, &first]);
    assert_eq!(found, [(3, Fault::TooFar)]);
}

#[test]
fn names_that_an_issuer_must_not_vouch_for_are_told() {
    let permitted = |subtrees: Vec<GeneralSubtree>| {
        odd(|it| {
            it.name_constraints = Some(NameConstraints {
                permitted_subtrees: subtrees,
                excluded_subtrees: vec![],
            });
        })
    };
    let dns = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let network = GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]));
    assert_eq!(permitted(vec![dns("example.com"), network]), []);
    let name = "db.example.com".to_owned();
    assert_eq!(
        permitted(vec![dns("example.org")]),
        [(2, Fault::Name { name })]
    );
    let found = odd(|it| {
        it.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![],
            excluded_subtrees: vec![dns("example.com")],
        });
    });
    let name = "db.example.com".to_owned();
    assert_eq!(found, [(2, Fault::Name { name })]);
}

#[test]
fn a_namesake_of_the_issuer_is_found_by_the_signature() {
    let root = root();
    let (real, namesake) = (authority("intermediate"), authority("intermediate"));
    let leaf = below(&below(&root, real), leaf());
    let found = faults(&[&leaf, &below(&root, namesake)]);
    assert_eq!(found, [(1, Fault::Signature { by: 2 })]);
}

#[test]
fn a_gap_and_what_leads_nowhere_are_told() {
    let root = root();
    let first = below(&root, authority("first"));
    let second = below(&first, authority("second"));
    let leaf = below(&second, leaf());
    let issuer = "CN=second".to_owned();
    let found = faults(&[&leaf, &first]);
    assert_eq!(found, [(2, Fault::Stray), (1, Fault::Missing { issuer })]);
}

#[test]
fn a_cross_signature_leads_elsewhere_and_is_no_stray() {
    let (root, other) = (root(), root());
    let params = authority("intermediate");
    let intermediate = below(&root, params.clone());
    let crossed = params.signed_by(intermediate.issuer.key(), &other.issuer);
    let crossed = Link {
        der: crossed.unwrap().der().to_vec(),
        issuer: Issuer::new(authority("unused"), KeyPair::generate().unwrap()),
    };
    let leaf = below(&intermediate, leaf());
    assert_eq!(faults(&[&leaf, &intermediate, &crossed]), []);
}

#[test]
fn what_clients_follow_ends_before_the_root() {
    let root = root();
    let intermediate = below(&root, authority("intermediate"));
    let leaf = below(&intermediate, leaf());
    let chain = [&leaf, &intermediate, &root].map(|it| certificate::parse(&it.der).unwrap());
    assert_eq!(followed(&chain).len(), 2);
    assert_eq!(followed(&chain[2..]).len(), 1);
}
