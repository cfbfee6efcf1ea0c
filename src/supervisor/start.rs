//! The daemon's start, in this order: arguments, configuration, detaching, log, pid file, TLS
//! files, sockets, control socket, workers, ready.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs, io,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use daemonize::{Daemonize, Outcome};
use jiff::Timestamp;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_tokio::Signals;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    Ears, Supervisor,
    events::Events,
    files::Files,
    hook::Hook,
    page,
    pid_file::PidFile,
    places::Places,
    plan::Plan,
    preflight,
    process::Launcher,
    ready::{Ready, await_daemon},
    refusal::{Refusal, make_folder, refuse},
    shown::Showing,
    sockets::Sockets,
    tickets::Tickets,
    watch,
};
use crate::{
    cli::proxyd::Args,
    config::{Config, Environment, Source},
    control::{
        Trigger,
        server::{self, Access},
    },
    link::Generation,
    sys::{fds, privileges, sandbox},
    telemetry::log::{self, Sink},
    tls::{Material, Memo},
};

/// How long ports are tried for that the workers of a predecessor that was killed are leaving.
const PORT_PATIENCE: Duration = Duration::from_secs(3);

/// Calls that may wait for the loop.
const CALL_QUEUE: usize = 256;

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
    // Nothing of ours is open yet, and the configuration, which may be one of them, is read.
    if let Err(error) = fds::close_inherited() {
        return refuse(&format!("cannot look for inherited descriptors: {error}"));
    }
    if args.daemonize {
        detach(source, config)
    } else {
        serve(source, config, &Ready::default()).unwrap_or_else(|refusal| refuse(&refusal))
    }
}

/// Goes to the background; the shell gets its answer when the daemon serves, or cannot.
fn detach(source: Source, config: Config) -> ExitCode {
    let (answer, ready) = match io::pipe() {
        Ok(pipe) => pipe,
        Err(error) => return refuse(&format!("no pipe to the daemon: {error}")),
    };
    // `start` would exit with a status of its own making, and only `execute` lets the parent
    // wait for what the daemon says.
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
    let runtime = runtime()?;
    // Before the pid file invites anybody to send one: by default these end a process.
    let signals = first_signals(&runtime)?;
    sandbox::forbid_core_files().map_err(|error| error.to_string())?;
    let descriptors = sandbox::raise_descriptor_limit().map_err(|error| error.to_string())?;
    let pid_file = PidFile::lock(&config.pid_file)?;
    preflight::check_groups(&config)?;
    let account =
        privileges::worker_account(config.user.as_deref()).map_err(|error| error.to_string())?;
    let memo = Arc::new(Memo::default());
    let mut files = Files::default();
    let material = preflight::first_material(&config, &memo, &mut files)?;
    for doubt in preflight::doubts(&config) {
        warn!("{doubt}");
    }
    let sockets = bind(&config, pid_file.predecessor_died)?;
    let tickets = Tickets::new(Instant::now()).map_err(|error| error.to_string())?;
    let places = places(&config)?;
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
            source,
            config,
            memo,
            material,
            files,
            sockets,
            places,
            tickets,
            account,
            sink,
            ready: ready.clone(),
        };
        parts.run().await
    }));
    // A read of a disk that does not answer must not keep the daemon from ending.
    runtime.shutdown_background();
    let code = code?;
    pid_file.remove();
    Ok(code)
}

/// Returns the runtime, with a thread to read the disk on that never ends.
///
/// Where there is none, and the system grants no new one, tokio panics; with one, work waits.
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

/// Opens the log; standard error leads nowhere in a daemon that is `detached`.
///
/// The configuration is not changed for that: it must stay equal to what a reload finds on disk.
pub(super) fn open_log(config: &Config, detached: bool) -> Result<Sink, Refusal> {
    let instead = detached.then(|| config.state_dir.join("proxyd.log"));
    let sink = match config.log.file.as_ref().or(instead.as_ref()) {
        None => Sink::stderr(),
        Some(path) => Sink::file(path.clone())
            .map_err(|error| format!("log file {}: {error}", path.display()))?,
    };
    log::start(sink.clone(), config.log.level, config.log.format);
    Ok(sink)
}

