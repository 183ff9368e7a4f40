//! The report as Markdown: the verdict and what to do on top, everything else folded. For a pull request, a job's
//! summary, or a reader without a browser.

mod block;
mod evidence;
mod figures;
mod found;
mod head;

use super::words::{link, visible};
use super::{Report, bytes};
use crate::gate::faults::table;
use crate::gate::network::matrix;
pub(super) use block::Block;

/// The most characters that a comment on a pull request may have.
const COMMENT: usize = 65_536;

/// What a path to a file of the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    /// The Markdown lies in the run's folder: a link.
    Beside,
    /// It is shown somewhere else: a name.
    Elsewhere,
}

impl Files {
    fn show(self, path: &str, words: &str) -> String {
        match self {
            Files::Beside => format!("[{}]({})", escape(words), link(path)),
            Files::Elsewhere => format!("{} ({})", escape(words), escape(path)),
        }
    }
}

/// The whole report. Words from outside are escaped, so that they cannot become markup.
pub fn render(report: &Report) -> String {
    let mut blocks = head::blocks(report, Files::Beside);
    blocks.extend(evidence(report, Files::Beside));
    block::whole(&blocks)
}

/// The verdict, what to do and the table alone, as a comment may be long.
pub fn short(report: &Report) -> String {
    let blocks = head::blocks(report, Files::Elsewhere);
    block::fitting(&blocks, COMMENT, &lies_in(report))
}

/// As much of it as fits into `room` bytes, to be shown elsewhere than in the run's folder.
pub fn within(report: &Report, room: usize) -> String {
    let mut blocks = head::blocks(report, Files::Elsewhere);
    blocks.extend(evidence(report, Files::Elsewhere));
    block::fitting(&blocks, room, &lies_in(report))
}

fn lies_in(report: &Report) -> String {
    let run_id = escape(&report.run_id);
    format!("All of it lies in reports/{run_id}: report.md, and report.html for a browser.")
}

/// Everything that is folded.
fn evidence(report: &Report, files: Files) -> Vec<Block> {
    let mut blocks = found::blocks(report);
    blocks.extend(faults(report));
    blocks.extend(bytes::blocks(report));
    blocks.extend(figures::boots(report));
    let pairs = report.pairs();
    if !pairs.is_empty() {
        let picture = (files == Files::Beside).then_some("[network.svg](network.svg)");
        let text = matrix::markdown(&pairs, picture);
        blocks.push(Block::folded("Who reaches whom", &text));
    }
    blocks.extend(evidence::benchmark(report));
    blocks.extend(evidence::checks(report));
    blocks.extend(figures::timeline(report));
    blocks.extend(surroundings(report));
    if files == Files::Beside {
        blocks.extend(listed(report));
    }
    blocks
}

fn faults(report: &Report) -> Option<Block> {
    let mut rows = report.fault_rows();
    for row in &mut rows {
        (row.store, row.fault) = (escape(&row.store), escape(&row.fault));
    }
    (!rows.is_empty()).then(|| Block::folded("Faults", &table::render(&rows)))
}

fn surroundings(report: &Report) -> Option<Block> {
    let mut text = String::new();
    if !report.digests.is_empty() {
        text.push_str("| image | digest |\n| --- | --- |\n");
        for (service, digest) in &report.digests {
            text.push_str(&format!("| {} | {} |\n", escape(service), escape(digest)));
        }
        text.push('\n');
    }
    if !report.bases.is_empty() {
        text.push_str(&format!("- base and store images: {}\n", escape(&report.bases)));
    }
    for fact in &report.environment {
        text.push_str(&format!("- {}\n", escape(fact)));
    }
    (!text.is_empty()).then(|| Block::folded("Images, bases and tools", &text))
}

fn listed(report: &Report) -> Option<Block> {
    let lines = report.files.iter();
    let lines: Vec<String> = lines
        .map(|file| format!("- {}\n", Files::Beside.show(file, file)))
        .collect();
    let title = format!("Logs and other files ({})", lines.len());
    (!lines.is_empty()).then(|| Block::folded(&title, &lines.concat()))
}

