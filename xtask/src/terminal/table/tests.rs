//! The table at every size, looked at.

use super::super::picture::tests::{at, begun, crates, judged, step};
use super::*;
use crate::event::Event;

const NAMES: [&str; 6] = [
    "classification-service",
    "dataflow-service",
    "frontend",
    "mcp-server",
    "nexus-gateway",
    "workflow-engine",
];

fn frame(width: usize, height: usize) -> Frame {
    Frame {
        width,
        height,
        now_ms: 83_000,
        paint: Paint(false),
        last: false,
    }
}

fn planned(gates: &[Gate]) -> Picture {
    let mut picture = Picture::default();
    let services = NAMES.map(str::to_owned).to_vec();
    picture.take(&at(
        0,
        Event::Planned {
            services,
            gates: gates.to_vec(),
        },
    ));
    picture
}

/// In the middle of a run: linted, one over its budget, scans that could not decide, two that boot.
fn midway(gates: &[Gate]) -> Picture {
    let mut picture = planned(gates);
    for name in NAMES {
        picture.take(&at(1, judged(name, Gate::Build, Outcome::Passed, "1f2e")));
        picture.take(&at(2, judged(name, Gate::Lint, Outcome::Passed, "own rules")));
        picture.take(&at(
            3,
            judged(
                name,
                Gate::Scan,
                Outcome::Undecided,
                "the database is 92 days old",
            ),
        ));
        picture.take(&at(
            4,
            judged(name, Gate::Budget, Outcome::Passed, "7.09 MB of 9.00 MB"),
        ));
    }
    picture.take(&at(
        5,
        judged(NAMES[2], Gate::Budget, Outcome::Violated, "10.00 MB of 9.00 MB"),
    ));
    picture.take(&at(70_000, begun(NAMES[0], Gate::Boot)));
    picture.take(&at(71_000, begun(NAMES[1], Gate::Boot)));
    picture
}

fn drawn(picture: &Picture, frame: Frame) -> String {
    let lines = render(picture, frame);
    let widest = lines
        .iter()
        .map(|line| measure_text_width(line))
        .max()
        .unwrap_or_default();
    assert!(
        widest < frame.width,
        "{widest} of {}:\n{}",
        frame.width,
        lines.join("\n")
    );
    assert!(
        frame.last || lines.len() < frame.height,
        "{} of {}",
        lines.len(),
        frame.height
    );
    lines.join("\n")
}

#[test]
fn eighty_columns() {
    insta::assert_snapshot!(drawn(&midway(&Gate::ALL), frame(80, 24)));
}

#[test]
fn a_wide_terminal_shows_the_foremost_reason() {
    insta::assert_snapshot!(drawn(&midway(&Gate::ALL), frame(120, 40)));
}

#[test]
fn seven_columns_of_the_longest_words_fit_eighty() {
    let mut picture = planned(&Gate::COLUMNS);
    for (name, gate) in NAMES
        .iter()
        .flat_map(|name| Gate::COLUMNS.map(|gate| (name, gate)))
    {
        picture.take(&at(1, judged(name, gate, Outcome::Undecided, "why")));
    }
    insta::assert_snapshot!(drawn(&picture, frame(80, 24)));
}

#[test]
fn sixty_columns() {
    insta::assert_snapshot!(drawn(&midway(&Gate::COLUMNS), frame(60, 24)));
}

#[test]
fn forty_columns() {
    insta::assert_snapshot!(drawn(&midway(&Gate::COLUMNS), frame(40, 24)));
}

#[test]
fn no_size_breaks_a_line() {
    let picture = midway(&Gate::COLUMNS);
    for (width, height) in (2..130).flat_map(|width| [3, 5, 9, 24].map(|height| (width, height))) {
        drawn(&picture, frame(width, height));
    }
}

#[test]
fn where_lines_are_few_what_is_not_well_stays() {
    let mut picture = midway(&Gate::ALL);
    for name in NAMES {
        picture.take(&at(6, judged(name, Gate::Scan, Outcome::Passed, "nothing found")));
    }
    insta::assert_snapshot!(drawn(&picture, frame(80, 7)));
    let whole = Frame {
        last: true,
        ..frame(80, 7)
    };
    assert_eq!(
        drawn(&picture, whole).lines().count(),
        1 + NAMES.len(),
        "all of it at the end"
    );
}

#[test]
fn before_the_plan_there_is_one_line_and_after_the_run_none_under_the_table() {
    let mut picture = Picture::default();
    picture.take(&at(82_000, step("set-up", None)));
    assert_eq!(drawn(&picture, frame(80, 24)), "⠴ 1:23 (0:01) set-up");
    picture.take(&at(82_500, crates("compiling serde", 45, Some(219))));
    let line = "⠴ 1:23 (0:01) [##        ] set-up: 45 of 219 crates, compiling serde";
    assert_eq!(drawn(&picture, frame(80, 24)), line);
    assert_eq!(
        drawn(
            &picture,
            Frame {
                last: true,
                ..frame(80, 24)
            }
        ),
        ""
    );
}

#[test]
fn colour_takes_no_room() {
    let (plain, paint) = (frame(80, 24), Paint(true));
    let coloured = render(&midway(&Gate::ALL), Frame { paint, ..plain });
    let bare: Vec<String> = coloured
        .iter()
        .map(|line| console::strip_ansi_codes(line).into_owned())
        .collect();
    assert_eq!(bare, render(&midway(&Gate::ALL), plain));
    assert_ne!(bare, coloured);
}

#[test]
fn an_hour_has_hours() {
    assert_eq!(
        [clock(7_000), clock(754_000), clock(3_723_000)],
        ["0:07", "12:34", "1:02:03"]
    );
}
