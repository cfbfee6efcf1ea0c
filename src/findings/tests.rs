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
