//! Names that each form would read as markup, pushed through every renderer and read back with a real parser: they
//! stay text.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::{Value, json};

use super::tests::sample;
use super::words::visible;
use super::{Report, html, markdown, short};
use crate::event::Span;
use crate::verdict::{Check, Gate, Outcome, Record};

/// Each with something behind it that must come through.
const HOSTILE: [&str; 16] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "]]><x>alert(1)",
    "\"'&amp;&lt; alert(1)",
    "--> <!-- alert(1)",
    "`a` ``alert(1)",
    "|a|b| alert(1)",
    "a\nb\r\n\n# c\n- d alert(1)",
    "# alert(1)",
    "1. alert(1)",
    "\u{0}\u{1}\u{8}\u{1b}[31m\u{7f}alert(1)",
    "\u{202e}gnp\u{2066}.exe alert(1)",
    "::error file=a::alert(1)",
    "[alert(1)](javascript:alert(1)) ![x](y)",
    "</details></td></svg>alert(1)",
    "@team #1 $x$ ~~y~~ __z__ *w* alert(1)",
];

/// A report that has these words wherever words can come from outside.
fn report(words: &str) -> Report {
    let own = || words.to_owned();
    let records = [
        Check::passed(words, words),
        Check::violated(words, words, words),
        Check::undecided(words, words, words).tolerated(),
    ]
    .into_iter()
    .zip([Gate::Lint, Gate::Budget, Gate::Scan])
    .map(|(check, gate)| {
        let mut record = Record::from_checks(words, gate, vec![check], words);
        (record.digest, record.log) = (Some(own()), Some(own()));
        record.figure("findings", findings(words))
    });
    let boot = Record::from_checks(words, Gate::Boot, vec![Check::passed("live", words)], words)
        .figure("first_answer_ms", 3)
        .figure(
            "cis",
            json!([{ "item": words, "title": words, "outcome": words, "evidence": words }]),
        );
    let pairs = json!([{ "from": words, "to": "b", "declared": true, "open": [words], "tried": 1 },
        { "from": "b", "to": words, "declared": false, "open": [], "tried": 1 }]);
    let network = Record::from_checks(words, Gate::Network, vec![Check::passed("ready", words)], words)
        .figure("pairs", pairs)
        .figure("faults", faults(words));
    let mut report = sample();
    report.records = records.chain([boot, network]).collect();
    (report.services, report.digests) = (vec![own()], vec![(own(), own())]);
    (report.run_id, report.command, report.bases) = (own(), own(), own());
    (report.environment, report.notes, report.files) = (vec![own()], vec![own()], vec![own()]);
    (report.error, report.host) = (Some(own()), Some(own()));
    if let Some(commit) = &mut report.commit {
        (commit.id, commit.branch) = (own(), own());
    }
    report.timeline = vec![Span {
        step: own(),
        gate: None,
        service: None,
        started_ms: 0,
        took_ms: 12_000,
    }];
    report
}

fn findings(words: &str) -> Value {
    let mut finding =
        json!({ "kind": "vulnerability", "severity": "HIGH", "became": "let pass", "url": words });
    let keys = [
        "id",
        "status",
        "package",
        "version",
        "fixed",
        "title",
        "published",
        "why",
        "origin",
        "path",
        "introduced",
    ];
    for key in keys {
        finding[key] = words.into();
    }
    json!([finding])
}

fn faults(words: &str) -> Value {
    json!([{ "store": words, "fault": words, "noticed_ms": 1, "sent": 1, "slowest_ms": 1, "hung": 0, "wrong": 0,
        "recovered_ms": 1, "acknowledged": 1, "lost": 0, "touched": null }])
}

/// What of these words a reader must find again: their last line as a parser gives it back.
fn core(words: &str) -> String {
    let shown = visible(words);
    shown.lines().last().unwrap_or_default().trim().to_owned()
}

#[test]
fn in_json_they_come_back_as_they_were() {
    for words in HOSTILE {
        let text = serde_json::to_string_pretty(&report(words)).unwrap();
        let back: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(back.records, report(words).records);
        assert_eq!(back.error.as_deref(), Some(words));
        assert!(!text.contains('\u{0}') && !text.contains('\u{1b}'));
    }
}

#[test]
fn in_junit_they_are_text_and_attributes() {
    let elements = |xml: &str| -> Vec<String> {
        let document = roxmltree::Document::parse(xml).unwrap();
        let elements = document.descendants().filter(roxmltree::Node::is_element);
        elements
            .map(|element| element.tag_name().name().to_owned())
            .collect()
    };
    let plain = elements(&report("x").junit().unwrap());
    for words in HOSTILE {
        let xml = report(words).junit().unwrap();
        assert_eq!(elements(&xml), plain, "{words:?} in {xml}");
        let document = roxmltree::Document::parse(&xml).unwrap();
        let is_bad = |node: &roxmltree::Node| node.has_tag_name("failure");
        let text = document
            .descendants()
            .find(is_bad)
            .and_then(|node| node.text())
            .unwrap();
        assert!(text.starts_with(&visible(words)), "{words:?} became {text:?}");
    }
}

