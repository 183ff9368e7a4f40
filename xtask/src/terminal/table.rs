//! The table image x gate as lines of text, for a terminal of any size: pure, so that every size can be looked at.

use console::{measure_text_width, truncate_str};

use super::clean;
use super::colour::Paint;
use super::picture::{Cell, Picture};
use crate::verdict::{Gate, Outcome};

/// What is drawn, and onto what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Columns and lines of the terminal.
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) now_ms: u64,
    pub(super) paint: Paint,
    /// The run is over: all of the table, and nothing under it.
    pub(super) last: bool,
}

/// How much a cell says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wording {
    Word,
    Short,
    Letter,
}

/// Widths of the columns, in characters.
#[derive(Debug)]
struct Layout {
    wording: Wording,
    gap: usize,
    name: usize,
    cells: Vec<usize>,
    /// What is left for a reason at the end of a row; nothing where that is too little to read.
    reason: usize,
}

const SPINNER: [char; 8] = ['⠋', '⠙', '⠸', '⠴', '⠦', '⠇', '⠏', '⠉'];
/// No reason is read in less.
const REASON_MIN: usize = 20;

/// The lines; none is wider than the terminal has columns left of its last one, and while the run goes on there are
/// fewer of them than it has lines.
pub(super) fn render(picture: &Picture, frame: Frame) -> Vec<String> {
    let mut lines = Vec::new();
    let room = frame.width.saturating_sub(1).max(1);
    // In less there is room for what is under way alone.
    let has_room = frame.last || frame.height > 4;
    if !picture.services.is_empty() && has_room {
        let layout = Layout::fit(picture, frame, room);
        let (shown, left_out) = rows(picture, frame);
        lines.push(layout.header(picture));
        lines.extend(shown.iter().map(|service| layout.row(picture, service, frame)));
        lines.extend(left_out.map(|words| frame.paint.faint(&words)));
    }
    if !frame.last {
        lines.extend(status(picture, frame));
    }
    let cut = |line: &String| truncate_str(line, room, "…").into_owned();
    lines.iter().map(cut).collect()
}

impl Layout {
    /// The most that fits: whole words first, then narrower gaps and names, then shorter words, then letters.
    fn fit(picture: &Picture, frame: Frame, room: usize) -> Self {
        let longest = picture.services.iter().map(|name| measure_text_width(name)).max();
        let longest = longest.unwrap_or_default().clamp(5, 40);
        let tries = [
            (Wording::Word, 2, longest),
            (Wording::Word, 2, longest.min(16)),
            (Wording::Word, 1, longest.min(16)),
            (Wording::Short, 1, longest.min(12)),
        ];
        let fits = |(wording, gap, name_min)| {
            let layout = Layout::new(picture, frame, wording, gap);
            (layout.taken() + name_min <= room).then_some(layout)
        };
        let found = tries.into_iter().find_map(fits);
        let mut layout = found.unwrap_or_else(|| Layout::new(picture, frame, Wording::Letter, 1));
        layout.name = room.saturating_sub(layout.taken()).clamp(1, longest);
        let left = room.saturating_sub(layout.taken() + layout.name + 2);
        layout.reason = if left >= REASON_MIN { left } else { 0 };
        layout
    }

    fn new(picture: &Picture, frame: Frame, wording: Wording, gap: usize) -> Self {
        let widest = |gate: &Gate| {
            let cells = picture
                .services
                .iter()
                .map(|service| shown(picture, service, *gate, frame, wording));
            let words = cells.map(|(word, _)| measure_text_width(&word));
            let head = measure_text_width(&head(*gate, wording));
            // Room for the longest usual word, so that columns do not move as verdicts come in.
            words
                .max()
                .unwrap_or_default()
                .max(head)
                .max(if wording == Wording::Word { 6 } else { head })
        };
        Layout {
            wording,
            gap,
            name: 0,
            cells: picture.gates.iter().map(widest).collect(),
            reason: 0,
        }
    }

    /// By the cells and their gaps.
    fn taken(&self) -> usize {
        self.cells.iter().map(|cell| cell + self.gap).sum()
    }

    fn header(&self, picture: &Picture) -> String {
        let mut line = padded(&truncate_str("image", self.name, ""), self.name);
        for (gate, width) in picture.gates.iter().zip(&self.cells) {
            line.push_str(&" ".repeat(self.gap));
            line.push_str(&padded(&head(*gate, self.wording), *width));
        }
        line.trim_end().to_owned()
    }

    fn row(&self, picture: &Picture, service: &str, frame: Frame) -> String {
        let mut line = padded(&truncate_str(service, self.name, "…"), self.name);
        for (gate, width) in picture.gates.iter().zip(&self.cells) {
            let (word, outcome) = shown(picture, service, *gate, frame, self.wording);
            let word = outcome.map_or(word.clone(), |outcome| frame.paint.verdict(&word, outcome));
            line.push_str(&" ".repeat(self.gap));
            line.push_str(&padded(&word, *width));
        }
        if let Some(foremost) = picture.foremost(service).filter(|_| self.reason > 0) {
            let gate = format!("{}: ", foremost.gate.name());
            let reason = foremost.reason.strip_prefix(&gate).unwrap_or(&foremost.reason);
            let words = clean(&format!("{gate}{reason}"));
            let words = truncate_str(&words, self.reason, "…").into_owned();
            line.push_str(&format!("  {}", frame.paint.faint(&words)));
        }
        line.trim_end().to_owned()
    }
}

