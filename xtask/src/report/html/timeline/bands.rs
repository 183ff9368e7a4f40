//! The spans of a run put in order for a picture: a band for each gate with lanes in which nothing overlaps, its
//! parts beneath it, and the time that nothing tells of. Data alone.

use crate::event::Span;
use crate::verdict::Gate;

/// From when to when, in milliseconds since the run began.
pub(super) type Stretch = (u64, u64);

/// Something that took time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) at: Stretch,
}

impl Bar {
    pub(super) fn took_ms(&self) -> u64 {
        self.at.1 - self.at.0
    }
}

/// A row of the picture, or several: a step of the run, a gate, or a part of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) name: String,
    pub(super) gate: Option<Gate>,
    /// Of the gate before it.
    pub(super) is_part: bool,
    pub(super) lanes: Vec<Vec<Bar>>,
}

impl Band {
    fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.lanes.iter().flatten()
    }

    /// When it was under way.
    pub(super) fn covered(&self) -> Vec<Stretch> {
        union(self.bars().map(|bar| bar.at).collect())
    }

    pub(super) fn took_ms(&self) -> u64 {
        length(&self.covered())
    }
}

/// The bands of a run by beginning; what lasts longer than the run ends with it.
pub(super) fn bands(timeline: &[Span], total_ms: u64) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for step in timeline.iter().filter(|span| span.gate.is_none()) {
        bands.push(step_band(step, total_ms));
    }
    for gate in Gate::COLUMNS {
        let of_gate = || timeline.iter().filter(move |span| span.gate == Some(gate));
        let (images, parts): (Vec<&Span>, Vec<&Span>) = of_gate().partition(|span| span.service.is_some());
        if !images.is_empty() {
            bands.push(gate_band(gate, &images, total_ms));
        }
        bands.extend(parts.into_iter().map(|part| step_band(part, total_ms)));
    }
    // Stable: a gate stays before the part that began with it.
    bands.sort_by_key(|band| band.bars().map(|bar| bar.at.0).min());
    bands
}

fn step_band(step: &Span, total_ms: u64) -> Band {
    Band {
        name: step.step.clone(),
        gate: step.gate,
        is_part: step.gate.is_some(),
        lanes: vec![vec![bar(step, step.step.clone(), total_ms)]],
    }
}

fn gate_band(gate: Gate, images: &[&Span], total_ms: u64) -> Band {
    let named = images
        .iter()
        .map(|span| bar(span, span.service.clone().unwrap_or_default(), total_ms));
    let bars: Vec<Bar> = named.collect();
    Band {
        name: gate.name().to_owned(),
        gate: Some(gate),
        is_part: false,
        lanes: lanes(if looks_at_all(gate) { once(bars) } else { bars }),
    }
}

/// Whether a gate looks at all images in one go, so that its time is shown once.
fn looks_at_all(gate: Gate) -> bool {
    matches!(gate, Gate::Build | Gate::Network | Gate::Faults)
}

fn bar(span: &Span, name: String, total_ms: u64) -> Bar {
    let from = span.started_ms.min(total_ms);
    let to = span.started_ms.saturating_add(span.took_ms).min(total_ms);
    Bar { name, at: (from, to) }
}

/// Joins the bars that overlap into one each.
fn once(bars: Vec<Bar>) -> Vec<Bar> {
    let stretches = union(bars.iter().map(|bar| bar.at).collect());
    let joined = stretches.into_iter().map(|at| {
        let within: Vec<&Bar> = bars
            .iter()
            .filter(|bar| at.0 <= bar.at.0 && bar.at.1 <= at.1)
            .collect();
        let name = match within.as_slice() {
            [alone] => alone.name.clone(),
            several => format!("{} images", several.len()),
        };
        Bar { name, at }
    });
    joined.collect()
}

/// Puts each bar into the first lane that is free when it begins: as many lanes as there were images side by side.
pub(super) fn lanes(mut bars: Vec<Bar>) -> Vec<Vec<Bar>> {
    bars.sort_by_key(|bar| bar.at);
    let mut lanes: Vec<Vec<Bar>> = Vec::new();
    for bar in bars {
        let is_free = |lane: &&mut Vec<Bar>| lane.last().is_none_or(|last| last.at.1 <= bar.at.0);
        match lanes.iter_mut().find(is_free) {
            Some(lane) => lane.push(bar),
            None => lanes.push(vec![bar]),
        }
    }
    lanes
}

