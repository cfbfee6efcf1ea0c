use rcgen::{CertificateParams, IsCa};
use rustls::{
    CertificateError, ClientConnection, Error, ProtocolVersion, RootCertStore, ServerConnection,
};

use super::*;
use crate::{
    config::{Backends, ClientAuth, OnUnknown, TlsMode},
    facts::FailureReason,
    tls::{
        material::{Bundle, Identity},
        prove::complete,
        stream::{Space, TlsError, TlsStream},
        testing::{Ca, Leaf, identity, listener, params, self_signed},
    },
};

/// What clients meet, by one that knows these secrets for tickets.
fn policy(
    listener: &Listener,
    material: &Material,
    secrets: &TicketSecrets,
) -> Result<ClientPolicy, PolicyError> {
    let resolver = resolver(
        listener,
        &mut Keyring::new(&material.identities, &Keyring::default()),
    )?;
    super::server_config(listener, material, &resolver, secrets)
}

/// How handshakes with clients are made, by one that knows no secrets for tickets.
fn server_config(
    listener: &Listener,
    material: &Material,
) -> Result<Arc<ServerConfig>, PolicyError> {
    policy(listener, material, &TicketSecrets::default()).map(|it| it.config)
}

fn material(identities: Vec<Identity>, listener: ListenerMaterial) -> Material {
    Material {
        identities: identities.into_iter().map(Arc::new).collect(),
        listeners: vec![listener],
        system_roots: vec![],
    }
}

fn trust() -> ListenerMaterial {
    ListenerMaterial {
        name: "orders".to_owned(),
        clients: None,
        backend: None,
        backend_identity: None,
    }
}

/// A client that trusts one authority and may show a certificate.
fn client(ca: &Ca, shown: Option<&Leaf>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().to_certificate()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match shown {
        None => builder.with_no_client_auth(),
        Some(leaf) => {
            let pair = leaf.pair();
            let key = pair.key.to_rustls().unwrap();
            builder
                .with_client_auth_cert(pair.certificates(), key)
                .unwrap()
        }
    }
}

fn meet(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    complete(&mut client, &mut server)?;
    Ok((client, server))
}

fn leaf_seen(connection: &ClientConnection) -> Vec<u8> {
    connection.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_client_is_shown_the_identity_it_asks_for() {
    let ca = Ca::new("root");
    let (one, two) = (ca.server(&["one.example"]), ca.server(&["*.two.example"]));
    let material = material(vec![identity("b", &two), identity("a", &one)], trust());
    let server = server_config(&listener(&["a", "b"]), &material).unwrap();
    let shown = |name: &str| {
        let mut config = client(&ca, None);
        let verifier = BackendVerifier::new(Check::Nothing, vec![]).unwrap();
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(verifier));
        leaf_seen(&meet(Arc::new(config), server.clone(), name).unwrap().0)
    };
    assert_eq!(shown("x.two.example"), two.pair().leaf());
    assert_eq!(shown("one.example"), one.pair().leaf());
    assert_eq!(shown("unknown.example"), one.pair().leaf());
    assert_eq!(shown("10.0.0.1"), one.pair().leaf());
}

#[test]
fn nothing_is_resumed() {
    let ca = Ca::new("root");
    let material = material(vec![identity("a", &ca.server(&["db"]))], trust());
    let server = server_config(&listener(&["a"]), &material).unwrap();
    for version in [&TLS13, &TLS12] {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let verifier = BackendVerifier::new(Check::Nothing, vec![]).unwrap();
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(verifier));
        let config = Arc::new(config);
        for _ in 0..3 {
            let (client, _) = meet(config.clone(), server.clone(), "db").unwrap();
            assert_ne!(
                client.handshake_kind(),
                Some(rustls::HandshakeKind::Resumed)
            );
        }
    }
}

/// A listener that requires certificates and gives tickets, and a client that keeps them.
struct Returning {
    listener: Listener,
    material: Material,
    secrets: TicketSecrets,
    client: Arc<ClientConfig>,
}

