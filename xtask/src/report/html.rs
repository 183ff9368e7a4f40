//! The report as one self-contained HTML page: no script, no font, no picture from elsewhere. What is from outside
//! is escaped by maud.

mod benchmark;
mod boots;
mod evidence;
mod faults;
mod files;
mod findings;
mod network;
mod next;
mod reuse;
mod run;
mod sizes;
mod timeline;
mod verdict;
mod verdicts;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use crate::history::Entry;

/// The style of the page and of its sections.
const STYLES: [&str; 1] = [include_str!("html/style.css")];

/// Renders a report; `history` holds earlier runs, oldest first.
pub fn render(report: &Report, history: &[Entry]) -> String {
    let sections = sections(report, history);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(report))
            body {
                a class="skip" href="#next" { "Skip to what to do next" }
                (verdict::section(report))
                (contents(&sections))
                main { @for (_, _, section) in &sections { (section) } }
                footer {
                    p { "Horme, run " (report.run_id) ", " (report.started_at.strftime("%Y-%m-%d %H:%M UTC")) }
                }
            }
        }
    };
    words::visible(&page.into_string())
}

fn head(report: &Report) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="referrer" content="no-referrer";
            title { (verdict::word(report)) ": " (report.command) " " (report.run_id) }
            @for style in STYLES.iter().chain(&boots::STYLES) { style { (PreEscaped(*style)) } }
        }
    }
}

/// Every section with its place and its name, in the order of the page; empty where a run has nothing of the kind.
fn sections(report: &Report, history: &[Entry]) -> [(&'static str, &'static str, Markup); 14] {
    [
        ("next", "What to do next", next::section(report)),
        ("run", "The run", run::section(report)),
        ("verdicts", "Verdicts", verdicts::section(report)),
        ("sizes", "Sizes", sizes::section(report)),
        ("boots", "Boot times and memory", boots::section(report, history)),
        ("network", "Network", network::section(report)),
        ("findings", "Findings", findings::section(report)),
        ("faults", "Faults", faults::section(report)),
        ("cis", "CIS benchmark", benchmark::section(report)),
        ("evidence", "Evidence", evidence::section(report)),
        ("reused", "Reused", reuse::section(report)),
        ("digests", "Images", reuse::digests(report)),
        ("timeline", "Timeline", timeline::section(report)),
        ("files", "Logs and files", files::section(report)),
    ]
}

fn contents(sections: &[(&str, &str, Markup)]) -> Markup {
    html! {
        nav aria-label="Contents" {
            ul {
                @for (place, name, _) in sections.iter().filter(|(_, _, section)| !section.0.is_empty()) {
                    li { a href={ "#" (place) } { (name) } }
                }
            }
        }
    }
}
