//! Runs that were: the report of one, or what became of a run that left none.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::{Report, VERSION};
use crate::event::{self, Event, Judged, Line};
use crate::exit::Failure;
use crate::verdict::Outcome;

/// How many runs a hint names.
const NEWEST: usize = 3;

/// Commands that have a run's folder and no report.
const JUDGE_NOTHING: [&str; 4] = ["setup", "test", "release", "reproduce"];

/// The report of a run by its id; of the latest one where none is named.
///
/// # Errors
/// Exit 2: there is no such run. Exit 3: it left no report, or none that this pipeline reads.
pub fn of_run(root: &Path, run_id: Option<&str>) -> Result<Report> {
    let reports = root.join("reports");
    let run_id = match run_id {
        Some(run_id) => known(&reports, run_id)?,
        None => latest(&reports)?,
    };
    let folder = reports.join(&run_id);
    let path = folder.join("report.json");
    if !path.exists() {
        return Err(without_report(&folder, &run_id).into());
    }
    read(&path)
}

fn known(reports: &Path, run_id: &str) -> Result<String> {
    let plain = !run_id.is_empty() && !run_id.contains(['/', '\\']) && !run_id.starts_with('.');
    if plain && reports.join(run_id).join("logs").is_dir() {
        // `latest` is a link: its target is the id.
        let target = std::fs::read_link(reports.join(run_id)).ok();
        let target = target.and_then(|target| target.into_os_string().into_string().ok());
        return Ok(target.unwrap_or_else(|| run_id.to_owned()));
    }
    let newest = newest(reports);
    let hint = match newest.is_empty() {
        true => "no run left a folder here: `cargo xtask ci` is one".to_owned(),
        false => format!(
            "the newest ones are {}; without an id it is the latest",
            newest.join(", ")
        ),
    };
    Err(Failure::usage(
        format!("reports/ has no run '{}'", super::words::visible(run_id)),
        hint,
    )
    .into())
}

fn latest(reports: &Path) -> Result<String> {
    // A file system without links has no `latest`.
    if let Ok(target) = std::fs::read_link(reports.join("latest"))
        && reports.join(&target).is_dir()
    {
        return Ok(target.display().to_string());
    }
    let none = || Failure::undecided("reports/ has no run yet", "`cargo xtask ci` is one");
    Ok(newest(reports).into_iter().next().ok_or_else(none)?)
}

/// The newest runs, newest first.
fn newest(reports: &Path) -> Vec<String> {
    runs(reports).into_iter().rev().take(NEWEST).collect()
}

/// Every run that left a folder, oldest first.
fn runs(reports: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(reports).into_iter().flatten().flatten();
    let runs = entries.filter(|entry| !entry.path().is_symlink() && entry.path().join("logs").is_dir());
    let mut names: Vec<String> = runs
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}

/// The newest run that left a report.
fn newest_report(reports: &Path) -> Option<String> {
    let runs = runs(reports).into_iter();
    runs.rev()
        .find(|run| reports.join(run).join("report.json").is_file())
}

/// Reads a report.
///
/// # Errors
/// Exit 3: there is none, it is damaged, or it is of another version.
pub fn read(path: &Path) -> Result<Report> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = "make it readable, or run again: a run writes its own";
        Failure::undecided(format!("cannot read {shown}: {error}"), hint)
    })?;
    let damaged = |error: serde_json::Error| {
        let hint = "it was cut off or edited: run again, or read the `report.md` beside it";
        Failure::undecided(format!("{shown} is no report: {error}"), hint)
    };
    let value: Value = serde_json::from_str(&text).map_err(damaged)?;
    if let Some(version) = value["version"]
        .as_u64()
        .filter(|version| *version != u64::from(VERSION))
    {
        let commit = value["commit"]["id"].as_str().and_then(|id| id.get(..12));
        let by = commit.map_or(String::new(), |commit| {
            format!(", or with the pipeline of commit {commit}")
        });
        let hint = format!("read the `report.md` or `report.html` beside it{by}");
        let what = format!("{shown} is of version {version}; this pipeline reads version {VERSION}");
        return Err(Failure::undecided(what, hint).into());
    }
    Ok(serde_json::from_value(value).map_err(damaged)?)
}

