use std::sync::Arc;

use super::*;
use crate::{
    cli::proxyctl::Threshold,
    facts::{CertificateFacts, Fingerprint},
    findings::DEFAULTS,
    probe::{Failure, Target, Tls},
    tls::observe::Judgement,
};

const NOW: &str = "2026-01-11T00:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn rules() -> Rules {
    Rules {
        thresholds: DEFAULTS,
        trusts_system: false,
        expected: None,
    }
}

/// A certificate of 100 days from the first of January on, of which ten are over.
fn facts(subject: &str, until: &str) -> CertificateFacts {
    CertificateFacts {
        subject: subject.to_owned(),
        issuer: "CN=root".to_owned(),
        serial: "1f".to_owned(),
        sha256: "ab".repeat(32),
        not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
        not_after: until.parse().unwrap(),
        dns_names: vec!["db".to_owned()],
        key_type: "ecdsa-p256".to_owned(),
    }
}

fn judgement() -> Judgement {
    Judgement {
        chain: vec![facts("CN=db", "2026-04-11T00:00:00Z")],
        sha256: "ab".repeat(32),
        ends_first: Some(0),
        ..Judgement::default()
    }
}

fn report(change: impl FnOnce(&mut Report)) -> Report {
    let mut report = Report {
        target: Arc::new(Target::parse("db:3306", None, None).unwrap()),
        peer: Some("192.0.2.1:3306".parse().unwrap()),
        tls: Some(Tls {
            version: "TLSv1.3",
            suite: Some("TLS_AES_256_GCM_SHA384"),
            group: Some("x25519".to_owned()),
        }),
        judgement: Some(judgement()),
        is_proved: true,
        asks_for_certificate: false,
        failure: None,
        has_alternative: false,
    };
    change(&mut report);
    report
}

fn state(rules: &Rules, change: impl FnOnce(&mut Judgement)) -> (Level, String) {
    let report = report(|it| change(it.judgement.as_mut().unwrap()));
    let verdict = Verdict::of(&report, rules, now());
    let messages = verdict.findings.iter().map(|it| &*it.message);
    (verdict.state, messages.collect::<Vec<_>>().join("; "))
}

#[test]
fn a_server_is_as_bad_as_the_worst_about_it() {
    let ok = state(&rules(), |_| {});
    assert_eq!(ok, (Level::Ok, String::new()));
    let odd = state(&rules(), |it| it.oddities.push("odd".to_owned()));
    assert_eq!(odd, (Level::Warning, "odd".to_owned()));
    let both = state(&rules(), |it| {
        it.oddities.push("odd".to_owned());
        it.doubts.push("expired".to_owned());
    });
    assert_eq!(both, (Level::Critical, "expired; odd".to_owned()));
    let failed = report(|it| {
        it.judgement = None;
        it.failure = Some(Failure::NoAddress);
    });
    let verdict = Verdict::of(&failed, &rules(), now());
    assert_eq!(verdict.state, Level::Critical);
    assert_eq!(verdict.findings.len(), 1);
    for (has_alternative, level) in [(true, Level::Warning), (false, Level::Critical)] {
        let unreachable = report(|it| {
            it.judgement = None;
            it.failure = Some(Failure::NoRoute);
            it.has_alternative = has_alternative;
        });
        assert_eq!(Verdict::of(&unreachable, &rules(), now()).state, level);
    }
}

#[test]
fn a_server_that_does_not_prove_to_hold_the_key_does_not_show_the_expected_certificate() {
    let expected = Rules {
        expected: Some(Fingerprint::from([0xab; 32])),
        ..rules()
    };
    for (is_proved, is_expected) in [(true, true), (false, false)] {
        let report = report(|it| {
            it.is_proved = is_proved;
            it.failure = Some(Failure::NoAddress).filter(|_| !is_proved);
        });
        let verdict = Verdict::of(&report, &expected, now());
        assert_eq!(verdict.is_expected, Some(is_expected));
        let document = ServerDocument::new(&report, verdict, &expected, now());
        assert_eq!(document.verified, Some(is_proved));
    }
}