#[test]
fn in_sarif_they_are_messages_without_links() {
    for words in HOSTILE {
        let report = report(words);
        let sarif = report.sarif(std::path::Path::new("/nowhere"));
        let back: Value = serde_json::from_str(&serde_json::to_string(&sarif).unwrap()).unwrap();
        let results = back["runs"][0]["results"].as_array().unwrap().clone();
        assert!(results.len() >= 3, "{results:?}");
        for result in results {
            let text = result["message"]["text"].as_str().unwrap();
            assert!(text.contains("alert(1)"), "{words:?} became {text:?}");
            let is_link = text
                .match_indices("](")
                .any(|(at, _)| !text[..at].ends_with('\\'));
            assert!(
                !is_link && !text.contains('\u{202e}') && !text.contains('\u{0}'),
                "{text:?}"
            );
            let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str();
            assert!(
                uri.unwrap().bytes().all(|byte| byte.is_ascii_graphic()),
                "{uri:?}"
            );
        }
    }
}

/// The tree of a page without its words, and the words.
fn parsed(text: &str) -> (Vec<String>, String) {
    let (mut tree, mut words) = (Vec::new(), String::new());
    let ours = ["<br>", "<!-- -->", "</summary>", "</details>"];
    for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Text(text) | Event::Code(text) => words.push_str(&text),
            Event::SoftBreak | Event::HardBreak => words.push('\n'),
            Event::Start(Tag::Link { dest_url, .. }) => {
                assert!(
                    dest_url
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~%".contains(&byte)),
                    "{dest_url}"
                );
                tree.push("link".to_owned());
            }
            Event::InlineHtml(html) => assert!(ours.contains(&html.trim()), "{html}"),
            Event::Html(html) => {
                let html = html.trim();
                let summary = html
                    .strip_prefix("<details><summary>")
                    .and_then(|rest| rest.strip_suffix("</summary>"));
                let rest = summary.unwrap_or("").replace("<br>", "").replace("<!-- -->", "");
                assert!(summary.is_some() || ours.contains(&html), "{html}");
                assert!(!rest.contains('<'), "{html}");
                tree.push("html".to_owned());
            }
            other => tree.push(format!("{other:?}")),
        }
    }
    (tree, words)
}

#[test]
fn in_markdown_they_change_nothing_but_words() {
    for render in [markdown, short] {
        let (plain, _) = parsed(&render(&report("x")));
        for words in HOSTILE {
            let text = render(&report(words));
            let (tree, read) = parsed(&text);
            assert_eq!(tree, plain, "{words:?} in {text}");
            assert!(read.contains(&core(words)), "{words:?} is not in {read}");
            assert!(
                !text.lines().any(|line| line.trim_start().starts_with("::")),
                "{text}"
            );
            assert!(!text.contains('\u{202e}') && !text.contains('\u{0}') && !text.contains('\u{1b}'));
        }
    }
}

#[test]
fn the_readers_notice_markup() {
    for (markup, plain) in [
        ("# a", "a"),
        ("a\n- b", "a\nb"),
        ("| a |\n| - |\n| b |", "a"),
        ("*a*", "a"),
        ("~~a~~", "a"),
    ] {
        assert_ne!(parsed(markup).0, parsed(plain).0, "{markup}");
    }
    assert!(std::panic::catch_unwind(|| parsed("a <b>c</b>")).is_err());
    assert!(std::panic::catch_unwind(|| parsed("[a](javascript:b)")).is_err());
    assert!(
        tokens("<p onclick=a><script>")
            .0
            .is_superset(&["p onclick".to_owned(), "script".to_owned()].into())
    );
}

/// The names of all elements and attributes of a page, and its text.
fn tokens(page: &str) -> (BTreeSet<String>, String) {
    let (mut names, mut text) = (BTreeSet::new(), String::new());
    let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for token in html5gum::Tokenizer::new(page) {
        match token.unwrap() {
            html5gum::Token::StartTag(tag) => {
                for (name, value) in &tag.attributes {
                    names.insert(format!("{} {}", word(&tag.name), word(name)));
                    let address = ["href", "src", "xlink:href"].contains(&word(name).as_str());
                    assert!(!address || !word(value).contains("script:"), "{}", word(value));
                }
                names.insert(word(&tag.name));
            }
            html5gum::Token::String(piece) => text.push_str(&word(&piece)),
            _ => {}
        }
    }
    (names, text)
}

#[test]
fn in_html_they_bring_no_element_and_no_attribute() {
    let (plain, _) = tokens(&html::render(&report("x"), &[]));
    for words in HOSTILE {
        let page = html::render(&report(words), &[]);
        let (names, text) = tokens(&page);
        let more: Vec<&String> = names.difference(&plain).collect();
        // Long words may be broken, and lines stand apart.
        let harmless = ["br", "wbr", "pre", "p", "div", "span", "bdi", "code"];
        let brought = more
            .iter()
            .filter(|name| !harmless.contains(&name.split(' ').next().unwrap_or_default()));
        assert_eq!(brought.count(), 0, "{words:?} brought {more:?}");
        assert!(text.contains("alert(1)"), "{words:?} is not in the page");
        assert!(!names.contains("script") || plain.contains("script"));
    }
}

#[test]
fn the_worst_verdict_stays_the_worst() {
    for words in HOSTILE {
        let report = report(words);
        let worst = report.records.iter().map(|record| record.outcome).max();
        assert_eq!(worst, Some(Outcome::Violated));
        assert!(markdown(&report).contains(": violated\n"), "{words:?}");
    }
}
