//! Messages to a service manager, over a fake socket or a real one with a full queue.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::sys::fds;

const SECOND: Duration = Duration::from_secs(1);

/// A socket that can be full.
#[derive(Debug, Default)]
struct Fake {
    full: Cell<bool>,
    sent: RefCell<Vec<String>>,
}

impl Send for &Fake {
    fn send(&self, message: &[u8]) -> io::Result<()> {
        if self.full.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let message = String::from_utf8(message.to_vec()).unwrap();
        self.sent.borrow_mut().push(message);
        Ok(())
    }

    fn send_with(&self, message: &[u8], _: BorrowedFd<'_>) -> io::Result<()> {
        self.send(message)
    }
}

impl Fake {
    fn take(&self) -> Vec<String> {
        self.sent.take()
    }
}

fn manager(fake: &Fake, watchdog: Option<Duration>, now: Instant) -> ServiceManager<&Fake> {
    ServiceManager(Some(Listening::new(fake, (watchdog, BTreeSet::new()), now)))
}

fn summary(sessions: u64) -> Summary {
    Summary {
        state: State::Serving,
        generation: 1,
        workers: 2,
        sessions,
        last_error: None,
    }
}

#[test]
fn what_a_full_queue_refused_is_sent_when_it_has_room() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut manager = manager(&fake, None, now);
    manager.ready();
    fake.full.set(true);
    manager.turn(now);
    let due = manager.due().unwrap();
    assert!(now < due && due <= now + SECOND);
    fake.full.set(false);
    manager.turn(now);
    assert!(fake.take().is_empty(), "no message is tried before that");
    manager.turn(due);
    assert_eq!(fake.take(), ["READY=1"]);
    assert_eq!(manager.due(), None);
}

#[test]
fn a_reload_before_the_daemon_serves_does_not_make_it_ready() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut manager = manager(&fake, None, now);
    manager.reloading();
    manager.reloaded();
    manager.turn(now);
    assert!(fake.take().is_empty());
}

#[test]
fn a_reload_is_told_with_the_time_of_its_beginning() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut manager = manager(&fake, None, now);
    manager.ready();
    manager.turn(now);
    manager.reloading();
    manager.turn(now);
    manager.reloaded();
    manager.turn(now);
    let sent = fake.take();
    assert_eq!(sent.len(), 3);
    assert!(sent[1].starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(sent[2], "READY=1");
}

#[test]
fn nothing_is_ready_any_more_once_the_daemon_stops() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut manager = manager(&fake, None, now);
    manager.ready();
    manager.turn(now);
    manager.reloading();
    manager.stopping(None, now);
    manager.reloaded();
    manager.turn(now);
    assert_eq!(fake.take(), ["READY=1", "STOPPING=1"]);
}

#[test]
fn a_report_is_sent_when_it_is_new_and_at_most_once_a_second() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut manager = manager(&fake, None, now);
    let mut at = |millis, sessions| {
        let now = now + Duration::from_millis(millis);
        manager.report(&summary(sessions), now);
        manager.turn(now);
        fake.take()
    };
    assert_eq!(at(0, 1), ["STATUS=generation 1, 2 workers, 1 session"]);
    assert!(at(900, 2).is_empty());
    assert_eq!(at(1000, 3), ["STATUS=generation 1, 2 workers, 3 sessions"]);
    assert!(at(5000, 3).is_empty());
}

#[test]
fn a_new_phase_is_told_with_its_report() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut manager = manager(&fake, None, now);
    manager.report(&summary(0), now);
    manager.turn(now);
    manager.ready();
    assert!(manager.wants_report(now));
    manager.report(&summary(1), now);
    manager.turn(now);
    let expected = "READY=1\nSTATUS=generation 1, 2 workers, 1 session";
    assert_eq!(fake.take()[1], expected);
}

