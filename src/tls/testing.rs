//! A throw-away authority for this room's tests.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList,
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair as Key,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, SigningKey,
};
use zeroize::Zeroizing;

use super::material::{Der, Identity, KeyPair, PrivateKey};
use crate::{
    config::{
        Address, BackendTls, ChannelBinding, ClientAuth, Config, Limits, Listener, Log, LogFormat,
        LogLevel, ProxyProtocol, SourceText, TlsPolicy,
    },
    protocol::Protocol,
    x509::{certificate, pem},
};

/// How a list says that its signature is of this kind (RFC 5758 §3.2).
const ECDSA_WITH_SHA256: &[u8] = &[48, 10, 6, 8, 42, 134, 72, 206, 61, 4, 3, 2];

/// An authority.
pub(crate) struct Ca {
    name: String,
    pub(crate) issuer: Issuer<'static, Key>,
    pub(crate) pem: String,
    der: Vec<u8>,
}

/// A certificate from it and the key, in PEM and DER.
pub(crate) struct Leaf {
    pub(crate) cert: String,
    pub(crate) key: String,
    chain: Vec<Der>,
    key_der: Vec<u8>,
}

impl Leaf {
    pub(crate) fn pair(&self) -> KeyPair {
        KeyPair {
            chain: self.chain.clone(),
            key: PrivateKey::new(Zeroizing::new(self.key_der.clone())),
        }
    }
}

pub(crate) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|it| (*it).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, names.first().map_or("nobody", |it| it));
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The same, but its certificates have expired in 2020.
fn expired(name: &str) -> CertificateParams {
    let mut params = authority(name);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    params
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, authority(name))
    }

    /// Returns an authority whose own certificate has expired.
    pub(crate) fn expired(name: &str) -> Self {
        Self::with(name, expired(name))
    }

    fn with(name: &str, params: CertificateParams) -> Self {
        let key = Key::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self::of(&cert, name, params, key)
    }

    fn of(cert: &rcgen::Certificate, name: &str, params: CertificateParams, key: Key) -> Self {
        Self {
            name: name.to_owned(),
            pem: cert.pem(),
            der: cert.der().to_vec(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Returns an authority that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let params = authority(name);
        let key = Key::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Self::of(&cert, name, params, key)
    }

    /// Returns, in PEM, what another authority is when this one vouches for it.
    pub(crate) fn sign(&self, other: &Self) -> String {
        let params = authority(&other.name);
        params
            .signed_by(other.issuer.key(), &self.issuer)
            .unwrap()
            .pem()
    }

    /// The same, but that has expired.
    pub(crate) fn sign_expired(&self, other: &Self) -> String {
        let signed = expired(&other.name).signed_by(other.issuer.key(), &self.issuer);
        signed.unwrap().pem()
    }

    /// Returns its certificate as one that a list can name.
    pub(crate) fn as_leaf(&self) -> Leaf {
        Leaf {
            cert: self.pem.clone(),
            key: self.issuer.key().serialize_pem(),
            chain: vec![self.der()],
            key_der: self.issuer.key().serialize_der(),
        }
    }

    pub(crate) fn der(&self) -> Der {
        Der::from(self.der.clone())
    }

    pub(crate) fn server(&self, names: &[&str]) -> Leaf {
        self.leaf(&params(names))
    }

    pub(crate) fn leaf(&self, params: &CertificateParams) -> Leaf {
        self.leaf_with(params, &Key::generate().unwrap())
    }

    pub(crate) fn leaf_with(&self, params: &CertificateParams, key: &Key) -> Leaf {
        let cert = params.signed_by(key, &self.issuer).unwrap();
        leaf(&cert, key)
    }

    /// Returns a revocation list, in PEM, of a leaf.
    pub(crate) fn revoke(&self, revoked: &Leaf, next_update: i32) -> String {
        self.list(&[revoked], 1, next_update)
    }

    /// Returns a revocation list with this number, in PEM.
    pub(crate) fn list(&self, revoked: &[&Leaf], number: u64, next_update: i32) -> String {
        self.signed_list(revoked, number, next_update, None)
            .pem()
            .unwrap()
    }

    /// Returns a list that is only for certificates that name this distribution point, in PEM.
    pub(crate) fn list_at(&self, point: &str, revoked: &[&Leaf], next_update: i32) -> String {
        let point = CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec![point.to_owned()],
            },
            scope: None,
        };
        let list = self.signed_list(revoked, 1, next_update, Some(point));
        list.pem().unwrap()
    }

    /// Returns such a list without an authority key identifier.
    pub(crate) fn nameless_list(&self, revoked: &[&Leaf], number: u64, next_update: i32) -> String {
        // The identifier's object identifier becomes an unknown one (2.5.29.127).
        let known = [6, 3, 0x55, 0x1d, 35];
        self.altered_list(revoked, number, next_update, &known, |it| it[4] = 127)
    }

    /// Returns such a list in which the issuer's common name is a `PrintableString` instead of a
    /// `UTF8String`.
    pub(crate) fn printable_list(
        &self,
        revoked: &[&Leaf],
        number: u64,
        next_update: i32,
    ) -> String {
        let common_name = [6, 3, 0x55, 4, 3, 12];
        self.altered_list(revoked, number, next_update, &common_name, |it| {
            it[5] = 0x13;
        })
    }

    /// Returns a list in which the first of these bytes were altered before it was signed, in PEM.
    fn altered_list(
        &self,
        revoked: &[&Leaf],
        number: u64,
        next_update: i32,
        bytes: &[u8],
        alter: impl Fn(&mut [u8]),
    ) -> String {
        let named = self.signed_list(revoked, number, next_update, None);
        let (_, named) = x509_parser::parse_x509_crl(named.der()).unwrap();
        let mut said = named.tbs_cert_list.as_ref().to_vec();
        let at = said.windows(bytes.len()).position(|it| it == bytes);
        alter(&mut said[at.unwrap()..]);
        let signature = self.issuer.key().sign(&said).unwrap();
        let length = u8::try_from(signature.len() + 1).unwrap();
        let signature = [&[3, length, 0], &*signature].concat();
        let body = [&said, ECDSA_WITH_SHA256, &signature].concat();
        let der = [sequence(body.len()), body].concat();
        let text = data_encoding::BASE64.encode(&der);
        format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
    }

    fn signed_list(
        &self,
        revoked: &[&Leaf],
        number: u64,
        next_update: i32,
        point: Option<CrlIssuingDistributionPoint>,
    ) -> CertificateRevocationList {
        let start = rcgen::date_time_ymd(2020, 1, 1);
        let revoked = revoked.iter().map(|leaf| {
            let parsed = certificate::parse(leaf.chain[0].as_bytes()).unwrap();
            RevokedCertParams {
                serial_number: SerialNumber::from_slice(parsed.raw_serial()),
                revocation_time: start,
                reason_code: None,
                invalidity_date: None,
            }
        });
        CertificateRevocationListParams {
            this_update: start,
            next_update: rcgen::date_time_ymd(next_update, 1, 1),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: point,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .unwrap()
    }
}