fn head(gate: Gate, wording: Wording) -> String {
    match wording {
        Wording::Letter => gate.name().chars().take(3).collect(),
        Wording::Word | Wording::Short => gate.name().to_owned(),
    }
}

/// A cell's word, and its outcome where it has one.
fn shown(
    picture: &Picture,
    service: &str,
    gate: Gate,
    frame: Frame,
    wording: Wording,
) -> (String, Option<Outcome>) {
    match picture.cell(service, gate) {
        None => ("·".to_owned(), None),
        Some(Cell::Begun { at_ms }) => {
            let seconds = frame.now_ms.saturating_sub(*at_ms) / 1000;
            let told = wording == Wording::Word && !frame.last && seconds > 0;
            (
                if told {
                    format!("… {seconds}s")
                } else {
                    "…".to_owned()
                },
                None,
            )
        }
        Some(Cell::Judged { judged, .. }) => (abbreviated(&judged.word, wording), Some(judged.outcome)),
    }
}

fn abbreviated(word: &str, wording: Wording) -> String {
    let short = match word {
        "passed" => "pass",
        "reused" => "reuse",
        "skipped" => "skip",
        "undecided" => "undec",
        "violated" => "viol",
        other => other,
    };
    match wording {
        Wording::Word => word.to_owned(),
        Wording::Short => short.to_owned(),
        // A capital, to be told from the dots.
        Wording::Letter => short.chars().take(1).collect::<String>().to_uppercase(),
    }
}

/// The rows that the terminal has lines for, in the table's order, and words for the others: what is not well comes
/// first, then what is under way, then what is still to come.
fn rows(picture: &Picture, frame: Frame) -> (Vec<&str>, Option<String>) {
    let all: Vec<&str> = picture.services.iter().map(String::as_str).collect();
    // Header, status, and the line that the cursor stands on.
    let lines = frame.height.saturating_sub(3).max(1);
    if frame.last || all.len() <= lines {
        return (all, None);
    }
    let mut ranked = all.clone();
    ranked.sort_by_key(|service| rank(picture, service));
    let (first, rest) = ranked.split_at(lines.saturating_sub(1));
    let count = |rank_: usize| {
        rest.iter()
            .filter(|service| rank(picture, service) == rank_)
            .count()
    };
    let words = ["not well", "under way", "to come", "done"].iter().enumerate();
    let words = words
        .map(|(at, word)| (count(at), word))
        .filter(|(count, _)| *count > 0);
    let words: Vec<String> = words.map(|(count, word)| format!("{count} {word}")).collect();
    let kept = all.iter().copied().filter(|service| first.contains(service));
    (
        kept.collect(),
        Some(format!("and {} more: {}", rest.len(), words.join(", "))),
    )
}

/// 0 not well, 1 under way, 2 to come, 3 done.
fn rank(picture: &Picture, service: &str) -> usize {
    let cells = || picture.gates.iter().map(|gate| picture.cell(service, *gate));
    let is_bad = picture
        .foremost(service)
        .is_some_and(|judged| judged.outcome > Outcome::Skipped);
    if is_bad {
        0
    } else if cells().any(|cell| matches!(cell, Some(Cell::Begun { .. }))) {
        1
    } else if cells().any(|cell| cell.is_none()) {
        2
    } else {
        3
    }
}

/// `⠙ 1:23  build 0:58: all 6 images: 45 of 219 crates, compiling serde`.
fn status(picture: &Picture, frame: Frame) -> Option<String> {
    let under_way = picture.under_way()?;
    let spinner = SPINNER[(frame.now_ms / 120) as usize % SPINNER.len()];
    let took = frame.now_ms.saturating_sub(under_way.since_ms);
    let of_it = if took >= 1000 && under_way.since_ms >= 1000 {
        format!(" ({})", clock(took))
    } else {
        String::new()
    };
    let bar = under_way
        .share
        .map(|(done, total)| bar(done, total))
        .unwrap_or_default();
    Some(format!(
        "{spinner} {}{of_it} {bar}{}",
        clock(frame.now_ms),
        under_way.words()
    ))
}

/// Ten characters, `[####      ] `.
fn bar(done: u64, total: u64) -> String {
    let filled = (done.min(total) * 10).checked_div(total).unwrap_or_default() as usize;
    format!("[{}{}] ", "#".repeat(filled), " ".repeat(10 - filled))
}

/// `0:07`, `12:34`, `1:02:03`.
pub(super) fn clock(ms: u64) -> String {
    let (minutes, seconds) = (ms / 60_000, ms / 1000 % 60);
    match minutes {
        0..60 => format!("{minutes}:{seconds:02}"),
        _ => format!("{}:{:02}:{seconds:02}", minutes / 60, minutes % 60),
    }
}

/// A cell filled up to its width; colour codes take no room.
fn padded(cell: &str, width: usize) -> String {
    let taken = measure_text_width(cell);
    format!("{cell}{}", " ".repeat(width.saturating_sub(taken)))
}

#[cfg(test)]
mod tests;
