//! A listener's neighbours: the backends behind it and the balancers before it.

use super::{GOOD, complaint};
use crate::config::{Address, Network, fixture::parse};

#[test]
fn backends_are_kept_in_their_order() {
    let text = GOOD.replace(
        r#"backend = "db:2""#,
        r#"backend = ["db:2", "unix:/run/db"]"#,
    );
    let config = parse(&text).unwrap();
    let backends = config.listeners[0].backends.iter();
    let backends: Vec<_> = backends.map(Address::to_string).collect();
    assert_eq!(backends, ["db:2", "unix:/run/db"]);
}

#[test]
fn balancers_are_in_private_networks_unless_it_is_said_where() {
    let from = |settings: &str| {
        let text = format!("{GOOD}proxy_protocol = {{ {settings} }}\n");
        let config = parse(&text).unwrap();
        config.listeners[0].proxy_protocol.from.clone()
    };
    assert_eq!(from("accept = false"), []);
    assert_eq!(from("accept = true"), Network::nearby());
    let one = ["10.0.0.0/8".parse().unwrap()];
    assert_eq!(from("accept = true, from = \"10.0.0.0/8\""), one);
}

#[test]
fn what_cannot_be_backends_is_found() {
    for (backend, fragment) in [
        ("[]", "no backend is named"),
        (r#"["h:2", "H:2"]"#, "`H:2` is named twice"),
        (r#"["h:2", "h"]"#, "`h` is not an address"),
        (r#"["h:2", "h:0"]"#, "a backend cannot have port 0"),
        (r#"[["h:2"]]"#, "expected a string"),
    ] {
        let text = format!("[[listener]]\nbind = \"h:1\"\nbackend = {backend}\n");
        let complaint = complaint(&text);
        assert!(complaint.contains(fragment), "{backend}: {complaint}");
        assert!(
            complaint.contains("proxyd.toml:3"),
            "{backend}: {complaint}"
        );
    }
}

#[test]
fn every_backend_needs_a_name_where_names_are_checked() {
    let text = GOOD.replace(
        r#"backend = "db:2""#,
        r#"backend = ["db:2", "unix:/run/db"]"#,
    );
    let named = |name: &str| {
        complaint(&format!(
            "{text}backend_tls = {{ mode = \"verify-full\"{name} }}\n"
        ))
    };
    assert!(named("").contains("`verify-full` needs a `server_name` here"));
    assert_eq!(named(", server_name = \"db\""), "");
}

#[test]
fn what_cannot_be_balancers_is_found() {
    for (settings, fragment) in [
        (
            r#"from = "10.0.0.0/8""#,
            "`from` has no use without `accept = true`",
        ),
        ("accept = true, from = []", "no network is named"),
        (
            r#"accept = true, from = ["10.0.0.0/8", "balancer"]"#,
            "`balancer` is not a network",
        ),
    ] {
        let complaint = complaint(&format!("{GOOD}proxy_protocol = {{ {settings} }}\n"));
        assert!(complaint.contains(fragment), "{settings}: {complaint}");
    }
}
