//! Sessions of which one side has said that it is done when their worker dies.

use super::{kind::Kind, stage::Stage, talk::Talk};

/// Ends one direction of sessions by `half` and kills the worker; `after` sees that the other side still speaks, and
/// `last` ends the sessions.
#[track_caller]
fn half_closed(kinds: &[Kind], half: fn(&mut Talk), after: fn(&mut Talk), last: fn(&mut Talk)) {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(kinds);
    for it in &mut talks {
        it.exchange();
    }
    talks.iter_mut().for_each(half);
    stage.await_kept(talks.len());
    for _ in 0..2 {
        stage.kill();
        talks.iter_mut().for_each(after);
    }
    stage.await_taken_over(2 * talks.len());
    stage.lost_none();
    talks.iter_mut().for_each(last);
    stage.daemon.await_status("all have ended", |status| {
        status["sessions"]["open"] == 0 && status["sessions"]["kept"] == 0
    });
}

/// The same where the client is done first.
#[track_caller]
fn client_is_done(kinds: &[Kind]) {
    let (half, last) = (Talk::client_finishes, Talk::backend_finishes);
    half_closed(kinds, half, |it| it.down(40_000), last);
}

/// The same where the backend is done first.
#[track_caller]
fn backend_is_done(kinds: &[Kind]) {
    let (half, last) = (Talk::backend_finishes, Talk::client_finishes);
    half_closed(kinds, half, |it| it.up(40_000), last);
}

#[test]
fn a_session_whose_client_has_said_all_still_gets_the_answer() {
    client_is_done(&Kind::over_tcp());
}

#[test]
fn a_session_whose_backend_has_said_all_still_hears_the_client() {
    backend_is_done(&Kind::over_tcp());
}

#[test]
fn a_session_over_unix_sockets_whose_client_has_said_all_still_gets_the_answer() {
    client_is_done(&Kind::over_unix());
}

#[test]
fn a_session_over_unix_sockets_whose_backend_has_said_all_still_hears_the_client() {
    backend_is_done(&Kind::over_unix());
}
