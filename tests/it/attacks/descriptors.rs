//! Descriptors that nobody asked for, sent along to the supervisor (unix(7), `SCM_RIGHTS`).

use std::time::Duration;

use serde_json::json;

use super::{Attack, descriptors};
use crate::support::{
    orders::{say, say_with_descriptors},
    until,
};

/// The most that the kernel takes in one message.
const MOST: usize = 253;

/// How many more the supervisor may have for a moment.
const ROOM: usize = 64;

#[test]
fn descriptors_that_a_worker_sends_along_do_not_fill_the_supervisors_table() {
    let Some(attack) = Attack::new() else { return };
    let said = say_with_descriptors(&json!("Beat"), MOST);
    for round in 0..100 {
        // It may have lost its link, and its life, for the first.
        let busy = attack
            .hostile
            .begin(std::slice::from_ref(&said), Duration::ZERO);
        let sent = busy.finish();
        let now = descriptors(attack.daemon().pid());
        // Those of one message are there until it is seen that they do not belong to it.
        assert!(
            now < attack.descriptors + ROOM + MOST,
            "{round}: {now} instead of {}",
            attack.descriptors
        );
        if sent.is_err() || attack.daemon().workers()[0] != attack.hostile.pid {
            break;
        }
    }
    attack.is_replaced();
    until("no more descriptors are open than before", || {
        descriptors(attack.daemon().pid()) < attack.descriptors + ROOM
    });
    attack.is_well();
}

#[test]
fn a_single_descriptor_that_was_not_asked_for_breaks_the_link() {
    let Some(attack) = Attack::new() else { return };
    let said = say_with_descriptors(&json!("Beat"), 1);
    let busy = attack.hostile.begin(&[said], Duration::ZERO);
    let _ = busy.finish();
    attack.is_replaced();
    attack.is_well();
}

#[test]
fn messages_without_descriptors_are_what_a_worker_may_send() {
    let Some(attack) = Attack::new() else { return };
    attack.hostile.make(&vec![say(&json!("Beat")); 20]);
    attack.changed_nothing();
}
