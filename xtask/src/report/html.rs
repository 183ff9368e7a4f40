//! The report as one self-contained HTML page: no script, no font, no picture from elsewhere. What is from outside
//! is escaped by maud.

mod benchmark;
mod boots;
#[cfg(test)]
mod contrast;
mod evidence;
mod faults;
mod files;
mod findings;
mod network;
mod next;
mod reuse;
mod run;
mod scale;
mod sizes;
mod timeline;
mod verdict;
mod verdicts;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use crate::history::Entry;

/// The style of the page and of its sections.
const STYLES: [&str; 5] = [
    include_str!("html/style.css"),
    scale::STYLE,
    sizes::STYLE,
    network::STYLE,
    timeline::STYLE,
];

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
            title { (report.word()) ": " (report.command) " " (report.run_id) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use serde_json::{Value, json};

    const HOSTILE: &str = "<script>alert(1)</script>\"><img src=x onerror='alert(1)'> & ]]> \u{202e}gpj\u{0} javascript:alert(1)";

    /// Every table has something to show.
    fn rich() -> Report {
        let mut report = sample();
        let pair = json!({"from": "frontend", "to": "gateway", "declared": true, "open": ["tcp://own.gateway:8000"],
            "tried": 4});
        let row = json!({"store": "postgres", "fault": "killed", "noticed_ms": 1, "sent": 1, "slowest_ms": 1, "hung": 0,
            "wrong": 0, "recovered_ms": 1, "acknowledged": 1, "lost": 0});
        let finding = json!({"kind": "vulnerability", "id": "CVE-1", "severity": "HIGH", "package": "p", "version": "1",
            "title": "t", "url": "u", "became": "let pass", "why": "w", "origin": "crate", "path": "a -> p"});
        let item = json!({"item": "4.1", "title": "a user", "outcome": "passed", "evidence": "user 1"});
        for (name, figure) in [
            ("pairs", pair),
            ("faults", row),
            ("findings", finding),
            ("cis", item),
        ] {
            for record in &mut report.records {
                record.figures.insert(name.to_owned(), json!([figure]));
            }
        }
        report.error = Some("error: e".into());
        report
    }

    /// Puts hostile words into every field that is a word.
    fn spoil(value: &mut Value) {
        match value {
            Value::String(text) => *text = format!("{HOSTILE}{text}"),
            Value::Array(all) => all.iter_mut().for_each(spoil),
            Value::Object(fields) => {
                // What is one of a few words cannot be any other.
                let open = |name: &str| !["outcome", "gate", "kind", "started_at"].contains(&name);
                let fields = fields.iter_mut().filter(|(name, _)| open(name));
                fields.for_each(|(_, value)| spoil(value));
            }
            _ => {}
        }
    }

    /// What stands between each `begin` and the next quote.
    fn quoted<'p>(page: &'p str, begin: &str) -> Vec<&'p str> {
        let after = page.split(begin).skip(1);
        after.filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn hostile_words_stay_text_in_every_field() {
        let mut value = serde_json::to_value(rich()).unwrap();
        spoil(&mut value);
        let report: Report = serde_json::from_value(value).unwrap();
        let page = render(&report, &[]);
        for forbidden in ["<script", "<img", "\u{202e}", "\u{0}"] {
            assert!(!page.contains(forbidden), "{forbidden:?}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&gt;&lt;img"));
        let allowed = |address: &&str| !address.contains(':') && !address.starts_with('/');
        let addresses = quoted(&page, "href=\"");
        assert!(addresses.iter().all(allowed), "{addresses:?}");
    }

    #[test]
    fn every_link_within_the_page_leads_somewhere_and_no_place_is_named_twice() {
        for report in [sample(), rich()] {
            let page = render(&report, &[]);
            let mut places = quoted(&page, " id=\"");
            for address in quoted(&page, "href=\"#") {
                assert!(places.contains(&address), "{address}");
            }
            let all = places.len();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), all);
        }
    }

    #[test]
    fn the_verdict_comes_first_and_what_to_do_next_second() {
        let page = render(&rich(), &[]);
        let headings = quoted(&page, "<h2 id=\"");
        assert!(page.find("<h1>") < page.find("<h2"));
        assert_eq!(headings[..3], ["next-title", "run-title", "verdicts-title"]);
        let mine = [
            "findings", "faults", "cis", "evidence", "reused", "digests", "files",
        ];
        let shown = |id: &&str| headings.contains(&format!("{id}-title").as_str());
        assert!(mine.iter().all(shown), "{headings:?}");
    }

    #[test]
    fn a_report_of_an_older_pipeline_and_one_of_a_set_up_that_failed_are_pages_too() {
        let mut old = serde_json::to_value(sample()).unwrap();
        let fields = old.as_object_mut().unwrap();
        for name in ["notes", "commit", "timeline", "files"] {
            fields.remove(name);
        }
        let old: Report = serde_json::from_value(old).unwrap();
        assert!(render(&old, &[]).contains("<dt>commit</dt><dd>not known</dd>"));
        let mut failed = sample();
        failed.records.clear();
        failed.services.clear();
        failed.exit_code = 3;
        failed.error = Some("error: no engine\nhint: start one".into());
        let page = render(&failed, &[]);
        assert!(page.contains("start one") && !page.contains("id=\"verdicts\""));
    }
}
