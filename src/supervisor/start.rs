//! The daemon's start, in this order: arguments, configuration, a trial of all steps, detaching, the
//! steps (see `steps`), workers, ready.

use std::{
    collections::BTreeSet,
    io,
    net::TcpListener,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser as _;
use daemonize::{Daemonize, Outcome};
use jiff::Timestamp;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::sync::mpsc;
use tracing::{info, warn};

pub use super::refusal::refuse;
use super::{
    Inputs, Supervisor,
    activation::PassedSockets,
    clock::Clock,
    control_socket::{self, ControlSocket},
    doors::Doors,
    helpers::Helpers,
    life::{Exited, Life, Ready, ServiceManager, await_daemon},
    loads::{Files, Loads},
    notices::{Hook, Notices},
    orphans::Orphans,
    plan::{Action, After, Plan},
    predecessor::{self, Carried, NotBack, Passed, Predecessor},
    preflight,
    queries::Queries,
    refusal::Refusal,
    sandbox::Sandbox,
    state::{Book, State},
    steps::{self, First, Ground, Origin, Start, Who},
    upgrade::{Fixtures, Upgrades},
    workers::{Acquired, Boards, Keeping, Tickets, Workers},
};
use crate::{
    children::{self, Launcher},
    cli::proxyd::Args,
    config::{Config, ConfigError, Environment, Source},
    facts::{PROGRAM_VERSION, Trigger},
    link::Generation,
    store::{Memo, expiries::Expiries},
    sys::{
        fds,
        own_children::OwnChildren,
        passed, privileges, signals,
        succession::{self, Received},
        tcp_counts,
        upgrade_points::{self, Point},
    },
    telemetry::log::Sink,
};

/// How long the end waits for a disk on which files are removed.
pub(super) const CLEANUP_PATIENCE: Duration = Duration::from_secs(1);

/// Where the configuration comes from, and the one that is on disk.
struct Given {
    source: Source,
    config: Result<Config, Broken>,
}

/// A configuration that cannot be read, of a daemon whose predecessor may have left one.
struct Broken {
    error: ConfigError,
    /// Where its control socket is as far as that can be said.
    control_socket: PathBuf,
}

impl Given {
    /// Reads the configuration; fails if it cannot be read, and there is no predecessor.
    fn new(args: &Args, passed: &Passed) -> Result<Self, ConfigError> {
        let source = Source::new(&args.given(), &Environment::of_process())?;
        let error = match source.load() {
            Ok(config) => {
                let config = Ok(config);
                return Ok(Self { source, config });
            }
            Err(error) => error,
        };
        let socket = source.control_socket_of_broken();
        match socket.filter(|it| predecessor::may_be(it, passed)) {
            Some(control_socket) => Ok(Self {
                source,
                config: Err(Broken {
                    error,
                    control_socket,
                }),
            }),
            None => Err(error),
        }
    }
}

/// Runs the daemon as its command line asks; returns its exit status.
pub fn main(args: &Args) -> ExitCode {
    let (passed, others) = Passed::new(passed::take());
    let given = match Given::new(args, &passed) {
        Ok(given) => given,
        Err(error) => return refuse(&error.to_string()),
    };
    let origin = Origin::of_process(args.daemonize).with(PassedSockets::new(others));
    if args.check_config {
        return match &given.config {
            Ok(config) => preflight::check(config, &origin),
            Err(broken) => refuse(&broken.error.to_string()),
        };
    }
    // The daemon has opened no descriptor yet, and has read the configuration, which may have come by an
    // inherited one.
    let listening = origin.passed.iter().map(|(_, it)| &*it.socket);
    let kept: Vec<_> = passed
        .descriptors()
        .chain(listening)
        .map(AsFd::as_fd)
        .collect();
    if let Err(error) = fds::close_inherited(&kept) {
        return refuse(&format!("cannot look for inherited descriptors: {error}"));
    }
    let doubts = match &given.config {
        Ok(config) => match try_steps(config, &origin, &passed) {
            Ok(doubts) => doubts,
            Err(obstacles) => return refuse(&obstacles),
        },
        Err(_) => Vec::new(),
    };
    let tried = (origin, doubts, passed);
    if args.daemonize {
        detach(given, tried)
    } else {
        let ready = Ready::default();
        serve(given, tried, &ready, None).unwrap_or_else(|refusal| refuse(&refusal))
    }
}

/// Tries all that can be tried before anything is made, so that it is told while there is a shell to tell; returns what would
/// keep the daemon from working.
///
/// What a predecessor left may be what seems to be in the way, so nothing refuses a start behind one here.
fn try_steps(config: &Config, origin: &Origin, passed: &Passed) -> Result<Vec<String>, Refusal> {
    let found = steps::attempt(&Ground::new(config, Who::Start, origin));
    if found.obstacles.is_empty() || predecessor::may_be(&config.control_socket, passed) {
        return Ok(found.doubts);
    }
    Err(found.obstacles.join("\nproxyd: "))
}

/// Goes on for the program that has left this in the process; returns its exit status. If the daemon cannot start as this
/// program, goes back to the one before.
pub fn succeed(received: Received) -> ExitCode {
    signals::take_defaults();
    upgrade_points::reach(Point::Executed);
    // Process lists would show the number of the descriptor that it was executed by.
    let _ = nix::sys::prctl::set_name(c"proxyd");
    let carried = match Carried::take(received) {
        Ok(carried) => Rc::new(carried),
        Err(error) => return refuse(&error.to_string()),
    };
    try_to_succeed(&carried).unwrap_or_else(|refusal| match carried.go_back(&refusal) {
        NotBack::Confirmed => refuse(&refusal),
        error => refuse(&format!("{refusal}\nproxyd: {error}")),
    })
}

fn try_to_succeed(carried: &Rc<Carried>) -> Result<ExitCode, Refusal> {
    let args = Args::try_parse().map_err(|error| format!("the daemon's command line: {error}"))?;
    let environment = Environment {
        current_dir: carried.directory(),
        ..Environment::of_process()
    };
    let source = Source::new(&args.given(), &environment).map_err(|error| error.to_string())?;
    // It was good in the trial. One that was broken since is no reason to end.
    let config = source.load().map_err(|error| Broken {
        error,
        control_socket: carried.control_socket(),
    });
    upgrade_points::pass(Point::Read).map_err(|told| told.to_string())?;
    let origin = Origin::of_successor(carried.path(), carried.is_detached());
    let origin = origin.with(carried.passed());
    let tried = (origin, Vec::new(), Passed::default());
    let given = Given { source, config };
    serve(given, tried, &Ready::default(), Some(carried))
}

/// Goes to the background; the shell gets the result when the daemon serves, or cannot.
fn detach(given: Given, tried: (Origin, Vec<String>, Passed)) -> ExitCode {
    let (answer, ready) = match io::pipe() {
        Ok(pipe) => pipe,
        Err(error) => return refuse(&format!("no pipe to the daemon: {error}")),
    };
    // `start` would exit with a status of its own, and only `execute` lets the parent wait for the
    // daemon's report.
    match Daemonize::new()
        .working_directory("/")
        .umask(0o022)
        .execute()
    {
        Outcome::Parent(_) => {
            drop(ready);
            await_daemon(answer)
        }
        Outcome::Child(Err(error)) => {
            Ready::new(ready).fail(&error.to_string());
            ExitCode::FAILURE
        }
        Outcome::Child(Ok(_)) => {
            drop(answer);
            run_detached(given, tried, &Ready::new(ready))
        }
    }
}

fn run_detached(given: Given, tried: (Origin, Vec<String>, Passed), ready: &Ready) -> ExitCode {
    serve(given, tried, ready, None).unwrap_or_else(|refusal| {
        ready.fail(&refusal);
        ExitCode::FAILURE
    })
}

/// Starts everything and serves until the end.
fn serve(
    Given { source, config }: Given,
    (origin, doubts, passed): (Origin, Vec<String>, Passed),
    ready: &Ready,
    carried: Option<&Rc<Carried>>,
) -> Result<ExitCode, Refusal> {
    let stored = match carried {
        Some(carried) => carried.stored(),
        None => passed.names(),
    };
    let detached = ready.is_awaited() || origin.detached;
    let mut start = match config {
        Ok(config) => {
            let how = (detached, doubts);
            Start::new((source.clone(), config), how, passed, carried.cloned())
        }
        Err(Broken {
            error,
            control_socket,
        }) => {
            let left = (passed, carried.cloned());
            Start::after(source.clone(), &error, &control_socket, detached, left)?
        }
    };
    start.listen_with(origin.passed.clone());
    steps::take(&mut start)?;
    let taken = start.taken().ok_or("a step of the start was left out")?;
    upgrade_points::reach(Point::Begun);
    // Dropped last, so that all lines logged up to the end are still written.
    let _flush = taken.flush;
    let account = &taken.account;
    info!(
        version = PROGRAM_VERSION,
        pid = std::process::id(),
        descriptors = taken.descriptors,
        user = account
            .as_ref()
            .map_or("that of the supervisor", |account| &account.name),
        "proxyd starts"
    );
    #[cfg(feature = "orders")]
    tracing::warn!("{}", crate::worker::orders::WARNING);
    let runtime = taken.runtime;
    let outcome = runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let parts = Parts {
            signals: taken.signals,
            starting: taken.starting,
            source,
            origin,
            config: taken.config,
            memo: taken.memo,
            predecessor: taken.predecessor,
            stored,
            first: taken.first,
            files: taken.files,
            acquired: taken.acquired,
            tickets: taken.tickets,
            boards: taken.boards,
            account: taken.account,
            page: taken.page,
            control: taken.control,
            sink: taken.sink,
            pid_file: taken.pid_file.descriptor(),
            carried: carried.cloned(),
            ready: ready.clone(),
        };
        // Boxed, because it is large.
        Box::pin(parts.run()).await
    }));
    // A thread that reads a disk that does not answer must not keep the daemon from ending.
    runtime.shutdown_background();
    match outcome? {
        Exited::WithAll(code) => {
            taken.pid_file.remove();
            Ok(code)
        }
        Exited::Alone => Ok(ExitCode::SUCCESS),
    }
}

