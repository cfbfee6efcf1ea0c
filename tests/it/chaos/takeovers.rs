//! What the daemon says became of sessions whose worker ended.

use serde_json::Value;

use super::{commands, run::Run, tally::Kind};

/// The reasons for which a session may end with its worker here: it was too young, or one of the processes
/// was short of descriptors.
const ALLOWED: [&str; 2] = ["not_kept", "descriptors"];

/// Adds to the tally how many sessions were taken over, and notes a finding for each kind of loss that must
/// not be.
pub(crate) fn judge(run: &Run<'_>) {
    let status = commands::ask(run, &["status"]).json().unwrap_or_default();
    let sessions = &status["sessions"];
    let taken_over = sessions["taken_over_total"].as_u64().unwrap_or_default();
    run.tally.taken_over.add(taken_over);
    for loss in losses(&sessions["lost_by_reason"]) {
        run.tally.find(Kind::LostSession, loss);
    }
}

/// Returns the losses that must not be.
fn losses(lost: &Value) -> Vec<String> {
    let Some(reasons) = lost.as_object() else {
        return vec!["the status tells nothing of lost sessions".to_owned()];
    };
    let forbidden = reasons.iter().filter(|(reason, number)| {
        number.as_u64() != Some(0) && !ALLOWED.contains(&reason.as_str())
    });
    forbidden
        .map(|(reason, number)| format!("the daemon says that it lost {number}: {reason}"))
        .collect()
}

#[test]
fn only_losses_that_must_not_be_are_found() {
    use serde_json::json;
    let lost = json!({"not_kept": 7, "descriptors": 1, "mismatch": 0, "suspect": 0});
    assert_eq!(losses(&lost), [""; 0]);
    let lost = json!({"not_kept": 7, "mismatch": 2, "suspect": 1});
    assert_eq!(losses(&lost).len(), 2);
    assert_eq!(losses(&Value::Null).len(), 1);
}
