//! The generation that this program would go on with: from the disk, as a start reads it.

use std::{os::fd::OwnedFd, sync::Arc};

use jiff::Timestamp;

use super::words::Ask;
use crate::{
    cli::proxyd::Args,
    config::{Config, Environment, Source},
    facts::Trigger,
    link::{Generation, Packs},
    store::Memo,
    supervisor::{
        predecessor, preflight,
        refusal::Refusal,
        steps::{self, Ground, Origin, Who},
    },
};

/// Reads what the supervisor holds, and what is on disk, and returns the generation that workers would be handed.
pub(super) fn make_ready(
    args: &Args,
    ask: &Ask,
    state: Vec<OwnedFd>,
) -> Result<Arc<Generation>, Refusal> {
    if !state.is_empty() {
        predecessor::read_state(state)?;
    }
    let environment = Environment {
        current_dir: ask.directory.clone(),
        ..Environment::of_process()
    };
    let source = Source::new(&args.given(), &environment).map_err(|error| error.to_string())?;
    let config = source.load().map_err(|error| error.to_string())?;
    check(&config, ask)?;
    let material = preflight::material_on_disk(&config, &Memo::default())?;
    let packs = Packs::default().next(&material).map_err(|error| {
        format!("certificates and keys cannot be put into memory that workers share: {error}")
    })?;
    Ok(Arc::new(Generation {
        number: 1,
        loaded_at: Timestamp::now(),
        trigger: Trigger::Start,
        config: Arc::new(config),
        material,
        packs,
    }))
}

/// Tries all steps of a start, without effect.
fn check(config: &Config, ask: &Ask) -> Result<(), Refusal> {
    let origin = Origin::of_process(ask.detached).listening_at(&ask.listening);
    let found = steps::attempt(&Ground::new(config, Who::Check, &origin));
    if found.obstacles.is_empty() {
        Ok(())
    } else {
        Err(found.obstacles.join("; "))
    }
}