/// The parts from which the start makes the loop.
struct Parts {
    signals: Signals,
    /// Whether TERM and INT end the process at once.
    starting: Arc<AtomicBool>,
    source: Source,
    origin: Origin,
    config: Config,
    memo: Arc<Memo>,
    predecessor: Option<Predecessor>,
    /// The names under which the service manager keeps descriptors of an earlier supervisor.
    stored: BTreeSet<String>,
    first: First,
    files: Files,
    acquired: Acquired,
    tickets: Tickets,
    boards: Boards,
    account: Option<privileges::Account>,
    page: Option<TcpListener>,
    control: control_socket::Bound,
    sink: Sink,
    /// The pid file and its path.
    pid_file: (Arc<OwnedFd>, PathBuf),
    /// What the program before this one has left in this process.
    carried: Option<Rc<Carried>>,
    ready: Ready,
}

impl Parts {
    async fn run(self) -> Result<Exited, Refusal> {
        for signal in [SIGCHLD, SIGINT, SIGTERM] {
            let added = self.signals.handle().add_signal(signal);
            added.map_err(|error| format!("no signals: {error}"))?;
        }
        // Those that came while the program before this one was left.
        succession::let_signals_arrive();
        self.starting.store(false, Ordering::Relaxed);
        let (supervisor, first, inputs) = self.put_together()?;
        upgrade_points::reach(Point::Adopted);
        let socket = supervisor.control_socket.clone();
        let outcome = Box::pin(supervisor.run(first, inputs)).await;
        if let Exited::WithAll(_) = outcome {
            let removed = tokio::task::spawn_blocking(socket.removal());
            let _ = tokio::time::timeout(CLEANUP_PATIENCE, removed).await;
        }
        Ok(outcome)
    }

