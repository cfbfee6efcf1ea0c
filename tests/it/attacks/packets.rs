//! What is no message, and messages of a worker that is gone.

use std::time::Duration;

use nix::libc;
use serde_json::{Value, json};

use super::{Attack, counts};
use crate::support::orders::{bytes, call, message, number, say, send};

/// Has the worker send this, which must cost it its link and its life, and be logged.
#[track_caller]
fn breaks_the_link(calls: &[Value]) {
    let Some(attack) = Attack::new() else { return };
    let _ = attack.hostile.begin(calls, Duration::ZERO).finish();
    attack.is_replaced();
    attack.is_well();
    let log = attack.daemon().log();
    let pid = attack.hostile.pid.to_string();
    let told = |line: &str| line.contains("broke its link") && line.contains(&pid);
    assert!(log.lines().any(told), "{log}");
}

#[test]
fn a_packet_of_another_version_breaks_the_link() {
    breaks_the_link(&[send(&bytes([0xff; 16]))]);
}

#[test]
fn a_packet_that_is_cut_off_breaks_the_link() {
    // A message of more than two bytes, of which two come.
    let said = call(
        libc::SYS_sendto,
        [number(0), message(&counts("main", 1)), number(6)],
    );
    breaks_the_link(&[said]);
}

#[test]
fn a_packet_of_one_byte_breaks_the_link() {
    breaks_the_link(&[send(&bytes([0]))]);
}

#[test]
fn an_empty_packet_costs_the_worker_its_place() {
    // The kernel shows it as it shows the end of the link.
    let attack = Attack::with(|builder| builder.set("heartbeat_timeout", "\"1s\""));
    let Some(attack) = attack else { return };
    let empty = call(libc::SYS_sendto, [number(0), bytes([0]), number(0)]);
    let _ = attack.hostile.begin(&[empty], Duration::ZERO).finish();
    attack.is_replaced();
    attack.is_well();
}

#[test]
fn a_packet_with_more_behind_the_message_breaks_the_link() {
    let parts = json!({"fields": [
        {"slice": {"message": "Beat"}},
        {"slice": {"bytes": "00000000"}},
    ]});
    let header = json!({"memory": {"fields": [
        {"bytes": "0".repeat(32)},
        {"address": parts},
        {"bytes": "0200000000000000"},
        {"bytes": "0".repeat(48)},
    ]}});
    breaks_the_link(&[call(libc::SYS_sendmsg, [number(0), header, number(0)])]);
}

#[test]
fn a_link_that_is_shut_down_costs_the_worker_its_place() {
    let Some(attack) = Attack::new() else { return };
    let shut = call(libc::SYS_shutdown, [number(0), number(libc::SHUT_RDWR)]);
    let _ = attack.hostile.begin(&[shut], Duration::ZERO).finish();
    attack.is_replaced();
    attack.is_prompt();
    attack.serves();
}

#[test]
fn a_message_that_is_larger_than_any_does_not_reach_the_supervisor() {
    let Some(attack) = Attack::new() else { return };
    let large = send(&json!({"memory": {"space": 8 << 20}}));
    let _ = attack.hostile.begin(&[large], Duration::ZERO).finish();
    attack.is_prompt();
    attack.is_small();
    attack.serves();
}

#[test]
fn confirmations_of_what_was_never_asked_change_nothing() {
    let Some(attack) = Attack::new() else { return };
    let before = attack.daemon().status();
    let all = [
        json!({"Serving": {"generation": 99}}),
        json!({"Serving": {"generation": u64::MAX}}),
        json!({"Staged": {"offer": 99}}),
        json!({"Staged": {"offer": u64::MAX}}),
        json!({"Probed": {"ask": u64::MAX}}),
        json!({"Counted": {"ask": u64::MAX}}),
        json!({"Accepts": {"slots": [0, 1, 2, 99, u64::MAX]}}),
        json!({"Accepts": {"slots": []}}),
        json!({"Refused": {"offer": u64::MAX, "reason": "never offered"}}),
        json!({"Drained": {"cut": u64::MAX}}),
    ];
    for said in all {
        // The one before may have been ended for what it has said.
        attack.obeying.scene.await_restarts(0);
        let worker = attack.obeying.worker(0);
        let _ = worker.begin(&[say(&said)], Duration::ZERO).finish();
        let status = attack.is_prompt();
        assert_eq!(status["tls"]["generation"], before["tls"]["generation"]);
        assert_eq!(status["ending"], before["ending"], "{said}");
    }
    attack.serves();
    // A reload still reaches all.
    let scene = &attack.obeying.scene;
    scene.renew();
    scene.reload_tls();
    scene.shows(&scene.new);
}

#[test]
fn the_last_words_of_a_worker_that_dies_are_not_believed_of_its_successor() {
    let Some(attack) = Attack::new() else { return };
    let last = [
        say(&counts("main", 1000)),
        say(&json!({"Serving": {"generation": 99}})),
        say(&json!({"Accepts": {"slots": [0, 1]}})),
        call(libc::SYS_exit_group, [number(0)]),
    ];
    attack
        .hostile
        .begin(&last, Duration::ZERO)
        .finish()
        .unwrap_err();
    let status = attack.is_replaced();
    assert_eq!(status["tls"]["generation"], 1);
    attack
        .daemon()
        .await_status("no session is counted as open", |status| {
            let mut listeners = status["listeners"].as_array().unwrap().iter();
            listeners.all(|it| it["connections"]["open"] == 0)
        });
    attack.serves();
}

#[test]
fn a_message_that_is_longer_than_one_of_its_kind_may_be_breaks_the_link() {
    // A packet may have as many bytes, and a refusal may not.
    let reason = "x".repeat(30_000);
    breaks_the_link(&[say(&json!({"Refused": {"offer": 0, "reason": reason}}))]);
}

#[test]
fn a_packet_that_claims_a_long_text_breaks_the_link() {
    // The second message, whose first number is in one byte and whose text is told to have 4 GiB.
    let claim = [&[0, 1, 1, 0, 252][..], &u32::MAX.to_le_bytes()].concat();
    breaks_the_link(&[send(&bytes(claim))]);
}
