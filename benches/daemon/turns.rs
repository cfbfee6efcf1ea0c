//! Taking a figure of both in turns, so that what else the machine does troubles both alike.

use crate::{
    Failure,
    front::{Front, Pair},
};

/// Has `figure` taken of both, `rounds` times in turn; returns the least of each.
///
/// Other work on the machine only ever adds to a figure, so the least is the nearest to the
/// program's own.
pub(crate) fn least(
    pair: &Pair,
    rounds: usize,
    mut figure: impl FnMut(Front) -> Result<f64, Failure>,
) -> Result<(f64, f64), Failure> {
    // The first round fills caches and is not counted.
    figure(pair.ours)?;
    figure(pair.baseline)?;
    let (mut ours, mut baseline) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..rounds {
        ours = ours.min(figure(pair.ours)?);
        baseline = baseline.min(figure(pair.baseline)?);
    }
    Ok((ours, baseline))
}

/// Returns the value that so many hundredths of `sorted` are below.
pub(crate) fn percentile(sorted: &[f64], hundredths: usize) -> f64 {
    let index = (sorted.len() * hundredths / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Sorts values, none of which is missing.
pub(crate) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}
