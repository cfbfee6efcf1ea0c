//! Checks before a daemon starts, and what would keep one from starting.

use std::process::ExitCode;

use jiff::Timestamp;

use super::{
    grounds,
    refusal::{Refusal, refuse},
};
use crate::{
    config::{Address, Config, DEFAULT_NAME, Listener},
    facts::Problem,
    store::{self, Depth, Loaded, Look, Memo, Programs, create},
    sys::privileges,
    tls::Material,
};

/// Says whether the daemon would start with this configuration.
#[expect(clippy::print_stdout, reason = "it is the answer of --check-config")]
pub(super) fn check(config: &Config) -> ExitCode {
    let obstacles = obstacles(config);
    if !obstacles.is_empty() {
        return refuse(&obstacles.join("\nproxyd: "));
    }
    for doubt in doubts(config) {
        println!("proxyd: warning: {doubt}");
    }
    let creates = creates_identity(config) && !config.state_dir.join("tls").exists();
    let mut loaded = load_cold(config, &Memo::default());
    if creates {
        // The files are missing because the start will create them.
        let identity = format!("identity \"{DEFAULT_NAME}\"");
        loaded
            .problems
            .retain(|problem| problem.subject != identity);
    }
    if !loaded.problems.is_empty() {
        return refuse(&list(&loaded));
    }
    for warning in loaded.all_odd(config, None, &[]) {
        println!("proxyd: warning: {warning}");
    }
    if creates {
        println!("proxyd: the configuration is good; its certificate will be created");
    } else {
        println!("proxyd: the configuration and its TLS files are good");
    }
    ExitCode::SUCCESS
}

/// Returns what else than the TLS files would keep a daemon from starting with `config`.
pub(super) fn obstacles(config: &Config) -> Vec<String> {
    let created = creates_identity(config)
        .then(|| create::check(&config.state_dir.join("tls")).map_err(|error| error.to_string()));
    let user =
        privileges::worker_account(config.user.as_deref()).map_err(|error| error.to_string());
    let found = [
        created.and_then(Result::err),
        user.err(),
        check_groups(config).err(),
    ];
    let places = grounds::obstacles(config, creates_identity(config));
    let mut obstacles: Vec<String> = found.into_iter().flatten().chain(places).collect();
    // Two of the checks report a user that cannot be found, with the same sentence.
    obstacles.dedup();
    obstacles
}

/// Returns what would not keep the daemon from starting but from working: sockets of backends that
/// workers cannot reach.
pub(super) fn doubts(config: &Config) -> Vec<String> {
    let Ok(Some(account)) = privileges::worker_account(config.user.as_deref()) else {
        return Vec::new();
    };
    let doubt = |(listener, backend): (&Listener, &Address)| {
        let Address::Unix(socket) = backend else {
            return None;
        };
        let closed = account.is_kept_from(socket)?;
        Some(format!(
            "listener \"{}\": workers run as {}, which has no access to {} on the way to the backend; \
             set `user`, or give it access",
            listener.name,
            account.name,
            closed.display()
        ))
    };
    let backends = config.listeners.iter().flat_map(|listener| {
        let backends = listener.backends.iter();
        backends.map(move |backend| (listener, backend))
    });
    backends.filter_map(doubt).collect()
}

/// Fails if the configuration makes workers members of the group that may use the control socket: an
/// attacker who controls a worker could then have commands run as root.
pub(super) fn check_groups(config: &Config) -> Result<(), Refusal> {
    let group = control_group(config)?;
    let account =
        privileges::worker_account(config.user.as_deref()).map_err(|error| error.to_string())?;
    match (group, account) {
        (Some(group), Some(account)) if config.user.is_some() && account.gid == group => {
            Err(format!(
                "control_group is the group that workers run in as `user` = \"{}\"; name another, or \
             an attacker who controls a worker could command the supervisor",
                account.name
            ))
        }
        _ => Ok(()),
    }
}

/// Returns the id of the group that may use the control socket.
pub(super) fn control_group(config: &Config) -> Result<Option<u32>, Refusal> {
    let Some(name) = &config.control_group else {
        return Ok(None);
    };
    privileges::group_id(name)
        .map_err(|error| format!("control_group \"{name}\": {error}"))?
        .ok_or_else(|| format!("control_group \"{name}\": there is no such group"))
        .map(Some)
}

/// Creates the TLS files that the configuration lets us create, and loads all; `warn` is told what is
/// odd, also where the start is refused.
///
/// A cold start has no last good state, so it is refused if anything is broken.
pub(super) fn first_material(
    config: &Config,
    memo: &Memo,
    mut warn: impl FnMut(&[Problem]),
) -> Result<Material, Refusal> {
    if creates_identity(config) {
        let folder = config.state_dir.join("tls");
        create::ensure(&folder, &create::host_name(), Timestamp::now())
            .map_err(|error| error.to_string())?;
    }
    let loaded = load_cold(config, memo);
    warn(&loaded.all_odd(config, None, &[]));
    match loaded {
        Loaded {
            material: Some(material),
            problems,
            ..
        } if problems.is_empty() => Ok(material),
        loaded => Err(list(&loaded)),
    }
}

fn load_cold(config: &Config, memo: &Memo) -> Loaded {
    let look = Look {
        memo,
        depth: Depth::Contents,
        now: Timestamp::now(),
        programs: Programs::All,
    };
    store::load(config, None, look)
}

/// Whether the configuration names no certificate of its own.
fn creates_identity(config: &Config) -> bool {
    config.identities.iter().any(|files| files.created)
}

fn list(loaded: &Loaded) -> String {
    let lines: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    lines.join("\nproxyd: ")
}
