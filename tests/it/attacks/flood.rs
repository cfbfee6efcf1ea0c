//! Messages as fast as a worker can send them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Attack, counts};
use crate::support::orders::say;

const TIME: Duration = Duration::from_secs(2);

/// Floods the supervisor with a message, and asks it meanwhile.
#[track_caller]
fn does_not_hinder(said: &Value) {
    let Some(attack) = Attack::new() else { return };
    let begun = Instant::now();
    let busy = attack.hostile.begin(&vec![say(said); 20], TIME);
    while begun.elapsed() < TIME {
        attack.is_prompt();
    }
    // The supervisor may have ended the worker for it.
    let _ = busy.finish();
    attack.is_prompt();
    attack.is_small();
    attack.serves();
}

#[test]
fn a_flood_of_beats_does_not_keep_the_supervisor_from_answering() {
    does_not_hinder(&json!("Beat"));
}

#[test]
fn a_flood_of_counts_does_not_keep_the_supervisor_from_answering() {
    does_not_hinder(&counts("main", 1));
}

#[test]
fn a_flood_of_answers_to_questions_does_not_keep_the_supervisor_from_answering() {
    does_not_hinder(&json!({"Counted": {"ask": 1}}));
    does_not_hinder(&json!({"Probed": {"ask": 1}}));
}

#[test]
fn a_flood_of_accepted_slots_does_not_keep_the_supervisor_from_answering() {
    let slots: Vec<u64> = (0..2000).collect();
    does_not_hinder(&json!({"Accepts": {"slots": slots}}));
}

#[test]
fn a_flood_of_refusals_does_not_keep_the_supervisor_from_answering() {
    does_not_hinder(&json!({"Refused": {"offer": 7, "reason": "it is hostile"}}));
}

#[test]
fn a_flood_of_confirmations_does_not_keep_the_supervisor_from_answering() {
    does_not_hinder(&json!({"Serving": {"generation": 1}}));
    does_not_hinder(&json!({"Staged": {"offer": 7}}));
}

#[test]
fn a_flood_of_drains_does_not_keep_the_supervisor_from_answering() {
    does_not_hinder(&json!({"Drained": {"cut": u64::MAX}}));
}
