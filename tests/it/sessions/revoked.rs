//! Sessions of clients whose certificate is revoked while they are open.

use serde_json::{Value, json};

use super::Front;
use crate::support::{
    backend::Backend,
    client::Session,
    configuration::Listener,
    pki::{Ca, Leaf, replace},
};

/// Starts a daemon whose listener wants certificates that a list of `clients` may revoke.
fn front(clients: &Ca, backend: &Backend) -> Front {
    let auth = "client_auth = { mode = \"required\", ca = \"clients.crt\", crl = \"clients.crl\" }";
    let listener = Listener::tcp("main", &backend.address()).line(auth);
    Front::with(listener, &[], |it| {
        it.workers(2)
            .file("clients.crt", clients.pem())
            .file("clients.crl", clients.revoke(&[]))
    })
}

fn session(front: &Front, leaf: &Leaf) -> Session {
    front.session_of(&front.client.clone().present(leaf))
}

#[test]
fn a_reload_says_which_sessions_are_open_of_certificates_that_it_revokes() {
    let (clients, backend) = (Ca::new("clients"), Backend::tcp());
    let front = front(&clients, &backend);
    let (stolen, other) = (clients.leaf("billing"), clients.leaf("orders"));
    let mut revoked: Vec<Session> = (0..4).map(|_| session(&front, &stolen)).collect();
    let mut good = session(&front, &other);
    replace(
        &front.daemon.path("clients.crl"),
        clients.revoke(&[&stolen]),
    );
    let text = front.daemon.ctl(&["reload-tls"]).answer();
    let command = format!("proxyctl end --client-cert {}", stolen.sha256);
    assert!(
        text.contains("4 sessions are open of 1 client certificate"),
        "{text}"
    );
    assert!(text.contains(&command), "{text}");
    let events = front.daemon.events();
    let event = events.iter().find(|it| it["kind"] == "sessions-revoked");
    let message = event.unwrap()["message"].as_str().unwrap();
    assert!(
        message.contains("4 sessions") && message.contains(&command),
        "{message}"
    );
    assert!(front.daemon.log().contains(&command));
    let ended = front.daemon.ctl(&["end", "--client-cert", &stolen.sha256]);
    assert_eq!(ended.answer(), "Ended 4 sessions.");
    for session in &mut revoked {
        assert_eq!(session.rest().unwrap(), b"");
    }
    good.echo("still here").unwrap();
}

#[test]
fn the_document_of_a_reload_has_the_certificates_and_the_next_has_none() {
    let (clients, backend) = (Ca::new("clients"), Backend::tcp());
    let front = front(&clients, &backend);
    let stolen = clients.leaf("billing");
    let _session = session(&front, &stolen);
    let none = json!({"sessions": 0, "certificates": [], "left_out": 0, "silent": []});
    let unchanged = front.daemon.json(&["reload-tls"]);
    assert_eq!(unchanged["revoked"], none);
    replace(
        &front.daemon.path("clients.crl"),
        clients.revoke(&[&stolen]),
    );
    let revoked = &front.daemon.json(&["reload-tls"])["revoked"];
    let certificate = json!({"subject": "CN=billing", "sha256": stolen.sha256, "sessions": 1});
    assert_eq!(
        (&revoked["sessions"], &revoked["certificates"]),
        (&1.into(), &Value::Array(vec![certificate]))
    );
    front
        .daemon
        .ctl(&["end", "--client-cert", &stolen.sha256])
        .answer();
    front
        .daemon
        .files("default")
        .put(&front.ca.leaf("localhost"));
    let after = front.daemon.json(&["reload-tls"]);
    assert_eq!(
        (&after["changed"], &after["revoked"]),
        (&true.into(), &none)
    );
}