/// Why a run has no report: it goes on, it was killed, or its report could not be written.
fn without_report(folder: &Path, run_id: &str) -> Failure {
    let events = folder.join("events.jsonl");
    let text = match std::fs::read(&events) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let hint = "it was killed as it began, or its events could not be written: run again";
            return Failure::undecided(format!("run {run_id} left no report and no events"), hint);
        }
        Err(error) => {
            let what = format!("cannot read {}: {error}", events.display());
            return Failure::undecided(what, "make it readable");
        }
    };
    // The last line of a run that was killed may be half.
    let lines: Vec<Line> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let told = Told::of(&lines);
    let (what, hint) = if is_locked(&events) {
        let hint = "wait until it ends, or end it (Ctrl-C), and ask again".to_owned();
        (
            format!("run {run_id} ({}) is still under way{}", told.command, told.words),
            hint,
        )
    } else if let Some(exit_code) = told.exit_code.filter(|_| JUDGE_NOTHING.contains(&&*told.command)) {
        let what = format!(
            "run {run_id} ({}) ended with {exit_code}; no gate judged anything in it, so it has no report",
            told.command
        );
        let hint = match folder.parent().and_then(newest_report) {
            Some(newest) => format!("the newest report is `cargo xtask report {newest}`"),
            None => "`cargo xtask ci` leaves one".to_owned(),
        };
        (what, hint)
    } else if let Some(exit_code) = told.exit_code {
        let hint = "make the reports folder writable and free some space (`cargo xtask clean --reports`), then run again";
        (
            format!(
                "run {run_id} ({}) ended with {exit_code}, but could not write its report",
                told.command
            ),
            hint.to_owned(),
        )
    } else {
        let hint = format!(
            "run again: `cargo xtask {}` (it sweeps what is left, too); what there is: reports/{run_id}/events.jsonl and reports/{run_id}/logs",
            told.command
        );
        (
            format!("run {run_id} ({}) was killed{}", told.command, told.words),
            hint,
        )
    };
    Failure::undecided(what, hint)
}

