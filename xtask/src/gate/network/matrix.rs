//! The matrix of ordered pairs as a picture: who can reach whom, for the report (Markdown) and beside it (SVG).

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::report;

/// What one member found of one other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    pub from: String,
    pub to: String,
    pub declared: bool,
    /// The target of each open answer.
    pub open: Vec<String>,
    pub tried: usize,
}

/// What a pair comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Open,
    Refused,
    /// Declared, but it cannot be reached by name.
    Closed,
    Undeclared,
}

impl Way {
    const ALL: [Way; 4] = [Way::Open, Way::Refused, Way::Closed, Way::Undeclared];

    /// A sign that can be told from the others without any colour.
    fn sign(self) -> &'static str {
        match self {
            Way::Open => "●",
            Way::Refused => "–",
            Way::Closed => "✗",
            Way::Undeclared => "▲",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Way::Open => "declared and open",
            Way::Refused => "refused",
            Way::Closed => "declared, but closed",
            Way::Undeclared => "open, but undeclared",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Way::Open => "open",
            Way::Refused => "refused",
            Way::Closed | Way::Undeclared => "wrong",
        }
    }
}

const NOT_ASKED: &str = "not asked";

impl Pair {
    pub fn way(&self) -> Way {
        let named = format!("tcp://own.{}:", self.to);
        let by_name = self.open.iter().any(|target| target.starts_with(&named));
        match (self.declared, self.open.is_empty()) {
            (true, _) if by_name => Way::Open,
            (true, _) => Way::Closed,
            (false, true) => Way::Refused,
            (false, false) => Way::Undeclared,
        }
    }
}

fn find<'p>(pairs: &'p [Pair], from: &str, to: &str) -> Option<&'p Pair> {
    pairs.iter().find(|pair| pair.from == from && pair.to == to)
}

/// Rows and columns: who asked, who was asked for.
fn names(pairs: &[Pair]) -> (Vec<&str>, Vec<&str>) {
    let rows: BTreeSet<&str> = pairs.iter().map(|pair| pair.from.as_str()).collect();
    let columns: BTreeSet<&str> = pairs.iter().map(|pair| pair.to.as_str()).collect();
    (rows.into_iter().collect(), columns.into_iter().collect())
}

/// As a Markdown table with its legend; rows are from, columns are to.
pub fn markdown(pairs: &[Pair]) -> String {
    let (rows, columns) = names(pairs);
    let heads: Vec<String> = columns.iter().map(|column| report::escape(column)).collect();
    let mut text = format!("| from \\ to | {} |\n", heads.join(" | "));
    let _ = writeln!(text, "| --- |{}", " :-: |".repeat(columns.len()));
    for row in rows {
        let cells = columns
            .iter()
            .map(|column| find(pairs, row, column).map_or(" ", |pair| pair.way().sign()));
        let cells: Vec<&str> = cells.collect();
        let _ = writeln!(text, "| {} | {} |", report::escape(row), cells.join(" | "));
    }
    let legend = Way::ALL.map(|way| format!("{} {}", way.sign(), way.words()));
    let _ = writeln!(
        text,
        "\n{}, blank {NOT_ASKED}. The same as a picture: `network.svg`.",
        legend.join(", ")
    );
    text
}

