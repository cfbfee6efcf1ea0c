//! Subcommands of the control tool.

mod sessions;

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use jiff::SignedDuration;

pub use self::sessions::{End, Filters, Sessions};
use crate::{
    config::Environment,
    facts::{PROGRAM_VERSION, Partial, Reads},
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than the daemon takes for any of the steps of an upgrade together.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(120);

const AFTER_HELP: &str = "\
Examples:
  proxyctl reload-tls                 Serve the certificates now on disk
  proxyctl tls-rollback               Serve again what was served before
  proxyctl status --watch             See what runs, once a second
  proxyctl check --warn 30d           Ask whether somebody must act
  proxyctl sessions --older-than 12h  See who has been connected for long
  proxyctl end 18c9f2a3b4d5e-1a       End a session
  proxyctl set-on-exit-failure -- /usr/local/sbin/page --now

Exit status:
  0  Done
  1  The daemon refused or it failed; the reason is on stderr
  2  The arguments make no sense
  3  No daemon answers at the socket
  4  The daemon speaks another protocol version; `status` shows the little that it tells all the same
For `check`: 0 ok, 1 warning, 2 critical, 3 unknown.";

/// Control a running proxyd
#[expect(
    clippy::doc_markdown,
    reason = "clap shows these comments as they are, so they hold no Markdown"
)]
#[derive(Debug, Parser)]
#[command(name = "proxyctl", version = PROGRAM_VERSION, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Proxyctl {
    /// The daemon's control socket [env: PROXYD_SOCKET]
    ///
    /// The default is /run/proxyd/proxyd.sock for root, and for others proxyd.sock in the user's
    /// runtime directory, or else in the user's state directory for proxyd; where that is not there,
    /// /run/proxyd/proxyd.sock. Where systemd sets RUNTIME_DIRECTORY, proxyd.sock in it goes first
    /// if it is there.
    // As in the daemon, the environment is read in `config::Environment`: for clap an empty variable
    // is an empty path, even beside a path that is typed.
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Print one JSON document instead of text
    ///
    /// `events` prints one document a line.
    #[arg(long, global = true)]
    pub json: bool,

    #[command(flatten)]
    timeout: Timeout,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What the control tool can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the TLS files again and serve what they hold
    ///
    /// Returns when every serving worker has confirmed: from then on no new handshake sees the old
    /// certificate. What is broken on disk is reported, and its last good state is still served.
    ///
    /// A file whose times say that it is as it was is not read again where its file system keeps them
    /// reliably: ext4, XFS, Btrfs, tmpfs and overlayfs.
    ReloadTls(ReloadTls),

    /// Read the configuration file and the TLS files again
    Reload(Reload),

    /// Serve the TLS material of the generation before again, until the next reload
    ///
    /// For a certificate that loads and is still the wrong one. Certificates, keys, authorities and
    /// revocation lists all go back, for the configuration in force. What is on disk is not loaded until
    /// `reload-tls`, `reload` or HUP, and a restart of the daemon serves it too. Refused if anything that
    /// went before is no longer valid or lacks what is configured now.
    TlsRollback(Timeout),

    /// Show what runs, what it serves, since when, and what crashed
    Status(Status),

    /// Set, clear or show the command to run when a worker fails
    #[command(after_help = EXIT_HOOK_HELP)]
    SetOnExitFailure(SetOnExitFailure),

    /// Tell a monitoring system whether somebody must act
    #[command(after_help = CHECK_HELP)]
    Check(Check),

    /// Tell whether what is on disk would load and work, without loading it
    ///
    /// What is odd about it is warned of, and what ends next of it is shown.
    ///
    /// Where clients may be kept out by a database's certificate, which is PostgreSQL's channel binding,
    /// the database is probed for it.
    Verify(Timeout),

    /// Show what happened: reloads, crashes, restarts, commands run
    Events(Events),

    /// Stop accepting, let sessions end, and end the daemon
    ///
    /// Sessions may go on for `drain_timeout`; those that are left then are cut. Returns when the daemon has ended, and
    /// says how many sessions ended by themselves and how many were cut.
    Drain(Timeout),

    /// End the daemon and its sessions at once
    ///
    /// Returns when the daemon has ended, and says how many sessions were cut. To restart or upgrade without cutting
    /// any, see the options, `systemctl restart` and `proxyctl upgrade`.
    Stop(Stop),

    /// Run the program that is on disk now in the place of the one that runs
    ///
    /// Sessions and clients notice nothing. The program is tried first: it reads what the daemon holds and the
    /// configuration, and has a worker get ready. Then the daemon goes on as that program, with the same process id,
    /// and new workers take all sessions over. Returns when that is done. If anything fails, all is as it was, and
    /// the exit status is 1. Works with a daemon of any version that has this command.
    #[command(after_help = UPGRADE_HELP)]
    Upgrade(Upgrade),

    /// Show the sessions that are open, the oldest first
    ///
    /// With options, those for which all of them hold. Sessions whose client was not let in yet are shown too.
    /// If a worker does not answer, the sessions of the others are shown, and the exit status is 1.
    Sessions(Sessions),

    /// End sessions, and tell both sides of each
    ///
    /// Ends those with the ids, or those for which all options hold. A session whose client was not let in yet
    /// is ended too. The log has a line for each, and the events one for all.
    #[command(after_help = END_HELP)]
    End(End),

    /// Run a throw-away daemon and show what a reload and a crash do
    ///
    /// Needs no configuration and touches no running daemon: certificates, a backend and the
    /// daemon live in a temporary folder until the demonstration is over.
    Demo(Timeout),

    /// Print a shell completion script
    ///
    /// The script runs `proxyctl` for each completion, which asks the daemon for the sessions that are open where
    /// an id, listener, address or certificate is to be completed.
    Completions {
        /// The shell it is for
        shell: Shell,
    },
}