#[test]
fn a_drain_asks_for_time_until_its_deadline_and_no_longer() {
    let (fake, mut now) = (Fake::default(), Instant::now());
    let mut manager = manager(&fake, None, now);
    let deadline = now + Duration::from_secs(300);
    manager.stopping(Some(Duration::from_secs(300)), now);
    let mut allowed = now;
    loop {
        manager.turn(now);
        for message in fake.take() {
            let micros = message.rsplit_once("EXTEND_TIMEOUT_USEC=").unwrap().1;
            let asked = Duration::from_micros(micros.parse().unwrap());
            assert!(asked <= Duration::from_secs(40), "a hang is not noticed");
            allowed = now + asked;
        }
        match manager.due() {
            Some(due) => {
                assert!(due + SECOND < allowed, "too late if a message is lost");
                now = due;
            }
            None => break,
        }
    }
    assert!(deadline < allowed && allowed < deadline + Duration::from_secs(30));
}

#[test]
fn a_watchdog_is_fed_if_it_watches_this_process() {
    let timeout = |pid: Option<&str>, micros: &str| {
        let mut variables = HashMap::from([("WATCHDOG_USEC", micros.to_owned())]);
        variables.extend(pid.map(|pid| ("WATCHDOG_PID", pid.to_owned())));
        watchdog_timeout(&|name: &str| variables.get(name).map(OsString::from), 42)
    };
    assert_eq!(timeout(Some("42"), "3000000"), Some(3 * SECOND));
    assert_eq!(timeout(None, "3000000"), Some(3 * SECOND));
    assert_eq!(timeout(Some("41"), "3000000"), None);
    assert_eq!(timeout(Some("x"), "3000000"), None);
    assert_eq!(timeout(Some("42"), "0"), None);
    assert_eq!(timeout(Some("42"), ""), None);
}

#[test]
fn abstract_addresses_and_paths_are_known_and_others_left_alone() {
    let name = format!("proxyd-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let abstract_one = UnixDatagram::bind_addr(&address).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let with_path = UnixDatagram::bind(&path).unwrap();
    let name = OsString::from(format!("@{name}"));
    for (listener, address) in [(abstract_one, name), (with_path, path.into())] {
        let variable = |name: &str| (name == "NOTIFY_SOCKET").then(|| address.clone());
        let mut manager = ServiceManager::new(variable, BTreeSet::new());
        manager.ready();
        manager.turn(Instant::now());
        let mut message = [0; 64];
        let length = listener.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1");
    }
    let manager = ServiceManager::new(
        |name| (name == "NOTIFY_SOCKET").then(|| "vsock:2:1".into()),
        BTreeSet::new(),
    );
    assert!(manager.0.is_none());
}

/// With a blocking socket this test would not end.
#[test]
fn a_service_manager_that_reads_nothing_does_not_stop_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let listener = UnixDatagram::bind(&path).unwrap();
    let mut manager = ServiceManager::new(
        |name| (name == "NOTIFY_SOCKET").then(|| path.clone().into()),
        BTreeSet::new(),
    );
    let began = Instant::now();
    let turns = 10_000;
    for turn in 0..turns {
        let now = began + SECOND * turn;
        manager.report(&summary(u64::from(turn)), now);
        manager.turn(now);
    }
    manager.ready();
    let mut message = [0; 256];
    listener.set_nonblocking(true).unwrap();
    while listener.recv(&mut message).is_ok() {}
    manager.turn(began + SECOND * turns);
    let length = listener.recv(&mut message).unwrap();
    assert!(message[..length].starts_with(b"READY=1\n"));
}

#[test]
fn a_start_in_which_nothing_gives_a_sign_of_life_is_given_more_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let listener = UnixDatagram::bind(&path).unwrap();
    let heard = || {
        let mut text = [0; 64];
        let length = listener.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let variable = |name: &str| match name {
        "NOTIFY_SOCKET" => Some(path.clone().into()),
        "WATCHDOG_USEC" => Some("9000000".into()),
        _ => None,
    };
    let manager = ServiceManager::new(variable, BTreeSet::new());
    manager.wait_for_life(Some(SECOND * 60));
    assert_eq!(heard(), "WATCHDOG=1\nWATCHDOG_USEC=60000000");
    manager.wait_for_life(None);
    assert_eq!(heard(), "WATCHDOG=1\nWATCHDOG_USEC=9000000");
}

