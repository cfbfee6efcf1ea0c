//! The log, into which a worker may write by its standard error.

use std::time::{Duration, Instant};

use nix::libc;
use serde_json::json;

use super::Attack;
use crate::support::{
    orders::{bytes, call, length, number, say},
    until,
};

const TIME: Duration = Duration::from_secs(2);

#[test]
fn a_worker_that_logs_as_fast_as_it_can_fills_no_disk() {
    let Some(attack) = Attack::new() else { return };
    let line = [&[b'x'; 1000][..], b"\n"].concat();
    let log = call(
        libc::SYS_write,
        [number(2), bytes(line.repeat(4)), length(1)],
    );
    let begun = Instant::now();
    let busy = attack.hostile.begin(&vec![log; 20], TIME);
    while begun.elapsed() < TIME {
        attack.is_prompt();
    }
    busy.finish().unwrap();
    let length = attack.daemon().log().len();
    assert!(length < 16 << 20, "{length} bytes were logged");
    attack.is_small();
    attack.serves();
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let Some(attack) = Attack::new() else { return };
    let log = call(libc::SYS_write, [number(2), bytes([b'x'; 4096]), length(1)]);
    let busy = attack.hostile.begin(&vec![log; 20], TIME);
    busy.finish().unwrap();
    attack.is_prompt();
    attack.is_small();
}

#[test]
fn what_a_worker_logs_cannot_steer_a_terminal() {
    let Some(attack) = Attack::new() else { return };
    let words = bytes("before\x1b[2J\x1b]0;title\x07after\n");
    attack
        .hostile
        .make_one(call(libc::SYS_write, [number(2), words, length(1)]));
    until("the line is logged", || {
        attack.daemon().log().contains("after")
    });
    let log = attack.daemon().log();
    assert!(!log.contains(['\x1b', '\x07']), "{log:?}");
}

#[test]
fn a_worker_that_serves_cannot_tell_of_the_end_of_a_drain_or_of_a_start() {
    let Some(attack) = Attack::new() else { return };
    let events = || attack.daemon().events().len();
    let before = events();
    let drained = say(&json!({"Drained": {"cut": 77_777}}));
    let serving = say(&json!({"Serving": {"generation": 1}}));
    let refused = say(&json!({"Refused": {"offer": 0, "reason": "forged"}}));
    attack
        .hostile
        .make(&vec![[drained, serving, refused]; 200].concat());
    attack.is_prompt();
    attack.serves();
    assert_eq!(events(), before);
    let log = attack.daemon().log();
    assert!(!log.contains("77777"), "{log}");
    assert!(log.matches("forged").count() < 10, "{log}");
}
