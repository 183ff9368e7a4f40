//! The report as one self-contained HTML page: no script, no font, no picture from elsewhere. What is from outside
//! is escaped by maud.

mod boots;
mod network;
mod scale;
mod sizes;
mod timeline;

use maud::{DOCTYPE, PreEscaped, html};

use super::Report;
use crate::history::Entry;

/// How the pictures look.
const STYLES: [&str; 4] = [scale::STYLE, sizes::STYLE, network::STYLE, timeline::STYLE];

/// Renders a report; `history` holds earlier runs, oldest first.
pub fn render(report: &Report, history: &[Entry]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (report.command) " " (report.run_id) }
                style { (PreEscaped(STYLES.concat())) }
            }
            body {
                main {
                    h1 { (report.summary()) }
                    (sizes::section(report))
                    (boots::section(report, history))
                    (network::section(report))
                    (timeline::section(report))
                }
            }
        }
    };
    page.into_string()
}
