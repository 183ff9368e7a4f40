//! What a reader sees of a run at its end: everything that is not well, said once for all images that share it, with
//! its remedy and the last lines of the log that tells more; then one line that counts.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use super::sarif::Sources;
use super::{Report, complain, say};
use crate::cli::Format;
use crate::context::Context;
use crate::terminal::github::{self, Annotation};
use crate::terminal::{self, Paint, broken, clean};
use crate::verdict::{Outcome, Record};

/// How much of a log is shown.
const TAIL_LINES: usize = 6;
/// No line of a log is shown longer, where no terminal says how wide it is.
const TAIL_WIDTH: usize = 200;

/// Something that is not well, with all whom it concerns.
#[derive(Debug, Clone, PartialEq)]
struct Finding<'r> {
    gates: Vec<&'static str>,
    services: Vec<&'r str>,
    outcome: Outcome,
    /// Of the first check that is so, without its gate's name before it.
    reason: &'r str,
    /// How many checks more are so.
    more: usize,
    hint: Option<&'r str>,
    /// The record that it was found in first.
    first: &'r Record,
}

impl<'r> Finding<'r> {
    fn of(record: &'r Record) -> Self {
        let alike = record
            .checks
            .iter()
            .filter(|check| check.outcome == record.outcome);
        let reason = record.reason.lines().next().unwrap_or_default();
        let prefix = format!("{}: ", record.gate.name());
        Finding {
            gates: vec![record.gate.name()],
            services: vec![&record.service],
            outcome: record.outcome,
            reason: reason.strip_prefix(&prefix).unwrap_or(reason),
            more: alike.count().saturating_sub(1),
            hint: record.hint(),
            first: record,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.outcome, self.reason, self.more, self.hint)
            == (other.outcome, other.reason, other.more, other.hint)
    }

    /// Who, what, and why, in a line.
    fn head(&self, paint: Paint) -> String {
        let gates = self.gates.join(", ");
        let word = paint.verdict(self.outcome.word(), self.outcome);
        let who = match &self.services[..] {
            [one] => format!("{one} {gates} {word}"),
            several => format!("{gates} {word} on {} images", several.len()),
        };
        let more = match self.more {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        format!("{who}: {}{more}", clean(self.reason))
    }

    /// Its log is worth a look: not where policy lets it pass, nor where the words name the line of a file.
    fn log(&self) -> Option<&'r str> {
        let is_open = self.outcome == Outcome::Violated || !self.first.tolerated();
        let is_unclear = github::place_in(self.reason).is_none();
        self.first.log.as_deref().filter(|_| is_open && is_unclear)
    }

    fn annotation(&self, sources: &Sources) -> Annotation {
        let hint = self
            .hint
            .map(|hint| format!("\nhint: {hint}"))
            .unwrap_or_default();
        Annotation {
            is_error: self.outcome == Outcome::Violated,
            title: format!(
                "{} {}: {}",
                self.gates.join(", "),
                self.outcome.word(),
                self.services.join(", ")
            ),
            message: format!("{}{hint}", self.reason),
            place: self.place(sources),
        }
    }

    /// The line of Cargo.lock that a failing vulnerability is locked by, or the one that the words name.
    fn place(&self, sources: &Sources) -> Option<(String, usize)> {
        let found = self.first.figures.get("findings").and_then(Value::as_array);
        let failing = found
            .into_iter()
            .flatten()
            .find(|found| found["became"] == "fails");
        let line =
            failing.and_then(|found| sources.line_of(found["package"].as_str()?, found["version"].as_str()?));
        let locked = line.map(|line| ("Cargo.lock".to_owned(), line));
        let mut checks = self
            .first
            .checks
            .iter()
            .filter(|check| check.outcome == self.outcome);
        locked.or_else(|| checks.find_map(|check| github::place_in(&check.detail)))
    }
}

/// What is not well: the worst first, each thing once, with all images and gates that share it.
fn findings(records: &[Record]) -> Vec<Finding<'_>> {
    let mut of_gate: Vec<Finding<'_>> = Vec::new();
    let bad = |outcome| records.iter().filter(move |record| record.outcome == outcome);
    for record in bad(Outcome::Violated).chain(bad(Outcome::Undecided)) {
        let finding = Finding::of(record);
        match of_gate
            .iter_mut()
            .find(|known| known.is_like(&finding) && known.gates == finding.gates)
        {
            Some(known) => known.services.push(&record.service),
            None => of_gate.push(finding),
        }
    }
    of_gate
        .iter_mut()
        .for_each(|finding| finding.services.sort_unstable());
    let mut all: Vec<Finding<'_>> = Vec::new();
    for finding in of_gate {
        match all
            .iter_mut()
            .find(|known| known.is_like(&finding) && known.services == finding.services)
        {
            Some(known) => known.gates.extend(finding.gates),
            None => all.push(finding),
        }
    }
    all
}

