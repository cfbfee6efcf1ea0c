//! Certificates that clients show.

use crate::support::{
    client::Client,
    configuration::Listener,
    daemon::TestDaemon,
    pki::{Ca, Leaf, replace},
};

/// A daemon, whom its clients trust, and who issues theirs.
struct Front {
    servers: Ca,
    clients: Ca,
    daemon: TestDaemon,
}

impl Front {
    /// Starts one in this mode; `crl` makes the revocation list that it begins with.
    fn new(mode: &str, crl: Option<&dyn Fn(&Ca) -> String>) -> Self {
        let (servers, clients) = (Ca::new("servers"), Ca::new("clients"));
        let builder = TestDaemon::builder().identity("default", &servers.leaf("localhost"));
        replace(&builder.folder().join("clients.crt"), clients.pem());
        let mut line = format!("mode = \"{mode}\", ca = \"clients.crt\"");
        if let Some(crl) = crl {
            replace(&builder.folder().join("clients.crl"), crl(&clients));
            line.push_str(", crl = \"clients.crl\"");
        }
        let backend = builder.backend().address();
        let listener = Listener::tcp("main", &backend).line(&format!("client_auth = {{ {line} }}"));
        let daemon = builder.listener(listener).start();
        Self {
            servers,
            clients,
            daemon,
        }
    }

    /// Whether a client with this certificate is let in, whatever TLS it speaks.
    #[track_caller]
    fn lets_in(&self, leaf: Option<&Leaf>) -> bool {
        let client = Client::new(&self.servers);
        let client = match leaf {
            Some(leaf) => client.present(leaf),
            None => client,
        };
        // In TLS 1.3 the client learns only afterwards that it was refused.
        let is_let_in = |client: &Client| {
            let session = client.connect(self.daemon.address());
            session.and_then(|mut it| it.echo("hello")).is_ok()
        };
        let (new, old) = (is_let_in(&client), is_let_in(&client.clone().tls12()));
        assert_eq!(new, old, "with TLS 1.3 and 1.2");
        new
    }
}

#[test]
fn no_certificate_is_needed_where_none_is_asked_for() {
    let servers = Ca::new("servers");
    let daemon = TestDaemon::builder()
        .identity("default", &servers.leaf("localhost"))
        .start();
    let leaf = Ca::new("anybody").leaf("client");
    for client in [Client::new(&servers), Client::new(&servers).present(&leaf)] {
        let mut session = client.connect(daemon.address()).unwrap();
        session.echo("hello").unwrap();
    }
}

#[test]
fn an_optional_certificate_is_checked_if_it_comes() {
    let front = Front::new("optional", None);
    assert!(front.lets_in(None));
    assert!(front.lets_in(Some(&front.clients.leaf("client"))));
    assert!(!front.lets_in(Some(&Ca::new("stranger").leaf("client"))));
}

#[test]
fn nobody_comes_without_a_certificate_where_it_is_required() {
    let front = Front::new("required", None);
    assert!(!front.lets_in(None));
    assert!(front.lets_in(Some(&front.clients.leaf("client"))));
    assert!(!front.lets_in(Some(&Ca::new("stranger").leaf("client"))));
}

#[test]
fn an_authority_of_the_same_name_is_not_the_same() {
    let front = Front::new("required", None);
    assert!(!front.lets_in(Some(&Ca::new("clients").leaf("client"))));
}

#[test]
fn who_is_refused_does_not_reach_the_backend() {
    let front = Front::new("required", None);
    assert!(!front.lets_in(None));
    assert_eq!(front.daemon.backend.accepted(), 0);
    front.daemon.await_status("both are counted", |status| {
        status["listeners"][0]["connections"]["failed_handshakes"] == 2
    });
}

#[test]
fn a_certificate_that_has_expired_or_is_not_good_yet_is_refused() {
    let front = Front::new("required", None);
    for (from, until) in [(-20, -10), (10, 20)] {
        let leaf = front.clients.request(&["client"]).valid(from, until);
        assert!(!front.lets_in(Some(&leaf.issue())));
    }
}

#[test]
fn a_certificate_for_servers_only_is_refused() {
    let front = Front::new("required", None);
    let leaf = front
        .clients
        .request(&["client"])
        .usages(&[rcgen::ExtendedKeyUsagePurpose::ServerAuth])
        .issue();
    assert!(!front.lets_in(Some(&leaf)));
}

#[test]
fn the_server_s_own_authority_is_not_the_clients() {
    let front = Front::new("required", None);
    assert!(!front.lets_in(Some(&front.servers.leaf("client"))));
}

#[test]
fn a_revoked_certificate_is_refused() {
    let front = Front::new("required", Some(&|ca| ca.revoke(&[])));
    let (good, bad) = (front.clients.leaf("good"), front.clients.leaf("bad"));
    assert!(front.lets_in(Some(&bad)));
    replace(
        &front.daemon.path("clients.crl"),
        front.clients.revoke(&[&bad]),
    );
    front.daemon.ctl(&["reload-tls"]).answer();
    assert!(!front.lets_in(Some(&bad)));
    assert!(front.lets_in(Some(&good)));
}

#[test]
fn a_revocation_list_counts_from_the_start() {
    let bad = std::cell::OnceCell::new();
    let front = Front::new(
        "required",
        Some(&|ca| {
            let leaf = ca.leaf("bad");
            let list = ca.revoke(&[&leaf]);
            bad.set(leaf).unwrap();
            list
        }),
    );
    assert!(!front.lets_in(bad.get()));
    assert!(front.lets_in(Some(&front.clients.leaf("good"))));
}

#[test]
fn a_session_outlives_the_revocation_of_its_certificate_and_the_next_handshake_fails() {
    let front = Front::new("required", Some(&|ca| ca.revoke(&[])));
    let leaf = front.clients.leaf("client");
    let client = Client::new(&front.servers).present(&leaf).resuming();
    let mut session = client.connect(front.daemon.address()).unwrap();
    session.echo("before").unwrap();
    replace(
        &front.daemon.path("clients.crl"),
        front.clients.revoke(&[&leaf]),
    );
    front.daemon.ctl(&["reload-tls"]).answer();
    session.echo("after").unwrap();
    let next = client.connect(front.daemon.address());
    assert!(next.and_then(|mut it| it.echo("hello")).is_err());
}

#[test]
fn another_authority_counts_from_the_next_handshake_on() {
    let front = Front::new("required", None);
    let other = Ca::new("others");
    let (old, new) = (front.clients.leaf("client"), other.leaf("client"));
    assert!(!front.lets_in(Some(&new)));
    replace(&front.daemon.path("clients.crt"), other.pem());
    front.daemon.ctl(&["reload-tls"]).answer();
    assert!(front.lets_in(Some(&new)));
    assert!(!front.lets_in(Some(&old)));
}

#[test]
fn two_authorities_may_stand_in_one_file() {
    let front = Front::new("required", None);
    let other = Ca::new("others");
    let both = [front.clients.pem(), other.pem()].concat();
    replace(&front.daemon.path("clients.crt"), both);
    front.daemon.ctl(&["reload-tls"]).answer();
    assert!(front.lets_in(Some(&front.clients.leaf("client"))));
    assert!(front.lets_in(Some(&other.leaf("client"))));
}
