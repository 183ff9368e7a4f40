//! What a reader sees of a run at its end: everything that is not well, said once for all images that share it, with
//! its remedy and the last lines of the log that tells more; then one line that counts.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use super::sarif::{Place, Sources};
use super::todo::{self, Todo};
use super::{Report, complain, say};
use crate::cli::Format;
use crate::context::Context;
use crate::event::Event;
use crate::exit::Exit;
use crate::terminal::github::{self, Annotation};
use crate::terminal::{self, Paint, broken, clean};
use crate::verdict::{Gate, Outcome};

/// How many things that are not well are told; the report has all.
const MOST: usize = 12;
/// How much of a log is shown.
const TAIL_LINES: usize = 6;
/// How much of a detail is shown below its first line.
const DETAIL_LINES: usize = 10;
/// No line of a log is shown longer, where no terminal says how wide it is.
const TAIL_WIDTH: usize = 200;

impl Todo<'_> {
    /// Who, what, and why, in a line.
    fn head(&self, paint: Paint) -> String {
        let word = paint.verdict(self.outcome.word(), self.outcome);
        let who = match &self.services()[..] {
            [one] => format!("{one} {} {word}", self.gate_names()),
            several => format!("{} {word} on {} images", self.gate_names(), several.len()),
        };
        format!("{who}: {}", clean(&self.reason()))
    }

    fn gate_names(&self) -> String {
        let names: Vec<&str> = self.gates().iter().map(|gate| gate.name()).collect();
        names.join(", ")
    }

    fn reason(&self) -> String {
        let detail = self.detail.lines().next().unwrap_or_default();
        self.name
            .map_or(detail.to_owned(), |name| format!("{name}: {detail}"))
    }

    /// A log is worth a look: not where policy lets it pass, nor where the words name a file. A build's ends with
    /// an excerpt of the Dockerfile, whatever failed: what tells more is in the detail.
    fn log(&self, sources: &Sources) -> Option<&str> {
        let named = sources.named(&self.reason()).is_some();
        let is_clear = self.tolerated || named || self.gates() == [Gate::Build];
        self.logs().first().copied().filter(|_| !is_clear)
    }

    fn annotation(&self, sources: &Sources) -> Annotation {
        let hint = self.hint.map(|hint| format!("\nhint: {hint}"));
        Annotation {
            is_error: !self.tolerated,
            title: format!(
                "{} {}: {}",
                self.gate_names(),
                self.outcome.word(),
                self.services().join(", ")
            ),
            message: format!("{}{}", self.reason(), hint.unwrap_or_default()),
            place: self.place(sources),
        }
    }

    /// The line of Cargo.lock that a failing vulnerability is locked by, or the one that the words name.
    fn place(&self, sources: &Sources) -> Option<Place> {
        let figures = self.records.iter().map(|record| &record.figures);
        let mut found = figures
            .filter_map(|figures| figures.get("findings")?.as_array())
            .flatten();
        let failing = found.find(|found| {
            found["became"] == "fails" && found["id"].as_str().is_some_and(|id| self.detail.contains(id))
        });
        let locked =
            failing.and_then(|found| sources.package(found["package"].as_str()?, found["version"].as_str()?));
        locked.or_else(|| sources.named(self.detail))
    }
}

/// How a run's end is told.
struct Telling<'a> {
    /// The run's folder, where last lines of logs are to be shown.
    logs: Option<&'a Path>,
    sources: Sources,
    /// Lines are broken here, where there is a terminal.
    width: Option<usize>,
    paint: Paint,
}

impl Telling<'_> {
    /// What is not well, as text.
    fn text(&self, report: &Report) -> String {
        let todos = todo::all(report);
        let (mut lines, mut shown) = (Vec::new(), BTreeSet::new());
        for todo in todos.iter().take(MOST) {
            lines.extend(self.todo(todo));
            let more = todo.detail.lines().skip(1).take(DETAIL_LINES);
            lines.extend(more.map(|line| self.quoted(&clean(line))));
            let log = todo
                .log(&self.sources)
                .filter(|log| shown.insert(log.to_string()));
            lines.extend(log.into_iter().flat_map(|log| self.last_lines(report, log)));
        }
        if todos.len() > MOST {
            lines.push(format!("and {} more: see the report", todos.len() - MOST));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn todo(&self, todo: &Todo) -> Vec<String> {
        let mut lines = vec![broken(&todo.head(self.paint), 0, self.width)];
        let services = todo.services();
        if services.len() > 1 {
            lines.push(broken(&format!("images: {}", services.join(", ")), 2, self.width));
        }
        let hints = todo.hint.iter().flat_map(|hint| hint.lines());
        lines.extend(hints.map(|hint| broken(&format!("hint: {}", clean(hint)), 2, self.width)));
        lines
    }

    /// The last lines of a log of the run, with its path above them.
    fn last_lines(&self, report: &Report, log: &str) -> Vec<String> {
        let last = self
            .logs
            .map(|folder| tail(&folder.join(log)))
            .unwrap_or_default();
        let path = format!("the last lines of reports/{}/{log}:", report.run_id);
        let path = (!last.is_empty()).then(|| broken(&path, 2, self.width));
        let said = last.iter().map(|said| self.quoted(said));
        path.into_iter().chain(said).collect()
    }

    /// A program's line, cut where a line ends.
    fn quoted(&self, said: &str) -> String {
        let room = self
            .width
            .map_or(TAIL_WIDTH, |width| width.saturating_sub(1).max(20));
        let said = format!("  | {said}");
        self.paint.faint(&console::truncate_str(&said, room, "…"))
    }
}

impl Report {
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
        let todos = todo::all(self);
        let mut all: Vec<Annotation> = todos.iter().map(|todo| todo.annotation(sources)).collect();
        all.extend(self.error.iter().map(|error| Annotation {
            is_error: true,
            title: format!("{} ended early", self.command),
            message: error.clone(),
            place: sources.named(error),
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
    let index = report
        .bundle
        .as_ref()
        .map(|bundle| context.run_dir.join(bundle).join("INDEX.md"));
    if let Some(index) = index.filter(|index| index.is_file()) {
        let words = format!("failure bundle: {}", context.shown(&index));
        context.board.line(&words);
    }
    let page = format!("{}/report.html", report.summary());
    let summary = broken(&page, 0, terminal::width());
    context.end(report.exit_code, &report.summary(), &summary);
}

/// Tells what ended a command early that judges nothing, and how it ends: an interruption over all.
pub fn told(context: &Context, error: &anyhow::Error) -> Exit {
    let (exit, text) = crate::exit::explain(error);
    context.board.tell(Event::error(error));
    context.board.finish();
    let interrupted = context.interrupted();
    if interrupted.is_none() {
        complain(&text);
    }
    interrupted.unwrap_or(exit)
}

fn tell(context: &Context, report: &Report) {
    let board = &context.board;
    let telling = Telling {
        // What an interruption cut off has no log that would say why.
        logs: context.interrupted().is_none().then_some(&*context.run_dir),
        sources: Sources::read(&context.root),
        width: terminal::width(),
        paint: board.paint(),
    };
    if github::is_github() {
        let annotations = report.annotations(&telling.sources);
        annotations.iter().for_each(|annotation| say(&annotation.line()));
    }
    let told = telling.text(report);
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
