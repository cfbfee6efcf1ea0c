//! Subcommands of the control tool.

mod probe;
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

pub use self::{
    probe::Probe,
    sessions::{End, Filters, Sessions},
};
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
  proxyctl check --warn 30d           Ask whether an operator must act
  proxyctl sessions --older-than 12h  See who has been connected for long
  proxyctl end 18c9f2a3b4d5e-1a       End a session
  proxyctl probe db1.example:3306     See what a server shows its clients
  proxyctl set-on-exit-failure -- /usr/local/sbin/page --now

Exit status:
  0  Done
  1  The daemon refused or it failed; the reason is on stderr
  2  The command line is wrong
  3  No daemon answers at the socket
  4  The daemon speaks another protocol version; `status` shows what little it can
For `check` and `probe`: 0 ok, 1 warning, 2 critical, 3 unknown.";

/// Control a running proxyd
///
/// Sends a request to the daemon over its control socket and prints the answer.
#[expect(
    clippy::doc_markdown,
    reason = "clap shows these comments as they are, so they hold no Markdown"
)]
#[derive(Debug, Parser)]
#[command(name = "proxyctl", version = PROGRAM_VERSION, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Proxyctl {
    /// The daemon's control socket [env: PROXYD_SOCKET]
    ///
    /// The default for root is /run/proxyd/proxyd.sock. For other users it is proxyd.sock in the
    /// user's runtime directory, or in the user's state directory for proxyd if there is no runtime
    /// directory; if that file does not exist, it is /run/proxyd/proxyd.sock. If systemd sets
    /// RUNTIME_DIRECTORY and proxyd.sock exists in it, that one is used.
    // As in the daemon, the environment is read in `config::Environment`: for clap an empty variable
    // is an empty path, even beside a path that is typed.
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Print one JSON document instead of text
    ///
    /// `events` prints one document for each line.
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
    /// certificate. A file that is broken is reported, and its last good state stays in service.
    ///
    /// On file systems that keep a file's times reliably (ext4, XFS, Btrfs, tmpfs and overlayfs), a
    /// file whose times have not changed is not read again.
    ReloadTls(ReloadTls),

    /// Read the configuration file and the TLS files again
    Reload(Reload),

    /// Serve the previous TLS material again, until the next reload
    ///
    /// Use it for a certificate that loads but is the wrong one. Certificates, keys, authorities and
    /// revocation lists all go back; the configuration stays as it is. What is on disk is not loaded until
    /// `reload-tls`, `reload` or HUP, or until the daemon is stopped and started again; an upgrade or
    /// `systemctl restart` changes nothing. Refused if something of the previous material is no longer
    /// valid, or if it lacks something that is configured now.
    TlsRollback(Timeout),

    /// Show what runs, what it serves, since when, and what crashed
    Status(Status),

    /// Set, clear or show the command to run when a worker fails
    #[command(after_help = EXIT_HOOK_HELP)]
    SetOnExitFailure(SetOnExitFailure),

    /// Tell a monitoring system whether an operator must act
    #[command(after_help = CHECK_HELP)]
    Check(Check),

    /// Check whether the files on disk would load and work, without loading them
    ///
    /// Prints problems, warnings, and what expires next.
    ///
    /// If PostgreSQL's channel binding could keep clients out, this connects to the database to see its
    /// certificate.
    Verify(Timeout),

    /// Show what happened: reloads, crashes, restarts, commands run
    Events(Events),

    /// Stop accepting, let sessions end, and end the daemon
    ///
    /// Sessions may go on for `drain_timeout`; then the daemon cuts those that are left. Returns when the daemon has
    /// ended, and says how many sessions ended by themselves and how many were cut.
    Drain(Timeout),

    /// End the daemon and its sessions at once
    ///
    /// Returns when the daemon has ended, and says how many sessions were cut. To restart or upgrade without cutting
    /// sessions, use `systemctl restart`, `proxyctl upgrade` or the options below.
    Stop(Stop),

    /// Replace the running program with the one that is on disk now
    ///
    /// No client is refused and no session ends. The daemon first tries the new program: that program reads the
    /// daemon's state and the configuration, and makes a worker ready. Then the daemon becomes the new program, with
    /// the same process id, and new workers take over the sessions that are kept. Returns when that is done. If
    /// anything fails, the daemon stays as it was, and the exit status is 1. Works with a daemon of any version that
    /// has this command.
    #[command(after_help = UPGRADE_HELP)]
    Upgrade(Upgrade),

    /// Show the sessions that are open, the oldest first
    ///
    /// With options, shows only the sessions that match all of them. Sessions that are still being opened are shown
    /// too. If a worker does not answer, shows the sessions of the other workers and exits with status 1.
    Sessions(Sessions),

    /// End sessions, and tell both sides of each
    ///
    /// Ends the sessions with the given ids, or those that match all options. Sessions that are still being opened are
    /// ended too. The log has a line for each session; `proxyctl events` has one for all of them.
    #[command(after_help = END_HELP)]
    End(End),

    /// Ask servers from outside what they show their clients
    ///
    /// Works for any server that begins TLS with the first byte, or as MySQL, MariaDB or PostgreSQL do, and asks no
    /// daemon. Shows the certificates, when they end, whether a client would accept them and why not, and whether they
    /// are the expected ones.
    #[command(after_help = probe::HELP)]
    Probe(Probe),

    /// Run a throw-away daemon and show what a reload and a crash do
    ///
    /// Needs no configuration and touches no running daemon. The daemon, its certificates and its
    /// backend live in a temporary folder, which is removed at the end.
    Demo(Timeout),

    /// Print a shell completion script
    ///
    /// The script runs `proxyctl` for each completion. To complete the id, listener, address or certificate of a
    /// session, `proxyctl` asks the daemon which sessions are open.
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
Critical: no worker serves; a certificate is at its critical threshold or not valid, and so is a
revocation list whose end makes the daemon refuse clients; the last reload failed; an identity is
served in its last good state; or a start with the files on disk would fail.
Warning: one of these certificates or lists, or an authority, is at its warning threshold; the files
on disk are not what is served; a rollback is in force; a slot has no serving worker; a worker keeps
failing; or the daemon is starting or draining.
Files that may still be being written count for none of these until `watch_grace` is over.

