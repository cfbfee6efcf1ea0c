//! A dry run of a reload: what it would find, and what would load but turn clients away.

use std::time::Duration;

use jiff::Timestamp;
use tokio::{sync::oneshot::Receiver, time::timeout};

use super::COUNT_PATIENCE;
use crate::{
    config::{Config, ConfigError},
    control::VerifyReport,
    store::{KeptOut, Loaded, Shown, expiries::Expiries},
    supervisor::loads::{Reader, about_config, wrong_config},
};

/// How long a verification waits for probes of backends; longer than a worker takes for them.
const PROBE_PATIENCE: Duration = Duration::from_secs(4);

/// What is on disk, to be compared with what is served.
#[derive(Debug)]
pub(in crate::supervisor) struct Verification {
    reader: Reader,
    config: Result<Config, ConfigError>,
    loaded: Loaded,
}

impl Verification {
    /// Reads the disk on a thread that may block, and waits for the workers' answers meanwhile.
    pub(super) async fn gather(
        reader: Reader,
        counted: Receiver<()>,
        probed: Receiver<()>,
    ) -> Option<Self> {
        let reading = tokio::task::spawn_blocking(move || Self::read(reader));
        // If a worker does not answer in time, its last counts are used.
        let counted = timeout(COUNT_PATIENCE, counted);
        let probed = timeout(PROBE_PATIENCE, probed);
        let (_, _, found) = tokio::join!(counted, probed, reading);
        found.ok()
    }

    fn read(reader: Reader) -> Self {
        let config = reader.source.load();
        let loaded = reader.load_cold(config.as_ref().unwrap_or(&reader.current.config));
        Self {
            reader,
            config,
            loaded,
        }
    }

    /// Returns what was found; `shown` are the certificates that backends have presented. Blocks.
    pub(super) fn report(self, shown: &[Shown]) -> VerifyReport {
        let current = &self.reader.current;
        let config = self.config.as_ref().unwrap_or(&current.config);
        let served = Some(&current.material);
        let wrong = self.config.as_ref().err();
        let mut problems: Vec<_> = wrong.into_iter().flat_map(wrong_config).collect();
        problems.extend(self.loaded.problems.iter().cloned());
        let tried = self.reader.attempt_start(config);
        problems.extend(tried.obstacles.iter().map(|it| about_config(it)));
        let KeptOut { certainly, perhaps } = self.loaded.kept_out(config, shown);
        problems.extend(certainly);
        let odd = self.loaded.oddities(config, served);
        let doubts = tried.doubts.iter().map(|it| about_config(it)).collect();
        let warnings = [self.loaded.warnings.clone(), perhaps, odd, doubts].concat();
        VerifyReport {
            generation: current.number,
            identities: self.loaded.verified(served),
            problems,
            warnings,
            not_tried: tried.not_tried,
            expiries: Expiries::on_disk(config, &self.loaded, Timestamp::now().into()),
        }
    }
}
