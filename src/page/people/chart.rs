//! Small charts of the last hour. Pure: from points to the paths of an SVG.

use std::fmt::{Display, Write as _};

use super::markup::Html;

/// The places along a chart; each is three points of the history, half a minute.
pub(super) const PLACES: usize = 120;

/// The height of a chart in its own units.
const HEIGHT: u32 = 40;

/// One value for each place, the newest last; `None` where nothing is known.
pub(super) type Values = [Option<u64>; PLACES];

/// Puts the newest points at the right end: each place has what `join` makes of its points.
pub(super) fn places(
    points: impl DoubleEndedIterator<Item = Option<u64>>,
    join: fn(u64, u64) -> u64,
) -> Values {
    let per_place = crate::page::recent::POINTS / PLACES;
    let mut values = [None; PLACES];
    for (number, point) in points.rev().enumerate() {
        let place = PLACES.checked_sub(1 + number / per_place);
        if let (Some(place), Some(point)) = (place.and_then(|it| values.get_mut(it)), point) {
            *place = Some(place.map_or(point, |it| join(it, point)));
        }
    }
    values
}

/// Returns the end of a scale that holds this value: 1, 2 or 5 times a power of ten.
pub(super) fn scale(most: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for step in [1, 2, 5] {
            match unit.checked_mul(step) {
                Some(end) if end >= most => return end,
                Some(_) => {}
                None => return u64::MAX,
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// Returns how high a value stands, from the top.
fn height(value: u64, end: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a chart has 40 steps")]
    let share = value as f64 / end.max(1) as f64;
    f64::from(HEIGHT) * (1.0 - share.min(1.0))
}

/// Returns the path of a line, which is broken where nothing is known.
pub(super) fn line(values: &Values, end: u64) -> String {
    let mut path = String::new();
    let mut before = None;
    for (place, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let command = if before.is_some() { 'L' } else { 'M' };
            let _ = write!(path, "{command}{place} {:.1}", height(*value, end));
            let is_alone = before.is_none() && values.get(place + 1).is_none_or(Option::is_none);
            if is_alone {
                path.push_str("h.5");
            }
        }
        before = *value;
    }
    path
}

/// Returns the path of the area under a line.
pub(super) fn area(values: &Values, end: u64) -> String {
    let mut path = String::new();
    let mut first = None;
    for place in 0..=PLACES {
        match (first, values.get(place).copied().flatten()) {
            (None, Some(value)) => {
                first = Some(place);
                let _ = write!(path, "M{place} {HEIGHT}V{:.1}", height(value, end));
            }
            (Some(_), Some(value)) => {
                let _ = write!(path, "L{place} {:.1}", height(value, end));
            }
            (Some(_), None) => {
                first = None;
                let _ = write!(path, "V{HEIGHT}Z");
            }
            (None, None) => {}
        }
    }
    path
}

/// Returns the path of a bar for each value that is not 0.
pub(super) fn bars(values: &Values, end: u64) -> String {
    let mut path = String::new();
    for (place, value) in values.iter().enumerate() {
        if let Some(value @ 1..) = value {
            // What happened once must be seen beside what happened a thousand times.
            let top = height(*value, end).min(f64::from(HEIGHT) - 2.0);
            let _ = write!(path, "M{place} {HEIGHT}V{top:.1}");
        }
    }
    path
}

/// Writes a chart with a line of words above it; `label` says the same for those who do not see it.
pub(super) fn write(
    html: &mut Html,
    label: &str,
    words: impl FnOnce(&mut Html),
    paths: &[(&'static str, String)],
) {
    html.element_with("div", &[("class", &"chart")], |html| {
        html.element("p", words);
        let frame = format!("0 0 {} {HEIGHT}", PLACES - 1);
        let attributes: &[(&'static str, &dyn Display)] = &[
            ("viewBox", &frame),
            ("preserveAspectRatio", &"none"),
            ("role", &"img"),
            ("aria-label", &label),
        ];
        html.element_with("svg", attributes, |html| {
            html.words("title", "", label);
            let base = HEIGHT.to_string();
            let end = (PLACES - 1).to_string();
            let line: &[(&'static str, &dyn Display)] = &[
                ("class", &"base"),
                ("x1", &"0"),
                ("x2", &end),
                ("y1", &base),
                ("y2", &base),
            ];
            html.element_with("line", line, |_| {});
            for (class, path) in paths {
                html.path(class, path);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number_that_holds_all() {
        let cases = [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 5),
            (6, 10),
            (12, 20),
            (999, 1000),
        ];
        for (most, end) in cases {
            assert_eq!(scale(most), end);
        }
        assert_eq!(scale(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_newest_points_stand_at_the_right() {
        let values = places([Some(1), None, Some(5), Some(2)].into_iter(), u64::max);
        assert_eq!(values[PLACES - 1], Some(5));
        assert_eq!(values[PLACES - 2], Some(1));
        assert_eq!(values[PLACES - 3], None);
        let full = places(std::iter::repeat_n(Some(1), 1000), |a, b| a + b);
        assert!(full.iter().all(|it| *it == Some(3)));
    }

    #[test]
    fn a_line_is_broken_at_gaps() {
        let mut values = [None; PLACES];
        values[0] = Some(0);
        values[1] = Some(10);
        values[3] = Some(5);
        assert_eq!(line(&values, 10), "M0 40.0L1 0.0M3 20.0h.5");
        assert_eq!(area(&values, 10), "M0 40V40.0L1 0.0V40ZM3 40V20.0V40Z");
        assert_eq!(bars(&values, 1000), "M1 40V38.0M3 40V38.0");
    }
}
