//! Facts of the run: what was checked out, what was asked for, on which machine.

use maud::{Markup, html};

use super::words::{lasted, section as framed};
use crate::report::Report;

pub(super) fn section(report: &Report) -> Markup {
    let body = html! {
        dl class="facts" {
            (fact("command", html! {
                code { "cargo xtask " (report.command) @if report.strict { " --strict" } }
            }))
            (commit(report))
            (fact("started", html! {
                time datetime=(report.started_at) { (report.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")) }
                ", took " (lasted(report.took_ms))
            }))
            (fact("run", html! { (report.run_id) ", exit code " (report.exit_code) }))
            @if !report.bases.is_empty() {
                (fact("base and store images", html! { (report.bases) }))
            }
            @if !report.environment.is_empty() { (fact("environment", list(&report.environment))) }
            @if !report.notes.is_empty() { (fact("notes", list(&report.notes))) }
        }
    };
    framed("run", "The run", body)
}

fn commit(report: &Report) -> Markup {
    let Some(commit) = &report.commit else {
        return fact("commit", html! { "not known" });
    };
    fact(
        "commit",
        html! {
            code { (commit.id) } " on " (commit.branch)
            @if commit.dirty { ", " strong { "not as committed" } ": inputs of an image were changed" }
        },
    )
}

fn fact(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn list(words: &[String]) -> Markup {
    html! { ul { @for word in words { li { (word) } } } }
}
