//! `--check-config`, and the first load of the TLS files.

use std::process::ExitCode;

use jiff::Timestamp;

use super::{
    refusal::{Refusal, refuse},
    steps::{self, Findings, Ground, Origin, Who},
};
use crate::{
    config::{Config, DEFAULT_NAME},
    facts::Problem,
    store::{
        self, Depth, Loaded, Look, Memo, Owner, Programs,
        create::{self, Creation},
    },
    tls::Material,
};

/// Says whether the daemon would start with this configuration.
#[expect(clippy::print_stdout, reason = "it is the answer of --check-config")]
pub(super) fn check(config: &Config, origin: &Origin) -> ExitCode {
    let Findings {
        obstacles,
        doubts,
        not_tried,
        replaced: _,
    } = steps::attempt(&Ground::new(config, Who::Check, origin));
    if !obstacles.is_empty() {
        return refuse(&obstacles.join("\nproxyd: "));
    }
    for doubt in doubts {
        println!("proxyd: warning: {doubt}");
    }
    let creates = creates_identity(config)
        && !matches!(
            create::check(&config.state_dir.join("tls")),
            Ok(Creation::Used)
        );
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
    for untried in not_tried {
        println!("proxyd: not tried: {untried}");
    }
    if creates {
        println!("proxyd: the configuration is good; its certificate will be created");
    } else {
        println!("proxyd: the configuration and its TLS files are good");
    }
    ExitCode::SUCCESS
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
    create(config)?;
    let loaded = load_cold(config, memo);
    warn(&loaded.all_odd(config, None, &[]));
    whole(loaded)
}

/// Loads the TLS files, of which none may be broken. Creates none.
pub(super) fn material_on_disk(config: &Config, memo: &Memo) -> Result<Material, Refusal> {
    whole(load_cold(config, memo))
}

/// Returns what was loaded if nothing of it is broken.
fn whole(loaded: Loaded) -> Result<Material, Refusal> {
    match loaded {
        Loaded {
            material: Some(material),
            problems,
            ..
        } if problems.is_empty() => Ok(material),
        loaded => Err(list(&loaded)),
    }
}

/// Creates the TLS files that the configuration lets us create, unless they are there. Blocks.
pub(super) fn create(config: &Config) -> Result<(), Refusal> {
    if creates_identity(config) {
        let folder = config.state_dir.join("tls");
        create::ensure(&folder, &create::host_name(), Timestamp::now())
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn load_cold(config: &Config, memo: &Memo) -> Loaded {
    let look = Look {
        memo,
        depth: Depth::Contents,
        now: Timestamp::now(),
        programs: Programs::All,
        owner: Owner::InForce,
    };
    store::load(config, None, look)
}

/// Whether the configuration names no certificate of its own.
pub(super) fn creates_identity(config: &Config) -> bool {
    config.identities.iter().any(|files| files.created)
}

fn list(loaded: &Loaded) -> String {
    let lines: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    lines.join("\nproxyd: ")
}
