//! What runs measured, a line each in `reports/history.jsonl`: for the pictures of a report and for `trend`.

mod file;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::hash;
use crate::report::{Commit, Report};
use crate::verdict::{Gate, Origin, Outcome, Record};

pub use file::{Unreadable, all, append, read};

/// How many runs stand behind this one in its page.
pub const BEHIND: usize = 50;

/// Raised whenever a field changes its meaning.
const VERSION: u32 = 1;

/// One run. Only what it measured itself: a verdict that was reused brings no figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub version: u32,
    pub run_id: String,
    pub at: jiff::Timestamp,
    /// The subcommand.
    pub command: String,
    pub commit: Option<Commit>,
    /// `local` or `upstream`; empty where the run ended before it knew.
    #[serde(default)]
    pub bases: String,
    /// Of the images; entries of before it was told are of the one that there was.
    #[serde(default = "first_platform")]
    pub platform: String,
    /// See [`machine`].
    #[serde(default)]
    pub machine: String,
    pub exit_code: u8,
    pub took_ms: u64,
    /// Gate -> how many images it looked at anew: what it took is comparable for equally many.
    #[serde(default)]
    pub looked: BTreeMap<String, usize>,
    /// The images that the run knew, whether it judged them or not.
    #[serde(default)]
    pub services: Vec<String>,
    /// Step of the whole run -> how long it took; a gate counts from its first beginning to its last end.
    pub steps_ms: BTreeMap<String, u64>,
    /// Service -> what was measured of its image.
    pub images: BTreeMap<String, Figures>,
}

fn first_platform() -> String {
    "linux/amd64".to_owned()
}

/// Of one image; what this run did not measure is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Twelve digits of the image's digest, also where a verdict on it was reused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compressed_bytes: Option<u64>,
    /// Medians of the starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_answer_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_answer_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_memory_bytes: Option<u64>,
}

impl Entry {
    pub fn of(report: &Report) -> Self {
        let images = report
            .services
            .iter()
            .map(|name| (name.clone(), Figures::of(report, name)));
        Entry {
            version: VERSION,
            run_id: report.run_id.clone(),
            at: report.started_at,
            command: report.command.clone(),
            commit: report.commit.clone(),
            bases: report.bases.split(' ').next().unwrap_or_default().to_owned(),
            platform: report.platform.clone(),
            machine: report.machine.clone(),
            exit_code: report.exit_code,
            took_ms: report.took_ms,
            steps_ms: steps_ms(report),
            looked: looked(report),
            services: report.services.clone(),
            images: images
                .filter(|(_, figures)| *figures != Figures::default())
                .collect(),
        }
    }
}

impl Figures {
    fn of(report: &Report, service: &str) -> Self {
        let fresh = |gate| {
            report
                .record(service, gate)
                .filter(|record| record.origin == Origin::Fresh)
        };
        let figure =
            |gate, name: &str| fresh(gate).and_then(|record: &Record| record.figures.get(name)?.as_u64());
        Figures {
            digest: digest(report, service),
            unpacked_bytes: figure(Gate::Budget, "unpacked_bytes"),
            compressed_bytes: figure(Gate::Budget, "compressed_bytes"),
            first_answer_ms: figure(Gate::Boot, "first_answer_ms"),
            ready_answer_ms: figure(Gate::Boot, "ready_answer_ms"),
            idle_memory_bytes: figure(Gate::Boot, "idle_memory_bytes"),
            loaded_memory_bytes: figure(Gate::Boot, "loaded_memory_bytes"),
        }
    }
}

/// How long each step of the whole run took; images side by side count once.
fn steps_ms(report: &Report) -> BTreeMap<String, u64> {
    let mut ends: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    // Parts of a gate are inside it already.
    let whole = |span: &&crate::event::Span| span.gate.is_none() || span.service.is_some();
    for span in report.timeline.iter().filter(whole) {
        let (from, to) = (span.started_ms, span.started_ms + span.took_ms);
        let known = ends.entry(span.step.clone()).or_insert((from, to));
        *known = (known.0.min(from), known.1.max(to));
    }
    ends.into_iter()
        .map(|(step, (from, to))| (step, to - from))
        .collect()
}