/// The events of a run that lives are locked by it.
fn is_locked(path: &Path) -> bool {
    let file = File::open(path);
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// How far a run came, by its events.
struct Told {
    command: String,
    exit_code: Option<u8>,
    /// ` after 12.3 s, in boot of frontend; 3 verdicts until then: 2 passed, 1 violated`.
    words: String,
}

impl Told {
    fn of(lines: &[Line]) -> Self {
        let command = lines.iter().find_map(|line| match &line.event {
            Event::RunStarted { command, .. } => Some(command.clone()),
            _ => None,
        });
        let exit_code = lines.iter().find_map(|line| match line.event {
            Event::RunEnded { exit_code, .. } => Some(exit_code),
            _ => None,
        });
        let last_ms = lines.last().map_or(0, |line| line.at_ms);
        let mut words = format!(" after {:.1} s", last_ms as f64 / 1000.0);
        // What has not ended lasts until a moment in which nothing happened any more.
        let open = event::timeline(lines, last_ms + 1).into_iter();
        let open = open.filter(|span| span.started_ms + span.took_ms > last_ms);
        let open: Vec<String> = open
            .map(|span| match span.service {
                Some(service) => format!("{} of {service}", span.step),
                None => span.step,
            })
            .collect();
        if !open.is_empty() {
            words.push_str(&format!(", in {}", open.join(", ")));
        }
        words.push_str(&verdicts(lines));
        Told {
            command: command.unwrap_or_else(|| "ci".to_owned()),
            exit_code,
            words,
        }
    }
}

fn verdicts(lines: &[Line]) -> String {
    let judged = lines.iter().filter_map(|line| match &line.event {
        Event::Judged(judged) => Some(judged),
        _ => None,
    });
    let judged: Vec<&Judged> = judged.collect();
    let count = |outcome| judged.iter().filter(|judged| judged.outcome == outcome).count();
    let outcomes = [
        Outcome::Passed,
        Outcome::Violated,
        Outcome::Undecided,
        Outcome::Skipped,
    ];
    let counts = outcomes.map(|outcome| (count(outcome), outcome.word()));
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match judged.len() {
        0 => "; nothing was judged until then".to_owned(),
        1 => format!("; 1 verdict until then: {}", counts.join(", ")),
        all => format!("; {all} verdicts until then: {}", counts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    const EVENTS: &str = r#"{"at_ms":0,"event":"run-started","run_id":"20261121-101500-abcd","command":"boot","at":"2026-11-21T10:15:00Z"}
{"at_ms":5,"event":"gate-started","service":"a","gate":"boot"}
{"at_ms":900,"event":"gate-started","service":"b","gate":"boot"}
{"at_ms":1500,"event":"judged","service":"a","gate":"boot","outcome":"passed","word":"passed","reason":"","origin":{"kind":"fresh"},"took_ms":1495}
{"at_ms":1600,"event":"no"#;

    fn run(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("reports/20261121-101500-abcd");
        std::fs::create_dir_all(folder.join("logs")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        root
    }

    fn said(root: &Path, run_id: Option<&str>) -> String {
        crate::exit::explain(&of_run(root, run_id).unwrap_err()).1
    }

    #[test]
    fn a_run_that_was_killed_says_how_far_it_came() {
        let root = run(&[("events.jsonl", EVENTS)]);
        let said = said(root.path(), None);
        let expected = "error: run 20261121-101500-abcd (boot) was killed after 1.5 s, in boot of b; 1 verdict until then: 1 passed\n\
                        hint: run again: `cargo xtask boot` (it sweeps what is left, too)";
        assert!(said.starts_with(expected), "{said}");
    }

    #[test]
    fn a_run_that_goes_on_is_not_called_killed() {
        let root = run(&[("events.jsonl", EVENTS)]);
        let events = File::open(root.path().join("reports/20261121-101500-abcd/events.jsonl")).unwrap();
        events.lock().unwrap();
        assert!(said(root.path(), None).contains("(boot) is still under way after 1.5 s"));
    }

    #[test]
    fn a_run_whose_report_could_not_be_written_says_so() {
        let end = r#"{"at_ms":9,"event":"run-ended","exit_code":3,"summary":"","folder":""}"#;
        let root = run(&[("events.jsonl", end)]);
        assert!(said(root.path(), None).contains("ended with 3, but could not write its report"));
        assert!(said(run(&[]).path(), None).contains("left no report and no events"));
    }

    #[test]
    fn a_command_that_judges_nothing_has_no_report_and_names_the_newest() {
        let events = r#"{"at_ms":0,"event":"run-started","run_id":"20261121-101500-abcd","command":"setup","at":"2026-11-21T10:15:00Z"}
{"at_ms":9,"event":"run-ended","exit_code":0,"summary":"","folder":""}"#;
        let root = run(&[("events.jsonl", events)]);
        let told = said(root.path(), None);
        assert!(
            told.contains("(setup) ended with 0; no gate judged anything"),
            "{told}"
        );
        assert!(told.contains("hint: `cargo xtask ci` leaves one"), "{told}");
        let earlier = root.path().join("reports/20261120-101500-abcd");
        std::fs::create_dir_all(earlier.join("logs")).unwrap();
        std::fs::write(earlier.join("report.json"), "").unwrap();
        let told = said(root.path(), None);
        assert!(
            told.contains("`cargo xtask report 20261120-101500-abcd`"),
            "{told}"
        );
    }

    #[test]
    fn a_report_of_another_version_or_a_damaged_one_is_refused_with_a_remedy() {
        let mut report = serde_json::to_value(sample()).unwrap();
        report["version"] = 7.into();
        let root = run(&[("report.json", &report.to_string())]);
        let other = said(root.path(), Some("20261121-101500-abcd"));
        assert!(
            other.contains("is of version 7; this pipeline reads version 1"),
            "{other}"
        );
        assert!(
            other.contains("or with the pipeline of commit 0123456789ab"),
            "{other}"
        );
        for damaged in ["", "{", "{\"version\": 1}", "[1]"] {
            let said = said(run(&[("report.json", damaged)]).path(), None);
            assert!(
                said.contains("is no report: ") && said.contains("hint: "),
                "{said}"
            );
        }
    }

    #[test]
    fn a_run_that_is_not_there_is_wrong_usage() {
        let root = run(&[]);
        for name in ["20261121", "../x", "", ".", "/etc", "a\u{202e}b"] {
            let error = of_run(root.path(), Some(name)).unwrap_err();
            let (exit, said) = crate::exit::explain(&error);
            assert_eq!(exit.code(), 2, "{said}");
            assert!(
                said.contains("hint: the newest ones are 20261121-101500-abcd"),
                "{said}"
            );
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(said(empty.path(), None).contains("reports/ has no run yet\nhint: "));
    }
}
