//! What a good file means.

use std::{path::Path, time::Duration};

use super::GOOD;
use crate::{
    config::{
        Address, BackendTls, BackendTlsMode, ChannelBinding, ClientAuth, ClientAuthMode, Config,
        IdentityDir, IdentityFiles, Limits, Listener, Log, LogFormat, LogLevel, OnUnknown,
        PairEncoding, PassphraseSource, ProxyProtocol, Resumption, SourceText, TlsMode, TlsPolicy,
        TlsVersion, UnknownName, fixture::parse,
    },
    protocol::Protocol,
};

#[test]
fn defaults_are_those_of_the_manual() {
    let config = parse(GOOD).unwrap();
    assert_eq!(
        config,
        Config {
            source: Some("/etc/proxyd/proxyd.toml".into()),
            text: SourceText::default(),
            workers: 4,
            user: None,
            state_dir: "/home/op/.local/state/proxyd".into(),
            control_socket: "/home/op/.local/state/proxyd/proxyd.sock".into(),
            control_group: None,
            pid_file: "/home/op/.local/state/proxyd/proxyd.pid".into(),
            drain_timeout: Duration::from_secs(30),
            heartbeat_timeout: Duration::from_secs(5),
            keep_after: Some(Duration::from_millis(100)),
            orphan_timeout: Duration::from_secs(30),
            watch: true,
            watch_interval: Duration::from_secs(5),
            watch_grace: Duration::from_secs(10),
            log: Log {
                level: LogLevel::Info,
                format: LogFormat::Text,
                file: None,
                sessions: true,
            },
            metrics: None,
            on_exit_failure: None,
            identities: vec![IdentityFiles {
                created: true,
                ..IdentityFiles::pem(
                    "default",
                    "/home/op/.local/state/proxyd/tls/server.pem".into(),
                    "/home/op/.local/state/proxyd/tls/server-key.pem".into(),
                )
            }],
            identity_dirs: vec![],
            listeners: vec![Listener {
                name: "default".to_owned(),
                bind: "[::]:1".parse().unwrap(),
                freebind: false,
                protocol: Protocol::Tcp,
                backends: "db:2".parse::<Address>().unwrap().into(),
                identities: vec!["default".to_owned()],
                server_names: vec![],
                channel_binding: ChannelBinding::Prefer,
                allow_cleartext_password: false,
                tls: TlsPolicy {
                    mode: TlsMode::Required,
                    min_version: TlsVersion::V1_2,
                    unknown_name: UnknownName::Fallback,
                    resumption: Resumption::Off,
                },
                client_auth: ClientAuth::default(),
                backend_tls: BackendTls::default(),
                proxy_protocol: ProxyProtocol::default(),
                limits: Limits {
                    max_connections: 10_000,
                    per_client: 0,
                    handshake_timeout: Duration::from_secs(10),
                    connect_timeout: Duration::from_secs(5),
                    idle_timeout: Duration::ZERO,
                    dead_peer_timeout: Duration::from_secs(120),
                },
            }],
        }
    );
}

/// Every key there is, each with a value that is not its default.
pub(super) const EVERY_KEY: &str = r#"
workers = 2
user = "proxyd"
state_dir = "/var/lib/proxyd"
control_socket = "/run/proxyd/proxyd.sock"
control_group = "proxyadmin"
pid_file = "/run/proxyd/proxyd.pid"
drain_timeout = "30s"
heartbeat_timeout = "7s"
keep_after = "2s"
orphan_timeout = "90s"
watch = true
watch_interval = "1s"
watch_grace = "0s"
log = { level = "info", format = "text", file = "/var/log/proxyd.log" }
metrics = { bind = "127.0.0.1:9104" }
on_exit_failure = { command = ["/usr/local/sbin/page", "--now"], timeout = "10s" }

[[identity]]
name = "default"
cert = "/etc/proxyd/tls/server.pem"
key  = "tls/server.key"
passphrase_file = "passphrase"

[[identity]]
name = "other"
pkcs12 = "other.p12"
passphrase_command = ["/usr/bin/pass", "other"]

[[listener]]
name = "orders"
bind = "0.0.0.0:3307"
protocol = "mysql"
backend = "127.0.0.1:3306"
identities = ["default"]
tls = { mode = "required", min_version = "1.2", resumption = "tickets" }
client_auth = { mode = "required", ca = "clients.pem", crl = "./clients.crl", expired_crl = "refuse", unknown_revocation = "refuse", unscoped_crl = "accept", allow = ["dns:*.app.example", "cn:backup"] }
backend_tls = { mode = "verify-full", ca = "db-ca.pem", cert = "c.pem", key = "c.key", server_name = "db1" }
proxy_protocol = { accept = true, from = ["10.0.0.0/8", "::1"], send = "off" }
limits = { max_connections = 10000, per_client = 50, handshake_timeout = "10s", connect_timeout = "5s", idle_timeout = "0s", dead_peer_timeout = "1m" }
"#;

