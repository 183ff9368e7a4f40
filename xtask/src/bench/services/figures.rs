//! What `bench services` came to: figures of every side, and whether what was aimed at was met. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::form::{Aims, Units};
use crate::bench::row::{median, ratio};

/// A container is to be as fast as the process alone, within this share.
const OF_BARE: f64 = 0.95;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The image's own binary, as a process of this machine.
    Process,
    /// The image, in this machine's network.
    Container,
    /// The image in the stack, through a port that the engine publishes.
    Published,
    /// What is behind the service, without it.
    Direct,
    /// What is behind it, through nginx.
    Nginx,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Side::Process => "process",
            Side::Container => "container",
            Side::Published => "published port",
            Side::Direct => "direct call",
            Side::Nginx => "nginx",
        }
    }
}

/// The samples of one side, in the order in which they were taken.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Answers a second, all connections at work.
    pub per_second: Vec<f64>,
    /// One request at a time, in milliseconds.
    pub alone_p50_ms: Vec<f64>,
    pub alone_p99_ms: Vec<f64>,
    /// All connections at work, in milliseconds.
    pub p50_ms: Vec<f64>,
    pub p99_ms: Vec<f64>,
    /// Resident memory under the load, in MB; where it is known.
    pub memory_mb: Vec<f64>,
    /// Until all clients of a WebSocket were connected, in seconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opened_s: Vec<f64>,
    /// Answers that were not as expected; where there is one, nothing is judged by the other figures.
    pub wrong: u64,
    pub first_wrong: Option<String>,
}

/// One load on all its sides.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    pub service: String,
    pub load: String,
    pub about: String,
    pub connections: usize,
    pub sides: BTreeMap<Side, Figures>,
    pub aims: Vec<Aim>,
    /// Why it could not be measured.
    pub failed: Option<String>,
}

/// A figure and what it is to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Aim {
    pub what: String,
    pub aim: String,
    /// The median of the rounds.
    pub got: Option<f64>,
    /// In their order.
    pub rounds: Vec<f64>,
    pub unit: String,
    /// `None`: not known.
    pub met: Option<bool>,
    /// Some rounds met it, and some did not.
    pub noisy: bool,
}

impl Aim {
    pub fn at_most(
        what: impl Into<String>,
        aim: f64,
        unit: &str,
        rounds: impl IntoIterator<Item = f64>,
    ) -> Self {
        Aim::new(what.into(), format!("at most {aim}"), unit, rounds, |got| {
            got <= aim
        })
    }

    pub fn at_least(
        what: impl Into<String>,
        aim: f64,
        unit: &str,
        rounds: impl IntoIterator<Item = f64>,
    ) -> Self {
        Aim::new(what.into(), format!("at least {aim}"), unit, rounds, |got| {
            got >= aim
        })
    }

    fn new(
        what: String,
        aim: String,
        unit: &str,
        rounds: impl IntoIterator<Item = f64>,
        met: impl Fn(f64) -> bool,
    ) -> Self {
        let rounds: Vec<f64> = rounds.into_iter().collect();
        let well = rounds.iter().filter(|got| met(**got)).count();
        let got = median(&rounds);
        Aim {
            what,
            aim,
            got,
            unit: unit.to_owned(),
            met: got.map(met),
            noisy: well > 0 && well < rounds.len(),
            rounds,
        }
    }
}

impl Measurement {
    /// Whether it was measured, and every answer was as expected.
    pub fn is_sound(&self) -> bool {
        self.failed.is_none() && self.sides.values().all(|figures| figures.wrong == 0)
    }

