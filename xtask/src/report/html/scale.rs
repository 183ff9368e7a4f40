//! What the pictures of the page share: a scale that begins at 0, where on it a value lies, and its ticks. Numbers
//! alone; no picture lives here.

use maud::{Markup, html};

/// How all pictures look.
pub(super) const STYLE: &str = include_str!("scale.css");

/// How many ticks an axis has at most beside the one at 0: as many labels stand side by side on a telephone.
const TICKS: u64 = 6;

/// A label that stands beyond this ends at its tick.
const NEAR_END_PERCENT: f64 = 96.0;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// From 0 to `end`, in bytes or in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    end: u64,
}

impl Scale {
    /// A scale that all of these values fit on, with a little room after the largest.
    pub(super) fn around(values: impl Iterator<Item = u64>) -> Self {
        let largest = values.max().unwrap_or_default();
        Scale::to(largest.saturating_add(largest / 50))
    }

    /// A scale that ends at a value.
    pub(super) fn to(end: u64) -> Self {
        Scale { end: end.max(1) }
    }

    /// Where a value lies, in percent of the scale; what is beyond lies at its end.
    pub(super) fn percent(self, value: u64) -> f64 {
        value.min(self.end) as f64 / self.end as f64 * 100.0
    }

    /// The same as a length for a style.
    pub(super) fn at(self, value: u64) -> String {
        format!("{:.3}%", self.percent(value))
    }

    /// Bytes: steps of 1, 2 and 5 in each power of ten.
    pub(super) fn byte_ticks(self) -> Vec<u64> {
        self.ticks(decimal(1))
    }

    /// Milliseconds: steps that people count time in.
    pub(super) fn time_ticks(self) -> Vec<u64> {
        let below = decimal(1).take_while(|step| *step < 10 * SECOND);
        let sixtieths = |unit: u64| [10, 15, 30].map(|count| count * unit);
        let minutes = [1, 2, 5].map(|count| count * MINUTE);
        let between = sixtieths(SECOND)
            .into_iter()
            .chain(minutes)
            .chain(sixtieths(MINUTE));
        self.ticks(below.chain(between).chain(decimal(HOUR)))
    }

    /// Every multiple, from 0 on, of the first of these steps that does not make too many.
    fn ticks(self, mut steps: impl Iterator<Item = u64>) -> Vec<u64> {
        let fits = |step: &u64| self.end / step <= TICKS;
        let step = steps.find(fits).unwrap_or(self.end);
        (0..=self.end / step).map(|count| count * step).collect()
    }
}

/// 1, 2, 5, 10, 20, 50, … of a unit.
fn decimal(unit: u64) -> impl Iterator<Item = u64> {
    let powers = std::iter::successors(Some(unit), |power| power.checked_mul(10));
    powers.flat_map(|power| [1, 2, 5].map(|count| power.saturating_mul(count)))
}

/// The axis under a picture, with a label at each tick, which knows whether it is the last. The numbers say the same.
pub(super) fn axis(scale: Scale, ticks: &[u64], label: impl Fn(u64, bool) -> String) -> Markup {
    html! {
        div class="axis" aria-hidden="true" {
            @for (place, tick) in ticks.iter().enumerate() {
                span class=[(scale.percent(*tick) > NEAR_END_PERCENT).then_some("end")] style={ "left:" (scale.at(*tick)) } { (label(*tick, place + 1 == ticks.len())) }
            }
        }
    }
}

/// The lines of the ticks, behind what a track shows.
pub(super) fn grid(scale: Scale, ticks: &[u64]) -> Markup {
    html! {
        @for tick in ticks {
            i class="tick" style={ "left:" (scale.at(*tick)) } {}
        }
    }
}

/// A wide thing that scrolls by itself, for a keyboard too.
pub(super) fn region(name: &str, content: Markup) -> Markup {
    html! { div class="scroll" role="region" aria-label=(name) tabindex="0" { (content) } }
}

/// Bytes at an axis's end: `2 MB`, `0.5 MB`.
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes as f64 / 1e6)
}

/// A tick of a time axis: `200 ms`, `5 s`, `10 min`.
pub(super) fn moment(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        _ if ms.is_multiple_of(HOUR) => format!("{} h", ms / HOUR),
        _ if ms.is_multiple_of(MINUTE) => format!("{} min", ms / MINUTE),
        _ if ms.is_multiple_of(SECOND) => format!("{} s", ms / SECOND),
        _ => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few_whatever_the_scale() {
        assert_eq!(
            Scale::to(12_300_000).byte_ticks(),
            [0, 2, 4, 6, 8, 10, 12].map(|mb| mb * 1_000_000)
        );
        assert_eq!(
            Scale::to(48_900).time_ticks(),
            [0, 10, 20, 30, 40].map(|s| s * 1_000)
        );
        assert_eq!(Scale::to(312).time_ticks(), [0, 50, 100, 150, 200, 250, 300]);
        let ten_minutes = Scale::to(610_000).time_ticks();
        assert_eq!(ten_minutes, [0, 2, 4, 6, 8, 10].map(|min| min * 60_000));
        for end in [0, 1, 7, 59_999, 86_400_000, u64::MAX] {
            let scale = Scale::to(end);
            for ticks in [scale.byte_ticks(), scale.time_ticks()] {
                assert!(
                    (1..=TICKS as usize + 1).contains(&ticks.len()),
                    "{end}: {ticks:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_beyond_a_scale_lies_at_its_end() {
        let scale = Scale::to(200);
        assert_eq!(
            (scale.at(0), scale.at(50), scale.at(900)),
            ("0.000%".into(), "25.000%".into(), "100.000%".into())
        );
        assert_eq!(Scale::around([100, 50].into_iter()), Scale::to(102));
        assert_eq!(Scale::around(std::iter::empty()).percent(0), 0.0);
    }

    #[test]
    fn ticks_are_in_the_unit_that_a_person_would_say() {
        assert_eq!(
            [0, 200, 5_000, 600_000, 7_200_000].map(moment),
            ["0", "200 ms", "5 s", "10 min", "2 h"]
        );
        assert_eq!(
            [0, 500_000, 12_000_000].map(megabytes),
            ["0 MB", "0.5 MB", "12 MB"]
        );
    }
}