const EXIT_HOOK_HELP: &str = "\
The daemon runs the command without a shell. Its environment holds PROXYD_EXIT_KIND,
PROXYD_EXIT_SIGNAL, PROXYD_EXIT_CODE, PROXYD_WORKER_PID, PROXYD_WORKER_UPTIME_SECONDS,
PROXYD_RESTARTS, PROXYD_TLS_GENERATION and PROXYD_CONTROL_SOCKET.

Examples:
  proxyctl set-on-exit-failure --timeout 10s -- /usr/local/sbin/page --now
  proxyctl set-on-exit-failure --clear
  proxyctl set-on-exit-failure --show";

const END_HELP: &str = "\
Examples:
  proxyctl end 18c9f2a3b4d5e-1a
  proxyctl end --listener orders --older-than 12h --dry-run
  proxyctl end --client-cert 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

const UPGRADE_HELP: &str = "\
The program's file, and every folder above it, must belong to root or the daemon's user, and only they may
write to them.

Examples:
  proxyctl upgrade --check
  proxyctl upgrade
  proxyctl upgrade --binary /opt/proxyd-next/proxyd";

const CHECK_HELP: &str = "\
Critical: no worker serves, a certificate, or a revocation list whose end refuses clients, is at its
critical threshold or not valid, the last reload failed, an identity is served in its last good
state, or a cold start with what is on disk would fail.
Warning: one of these, or an authority, is at its warning threshold, what is on disk is not what is
served, a rollback is in force, a slot has no serving worker, a worker keeps failing, or the daemon
is starting or draining.
Files that may be being written are nothing of that until their grace time is over.

The worst comes first, and what follows the bar are the days left of the identities that end first.

Exit status:
  0  Ok
  1  Warning
  2  Critical
  3  Unknown, because no daemon answers";

/// How long to wait for the daemon.
#[derive(Debug, Clone, Copy, Args)]
pub struct Timeout {
    /// How long to wait for the daemon [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

/// Arguments of `reload-tls`.
#[derive(Debug, Args)]
pub struct ReloadTls {
    /// Read every file, whatever its times say
    ///
    /// Finds what was written through a shared memory mapping, which does not always change the times.
    #[arg(long)]
    read_all: bool,

    #[command(flatten)]
    how: Reload,
}

impl ReloadTls {
    /// Returns whether a part of what changed may come into service.
    #[must_use]
    pub fn partial(&self) -> Partial {
        self.how.partial()
    }

    /// Returns which files are read.
    #[must_use]
    pub fn reads(&self) -> Reads {
        if self.read_all {
            Reads::All
        } else {
            Reads::Changed
        }
    }
}

/// Arguments of `reload`, and of `reload-tls` too.
#[derive(Debug, Args)]
pub struct Reload {
    /// Take nothing if anything on disk is broken
    ///
    /// Without it, what is good comes into service and what is broken stays at its last good state.
    /// What was turned back so is not taken in parts by the daemon itself either, as long as it stays
    /// the same on disk.
    #[arg(long)]
    all_or_nothing: bool,

    #[command(flatten)]
    timeout: Timeout,
}

impl Reload {
    /// Returns whether a part of what changed may come into service.
    #[must_use]
    pub fn partial(&self) -> Partial {
        if self.all_or_nothing {
            Partial::Refuse
        } else {
            Partial::Allow
        }
    }
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Show it again every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,

    #[command(flatten)]
    timeout: Timeout,
}

/// Arguments of `upgrade`.
#[derive(Debug, Args)]
pub struct Upgrade {
    /// Run this program instead of the one at the path that the daemon was started by
    ///
    /// For root and the daemon's user alone. A later restart runs the program at the old path again.
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,

