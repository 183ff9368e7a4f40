//! One row of the benchmark: samples of two sides, their medians and their ratio. Pure.

use serde::Serialize;

/// Seconds to three decimals: what a clock on a busy machine can tell.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The middle of the samples, or the mean of the two in the middle; `None` where there are none.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Ours by theirs; `None` where one of them is not known, or theirs took no time at all.
pub fn ratio(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    let (ours, theirs) = (ours?, theirs?);
    (theirs > 0.0).then(|| ours / theirs)
}

/// What both sides took, in seconds, in the order in which it was measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
}

/// One side of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// What is measured, as Markdown.
    pub what: String,
    pub samples_s: Vec<f64>,
    pub median_s: Option<f64>,
}

impl Side {
    fn new(what: impl Into<String>) -> Self {
        Side {
            what: what.into(),
            samples_s: Vec::new(),
            median_s: None,
        }
    }

    fn measured(&mut self, samples: &[f64]) {
        self.samples_s = samples.iter().copied().map(rounded).collect();
        self.median_s = median(samples).map(rounded);
    }
}

/// What is measured, what it is compared with, and what came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub name: String,
    pub ours: Side,
    /// `None` where the target is absolute.
    pub theirs: Option<Side>,
    /// Median of ours by median of theirs.
    pub ratio: Option<f64>,
    /// In words: a figure that misses it fails nothing.
    pub target: String,
    pub note: String,
    /// Why there are no samples, where a command failed.
    pub failed: Option<String>,
}

impl Row {
    /// A row that has not been measured.
    pub fn new(name: impl Into<String>, ours: impl Into<String>, target: &str) -> Self {
        Row {
            name: name.into(),
            ours: Side::new(ours),
            theirs: None,
            ratio: None,
            target: target.to_owned(),
            note: String::new(),
            failed: None,
        }
    }

    pub fn against(mut self, what: impl Into<String>) -> Self {
        self.theirs = Some(Side::new(what));
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The row with its samples, or with the words of what failed.
    pub fn measured(mut self, samples: anyhow::Result<Samples>) -> Self {
        let samples = match samples {
            Ok(samples) => samples,
            Err(error) => return self.failed(&error),
        };
        self.ours.measured(&samples.ours);
        if let Some(theirs) = &mut self.theirs {
            theirs.measured(&samples.theirs);
        }
        let theirs = self.theirs.as_ref().map(|_| samples.theirs);
        let theirs = theirs.and_then(|samples| median(&samples));
        self.ratio = ratio(median(&samples.ours), theirs).map(rounded);
        self
    }

    pub fn failed(mut self, error: &anyhow::Error) -> Self {
        self.failed = Some(format!("{error:#}"));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_ratio_needs_both_sides() {
        assert_eq!(ratio(Some(1.0), Some(2.0)), Some(0.5));
        assert_eq!(ratio(Some(1.0), None), None);
        assert_eq!(ratio(None, Some(1.0)), None);
        assert_eq!(ratio(Some(1.0), Some(0.0)), None);
    }

    #[test]
    fn a_row_takes_its_ratio_from_the_medians() {
        let samples = Samples {
            ours: vec![1.0, 9.0, 1.2],
            theirs: vec![2.4, 2.0, 2.6],
        };
        let row = Row::new("x", "a", "").against("b").measured(Ok(samples));
        assert_eq!(row.ours.median_s, Some(1.2));
        assert_eq!(row.theirs.unwrap().median_s, Some(2.4));
        assert_eq!(row.ratio, Some(0.5));
    }

    #[test]
    fn an_absolute_row_has_no_ratio_and_a_failed_one_says_why() {
        let samples = Samples {
            ours: vec![1.00049],
            theirs: Vec::new(),
        };
        let row = Row::new("x", "a", "").measured(Ok(samples));
        assert_eq!((row.ours.samples_s, row.ratio), (vec![1.0], None));
        let error = anyhow::anyhow!("exit code 1").context("`docker` ended");
        let row = Row::new("x", "a", "").measured(Err(error));
        assert_eq!(row.failed.as_deref(), Some("`docker` ended: exit code 1"));
    }
}
