//! A line chart as inline SVG: pure, no script, colours by the names of the page's style sheet. Lines differ by dashes
//! too, and all of it is said in words.

use maud::{Markup, html};

use super::metric::{Unit, digits};
use crate::catalogue::plural;

/// For every page that draws a chart.
pub const STYLE: &str = include_str!("chart.css");

/// The picture, and the room for what stands around it, in its own units.
const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 330.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 128.0;

/// About so many lines across.
const TICKS: f64 = 3.0;

pub struct Chart<'a> {
    /// What it shows, e.g. `frontend: boot times`.
    pub title: &'a str,
    pub unit: Unit,
    /// Of the largest value; where values differ by less, the lines stay nearly flat: noise is no picture.
    pub least_span: f64,
    /// How many places there are from left to right.
    pub runs: usize,
    /// What stands under the first and the last place.
    pub ends: (String, String),
    /// Two at most can be told apart.
    pub lines: Vec<Line<'a>>,
    pub jumps: Vec<Mark>,
}

pub struct Line<'a> {
    pub name: &'a str,
    /// Place and value, from left to right.
    pub points: Vec<(usize, f64)>,
    /// The place of what is reported, ringed.
    pub own: Option<usize>,
}

/// A jump at a place.
pub struct Mark {
    pub run: usize,
    /// A few signs, e.g. `+12 %`.
    pub sign: String,
    pub words: String,
}

/// Draws it, with a legend of its lines and their last values.
pub fn draw(chart: &Chart) -> Markup {
    let axis = Axis::of(chart);
    html! {
        figure class="chart" {
            figcaption {
                strong { (chart.title) }
                @for (index, line) in chart.lines.iter().enumerate() {
                    span class="chart-key" {
                        span class={ "chart-swatch l" (index + 1) } {}
                        (line.name)
                        @if let Some((_, last)) = line.points.last() { " " b { (chart.unit.shown(*last)) } }
                    }
                }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(words(chart)) {
                @for tick in &axis.ticks { (grid(&axis, *tick)) }
                text class="chart-unit" x=(LEFT - 6.0) y=(TOP - 8.0) text-anchor="end" { (axis.unit) }
                @for mark in &chart.jumps { (jump(chart, mark)) }
                @for (index, line) in chart.lines.iter().enumerate() { (curve(chart, &axis, index, line)) }
                text x=(LEFT) y=(HEIGHT - 6.0) { (chart.ends.0) }
                @if chart.runs > 1 {
                    text x=(RIGHT) y=(HEIGHT - 6.0) text-anchor="end" { (chart.ends.1) }
                }
            }
        }
    }
}

fn grid(axis: &Axis, tick: f64) -> Markup {
    let y = round(axis.y(tick * axis.one));
    html! {
        path class="chart-grid" d={ "M" (LEFT) "," (y) "H" (RIGHT) } {}
        text x=(LEFT - 6.0) y=(y + 4.0) text-anchor="end" { (axis.label(tick)) }
    }
}

fn jump(chart: &Chart, mark: &Mark) -> Markup {
    // Between the last run before it and the first after it.
    let x = round(f64::midpoint(
        place(chart, mark.run.saturating_sub(1)),
        place(chart, mark.run),
    ));
    let anchor = if x > f64::midpoint(LEFT, RIGHT) {
        "end"
    } else {
        "start"
    };
    html! {
        g class="chart-jump" {
            title { (mark.words) }
            path d={ "M" (x) "," (TOP - 4.0) "V" (BOTTOM) } {}
            text x=(x) y=(TOP - 7.0) text-anchor=(anchor) { (mark.sign) }
        }
    }
}

fn curve(chart: &Chart, axis: &Axis, index: usize, line: &Line) -> Markup {
    let at = |(run, value): &(usize, f64)| (round(place(chart, *run)), round(axis.y(*value)));
    let points: Vec<(f64, f64)> = line.points.iter().map(at).collect();
    let path = |separator: &str, end: &str| {
        let pieces = points.iter().map(|(x, y)| format!("{x},{y}{end}"));
        pieces.collect::<Vec<_>>().join(separator)
    };
    let own = line.points.iter().find(|(run, _)| Some(*run) == line.own);
    html! {
        g class={ "chart-line l" (index + 1) } {
            @if points.len() > 1 { path class="chart-curve" d={ "M" (path("L", "")) } {} }
            // A dot is a line of no length with round ends: all of them are one path.
            @if !points.is_empty() { path class="chart-dots" d={ "M" (path("M", "h0")) } {} }
            @if let Some(point) = own {
                circle cx=(at(point).0) cy=(at(point).1) r="4.5" {
                    title { "in this report: " (line.name) " " (chart.unit.shown(point.1)) }
                }
            }
        }
    }
}

/// Where a run stands from left to right.
fn place(chart: &Chart, run: usize) -> f64 {
    match chart.runs {
        0 | 1 => f64::midpoint(LEFT, RIGHT),
        runs => LEFT + 4.0 + (RIGHT - LEFT - 8.0) * run as f64 / (runs - 1) as f64,
    }
}

/// The picture in words.
fn words(chart: &Chart) -> String {
    let mut said = vec![format!("{}.", chart.title)];
    for line in &chart.lines {
        let values = line.points.iter().map(|(_, value)| *value);
        let (Some((_, first)), Some((_, last))) = (line.points.first(), line.points.last()) else {
            continue;
        };
        let shown = |value: f64| chart.unit.shown(value);
        said.push(format!(
            "{}: {} run{}, from {} to {}, least {}, most {}.",
            line.name,
            line.points.len(),
            plural(line.points.len()),
            shown(*first),
            shown(*last),
            shown(values.clone().fold(f64::INFINITY, f64::min)),
            shown(values.fold(0.0, f64::max)),
        ));
    }
    said.extend(chart.jumps.iter().map(|mark| format!("{}.", mark.words)));
    said.join(" ")
}

/// The vertical axis: its range in the values' unit, its ticks in the unit that is shown.
struct Axis {
    low: f64,
    high: f64,
    unit: &'static str,
    /// One of the shown unit.
    one: f64,
    ticks: Vec<f64>,
    decimals: usize,
}

impl Axis {
    fn of(chart: &Chart) -> Self {
        let values = || {
            chart
                .lines
                .iter()
                .flat_map(|line| line.points.iter().map(|(_, value)| *value))
        };
        let high = values().fold(0.0, f64::max);
        let low = values().fold(high, f64::min);
        let (unit, one) = chart.unit.scale(high);
        let (ticks, decimals) = ticks(low / one, high / one, chart.least_span);
        Axis {
            low: ticks[0] * one,
            high: ticks[ticks.len() - 1] * one,
            unit,
            one,
            ticks,
            decimals,
        }
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (value - self.low) / (self.high - self.low)
    }

    fn label(&self, tick: f64) -> String {
        if tick.abs() >= 1e5 {
            return digits(self.unit, tick);
        }
        format!("{tick:.0$}", self.decimals)
    }
}

/// Round numbers (1, 2 or 5 times a power of ten apart) from below the lowest value to above the highest, and how many
/// decimals tell them apart. From 0 on where that costs little room.
fn ticks(low: f64, high: f64, least_span: f64) -> (Vec<f64>, usize) {
    let spread = (high - low).max(least_span * high);
    let spread = if spread > 0.0 { spread } else { 1.0 };
    let middle = f64::midpoint(low, high);
    let (mut low, high) = ((middle - spread / 2.0).max(0.0), middle + spread / 2.0);
    if low < high * 0.4 {
        low = 0.0;
    }
    let rough = (high - low) / TICKS;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= rough * 0.999);
    let step = factor.unwrap_or(10.0) * power;
    let (from, to) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
    let count = (to - from) as usize;
    let ticks = (0..=count).map(|index| (from + index as f64) * step).collect();
    (ticks, (-step.log10()).ceil().clamp(0.0, 3.0) as usize)
}

