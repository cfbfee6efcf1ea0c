//! A start that takes the steps.

use std::{
    mem::take,
    net::TcpListener,
    os::unix::net::UnixStream,
    path::Path,
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2},
    flag,
};
use signal_hook_tokio::Signals;
use tokio::runtime::Runtime;

use super::{
    accounts, files,
    first::{First, Successor, unreadable},
    limits, ports,
};
use crate::{
    config::{Config, ConfigError, Source},
    facts::Problem,
    store::Memo,
    supervisor::{
        activation::PassedSockets,
        control_socket, helpers,
        loads::{Files, about_config},
        pid_file::PidFile,
        predecessor::{self, Carried, Passed, Predecessor},
        preflight,
        refusal::{Refusal, make_folder},
        workers::{Acquired, Acquirer, Boards, FoundSockets, Tickets, explain},
    },
    sys::{
        files::{Standard, standard},
        privileges::Account,
        sandbox,
        upgrade_points::{self, Point},
    },
    telemetry::log::{self, Flush, Form, Place, Sink},
};

/// How long to try ports that children of a killed daemon still use.
const PORT_PATIENCE: Duration = Duration::from_secs(3);

/// A start that takes the steps one after the other.
pub(in crate::supervisor) struct Start {
    source: Source,
    config: Config,
    /// Why the configuration on disk is not taken, so that `config` is that of before.
    refused: Vec<Problem>,
    /// Whether the daemon is in the background, so that standard error leads nowhere. The configuration
    /// does not say so, because it must stay equal to what a reload finds on disk.
    detached: bool,
    /// What would keep the daemon from working, told as soon as there is a log.
    doubts: Vec<String>,
    memo: Arc<Memo>,
    pid_file: Option<PidFile>,
    /// What the program before this one has left in this process.
    carried: Option<Rc<Carried>>,
    /// What the supervisor before this one has left.
    passed: Passed,
    /// The listening sockets that systemd has passed.
    listening: PassedSockets,
    predecessor: Option<Predecessor>,
    runtime: Option<Runtime>,
    signals: Option<Signals>,
    starting: Arc<AtomicBool>,
    descriptors: u64,
    account: Option<Account>,
    files: Files,
    first: Option<First>,
    acquired: Option<(Acquired, Tickets, Boards)>,
    page: Option<TcpListener>,
    control: Option<control_socket::Bound>,
    sink: Option<Sink>,
    /// Dropped last, so that all lines logged up to the end are still written.
    flush: Option<Flush>,
}

/// What the steps of a start have brought.
pub(in crate::supervisor) struct Taken {
    pub(in crate::supervisor) config: Config,
    pub(in crate::supervisor) memo: Arc<Memo>,
    pub(in crate::supervisor) pid_file: PidFile,
    /// What the supervisor before this one has left, if there was one.
    pub(in crate::supervisor) predecessor: Option<Predecessor>,
    pub(in crate::supervisor) runtime: Runtime,
    pub(in crate::supervisor) signals: Signals,
    /// Whether TERM and INT end the process at once.
    pub(in crate::supervisor) starting: Arc<AtomicBool>,
    /// How many descriptors the process may have.
    pub(in crate::supervisor) descriptors: u64,
    pub(in crate::supervisor) account: Option<Account>,
    pub(in crate::supervisor) files: Files,
    pub(in crate::supervisor) first: First,
    pub(in crate::supervisor) acquired: Acquired,
    pub(in crate::supervisor) tickets: Tickets,
    pub(in crate::supervisor) boards: Boards,
    pub(in crate::supervisor) page: Option<TcpListener>,
    pub(in crate::supervisor) control: control_socket::Bound,
    pub(in crate::supervisor) sink: Sink,
    pub(in crate::supervisor) flush: Flush,
}

impl Start {
    /// Begins a start that has taken no step.
    pub(in crate::supervisor) fn new(
        (source, config): (Source, Config),
        (detached, doubts): (bool, Vec<String>),
        passed: Passed,
        carried: Option<Rc<Carried>>,
    ) -> Self {
        Self {
            carried,
            source,
            config,
            refused: Vec::new(),
            detached,
            doubts,
            memo: Arc::new(Memo::default()),
            pid_file: None,
            passed,
            listening: PassedSockets::default(),
            predecessor: None,
            runtime: None,
            signals: None,
            starting: Arc::new(AtomicBool::new(true)),
            descriptors: 0,
            account: None,
            files: Files::default(),
            first: None,
            acquired: None,
            page: None,
            control: None,
            sink: None,
            flush: None,
        }
    }

