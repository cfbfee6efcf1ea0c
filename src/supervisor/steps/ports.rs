//! The addresses that the daemon listens at.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{Findings, Ground, Who, ground::Whose, names, unix};
use crate::{
    config::{Address, Listener, covers},
    link::ListenerKey,
    supervisor::{
        activation::{Chosen, Place},
        pid_file,
        workers::{explain, probe},
    },
    sys::listening,
};

/// How long a running daemon waits for a name.
const NAME_PATIENCE: Duration = Duration::from_millis(300);

/// What a trial of an address has shown.
enum Trial {
    Good,
    /// A start would fail, for this reason.
    Refused(String),
    /// It shows nothing, for this reason.
    Untold(String),
}

pub(super) fn attempt_listeners(ground: &Ground<'_>, findings: &mut Findings) {
    let passed = &ground.origin.passed;
    let choice = passed.choose(&ground.config.listeners, |host| {
        let found = look_up(ground, host).and_then(Result::ok);
        found.unwrap_or_default()
    });
    if matches!(ground.who, Who::Start) {
        passed.refused().iter().for_each(|it| findings.doubt(it));
    }
    let is_open = |it: &&Listener| ground.origin.listening.contains(&it.bind.to_string());
    for listener in ground.config.listeners.iter().filter(|it| !is_open(it)) {
        let what = format!("listener \"{}\"", listener.name);
        let tried = match (choice.of(&listener.name), &listener.bind) {
            (Some(Chosen::One(number)), _) => {
                attempt_passed(ground, findings, &what, *number);
                Trial::Good
            }
            (Some(Chosen::Several(numbers)), _) => Trial::Refused(passed.several(numbers)),
            (None, Address::Unix(path)) => match unix::attempt_listener(ground, path) {
                Ok(None) => Trial::Good,
                Ok(Some(why)) => Trial::Untold(why),
                Err(error) => Trial::Refused(explain(&error, &listener.bind)),
            },
            (None, Address::Tcp { host, port }) => {
                let own = is_own(ground, listener);
                attempt_host(ground, &what, (host, *port), listener.freebind, own)
            }
        };
        note(findings, &what, &listener.bind, tried);
    }
}

/// Notes what is odd about a socket that systemd has passed for a listener, and that it listens there.
fn attempt_passed(ground: &Ground<'_>, findings: &mut Findings, what: &str, number: usize) {
    let Some(socket) = ground.origin.passed.get(number) else {
        return;
    };
    let Place::Tcp { address, v6_alone } = socket.place else {
        return;
    };
    if v6_alone && address.ip().is_unspecified() && matches!(ground.who, Who::Start) {
        findings.doubt(format!(
            "{what}: clients of IPv4 cannot connect to {address}, because systemd passes a socket that is for IPv6 alone; \
             set BindIPv6Only=both in its socket unit"
        ));
    }
    let mut bound = ground.bound.borrow_mut();
    bound.push((address, what.to_owned()));
}

/// Looks up the addresses of a host; `None` if that takes too long.
fn look_up(ground: &Ground<'_>, host: &str) -> Option<names::Answer> {
    match ground.who {
        Who::Daemon(_) => ground.origin.names.resolve_within(host, NAME_PATIENCE),
        Who::Start | Who::Check => Some(names::resolve(host)),
    }
}

pub(super) fn attempt_page(ground: &Ground<'_>, findings: &mut Findings) {
    let Some(address) = ground.config.metrics else {
        return;
    };
    let own = address.port() != 0
        && ground
            .in_force()
            .is_some_and(|config| config.metrics == Some(address));
    let tried = attempt_address(ground, address, false, own);
    note(findings, "metrics", &written(address), tried);
}

fn note(findings: &mut Findings, what: &str, bind: &Address, tried: Trial) {
    match tried {
        Trial::Good => {}
        Trial::Refused(reason) => {
            findings.obstacle(format!("{what}: cannot listen on {bind}: {reason}"));
        }
        Trial::Untold(why) => findings.not_tried(format!("{what}: {bind}: {why}")),
    }
}

/// Returns an address as a configuration has it.
pub(super) fn written(address: SocketAddr) -> Address {
    Address::Tcp {
        host: address.ip().to_string(),
        port: address.port(),
    }
}