    /// Works out what was aimed at, round by round: whatever slows the machine down meets both sides of one.
    pub fn judge(&mut self, aims: &Aims, units: Option<&Units>) {
        let of = |side: Side, pick: fn(&Figures) -> &Vec<f64>| {
            let figures = self.sides.get(&side).filter(|figures| figures.wrong == 0);
            figures.map(|figures| pick(figures).clone()).unwrap_or_default()
        };
        let rate = |side| of(side, |it| &it.per_second);
        let alone = |side| of(side, |it| &it.alone_p50_ms);
        let mut judged = vec![Aim::at_least(
            "container to process, answers a second",
            OF_BARE,
            "",
            shares(&rate(Side::Container), &rate(Side::Process)),
        )];
        if let Some(aim) = aims.added_p50_ms {
            let (ours, direct) = (alone(Side::Process), alone(Side::Direct));
            judged.push(Aim::at_most(
                "added to the direct call at the median",
                aim,
                "ms",
                ours.iter().zip(&direct).map(|(ours, direct)| ours - direct),
            ));
        }
        if let Some(aim) = aims.of_proxy {
            judged.push(Aim::at_least(
                "container to nginx, answers a second",
                aim,
                "",
                shares(&rate(Side::Container), &rate(Side::Nginx)),
            ));
        }
        if let (Some(aim), Some(units)) = (aims.units_per_s, units) {
            let rates = rate(Side::Process);
            let got = rates.iter().map(|rate| rate * units.each as f64);
            judged.push(Aim::at_least(format!("{} a second", units.of), aim, "", got));
        }
        self.aims = judged;
    }
}

/// Ours by theirs, round by round.
fn shares(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    let rounds = ours.iter().zip(theirs);
    rounds
        .filter_map(|(ours, theirs)| ratio(Some(*ours), Some(*theirs)))
        .collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn measurement() -> Measurement {
        let side = |rate: f64, alone: f64| Figures {
            per_second: vec![rate, rate + 10.0],
            alone_p50_ms: vec![alone],
            alone_p99_ms: vec![alone * 2.0],
            p50_ms: vec![alone * 4.0],
            p99_ms: vec![alone * 8.0],
            memory_mb: vec![9.5],
            ..Figures::default()
        };
        Measurement {
            service: "shop".into(),
            load: "proxied".into(),
            about: "a call through the shop".into(),
            connections: 16,
            sides: BTreeMap::from([
                (Side::Process, side(5000.0, 0.31)),
                (Side::Container, side(4900.0, 0.32)),
                (Side::Direct, side(20_000.0, 0.2)),
                (Side::Nginx, side(12_000.0, 0.25)),
            ]),
            aims: Vec::new(),
            failed: None,
        }
    }

    fn all() -> (Aims, Units) {
        let aims = Aims {
            added_p50_ms: Some(0.15),
            of_proxy: Some(0.5),
            units_per_s: Some(20_000.0),
        };
        let units = Units {
            each: 10,
            of: "rows".into(),
        };
        (aims, units)
    }

    fn met(measurement: &Measurement) -> Vec<Option<bool>> {
        measurement.aims.iter().map(|aim| aim.met).collect()
    }

    #[test]
    fn aims_are_judged_and_a_missing_side_is_not_met_silently() {
        let (aims, units) = all();
        let mut measurement = measurement();
        measurement.judge(&aims, Some(&units));
        assert_eq!(
            met(&measurement),
            [Some(true), Some(true), Some(false), Some(true)]
        );
        measurement.sides.remove(&Side::Nginx);
        measurement.judge(&aims, Some(&units));
        assert_eq!(measurement.aims[2].met, None);
    }

    #[test]
    fn a_side_that_answered_wrongly_is_judged_by_nothing() {
        let (aims, units) = all();
        let mut measurement = measurement();
        assert!(measurement.is_sound());
        measurement.sides.get_mut(&Side::Process).unwrap().wrong = 1;
        assert!(!measurement.is_sound());
        measurement.judge(&aims, Some(&units));
        assert_eq!(met(&measurement), [None, None, Some(false), None]);
        measurement.sides.get_mut(&Side::Nginx).unwrap().wrong = 968;
        measurement.judge(&aims, Some(&units));
        assert_eq!(met(&measurement), [None; 4]);
    }

    #[test]
    fn rounds_are_compared_with_each_other_and_noise_is_told() {
        let mut measurement = measurement();
        // The machine was twice as slow in the second round: for both.
        let rates = |rates: [f64; 3]| rates.to_vec();
        measurement.sides.get_mut(&Side::Process).unwrap().per_second = rates([1000.0, 500.0, 1000.0]);
        measurement.sides.get_mut(&Side::Container).unwrap().per_second = rates([960.0, 490.0, 940.0]);
        measurement.judge(&Aims::default(), None);
        let aim = &measurement.aims[0];
        assert_eq!((aim.got, aim.met, aim.noisy), (Some(0.96), Some(true), true));
        assert_eq!(aim.rounds, [0.96, 0.98, 0.94]);
    }
}
