//! Records of every kind, for the tests that hold their bytes.

use std::{net::Ipv6Addr, sync::Arc};

use zeroize::Zeroizing;

use super::{Flows, LegRecord, Record, Seat};
use crate::{
    facts::SessionId,
    protocol::{mysql::second_login::SecondLogin, watch::Watch as _, watcher::Watcher},
    session::{
        chains::ClientChain,
        conversation::Conversation,
        leg::{Leg, WriteSide},
        live::{ClientTls, Facts, LiveSession},
        peers::Peers,
        relay::Patience,
        scratch::Scratch,
    },
    tls::records::{Role, State, fuzzing::state, suite::SUITES},
};

/// Returns a record of each kind, by name.
pub(crate) fn all() -> Vec<(&'static str, Record)> {
    let (tls_12, tls_13) = (tls(0x1303, Role::Server), tls(0xc02b, Role::Client));
    vec![
        ("plain", record(None, None, Flows::Open)),
        (
            "tls_13",
            record(Some(tls_12.clone()), None, Flows::ClientOver),
        ),
        (
            "tls_both",
            record(
                Some(tls(0x1302, Role::Server)),
                Some(tls_13),
                Flows::BackendOver,
            ),
        ),
        (
            "failed",
            record(None, Some(tls_12), Flows::BackendFailed(104)),
        ),
        ("mysql", mysql()),
    ]
}

/// Returns the record of a session as it is now, which does not wait for a fault and is not kept.
pub(crate) fn now(conversation: &Conversation<Watcher>, session: &LiveSession) -> Record {
    let scratch = Scratch::empty();
    let leg = |leg: &Leg| {
        let moving = leg.moving(&scratch).unwrap();
        let waiting = leg.waiting().map(|it| Zeroizing::new(it.to_vec()));
        let [held, early, unsent] = waiting;
        LegRecord {
            cookie: leg.socket().cookie(),
            taken: moving.taken,
            queued: moving.queued,
            tls: leg.tls_state().cloned(),
            held,
            early,
            unsent,
            ended: moving.ended,
            failed: moving.failed,
            write: moving.write,
        }
    };
    let (bytes_up, bytes_down) = session.bytes();
    Record {
        bytes_up,
        bytes_down,
        moved: session.moved_at_boot(),
        flows: Flows::of(conversation.up, conversation.down, &conversation.first),
        client: leg(&conversation.client),
        backend: leg(&conversation.backend),
        watcher: conversation.watch.clone(),
        facts: session.facts(),
        ..record(None, None, Flows::Open)
    }
}

fn mysql() -> Record {
    let kept = include_bytes!("../../../fuzz/corpus/mysql_second_login/asked-for-password");
    let (watch, _) = SecondLogin::decode(kept).unwrap();
    Record {
        watcher: Watcher::SecondLogin(Box::new(watch)),
        ..record(Some(tls(0x1301, Role::Server)), None, Flows::Open)
    }
}

fn record(client: Option<State>, backend: Option<State>, flows: Flows) -> Record {
    let facts = Facts {
        peers: Peers {
            client: Some(([192, 0, 2, 1], 40_000).into()),
            via: Some((Ipv6Addr::LOCALHOST, 7).into()),
        },
        generation: 3,
        tls: client.as_ref().map(|state| ClientTls {
            version: state.version().name(),
            suite: Some(state.suite().name),
            certificate: ClientChain::of(vec![Box::from([0x30, 0]), Box::from([0x30, 1])])
                .map(Arc::new),
        }),
        server_name: Some("db.example".into()),
        user: Some("app".into()),
        backend: Some("127.0.0.1:3306".into()),
    };
    Record {
        id: SessionId {
            origin: 0x1_8c9f_2a3b_4d5e,
            number: 26,
        },
        takeovers: 2,
        suspicion: 3,
        seat: Seat {
            listener: "orders".to_owned(),
            number: 1,
            counts_client: true,
        },
        patience: Patience::of_milliseconds([u64::MAX, 10_000, 120_000]),
        bytes_up: 1 << 33,
        bytes_down: 5,
        began: 1_795_000_000_000_000,
        moved: 86_400_000,
        flows,
        client: leg(client, b"\x17\x03\x03", 7),
        backend: leg(backend, b"", 8),
        watcher: Watcher::None,
        facts,
    }
}

fn leg(tls: Option<State>, held: &[u8], cookie: u64) -> LegRecord {
    let held = if tls.is_some() { held } else { b"" };
    LegRecord {
        cookie,
        taken: 1000,
        queued: 2000,
        tls,
        held: Zeroizing::new(held.to_vec()),
        early: Zeroizing::new(b"early".to_vec()),
        unsent: Zeroizing::new(b"unsent".to_vec()),
        ended: cookie == 7,
        failed: cookie == 7 && !held.is_empty(),
        write: WriteSide::Closing,
    }
}

fn tls(code: u16, role: Role) -> State {
    let suite = SUITES.iter().find(|it| it.code == code).unwrap();
    state(suite, role)
}
