//! Every log and file of the run, a click away: the page lies in the same folder.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::words::{file, section as framed};
use crate::report::Report;

/// The report's other forms, written with this one.
const FORMS: [&str; 4] = ["report.json", "report.md", "report.junit.xml", "report.sarif"];

pub(super) fn section(report: &Report) -> Markup {
    let mut folders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in report.files.iter().filter(|path| !path.starts_with("report.")) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        folders.entry(folder).or_default().push(name);
    }
    // Written beside this page, where there is anything to draw.
    let pictured = !report.pairs().is_empty();
    let body = html! {
        p { "This report in other forms: "
            @for (place, form) in FORMS.iter().enumerate() {
                @if place > 0 { ", " }
                (file(form, form))
            }
            @if pictured { ", " (file("network.svg", "network.svg")) }
            "."
        }
        @for (folder, names) in &folders {
            h3 { @if folder.is_empty() { "beside this page" } @else { (folder) } }
            ul class="files" {
                @for name in names {
                    @let path = if folder.is_empty() { (*name).to_owned() } else { format!("{folder}/{name}") };
                    li { (file(&path, name)) }
                }
            }
        }
    };
    framed("files", "Logs and files", body)
}