#[test]
fn a_descriptor_arrives_with_the_message_that_has_it_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let listener = UnixDatagram::bind(&path).unwrap();
    let variable = |name: &str| (name == "NOTIFY_SOCKET").then(|| path.clone().into());
    let mut manager = ServiceManager::new(variable, BTreeSet::from(["book-1".to_owned()]));
    let book: Arc<OwnedFd> = Arc::new(tempfile::tempfile().unwrap().into());
    let now = Instant::now();
    manager.keep(Wanted::new(Vec::new(), &[Arc::clone(&book)]), now);
    assert_eq!(manager.due(), Some(now));
    manager.turn(now);
    let mut text = [0; 64];
    let packet = fds::receive_packet(&listener, &mut text, 1).unwrap();
    let number = inode(&book).unwrap();
    let expected = format!("FDSTORE=1\nFDNAME=book-{number}");
    assert_eq!(&text[..packet.length], expected.as_bytes());
    assert_eq!(inode(&packet.descriptors[0]), Some(number));
    let packet = fds::receive_packet(&listener, &mut text, 1).unwrap();
    assert_eq!(&text[..packet.length], b"FDSTOREREMOVE=1\nFDNAME=book-1");
    assert!(packet.descriptors.is_empty());
    assert_eq!(manager.stored(), BTreeSet::from([format!("book-{number}")]));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ready,
    Reloading,
    Reloaded,
    Stopping,
    Report(u64),
    Full(bool),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Ready),
        Just(Step::Reloading),
        Just(Step::Reloaded),
        Just(Step::Stopping),
        (0..3u64).prop_map(Step::Report),
        any::<bool>().prop_map(Step::Full),
        (0..3000u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

/// Returns the state that the service manager must know in the end.
fn expected(steps: &[Step]) -> Option<&'static str> {
    steps.iter().fold(None, |phase, step| match (phase, step) {
        (Some("STOPPING=1"), _) | (_, Step::Stopping) => Some("STOPPING=1"),
        (_, Step::Ready) | (Some("RELOADING=1"), Step::Reloaded) => Some("READY=1"),
        (Some(_), Step::Reloading) => Some("RELOADING=1"),
        (phase, _) => phase,
    })
}

proptest! {
    #[test]
    fn the_manager_believes_what_is_true_once_it_listens(steps in steps()) {
        let (fake, began) = (Fake::default(), Instant::now());
        let watchdog = 3 * SECOND;
        let mut manager = manager(&fake, Some(watchdog), began);
        let (mut now, mut said, mut fed, mut told) = (began, None, began, None);
        let mut entered = 0;
        let settle = [Step::Full(false), Step::Wait(5000)];
        for step in steps.iter().chain(&settle) {
            let mut end = now;
            entered += u32::from(matches!(step, Step::Ready | Step::Reloading | Step::Reloaded | Step::Stopping));
            match *step {
                Step::Ready => manager.ready(),
                Step::Reloading => manager.reloading(),
                Step::Reloaded => manager.reloaded(),
                Step::Stopping => manager.stopping(None, now),
                Step::Report(sessions) => manager.report(&summary(sessions), now),
                Step::Full(full) => {
                    fake.full.set(full);
                    fed = now;
                }
                Step::Wait(millis) => end = now + Duration::from_millis(millis),
            }
            loop {
                manager.turn(now);
                for message in fake.take() {
                    for line in message.lines() {
                        match line {
                            "WATCHDOG=1" => fed = now,
                            "READY=1" | "RELOADING=1" | "STOPPING=1" => said = Some(line.to_owned()),
                            _ => prop_assert!(line.starts_with("STATUS=") || line.starts_with("MONOTONIC_USEC=")),
                        }
                        if line.starts_with("STATUS=") {
                            prop_assert!(told.is_none_or(|(told, phase)| phase != entered || told + SECOND <= now));
                            told = Some((now, entered));
                        }
                    }
                }
                if !fake.full.get() {
                    prop_assert!(now.duration_since(fed) < watchdog);
                }
                let due = manager.due().unwrap();
                prop_assert!(due > now, "the loop would spin");
                if due > end {
                    break;
                }
                now = due;
            }
            now = end;
        }
        prop_assert_eq!(said.as_deref(), expected(&steps));
    }
}
