//! What runs measured, a line each in `reports/history.jsonl`: for the pictures of a report and for `trend`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::report::{Commit, Report};
use crate::verdict::{Gate, Origin, Record};

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
    pub exit_code: u8,
    pub took_ms: u64,
    /// Step of the whole run -> how long it took; a gate counts from its first beginning to its last end.
    pub steps_ms: BTreeMap<String, u64>,
    /// Service -> what was measured of its image.
    pub images: BTreeMap<String, Figures>,
}

/// Of one image; what this run did not measure is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
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
            exit_code: report.exit_code,
            took_ms: report.took_ms,
            steps_ms: steps_ms(report),
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
            digest: fresh(Gate::Build).and_then(|record| record.digest.clone()),
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

pub fn path(root: &Path) -> PathBuf {
    root.join("reports/history.jsonl")
}

/// Appends a run.
pub fn append(root: &Path, entry: &Entry) -> Result<()> {
    let path = path(root);
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    // In one write: several runs may append at a time.
    file.and_then(|mut file| file.write_all(&line))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// All runs that can be read, oldest first.
pub fn read(root: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path(root)).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