/// Which image it was, by whatever gate says so.
fn digest(report: &Report, service: &str) -> Option<String> {
    let mut own = report.records.iter().filter(|record| record.service == service);
    let digest = own.find_map(|record| record.digest.as_deref())?;
    Some(digest.trim_start_matches("sha256:").chars().take(12).collect())
}

fn looked(report: &Report) -> BTreeMap<String, usize> {
    let mut looked = BTreeMap::new();
    // A verdict of now by what an earlier run saw was no look.
    let fresh = |record: &&Record| {
        record.origin == Origin::Fresh && record.seen_by.is_none() && record.outcome != Outcome::Skipped
    };
    for record in report.records.iter().filter(fresh) {
        *looked.entry(record.gate.name().to_owned()).or_default() += 1;
    }
    looked
}

/// What times depend on besides the code: number and kind of the processors, memory and engine; as the number of
/// processors and eight digits. Machines of one kind are alike in it, and it names none.
pub fn machine(engine: &Engine) -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let parts = [
        engine.hardware.as_str(),
        model.unwrap_or_default(),
        &engine.words(),
    ];
    let count = engine.hardware.split(' ').next().unwrap_or_default();
    format!("{count}x-{}", &hash::of_parts(parts)[..8])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::tests::sample;

    /// Synthetic runs, a minute apart, each at a commit of its own; images have no figures yet.
    pub(crate) fn runs(count: usize) -> Vec<Entry> {
        let run = |number: usize| Entry {
            version: VERSION,
            run_id: format!("20261121-{number:06}-abcd"),
            at: jiff::Timestamp::from_second(1_790_000_000 + 60 * number as i64).unwrap(),
            command: "ci".into(),
            commit: Some(Commit {
                id: format!("{number:07x}{}", "0".repeat(33)),
                branch: "main".into(),
                dirty: false,
            }),
            bases: "local".into(),
            platform: first_platform(),
            machine: "2x-0123abcd".into(),
            exit_code: 0,
            took_ms: 48_000,
            steps_ms: BTreeMap::new(),
            looked: BTreeMap::new(),
            services: vec!["frontend".into(), "gateway".into()],
            images: BTreeMap::new(),
        };
        (0..count).map(run).collect()
    }

    #[test]
    fn a_run_tells_what_it_measured_itself_and_which_images_it_judged() {
        let mut report = sample();
        let budget = |origin| {
            let mut record =
                Record::from_checks("gateway", Gate::Budget, vec![], "").figure("unpacked_bytes", 7);
            (record.origin, record.digest) = (origin, Some("sha256:0123456789abcdef".into()));
            record
        };
        report.records.push(budget(Origin::Fresh));
        let entry = Entry::of(&report);
        assert_eq!(
            (entry.bases.as_str(), entry.platform.as_str()),
            ("local", "linux/amd64")
        );
        let mut before = serde_json::to_value(&entry).unwrap();
        before.as_object_mut().unwrap().remove("platform");
        assert_eq!(
            serde_json::from_value::<Entry>(before).unwrap(),
            entry,
            "an earlier version's"
        );
        assert_eq!(entry.looked["budget"], 2);
        assert_eq!(entry.looked.get("lint"), None);
        let origin = Origin::Reused {
            run_id: "x".into(),
            age_s: 1,
        };
        let known = Record::undecided("gateway", Gate::Faults, "the database is old", "fetch it");
        let looks = report.records.len();
        report.records.push(known.by_evidence_of(origin));
        assert_eq!(Entry::of(&report).looked.get("faults"), None);
        report.records.truncate(looks);
        let image = &entry.images["gateway"];
        assert_eq!(
            (image.unpacked_bytes, image.digest.as_deref()),
            (Some(7), Some("0123456789ab"))
        );
        let reused = Origin::Reused {
            run_id: "x".into(),
            age_s: 1,
        };
        report.records.pop();
        report.records.push(budget(reused));
        let image = &Entry::of(&report).images["gateway"];
        assert_eq!(
            (image.unpacked_bytes, image.digest.as_deref()),
            (None, Some("0123456789ab"))
        );
    }
}
