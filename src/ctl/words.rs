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