/// To a tenth of a unit: more is not seen.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(usize, f64)>, runs: usize) -> Chart<'static> {
        let line = Line {
            name: "<first> answer",
            own: points.last().map(|(run, _)| *run),
            points,
        };
        Chart {
            title: "a \"<b>\" & c",
            unit: Unit::Ms,
            least_span: 0.1,
            runs,
            ends: ("2026-11-20".into(), "2026-11-21".into()),
            lines: vec![line],
            jumps: Vec::new(),
        }
    }

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        for (low, high, expected, decimals) in [
            (241.0, 281.0, vec![240.0, 260.0, 280.0, 300.0], 0),
            (9.72, 9.72, vec![9.0, 9.5, 10.0, 10.5], 1),
            (1.0, 3.7, vec![0.0, 2.0, 4.0], 0),
            (0.0, 0.0, vec![0.0, 0.2, 0.4, 0.6], 1),
        ] {
            let (found, digits) = ticks(low, high, 0.1);
            assert_eq!(digits, decimals, "{found:?}");
            assert!(found[0] <= low && found[found.len() - 1] >= high, "{found:?}");
            assert!(
                found.len() == expected.len()
                    && found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9),
                "{found:?}"
            );
        }
        for exponent in -2..15 {
            for factor in [1.0, 1.7, 3.3, 9.9] {
                let high = factor * 10f64.powi(exponent);
                let (found, _) = ticks(high * 0.7, high, 0.1);
                assert!((3..=7).contains(&found.len()), "{high}: {found:?}");
            }
        }
    }

    #[test]
    fn every_point_lies_inside_and_text_is_text() {
        let points = vec![(0, 250.0), (3, u64::MAX as f64), (9, 0.0)];
        let drawn = draw(&chart(points, 10)).into_string();
        assert!(!drawn.contains("<first>") && !drawn.contains("<b>\" "), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        let curve = drawn.split("chart-curve\" d=\"M").nth(1).unwrap();
        let places = curve.split('"').next().unwrap().split('L').map(|point| {
            let (x, y) = point.split_once(',').unwrap();
            (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap())
        });
        for (x, y) in places {
            assert!(
                (LEFT..=RIGHT).contains(&x) && (TOP..=BOTTOM).contains(&y),
                "{x} {y}"
            );
        }
    }

    #[test]
    fn one_run_is_a_dot_and_none_is_no_harm() {
        let one = draw(&chart(vec![(0, 250.0)], 1)).into_string();
        assert!(
            one.contains("chart-dots") && !one.contains("chart-curve"),
            "{one}"
        );
        let none = draw(&chart(Vec::new(), 0)).into_string();
        assert!(!none.contains("chart-dots") && !none.contains("NaN"), "{none}");
    }

    #[test]
    fn the_picture_says_in_words_what_it_shows() {
        let mut chart = chart(vec![(0, 250.0), (1, 300.0)], 2);
        chart.jumps.push(Mark {
            run: 1,
            sign: "+20 %".into(),
            words: "+20 % at 1a2b3c4".into(),
        });
        let expected =
            "<first> answer: 2 runs, from 250 ms to 300 ms, least 250 ms, most 300 ms. +20 % at 1a2b3c4.";
        assert!(words(&chart).ends_with(expected), "{}", words(&chart));
    }
}
