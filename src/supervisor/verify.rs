//! What a reload would find, and what would load and yet turn clients away.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    Message, Supervisor,
    disk::{Reader, about_config, wrong_config},
    preflight,
    requests::COUNT_PATIENCE,
};
use crate::{
    config::{Config, ConfigError},
    control::{Response, VerifyReport, server::Reply},
    tls::load::{KeptOut, Loaded, Shown},
};

/// How long a verification waits for visits to backends, which a worker ends before.
const VISIT_PATIENCE: Duration = Duration::from_secs(4);

/// What is on disk, to be held against what is served.
#[derive(Debug)]
pub struct Found {
    reader: Reader,
    config: Result<Config, ConfigError>,
    loaded: Loaded,
}

impl Supervisor {
    /// Loads what is on disk beside the loop, and serves none of it; has backends visited meanwhile.
    pub(super) fn verify(&mut self, reply: Reply) {
        let (counted, visited) = (self.count(), self.visit());
        let (reader, inbox) = (self.reader(), self.inbox.clone());
        let finding = tokio::task::spawn_blocking(move || Found::read(reader));
        tokio::task::spawn_local(async move {
            // Without an answer, what workers told last has to do.
            let counted = timeout(COUNT_PATIENCE, counted);
            let visited = timeout(VISIT_PATIENCE, visited);
            if let (_, _, Ok(found)) = tokio::join!(counted, visited, finding) {
                let _ = inbox.send(Message::Found(reply, Box::new(found)));
            }
        });
    }

    /// Answers with what was found, judged by what is known of backends by now.
    pub(super) fn found(&self, reply: Reply, found: Found) {
        let shown = self.shown();
        tokio::task::spawn_blocking(move || {
            reply.answer(Response::Verified(found.report(&shown)));
        });
    }
}

impl Found {
    fn read(reader: Reader) -> Self {
        let config = reader.source.load();
        let loaded = reader.load_cold(config.as_ref().unwrap_or(&reader.current.config));
        Self {
            reader,
            config,
            loaded,
        }
    }

    fn report(self, shown: &[Shown]) -> VerifyReport {
        let current = &self.reader.current;
        let config = self.config.as_ref().unwrap_or(&current.config);
        let served = Some(&current.material);
        let wrong = self.config.as_ref().err();
        let mut problems: Vec<_> = wrong.into_iter().flat_map(wrong_config).collect();
        problems.extend(self.loaded.problems.iter().cloned());
        let obstacles = preflight::obstacles(config);
        problems.extend(obstacles.iter().map(|it| about_config(it)));
        let KeptOut { certainly, perhaps } = self.loaded.kept_out(config, shown);
        problems.extend(certainly);
        let odd = self.loaded.oddities(config, served);
        let warnings = [self.loaded.warnings.clone(), perhaps, odd].concat();
        VerifyReport {
            generation: current.number,
            identities: self.loaded.verified(served),
            problems,
            warnings,
        }
    }
}
