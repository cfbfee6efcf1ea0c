//! Unix sockets under death after death. How much a worker had written to one when it died is not known, so at most
//! one session ends for each death, and that session ends cleanly.

use super::{
    busy::{Busy, Fate},
    kind::{Kind, PLAIN, TLS13, unix},
    stage::Stage,
};
use crate::support::{process, until};

/// How often the only worker is killed.
const DEATHS: usize = 20;

#[test]
fn sessions_over_unix_sockets_lose_at_most_one_for_each_death_and_never_a_byte_in_the_middle() {
    let mut stage = Stage::new();
    let kinds = [
        Kind::of(unix(None), PLAIN),
        Kind::of(PLAIN, unix(None)),
        Kind::of(TLS13, unix(None)),
        Kind::of(unix(None), unix(None)),
    ];
    let kinds: Vec<_> = kinds.iter().cycle().take(24).copied().collect();
    let talks = stage.open_all(&kinds);
    stage.await_kept(talks.len());
    let busy = Busy::start(talks);
    for death in 1..=DEATHS {
        busy.go_on();
        stage.kill();
        // The next worker counts the sessions that it could not go on with.
        let status = stage.daemon.await_status("all are counted", |status| {
            let sessions = &status["sessions"];
            let number = |name: &str| sessions[name].as_u64().unwrap();
            number("kept") + number("lost_total") >= 24 && number("taken_over_total") > 0
        });
        let lost = status["sessions"]["lost_total"].as_u64().unwrap();
        assert!(lost <= death as u64, "{lost} lost by {death} deaths");
    }
    busy.go_on();
    let fates = busy.end();
    let lost = fates
        .iter()
        .filter(|it| matches!(it, Fate::Lost(_)))
        .count();
    assert!(lost < fates.len(), "{fates:#?}");
    stage.await_lost(lost);
}

#[test]
fn of_sessions_over_tcp_none_is_lost_beside_those_over_unix_sockets() {
    let mut stage = Stage::new();
    let unix_kinds = [Kind::of(unix(None), unix(None)); 8];
    let over_unix = stage.open_all(&unix_kinds);
    let over_tcp = stage.open_all(&Kind::mixed());
    stage.await_kept(over_unix.len() + over_tcp.len());
    let (over_unix, over_tcp) = (Busy::start(over_unix), Busy::start(over_tcp));
    for _ in 0..10 {
        over_tcp.go_on();
        over_unix.go_on();
        stage.kill();
        until("the next is there", || {
            !process::workers(stage.daemon.pid()).is_empty()
        });
    }
    over_tcp.go_on();
    over_tcp.end_whole();
    let fates = over_unix.end();
    let lost = fates
        .iter()
        .filter(|it| matches!(it, Fate::Lost(_)))
        .count();
    assert!(lost <= 10, "{fates:#?}");
    stage.await_lost(lost);
}