    /// Begins a start whose configuration on disk cannot be taken, because of `error`: with that of the supervisor before
    /// this one, which had this control socket. Refuses the start if there was none, or it still runs. Blocks.
    pub(in crate::supervisor) fn after(
        source: Source,
        error: &ConfigError,
        control_socket: &Path,
        detached: bool,
        (passed, carried): (Passed, Option<Rc<Carried>>),
    ) -> Result<Self, Refusal> {
        let refusal = || error.to_string();
        if carried.is_none() && UnixStream::connect(control_socket).is_ok() {
            return Err(refusal());
        }
        let runtime = runtime()?;
        // A later step tells it if this fails.
        let _ = sandbox::raise_descriptor_limit();
        let most = limits::most_kept_at_first();
        let found = predecessor::find(&runtime, control_socket, most, passed, carried.as_deref());
        let found = found.ok_or_else(refusal)?;
        let earlier = found.generation.as_ref().ok_or_else(refusal)?;
        let config = source.parse(earlier.config.clone());
        let config = config.map_err(|_| refusal())?;
        let how = (detached, Vec::new());
        let start = Self::new((source, config), how, Passed::default(), carried);
        Ok(Self {
            refused: unreadable(error),
            runtime: Some(runtime),
            predecessor: Some(found),
            ..start
        })
    }

    /// Has the start use these listening sockets, which systemd has passed.
    pub(in crate::supervisor) fn listen_with(&mut self, passed: PassedSockets) {
        self.listening = passed;
    }

    /// Returns what the steps have brought; `None` if one was not taken.
    pub(in crate::supervisor) fn taken(self) -> Option<Taken> {
        let (acquired, tickets, boards) = self.acquired?;
        Some(Taken {
            config: self.config,
            memo: self.memo,
            pid_file: self.pid_file?,
            predecessor: self.predecessor,
            runtime: self.runtime?,
            signals: self.signals?,
            starting: self.starting,
            descriptors: self.descriptors,
            account: self.account,
            files: self.files,
            first: self.first?,
            acquired,
            tickets,
            boards,
            page: self.page,
            control: self.control?,
            sink: self.sink?,
            flush: self.flush?,
        })
    }

    pub(super) fn make_state_dir(&mut self) -> Result<(), Refusal> {
        make_folder(&self.config.state_dir, 0o700)
            .map_err(|error| format!("state directory: {error}"))
    }

    pub(super) fn open_log(&mut self) -> Result<(), Refusal> {
        let path = files::log_file(&self.config, self.detached);
        let (place, descriptor) = match &path {
            None => (Place::standard(Standard::Error), Some(Standard::Error)),
            Some(path) => (Place::open(path), standard(path)),
        };
        let form = Form::of(self.config.log.format, descriptor);
        let sink = place.and_then(|place| Sink::new(place, form));
        let sink = sink.map_err(|error| match &path {
            Some(path) => format!("log file {}: {error}", path.display()),
            None => format!("log: {error}"),
        })?;
        log::start(sink.clone(), self.config.log.level, form);
        self.flush = Some(sink.flush_at_end());
        self.sink = Some(sink);
        for doubt in self.doubts.drain(..) {
            tracing::warn!("{doubt}");
        }
        Ok(())
    }

