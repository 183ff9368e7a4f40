//! What a reader sees first: the verdict, what to do about it, and the table of images and gates.

use std::fmt::Write;

use super::block::Block;
use super::figures;
use super::{Files, escape, with_code};
use crate::report::Report;
use crate::report::todo::{self, Todo};
use crate::report::words::{counted, cut, listed};
use crate::verdict::{Origin, Outcome, Record, age};

/// How much of a reason the table and the list show, in characters; all of it is among the checks.
const REASON: usize = 60;
const DETAIL: usize = 400;
/// How many images and logs are named before the rest is counted.
const NAMES: usize = 10;
const LOGS: usize = 3;

pub(super) fn blocks(report: &Report, files: Files) -> Vec<Block> {
    let todos = todo::all(report);
    let mut blocks = vec![Block::new("the verdict", verdict(report, files))];
    blocks.push(Block::new("what to do", heading(report, &todos)));
    for (number, todo) in todos.iter().enumerate() {
        blocks.push(Block::new(
            format!("point {}", number + 1),
            point(number + 1, todo, files),
        ));
    }
    if !todos.is_empty() {
        blocks.push(Block::new("the end of the list", "\n".to_owned()));
    }
    blocks.push(Block::new("the table", table(report, &todos)));
    blocks.push(Block::new("what was reused", reused(report)));
    blocks.push(Block::new("the time", figures::time(report).unwrap_or_default()));
    blocks.push(Block::new("the notes", notes(report)));
    blocks.retain(|block| !block.text.is_empty());
    blocks
}

fn verdict(report: &Report, files: Files) -> String {
    let mut text = format!(
        "# {}: {}\n\n{}\n\n",
        escape(&report.command),
        report.word(),
        escape(&report.summary())
    );
    if let Some(bundle) = &report.bundle {
        let index = files.show(&format!("{bundle}/INDEX.md"), "What failed, with logs and all");
        let _ = writeln!(text, "{index}\n");
    }
    if let Some(commit) = &report.commit {
        let dirty = if commit.dirty { ", not as committed" } else { "" };
        let id = commit.id.get(..12).unwrap_or(&commit.id);
        let _ = write!(
            text,
            "Commit {} on {}{dirty}. ",
            escape(id),
            escape(&commit.branch)
        );
    }
    if files == Files::Beside {
        text.push_str("The same as a page: [report.html](report.html).");
    }
    text.truncate(text.trim_end().len());
    text + "\n\n"
}

/// The heading of the list, and above all of it what ended the run early.
fn heading(report: &Report, todos: &[Todo]) -> String {
    let mut text = String::new();
    if let Some(error) = &report.error {
        let (hints, what): (Vec<&str>, Vec<&str>) =
            error.lines().partition(|line| line.starts_with("hint: "));
        let _ = writeln!(text, "**The run ended early:** {}\n", escape(&what.join("\n")));
        for hint in hints {
            let _ = writeln!(text, "- {}", with_code(hint));
        }
        text.push('\n');
    }
    let is_well = report.exit_code == 0 && report.error.is_none();
    let again = "Run it again: what has no verdict was not judged.\n\n";
    match todos {
        [] if is_well && report.is_judged() => text + "Nothing to do.\n\n",
        [] if report.error.is_none() && !is_well => text + again,
        [] => text,
        [first, ..] if first.tolerated && is_well => {
            text + "## What to do\n\nNothing has to be done: policy lets this pass, `--strict` does not.\n\n"
        }
        [first, ..] if first.tolerated => text + "## What to do\n\n" + again,
        _ => text + "## What to do\n\n",
    }
}

