//! Sentences that several answers share.

use super::render::{Paint, Tone, clean};
use crate::facts::Expiry;

/// Says in a line when something ends.
pub(super) fn end(it: &Expiry, paint: Paint) -> String {
    let (word, tone) = match it.days_left {
        days if days < 0 => ("ended".to_owned(), Tone::Bad),
        days => (format!("ends in {days}d"), Tone::Plain),
    };
    let what = clean(&it.to_string());
    format!("  {} ({}): {what}\n", paint.paint(&word, tone), it.ends_at)
}

/// Says for which listeners a rollback took back authorities and revocation lists too; `None` if for none.
pub(super) fn trust_went_back(listeners: &[String]) -> Option<String> {
    let names: Vec<_> = listeners
        .iter()
        .map(|it| format!("\"{}\"", clean(it)))
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "authorities and revocation lists for clients of listener {} went back too; clients that were \
             refused before, such as revoked ones, may be let in",
            names.join(", ")
        )
    })
}
