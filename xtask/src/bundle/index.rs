//! `INDEX.md` of a bundle: what failed, where to look first, what is what, and what could not be had.

use std::collections::{BTreeMap, BTreeSet};
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

/// What an index is about.
pub struct Parts<'p> {
    pub failed: &'p [Failed<'p>],
    /// Members of a stack that were not well, a sentence each.
    pub unwell: &'p [String],
    /// Path in the bundle -> what it is.
    pub contents: &'p BTreeMap<String, String>,
    /// What could not be had, and why.
    pub missed: &'p [String],
}

pub fn render(report: &Report, parts: &Parts<'_>) -> String {
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
    if let Some((file, _)) = parts.failed.iter().find_map(|failed| failed.look_first.as_ref()) {
        let _ = writeln!(text, "Look first into [`{file}`]({file}).\n");
    }
    list("Members that were not well", parts.unwell, &mut text);
    let mut shown = BTreeSet::new();
    for failed in parts.failed {
        one(failed, &mut shown, &mut text);
    }
    list("What could not be had", parts.missed, &mut text);
    contents(parts.contents, &mut text);
    text.push_str(
        "\nSecrets are replaced by `***`: those of the run in every form, and what reads like one by its shape or its \
         name. Logs are text: colours and control characters are gone. Of a file above 1 MB the middle is left out.\n",
    );
    text
}

fn list(title: &str, points: &[String], text: &mut String) {
    if points.is_empty() {
        return;
    }
    let _ = writeln!(text, "## {title}\n");
    for point in points {
        let _ = writeln!(text, "- {}", escape(point));
    }
    text.push('\n');
}

/// Files that are the same thing of different containers stand in one row.
fn contents(contents: &BTreeMap<String, String>, text: &mut String) {
    let mut rows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (file, what) in contents {
        rows.entry(what).or_default().push(file);
    }
    text.push_str("## What is what\n\n| what it is | files |\n| --- | --- |\n");
    for (what, files) in rows {
        let links: Vec<String> = files.iter().map(|file| format!("[`{file}`]({file})")).collect();
        let _ = writeln!(text, "| {} | {} |", escape(what), links.join("<br>"));
    }
}

/// `shown`: the logs whose last lines were shown already.
fn one<'f>(failed: &'f Failed<'_>, shown: &mut BTreeSet<&'f str>, text: &mut String) {
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
        if !lines.is_empty() && shown.insert(file) {
            let _ = writeln!(text, "\nIts last lines:\n\n{}", block(lines));
        }
    }
    text.push('\n');
}

/// Indented: whatever the lines hold, none of them ends the block.
fn block(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn an_index_says_where_to_look_first() {
        let report = sample();
        let failed = [Failed {
            record: &report.records[1],
            look_first: Some(("budget-frontend/step.log".into(), "a\n~~~ ``` <b>".into())),
        }];
        let files =
            ["a/inspect.json", "b/inspect.json"].map(|file| (file.to_owned(), "its state".to_owned()));
        let text = render(
            &report,
            &Parts {
                failed: &failed,
                unwell: &["db of the network stack had ended with exit code 1".to_owned()],
                contents: &files.into(),
                missed: &["stats of c: the engine gave no answer in time".to_owned()],
            },
        );
        insta::assert_snapshot!(text);
    }
}
