//! Sessions that are always busy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::support::{scene::Scene, until};

/// Sessions each of which sends line after line, and checks what comes back.
pub(super) struct Traffic {
    enough: Arc<AtomicBool>,
    lines: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<u64, String>>>,
}

impl Traffic {
    /// Opens so many sessions and keeps them busy.
    pub(super) fn start(scene: &Scene, sessions: usize) -> Self {
        let (enough, lines) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let threads = (0..sessions).map(|number| {
            let mut session = scene.session();
            let (enough, lines) = (Arc::clone(&enough), Arc::clone(&lines));
            thread::spawn(move || {
                let mut line = 0;
                while !enough.load(Ordering::Relaxed) {
                    let text = format!("line {line} of session {number}");
                    if let Err(error) = session.echo(&text) {
                        return Err(format!("{text}: {error}"));
                    }
                    line += 1;
                    lines.fetch_add(1, Ordering::Relaxed);
                }
                Ok(line)
            })
        });
        Self {
            enough: Arc::clone(&enough),
            lines: Arc::clone(&lines),
            threads: threads.collect(),
        }
    }

    /// Waits until so many more lines went through.
    pub(super) fn flows(&self, more: u64) {
        let before = self.lines.load(Ordering::Relaxed);
        until("lines go through", || {
            self.lines.load(Ordering::Relaxed) >= before + more
        });
    }

    /// Ends the sessions.
    ///
    /// # Panics
    ///
    /// When one was lost, or something else came back than was sent.
    #[track_caller]
    pub(super) fn lost_nothing(self) {
        self.enough.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(|it| it.join().unwrap());
        let lost: Vec<String> = ended.filter_map(Result::err).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}
