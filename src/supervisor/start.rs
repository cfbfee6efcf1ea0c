//! The daemon's start, in this order: arguments, configuration, detaching, log, pid file, TLS
//! files, sockets, control socket, workers, ready.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, PipeWriter, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use daemonize::{Daemonize, Outcome};
use jiff::Timestamp;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_tokio::Signals;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    Ears, Supervisor, events::Events, hook::Hook, page, places::Places, plan::Plan,
    process::Launcher, sockets::Sockets, watch,
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
    tls::{self, Loaded, Material, create},
};

/// How long ports are tried for that the workers of a predecessor that was killed are leaving.
const PORT_PATIENCE: Duration = Duration::from_secs(3);

/// Calls that may wait for the loop.
const CALL_QUEUE: usize = 256;

/// A reason not to start, as one or more lines for people.
type Refusal = String;

/// Where the end of the start is told, once, when somebody waits for it.
#[derive(Debug, Clone, Default)]
pub struct Ready(Rc<RefCell<Option<PipeWriter>>>);

impl Ready {
    fn new(pipe: PipeWriter) -> Self {
        Self(Rc::new(RefCell::new(Some(pipe))))
    }

    /// Tells that the daemon serves.
    pub fn succeed(&self) {
        self.tell("R");
    }

    /// Tells that it does not, and why.
    pub fn fail(&self, reason: &str) {
        self.tell(&format!("E{reason}"));
    }

    /// Whether somebody waits.
    fn is_awaited(&self) -> bool {
        self.0.borrow().is_some()
    }

    fn tell(&self, word: &str) {
        if let Some(mut pipe) = self.0.take() {
            // If the shell was interrupted, nobody waits.
            let _ = pipe.write_all(word.as_bytes());
        }
    }
}

