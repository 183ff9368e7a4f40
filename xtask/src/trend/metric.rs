//! What a trend is told of: the figures of an image, and how long things took; each with its unit and with what
//! counts as a jump of it.

use clap::ValueEnum;
use serde::Serialize;

use super::jump::Least;
use crate::history::Figures;

/// In the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Bytes of the uncompressed layers
    Unpacked,
    /// Bytes of the layer blobs
    Compressed,
    /// From create to the first 200 of `/live`
    FirstAnswer,
    /// From create to the first sound answer of `/ready`
    ReadyAnswer,
    /// After the start
    IdleMemory,
    /// After the load
    LoadedMemory,
    /// Of whole runs, the build and the gates
    Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Bytes,
    Ms,
}

impl Metric {
    pub const ALL: [Metric; 7] = [
        Metric::Unpacked,
        Metric::Compressed,
        Metric::FirstAnswer,
        Metric::ReadyAnswer,
        Metric::IdleMemory,
        Metric::LoadedMemory,
        Metric::Duration,
    ];

    pub fn words(self) -> &'static str {
        match self {
            Metric::Unpacked => "unpacked size",
            Metric::Compressed => "compressed size",
            Metric::FirstAnswer => "first answer",
            Metric::ReadyAnswer => "ready answer",
            Metric::IdleMemory => "idle memory",
            Metric::LoadedMemory => "loaded memory",
            Metric::Duration => "duration",
        }
    }

    pub fn unit(self) -> Unit {
        match self {
            Metric::FirstAnswer | Metric::ReadyAnswer | Metric::Duration => Unit::Ms,
            _ => Unit::Bytes,
        }
    }

    /// Whether the same image always gives the same figure.
    pub fn is_exact(self) -> bool {
        matches!(self, Metric::Unpacked | Metric::Compressed)
    }

    /// Anything less is no jump, however sure it is.
    pub fn least(self) -> Least {
        let (share, absolute) = match self {
            Metric::Unpacked | Metric::Compressed => (0.01, 10_000.0),
            Metric::FirstAnswer | Metric::ReadyAnswer => (0.1, 20.0),
            Metric::IdleMemory | Metric::LoadedMemory => (0.1, 250_000.0),
            Metric::Duration => (0.1, 500.0),
        };
        Least { share, absolute }
    }

    /// The least share of its values that a picture's height stands for.
    pub fn least_span(self) -> f64 {
        if self.is_exact() { 0.1 } else { 0.25 }
    }

    /// Of an image; how long something took is no figure of one.
    pub fn of(self, figures: &Figures) -> Option<u64> {
        match self {
            Metric::Unpacked => figures.unpacked_bytes,
            Metric::Compressed => figures.compressed_bytes,
            Metric::FirstAnswer => figures.first_answer_ms,
            Metric::ReadyAnswer => figures.ready_answer_ms,
            Metric::IdleMemory => figures.idle_memory_bytes,
            Metric::LoadedMemory => figures.loaded_memory_bytes,
            Metric::Duration => None,
        }
    }
}

impl Unit {
    /// The unit that a table or an axis with values up to `largest` is told in, and what one of it is.
    pub fn scale(self, largest: f64) -> (&'static str, f64) {
        match self {
            Unit::Bytes => ("MB", 1e6),
            Unit::Ms if largest < 10_000.0 => ("ms", 1.0),
            Unit::Ms => ("s", 1000.0),
        }
    }

    /// A value with its unit, e.g. `9.72 MB`, `256 ms`, `48.9 s`.
    pub fn shown(self, value: f64) -> String {
        let (name, one) = self.scale(value);
        format!("{} {name}", digits(name, value / one))
    }
}

/// A number with as many decimals as its unit deserves.
pub fn digits(unit: &str, value: f64) -> String {
    match unit {
        _ if value.abs() >= 1e6 => format!("{value:.0e}"),
        "MB" => format!("{value:.2}"),
        "s" if value < 10.0 => format!("{value:.2}"),
        "s" => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A change in percent, with its sign: `+12 %`, `-3.4 %`.
pub fn change(before: f64, after: f64) -> String {
    if before <= 0.0 {
        return "from nothing".to_owned();
    }
    let percent = (after - before) / before * 100.0;
    let decimals = usize::from(percent.abs() < 10.0);
    format!("{percent:+.decimals$} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_in_the_unit_that_suits_it() {
        for (unit, value, words) in [
            (Unit::Bytes, 9_722_368.0, "9.72 MB"),
            (Unit::Ms, 256.4, "256 ms"),
            (Unit::Ms, 48_882.0, "48.9 s"),
            (Unit::Bytes, u64::MAX as f64, "2e13 MB"),
            (Unit::Ms, 0.0, "0 ms"),
        ] {
            assert_eq!(unit.shown(value), words);
        }
        assert_eq!(change(100.0, 112.4), "+12 %");
        assert_eq!(change(100.0, 96.6), "-3.4 %");
        assert_eq!(change(0.0, 5.0), "from nothing");
    }
}