    /// Only try the program
    #[arg(long)]
    pub check: bool,

    /// How long to wait for the daemon [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Go on as events happen, until Ctrl-C
    #[arg(long)]
    pub follow: bool,

    #[command(flatten)]
    timeout: Timeout,
}

/// Arguments of `stop`.
#[expect(
    clippy::doc_markdown,
    reason = "clap shows these comments as they are, so they hold no Markdown"
)]
#[derive(Debug, Args)]
pub struct Stop {
    /// End the supervisor alone and leave its workers serving, to start proxyd again at once
    ///
    /// The workers go on with their sessions and accept new ones for `orphan_timeout`. A proxyd that starts meanwhile
    /// takes over sessions, sockets and state: no client is refused and no session is cut. `systemctl restart` does this
    /// by itself. Refused where proxyd is process 1 of a container, because the system kills the workers there.
    #[arg(long)]
    pub for_restart: bool,

    /// For ExecStop= of a systemd unit: end as systemd's job for UNIT wants it
    ///
    /// Asks systemd whether it restarts UNIT. If so, this is --for-restart; if not, or if systemd does not say it within
    /// 3 seconds, it is `drain`. Without a daemon there is nothing to do, which is no failure.
    #[arg(long, value_name = "UNIT", conflicts_with = "for_restart")]
    pub systemd: Option<String>,

    #[command(flatten)]
    timeout: Timeout,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Warn when a certificate has this left: 30d, 12h, or 33% of its lifetime
    ///
    /// The default is a third of its lifetime. Revocation lists and authorities have the same.
    #[arg(long, value_name = "LEFT")]
    pub warn: Option<Threshold>,

    /// The same, for the critical state
    ///
    /// The default is a tenth of its lifetime.
    #[arg(long, value_name = "LEFT")]
    pub critical: Option<Threshold>,

    #[command(flatten)]
    timeout: Timeout,
}

impl Check {
    /// Whether the warning would come after what it is to warn of.
    ///
    /// A time and a share cannot be compared before a certificate is known.
    #[must_use]
    pub fn warns_too_late(&self) -> bool {
        match (self.warn, self.critical) {
            (Some(Threshold::Time(warn)), Some(Threshold::Time(critical))) => warn < critical,
            (Some(Threshold::Percent(warn)), Some(Threshold::Percent(critical))) => warn < critical,
            _ => false,
        }
    }
}

/// Arguments of `set-on-exit-failure`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
pub struct SetOnExitFailure {
    /// How long the command may run before it is killed [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with_all = ["clear", "show"])]
    timeout: Option<Duration>,

    /// Take back the command that was set; the configuration's holds again
    #[arg(long, group = "what")]
    pub clear: bool,

    /// Show the command in force and how its last run ended
    #[arg(long, group = "what")]
    pub show: bool,

    /// The program, found by PATH if it is a bare name, and its arguments
    #[arg(value_name = "COMMAND", group = "what", trailing_var_arg = true, num_args = 1..)]
    pub command: Vec<String>,
}

impl SetOnExitFailure {
    /// Returns how long the command may run.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }
}

impl Proxyctl {
    /// Returns how long to wait for the daemon.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        let own = match &self.command {
            Command::ReloadTls(reload) => reload.how.timeout.timeout,
            Command::Reload(reload) => reload.timeout.timeout,
            Command::TlsRollback(own)
            | Command::Verify(own)
            | Command::Drain(own)
            | Command::Demo(own) => own.timeout,
            Command::Stop(stop) => stop.timeout.timeout,
            Command::Status(status) => status.timeout.timeout,
            Command::Events(events) => events.timeout.timeout,
            Command::Check(check) => check.timeout.timeout,
            Command::Sessions(sessions) => sessions.timeout.timeout,
            Command::End(end) => end.timeout.timeout,
            Command::Upgrade(upgrade) => upgrade.timeout,
            Command::SetOnExitFailure(_) | Command::Completions { .. } => None,
        };
        let usual = match &self.command {
            Command::Upgrade(_) => UPGRADE_TIMEOUT,
            _ => DEFAULT_TIMEOUT,
        };
        own.or(self.timeout.timeout).unwrap_or(usual)
    }

    /// Returns the path of the daemon's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        Self::socket_or(self.socket.clone())
    }

    /// Returns the path of the daemon's control socket if this one was typed, or none.
    #[must_use]
    pub fn socket_or(typed: Option<PathBuf>) -> PathBuf {
        socket_in(typed, &Environment::of_process(), is_there)
    }
}

fn socket_in(
    typed: Option<PathBuf>,
    environment: &Environment,
    is_there: impl Fn(&Path) -> bool,
) -> PathBuf {
    typed
        .or_else(|| environment.control_socket.clone())
        .unwrap_or_else(|| environment.socket_to_ask(is_there))
}