#[test]
fn thresholds_are_those_of_the_certificate_that_ends_first() {
    let with = |warn: &str, critical: &str| Rules {
        thresholds: Thresholds {
            warn: warn.parse::<Threshold>().unwrap(),
            critical: critical.parse().unwrap(),
        },
        ..rules()
    };
    let level = |rules: &Rules| state(rules, |_| {}).0;
    assert_eq!(level(&with("91d", "7d")), Level::Warning);
    assert_eq!(level(&with("89d", "7d")), Level::Ok);
    assert_eq!(level(&with("95d", "90d")), Level::Critical);
    assert_eq!(level(&with("90%", "10%")), Level::Warning);
    let (level, told) = state(&rules(), |it| {
        it.chain.push(facts("CN=between", "2026-01-14T00:00:00Z"));
        it.ends_first = Some(1);
    });
    let words = "the intermediate certificate CN=between that it sends expires in 3d";
    assert_eq!((level, told.as_str()), (Level::Warning, words));
}

#[test]
fn the_certificate_that_is_shown_instead_of_the_expected_one_is_told() {
    let expecting = |digits: &str| Rules {
        expected: Some(digits.repeat(32).parse::<Fingerprint>().unwrap()),
        ..rules()
    };
    assert_eq!(state(&expecting("ab"), |_| {}).0, Level::Ok);
    let (level, told) = state(&expecting("cd"), |_| {});
    assert_eq!(level, Level::Critical);
    assert!(told.contains("but abababababababab of CN=db"), "{told}");
}

#[test]
fn an_authority_of_ones_own_is_to_be_named_where_none_is() {
    let of_strangers = |it: &mut Judgement| {
        it.is_of_strangers = true;
        it.doubts.push("unknown issuer".to_owned());
    };
    let (_, told) = state(&rules(), of_strangers);
    assert_eq!(told, "unknown issuer");
    let system = Rules {
        trusts_system: true,
        ..rules()
    };
    let (_, told) = state(&system, of_strangers);
    assert!(told.ends_with("name its certificate by --ca"), "{told}");
}

fn document(reports: &[Report], rules: &Rules) -> Document {
    let servers = reports.iter().map(|report| {
        let verdict = Verdict::of(report, rules, now());
        ServerDocument::new(report, verdict, rules, now())
    });
    Document::of(servers.collect(), rules, now())
}

#[test]
fn a_fleet_is_summed_up_in_a_line_for_monitoring_systems() {
    let other = report(|it| {
        it.target = Arc::new(Target::parse("192.0.2.2:443", None, None).unwrap());
        it.peer = Some("192.0.2.2:443".parse().unwrap());
        let judgement = it.judgement.as_mut().unwrap();
        judgement.sha256 = "cd".repeat(32);
        judgement.chain[0].subject = "CN=a|b\n".to_owned();
    });
    let rules = Rules {
        expected: Some("ab".repeat(32).parse().unwrap()),
        ..rules()
    };
    let document = document(&[report(|_| {}), other], &rules);
    let text = text(&document, Paint::new(false));
    let (line, table) = text.split_once('\n').unwrap();
    assert!(
        line.starts_with("PROXYD CRITICAL - 192.0.2.2:443: it does not show"),
        "{line}"
    );
    assert!(
        line.contains("1 of 2 servers ok, 1 of 2 servers show the expected certificate"),
        "{line}"
    );
    assert!(
        line.contains(" | 'db:3306 (192.0.2.1)'=90d;33:;10: '192.0.2.2:443'=90d;33:;10:"),
        "{line}"
    );
    assert!(!table.contains('|'), "{table}");
    for part in ["EXPECTED", "CN=a/b\\n", "ecdsa-p256", "x25519"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn the_document_has_the_keys_that_are_promised() {
    let rules = rules();
    let document = document(&[report(|_| {})], &rules);
    let value = serde_json::to_value(&document).unwrap();
    assert_eq!(value["schema"], 1);
    assert_eq!(value["state"], "ok");
    let server = &value["servers"][0];
    assert_eq!(server["address"], "db:3306");
    assert_eq!(server["peer"], "192.0.2.1:3306");
    assert_eq!(server["tls"]["version"], "TLSv1.3");
    assert_eq!(server["days_left"], 90);
    assert_eq!(server["verified"], true);
    assert!(server["expected"].is_null());
    assert_eq!(server["chain"][0]["serial"], "1f");
    let unknown = serde_json::to_value(Document::unknown("no".to_owned())).unwrap();
    let expected = serde_json::json!({
        "schema": 1, "state": "unknown", "error": "no", "summary": "", "servers": []
    });
    assert_eq!(unknown, expected);
}