#[test]
fn every_key_reaches_the_configuration() {
    let config = parse(EVERY_KEY).unwrap();
    assert_eq!(config.workers, 2);
    assert_eq!(config.user.as_deref(), Some("proxyd"));
    assert_eq!(config.control_group.as_deref(), Some("proxyadmin"));
    assert_eq!(config.heartbeat_timeout, Duration::from_secs(7));
    assert_eq!(config.keep_after, Some(Duration::from_secs(2)));
    assert_eq!(config.orphan_timeout, Duration::from_secs(90));
    assert_eq!(config.watch_interval, Duration::from_secs(1));
    assert_eq!(config.watch_grace, Duration::ZERO);
    assert_eq!(
        config.log.file.as_deref(),
        Some(Path::new("/var/log/proxyd.log"))
    );
    assert_eq!(config.metrics, Some(([127, 0, 0, 1], 9104).into()));
    let hook = config.on_exit_failure.unwrap();
    assert_eq!(hook.command, ["/usr/local/sbin/page", "--now"]);
    let [pem, pkcs12] = &config.identities[..] else {
        panic!()
    };
    assert!(!pem.created && !pkcs12.created);
    assert_eq!(pem.form.encoding, PairEncoding::Pem);
    let file = PassphraseSource::File("/etc/proxyd/passphrase".into());
    assert_eq!(pem.form.passphrase, Some(file));
    assert_eq!(pkcs12.form.encoding, PairEncoding::Pkcs12);
    let command = ["/usr/bin/pass", "other"].map(str::to_owned);
    let command = PassphraseSource::Command(command.to_vec());
    assert_eq!(pkcs12.form.passphrase, Some(command));
    let [listener] = &config.listeners[..] else {
        panic!()
    };
    assert_eq!(listener.name, "orders");
    assert_eq!(listener.protocol, Protocol::Mysql);
    assert_eq!(listener.tls.resumption, Resumption::Tickets);
    assert_eq!(listener.client_auth.mode, ClientAuthMode::Required);
    assert_eq!(listener.client_auth.expired_crl, OnUnknown::Refuse);
    assert_eq!(listener.client_auth.unknown_revocation, OnUnknown::Refuse);
    assert_eq!(listener.client_auth.unscoped_crl, OnUnknown::Accept);
    let rules = listener.client_auth.allow.iter();
    let rules: Vec<_> = rules.map(ToString::to_string).collect();
    assert_eq!(rules, ["dns:*.app.example", "cn:backup"]);
    assert_eq!(listener.backend_tls.mode, BackendTlsMode::VerifyFull);
    assert_eq!(listener.backend_tls.server_name.as_deref(), Some("db1"));
    assert_eq!(listener.limits.dead_peer_timeout, Duration::from_secs(60));
    assert_eq!(listener.limits.per_client, 50);
}

#[test]
fn a_dead_peer_may_be_left_to_the_kernel() {
    let off = EVERY_KEY.replace("dead_peer_timeout = \"1m\"", "dead_peer_timeout = \"0s\"");
    let config = parse(&off).unwrap();
    assert_eq!(config.listeners[0].limits.dead_peer_timeout, Duration::ZERO);
}

#[test]
fn workers_may_be_told_not_to_serve_without_a_supervisor() {
    let config = parse(&format!("orphan_timeout = \"0s\"\n{GOOD}")).unwrap();
    assert_eq!(config.orphan_timeout, Duration::ZERO);
}

#[test]
fn keeping_sessions_can_be_turned_off() {
    let config = parse(&format!("keep_after = \"off\"\n{GOOD}")).unwrap();
    assert_eq!(config.keep_after, None);
}

#[test]
fn relative_paths_are_beside_the_file() {
    let config = parse(EVERY_KEY).unwrap();
    let auth = &config.listeners[0].client_auth;
    assert_eq!(
        config.identities[0].key,
        Path::new("/etc/proxyd/tls/server.key")
    );
    assert_eq!(
        auth.ca.as_deref(),
        Some(Path::new("/etc/proxyd/clients.pem"))
    );
    assert_eq!(auth.crl, [Path::new("/etc/proxyd/clients.crl")]);
}

#[test]
fn revocation_lists_may_be_in_several_files() {
    let text = format!(
        "{GOOD}client_auth = {{ mode = \"optional\", ca = \"c\", crl = [\"a.crl\", \"/b.crl\"] }}\n"
    );
    let config = parse(&text).unwrap();
    let auth = &config.listeners[0].client_auth;
    assert_eq!(
        auth.crl,
        [Path::new("/etc/proxyd/a.crl"), Path::new("/b.crl")]
    );
}

