//! A table that stands on the terminal while a run goes on, drawn in place a few times a second, and one line under it
//! for what is under way. What a reader must keep (a note) is printed above it.

use console::{Term, measure_text_width};

use super::colour::Paint;
use super::picture::Picture;
use super::table::{Frame, render};
use super::{broken, clean};
use crate::event::{Event, Line};
use crate::report::say_raw;

#[derive(Debug)]
pub(super) struct Live {
    picture: Picture,
    paint: Paint,
    /// The lines that stand on the terminal now.
    drawn: Vec<String>,
    over: bool,
}

impl Live {
    pub(super) fn new(paint: Paint) -> Self {
        Live {
            picture: Picture::default(),
            paint,
            drawn: Vec::new(),
            over: false,
        }
    }

    pub(super) fn take(&mut self, line: &Line) {
        self.picture.take(line);
        match &line.event {
            Event::Note { text } => {
                let lines = text.lines().map(|line| broken(&clean(line), 0, Some(width())));
                self.print(&lines.collect::<Vec<_>>().join("\n"), line.at_ms);
            }
            // Whoever prints next must not find a line that tells of it still.
            Event::StepEnded { .. } => self.tick(line.at_ms),
            _ => {}
        }
    }

    /// Prints lines that stay, above the table.
    pub(super) fn print(&mut self, text: &str, now_ms: u64) {
        let width = width();
        let lines: String = text.lines().map(|line| format!("{}\n", clean(line))).collect();
        say_raw(&format!("{}{lines}", erased(&self.drawn, width)));
        self.drawn.clear();
        if !self.over {
            self.draw(now_ms, false);
        }
    }

    /// Draws what changed.
    pub(super) fn tick(&mut self, now_ms: u64) {
        if !self.over {
            self.draw(now_ms, false);
        }
    }

    /// Leaves the table standing as it is.
    pub(super) fn finish(&mut self, now_ms: u64) {
        if !self.over {
            self.draw(now_ms, true);
            self.over = true;
            // It stands from here on: what is printed now comes below it.
            self.drawn.clear();
        }
    }

    fn draw(&mut self, now_ms: u64, last: bool) {
        let (height, width) = Term::stdout().size_checked().unwrap_or((24, 80));
        let (height, width) = (usize::from(height), usize::from(width));
        let paint = self.paint;
        let frame = Frame {
            width,
            height,
            now_ms,
            paint,
            last,
        };
        let lines = render(&self.picture, frame);
        if lines != self.drawn {
            let text: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
            say_raw(&format!("{}{text}", erased(&self.drawn, width)));
            self.drawn = lines;
        }
    }
}

fn width() -> usize {
    Term::stdout()
        .size_checked()
        .map_or(80, |(_, width)| usize::from(width))
}

/// What takes the cursor to the first of the lines that stand there and clears all below. A terminal that became
/// narrower has broken them into more lines than were drawn.
fn erased(drawn: &[String], width: usize) -> String {
    let broken = |line: &String| measure_text_width(line).div_ceil(width.max(1)).max(1);
    match drawn.iter().map(broken).sum::<usize>() {
        0 => String::new(),
        lines => format!("\r\x1b[{lines}A\x1b[J"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_a_narrower_terminal_broke_are_erased_too() {
        let drawn = [
            "x".repeat(79),
            "\u{1b}[32mpassed\u{1b}[0m".to_owned(),
            String::new(),
        ];
        assert_eq!(erased(&drawn, 80), "\r\u{1b}[3A\u{1b}[J");
        assert_eq!(erased(&drawn, 40), "\r\u{1b}[4A\u{1b}[J");
        assert_eq!(erased(&[], 40), "");
    }
}