/// Returns how a sequence of this length begins (X.690 §8.1.3).
fn sequence(length: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    match length {
        0..=127 => vec![0x30, low],
        128..=255 => vec![0x30, 0x81, low],
        _ => vec![0x30, 0x82, high, low],
    }
}

pub(crate) fn self_signed(params: &CertificateParams) -> Leaf {
    let key = Key::generate().unwrap();
    leaf(&params.self_signed(&key).unwrap(), &key)
}

fn leaf(cert: &rcgen::Certificate, key: &Key) -> Leaf {
    Leaf {
        cert: cert.pem(),
        key: key.serialize_pem(),
        chain: vec![Der::from(cert.der().to_vec())],
        key_der: key.serialize_der(),
    }
}

pub(crate) fn identity(name: &str, leaf: &Leaf) -> Identity {
    let pair = leaf.pair();
    let parsed = certificate::parse(pair.leaf()).unwrap();
    Identity {
        name: name.to_owned(),
        cert: String::new(),
        key: String::new(),
        digest: pair.digest(),
        facts: certificate::facts(&parsed).into(),
        host_names: certificate::host_names(&parsed),
        pair: leaf.pair(),
    }
}

/// Makes an identity with a certificate that no other has.
pub(crate) fn any_identity(name: &str) -> Arc<Identity> {
    Arc::new(identity(name, &Ca::new("root").server(&["db.example.com"])))
}

/// A listener that requires nothing of its clients.
pub(crate) fn listener(identities: &[&str]) -> Listener {
    Listener {
        name: "orders".to_owned(),
        bind: "127.0.0.1:0".parse().unwrap(),
        freebind: false,
        protocol: Protocol::Mysql,
        backends: "db.example.com:3306".parse::<Address>().unwrap().into(),
        identities: identities.iter().map(|it| (*it).to_owned()).collect(),
        server_names: vec![],
        channel_binding: ChannelBinding::default(),
        allow_cleartext_password: false,
        tls: TlsPolicy::default(),
        client_auth: ClientAuth::default(),
        backend_tls: BackendTls::default(),
        proxy_protocol: ProxyProtocol::default(),
        limits: Limits {
            max_connections: 1,
            per_client: 0,
            handshake_timeout: Duration::ZERO,
            connect_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            dead_peer_timeout: Duration::ZERO,
        },
    }
}

/// A configuration with these listeners and no identity yet.
pub(crate) fn config(listeners: Vec<Listener>) -> Config {
    Config {
        source: None,
        text: SourceText::default(),
        workers: 1,
        user: None,
        state_dir: PathBuf::new(),
        control_socket: PathBuf::new(),
        control_group: None,
        pid_file: PathBuf::new(),
        drain_timeout: Duration::ZERO,
        heartbeat_timeout: Duration::ZERO,
        keep_after: None,
        orphan_timeout: Duration::ZERO,
        watch: false,
        watch_interval: Duration::ZERO,
        watch_grace: Duration::ZERO,
        log: Log {
            level: LogLevel::Info,
            format: LogFormat::Text,
            file: None,
            sessions: true,
        },
        metrics: None,
        on_exit_failure: None,
        identities: vec![],
        identity_dirs: vec![],
        listeners,
    }
}

/// Returns the first block of a PEM text: a certificate or a revocation list.
pub(crate) fn der_of(pem: &str) -> Der {
    Der::from(pem::blocks(pem.as_bytes()).unwrap()[0].der.to_vec())
}