    /// Gives each owner its part; returns the owners, the first actions, and the inputs of the loop.
    #[expect(
        clippy::too_many_lines,
        reason = "it is a list of the owners with what each is made of"
    )]
    fn put_together(mut self) -> Result<(Supervisor, Vec<Action>, Inputs), Refusal> {
        let no_thread = |error: io::Error| format!("no thread: {error}");
        let (to_workers, workers) = children::inbox();
        let (to_resolver, resolver) = children::inbox();
        let (to_page, page) = children::inbox();
        let (to_loads, loads) = mpsc::unbounded_channel();
        let (to_queries, queries) = mpsc::unbounded_channel();
        let (to_notices, notices) = mpsc::unbounded_channel();
        let (to_life, ends) = mpsc::unbounded_channel();
        let (to_state, state_written) = mpsc::unbounded_channel();
        let (to_upgrades, upgrades) = mpsc::unbounded_channel();
        let children = OwnChildren::default();
        let (control_socket, calls) = ControlSocket::open(self.control, children.clone());
        let fixtures = Fixtures {
            program: self.origin.program.0.clone(),
            arguments: std::env::args_os().collect(),
            directory: self.source.directory(),
            detached: self.origin.detached,
            pid_file: self.pid_file,
        };
        let config = Arc::new(self.config);
        let First {
            material,
            packs,
            same,
            told,
        } = self.first;
        let (number, loaded_at, trigger) = number(self.predecessor.as_ref(), same);
        let sentence = self.predecessor.as_ref().map(|it| it.sentence(number));
        let book = self.predecessor.as_mut();
        let mut book = book.map_or_else(Book::default, |it| std::mem::take(&mut it.book));
        let found = self.predecessor.iter().flat_map(|it| &it.orphans);
        let found: BTreeSet<u64> = found.map(|it| it.about.origin).collect();
        book.workers.retire_others(&found);
        let ended = book.loads.rollback.take_if(|_| !told.is_held);
        let upgrades_owner = Upgrades::new(
            fixtures,
            std::mem::take(&mut book.upgrades),
            (children.clone(), self.sink.clone()),
            to_upgrades,
            (self.carried, book.record_version),
        );
        let after = After {
            generation: number,
            rolled_back: book.loads.rollback.is_some(),
            workers: book.ids.workers,
        };
        let (mut plan, first) = Plan::new(config.workers, config.heartbeat_timeout, after);
        plan.expect(
            material.pieces(),
            config.runs_passphrase_program(),
            config.watch,
        );
        let log = (config.log.level, self.sink.form());
        let launcher = Launcher::new((self.account, children), log).map_err(no_thread)?;
        let hook = Hook::resume(
            &config.state_dir,
            config.on_exit_failure.clone(),
            to_notices,
            std::mem::take(&mut book.hook),
        );
        let packs = packs.next(&material).map_err(|error| {
            format!("certificates and keys cannot be put into memory that workers share: {error}")
        })?;
        let expiries = Arc::new(Expiries::of(&config, &material));
        let generation = Generation {
            number,
            loaded_at,
            trigger,
            config: Arc::clone(&config),
            material,
            packs,
        };
        let keeping = Keeping::new(no_counts(), steps::most_kept(&config));
        let mut keeping = keeping.map_err(no_thread)?;
        keeping.resume(&book.ids, book.workers.sessions);
        // The service manager has told it to this process before, if this program was executed in place.
        let stored = if book.pid == std::process::id() {
            std::mem::take(&mut book.stored)
        } else {
            self.stored
        };
        let manager = ServiceManager::new(|name| std::env::var_os(name), stored);
        // The program before may have asked for more, because a start gives no sign of life.
        manager.wait_for_life(None);
        let helpers = Helpers::new(&launcher, &self.sink, to_resolver, (self.page, to_page));
        let doors = Doors::new(&config.control_socket).map_err(no_thread)?;
        let mut supervisor = Supervisor {
            plan,
            orphans: Orphans::new(config.heartbeat_timeout),
            helpers,
            workers: Workers::new(
                (config.workers, self.origin.passed.clone()),
                self.acquired,
                &config.listeners,
                (self.tickets, self.boards, keeping),
                (launcher, self.sink.clone(), doors),
                to_workers,
                &book,
            ),
            loads: Loads::new(
                (self.source, self.origin),
                self.memo,
                self.files,
                (generation, expiries),
                to_loads,
                book.loads,
            ),
            queries: Queries::new(to_queries),
            notices: Notices::resume(hook.map_err(no_thread)?, book.events, book.restarts.last),
            life: Life::new(self.ready, manager, to_life),
            upgrades: upgrades_owner,
            sandbox: Sandbox::default(),
            state: State::begin(book.reign, Timestamp::now(), to_state),
            control_socket,
            sink: self.sink,
        };
        if let Some(sentence) = sentence {
            supervisor.tell_predecessor(&sentence, &told, ended.as_ref());
        }
        supervisor.settle_records();
        supervisor.state.commit(supervisor.loads.current());
        if let Some(predecessor) = self.predecessor {
            supervisor.adopt(predecessor, &book.workers.living);
        }
        let inputs = Inputs {
            workers,
            resolver,
            page,
            loads,
            queries,
            notices,
            ends,
            state: state_written,
            upgrades,
            calls,
            signals: self.signals,
            clock: Clock::new(),
        };
        Ok((supervisor, first, inputs))
    }
}

/// Returns the number of the first generation, when it was loaded and why: those of the generation before if it is the
/// `same`.
fn number(
    predecessor: Option<&Predecessor>,
    same: Option<(u64, Timestamp, Trigger)>,
) -> (u64, Timestamp, Trigger) {
    let known = predecessor.map_or(0, |it| {
        let served = it.generation.as_ref().map_or(0, |it| it.number);
        served.max(it.book.loads.generation)
    });
    // A later one may have been in force that could not be written down.
    same.filter(|(number, ..)| *number == known)
        .unwrap_or_else(|| (known + 1, Timestamp::now(), Trigger::Start))
}

/// Returns why sessions cannot outlive their workers here, if the kernel does not count the bytes of sockets as it has
/// to; logs that.
fn no_counts() -> Option<String> {
    let reason = tcp_counts::self_test().err()?;
    warn!(
        "sessions will end with their worker, because the kernel cannot count what they read and write: {reason}"
    );
    Some(reason)
}