impl Returning {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let ca = Ca::new("root");
        let mut listener = listener(&["a"]);
        listener.tls.resumption = Resumption::Tickets;
        listener.client_auth.mode = ClientAuthMode::Required;
        let trust = ListenerMaterial {
            clients: Some(Bundle {
                roots: vec![ca.der()],
                crls: vec![],
            }),
            ..trust()
        };
        let mut secrets = TicketSecrets::default();
        secrets.rotate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().to_certificate()).unwrap();
        let pair = ca.server(&["app"]).pair();
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(pair.certificates(), pair.key.to_rustls().unwrap())
            .unwrap();
        Self {
            material: material(vec![identity("a", &ca.server(&["db"]))], trust),
            client: Arc::new(client),
            listener,
            secrets,
        }
    }

    fn clients(&mut self) -> &mut Bundle {
        self.material.listeners[0].clients.as_mut().unwrap()
    }

    fn policy(&self) -> ClientPolicy {
        policy(&self.listener, &self.material, &self.secrets).unwrap()
    }

    /// Lets the client connect; returns whether it went on with its session.
    fn connect(&self, policy: &ClientPolicy) -> Result<bool, TlsError> {
        let name = ServerName::try_from("db").unwrap();
        let mut client = ClientConnection::new(self.client.clone(), name)?;
        let mut server = TlsStream::server(policy)?;
        let mut out = Space::default();
        while client.wants_write() || client.is_handshaking() {
            let mut flight = server.held().to_vec();
            while client.wants_write() {
                client.write_tls(&mut flight).unwrap();
            }
            out.clear();
            server.receive(&mut flight, &mut Vec::new(), &mut out)?;
            client.read_tls(&mut out.filled()).unwrap();
            client.process_new_packets()?;
        }
        Ok(client.handshake_kind() == Some(rustls::HandshakeKind::Resumed))
    }
}

#[test]
fn a_session_is_gone_on_with_until_its_secret_is_forgotten() {
    for version in [&TLS13, &TLS12] {
        let mut it = Returning::new(version);
        let policy = it.policy();
        assert!(!it.connect(&policy).unwrap());
        assert!(it.connect(&policy).unwrap());
        assert!(it.connect(&it.policy()).unwrap());
        it.secrets.rotate().unwrap();
        policy.renew_tickets(&it.secrets);
        assert!(it.connect(&policy).unwrap());
        for _ in 0..2 {
            it.secrets.rotate().unwrap();
        }
        policy.renew_tickets(&it.secrets);
        assert!(!it.connect(&policy).unwrap());
    }
}

#[test]
fn a_session_is_bound_to_all_that_its_client_is_believed_for() {
    let other = Ca::new("other");
    let changes: [&dyn Fn(&mut Returning); 7] = [
        &|it| it.listener.name.push('x'),
        &|it| it.listener.tls.mode = TlsMode::Preferred,
        &|it| it.listener.client_auth.mode = ClientAuthMode::Optional,
        &|it| it.listener.client_auth.allow = vec!["cn:app".parse().unwrap()],
        &|it| it.listener.client_auth.expired_crl = OnUnknown::Refuse,
        &|it| it.clients().roots.push(other.der()),
        &|it| Arc::make_mut(&mut it.material.identities[0]).digest[0] ^= 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut it = Returning::new(&TLS13);
        assert!(!it.connect(&it.policy()).unwrap());
        change(&mut it);
        it.material.listeners[0].name = it.listener.name.clone();
        assert!(!it.connect(&it.policy()).unwrap(), "{index}");
        assert!(it.connect(&it.policy()).unwrap(), "{index}");
    }
}

#[test]
fn a_resumed_session_is_checked_even_if_its_ticket_opens() {
    for version in [&TLS13, &TLS12] {
        let mut it = Returning::new(version);
        let mut policy = it.policy();
        assert!(!it.connect(&policy).unwrap());
        it.listener.client_auth.allow = vec!["cn:other".parse().unwrap()];
        policy.verifier = it.policy().verifier;
        let error = it.connect(&policy).unwrap_err();
        assert_eq!(error.reason(), FailureReason::NotAllowed);
    }
}

#[test]
fn the_oldest_version_is_kept_to() {
    let ca = Ca::new("root");
    let material = material(vec![identity("a", &ca.server(&["db"]))], trust());
    let mut listener = listener(&["a"]);
    let met = |listener: &Listener| {
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().to_certificate()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = server_config(listener, &material).unwrap();
        meet(Arc::new(config), server, "db").map(|(client, _)| client.protocol_version())
    };
    assert_eq!(met(&listener).unwrap(), Some(ProtocolVersion::TLSv1_2));
    listener.tls.min_version = TlsVersion::V1_3;
    assert!(met(&listener).is_err());
}