/// Words from outside in one line, so that none of them is read as markup, a mention or a formula.
pub fn escape(text: &str) -> String {
    let text = visible(text);
    let mut escaped = String::with_capacity(text.len());
    let mut last = ' ';
    let is_rule = text.chars().all(|character| "-= ".contains(character));
    let mut rest = text.trim().chars().peekable();
    while let Some(character) = rest.next() {
        let next = rest.peek().copied().unwrap_or(' ');
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '$' => escaped.extend(['\\', character]),
            // At the beginning these would be a heading or a list.
            '#' | '-' | '+' if escaped.is_empty() && "# ".contains(next) => escaped.extend(['\\', character]),
            '-' | '=' if is_rule && escaped.is_empty() => escaped.extend(['\\', character]),
            '.' | ')' if next == ' ' && escaped.bytes().all(|byte| byte.is_ascii_digit()) => {
                escaped.extend(['\\', character]);
            }
            // Nobody is called, and no other thread is linked.
            '@' | '#' if !last.is_alphanumeric() && next.is_alphanumeric() => {
                escaped.extend([character]);
                escaped.push_str("<!-- -->");
            }
            '\n' => escaped.push_str("<br>"),
            other => escaped.push(other),
        }
        last = character;
    }
    escaped
}

/// The same for words that hold commands between backticks, as remedies do: those are shown as code.
fn with_code(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) || text.contains('\n') {
        return escape(text);
    }
    let shown = parts.iter().enumerate().map(|(at, part)| match at % 2 {
        // The blanks at its ends belong to the words between the commands.
        0 => {
            let blank = |at_end: bool| if at_end { " " } else { "" };
            let (before, after) = (blank(part.starts_with(' ')), blank(part.ends_with(' ')));
            match part.trim().is_empty() {
                true => before.to_owned(),
                false => format!("{before}{}{after}", escape(part)),
            }
        }
        _ if part.trim().is_empty() => escape(&format!("`{part}`")),
        _ => format!("`{}`", visible(part).trim()),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn commands_in_remedies_are_code() {
        for (words, shown) in [
            (
                "`cargo update -p *` or *wait*",
                "`cargo update -p *` or \\*wait\\*",
            ),
            ("one ` alone", "one \\` alone"),
            ("``", "\\`\\`"),
            ("see `a` `b`", "see `a` `b`"),
        ] {
            assert_eq!(with_code(words), shown);
        }
    }

    #[test]
    fn a_report_with_every_kind_of_verdict() {
        insta::assert_snapshot!(render(&sample()));
    }

    #[test]
    fn a_comment_has_no_evidence_and_no_links_into_a_folder() {
        let text = short(&sample());
        assert!(
            text.contains("## What to do") && text.contains("| image |"),
            "{text}"
        );
        assert!(!text.contains("<details>") && !text.contains("]("), "{text}");
    }

    #[test]
    fn a_comment_is_never_too_long_and_says_what_is_left_out() {
        let mut report = sample();
        report.services = (0..2_000).map(|number| format!("service-{number}")).collect();
        let text = short(&report);
        assert!(text.len() <= COMMENT);
        assert!(
            text.contains(
                "Left out for want of room: the table. All of it lies in reports/20261121-101500-abcd"
            ),
            "{text}"
        );
    }

    #[test]
    fn words_from_outside_are_no_markup() {
        for (words, escaped) in [
            ("<b>a|b</b>\n*x*", "&lt;b&gt;a\\|b&lt;/b&gt;<br>\\*x\\*"),
            ("# 1. - x", "\\# 1. - x"),
            ("  12. x", "12\\. x"),
            (
                "@team and smallvec@0.6, #12",
                "@<!-- -->team and smallvec@0.6, #<!-- -->12",
            ),
            ("$x$ ~~y~~", "\\$x\\$ \\~\\~y\\~\\~"),
            ("--vuln-db 7.85", "--vuln-db 7.85"),
            ("---", "\\---"),
        ] {
            assert_eq!(escape(words), escaped);
        }
    }
}