/// Side of a cell, room for the names of rows and columns, height of a line of the legend.
const CELL: usize = 30;
const LEFT: usize = 190;
const TOP: usize = 150;
const LINE: usize = 20;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1b1f24}.cell{fill:none;stroke:#b8c0c8}\
.open{fill:#0a6b2d;font-weight:bold}.refused{fill:#59636e}.wrong{fill:#b3121d;font-weight:bold}\
@media (prefers-color-scheme:dark){text{fill:#e6e9ec}.cell{stroke:#4a525b}.open{fill:#5fd38a}.refused{fill:#9aa4ae}\
.wrong{fill:#ff8a8a}}";

/// As a picture that reads on a light and on a dark page; every sign is text, and has its words as a tooltip.
pub fn svg(pairs: &[Pair]) -> String {
    let (rows, columns) = names(pairs);
    let width = (LEFT + columns.len() * CELL + 110).max(430);
    let height = TOP + rows.len() * CELL + (Way::ALL.len() + 1) * LINE + 20;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">Who can reach whom</title>\n\
         <desc id=\"d\">{}</desc>\n<style>{STYLE}</style>\n",
        escape(&description(pairs))
    );
    for (index, column) in columns.iter().enumerate() {
        let (x, y) = (LEFT + index * CELL + CELL / 2, TOP - 8);
        let name = escape(column);
        let _ = writeln!(
            text,
            "<text x=\"{x}\" y=\"{y}\" transform=\"rotate(-50 {x} {y})\">{name}</text>"
        );
    }
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + index * CELL;
        let (x, middle) = (LEFT - 10, y + CELL / 2 + 5);
        let _ = writeln!(
            text,
            "<text x=\"{x}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
            escape(row)
        );
        for (index, column) in columns.iter().enumerate() {
            cell(&mut text, find(pairs, row, column), LEFT + index * CELL, y);
        }
    }
    for (index, way) in Way::ALL.into_iter().enumerate() {
        let y = TOP + rows.len() * CELL + (index + 1) * LINE + 10;
        let (class, sign, words) = (way.class(), way.sign(), way.words());
        let _ = writeln!(
            text,
            "<text x=\"20\" y=\"{y}\" class=\"{class}\">{sign}</text><text x=\"44\" y=\"{y}\">{words}</text>"
        );
    }
    text.push_str("</svg>\n");
    text
}

fn cell(text: &mut String, pair: Option<&Pair>, x: usize, y: usize) {
    let _ = write!(
        text,
        "<rect class=\"cell\" x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\"/>"
    );
    if let Some(pair) = pair {
        let (x, y, way) = (x + CELL / 2, y + CELL / 2 + 5, pair.way());
        let words = escape(&format!("{} to {}: {}", pair.from, pair.to, way.words()));
        let _ = write!(
            text,
            "<text x=\"{x}\" y=\"{y}\" class=\"{}\" text-anchor=\"middle\">{}<title>{words}</title></text>",
            way.class(),
            way.sign()
        );
    }
    text.push('\n');
}

/// The picture in words: how many pairs, and by name all that are open or wrong.
fn description(pairs: &[Pair]) -> String {
    let of = |way: Way| {
        let names = pairs.iter().filter(move |pair| pair.way() == way);
        names
            .map(|pair| format!("{} to {}", pair.from, pair.to))
            .collect::<Vec<_>>()
    };
    let mut text = format!(
        "{} ordered pairs, {} of them refused.",
        pairs.len(),
        of(Way::Refused).len()
    );
    for way in [Way::Open, Way::Closed, Way::Undeclared] {
        if !of(way).is_empty() {
            let _ = write!(text, " {}: {}.", way.words(), of(way).join(", "));
        }
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Vec<Pair> {
        let pair = |from: &str, to: &str, declared, open: &[&str]| Pair {
            from: from.into(),
            to: to.into(),
            declared,
            open: open.iter().map(|target| (*target).to_owned()).collect(),
            tried: 3,
        };
        vec![
            pair("a", "b", true, &["tcp://own.b:1"]),
            pair("b", "a", false, &["tcp://10.0.0.2:1"]),
            pair("a", "c", true, &["tcp://10.0.0.3:1"]),
            pair("b", "c", false, &[]),
        ]
    }

    #[test]
    fn every_kind_of_pair_has_its_sign() {
        insta::assert_snapshot!(markdown(&pairs()), @r"
        | from \ to | a | b | c |
        | --- | :-: | :-: | :-: |
        | a |   | ● | ✗ |
        | b | ▲ |   | – |

        ● declared and open, – refused, ✗ declared, but closed, ▲ open, but undeclared, blank not asked. The same as a picture: `network.svg`.
        ");
    }

    #[test]
    fn the_picture_says_in_words_what_it_shows() {
        let picture = svg(&pairs());
        assert!(
            picture.contains("4 ordered pairs, 1 of them refused. declared and open: a to b."),
            "{picture}"
        );
        assert!(
            picture.contains("<title>b to a: open, but undeclared</title>"),
            "{picture}"
        );
        assert_eq!(picture.matches("<rect").count(), 6);
    }
}