#[test]
fn postgres_clients_may_name_their_protocol_or_none() {
    let ca = Ca::new("root");
    let material = material(vec![identity("a", &ca.server(&["db"]))], trust());
    let mut listener = listener(&["a"]);
    listener.protocol = Protocol::Postgres;
    let server = server_config(&listener, &material).unwrap();
    let met = |alpn: &[&[u8]]| {
        let mut config = client(&ca, None);
        config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
        meet(Arc::new(config), server.clone(), "db")
            .map(|(client, _)| client.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(met(&[]).unwrap(), None);
    assert_eq!(
        met(&[b"postgresql"]).unwrap().as_deref(),
        Some(&b"postgresql"[..])
    );
    assert!(met(&[b"h2"]).is_err());
}

#[test]
fn clients_are_asked_for_as_much_as_is_configured() {
    let (ca, stranger) = (Ca::new("root"), Ca::new("stranger"));
    let shown = [None, Some(ca.server(&["c"])), Some(stranger.server(&["c"]))];
    let table = [
        (ClientAuthMode::Off, [true, true, true]),
        (ClientAuthMode::Optional, [true, true, false]),
        (ClientAuthMode::Required, [false, true, false]),
    ];
    for (mode, expected) in table {
        let mut listener = listener(&["a"]);
        listener.client_auth.mode = mode;
        let clients = Bundle {
            roots: vec![ca.der()],
            crls: vec![],
        };
        let trust = ListenerMaterial {
            clients: Some(clients),
            ..trust()
        };
        let material = material(vec![identity("a", &ca.server(&["db"]))], trust);
        let server = server_config(&listener, &material).unwrap();
        let met = shown.each_ref().map(|leaf| {
            let config = client(&ca, leaf.as_ref());
            meet(Arc::new(config), server.clone(), "db").is_ok()
        });
        assert_eq!(met, expected, "{mode:?}");
    }
}

fn roots(roots: &[Der]) -> BackendTrust {
    BackendTrust::Roots(Bundle {
        roots: roots.to_vec(),
        crls: vec![],
    })
}

/// Lets our side meet a backend that shows `leaf`, and returns how that went.
fn dial(mode: BackendTlsMode, trusted: &[Der], leaf: &Leaf, name: &str) -> Result<(), Error> {
    let mut listener = listener(&[]);
    listener.backend_tls.mode = mode;
    listener.backend_tls.server_name = Some(name.to_owned());
    let trust = ListenerMaterial {
        backend: Some(roots(trusted)),
        ..trust()
    };
    let material = material(vec![], trust);
    let policy = client_config(&listener, &material).unwrap().unwrap();
    let (config, name) = policy.at(0).unwrap();
    let mut backend = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(
            leaf.pair().certified().unwrap(),
        )));
    backend.alpn_protocols = vec![];
    let mut client = ClientConnection::new(config, name)?;
    let mut server = ServerConnection::new(Arc::new(backend))?;
    complete(&mut client, &mut server)
}

#[test]
fn a_backend_is_checked_as_far_as_its_mode_says() {
    use BackendTlsMode::{Require, VerifyCa, VerifyFull};
    let (ca, stranger) = (Ca::new("root"), Ca::new("stranger"));
    let good = ca.server(&["db.example.com"]);
    let foreign = stranger.server(&["db.example.com"]);
    let nameless = ca.leaf(&CertificateParams::default());
    let mut late = params(&["db.example.com"]);
    late.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let late = ca.leaf(&late);
    let (name, wrong) = ("db.example.com", "other.example.com");
    let table = [
        (&good, name, [true, true, true]),
        (&good, wrong, [true, true, false]),
        (&good, "10.0.0.1", [true, true, false]),
        (&foreign, name, [true, false, false]),
        (&nameless, name, [true, true, false]),
        (&late, name, [true, false, false]),
    ];
    for (index, (leaf, name, expected)) in table.into_iter().enumerate() {
        let met =
            [Require, VerifyCa, VerifyFull].map(|mode| dial(mode, &[ca.der()], leaf, name).is_ok());
        assert_eq!(met, expected, "{index}");
    }
}