#[test]
fn one_file_may_hold_certificate_and_key() {
    let text = format!(
        "[[identity]]\ncert = \"a\"\n[[identity]]\npkcs12 = \"b\"\n{GOOD}\
         backend_tls = {{ mode = \"require\", cert = \"c\" }}"
    );
    let config = parse(&text).unwrap();
    for (identity, file) in config.identities.iter().zip(["a", "b"]) {
        assert_eq!(identity.cert, Path::new("/etc/proxyd").join(file));
        assert_eq!(identity.key, identity.cert);
    }
    let tls = &config.listeners[0].backend_tls;
    assert_eq!(tls.cert.as_deref(), Some(Path::new("/etc/proxyd/c")));
    assert_eq!(tls.key, tls.cert);
}

#[test]
fn an_unnamed_second_listener_is_numbered() {
    let config = parse(&GOOD.repeat(2).replace("[::]:1", "[::]:0")).unwrap();
    let names: Vec<&str> = config.listeners.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["default", "listener-2"]);
}

#[test]
fn a_listener_presents_all_identities_unless_told() {
    let two = "[[identity]]\ncert = \"a\"\nkey = \"b\"\n".repeat(2);
    let config = parse(&(two + GOOD)).unwrap();
    assert_eq!(config.listeners[0].identities, ["default", "identity-2"]);
}

#[test]
fn folders_of_identities_are_named_and_stand_beside_identities() {
    let text = "
        [[identity]]
        cert = \"c\"
        key = \"k\"
        [[identity_dir]]
        path = \"/etc/letsencrypt/live\"
        [[identity_dir]]
        name = \"fleet\"
        path = \"fleet.d\"
        [[listener]]
        bind = \"[::]:1\"
        backend = \"db:2\"
        [[listener]]
        bind = \"[::]:2\"
        backend = \"db:2\"
        identities = [\"fleet\", \"default\"]
        tls = { unknown_name = \"refuse\" }
    ";
    let config = parse(text).unwrap();
    let dirs = [
        ("live", "/etc/letsencrypt/live"),
        ("fleet", "/etc/proxyd/fleet.d"),
    ];
    let dirs = dirs.map(|(name, path)| IdentityDir {
        name: name.to_owned(),
        path: path.into(),
    });
    assert_eq!(config.identity_dirs, dirs);
    let listeners = &config.listeners;
    assert_eq!(listeners[0].identities, ["default", "live", "fleet"]);
    assert_eq!(listeners[1].identities, ["fleet", "default"]);
    assert_eq!(listeners[1].tls.unknown_name, UnknownName::Refuse);
}

#[test]
fn nothing_is_created_beside_a_folder_of_identities() {
    let text = format!("[[identity_dir]]\npath = \"live\"\n{GOOD}");
    let config = parse(&text).unwrap();
    assert!(config.identities.is_empty());
    assert_eq!(config.listeners[0].identities, ["live"]);
}

#[test]
fn passwords_in_clear_are_allowed_where_logins_are_looked_at() {
    let text = |protocol| {
        format!(
            "[[listener]]\nbind = \"127.0.0.1:3307\"\nbackend = \"db1:3306\"\n\
             protocol = \"{protocol}\"\nallow_cleartext_password = true\n"
        )
    };
    for protocol in ["mysql", "postgres"] {
        assert!(parse(&text(protocol)).unwrap().listeners[0].allow_cleartext_password);
    }
    let complaint = parse(&text("tcp")).unwrap_err().to_string();
    assert!(
        complaint.contains("logins are not looked at"),
        "{complaint}"
    );
}

#[test]
fn what_clients_do_about_channel_binding_is_for_postgresql_alone() {
    let text = |protocol, word| {
        format!(
            "[[listener]]\nbind = \"127.0.0.1:3307\"\nbackend = \"db1:3306\"\n\
             protocol = \"{protocol}\"\nchannel_binding = \"{word}\"\n"
        )
    };
    for (word, binding) in [
        ("prefer", ChannelBinding::Prefer),
        ("disable", ChannelBinding::Disable),
        ("require", ChannelBinding::Require),
    ] {
        let config = parse(&text("postgres", word)).unwrap();
        assert_eq!(config.listeners[0].channel_binding, binding);
    }
    for (protocol, word, why) in [
        ("mysql", "disable", "needs `protocol = \"postgres\"`"),
        ("tcp", "disable", "needs `protocol = \"postgres\"`"),
        ("postgres", "off", "known here: prefer, disable, require"),
    ] {
        let complaint = parse(&text(protocol, word)).unwrap_err().to_string();
        assert!(complaint.contains(why), "{complaint}");
    }
}