/// The same time, by stretches that neither overlap nor touch.
pub(super) fn union(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_unstable();
    let mut joined: Vec<Stretch> = Vec::new();
    for (from, to) in stretches {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

pub(super) fn length(stretches: &[Stretch]) -> u64 {
    stretches.iter().map(|(from, to)| to - from).sum()
}

/// The time of the run in which nothing was under way that has a name.
pub(super) fn gaps(bands: &[Band], total_ms: u64) -> Vec<Stretch> {
    let covered = union(bands.iter().flat_map(Band::covered).collect());
    let ends = covered.iter().map(|(_, to)| *to);
    let begins = covered.iter().map(|(from, _)| *from);
    let gaps = std::iter::once(0).chain(ends).zip(begins.chain([total_ms]));
    gaps.filter(|(from, to)| from < to).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn span(step: &str, gate: Option<Gate>, service: Option<&str>, at: Stretch) -> Span {
        Span {
            step: step.into(),
            gate,
            service: service.map(str::to_owned),
            started_ms: at.0,
            took_ms: at.1 - at.0,
        }
    }

    fn bars(stretches: &[Stretch]) -> Vec<Bar> {
        let named = stretches.iter().enumerate();
        named
            .map(|(place, at)| Bar {
                name: place.to_string(),
                at: *at,
            })
            .collect()
    }

    fn starts(lanes: &[Vec<Bar>]) -> Vec<Vec<u64>> {
        lanes
            .iter()
            .map(|lane| lane.iter().map(|bar| bar.at.0).collect())
            .collect()
    }

    #[test]
    fn a_lane_holds_what_does_not_overlap() {
        // Two side by side; the third begins when the first ends, the fourth while both lanes are taken.
        let lanes = lanes(bars(&[(0, 10), (1, 30), (10, 20), (15, 25), (20, 20)]));
        assert_eq!(starts(&lanes), [vec![0, 10, 20], vec![1], vec![15]]);
        assert!(super::lanes(Vec::new()).is_empty());
    }

    #[test]
    fn forty_images_two_at_a_time_are_two_lanes() {
        let stretches: Vec<Stretch> = (0..40).map(|place| (place * 5, place * 5 + 10)).collect();
        assert_eq!(lanes(bars(&stretches)).len(), 2);
    }

    #[test]
    fn the_joint_build_and_the_network_are_shown_once_and_boots_side_by_side() {
        let of = |gate: Gate, service, at| span(gate.name(), Some(gate), Some(service), at);
        let timeline = [
            span("planning", None, None, (0, 5)),
            of(Gate::Build, "a", (5, 50)),
            of(Gate::Build, "b", (6, 49)),
            of(Gate::Boot, "a", (50, 60)),
            of(Gate::Boot, "b", (50, 61)),
            of(Gate::Network, "a", (61, 90)),
            of(Gate::Network, "b", (61, 90)),
            span("stories", Some(Gate::Network), None, (70, 80)),
        ];
        let bands = bands(&timeline, 100);
        let told: Vec<_> = bands
            .iter()
            .map(|band| (band.name.as_str(), band.is_part, band.lanes.len(), band.took_ms()))
            .collect();
        assert_eq!(
            told,
            [
                ("planning", false, 1, 5),
                ("build", false, 1, 45),
                ("boot", false, 2, 11),
                ("network", false, 1, 29),
                ("stories", true, 1, 10),
            ]
        );
        assert_eq!(bands[1].lanes[0][0].name, "2 images");
        assert_eq!(gaps(&bands, 100), [(90, 100)]);
    }

    #[test]
    fn what_does_not_fit_into_the_run_ends_with_it() {
        let mut late = span("a", None, None, (5, 6));
        late.took_ms = u64::MAX;
        let beyond = span("b", None, None, (90, 95));
        let bands = bands(&[late, beyond], 50);
        assert_eq!(bands[0].covered(), [(5, 50)]);
        assert_eq!(bands[1].took_ms(), 0);
        assert_eq!(gaps(&bands, 50), [(0, 5)]);
    }

    #[test]
    fn time_is_counted_once() {
        assert_eq!(union(vec![(5, 9), (0, 3), (3, 4), (6, 20)]), [(0, 4), (5, 20)]);
        assert_eq!(length(&[(0, 4), (5, 20)]), 19);
        assert_eq!(gaps(&[], 7), [(0, 7)]);
        assert!(gaps(&[], 0).is_empty());
    }
}
