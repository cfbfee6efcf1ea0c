//! The daemon's start, in this order: arguments, configuration, detaching, log, pid file, TLS
//! files, sockets, control socket, workers, ready.

use std::{
    fs, io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use daemonize::{Daemonize, Outcome};
use jiff::Timestamp;
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2},
    flag,
};
use signal_hook_tokio::Signals;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    Inputs, Supervisor,
    clock::Clock,
    control_socket::ControlSocket,
    life::{Life, Ready, ServiceManager, await_daemon},
    loads::{Files, Loads},
    notices::{Hook, Notices},
    page,
    pid_file::PidFile,
    plan::{Action, Plan},
    preflight,
    queries::Queries,
    refusal::{Refusal, make_folder, refuse},
    workers::{Acquired, Acquirer, Launcher, Tickets, Workers},
};
use crate::{
    cli::proxyd::Args,
    config::{Config, Environment, Source},
    control::server::Call,
    facts::Trigger,
    link::Generation,
    store::Memo,
    sys::{
        fds,
        files::{self, Standard},
        privileges, sandbox,
    },
    telemetry::log::{self, Form, Place, Sink},
    tls::Material,
};

/// How long to try ports that the workers of a killed daemon still use.
const PORT_PATIENCE: Duration = Duration::from_secs(3);

/// How long the end waits for a disk on which files are removed.
pub(super) const CLEANUP_PATIENCE: Duration = Duration::from_secs(1);

/// Runs the daemon as its command line asks; returns its exit status.
pub fn main(args: &Args) -> ExitCode {
    let started = Source::new(&args.given(), &Environment::of_process())
        .and_then(|source| source.load().map(|config| (source, config)));
    let (source, config) = match started {
        Ok(started) => started,
        Err(error) => return refuse(&error.to_string()),
    };
    if args.check_config {
        return preflight::check(&config);
    }
    // The daemon has opened no descriptor yet, and has read the configuration, which may have come by an
    // inherited one.
    if let Err(error) = fds::close_inherited() {
        return refuse(&format!("cannot look for inherited descriptors: {error}"));
    }
    if args.daemonize {
        detach(source, config)
    } else {
        serve(source, config, &Ready::default()).unwrap_or_else(|refusal| refuse(&refusal))
    }
}

/// Goes to the background; the shell gets the result when the daemon serves, or cannot.
fn detach(source: Source, config: Config) -> ExitCode {
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
            run_detached(source, config, &Ready::new(ready))
        }
    }
}

fn run_detached(source: Source, config: Config, ready: &Ready) -> ExitCode {
    serve(source, config, ready).unwrap_or_else(|refusal| {
        ready.fail(&refusal);
        ExitCode::FAILURE
    })
}

/// Starts everything and serves until the end.
fn serve(source: Source, config: Config, ready: &Ready) -> Result<ExitCode, Refusal> {
    make_folder(&config.state_dir, 0o700).map_err(|error| format!("state directory: {error}"))?;
    let sink = open_log(&config, ready.is_awaited())?;
    // Dropped last, so that all lines logged up to the end are still written.
    let _flush = sink.flush_at_end();
    let runtime = runtime()?;
    // Before the pid file, which operators use to send signals: by default these signals end a process.
    let signals = first_signals(&runtime)?;
    let starting = end_while_starting()?;
    sandbox::forbid_core_files().map_err(|error| error.to_string())?;
    let descriptors = sandbox::raise_descriptor_limit().map_err(|error| error.to_string())?;
    let pid_file = PidFile::lock(&config.pid_file)?;
    preflight::check_groups(&config)?;
    let account =
        privileges::worker_account(config.user.as_deref()).map_err(|error| error.to_string())?;
    let memo = Arc::new(Memo::default());
    let mut files = Files::default();
    let material = preflight::first_material(&config, &memo, |warnings| {
        for warning in files.news(warnings) {
            warn!("{warning}");
        }
    })?;
    for doubt in preflight::doubts(&config) {
        warn!("{doubt}");
    }
    let acquired = acquire(&config, pid_file.predecessor_died)?;
    let tickets = Tickets::new(Instant::now()).map_err(|error| error.to_string())?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        descriptors,
        user = account
            .as_ref()
            .map_or("that of the supervisor", |account| &account.name),
        "proxyd starts"
    );
    let code = runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let parts = Parts {
            signals,
            starting,
            source,
            config,
            memo,
            material,
            files,
            acquired,
            tickets,
            account,
            sink,
            ready: ready.clone(),
        };
        Box::pin(parts.run()).await
    }));
    // A thread that reads a disk that does not answer must not keep the daemon from ending.
    runtime.shutdown_background();
    let code = code?;
    pid_file.remove();
    Ok(code)
}

/// Returns the runtime, with a thread for reading the disk that never ends.
///
/// If tokio has no such thread and the system grants no new one, tokio panics. If it has one, the work
/// waits for it.
fn runtime() -> Result<tokio::runtime::Runtime, Refusal> {
    const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(FOR_EVER)
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.spawn_blocking(|| {});
    Ok(runtime)
}

/// Listens to the signals that a daemon may get before it serves.
fn first_signals(runtime: &tokio::runtime::Runtime) -> Result<Signals, Refusal> {
    let _context = runtime.enter();
    Signals::new([SIGHUP, SIGUSR1, SIGUSR2]).map_err(|error| format!("no signals: {error}"))
}

