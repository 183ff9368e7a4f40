//! Series of figures over the runs, each of runs that are alike: the same base images, the same kind of machine, and
//! as much done side by side. Others are counted, not compared.

use std::collections::{BTreeMap, BTreeSet};

use super::jump::{self, Jump};
use super::metric::Metric;
use crate::catalogue::plural;
use crate::history::Entry;
use crate::verdict::Gate;

/// Of one step, so many kinds of runs are told of at most.
const KINDS: usize = 2;

/// One figure over the runs that measured it.
#[derive(Debug, Clone)]
pub struct Series<'a> {
    pub metric: Metric,
    /// The service; of a duration what took it.
    pub of: String,
    /// Oldest first, never empty.
    pub points: Vec<Point<'a>>,
    /// How many runs measured it under other conditions.
    pub elsewhere: usize,
}

#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    /// Place among the runs.
    pub run: usize,
    pub entry: &'a Entry,
    pub value: u64,
}

/// First, last, least, middle and largest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbers {
    pub first: f64,
    pub last: f64,
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl<'a> Series<'a> {
    /// Of one image; nothing where no run measured it.
    pub fn of_image(runs: &'a [Entry], metric: Metric, service: &str) -> Option<Self> {
        // The size of an image that came back was measured before.
        let mut known: BTreeMap<&str, u64> = BTreeMap::new();
        let measured = runs.iter().enumerate().filter_map(|(run, entry)| {
            let figures = entry.images.get(service)?;
            let digest = figures.digest.as_deref().filter(|_| metric.is_exact());
            let before = || known.get(digest?).copied();
            let value = metric.of(figures).or_else(before)?;
            known.extend(digest.map(|digest| (digest, value)));
            Some(Point { run, entry, value })
        });
        Self::alike(metric, service.to_owned(), measured.collect())
    }

    /// Keeps the points whose run is like the last one.
    fn alike(metric: Metric, of: String, mut points: Vec<Point<'a>>) -> Option<Self> {
        let all = points.len();
        let conditions = conditions(metric, points.last()?.entry);
        points.retain(|point| self::conditions(metric, point.entry) == conditions);
        Some(Series {
            metric,
            of,
            elsewhere: all - points.len(),
            points,
        })
    }

    pub fn values(&self) -> Vec<f64> {
        self.points.iter().map(|point| point.value as f64).collect()
    }

    pub fn numbers(&self) -> Numbers {
        let values = self.values();
        let (first, last) = (values[0], values[values.len() - 1]);
        Numbers {
            first,
            last,
            min: values.iter().copied().fold(first, f64::min),
            median: jump::median(&values),
            max: values.iter().copied().fold(first, f64::max),
        }
    }

    pub fn jumps(&self) -> Vec<Jump> {
        let find = if self.metric.is_exact() {
            jump::exact
        } else {
            jump::noisy
        };
        find(&self.values(), self.metric.least())
    }
}

/// What must be the same for two runs' figures to be compared.
fn conditions(metric: Metric, entry: &Entry) -> (&str, &str, bool) {
    if metric.is_exact() {
        return (&entry.bases, &entry.platform, false);
    }
    // An image that boots alone is faster than two side by side.
    let alone = metric != Metric::Duration && entry.looked.get(Gate::Boot.name()) == Some(&1);
    (&entry.bases, &entry.machine, alone)
}

/// The services that any run measured, by name.
pub fn services(runs: &[Entry]) -> BTreeSet<&str> {
    runs.iter()
        .flat_map(|entry| entry.images.keys().map(String::as_str))
        .collect()
}

/// Every series of some metrics, of all services or of those named.
pub fn gather<'a>(runs: &'a [Entry], metrics: &[Metric], only: &[String]) -> Vec<Series<'a>> {
    let mut found = Vec::new();
    for metric in metrics {
        if *metric == Metric::Duration {
            found.extend(durations(runs));
            continue;
        }
        let asked = |service: &&str| only.is_empty() || only.iter().any(|name| name == service);
        let services = services(runs).into_iter().filter(asked);
        found.extend(services.filter_map(|service| Series::of_image(runs, *metric, service)));
    }
    found
}

/// How long whole runs, the build and the gates took: only of runs that ended well, and of equally much work.
fn durations(runs: &[Entry]) -> Vec<Series<'_>> {
    let steps = std::iter::once(None).chain(Gate::COLUMNS.into_iter().map(Some));
    steps.flat_map(|step| durations_of(runs, step)).collect()
}

fn durations_of(runs: &[Entry], step: Option<Gate>) -> Vec<Series<'_>> {
    let mut kinds: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    for (run, entry) in runs.iter().enumerate().filter(|(_, entry)| entry.exit_code == 0) {
        if let Some((kind, value)) = work(entry, step) {
            kinds.entry(kind).or_default().push(Point { run, entry, value });
        }
    }
    let series = kinds
        .into_iter()
        .filter_map(|(kind, points)| Series::alike(Metric::Duration, kind, points));
    let mut series: Vec<Series> = series.collect();
    // The commonest first, of equally common ones the latest.
    series.sort_by_key(|series| {
        std::cmp::Reverse((series.points.len(), series.points.last().map(|point| point.run)))
    });
    series.truncate(KINDS);
    series
}

