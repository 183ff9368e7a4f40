//! Where a series of figures changes for good. Sizes are exact: every change counts. Times and memory are noisy: a
//! jump there is a shift of the median that noise and a steady slope do not explain.

/// How many values on each side are compared where a series is noisy; near an end of it fewer,
const WINDOW: usize = 5;

/// but no less than these.
const AT_LEAST: usize = 4;

/// How many times the noise a shift must be. Three is called very conservative for one value (Leys et al. 2013,
/// "Detecting outliers: do not use standard deviation around the mean, use absolute deviation around the median");
/// every place of a series is asked here, and the noise is known from few values.
const NOISES: f64 = 4.0;

/// Of normally distributed values, the standard deviation over the median absolute deviation.
const DEVIATION: f64 = 1.4826;

/// Of the distances of normally distributed values from their middle, the third quartile over the standard deviation.
const QUARTILE: f64 = 1.1503;

/// What a change must exceed, whatever the noise: both.
#[derive(Debug, Clone, Copy)]
pub struct Least {
    /// Of the value before.
    pub share: f64,
    /// In the values' own unit.
    pub absolute: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jump {
    /// The first value after it.
    pub at: usize,
    /// The value before and after, or their medians where the series is noisy.
    pub before: f64,
    pub after: f64,
}

/// Of figures that are exact: every change that is large enough.
pub fn exact(values: &[f64], least: Least) -> Vec<Jump> {
    let pairs = values.windows(2).enumerate().map(|(at, pair)| Jump {
        at: at + 1,
        before: pair[0],
        after: pair[1],
    });
    let counts = |jump: &Jump| exceeds((jump.after - jump.before).abs(), jump.before, least);
    pairs.filter(counts).collect()
}

/// Of noisy figures: each shift once, at the place that parts the values best.
pub fn noisy(values: &[f64], least: Least) -> Vec<Jump> {
    let noise = noise(values);
    let mut clusters: Vec<Vec<Jump>> = Vec::new();
    for at in 0..values.len() {
        let Some(jump) = shift(values, at, noise, least) else {
            continue;
        };
        let rises = |jump: &Jump| jump.after > jump.before;
        let near = |cluster: &&mut Vec<Jump>| {
            at - cluster[cluster.len() - 1].at <= AT_LEAST && rises(&cluster[0]) == rises(&jump)
        };
        match clusters.last_mut().filter(near) {
            Some(cluster) => cluster.push(jump),
            None => clusters.push(vec![jump]),
        }
    }
    clusters.iter().map(|cluster| best(values, cluster)).collect()
}

/// The shift at one place, where it is one.
fn shift(values: &[f64], at: usize, noise: f64, least: Least) -> Option<Jump> {
    let before = &values[at.saturating_sub(WINDOW)..at];
    let after = &values[at..values.len().min(at + WINDOW)];
    if before.len().min(after.len()) < AT_LEAST {
        return None;
    }
    let jump = Jump {
        at,
        before: median(before),
        after: median(after),
    };
    let moved = jump.after - jump.before;
    if !exceeds(moved.abs(), jump.before, least) {
        return None;
    }
    // What a steady slope would have come to between the middles of the two.
    let steady = (slope(before) + slope(after)) / 2.0 * (before.len() + after.len()) as f64 / 2.0;
    let sudden = if moved * steady > 0.0 {
        moved.abs() - steady.abs()
    } else {
        moved.abs()
    };
    let noise = noise.max(deviation(before, jump.before, after, jump.after));
    let real = exceeds(sudden, jump.before, least) && sudden > NOISES * noise;
    (real && parted(before, after, &jump)).then_some(jump)
}

/// Whether the values lie on their own sides of the middle between the medians, but for one in five.
fn parted(before: &[f64], after: &[f64], jump: &Jump) -> bool {
    let middle = f64::midpoint(jump.before, jump.after);
    let strayed = |values: &[f64], level: f64| {
        let strays = |value: &&f64| (**value > middle) != (level > middle);
        values.iter().filter(strays).count() * WINDOW > values.len()
    };
    !strayed(before, jump.before) && !strayed(after, jump.after)
}

fn exceeds(change: f64, before: f64, least: Least) -> bool {
    change >= least.absolute && change >= least.share * before.abs()
}

/// Of neighbouring places, the one with the least distance of all values around them from the median of their side.
fn best(values: &[f64], cluster: &[Jump]) -> Jump {
    let (first, last) = (cluster[0], cluster[cluster.len() - 1]);
    let from = first.at.saturating_sub(WINDOW);
    let to = values.len().min(last.at + WINDOW);
    let distance = |part: &[f64]| {
        let middle = median(part);
        part.iter().map(|value| (value - middle).abs()).sum::<f64>()
    };
    let cost = |jump: &&Jump| distance(&values[from..jump.at]) + distance(&values[jump.at..to]);
    let best = cluster.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
    *best.unwrap_or(&first)
}

/// The noise of a series as a standard deviation, from its steps (after von Neumann's mean square successive
/// difference): neither a jump nor a slope adds to it. By the third quartile of the steps, for the median of figures
/// that flip between two values may be nothing at all.
fn noise(values: &[f64]) -> f64 {
    let mut steps: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    steps.sort_by(f64::total_cmp);
    let quartile = steps.get(steps.len().saturating_sub(1) * 3 / 4).copied();
    quartile.unwrap_or_default() / (QUARTILE * std::f64::consts::SQRT_2)
}

/// The median absolute deviation of two sides, each from its own median, as a standard deviation.
fn deviation(before: &[f64], low: f64, after: &[f64], high: f64) -> f64 {
    let distances = before.iter().map(|value| (value - low).abs());
    let distances = distances.chain(after.iter().map(|value| (value - high).abs()));
    DEVIATION * median(&distances.collect::<Vec<_>>())
}

/// By how much values grow from one to the next: the median of all pairs' slopes (Sen 1968).
fn slope(values: &[f64]) -> f64 {
    let pairs = (0..values.len()).flat_map(|from| (from + 1..values.len()).map(move |to| (from, to)));
    let slopes: Vec<f64> = pairs
        .map(|(from, to)| (values[to] - values[from]) / (to - from) as f64)
        .collect();
    median(&slopes)
}

/// 0 of no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests;
