//! `INDEX.md` of a bundle: what failed, where to look first, what is what, and what could not be had.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::report::{Report, escape};
use crate::verdict::{Outcome, Record};

/// Lines of a log that are shown.
pub const SHOWN: usize = 15;

/// A bad verdict, with the file that says most about it and the last lines of that.
pub struct Failed<'r> {
    pub record: &'r Record,
    pub look_first: Option<(String, String)>,
}

pub fn render(
    report: &Report,
    failed: &[Failed<'_>],
    contents: &BTreeMap<String, String>,
    missed: &[String],
) -> String {
    let mut text = format!("# What failed in run {}\n\n", report.run_id);
    let _ = writeln!(
        text,
        "`cargo xtask {}`: {}\n",
        report.command,
        escape(&report.summary())
    );
    if let Some(error) = &report.error {
        let _ = writeln!(text, "**The run ended early:**\n\n{}", block(error));
    }
    if let Some((file, _)) = failed.iter().find_map(|failed| failed.look_first.as_ref()) {
        let _ = writeln!(text, "Look first into [`{file}`]({file}).\n");
    }
    failed.iter().for_each(|failed| one(failed, &mut text));
    if !missed.is_empty() {
        text.push_str("## What could not be had\n\n");
        missed.iter().for_each(|missed| {
            let _ = writeln!(text, "- {}", escape(missed));
        });
        text.push('\n');
    }
    text.push_str("## What is what\n\n| file | what it is |\n| --- | --- |\n");
    for (file, what) in contents {
        let _ = writeln!(text, "| [`{file}`]({file}) | {} |", escape(what));
    }
    text.push_str(
        "\nSecrets are replaced by `***`: those of the run in every form, and what reads like one by its shape or its \
         name. Logs are text: colours and control characters are gone. Of a file above 1 MB the middle is left out.\n",
    );
    text
}

fn one(failed: &Failed<'_>, text: &mut String) {
    let record = failed.record;
    let _ = writeln!(
        text,
        "## {} {}: {}\n",
        escape(&record.service),
        record.gate.name(),
        record.outcome.word()
    );
    let bad = record
        .checks
        .iter()
        .filter(|check| check.outcome > Outcome::Skipped);
    for check in bad {
        let mut lines = check.detail.lines();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(
            text,
            "- **{}** ({}): {}",
            escape(&check.name),
            check.outcome.word(),
            escape(first)
        );
        if let Some(hint) = &check.hint {
            let _ = writeln!(text, "  - expected, or what to do: {}", escape(hint));
        }
    }
    if let Some((file, lines)) = &failed.look_first {
        let _ = writeln!(text, "- look first: [`{file}`]({file})");
        if !lines.is_empty() {
            let _ = writeln!(text, "\nIts last lines:\n\n{}", block(lines));
        }
    }
    text.push('\n');
}

/// Indented: whatever the lines hold, none of them ends the block.
fn block(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}\n")).collect()
}
