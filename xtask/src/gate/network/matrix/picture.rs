//! The matrix as a picture that stands alone (`network.svg`): it reads on a light and on a dark page, and every sign
//! can be told from the others without colour.

use std::fmt::Write;

use super::{Pair, Way, find, names};
use crate::report;

/// Side of a cell and of the sign in it, height of a line of the legend.
const CELL: usize = 30;
const SIGN: usize = 20;
const LINE: usize = 24;
/// How much of a name is shown, in characters, and how wide one is at most.
const NAME: usize = 40;
const CHARACTER: usize = 8;

const STYLE: &str = ".page{fill:#fff}text{font:13px system-ui,sans-serif;fill:#1b1f24}.cell{fill:none;stroke:#b8c0c8}.self{fill:#e4e8ec}\
.open{color:#0a6b2d}.refused{color:#59636e}.wrong{color:#b3121d}text.sign-on,text.sign-off{font:bold 12px system-ui,sans-serif;\
text-anchor:middle}text.sign-on{fill:#fff}text.sign-off{fill:currentColor}\
@media (prefers-color-scheme:dark){.page{fill:#181e25}text{fill:#e6e9ec}.cell{stroke:#4a525b}.self{fill:#2a3138}.open{color:#5fd38a}\
.refused{color:#9aa4ae}.wrong{color:#ff8a8a}text.sign-on{fill:#10151a}}";

/// Where things are, in pixels.
struct Layout {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Layout {
    fn of(rows: &[&str], columns: &[&str]) -> Self {
        let longest = |names: &[&str]| names.iter().map(|name| shown(name).chars().count()).max();
        let left = 20 + longest(rows).unwrap_or_default() * CHARACTER;
        // Names of columns rise at 50 degrees: 4/5 of their length upwards, 2/3 of it to the right.
        let length = longest(columns).unwrap_or_default() * CHARACTER;
        let top = 20 + length * 4 / 5;
        Layout {
            left,
            top,
            width: (left + columns.len() * CELL + length * 2 / 3).max(430),
            height: top + rows.len() * CELL + Way::ALL.len() * LINE + 30,
        }
    }
}

/// As a picture; every sign has its words as a tooltip.
pub fn svg(pairs: &[Pair]) -> String {
    let (rows, columns) = names(pairs);
    let layout = Layout::of(&rows, &columns);
    let Layout { width, height, .. } = layout;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">Who can reach whom</title>\n\
         <desc id=\"d\">{}</desc>\n<style>{STYLE}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n",
        escape(&description(pairs))
    );
    for (index, column) in columns.iter().enumerate() {
        let (x, y) = (layout.left + index * CELL + CELL / 2, layout.top - 8);
        let turned = format!("x=\"{x}\" y=\"{y}\" transform=\"rotate(-50 {x} {y})\"");
        name(&mut text, &turned, column);
    }
    for (index, row) in rows.iter().enumerate() {
        let y = layout.top + index * CELL;
        let place = format!(
            "x=\"{}\" y=\"{}\" text-anchor=\"end\"",
            layout.left - 10,
            y + CELL / 2 + 5
        );
        name(&mut text, &place, row);
        for (index, column) in columns.iter().enumerate() {
            cell(
                &mut text,
                (row, column),
                find(pairs, row, column),
                layout.left + index * CELL,
                y,
            );
        }
    }
    legend(&mut text, layout.top + rows.len() * CELL + 20);
    text.push_str("</svg>\n");
    text
}

/// A name, cut off where it is too long; the whole of it as a tooltip.
fn name(text: &mut String, place: &str, name: &str) {
    let (shown, whole) = (escape(&shown(name)), escape(name));
    let _ = writeln!(text, "<text {place}>{shown}<title>{whole}</title></text>");
}

fn shown(name: &str) -> String {
    let name = report::visible(name);
    if name.chars().count() <= NAME {
        return name;
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}

fn cell(text: &mut String, (from, to): (&str, &str), pair: Option<&Pair>, x: usize, y: usize) {
    let class = if from == to { "cell self" } else { "cell" };
    let _ = write!(
        text,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\"/>"
    );
    if let Some(pair) = pair {
        let way = pair.way();
        let words = escape(&format!("{from} to {to}: {}", way.words()));
        sign(text, way, x + (CELL - SIGN) / 2, y + (CELL - SIGN) / 2, &words);
    }
    text.push('\n');
}

fn sign(text: &mut String, way: Way, x: usize, y: usize, words: &str) {
    let (class, shape) = (way.class(), way.shape());
    let _ = write!(
        text,
        "<g class=\"{class}\" transform=\"translate({x} {y})\"><title>{words}</title>{shape}</g>"
    );
}

fn legend(text: &mut String, top: usize) {
    for (index, way) in Way::ALL.into_iter().enumerate() {
        let y = top + index * LINE;
        sign(text, way, 16, y, way.words());
        let _ = writeln!(text, "<text x=\"46\" y=\"{}\">{}</text>", y + 15, way.words());
    }
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
    report::visible(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::pairs;
    use super::*;

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
        assert_eq!(picture.matches("<rect class=\"cell").count(), 6);
        // Each of the four signs once in the matrix and once in the legend.
        for way in Way::ALL {
            assert_eq!(picture.matches(way.shape()).count(), 2, "{way:?}");
        }
    }

    #[test]
    fn long_names_have_room_and_are_cut_off_at_last() {
        let layout = |name: &str| Layout::of(&[name], &[name]);
        assert!(layout("a-rather-long-name").left > layout("short").left);
        assert_eq!(layout(&"x".repeat(40)).left, layout(&"x".repeat(400)).left);
        let mut pairs = pairs();
        pairs[0].from = format!("<{}", "x".repeat(60));
        let picture = svg(&pairs);
        assert!(
            picture.contains(&format!(
                ">&lt;{}…<title>&lt;{}</title>",
                "x".repeat(38),
                "x".repeat(60)
            )),
            "{picture}"
        );
    }

    #[test]
    fn hostile_names_leave_a_picture_that_can_be_read() {
        let mut pairs = pairs();
        for name in ["<script>\"&'", "]]>\u{0}\u{1b}[31m", "\u{202e}\u{ffff}"] {
            pairs[0].to = name.to_owned();
            let picture = svg(&pairs);
            assert!(roxmltree::Document::parse(&picture).is_ok(), "{picture}");
            assert!(
                !picture.contains("<script") && !picture.contains('\u{202e}'),
                "{picture}"
            );
        }
    }
}
