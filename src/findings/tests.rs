use super::*;
use crate::{
    control::{
        DiskState, LoadError,
        fixture::{at, status},
    },
    facts::Trigger,
};

const NOW: &str = "2026-01-02T00:00:00Z";

#[test]
fn what_must_be_done_now_comes_first_with_the_command_to_run() {
    let status = status(|status| {
        status.tls.disk.state = DiskState::Changed;
        status.tls.last_error = Some(LoadError {
            at: at(NOW),
            trigger: Trigger::ReloadTls,
            message: "key and certificate differ".into(),
        });
    });
    let findings = of(&status, DEFAULTS, at(NOW));
    let levels: Vec<_> = findings.iter().map(|it| it.level).collect();
    assert_eq!(levels, [Level::Critical, Level::Warning]);
    for finding in findings {
        assert!(finding.advice.contains("`proxyctl reload"), "{finding:?}");
    }
}

#[test]
fn a_healthy_daemon_leaves_nothing_to_do() {
    assert_eq!(of(&status(|_| {}), DEFAULTS, at(NOW)), []);
}

#[test]
fn an_identity_is_as_urgent_as_the_certificate_of_its_path_that_ends_first() {
    let urgency = |ends: &str| {
        let status = status(|status| {
            status.tls.intermediates[0].not_after = ends.parse().unwrap();
        });
        urgency(&status.tls.identities[0], &status.tls, DEFAULTS, at(NOW))
    };
    assert_eq!(urgency("2027-01-01T00:00:00Z"), Level::Ok);
    assert_eq!(urgency("2026-01-31T00:00:00Z"), Level::Warning);
    assert_eq!(urgency("2026-01-09T00:00:00Z"), Level::Critical);
    assert_eq!(urgency("2026-01-01T00:00:00Z"), Level::Critical);
}
