//! The daemon's command line.

use std::path::PathBuf;

use clap::Parser;

use crate::{
    config::{Address, Given, LogFormat, LogLevel},
    facts::PROGRAM_VERSION,
    protocol::Protocol,
};

const AFTER_HELP: &str = "\
ADDR is host:port, [v6]:port or unix:/path.

Examples:
  proxyd --config /etc/proxyd/proxyd.toml --check-config
  proxyd --listen 0.0.0.0:3307 --backend 127.0.0.1:3306 --protocol mysql
  proxyd --daemonize

Exit status:
  0  the daemon ended as it was told to, or is serving in the background
  1  it could not start, or the configuration is wrong; the reason is on stderr
  2  the command line is wrong

Signals:
  HUP        reload the configuration and the TLS files
  TERM, INT  drain, then exit; a second one exits at once
  USR1       reopen the log file
  USR2       replace the program with the one on disk, as `proxyctl upgrade` does

See proxyd.toml(5) for the configuration file and proxyctl(8) for the control tool.";

/// TLS front for databases that never serves a stale certificate
///
/// Clients of MySQL, MariaDB, PostgreSQL or any TCP service connect to proxyd. It ends their TLS and passes the bytes on to
/// the database. What it serves is in a configuration file, or is one listener that these options describe.
#[expect(
    clippy::doc_markdown,
    reason = "clap shows these comments as they are, so they hold no Markdown"
)]
#[derive(Debug, Clone, PartialEq, Eq, Default, Parser)]
#[command(name = "proxyd", version = PROGRAM_VERSION, after_help = AFTER_HELP)]
pub struct Args {
    /// Read the configuration from this file [env: PROXYD_CONFIG] [default:
    /// /etc/proxyd/proxyd.toml]
    // The environment is read in `config::Environment`, not by clap: there a variable counts as
    // typed, and one that is merely exported would clash with --listen.
    #[arg(long, short, value_name = "FILE", help_heading = "What to serve")]
    pub config: Option<PathBuf>,

    /// Serve one listener at this address, without a configuration file
    #[arg(
        long,
        value_name = "ADDR",
        requires = "backend",
        conflicts_with = "config",
        help_heading = "What to serve"
    )]
    pub listen: Option<Address>,

    /// Connect the listener's sessions to this address
    #[arg(
        long,
        value_name = "ADDR",
        requires = "listen",
        value_parser = backend,
        help_heading = "What to serve"
    )]
    pub backend: Option<Address>,

    /// Expect this protocol at the listener [default: tcp]
    #[arg(long, requires = "listen", help_heading = "What to serve")]
    pub protocol: Option<Protocol>,

    /// Stay in the foreground; this is the default
    #[arg(long, conflicts_with = "daemonize", help_heading = "How to run")]
    pub foreground: bool,

    /// Go to the background once a worker serves every listener
    #[arg(long, help_heading = "How to run")]
    pub daemonize: bool,

    /// Check the configuration and exit
    #[arg(long, help_heading = "How to run")]
    pub check_config: bool,

    /// Run this many worker processes [default: one for each CPU that proxyd may use]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=crate::config::WORKERS_MAX as i64),
        help_heading = "How to run"
    )]
    pub workers: Option<u16>,

    /// Keep created certificates and other state in this directory
    #[arg(long, value_name = "DIR", help_heading = "Where to keep things")]
    pub state_dir: Option<PathBuf>,

    /// Take requests from proxyctl at this Unix socket [env: PROXYD_SOCKET]
    #[arg(long, value_name = "PATH", help_heading = "Where to keep things")]
    pub control_socket: Option<PathBuf>,

    /// Write the process id to this file and hold a lock on it
    #[arg(long, value_name = "PATH", help_heading = "Where to keep things")]
    pub pid_file: Option<PathBuf>,

    /// Write log lines in this format [default: text]
    #[arg(long, help_heading = "What to log")]
    pub log_format: Option<LogFormat>,

    /// Write log lines of this severity and above [default: info]
    #[arg(long, help_heading = "What to log")]
    pub log_level: Option<LogLevel>,
}

impl Args {
    /// Returns what the command line says about the configuration.
    pub fn given(&self) -> Given {
        let args = self.clone();
        Given {
            config: args.config,
            listen: args.listen,
            backend: args.backend,
            protocol: args.protocol,
            workers: args.workers,
            state_dir: args.state_dir,
            control_socket: args.control_socket,
            pid_file: args.pid_file,
            log_format: args.log_format,
            log_level: args.log_level,
        }
    }
}

/// Parses an address that is connected to.
fn backend(text: &str) -> Result<Address, Box<dyn std::error::Error + Send + Sync>> {
    let address: Address = text.parse()?;
    match address.port() {
        Some(0) => Err("a backend cannot have port 0".into()),
        _ => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn nothing_needs_to_be_given() {
        assert_eq!(parse("proxyd").unwrap(), Args::default());
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for (line, kind) in [
            ("proxyd --listen h:1", ErrorKind::MissingRequiredArgument),
            ("proxyd --backend h:1", ErrorKind::MissingRequiredArgument),
            ("proxyd --protocol tcp", ErrorKind::MissingRequiredArgument),
            (
                "proxyd --listen h:1 --backend h:2 --config f",
                ErrorKind::ArgumentConflict,
            ),
            (
                "proxyd --foreground --daemonize",
                ErrorKind::ArgumentConflict,
            ),
            (
                "proxyd --listen h --backend h:1",
                ErrorKind::ValueValidation,
            ),
            (
                "proxyd --listen h:0 --backend h:0",
                ErrorKind::ValueValidation,
            ),
            ("proxyd --workers 0", ErrorKind::ValueValidation),
            ("proxyd --workers 257", ErrorKind::ValueValidation),
            ("proxyd --log-level loud", ErrorKind::InvalidValue),
            ("proxyd file", ErrorKind::UnknownArgument),
        ] {
            assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
        }
    }

    #[test]
    fn help_has_no_full_stop_at_the_end_of_a_first_line() {
        for argument in Args::command().get_arguments() {
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(!help.is_empty() && !help.ends_with('.'), "{help}");
        }
    }
}
