//! Sessions whose bytes wait for a peer that does not read when their worker dies.

use super::{
    kind::{Kind, PLAIN, TLS12, TLS13},
    stage::Stage,
    stalled::{Stalled, Way},
};

const MEGABYTE: u64 = 1 << 20;

/// Fills sessions in one direction and kills their worker again and again while they are full and while
/// the slow side reads.
#[track_caller]
fn every_byte_comes(kinds: &[Kind], way: Way) {
    let mut stage = Stage::new();
    let talks = stage.open_all(kinds);
    stage.await_kept(talks.len());
    let mut stalled: Vec<_> = talks
        .into_iter()
        .map(|it| Stalled::start(it, way))
        .collect();
    for session in &mut stalled {
        session.await_full();
    }
    stage.kill();
    stalled.iter_mut().for_each(Stalled::answers);
    for _ in 0..3 {
        stage.kill();
        for it in &mut stalled {
            it.hears_some(MEGABYTE);
        }
    }
    stalled.into_iter().for_each(Stalled::hears_all);
    stage.lost_none();
}

#[test]
fn a_client_that_does_not_read_gets_every_byte() {
    every_byte_comes(&Kind::mixed(), Way::Down);
}

#[test]
fn a_backend_that_does_not_read_gets_every_byte() {
    every_byte_comes(&Kind::mixed(), Way::Up);
}

#[test]
fn a_session_that_was_full_before_it_could_be_kept_is_kept_and_gets_every_byte() {
    let mut stage = Stage::new();
    let kinds = [
        Kind::of(PLAIN, PLAIN),
        Kind::of(TLS13, PLAIN),
        Kind::of(TLS12, TLS13),
    ];
    let mut stalled: Vec<_> = kinds
        .iter()
        .map(|kind| Stalled::start(stage.open(kind), Way::Down))
        .collect();
    for session in &mut stalled {
        session.await_full();
    }
    stage.await_kept(kinds.len());
    stage.kill();
    stalled.into_iter().for_each(Stalled::hears_all);
    stage.lost_none();
}

#[test]
fn an_end_behind_words_that_wait_comes_behind_them() {
    let mut stage = Stage::new();
    let talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    // The speaker has said more than the buffers hold, and the reader has read all that they held, so the end of the
    // stream is on its way.
    let mut stalled: Vec<_> = talks
        .into_iter()
        .map(|it| Stalled::start(it, Way::Down))
        .collect();
    for session in &mut stalled {
        session.await_full();
        session.hears_until_all_is_said();
    }
    stage.kill();
    stalled.into_iter().for_each(Stalled::hears_all);
    stage.lost_none();
}
