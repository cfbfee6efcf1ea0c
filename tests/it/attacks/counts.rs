//! Counts that are forged: of listeners and backends that are not there, and of more than there can be.

use std::time::Duration;

use nix::libc;
use serde_json::{Value, json};

use super::{Attack, counts};
use crate::support::orders::{call, number, say};

/// Returns a worker's message that tells of a backend, with this error and count.
fn backend(listener: &str, address: &str, error: &str, number: u64) -> Value {
    let status = json!({
        "address": address,
        "healthy": true,
        "since": null,
        "checked_at": "2026-01-01T00:00:00Z",
        "last_error": error,
        "last_error_at": "2026-01-01T00:00:00Z",
        "connected": number,
        "failed": number,
        "certificate": null,
        "certificate_seen_at": null,
    });
    json!({"Backend": {"listener": listener, "status": status}})
}

/// A daemon whose workers may take their time to understand long orders.
fn attack() -> Option<Attack> {
    Attack::with(|builder| builder.set("heartbeat_timeout", "\"20s\""))
}

/// Has the worker of the first slot, whichever it is by now, send messages and die.
#[track_caller]
fn last_words(attack: &Attack, all: &[Value]) {
    let scene = &attack.obeying.scene;
    let restarts = scene.await_restarts(0)["restarts"]["total"]
        .as_u64()
        .unwrap();
    let mut calls: Vec<Value> = all.iter().map(say).collect();
    calls.push(call(libc::SYS_exit_group, [number(0)]));
    let busy = attack.obeying.worker(0).begin(&calls, Duration::ZERO);
    busy.finish().unwrap_err();
    attack.is_prompt();
    scene.await_restarts(restarts + 1);
}

/// Returns the status of the first listener.
#[track_caller]
fn main_listener(attack: &Attack) -> Value {
    let status = attack.is_prompt();
    let mut listeners = status["listeners"].as_array().unwrap().iter();
    listeners.find(|it| it["name"] == "main").unwrap().clone()
}

#[test]
fn counts_of_listeners_that_are_not_configured_are_dropped() {
    let Some(attack) = attack() else { return };
    // As long as a message lets a name be.
    let name = |number: u32| format!("forged-{number}-{}", "x".repeat(7000));
    let mut said: Vec<Value> = (0..1000).map(|it| counts(&name(it), 1)).collect();
    said.extend((1000..2000).map(|it| backend(&name(it), "forged", "forged", 1)));
    for _ in 0..3 {
        last_words(&attack, &said);
    }
    let status = attack.is_prompt();
    assert!(!status.to_string().contains("forged"), "{status:#}");
    attack.is_small();
    attack.serves();
}

#[test]
fn thousands_of_backends_do_not_keep_the_supervisor_busy() {
    let Some(attack) = attack() else { return };
    let address = |number: u32| format!("forged-{number:x}:1");
    let said = (0..8000).map(|it| backend("main", &address(it), "x", 1));
    last_words(&attack, &said.collect::<Vec<_>>());
    let main = main_listener(&attack);
    assert_eq!(main["backends"].as_array().unwrap().len(), 1, "{main:#}");
    attack.is_small();
    attack.serves();
}

#[test]
fn counts_beyond_all_measure_do_not_add_up_to_nonsense() {
    let Some(attack) = attack() else { return };
    attack.serves();
    let address = attack.daemon().backend.address();
    let said = [
        counts("main", u64::MAX),
        backend("main", &address, "x", u64::MAX),
        backend("main", &address, "x", u64::MAX),
    ];
    for _ in 0..3 {
        last_words(&attack, &said);
    }
    attack.is_well();
    let main = main_listener(&attack);
    let total = main["connections"]["total"].as_u64().unwrap();
    // More than there were, because some were claimed; not more than a worker can have served.
    let possible = 8..1_u64 << 40;
    assert!(possible.contains(&total), "{total} sessions were counted");
}

#[test]
fn long_texts_are_cut_off() {
    let Some(attack) = attack() else { return };
    let address = attack.daemon().backend.address();
    for length in [1_000_000, 60_000, 8_000, 3_000] {
        let long = "x".repeat(length);
        last_words(&attack, &vec![backend("main", &address, &long, 1); 10]);
        let refusal = json!({"Refused": {"offer": 0, "reason": long}});
        last_words(&attack, &vec![refusal; 10]);
    }
    let status = attack.is_prompt().to_string();
    let length = status.len();
    assert!(length < 32 << 10, "a status of {length} bytes");
    let events = attack.daemon().ctl(&["--json", "events"]).stdout.len();
    assert!(events < 64 << 10, "events of {events} bytes");
    let logged = attack.daemon().log().len();
    assert!(logged < 512 << 10, "a log of {logged} bytes");
    attack.is_small();
}