The worst finding comes first. After the bar are the days left of the identities that expire first.

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
    /// Read every file, even if its times have not changed
    ///
    /// Finds changes that were written through a shared memory mapping, which does not always change the times.
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
    /// Load nothing if anything on disk is broken
    ///
    /// Without this option, what is good comes into service, and what is broken stays in its last good
    /// state. After such a refusal, the daemon by itself loads no part of the same files either, until
    /// they change.
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
    /// Run this program instead of the one at the path that the daemon was started from
    ///
    /// Only root and the daemon's user may use this. A later restart runs the program at the old path again.
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,

    /// Only try the program, and change nothing
    #[arg(long)]
    pub check: bool,

    /// How long to wait for the daemon [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Keep printing events as they happen, until Ctrl-C
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
    /// End only the supervisor, and leave its workers serving until proxyd is started again
    ///
    /// The workers go on with their sessions and accept new ones for `orphan_timeout`. A proxyd that starts within that
    /// time takes over sessions, sockets and state: no client is refused and no session that is kept is cut.
    /// `systemctl restart` does this by itself. Refused if proxyd is process 1 of a container, because the kernel would
    /// kill the workers.
    #[arg(long)]
    pub for_restart: bool,

    /// For ExecStop= of a systemd unit: do what systemd's restart or stop of UNIT needs
    ///
    /// Asks systemd whether it restarts UNIT. If it does, this acts as --for-restart; if it does not, or does not answer
    /// within 3 seconds, this acts as `drain`. If no daemon runs, this does nothing and succeeds.
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
    /// The default is a third of its lifetime. The same holds for intermediates, revocation lists and
    /// authorities, whose lifetime counts as 90 days at most.
    #[arg(long, value_name = "LEFT")]
    pub warn: Option<Threshold>,

    /// Be critical when a certificate has this left
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
        warns_too_late(self.warn, self.critical)
    }
}

fn warns_too_late(warn: Option<Threshold>, critical: Option<Threshold>) -> bool {
    match (warn, critical) {
        (Some(Threshold::Time(warn)), Some(Threshold::Time(critical))) => warn < critical,
        (Some(Threshold::Percent(warn)), Some(Threshold::Percent(critical))) => warn < critical,
        _ => false,
    }
}

/// Arguments of `set-on-exit-failure`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
pub struct SetOnExitFailure {
    /// How long the command may run before it is killed [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with_all = ["clear", "show"])]
    timeout: Option<Duration>,

    /// Remove the command that was set; that of the configuration is in force again
    #[arg(long, group = "what")]
    pub clear: bool,

    /// Show the command in force and how its last run ended
    #[arg(long, group = "what")]
    pub show: bool,

    /// The program, which is looked up in PATH if it is a bare name, and its arguments
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
            Command::Probe(probe) => probe.timeout,
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
            "probe",
            "probe --name a..b db:1",
            "probe --protocol http db:1",
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
