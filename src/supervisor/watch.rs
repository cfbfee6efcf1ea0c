//! Notices that TLS files have changed, by their content.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::Message;
use crate::{link::Generation, tls::load::fingerprint};

/// How often the files are compared.
const INTERVAL: Duration = Duration::from_secs(1);

/// The generation in force, as the loop changes it.
pub(super) type Current = Rc<RefCell<Arc<Generation>>>;

/// Tells `inbox` each time the files have changed and then stayed as they are for one look.
///
/// Tools write a certificate and its key one after the other; a look in between would only find a
/// pair that does not match.
pub(super) async fn watch(current: Current, inbox: mpsc::UnboundedSender<Message>) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut seen) = (None, None);
    loop {
        looks.tick().await;
        let generation = Arc::clone(&current.borrow());
        if !generation.config.watch {
            (told, seen) = (None, None);
            continue;
        }
        let look = tokio::task::spawn_blocking(move || fingerprint(&generation.config));
        let Ok(now) = look.await else { continue };
        let told_before = *told.get_or_insert(now);
        if now != told_before && seen == Some(now) {
            told = Some(now);
            if inbox.send(Message::Changed).is_err() {
                return;
            }
        }
        seen = Some(now);
    }
}