fn bind(config: &Config, predecessor_died: bool) -> Result<Sockets, Refusal> {
    let patience = if predecessor_died {
        PORT_PATIENCE
    } else {
        Duration::ZERO
    };
    let mut sockets = Sockets::new(config.workers);
    let prepared = sockets
        .binder()
        .bind(&config.listeners, patience)
        .map_err(|error| error.to_string())?;
    sockets.commit(prepared, &config.listeners);
    Ok(sockets)
}

fn places(config: &Config) -> Result<Places, Refusal> {
    let mut places = Places::default();
    places
        .configure(&config.listeners)
        .map_err(|error| format!("no places for sessions: {error}"))?;
    Ok(places)
}

/// What the start has put together for the loop.
struct Parts {
    signals: Signals,
    source: Source,
    config: Config,
    memo: Arc<Memo>,
    material: Material,
    files: Files,
    sockets: Sockets,
    places: Places,
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
        let calls = self.listen_for_calls()?;
        let (outbox, inbox) = mpsc::unbounded_channel();
        if let Some(address) = self.config.metrics {
            let page = page::bind(address).map_err(|error| format!("metrics: {error}"))?;
            if let Ok(address) = page.local_addr() {
                info!(%address, "the metrics page is served");
            }
            tokio::task::spawn_local(page::serve(page, outbox.clone()));
        }
        let socket = self.config.control_socket.clone();
        let (mut plan, first) = Plan::new(self.config.workers, self.config.heartbeat_timeout);
        plan.expect(
            self.material.pieces(),
            self.config.runs_passphrase_program(),
        );
        let (supervisor, signals) = self.supervisor(plan, outbox.clone());
        tokio::task::spawn_local(watch::watch(
            Rc::clone(&supervisor.current),
            Rc::clone(&supervisor.files.watching),
            Arc::clone(&supervisor.memo),
            outbox,
        ));
        let ears = Ears {
            inbox,
            calls,
            signals,
        };
        let code = supervisor.run(first, ears).await;
        // A socket file that stays is taken over by the next start.
        let _ = fs::remove_file(socket);
        Ok(code)
    }

    fn listen_for_calls(&self) -> Result<mpsc::Receiver<server::Call>, Refusal> {
        let group = preflight::control_group(&self.config)?;
        let listener =
            server::bind(&self.config.control_socket, group).map_err(|error| error.to_string())?;
        let (sender, calls) = mpsc::channel(CALL_QUEUE);
        let access = Access::new(group);
        tokio::task::spawn_local(async move {
            if let Err(error) = server::serve(listener, access, sender).await {
                tracing::error!(%error, "the control socket is out of order");
            }
        });
        Ok(calls)
    }

    fn supervisor(
        self,
        plan: Plan,
        inbox: mpsc::UnboundedSender<super::Message>,
    ) -> (Supervisor, Signals) {
        let hook = Hook::new(
            &self.config.state_dir,
            self.config.on_exit_failure.clone(),
            inbox.clone(),
        );
        let launcher = Launcher {
            account: self.account,
            log: self.config.log.clone(),
            sink: self.sink.clone(),
            inbox: inbox.clone(),
        };
        let first = Generation {
            number: 1,
            loaded_at: Timestamp::now(),
            trigger: Trigger::Start,
            config: Arc::new(self.config),
            material: self.material,
        };
        let supervisor = Supervisor {
            source: Arc::new(self.source),
            memo: self.memo,
            current: Rc::new(RefCell::new(Arc::new(first))),
            plan,
            began: Instant::now(),
            started_at: Timestamp::now(),
            sockets: self.sockets,
            places: self.places,
            tickets: self.tickets,
            launcher,
            sink: self.sink,
            processes: HashMap::new(),
            exits: HashMap::new(),
            retired: BTreeMap::new(),
            restarts: 0,
            last_failure: None,
            last_error: None,
            files: self.files,
            loading: None,
            last_asks: 0,
            asks: HashMap::new(),
            reports: BTreeMap::new(),
            counting: HashMap::new(),
            showing: Showing::default(),
            view: None,
            looking: Vec::new(),
            looking_next: Vec::new(),
            hook,
            events: Events::default(),
            ending: Vec::new(),
            ready: self.ready,
            inbox,
            over: None,
            hook_first: false,
        };
        (supervisor, self.signals)
    }
}
