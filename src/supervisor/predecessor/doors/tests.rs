use std::{
    net::{TcpListener, TcpStream},
    os::{fd::AsFd as _, unix::net::UnixStream as StdUnixStream},
    process::{Child, Command, Stdio},
};

use rustix::event::{EventfdFlags, eventfd};
use tokio::net::UnixStream;

use super::*;
use crate::{
    facts::SessionId,
    link::{FromWorker, door::OfWorker, end::Sender, worker::About},
    sys::child::Handle,
};

/// The variable that tells a process of these tests which worker it plays.
const SCRIPT: &str = "PROXYD_TEST_ORPHAN";

/// The origin of a worker's door.
const ORIGIN: u64 = 17;

/// A worker that is played by a process of its own, and the folder of its door.
struct Played {
    _above: tempfile::TempDir,
    folder: PathBuf,
    process: Child,
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Has a process play a worker behind a door.
fn play(script: &str) -> Played {
    let above = tempfile::tempdir().unwrap();
    let folder = folder(&above.path().join("x.sock"));
    let door = Doors::make(&folder).unwrap().bind(&ORIGIN.to_string());
    let process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("supervisor::predecessor::doors::tests::a_process_that_plays_a_worker")
        .env(SCRIPT, script)
        .stdin(Stdio::from(door.unwrap()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Played {
        _above: above,
        folder,
        process,
    }
}

fn id(origin: u64, number: u64) -> SessionId {
    SessionId { origin, number }
}

fn about() -> FromWorker {
    FromWorker::About(Box::new(About {
        pid: std::process::id(),
        slot: 1,
        origin: ORIGIN,
        table: Some(3),
        generation: 5,
        version: "1.2.3\x1b".to_owned(),
        accepts: true,
    }))
}

/// Plays the worker that the environment names, with a door as standard input.
#[test]
#[ignore = "other tests run it in processes of its own"]
fn a_process_that_plays_a_worker() {
    let Ok(script) = std::env::var(SCRIPT) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let door = io::stdin();
        let connected = loop {
            if let Ok(socket) = rustix::net::accept(door.as_fd()) {
                break socket;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let socket = StdUnixStream::from(connected);
        socket.set_nonblocking(true).unwrap();
        let socket = UnixStream::from_std(socket).unwrap();
        if script == "silent" {
            std::future::pending::<()>().await;
        }
        let owner = nix::unistd::getuid().as_raw();
        let (mut hears, says): OfWorker = door::admit(socket, owner).await.unwrap();
        let asked = hears.receive().await.unwrap().unwrap();
        assert!(matches!(asked.message, ToWorker::Tell));
        tell(&says, &script).await;
        // Until the test has seen enough.
        let _ = hears.receive().await;
    });
}

async fn tell(says: &Sender<FromWorker>, script: &str) {
    let some = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    if script == "not introduced" {
        return says.send(&FromWorker::Told, &[]).await.unwrap();
    }
    if script == "another" {
        let FromWorker::About(mut about) = about() else {
            return;
        };
        about.origin += 1;
        let told = FromWorker::About(about);
        return says.send(&told, &[some().as_fd()]).await.unwrap();
    }
    // What was on its way before the worker heard that it is to tell all.
    let (one, other) = StdUnixStream::pair().unwrap();
    let ids = vec![id(ORIGIN, 5)];
    let keep = FromWorker::Keep { ids };
    says.send(&keep, &[one.as_fd(), other.as_fd()])
        .await
        .unwrap();
    let ids = vec![id(ORIGIN, 5)];
    says.send(&FromWorker::Over { ids }, &[]).await.unwrap();
    // A worker that is well says this now and then, also before it hears that it is to tell what it is.
    says.send(&FromWorker::Beat, &[]).await.unwrap();
    says.send(&about(), &[some().as_fd()]).await.unwrap();
    let pack = some();
    says.send(&FromWorker::State, &[pack.as_fd(), pack.as_fd()])
        .await
        .unwrap();
    says.send(&FromWorker::Board, &[pack.as_fd()])
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = ListenerKey {
        bind: listener.local_addr().unwrap().to_string(),
        name: String::new(),
    };
    for (slot, socket) in [
        (0, listener.as_fd()),
        (0, listener.as_fd()),
        (1, pack.as_fd()),
        (2, listener.as_fd()),
    ] {
        let key = key.clone();
        let told = FromWorker::Socket { key, slot };
        says.send(&told, &[socket]).await.unwrap();
    }
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (backend, _other) = StdUnixStream::pair().unwrap();
    let pair = [client.as_fd(), backend.as_fd()];
    let ids = vec![id(ORIGIN, 1), id(ORIGIN, 2), id(9, 3)];
    let keep = FromWorker::Keep { ids };
    says.send(&keep, &[pair, pair, pair].concat())
        .await
        .unwrap();
    let ids = vec![id(ORIGIN, 4)];
    let wrong = [client.as_fd(), pack.as_fd()];
    says.send(&FromWorker::Keep { ids }, &wrong).await.unwrap();
    let ids = vec![id(ORIGIN, 2)];
    says.send(&FromWorker::Over { ids }, &[]).await.unwrap();
    says.send(&FromWorker::Denied { calls: 7 }, &[])
        .await
        .unwrap();
    match script {
        "again" => says.send(&about(), &[some().as_fd()]).await.unwrap(),
        "slow" => {}
        _ => says.send(&FromWorker::Told, &[]).await.unwrap(),
    }
}

fn find_at(folder: &Path, most: usize, patience: Duration) -> (Runtime, Answers) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let asking = ask_all(folder.to_owned(), most, patience);
    let answers = runtime.block_on(LocalSet::new().run_until(asking));
    (runtime, answers)
}

/// Waits until a process has ended; panics if it does not.
fn ends(handle: &Handle) -> bool {
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        if handle.has_ended() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn a_worker_is_found_with_all_that_it_has() {
    let played = play("whole");
    let (_runtime, answers) = find_at(&played.folder, 9, PATIENCE);
    assert_eq!(answers.troubles, [""; 0]);
    let orphan = &answers.orphans[0];
    assert_eq!(orphan.found.pid, played.process.id());
    assert_eq!((orphan.about.slot, orphan.about.table), (1, Some(3)));
    assert_eq!(orphan.about.version, "1.2.3");
    assert!(orphan.table.is_some() && orphan.board.is_some());
    // One has ended since, and of one the sockets cannot be a session's.
    let kept: Vec<SessionId> = orphan.kept.keys().copied().collect();
    assert_eq!(kept, [id(9, 3), id(ORIGIN, 1)]);
    assert_eq!(orphan.said, [FromWorker::Denied { calls: 7 }]);
    assert_eq!(answers.states[0].len(), 2);
    // What does not listen is no listening socket, the same slot's comes once, and no socket is that of two slots.
    let slots: Vec<usize> = answers.sockets.iter().map(|it| it.1).collect();
    assert_eq!(slots, [0]);
    assert!(!orphan.found.handle().has_ended());
}

#[test]
fn sockets_of_no_more_sessions_are_kept_than_there_is_room_for() {
    let played = play("whole");
    let (_runtime, answers) = find_at(&played.folder, 2, PATIENCE);
    let orphan = &answers.orphans[0];
    let missed: Vec<SessionId> = orphan.missed.iter().copied().collect();
    let kept: Vec<SessionId> = orphan.kept.keys().copied().collect();
    assert_eq!((kept, missed), (vec![id(ORIGIN, 1)], vec![id(9, 3)]));
}

#[test]
fn sessions_of_another_worker_that_lives_are_not_believed() {
    let played = play("whole");
    // Another worker has this door, and does not answer.
    let _door = Doors::open(&played.folder).unwrap().bind("9").unwrap();
    let (_runtime, answers) = find_at(&played.folder, 9, Duration::from_secs(2));
    let kept: Vec<SessionId> = answers.orphans[0].kept.keys().copied().collect();
    assert_eq!(kept, [id(ORIGIN, 1)]);
    assert!(answers.troubles[0].contains("(door 9)"), "{answers:?}");
}

#[test]
fn a_worker_that_does_not_answer_costs_only_itself() {
    let played = play("silent");
    let (_runtime, answers) = find_at(&played.folder, 9, Duration::from_secs(1));
    assert!(answers.orphans.is_empty());
    assert!(
        answers.troubles[0].contains("it does not answer"),
        "{answers:?}"
    );
    let handle = Found::open(played.process.id()).unwrap().handle();
    assert!(!handle.has_ended(), "it may go on");
}

#[test]
fn a_worker_that_is_slow_to_tell_is_gone_on_with() {
    let played = play("slow");
    let (_runtime, answers) = find_at(&played.folder, 9, Duration::from_secs(2));
    let orphan = &answers.orphans[0];
    assert_eq!(orphan.kept.len(), 2);
    assert!(!orphan.found.handle().has_ended());
}

#[test]
fn a_worker_that_says_that_it_is_another_is_killed() {
    for script in ["another", "not introduced"] {
        let played = play(script);
        let handle = Found::open(played.process.id()).unwrap().handle();
        let (_runtime, answers) = find_at(&played.folder, 9, PATIENCE);
        assert!(answers.orphans.is_empty());
        assert_eq!(answers.troubles.len(), 1);
        assert!(ends(&handle), "{script}");
    }
}

#[test]
fn a_worker_that_breaks_its_link_is_killed_and_what_it_told_before_is_gone_on_with() {
    let played = play("again");
    let (_runtime, answers) = find_at(&played.folder, 9, PATIENCE);
    let orphan = &answers.orphans[0];
    assert_eq!(orphan.kept.len(), 2);
    assert!(ends(&orphan.found.handle()));
}

#[test]
fn doors_behind_which_there_is_no_process_are_removed_and_other_files_stay() {
    let above = tempfile::tempdir().unwrap();
    let folder = folder(&above.path().join("x.sock"));
    let (_runtime, answers) = find_at(&folder, 9, PATIENCE);
    assert_eq!(answers.troubles, [""; 0], "there need be no folder");
    let doors = Doors::make(&folder).unwrap();
    drop(doors.bind("17").unwrap());
    std::fs::write(folder.join("18"), "x").unwrap();
    std::fs::write(folder.join("notes"), "x").unwrap();
    let (_runtime, answers) = find_at(&folder, 9, PATIENCE);
    assert!(answers.orphans.is_empty() && answers.troubles.is_empty());
    let mut names = doors.names(9).unwrap();
    names.sort();
    assert_eq!(names, ["18", "notes"]);
}

#[test]
fn a_folder_that_cannot_be_used_is_told_with_what_to_do() {
    let above = tempfile::tempdir().unwrap();
    let folder = folder(&above.path().join("x.sock"));
    std::fs::write(&folder, "x").unwrap();
    let (_runtime, answers) = find_at(&folder, 9, PATIENCE);
    assert!(
        answers.troubles[0].contains("as the user that it ran as"),
        "{answers:?}"
    );
}