/// What a run, or a step of it, had to do, in words, and how long that took.
fn work(entry: &Entry, step: Option<Gate>) -> Option<(String, u64)> {
    let Some(gate) = step else {
        return Some((format!("{}, {}", entry.command, looks(entry)), entry.took_ms));
    };
    let took = *entry.steps_ms.get(gate.name())?;
    let images = *entry.looked.get(gate.name()).filter(|images| **images > 0)?;
    Some((format!("{}, {images} image{}", gate.name(), plural(images)), took))
}

/// Which gates looked at how many images: `lint boot 6, network 1`.
fn looks(entry: &Entry) -> String {
    let mut counts: Vec<(usize, Vec<&str>)> = Vec::new();
    for gate in Gate::COLUMNS.map(Gate::name) {
        match (
            entry.looked.get(gate).copied().unwrap_or_default(),
            counts.last_mut(),
        ) {
            (0, _) => {}
            (count, Some((last, gates))) if *last == count => gates.push(gate),
            (count, _) => counts.push((count, vec![gate])),
        }
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(count, gates)| format!("{} {count}", gates.join(" ")))
        .collect();
    match parts.is_empty() {
        true => "all known".to_owned(),
        false => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Figures;
    use crate::history::tests::runs;

    fn measured(count: usize) -> Vec<Entry> {
        let mut runs = runs(count);
        for (number, run) in runs.iter_mut().enumerate() {
            let figures = Figures {
                unpacked_bytes: Some(7_000_000),
                first_answer_ms: Some(250 + number as u64),
                ..Figures::default()
            };
            run.images.insert("frontend".into(), figures);
            run.looked = BTreeMap::from([("boot".into(), 6)]);
            run.steps_ms = BTreeMap::from([("boot".into(), 21_000)]);
        }
        runs
    }

    fn lengths(runs: &[Entry], metric: Metric) -> Vec<(String, usize, usize)> {
        let all = gather(runs, &[metric], &[]);
        let told = all
            .iter()
            .map(|series| (series.of.clone(), series.points.len(), series.elsewhere));
        told.collect()
    }

    #[test]
    fn only_what_is_alike_is_compared() {
        let mut runs = measured(6);
        runs[0].bases = "upstream".into();
        runs[1].machine = "8x-ffffffff".into();
        runs[2].looked.insert("boot".into(), 1);
        runs[2].platform = "linux/arm64".into();
        assert_eq!(lengths(&runs, Metric::Unpacked), [("frontend".to_owned(), 4, 2)]);
        assert_eq!(
            lengths(&runs, Metric::FirstAnswer),
            [("frontend".to_owned(), 3, 3)]
        );
    }

    #[test]
    fn durations_are_of_equally_much_work_and_of_runs_that_ended_well() {
        let mut runs = measured(6);
        runs[0].exit_code = 130;
        runs[1].looked.insert("boot".into(), 1);
        runs[2].looked.clear();
        let mut other = runs[5].clone();
        other.looked =
            BTreeMap::from([("scan", 6), ("lint", 6), ("network", 1)].map(|(gate, n)| (gate.to_owned(), n)));
        assert_eq!(work(&other, None).unwrap().0, "ci, lint scan 6, network 1");
        let expected = [
            ("ci, boot 6", 3),
            ("ci, all known", 1),
            ("boot, 6 images", 3),
            ("boot, 1 image", 1),
        ];
        let expected = expected.map(|(of, count)| (of.to_owned(), count, 0));
        assert_eq!(lengths(&runs, Metric::Duration), expected);
    }

    #[test]
    fn a_size_that_comes_back_is_seen_though_its_verdict_was_reused() {
        let mut runs = measured(4);
        for (run, (digest, bytes)) in runs.iter_mut().zip([
            ("aa", Some(7_000_000)),
            ("bb", Some(8_000_000)),
            ("aa", None),
            ("cc", None),
        ]) {
            let figures = run.images.get_mut("frontend").unwrap();
            (figures.digest, figures.unpacked_bytes) = (Some(digest.to_owned()), bytes);
        }
        let series = Series::of_image(&runs, Metric::Unpacked, "frontend").unwrap();
        assert_eq!(series.values(), [7e6, 8e6, 7e6]);
        assert_eq!(series.jumps().len(), 2);
    }

    #[test]
    fn the_numbers_of_a_series() {
        let runs = measured(4);
        let series = Series::of_image(&runs, Metric::FirstAnswer, "frontend").unwrap();
        let expected = Numbers {
            first: 250.0,
            last: 253.0,
            min: 250.0,
            median: 251.5,
            max: 253.0,
        };
        assert_eq!(series.numbers(), expected);
        assert!(Series::of_image(&runs, Metric::FirstAnswer, "nobody").is_none());
    }
}
