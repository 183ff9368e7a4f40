//! What all sections of the page share: marks, links, names of places, tables that scroll on their own.

use maud::{Markup, html};

use crate::report::Report;
use crate::report::words::{self, link};
use crate::verdict::{Outcome, Record};

/// How many names are listed before the rest is a number.
const NAMES: usize = 8;

/// A word with a sign of its own: told apart by sign, border and word, and by colour too.
pub(super) fn badge(word: &str) -> Markup {
    let (class, sign) = look(word);
    html! { span class={ "badge " (class) } { span aria-hidden="true" { (sign) } " " (word) } }
}

/// A word's class in the style sheet, and its sign.
pub(super) fn look(word: &str) -> (&'static str, &'static str) {
    match word {
        "passed" => ("passed", "✓"),
        "reused" => ("reused", "↻"),
        "violated" | "fails" | "wrong usage" => ("violated", "✗"),
        "undecided" | "passed, but for what is undecided" => ("undecided", "?"),
        "interrupted" => ("undecided", "■"),
        "accepted" | "excepted" | "let pass" => ("skipped", "○"),
        _ => ("skipped", "–"),
    }
}

/// The place of a record's evidence in the page. A name that would be no fragment is a number instead.
pub(super) fn anchor(report: &Report, record: &Record) -> String {
    let service = &record.service;
    let gate = record.gate.name();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if service.chars().all(plain) {
        return format!("{gate}.{service}");
    }
    let number = report.services.iter().position(|name| name == service);
    format!("{gate}..{}", number.unwrap_or_default())
}

/// A file of the run, which the page lies beside.
pub(super) fn file(path: &str, name: &str) -> Markup {
    html! { a href=(link(path)) { (name) } }
}

/// An earlier run, whose page and logs are a click away where they are kept.
pub(super) fn run(report: &Report, run_id: &str) -> Markup {
    match report.earlier.iter().any(|kept| kept == run_id) {
        true => file(&format!("../{run_id}/report.html"), run_id),
        false => html! { (run_id) },
    }
}

/// A link to the world outside, where it is one to a page.
pub(super) fn outside(url: &str, text: &str) -> Markup {
    if url.starts_with("https://") || url.starts_with("http://") {
        return html! { a href=(url) rel="noreferrer noopener" { (text) } };
    }
    html! { (text) }
}

/// A section with its heading; nothing where there is nothing to say.
pub(super) fn section(id: &str, title: &str, body: Markup) -> Markup {
    if body.0.is_empty() {
        return body;
    }
    html! {
        section id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) }
            (body)
        }
    }
}

/// A table that scrolls within its own region where the page is too narrow.
pub(super) fn table(id: &str, caption: &str, columns: &[&str], rows: Markup) -> Markup {
    html! {
        div class="scroll" role="region" tabindex="0" aria-labelledby={ (id) "-caption" } {
            table {
                caption id={ (id) "-caption" } { span { (caption) } }
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A row of a table that a phone shows as a card.
pub(super) struct Card {
    /// Something in it is violated.
    pub(super) bad: bool,
    pub(super) head: Markup,
    /// One for each column but the first.
    pub(super) cells: Vec<Markup>,
}

/// A table whose rows are cards on a phone, each cell with its column's name. The roles are those of a table already,
/// but as cards it would lose them.
pub(super) fn cards(id: &str, caption: &str, columns: &[&str], rows: &[Card]) -> Markup {
    html! {
        div class="scroll" role="region" tabindex="0" aria-labelledby={ (id) "-caption" } {
            table class="cards" role="table" {
                caption id={ (id) "-caption" } { span { (caption) } }
                thead role="rowgroup" {
                    tr role="row" {
                        @for column in columns { th role="columnheader" scope="col" { (column) } }
                    }
                }
                tbody role="rowgroup" { @for row in rows { (card(columns, row)) } }
            }
        }
    }
}

fn card(columns: &[&str], row: &Card) -> Markup {
    html! {
        tr role="row" class=[row.bad.then_some("bad")] {
            th role="rowheader" scope="row" { (row.head) }
            @for (cell, column) in row.cells.iter().zip(&columns[1..]) {
                td role="cell" {
                    span class="column" aria-hidden="true" { (column) }
                    div { (cell) }
                }
            }
        }
    }
}

/// Images by name, each leading to its evidence; all of the run in a word.
pub(super) fn images(report: &Report, records: &[&Record]) -> Markup {
    let all = records.len() > 2 && records.len() == report.services.len();
    let shown = if all { 0 } else { records.len().min(NAMES) };
    html! {
        @if all { "all " (records.len()) " images" }
        @for (place, record) in records[..shown].iter().enumerate() {
            @if place > 0 { ", " }
            a href={ "#" (anchor(report, record)) } { (record.service) }
        }
        @if !all && records.len() > shown { " and " (records.len() - shown) " more" }
    }
}

/// A duration for a person: `312 ms`, `48.9 s`, `3 min 12 s`.
pub(super) fn lasted(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// What is not well.
pub(super) fn bad(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Violated | Outcome::Undecided)
}

/// What an eye would not see, or see elsewhere, becomes its number, all over the page. Unlike [`words::visible`] this
/// never takes out a character that could be markup.
pub(super) fn visible(page: &str) -> String {
    let mut shown = String::with_capacity(page.len());
    for character in page.chars() {
        match character {
            hidden if words::is_hidden(hidden) && !matches!(hidden, '\n' | '\t') => {
                shown.extend(hidden.escape_unicode());
            }
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_is_linked() {
        assert_eq!(outside("javascript:alert(1)", "CVE-1").0, "CVE-1");
        assert!(
            outside("https://a.b/?x=\"y\"", "CVE-1")
                .0
                .contains("x=&quot;y&quot;")
        );
    }

    #[test]
    fn what_would_reorder_the_page_is_shown_by_number() {
        assert_eq!(
            visible("a\u{202e}b\u{0}c\u{1b}[31m\n"),
            "a\\u{202e}b\\u{0}c\\u{1b}[31m\n"
        );
    }

    #[test]
    fn durations_are_a_persons() {
        assert_eq!(
            [312, 48_882, 192_000].map(lasted),
            ["312 ms", "48.9 s", "3 min 12 s"]
        );
    }
}