/// Whether the daemon that runs listens there for the configuration in force.
fn is_own(ground: &Ground<'_>, listener: &Listener) -> bool {
    let key = ListenerKey::of(listener);
    let listeners = ground.in_force().map(|config| &config.listeners);
    listener.bind.port() != Some(0)
        && listeners.is_some_and(|all| all.iter().any(|it| ListenerKey::of(it) == key))
}

/// Tries the addresses of a host until one is good, as a start does.
fn attempt_host(
    ground: &Ground<'_>,
    what: &str,
    (host, port): (&str, u16),
    freebind: bool,
    own: bool,
) -> Trial {
    let found = match look_up(ground, host) {
        None => return Trial::Untold("the name was not looked up in time".to_owned()),
        Some(Err(error)) => return Trial::Refused(error),
        Some(Ok(found)) => found,
    };
    let mut last = Trial::Refused("the name has no address".to_owned());
    for ip in found {
        let address = SocketAddr::new(ip, port);
        match attempt_address(ground, address, freebind, own) {
            Trial::Refused(reason) => last = Trial::Refused(reason),
            tried => {
                let mut bound = ground.bound.borrow_mut();
                bound.push((address, what.to_owned()));
                return tried;
            }
        }
    }
    last
}

/// Tries an address; `own` says that the daemon that runs listens there, so that its port is free once it
/// has ended.
fn attempt_address(ground: &Ground<'_>, address: SocketAddr, freebind: bool, own: bool) -> Trial {
    if let Some(other) = overlapping(ground, address) {
        return Trial::Refused(format!("{other} listens there too; choose another port"));
    }
    let any_port = SocketAddr::new(address.ip(), 0);
    let tried = probe(if own { any_port } else { address }, freebind);
    let refused = |error: &io::Error| Trial::Refused(explain(error, &written(address)));
    match tried {
        Ok(()) => Trial::Good,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if let Some(told) = ground.origin.passed.in_the_way(address) {
                return Trial::Refused(told);
            }
            match holder(ground, address) {
                Whose::Ours => {
                    probe(any_port, freebind).map_or_else(|error| refused(&error), |()| Trial::Good)
                }
                Whose::Unknown => Trial::Untold(
                    "the port is in use, and the kernel does not say whether by the daemon that runs"
                        .to_owned(),
                ),
                // The start waits for the workers of the dead daemon.
                Whose::Others | Whose::Nobodys if may_become_free(ground) => Trial::Good,
                Whose::Systemd => systemds(ground),
                Whose::Others | Whose::Nobodys => refused(&error),
            }
        }
        Err(error) => refused(&error),
    }
}

/// Says what it means that systemd listens at an address.
fn systemds(ground: &Ground<'_>) -> Trial {
    match ground.who {
        Who::Check => Trial::Untold(unix::SYSTEMD_LISTENS.to_owned()),
        Who::Start | Who::Daemon(_) => Trial::Refused(
            "systemd listens there for a socket unit; have systemd start the daemon (`systemctl start proxyd`), or stop \
             that unit (`systemctl list-sockets`)"
                .to_owned(),
        ),
    }
}

fn overlapping(ground: &Ground<'_>, address: SocketAddr) -> Option<String> {
    let bound = ground.bound.borrow();
    let mut others = bound.iter().filter(|(other, _)| {
        address.port() != 0 && other.port() == address.port() && covers(other.ip(), address.ip())
    });
    others.next().map(|(_, what)| what.clone())
}

/// Returns whose sockets listen where `address` cannot be bound.
fn holder(ground: &Ground<'_>, address: SocketAddr) -> Whose {
    let Ok(all) = listening::at_port(address.port()) else {
        return match ground.who {
            Who::Start => Whose::Others,
            Who::Check | Who::Daemon(_) => Whose::Unknown,
        };
    };
    let there = all
        .into_iter()
        .filter(|(ip, _): &(IpAddr, u64)| covers(*ip, address.ip()));
    let sockets: BTreeSet<u64> = there.map(|(_, socket)| socket).collect();
    ground.whose(&sockets)
}

/// Whether a start waits for the port, because a daemon has died whose workers may still leave it.
fn may_become_free(ground: &Ground<'_>) -> bool {
    matches!(ground.who, Who::Start) && !pid_file::number(&ground.config.pid_file).is_empty()
}