impl Report {
    /// What is not well, as text. Lines are broken at `width` where there is one; `logs` is the run's folder.
    fn told(&self, logs: Option<&Path>, width: Option<usize>, paint: Paint) -> String {
        let mut lines = Vec::new();
        for finding in findings(&self.records) {
            lines.push(broken(&finding.head(paint), 0, width));
            if finding.services.len() > 1 {
                lines.push(broken(
                    &format!("images: {}", finding.services.join(", ")),
                    2,
                    width,
                ));
            }
            let hints = finding.hint.iter().flat_map(|hint| hint.lines());
            lines.extend(hints.map(|hint| broken(&format!("hint: {}", clean(hint)), 2, width)));
            if let Some((folder, log)) = logs.zip(finding.log()) {
                lines.extend(self.last_lines(folder, log, width, paint));
            }
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The last lines of a log of the run, with its path above them.
    fn last_lines(&self, folder: &Path, log: &str, width: Option<usize>, paint: Paint) -> Vec<String> {
        let last = tail(&folder.join(log));
        let path = format!("the last lines of reports/{}/{log}:", self.run_id);
        let path = (!last.is_empty()).then(|| broken(&path, 2, width));
        let room = width.map_or(TAIL_WIDTH, |width| width.saturating_sub(1).max(20));
        let said = last.iter().map(|said| {
            let said = format!("  | {said}");
            paint.faint(&console::truncate_str(&said, room, "…"))
        });
        path.into_iter().chain(said).collect()
    }

    /// How many verdicts of each kind, and how the run ended.
    pub fn summary(&self) -> String {
        let count = |outcome| {
            self.records
                .iter()
                .filter(|record| record.outcome == outcome)
                .count()
        };
        let reused = self
            .records
            .iter()
            .filter(|record| record.word() == "reused")
            .count();
        let mut parts = vec![match reused {
            0 => format!("{} passed", count(Outcome::Passed)),
            reused => format!("{} passed ({reused} of them reused)", count(Outcome::Passed)),
        }];
        for (outcome, word) in [
            (Outcome::Violated, "violated"),
            (Outcome::Undecided, "undecided"),
            (Outcome::Skipped, "skipped"),
        ] {
            if count(outcome) > 0 {
                parts.push(format!("{} {word}", count(outcome)));
            }
        }
        if self.records.is_empty() {
            parts = vec!["nothing was judged".to_owned()];
        }
        let tolerated = if self.exit_code == 0 && count(Outcome::Undecided) > 0 {
            " (undecided is let pass by docker/policy/scan.toml; --strict ends with 3)"
        } else {
            ""
        };
        let seconds = self.took_ms as f64 / 1000.0;
        format!(
            "{}{tolerated}; exit {} after {seconds:.1} s; reports/{}",
            parts.join(", "),
            self.exit_code,
            self.run_id
        )
    }

    /// An annotation for each thing that is not well, and for what ended the run early.
    fn annotations(&self, sources: &Sources) -> Vec<Annotation> {
        let mut all: Vec<Annotation> = findings(&self.records)
            .iter()
            .map(|finding| finding.annotation(sources))
            .collect();
        all.extend(self.error.iter().map(|error| Annotation {
            is_error: true,
            title: format!("{} ended early", self.command),
            message: error.clone(),
            place: github::place_in(error),
        }));
        all
    }
}

/// Shows a report at the end of a run.
pub fn show(context: &Context, report: &Report) {
    if context.options.format == Format::Human {
        tell(context, report);
    }
    if let Some(error) = report.error.as_ref().filter(|_| context.interrupted().is_none()) {
        complain(error);
    }
    let page = format!("{}/report.html", report.summary());
    let summary = broken(&page, 0, terminal::width());
    context.end(report.exit_code, &report.summary(), &summary);
}

fn tell(context: &Context, report: &Report) {
    let board = &context.board;
    if github::is_github() {
        let annotations = report.annotations(&Sources::read(&context.root));
        annotations.iter().for_each(|annotation| say(&annotation.line()));
    }
    // What an interruption cut off has no log that would say why.
    let logs = context.interrupted().is_none().then_some(&*context.run_dir);
    let told = report.told(logs, terminal::width(), board.paint());
    if !told.is_empty() {
        say(told.trim_end());
    }
    if let Some(faults) = report.faults().filter(|_| !board.look().quiet) {
        say(faults.trim_end());
    }
}

/// The last lines of a log, without what would move the cursor and without our own mark at its end.
fn tail(log: &Path) -> Vec<String> {
    let read = || {
        let mut file = std::fs::File::open(log)?;
        let from = file.metadata()?.len().saturating_sub(16 * 1024);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines = text.lines().map(|line| readable(&clean(line)));
    let lines = lines.filter(|line| !line.trim().is_empty());
    let mut lines: Vec<String> = lines.collect();
    if lines
        .last()
        .is_some_and(|line| line.starts_with("# ") && line.contains(" after "))
    {
        lines.pop();
    }
    lines.split_off(lines.len().saturating_sub(TAIL_LINES))
}

/// A service's own JSON line as a person reads it, `ERROR the message key=value`; any other line as it is.
fn readable(line: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let Some(message) = fields.get("message").and_then(Value::as_str) else {
        return line.to_owned();
    };
    let level = fields.get("level").and_then(Value::as_str).unwrap_or_default();
    let others = fields
        .iter()
        .filter(|(name, _)| !["timestamp", "level", "message"].contains(&name.as_str()));
    let others: String = others.map(|(name, value)| format!(" {name}={value}")).collect();
    format!("{level} {message}{others}").trim_start().to_owned()
}

#[cfg(test)]
mod tests;
