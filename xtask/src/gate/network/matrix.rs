//! The matrix of ordered pairs: who can reach whom, as the report shows it. As a table here, as a picture in
//! `picture.rs`.

mod picture;

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::report;

pub use picture::svg;

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
    pub const ALL: [Way; 4] = [Way::Open, Way::Refused, Way::Closed, Way::Undeclared];

    /// A sign that can be told from the others without any colour.
    fn sign(self) -> &'static str {
        match self {
            Way::Open => "●",
            Way::Refused => "–",
            Way::Closed => "✗",
            Way::Undeclared => "▲",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Way::Open => "declared and open",
            Way::Refused => "refused",
            Way::Closed => "declared, but closed",
            Way::Undeclared => "open, but undeclared",
        }
    }

    pub fn is_wrong(self) -> bool {
        matches!(self, Way::Closed | Way::Undeclared)
    }

    pub fn class(self) -> &'static str {
        match self {
            Way::Open => "open",
            Way::Refused => "refused",
            Way::Closed | Way::Undeclared => "wrong",
        }
    }

    /// The same sign drawn, as SVG of 20 by 20 in the colour of the text around it; no two have the same shape or
    /// letter. What is on a filled shape (`sign-on`) has the colour of the page.
    pub fn shape(self) -> &'static str {
        match self {
            Way::Open => {
                r#"<circle cx="10" cy="10" r="9" fill="currentColor"/><text class="sign-on" x="10" y="14.5">O</text>"#
            }
            Way::Refused => r#"<path d="M5 10h10" stroke="currentColor" stroke-width="2"/>"#,
            Way::Closed => concat!(
                r#"<rect x="2" y="2" width="16" height="16" fill="none" stroke="currentColor" stroke-width="2.5"/>"#,
                r#"<text class="sign-off" x="10" y="14.5">×</text>"#
            ),
            Way::Undeclared => {
                r#"<path d="M10 0 20 19H0z" fill="currentColor"/><text class="sign-on" x="10" y="17">!</text>"#
            }
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

pub fn find<'p>(pairs: &'p [Pair], from: &str, to: &str) -> Option<&'p Pair> {
    pairs.iter().find(|pair| pair.from == from && pair.to == to)
}

/// Rows and columns: who asked, who was asked for.
fn names(pairs: &[Pair]) -> (Vec<&str>, Vec<&str>) {
    let rows: BTreeSet<&str> = pairs.iter().map(|pair| pair.from.as_str()).collect();
    let columns: BTreeSet<&str> = pairs.iter().map(|pair| pair.to.as_str()).collect();
    (rows.into_iter().collect(), columns.into_iter().collect())
}

/// As a Markdown table with its legend; rows are from, columns are to. `picture` leads to the same as a picture, where
/// there is a way to it.
pub fn markdown(pairs: &[Pair], picture: Option<&str>) -> String {
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
    let picture = picture.map(|picture| format!(" The same as a picture: {picture}."));
    let _ = writeln!(
        text,
        "\n{}, blank {NOT_ASKED}.{}",
        legend.join(", "),
        picture.unwrap_or_default()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair of each kind.
    pub(super) fn pairs() -> Vec<Pair> {
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
        insta::assert_snapshot!(markdown(&pairs(), Some("here")), @r"
        | from \ to | a | b | c |
        | --- | :-: | :-: | :-: |
        | a |   | ● | ✗ |
        | b | ▲ |   | – |

        ● declared and open, – refused, ✗ declared, but closed, ▲ open, but undeclared, blank not asked. The same as a picture: here.
        ");
    }
}
