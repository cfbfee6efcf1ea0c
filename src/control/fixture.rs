//! A status for the tests of rooms that read one.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Status;

/// Returns a timestamp from its text.
pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A daemon that fares well, as its document.
pub(crate) fn document() -> Value {
    json!({
        "schema": 1,
        "supervisor": {"pid": 1, "version": "0.1.0", "started_at": "2026-01-01T10:00:00Z",
                       "uptime_s": 192.5, "state": "serving", "config": null},
        "workers": [{"pid": 2, "slot": 0, "state": "serving",
                     "started_at": "2026-01-01T10:00:01Z", "generation": 3, "connections": 7, "denied_calls": 0}],
        "restarts": {"total": 1, "consecutive": 0,
                     "last": {"at": "2026-01-01T10:01:00Z", "pid": 9, "kind": "signal",
                              "signal": 9, "code": null, "uptime_s": 3.2}},
        "tls": {"generation": 3, "loaded_at": "2026-01-01T10:02:00Z", "trigger": "reload-tls",
                "disk": {"state": "same", "reason": null, "unseen": null,
                         "since": "2026-01-01T10:00:00Z", "settling": false},
                "restart_safe": true, "not_tried": [], "last_error": null,
                "watch": {"state": "events", "reason": null, "interval_s": 5.0,
                          "grace_s": 10.0},
                "identities": [{"name": "default", "cert": "/c", "key": "/k",
                    "subject": "CN=db", "issuer": "CN=ca", "serial": "0a",
                    "sha256": "ab".repeat(32), "not_before": "2026-01-01T00:00:00Z",
                    "not_after": "2026-04-01T00:00:00Z",
                    "path_not_after": "2026-04-01T00:00:00Z", "days_left": 89,
                    "dns_names": ["db"], "key_type": "ecdsa-p256", "kept_since": null, "intermediates": [0]}],
                "rollback": null, "expiries": [],
                "intermediates": [{"subject": "CN=ca", "issuer": "CN=root", "serial": "01",
                    "sha256": "cd".repeat(32), "not_before": "2025-01-01T00:00:00Z",
                    "not_after": "2027-01-01T00:00:00Z", "dns_names": [],
                    "key_type": "ecdsa-p256"}]},
        "on_exit_failure": {"command": null, "timeout_s": null, "source": "unset",
                            "last_run": null},
        "listeners": [{"name": "orders", "bind": "0.0.0.0:3307", "protocol": "mysql",
                       "backend": "127.0.0.1:3306",
                       "backends": [{"address": "127.0.0.1:3306", "healthy": true,
                                     "since": "2026-01-01T10:00:02Z",
                                     "checked_at": "2026-01-01T10:00:09Z",
                                     "last_error": "refused",
                                     "last_error_at": "2026-01-01T10:00:01Z",
                                     "connected": 97, "failed": 1,
                                     "connect_times": times(),
                                     "certificate": null,
                                     "certificate_seen_at": null}],
                       "resumption": "off",
                       "connections": {"open": 7, "total": 100, "failed_handshakes": 2,
                                       "failed_by_reason": failed(),
                                       "refused": 0, "failed_backends": 1,
                                       "ended": ended(),
                                       "bytes_up": 2_097_152, "bytes_down": 73_400_320,
                                       "handshake_times": times(), "session_times": times()}}],
        "sessions": {"open": 7, "kept": 6, "taken_over_total": 5, "lost_total": 0,
                     "lost_by_reason": {"not_kept": 0, "descriptors": 0, "mismatch": 0, "damaged": 0,
                                        "unix_write": 0, "suspect": 0, "no_room": 0, "ending": 0},
                     "unkept_by_reason": {"descriptors": 0, "counts": 0, "socket": 0, "too_long": 0,
                                          "no_room": 0},
                     "keeping": {"state": "on", "reason": null}},
        "program": {"path": "/usr/sbin/proxyd", "version": "0.1.0", "replaced": false},
        "upgrades": {"total": 0, "refused": 0, "rolled_back": 0, "last": null},
        "processes": [{"role": "supervisor", "slot": null, "pid": 1, "started_at": "2026-01-01T10:00:00Z",
                       "cpu_s": 1.5, "resident_bytes": 31_457_280, "open_descriptors": 40,
                       "most_descriptors": 524_288},
                      {"role": "worker", "slot": 0, "pid": 2, "started_at": "2026-01-01T10:00:01Z",
                       "cpu_s": 20.25, "resident_bytes": 62_914_560, "open_descriptors": null,
                       "most_descriptors": null}],
        "log": {"lost_lines": 0},
        "sandbox": {"files": "full", "scopes": true, "system_calls": true, "missing": [],
                    "denied_calls": 0}
    })
}

fn times() -> Value {
    json!({"buckets": [0, 0, 3, 40, 30, 20, 3, 1, 0, 0, 0, 0, 0], "sum_us": 2_400_000})
}

fn failed() -> Value {
    json!({"no_certificate": 0, "unknown_issuer": 0, "expired": 1, "not_yet_valid": 0,
           "revoked": 1, "revocation_unknown": 0, "not_allowed": 0, "bad_certificate": 0,
           "unsupported_version": 0, "nothing_shared": 0, "wrong_protocol": 0, "unknown_name": 0,
           "client_alert": 0, "not_tls": 0, "no_tls": 0, "timeout": 0, "client_left": 0,
           "protocol": 0})
}

fn ended() -> Value {
    let mut ended = json!({"closed": 1, "client_closed": 80, "backend_closed": 5,
           "idle_timeout": 2, "half_closed": 0, "client_lost": 0, "client_dead": 0, "client_tls": 1,
           "backend_lost": 0, "backend_dead": 0, "backend_tls": 0, "key_used_up": 0, "drained": 0,
           "lost": 0,
           "ended_by_operator": 0,
           "change_user_failed": 0,
           "cancel": 0, "login_denied": 1, "login_left": 0, "silent": 0, "full": 0, "client_full": 0,
           "backend_failed": 1});
    let refused = failed().as_object().unwrap().clone();
    ended.as_object_mut().unwrap().extend(refused);
    ended
}

/// The same with `change` applied.
pub(crate) fn status(change: impl FnOnce(&mut Status)) -> Status {
    let mut status = serde_json::from_value(document()).unwrap();
    change(&mut status);
    status
}