    /// Makes the runtime, and listens to signals before there is a pid file, which operators use to send
    /// some: by default these signals end a process.
    pub(super) fn begin_runtime(&mut self) -> Result<(), Refusal> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => runtime()?,
        };
        self.signals = Some(first_signals(&runtime)?);
        self.runtime = Some(runtime);
        end_while_starting(&self.starting)?;
        sandbox::forbid_core_files().map_err(|error| error.to_string())
    }

    pub(super) fn raise_limit(&mut self) -> Result<(), Refusal> {
        self.descriptors = sandbox::raise_descriptor_limit().map_err(|error| error.to_string())?;
        limits::check(&self.config, self.descriptors)
    }

    pub(super) fn lock_pid_file(&mut self) -> Result<(), Refusal> {
        let path = &self.config.pid_file;
        let carried = self.carried.as_ref().and_then(|it| it.pid_file(path));
        self.pid_file = Some(match carried {
            Some(locked) => PidFile::locked(path, locked),
            None => PidFile::lock(path)?,
        });
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is a step like others")]
    pub(super) fn find_predecessor(&mut self) -> Result<(), Refusal> {
        if let (Some(runtime), None) = (&self.runtime, &self.predecessor) {
            let (socket, most) = (&self.config.control_socket, limits::most_kept(&self.config));
            let passed = take(&mut self.passed);
            let carried = self.carried.as_deref();
            self.predecessor = predecessor::find(runtime, socket, most, passed, carried);
        }
        upgrade_points::reach(Point::Found);
        let found = self.predecessor.iter();
        for trouble in found.flat_map(|it| &it.troubles) {
            tracing::warn!("{trouble}");
        }
        Ok(())
    }

    pub(super) fn choose_account(&mut self) -> Result<(), Refusal> {
        self.account = accounts::account(&self.config)?;
        accounts::check_groups(&self.config, self.account.as_ref())
    }

    pub(super) fn load_material(&mut self) -> Result<(), Refusal> {
        let files = &mut self.files;
        let warn = |warnings: &[Problem]| {
            for warning in files.news(warnings) {
                tracing::warn!("{warning}");
            }
        };
        let Some(successor) = successor(self.predecessor.as_ref(), &self.source, &self.memo) else {
            let material = preflight::first_material(&self.config, &self.memo, warn)?;
            self.first = Some(First::cold(material));
            return Ok(());
        };
        let config = match &self.refused[..] {
            [] => Ok(self.config.clone()),
            refused => Err(refused.to_vec()),
        };
        let (config, first) = successor.first(config, warn)?;
        self.config = config;
        self.first = Some(first);
        Ok(())
    }

    /// Goes back to the configuration of the supervisor before this one, because that on disk cannot be put in force;
    /// refuses the start if there was no such supervisor, or its configuration is in force already.
    fn go_back(&mut self, error: &dyn std::fmt::Display) -> Result<(), Refusal> {
        let is_back = self.first.as_ref().is_none_or(|it| it.told.config_refused);
        let successor = successor(self.predecessor.as_ref(), &self.source, &self.memo);
        let successor = successor.filter(|_| !is_back);
        let successor = successor.ok_or_else(|| error.to_string())?;
        let (config, first) = successor.go_back(vec![about_config(error)])?;
        self.config = config;
        self.first = Some(first);
        Ok(())
    }

    pub(super) fn bind_listeners(&mut self) -> Result<(), Refusal> {
        let patience = self.port_patience();
        let predecessor = self.predecessor.as_mut();
        let left = predecessor.map(|Predecessor { book, sockets, .. }| {
            let secrets = (take(&mut book.tickets), book.clients.take());
            (book.ids.clone(), secrets, take(sockets))
        });
        let (ids, (tickets, clients), sockets) = left.unwrap_or_default();
        let found = FoundSockets::new(sockets);
        let passed = self.listening.clone();
        let resources = Acquirer::new(self.config.workers, passed, &ids);
        let acquire =
            |config: &Config| resources.acquire_with(&config.listeners, patience, found.clone());
        let acquired = match acquire(&self.config) {
            Ok(all) => all,
            Err(error) => {
                self.go_back(&error)?;
                acquire(&self.config).map_err(|error| error.to_string())?
            }
        };
        let now = (Instant::now(), Timestamp::now());
        let tickets = Tickets::resume(tickets, now).map_err(|error| error.to_string())?;
        let boards = Boards::resume(clients).map_err(|error| error.to_string())?;
        self.acquired = Some((acquired, tickets, boards));
        Ok(())
    }

    pub(super) fn bind_page(&mut self) -> Result<(), Refusal> {
        let Some(address) = self.config.metrics else {
            return Ok(());
        };
        if let Some(listener) = self.carried.as_ref().and_then(|it| it.page(address)) {
            self.page = Some(listener);
            return Ok(());
        }
        let bound = helpers::bind_page(address, self.port_patience()).map_err(|error| {
            let address = ports::written(address);
            let reason = explain(&error, &address);
            format!("metrics: cannot listen on {address}: {reason}")
        });
        self.page = Some(bound?);
        Ok(())
    }

    /// Returns how long to try ports that are in use.
    fn port_patience(&self) -> Duration {
        let died = self.pid_file.as_ref().is_some_and(|it| it.predecessor_died);
        if died { PORT_PATIENCE } else { Duration::ZERO }
    }

    pub(super) fn bind_control(&mut self) -> Result<(), Refusal> {
        let group = accounts::control_group(&self.config)?;
        let path = &self.config.control_socket;
        let carried = self.carried.as_ref().and_then(|it| it.control(path));
        self.control = Some(match carried {
            Some(bound) => control_socket::bound(path, group, bound),
            None => control_socket::bind(path, group)?,
        });
        Ok(())
    }
}

/// Returns what a start decides by that comes after another supervisor; `None` if there was none, or what it served cannot
/// be read.
fn successor<'a>(
    predecessor: Option<&'a Predecessor>,
    source: &'a Source,
    memo: &'a Memo,
) -> Option<Successor<'a>> {
    let predecessor = predecessor?;
    Some(Successor {
        earlier: predecessor.generation.as_ref()?,
        holds: predecessor.book.loads.rollback.is_some(),
        source,
        memo,
    })
}

/// Returns the runtime, with a thread for reading the disk that never ends.
///
/// If tokio has no such thread and the system grants no new one, tokio panics. If it has one, the work
/// waits for it.
fn runtime() -> Result<Runtime, Refusal> {
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
fn first_signals(runtime: &Runtime) -> Result<Signals, Refusal> {
    let _context = runtime.enter();
    Signals::new([SIGHUP, SIGUSR1, SIGUSR2]).map_err(|error| format!("no signals: {error}"))
}

/// Lets TERM and INT end a daemon that is process 1 as long as `starting` is true.
///
/// Their default action ends every other process, but the kernel drops them for this one
/// (`pid_namespaces(7)`), and a start may wait for passphrases, ports and disks.
fn end_while_starting(starting: &Arc<AtomicBool>) -> Result<(), Refusal> {
    if std::process::id() == 1 {
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(starting))
                .map_err(|error| format!("no signals: {error}"))?;
        }
    }
    Ok(())
}