/// Runs the daemon as its command line asks; returns its exit status.
pub fn main(args: &Args) -> ExitCode {
    let started = Source::new(args, &Environment::of_process())
        .and_then(|source| source.load().map(|config| (source, config)));
    let (source, config) = match started {
        Ok(started) => started,
        Err(error) => return refuse(&error.to_string()),
    };
    if args.check_config {
        return check(&config);
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

#[allow(clippy::print_stderr)]
fn refuse(reason: &str) -> ExitCode {
    eprintln!("proxyd: {}", reason.trim_end());
    ExitCode::FAILURE
}

/// Says whether the daemon would start with this configuration.
#[allow(clippy::print_stdout)]
fn check(config: &Config) -> ExitCode {
    let obstacles = obstacles(config);
    if !obstacles.is_empty() {
        return refuse(&obstacles.join("\nproxyd: "));
    }
    if creates_identity(config) && !config.state_dir.join("tls").exists() {
        println!("proxyd: the configuration is good; its certificate will be created");
        return ExitCode::SUCCESS;
    }
    let loaded = tls::load(config, None, Timestamp::now());
    if loaded.material.is_none() || !loaded.problems.is_empty() {
        return refuse(&list(&loaded));
    }
    for warning in &loaded.warnings {
        println!("proxyd: warning: {warning}");
    }
    println!("proxyd: the configuration and its TLS files are good");
    ExitCode::SUCCESS
}

/// Returns what beside the TLS files would keep a daemon from starting with `config`.
pub(super) fn obstacles(config: &Config) -> Vec<String> {
    let created = creates_identity(config)
        .then(|| create::check(&config.state_dir.join("tls")).map_err(|error| error.to_string()));
    let user =
        privileges::worker_account(config.user.as_deref()).map_err(|error| error.to_string());
    [
        created.and_then(Result::err),
        user.err(),
        control_group(config).err(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns the id of the group whose members may use the control socket.
fn control_group(config: &Config) -> Result<Option<u32>, Refusal> {
    let Some(name) = &config.control_group else {
        return Ok(None);
    };
    privileges::group_id(name)
        .map_err(|error| format!("control_group \"{name}\": {error}"))?
        .ok_or_else(|| format!("control_group \"{name}\": there is no such group"))
        .map(Some)
}

/// Whether the configuration names no certificate of its own.
fn creates_identity(config: &Config) -> bool {
    config.identities.iter().any(|files| files.created)
}

fn list(loaded: &Loaded) -> String {
    let lines: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    lines.join("\nproxyd: ")
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

#[allow(clippy::print_stderr)]
fn await_daemon(mut answer: io::PipeReader) -> ExitCode {
    let mut text = String::new();
    match answer
        .read_to_string(&mut text)
        .map(|_| text.split_at_checked(1))
    {
        Ok(Some(("R", _))) => ExitCode::SUCCESS,
        Ok(Some(("E", reason))) => refuse(reason),
        _ => refuse("the daemon died before it served; its log may say why"),
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
    make_folder(&config.state_dir, 0o700)?;
    let sink = open_log(&config, ready.is_awaited())?;
    let runtime = runtime()?;
    // Before the pid file invites anybody to send one: by default these end a process.
    let signals = {
        let _context = runtime.enter();
        Signals::new([SIGHUP, SIGUSR1, SIGUSR2]).map_err(|error| format!("no signals: {error}"))?
    };
    let descriptors = sandbox::raise_descriptor_limit().map_err(|error| error.to_string())?;
    let pid_file = PidFile::lock(&config.pid_file)?;
    let account =
        privileges::worker_account(config.user.as_deref()).map_err(|error| error.to_string())?;
    let material = first_material(&config)?;
    let sockets = bind(&config, pid_file.predecessor_died)?;
    let mut places = Places::default();
    places
        .configure(&config.listeners)
        .map_err(|error| format!("no places for sessions: {error}"))?;
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
            material,
            sockets,
            places,
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

fn runtime() -> Result<tokio::runtime::Runtime, Refusal> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
}

/// Opens the log; standard error leads nowhere in a daemon that is `detached`.
///
/// The configuration is not changed for that: it must stay equal to what a reload finds on disk.
fn open_log(config: &Config, detached: bool) -> Result<Sink, Refusal> {
    let instead = detached.then(|| config.state_dir.join("proxyd.log"));
    let sink = match config.log.file.as_ref().or(instead.as_ref()) {
        None => Sink::stderr(),
        Some(path) => Sink::file(path.clone())
            .map_err(|error| format!("log file {}: {error}", path.display()))?,
    };
    log::start(sink.clone(), config.log.level, config.log.format);
    Ok(sink)
}

fn make_folder(path: &Path, mode: u32) -> Result<(), Refusal> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| format!("state directory {}: {error}", path.display()))
}

/// Creates the TLS files that the configuration lets us create, and loads all.
///
/// Nothing was good before a cold start, so anything broken refuses it.
fn first_material(config: &Config) -> Result<Material, Refusal> {
    if creates_identity(config) {
        let folder = config.state_dir.join("tls");
        create::ensure(&folder, &create::host_name(), Timestamp::now())
            .map_err(|error| error.to_string())?;
    }
    let loaded = tls::load(config, None, Timestamp::now());
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    match loaded {
        Loaded {
            material: Some(material),
            problems,
            ..
        } if problems.is_empty() => Ok(material),
        loaded => Err(list(&loaded)),
    }
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

/// The locked file that keeps a second daemon from starting.
struct PidFile {
    path: PathBuf,
    file: File,
    predecessor_died: bool,
}

impl PidFile {
    fn lock(path: &Path) -> Result<Self, Refusal> {
        let about = |error: &dyn std::fmt::Display| format!("pid file {}: {error}", path.display());
        if let Some(folder) = path.parent() {
            make_folder(folder, 0o755).map_err(|error| about(&error))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
            .open(path)
            .map_err(|error| about(&error))?;
        let mut before = String::new();
        // What is in the file is only told; the lock is what counts.
        let _ = file.read_to_string(&mut before);
        let before = before.trim();
        if let Err(error) = file.try_lock() {
            return Err(match error {
                fs::TryLockError::WouldBlock => format!(
                    "already running (pid {before}); {} is locked",
                    path.display()
                ),
                fs::TryLockError::Error(error) => about(&error),
            });
        }
        // A predecessor that was just ending may have removed the file before it let go of the lock.
        if !has_name(&file, path) {
            return Self::lock(path);
        }
        let written = file
            .set_len(0)
            .and_then(|()| io::Seek::rewind(&mut file))
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| about(&error))?;
        Ok(Self {
            path: path.to_owned(),
            predecessor_died: !before.is_empty(),
            file,
        })
    }

    /// Removes the file while it is still locked, so that nobody locks a file without a name.
    fn remove(self) {
        // A file that stays is taken over by the next start.
        let _ = fs::remove_file(&self.path);
        drop(self.file);
    }
}

/// Whether `path` is still the name of `file`.
fn has_name(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(named)) => (file.dev(), file.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// What the start has put together for the loop.
struct Parts {
    signals: Signals,
    source: Source,
    config: Config,
    material: Material,
    sockets: Sockets,
    places: Places,
    account: Option<privileges::Account>,
    sink: Sink,
    ready: Ready,
}

impl Parts {
    async fn run(self) -> Result<ExitCode, Refusal> {
        for signal in [SIGINT, SIGTERM] {
            let added = self.signals.handle().add_signal(signal);
            added.map_err(|error| format!("no signals: {error}"))?;
        }
        let calls = self.listen_for_calls()?;
        let (outbox, inbox) = mpsc::unbounded_channel();
        if let Some(address) = self.config.metrics {
            let page = page::bind(address).map_err(|error| format!("metrics: {error}"))?;
            tokio::task::spawn_local(page::serve(page, outbox.clone()));
        }
        let socket = self.config.control_socket.clone();
        let (plan, first) = Plan::new(self.config.workers, self.config.heartbeat_timeout);
        let (supervisor, signals) = self.supervisor(plan, outbox.clone());
        tokio::task::spawn_local(watch::watch(Rc::clone(&supervisor.current), outbox));
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
        let group = control_group(&self.config)?;
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
            config: self.config,
            material: self.material,
        };
        let supervisor = Supervisor {
            source: Arc::new(self.source),
            current: Rc::new(RefCell::new(Arc::new(first))),
            plan,
            began: Instant::now(),
            started_at: Timestamp::now(),
            sockets: self.sockets,
            places: self.places,
            launcher,
            sink: self.sink,
            processes: HashMap::new(),
            exits: HashMap::new(),
            retired: BTreeMap::new(),
            restarts: 0,
            last_failure: None,
            last_error: None,
            loading: None,
            last_asks: 0,
            asks: HashMap::new(),
            reports: BTreeMap::new(),
            counting: HashMap::new(),
            view: None,
            looking: Vec::new(),
            looking_next: Vec::new(),
            hook,
            events: Events::default(),
            ending: Vec::new(),
            ready: self.ready,
            inbox,
            over: None,
            giving_up: false,
        };
        (supervisor, self.signals)
    }
}

/// Tells systemd (`sd_notify(3)`), if it listens.
pub fn tell_systemd(states: &[NotifyState<'_>]) {
    // A service manager that cannot be told cannot be told that either.
    let _ = sd_notify::notify(states);
}

/// Tells systemd that a reload begins, which for `Type=notify-reload` needs the time as well.
pub fn say_reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell_systemd(&[NotifyState::Reloading, now]);
    }
}