#[test]
fn a_certificate_that_is_its_own_authority_is_trusted_while_it_is_valid() {
    use BackendTlsMode::{VerifyCa, VerifyFull};
    for is_ca in [IsCa::NoCa, IsCa::Ca(rcgen::BasicConstraints::Unconstrained)] {
        let mut params = params(&["db"]);
        params.is_ca = is_ca;
        let own = self_signed(&params);
        let trusted = own.pair().chain;
        dial(VerifyCa, &trusted, &own, "x").unwrap();
        dial(VerifyFull, &trusted, &own, "db").unwrap();
        dial(VerifyFull, &trusted, &own, "x").unwrap_err();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let late = self_signed(&params);
        let error = dial(VerifyCa, &late.pair().chain, &late, "x").unwrap_err();
        assert_eq!(error, CertificateError::Expired.into());
    }
}

#[test]
fn our_own_certificate_is_shown_to_the_backend() {
    let ca = Ca::new("root");
    let mine = ca.server(&["proxy"]);
    let mut listener = listener(&[]);
    listener.backend_tls.mode = BackendTlsMode::Require;
    let trust = ListenerMaterial {
        backend_identity: Some(mine.pair()),
        ..trust()
    };
    let policy = client_config(&listener, &material(vec![], trust)).unwrap();
    let (config, name) = policy.unwrap().at(0).unwrap();
    let bundle = Bundle {
        roots: vec![ca.der()],
        crls: vec![],
    };
    let auth = ClientAuth {
        mode: ClientAuthMode::Required,
        ..ClientAuth::default()
    };
    let verifier = Arc::new(ClientVerifier::new(&auth, &bundle).unwrap());
    let shown = ca.server(&["db.example.com"]).pair().certified().unwrap();
    let backend = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut server = ServerConnection::new(Arc::new(backend)).unwrap();
    complete(&mut client, &mut server).unwrap();
    assert_eq!(&*server.peer_certificates().unwrap()[0], mine.pair().leaf());
}

#[test]
fn each_backend_goes_by_its_own_name() {
    let mut listener = listener(&[]);
    listener.backend_tls.mode = BackendTlsMode::VerifyFull;
    let addresses = ["one.example:1", "192.0.2.2:2"].map(|it| it.parse::<Address>().unwrap());
    listener.backends = Backends::new(addresses).unwrap();
    let ca = Ca::new("root");
    let trust = ListenerMaterial {
        backend: Some(roots(&[ca.der()])),
        ..trust()
    };
    let material = material(vec![], trust);
    let names = |listener: &Listener| {
        let policy = client_config(listener, &material).unwrap().unwrap();
        let names: Vec<_> = (0..)
            .map_while(|position| policy.at(position))
            .map(|(_, name)| name.to_str().into_owned())
            .collect();
        names
    };
    assert_eq!(names(&listener), ["one.example", "192.0.2.2"]);
    listener.backend_tls.server_name = Some("db".to_owned());
    assert_eq!(names(&listener), ["db", "db"]);
}

#[test]
fn a_name_is_needed_only_where_it_is_checked() {
    let mut listener = listener(&[]);
    listener.backends = Address::Unix("/run/db.sock".into()).into();
    let ca = Ca::new("root");
    let trust = ListenerMaterial {
        backend: Some(roots(&[ca.der()])),
        ..trust()
    };
    let material = material(vec![], trust);
    assert!(client_config(&listener, &material).unwrap().is_none());
    listener.backend_tls.mode = BackendTlsMode::VerifyCa;
    let policy = client_config(&listener, &material).unwrap().unwrap();
    let (config, _) = policy.at(0).unwrap();
    assert!(!config.enable_sni);
    listener.backend_tls.mode = BackendTlsMode::VerifyFull;
    let error = client_config(&listener, &material).unwrap_err().to_string();
    assert!(error.contains("set backend_tls.server_name"), "{error}");
}

#[test]
fn material_of_another_configuration_is_refused() {
    let material = material(vec![], trust());
    let error = server_config(&listener(&["a"]), &material).unwrap_err();
    assert_eq!(
        error.to_string(),
        "listener \"orders\": the TLS material holds no identity \"a\""
    );
}
