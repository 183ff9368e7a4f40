//! The rule for jumps against synthetic series: steps, spikes, slopes, and noise of several kinds, all seeded.

use super::*;

const TIMES: Least = Least {
    share: 0.1,
    absolute: 20.0,
};

const NOWHERE: [usize; 0] = [];

/// A generator of numbers that are always the same (SplitMix64).
struct Chance(u64);

impl Chance {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and standard deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

fn series(length: usize, value: impl FnMut(usize) -> f64) -> Vec<f64> {
    (0..length).map(value).collect()
}

fn places(values: &[f64]) -> Vec<usize> {
    noisy(values, TIMES).iter().map(|jump| jump.at).collect()
}

#[test]
fn a_size_jumps_where_it_changes_and_by_what() {
    let least = Least {
        share: 0.01,
        absolute: 10_000.0,
    };
    let values = [7.0e6, 7.0e6, 7.05e6, 7.9e6, 7.9e6, 7.0e6];
    let found = exact(&values, least);
    let told: Vec<_> = found
        .iter()
        .map(|jump| (jump.at, jump.before, jump.after))
        .collect();
    assert_eq!(told, [(3, 7.05e6, 7.9e6), (5, 7.9e6, 7.0e6)]);
    assert!(exact(&[1000.0, 2000.0], least).is_empty(), "a kB is nothing");
    assert!(exact(&[], least).is_empty());
}

#[test]
fn a_step_is_found_once_where_it_is() {
    for (at, low, high) in [
        (10, 250.0, 320.0),
        (17, 320.0, 250.0),
        (4, 250.0, 320.0),
        (26, 250.0, 320.0),
    ] {
        let values = series(30, |index| if index < at { low } else { high });
        assert_eq!(
            noisy(&values, TIMES),
            [Jump {
                at,
                before: low,
                after: high
            }]
        );
    }
    let twice = series(40, |index| [250.0, 400.0, 260.0][index / 14]);
    assert_eq!(places(&twice), [14, 28]);
}

#[test]
fn a_step_is_found_among_noise() {
    let mut chance = Chance(1);
    let mut found = 0;
    for _ in 0..200 {
        let at = 8 + (chance.uniform() * 34.0) as usize;
        let values = series(50, |index| {
            let level = if index < at { 250.0 } else { 350.0 };
            level * (1.0 + 0.04 * chance.normal())
        });
        found += usize::from(matches!(places(&values)[..], [place] if place.abs_diff(at) <= 1));
    }
    assert!(found >= 190, "{found} of 200");
}

#[test]
fn spikes_and_slopes_are_no_jumps() {
    let spike = series(30, |index| if index == 12 { 900.0 } else { 250.0 });
    assert_eq!(places(&spike), NOWHERE);
    let pair = series(30, |index| if index / 2 == 6 { 900.0 } else { 250.0 });
    assert_eq!(places(&pair), NOWHERE);
    let last = series(30, |index| if index >= 27 { 900.0 } else { 250.0 });
    assert_eq!(places(&last), NOWHERE, "three runs are too few to tell");
    for percent in [1.0, 3.0, 8.0] {
        let slope = series(50, |index| 250.0 * (1.0 + percent / 100.0 * index as f64));
        assert_eq!(places(&slope), NOWHERE, "{percent} % a run");
    }
}

#[test]
fn short_series_have_no_jumps_and_do_no_harm() {
    for length in 0..6 {
        let values = series(length, |index| [250.0, 900.0][index % 2]);
        assert_eq!(places(&values), NOWHERE);
    }
    assert_eq!(places(&[u64::MAX as f64; 30]), NOWHERE);
}

/// Two hundred series of fifty runs, of each kind and strength of noise: not one false alarm. Where every tenth run falls
/// into a slow mode, some four of them in a row will: that is a step as far as anyone can tell, and rare.
#[test]
fn noise_alone_is_never_a_jump() {
    let mut chance = Chance(2);
    let (mut alarms, mut of_two_modes) = (Vec::new(), 0);
    for number in 0..200 {
        for sigma in [0.01, 0.05, 0.1, 0.3] {
            let normal = series(50, |_| 250.0 * (1.0 + sigma * chance.normal()));
            let skewed = series(50, |_| 250.0 * (sigma * chance.normal()).exp());
            let spiked = series(50, |_| {
                let spike = if chance.uniform() < 0.05 { 3.0 } else { 1.0 };
                spike * 250.0 * (1.0 + sigma * chance.normal())
            });
            let sloping = series(50, |index| {
                250.0 * (1.0 + 0.01 * index as f64 + sigma * chance.normal())
            });
            let coarse = series(50, |_| (2.5 * (1.0 + sigma * chance.normal())).round() * 100.0);
            let two_modes = series(50, |_| {
                let slow = if chance.uniform() < 0.1 { 90.0 } else { 0.0 };
                250.0 * (1.0 + sigma * chance.normal()) + slow
            });
            of_two_modes += places(&two_modes).len();
            for (kind, values) in [
                ("normal", normal),
                ("skewed", skewed),
                ("spiked", spiked),
                ("sloping", sloping),
                ("coarse", coarse),
            ] {
                if !places(&values).is_empty() {
                    alarms.push((number, kind, sigma));
                }
            }
        }
    }
    assert!(alarms.is_empty(), "{} of 4000: {alarms:?}", alarms.len());
    assert!(of_two_modes <= 8, "{of_two_modes} in 800 series");
}
