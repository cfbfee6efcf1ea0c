//! Moments, durations, amounts of bytes and what strangers wrote, as people read them.

use std::time::Duration;

use jiff::Timestamp;

/// Returns `text` with control characters made visible, since certificates and programs that
/// others wrote must not steer the reader's terminal.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                clean.extend(character.escape_unicode());
            }
            '\n' | '\t' => clean.push(character),
            _ if character.is_control() => clean.extend(character.escape_default()),
            _ => clean.push(character),
        }
    }
    clean
}

/// Returns the beginning of `text` if it has more characters than `most`, and a mark in place of the rest.
#[must_use]
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(most.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

/// Returns a number of bytes in its largest unit: `999`, `1.2K`, `34M`.
#[must_use]
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    let mut unit = UNITS.iter();
    let (mut whole, mut rest, mut name) = (number, 0, "");
    while whole >= 1024 {
        (whole, rest) = (whole / 1024, whole % 1024);
        name = unit.next().copied().unwrap_or_default();
    }
    match (name, whole) {
        ("", _) | (_, 10..) => format!("{whole}{name}"),
        _ => format!("{whole}.{}{name}", rest * 10 / 1024),
    }
}

/// Returns a moment to the second.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// Returns a duration in its two largest units, as `3m 12s`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    if seconds < 10 {
        return format!("{}s", (duration.as_secs_f64() * 10.0).round() / 10.0);
    }
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, size) in units {
        if rest >= size && parts.len() < 2 {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    parts.join(" ")
}

/// The same as [`duration`] for seconds that came over the wire.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        assert_eq!(
            clean("CN=\x1b[2Jüber\u{202e}"),
            "CN=\\u{1b}[2Jüber\\u{202e}"
        );
    }

    #[test]
    fn a_long_text_is_shortened_by_characters() {
        for (text, most, short) in [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("äöüß", 3, "äö…")]
        {
            assert_eq!(shortened(text, most), short);
        }
    }

    #[test]
    fn bytes_have_a_unit() {
        let cases = [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1280, "1.2K"),
            (10 * 1024, "10K"),
            (3 << 30, "3.0G"),
            (u64::MAX, "15E"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn durations_have_two_units() {
        let cases = [
            (0.24, "0.2s"),
            (3.0, "3s"),
            (192.4, "3m 12s"),
            (7_776_000.0, "90d"),
        ];
        for (input, text) in cases {
            assert_eq!(seconds(input), text);
        }
    }
}