/// Lets TERM and INT end a daemon that is process 1 as long as what is returned is true.
///
/// Their default action ends every other process, but the kernel drops them for this one
/// (`pid_namespaces(7)`), and a start may wait for passphrases, ports and disks.
fn end_while_starting() -> Result<Arc<AtomicBool>, Refusal> {
    let starting = Arc::new(AtomicBool::new(true));
    if std::process::id() == 1 {
        for signal in [SIGINT, SIGTERM] {
            let condition = Arc::clone(&starting);
            flag::register_conditional_shutdown(signal, 128 + signal, condition)
                .map_err(|error| format!("no signals: {error}"))?;
        }
    }
    Ok(starting)
}

/// Opens the log; standard error leads nowhere in a daemon that is `detached`.
///
/// The configuration does not say so, because it must stay equal to what a reload finds on disk.
fn open_log(config: &Config, detached: bool) -> Result<Sink, Refusal> {
    let instead = detached.then(|| config.state_dir.join("proxyd.log"));
    let path = config.log.file.as_ref().or(instead.as_ref());
    let (place, descriptor) = match path {
        None => (Place::standard(Standard::Error), Some(Standard::Error)),
        Some(path) => (Place::open(path), files::standard(path)),
    };
    let form = Form::of(config.log.format, descriptor);
    let sink = place.and_then(|place| Sink::new(place, form));
    let sink = sink.map_err(|error| match path {
        Some(path) => format!("log file {}: {error}", path.display()),
        None => format!("log: {error}"),
    })?;
    log::start(sink.clone(), config.log.level, form);
    Ok(sink)
}

fn acquire(config: &Config, predecessor_died: bool) -> Result<Acquired, Refusal> {
    let patience = if predecessor_died {
        PORT_PATIENCE
    } else {
        Duration::ZERO
    };
    Acquirer::new(config.workers)
        .acquire(&config.listeners, patience)
        .map_err(|error| error.to_string())
}

/// The parts from which the start makes the loop.
struct Parts {
    signals: Signals,
    /// Whether TERM and INT end the process at once.
    starting: Arc<AtomicBool>,
    source: Source,
    config: Config,
    memo: Arc<Memo>,
    material: Material,
    files: Files,
    acquired: Acquired,
    tickets: Tickets,
    account: Option<privileges::Account>,
    sink: Sink,
    ready: Ready,
}

impl Parts {
    async fn run(self) -> Result<ExitCode, Refusal> {
        for signal in [SIGCHLD, SIGINT, SIGTERM] {
            let added = self.signals.handle().add_signal(signal);
            added.map_err(|error| format!("no signals: {error}"))?;
        }
        self.starting.store(false, Ordering::Relaxed);
        let (control_socket, calls) = ControlSocket::open(&self.config)?;
        let socket = self.config.control_socket.clone();
        let (supervisor, first, inputs) = self.put_together(control_socket, calls)?;
        let code = supervisor.run(first, inputs).await;
        // The next start takes over a socket file that is left.
        let removed = tokio::task::spawn_blocking(move || fs::remove_file(socket));
        let _ = tokio::time::timeout(CLEANUP_PATIENCE, removed).await;
        Ok(code)
    }

    /// Gives each owner its part; returns the owners, the first actions, and the inputs of the loop.
    fn put_together(
        self,
        control_socket: ControlSocket,
        calls: mpsc::Receiver<Call>,
    ) -> Result<(Supervisor, Vec<Action>, Inputs), Refusal> {
        let no_thread = |error: io::Error| format!("no thread: {error}");
        let (to_workers, workers) = mpsc::unbounded_channel();
        let (to_loads, loads) = mpsc::unbounded_channel();
        let (to_queries, queries) = mpsc::unbounded_channel();
        let (to_notices, notices) = mpsc::unbounded_channel();
        let (to_life, ends) = mpsc::unbounded_channel();
        self.serve_page(to_queries.clone())?;
        let config = Arc::new(self.config);
        let (mut plan, first) = Plan::new(config.workers, config.heartbeat_timeout);
        plan.expect(
            self.material.pieces(),
            config.runs_passphrase_program(),
            config.watch,
        );
        let log = (config.log.level, self.sink.form());
        let launcher = Launcher::new(self.account, log, to_workers.clone()).map_err(no_thread)?;
        let hook = Hook::new(
            &config.state_dir,
            config.on_exit_failure.clone(),
            to_notices,
        );
        let generation = Generation {
            number: 1,
            loaded_at: Timestamp::now(),
            trigger: Trigger::Start,
            config: Arc::clone(&config),
            material: self.material,
        };
        let manager = ServiceManager::new(|name| std::env::var_os(name));
        let supervisor = Supervisor {
            plan,
            workers: Workers::new(
                config.workers,
                self.acquired,
                &config.listeners,
                self.tickets,
                (launcher, self.sink.clone()),
                to_workers,
            ),
            loads: Loads::new(self.source, self.memo, self.files, generation, to_loads),
            queries: Queries::new(to_queries),
            notices: Notices::new(hook.map_err(no_thread)?),
            life: Life::new(self.ready, manager, to_life),
            control_socket,
            sink: self.sink,
        };
        let inputs = Inputs {
            workers,
            loads,
            queries,
            notices,
            ends,
            calls,
            signals: self.signals,
            clock: Clock::new(),
        };
        Ok((supervisor, first, inputs))
    }

    fn serve_page(
        &self,
        supervisor: mpsc::UnboundedSender<super::queries::Message>,
    ) -> Result<(), Refusal> {
        let Some(address) = self.config.metrics else {
            return Ok(());
        };
        let page = page::bind(address).map_err(|error| format!("metrics: {error}"))?;
        if let Ok(address) = page.local_addr() {
            info!(%address, "the metrics page is served");
        }
        tokio::task::spawn_local(page::serve(page, supervisor));
        Ok(())
    }
}
