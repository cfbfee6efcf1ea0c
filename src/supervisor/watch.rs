//! Notices that TLS files have changed, by their content.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::Message;
use crate::{
    link::Generation,
    tls::{Memo, load::fingerprint},
};

/// How often the files are compared.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks after which the disk is read even if no file has changed: time makes certificates valid
/// and invalid, and something may have been missed.
const LOOKS_PER_READ: u32 = 60;

/// The generation in force, as the loop changes it.
pub(super) type Current = Rc<RefCell<Arc<Generation>>>;

/// Tells `inbox` each time the files have changed and then stayed as they are for one look, and
/// once in a while when they have not.
///
/// Tools write a certificate and its key one after the other; a look in between would only find a
/// pair that does not match.
pub(super) async fn watch(
    current: Current,
    memo: Arc<Memo>,
    inbox: mpsc::UnboundedSender<Message>,
) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was loaded at the start may be older than the first look.
    let (mut told, mut seen, mut looks_since) = (None, None, 0);
    loop {
        looks.tick().await;
        let generation = Arc::clone(&current.borrow());
        if !generation.config.watch {
            (told, seen, looks_since) = (None, None, 0);
            continue;
        }
        let memo = Arc::clone(&memo);
        let look = tokio::task::spawn_blocking(move || fingerprint(&generation.config, &memo));
        let Ok(now) = look.await else { continue };
        looks_since += 1;
        let is_news = told != Some(now) || looks_since >= LOOKS_PER_READ;
        if is_news && seen == Some(now) {
            (told, looks_since) = (Some(now), 0);
            if inbox.send(Message::Changed).is_err() {
                return;
            }
        }
        seen = Some(now);
    }
}