/// One thing to do: what is wrong, where, the remedy, the logs.
fn point(number: usize, todo: &Todo, files: Files) -> String {
    let gates: Vec<&str> = todo.gates().iter().map(|gate| gate.name()).collect();
    let services = todo.services();
    let images = match services.len() {
        0..=3 => String::new(),
        count => format!("{count} images: "),
    };
    let mut text = format!(
        "{number}. **{}** {} of {images}{}",
        todo.outcome.word(),
        gates.join(", "),
        escape(&listed(&services, NAMES))
    );
    let name = todo
        .name
        .map_or(String::new(), |name| format!("{}: ", escape(name)));
    let _ = writeln!(text, "<br>{name}{}", escape(&cut(todo.detail, DETAIL)));
    if let Some(hint) = todo.hint {
        let _ = writeln!(text, "   - remedy: {}", with_code(hint));
    }
    if todo.tolerated {
        text.push_str("   - policy lets a run that is not `--strict` pass with it\n");
    }
    let logs = todo.logs();
    if !logs.is_empty() {
        let shown: Vec<String> = logs
            .iter()
            .take(LOGS)
            .map(|log| files.show(log, base(log)))
            .collect();
        let more = match logs.len().saturating_sub(LOGS) {
            0 => String::new(),
            more => format!(" and {more} more in `logs`"),
        };
        let _ = writeln!(text, "   - log: {}{more}", shown.join(", "));
    }
    text
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A row an image, a column a gate; what is not well refers to the list above.
fn table(report: &Report, todos: &[Todo]) -> String {
    let gates = report.gates();
    if gates.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = gates.iter().map(|gate| gate.name()).collect();
    let mut text = format!(
        "| image | {} |\n| --- |{}\n",
        names.join(" | "),
        " --- |".repeat(gates.len())
    );
    for service in &report.services {
        let cells = gates
            .iter()
            .map(|gate| cell(report.record(service, *gate), todos));
        let _ = writeln!(
            text,
            "| {} | {} |",
            escape(service),
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
    text + "\n"
}

fn cell(record: Option<&Record>, todos: &[Todo]) -> String {
    let Some(record) = record else {
        return "not run".to_owned();
    };
    let word = record.word();
    if matches!(record.outcome, Outcome::Violated | Outcome::Undecided) {
        let own = todos.iter().enumerate().filter(|(_, todo)| todo.concerns(record));
        let own: Vec<(usize, &Todo)> = own.map(|(at, todo)| (at + 1, todo)).collect();
        let numbers: Vec<String> = own.iter().map(|(number, _)| number.to_string()).collect();
        let name = own.first().and_then(|(_, todo)| todo.name);
        let name = name.map_or(String::new(), |name| format!(" {}", escape(name)));
        return format!("**{word}**{name}, see {}", numbers.join(", "));
    }
    let reason = cut(record.reason.lines().next().unwrap_or_default(), REASON);
    format!("{word} {}", escape(&reason)).trim_end().to_owned()
}

/// How many verdicts come from which earlier run.
fn reused(report: &Report) -> String {
    let mut runs: Vec<(&str, u64, Vec<&str>)> = Vec::new();
    for record in &report.records {
        let Origin::Reused { run_id, age_s } = &record.origin else {
            continue;
        };
        let gate = record.gate.name();
        match runs.iter_mut().find(|(known, ..)| known == run_id) {
            Some((_, _, gates)) => gates.push(gate),
            None => runs.push((run_id, *age_s, vec![gate])),
        }
    }
    let mut text = String::new();
    for (run_id, age_s, mut gates) in runs {
        let count = gates.len();
        gates.dedup();
        gates.sort_unstable();
        gates.dedup();
        let _ = writeln!(
            text,
            "- {} reused from run {}, {} ago: {}",
            counted(count, "verdict"),
            escape(run_id),
            age(age_s),
            gates.join(", ")
        );
    }
    match text.is_empty() {
        true => text,
        false => text + "\n",
    }
}

fn notes(report: &Report) -> String {
    let notes = report.notes.iter();
    let notes: String = notes.map(|note| format!("- note: {}\n", escape(note))).collect();
    match notes.is_empty() {
        true => notes,
        false => notes + "\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::verdict::{Check, Gate};

    fn text(report: &Report) -> String {
        super::super::block::whole(&blocks(report, Files::Beside))
    }

    fn old_database(service: &str) -> Record {
        let check = Check::undecided("vulnerabilities", "92 days old", "--vuln-db DIR").tolerated();
        let mut record = Record::from_checks(service, Gate::Scan, vec![check], "");
        record.log = Some(format!("logs/scan-{service}.log"));
        record
    }

    #[test]
    fn six_scans_undecided_for_one_reason_are_one_point() {
        let mut report = sample();
        report.exit_code = 0;
        report.services = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec();
        report.records = report.services.iter().map(|name| old_database(name)).collect();
        let text = text(&report);
        assert_eq!(text.matches("92 days old").count(), 1, "{text}");
        for words in [
            "# ci: passed, but for what is undecided",
            "1. **undecided** scan of 6 images: a, b, c, d, e, f<br>vulnerabilities: 92 days old",
            "   - remedy: --vuln-db DIR",
            "   - log: [scan-a.log](logs/scan-a.log), [scan-b.log](logs/scan-b.log), [scan-c.log](logs/scan-c.log) and 3 more in `logs`",
            "| f | **undecided** vulnerabilities, see 1 |",
        ] {
            assert!(text.contains(words), "no '{words}' in {text}");
        }
    }

    #[test]
    fn an_early_end_is_told_first_with_its_remedy() {
        let mut report = sample();
        (report.records, report.services, report.exit_code) = (Vec::new(), Vec::new(), 3);
        report.error = Some("error: no engine\nhint: `cargo xtask setup`".to_owned());
        let text = text(&report);
        assert!(text.starts_with("# ci: undecided\n"), "{text}");
        let early = "**The run ended early:** error: no engine\n\n- hint: `cargo xtask setup`\n";
        assert!(text.contains(early), "{text}");
    }

    #[test]
    fn what_was_interrupted_is_to_be_run_again() {
        let mut report = sample();
        report.exit_code = 130;
        report.records.retain(|record| record.outcome == Outcome::Passed);
        let told = |report: &Report| {
            let text = text(report);
            assert!(
                text.contains("Run it again: ") && !text.contains("Nothing "),
                "{text}"
            );
        };
        told(&report);
        report.records.push(old_database("frontend"));
        told(&report);
        report.error = Some("error: cut off".to_owned());
        told(&report);
    }

    #[test]
    fn what_is_reused_is_said_with_its_run() {
        let mut report = sample();
        for record in &mut report.records {
            record.origin = Origin::Reused {
                run_id: "20261120-101500-abcd".to_owned(),
                age_s: 7_200,
            };
        }
        let text = reused(&report);
        assert_eq!(
            text,
            "- 4 verdicts reused from run 20261120-101500-abcd, 2 h ago: budget, build, scan\n\n"
        );
    }
}