/// Whether something is at `path`, as far as this user may know.
fn is_there(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        // The daemon's answer, or the refusal to connect, says more than another socket would.
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// How little of a certificate's life may be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// This much time.
    Time(Duration),
    /// This many hundredths of its lifetime.
    Percent(u8),
}

/// Why a text is no duration or threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotADuration {
    /// It is no duration.
    #[error("write a duration such as 10s, 500ms or 1m30s")]
    Duration,
    /// It is no threshold.
    #[error("write 30d, 12h, or 33% of the lifetime")]
    Threshold,
}

impl FromStr for Threshold {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let threshold = if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse().ok().filter(|percent| *percent <= 100);
            percent.map(Self::Percent)
        } else {
            age(text).ok().map(Self::Time)
        };
        threshold.ok_or(NotADuration::Threshold)
    }
}

/// Returns the positive duration that `text` writes, which may be one of days, such as `7d`.
fn age(text: &str) -> Result<Duration, NotADuration> {
    let days = text.strip_suffix('d').and_then(|it| it.parse::<u32>().ok());
    match days {
        Some(days) => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        None => duration(text),
    }
}

/// Returns the positive duration that `text` writes.
fn duration(text: &str) -> Result<Duration, NotADuration> {
    let signed: SignedDuration = text.parse().map_err(|_| NotADuration::Duration)?;
    match Duration::try_from(signed) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(NotADuration::Duration),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::fixture::environment;

    fn parse(line: &str) -> Result<Proxyctl, clap::Error> {
        Proxyctl::try_parse_from(std::iter::once("proxyctl").chain(line.split_whitespace()))
    }

    fn hook(line: &str) -> (Duration, SetOnExitFailure) {
        let parsed = parse(line).unwrap();
        let timeout = parsed.timeout();
        match parsed.command {
            Command::SetOnExitFailure(hook) => (timeout, hook),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Proxyctl::command().debug_assert();
    }

    #[test]
    fn the_socket_is_the_one_typed_then_the_exported_then_the_usual() {
        let bare = environment();
        let exported = Environment {
            control_socket: Some("/exported".into()),
            ..environment()
        };
        let usual = "/home/op/.local/state/proxyd/proxyd.sock";
        for (line, environment, socket) in [
            ("status", &bare, usual),
            ("status", &exported, "/exported"),
            ("--socket /typed status", &exported, "/typed"),
        ] {
            let typed = parse(line).unwrap().socket;
            let found = socket_in(typed, environment, |_| false);
            assert_eq!(found, Path::new(socket), "{line}");
        }
    }

    #[test]
    fn the_timeout_stands_before_or_after_the_command() {
        assert_eq!(parse("status").unwrap().timeout(), DEFAULT_TIMEOUT);
        assert_eq!(parse("upgrade").unwrap().timeout(), UPGRADE_TIMEOUT);
        for line in [
            "--timeout 3s upgrade",
            "--timeout 3s status",
            "status --timeout 3s",
            "--timeout 9s stop --timeout 3s",
        ] {
            assert_eq!(
                parse(line).unwrap().timeout(),
                Duration::from_secs(3),
                "{line}"
            );
        }
    }

    #[test]
    fn the_commands_own_timeout_is_another() {
        let (wait, hook) = hook("--timeout 3s set-on-exit-failure --timeout 7s -- /bin/x --now -v");
        assert_eq!(wait, Duration::from_secs(3));
        assert_eq!(hook.timeout(), Duration::from_secs(7));
        assert_eq!(hook.command, ["/bin/x", "--now", "-v"]);
    }

    #[test]
    fn a_commands_options_are_its_own_without_two_dashes() {
        let (_, hook) = hook("set-on-exit-failure /bin/x --json --clear");
        assert_eq!(hook.command, ["/bin/x", "--json", "--clear"]);
        assert!(!hook.clear);
    }

    #[test]
    fn senseless_lines_are_refused() {
        for line in [
            "",
            "set-on-exit-failure",
            "set-on-exit-failure --clear --show",
            "set-on-exit-failure --clear /bin/x",
            "set-on-exit-failure --show --timeout 3s",
            "status --timeout 0s",
            "status --timeout -3s",
            "status --timeout 12",
            "check --warn 101%",
            "check --warn soon",
            "completions tcsh",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn thresholds_are_days_durations_or_shares() {
        assert_eq!(
            "30d".parse(),
            Ok(Threshold::Time(Duration::from_secs(2_592_000)))
        );
        assert_eq!(
            "12h".parse(),
            Ok(Threshold::Time(Duration::from_secs(43_200)))
        );
        assert_eq!("33%".parse(), Ok(Threshold::Percent(33)));
    }
}
