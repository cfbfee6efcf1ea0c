//! Many servers at once, and the one certificate that all of them should show.

use super::{Prober, probe, probe_with};
use crate::support::{
    fake::TlsFake,
    pki::{Ca, hex},
};

#[test]
fn a_rollout_over_a_fleet_is_verified_by_one_command() {
    let ca = Ca::new("root");
    let (old, new) = (ca.leaf("db.example"), ca.leaf("db.example"));
    let fleet = [&new, &old, &new].map(|leaf| TlsFake::new(leaf, None));
    let list = fleet
        .iter()
        .map(|it| format!("{} name=db.example # one of them\n", it.address()));
    let list = list.collect::<String>() + "\n# the end\n";
    let prober = Prober::new(&ca);
    let hosts = prober.file("fleet.txt", &list);
    let expected = prober.file("new.pem", new.cert.clone() + &old.cert);
    let arguments = format!(
        "--expect {} --hosts {}",
        expected.display(),
        hosts.display()
    );
    let document = prober.json(&arguments);
    assert_eq!(document["state"], "critical");
    assert_eq!(document["expected"]["shown_by"], 2);
    assert_eq!(document["expected"]["of"], 3);
    let told: Vec<_> = document["servers"].as_array().unwrap().iter().collect();
    for ((told, server), is_new) in told.iter().zip(&fleet).zip([true, false, true]) {
        assert_eq!(told["address"], server.address());
        assert_eq!(told["expected"], is_new);
        assert_eq!(told["verified"], true);
    }
    let outcome = prober.run(&arguments);
    assert_eq!(outcome.code(), 2);
    let summary = "2 of 3 servers show the expected certificate";
    assert!(outcome.stdout.contains(summary), "{outcome:#?}");
    let instead = format!("but {} of CN=db.example", &old.sha256[..16]);
    assert!(outcome.stdout.contains(&instead), "{outcome:#?}");
    let der = prober.file("new.der", &new.der);
    let colons: Vec<_> = new.der_digest().iter().map(|it| hex(&[*it])).collect();
    for expected in [
        der.display().to_string(),
        new.sha256.clone(),
        colons.join(":"),
    ] {
        let server = &fleet[0];
        prober.ok(&format!(
            "--name db.example --expect {expected} {}",
            server.address()
        ));
    }
}

#[test]
fn a_list_may_come_from_standard_input() {
    let ca = Ca::new("root");
    let server = TlsFake::new(&ca.leaf("127.0.0.1"), None);
    let prober = Prober::new(&ca);
    let arguments = format!("probe --ca {} --hosts -", prober.ca.display());
    let outcome = probe_with(&server.address(), &arguments);
    assert!(outcome.is_success(), "{outcome:#?}");
}

#[test]
fn what_keeps_a_probe_from_being_made_is_unknown() {
    let prober = Prober::new(&Ca::new("root"));
    let bad = prober.file("bad.txt", "127.0.0.1:1\n\n127.0.0.1:2 port=3\n");
    let empty = prober.file("empty.txt", "# none\n");
    let key = prober.file("key.pem", "-----BEGIN RSA KEY-----\n");
    let (bad, empty, key) = (bad.display(), empty.display(), key.display());
    for (arguments, because) in [
        (format!("--hosts {bad}"), "line 3: `port=3` makes no sense"),
        (format!("--hosts {empty}"), "no server is named"),
        ("--hosts /nonexistent".to_owned(), "no such file"),
        ("--expect /nonexistent 127.0.0.1:1".to_owned(), "SHA-256"),
        (format!("--expect {key} 127.0.0.1:1"), "line 1"),
    ] {
        let outcome = prober.run(&arguments);
        assert_eq!(outcome.code(), 3, "{outcome:#?}");
        assert!(
            outcome.stdout.starts_with("PROXYD UNKNOWN - "),
            "{outcome:#?}"
        );
        assert!(outcome.stdout.contains(because), "{because}: {outcome:#?}");
    }
    let outcome = probe("probe --ca /nonexistent 127.0.0.1:1");
    assert_eq!(outcome.code(), 3, "{outcome:#?}");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for (arguments, because) in [
        ("", "required"),
        ("db", "`db` has no port"),
        ("::1:1", "needs brackets"),
        ("--protocol http db:1", "mysql, postgres or tcp"),
        ("--name a..b db:1", "neither a host name nor an IP address"),
    ] {
        let outcome = probe(&format!("probe {arguments}"));
        assert_eq!(outcome.code(), 2, "{outcome:#?}");
        assert!(outcome.stderr.contains(because), "{outcome:#?}");
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn ten_thousand_servers_are_asked_in_the_order_of_the_list() {
    let ca = Ca::new("root");
    let server = TlsFake::new(&ca.leaf("127.0.0.1"), None);
    let mut list: Vec<_> = (0..10_000)
        .map(|number| format!("127.0.{}.{}:1", number / 250, number % 250 + 1))
        .collect();
    list[5_000] = server.address();
    let prober = Prober::new(&ca);
    let hosts = prober.file("fleet.txt", list.join("\n"));
    let document = prober.json(&format!("--hosts {}", hosts.display()));
    let servers = document["servers"].as_array().unwrap();
    let asked: Vec<_> = servers
        .iter()
        .map(|it| it["address"].as_str().unwrap())
        .collect();
    assert_eq!(asked, list);
    let good = servers.iter().filter(|it| it["state"] == "ok").count();
    assert_eq!(good, 1);
}
