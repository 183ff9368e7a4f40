//! What a person sees while a run goes on: a live table image x gate on a terminal, plain lines otherwise.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::Format;
use crate::report::say;
use crate::verdict::{Gate, Outcome, Record};

/// The board of one run. Every method may be called from several tasks at once.
#[derive(Debug)]
pub struct Board {
    started: Instant,
    face: Face,
}

#[derive(Debug)]
enum Face {
    /// `--format json`: nothing but the report.
    Silent,
    /// Not a terminal, or `CI` is set: one line an event.
    Lines,
    Live(Box<Live>),
}

#[derive(Debug)]
struct Live {
    bars: MultiProgress,
    header: ProgressBar,
    status: ProgressBar,
    rows: Mutex<BTreeMap<String, Row>>,
    columns: Vec<Gate>,
}

#[derive(Debug)]
struct Row {
    bar: ProgressBar,
    cells: BTreeMap<Gate, String>,
}

/// Whether standard output is a real terminal that may be drawn on.
pub fn is_live() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("CI").is_none()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

const NAME_WIDTH: usize = 20;
const CELL_WIDTH: usize = 10;

impl Board {
    /// A board for these services, with a column for each gate. Live only on a real terminal outside CI.
    pub fn new(format: Format, services: &[String], columns: &[Gate], started: Instant) -> Self {
        let face = match (format, !is_live()) {
            (Format::Json, _) => Face::Silent,
            (Format::Human, true) => Face::Lines,
            (Format::Human, false) => Face::Live(Box::new(Live::new(services, columns))),
        };
        Board { started, face }
    }

    /// A board that nobody looks at.
    pub fn silent() -> Self {
        Board {
            started: Instant::now(),
            face: Face::Silent,
        }
    }

    /// A gate begins to look at an image.
    pub fn begin(&self, service: &str, gate: Gate) {
        if let Face::Live(live) = &self.face {
            live.set(service, gate, "…".to_owned());
        }
    }

    /// A verdict is in.
    pub fn judged(&self, record: &Record) {
        match &self.face {
            Face::Silent => {}
            // What was left out is told once, as a note.
            Face::Lines if record.outcome == Outcome::Skipped => {}
            Face::Lines => say(&self.line(record)),
            Face::Live(live) => live.set(&record.service, record.gate, coloured(record)),
        }
    }

    /// A word on the long step that is under way. Not printed as a line of its own.
    pub fn progress(&self, word: &str) {
        if let Face::Live(live) = &self.face {
            live.status.set_message(word.to_owned());
        }
    }

    /// Something that the reader should know, whatever the face.
    pub fn note(&self, text: &str) {
        match &self.face {
            Face::Silent => {}
            Face::Lines => say(&format!("{} {text}", self.clock())),
            Face::Live(live) => {
                let _ = live.bars.println(text);
            }
        }
    }

    /// Leaves the table standing as it is.
    pub fn finish(&self) {
        if let Face::Live(live) = &self.face {
            live.status.finish_and_clear();
            live.header.finish();
            for row in live.rows.lock().unwrap_or_else(PoisonError::into_inner).values() {
                row.bar.finish();
            }
        }
    }

    fn clock(&self) -> String {
        format!("[{:>6.1}s]", self.started.elapsed().as_secs_f64())
    }

    fn line(&self, record: &Record) -> String {
        let reason = record.reason_with_origin();
        let seconds = record.took_ms as f64 / 1000.0;
        let (service, gate, word) = (&record.service, record.gate.name(), record.word());
        let mut line = format!(
            "{} {gate:<8}{service:<24}{word:<10}{seconds:>6.1} s  {reason}",
            self.clock()
        );
        if matches!(record.outcome, Outcome::Violated | Outcome::Undecided) {
            let bad = record
                .checks
                .iter()
                .filter(|check| check.outcome == record.outcome);
            if let Some(hint) = bad.filter_map(|check| check.hint.as_ref()).next() {
                line.push_str(&format!("\n          hint: {hint}"));
            }
        }
        line
    }
}

impl Live {
    fn new(services: &[String], columns: &[Gate]) -> Self {
        let bars = MultiProgress::new();
        let plain = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let spinner =
            ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}").unwrap_or_else(|_| plain.clone());
        let header = bars.add(ProgressBar::new_spinner().with_style(plain.clone()));
        let names = columns.iter().map(|gate| format!("{:<CELL_WIDTH$}", gate.name()));
        header.set_message(format!("{:<NAME_WIDTH$}{}", "image", names.collect::<String>()));
        header.tick();
        let mut rows = BTreeMap::new();
        for service in services {
            let bar = bars.add(ProgressBar::new_spinner().with_style(plain.clone()));
            let row = Row {
                bar,
                cells: BTreeMap::new(),
            };
            row.draw(service, columns);
            rows.insert(service.clone(), row);
        }
        let status = bars.add(ProgressBar::new_spinner().with_style(spinner));
        status.enable_steady_tick(Duration::from_millis(120));
        Live {
            bars,
            header,
            status,
            rows: Mutex::new(rows),
            columns: columns.to_vec(),
        }
    }

    fn set(&self, service: &str, gate: Gate, cell: String) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.get_mut(service) {
            row.cells.insert(gate, cell);
            row.draw(service, &self.columns);
        }
    }
}

impl Row {
    fn draw(&self, service: &str, columns: &[Gate]) {
        let name = console::truncate_str(service, NAME_WIDTH - 1, "…");
        let cells = columns
            .iter()
            .map(|gate| padded(self.cells.get(gate).map_or("·", String::as_str)));
        self.bar
            .set_message(format!("{name:<NAME_WIDTH$}{}", cells.collect::<String>()));
        self.bar.tick();
    }
}

/// A cell filled up to its width; colour codes take no room.
fn padded(cell: &str) -> String {
    let width = console::measure_text_width(cell);
    format!("{cell}{}", " ".repeat(CELL_WIDTH.saturating_sub(width)))
}

/// The words carry the meaning; colour is only an extra, and `NO_COLOR` is honoured by `console`.
fn coloured(record: &Record) -> String {
    let styled = console::style(record.word());
    match record.outcome {
        Outcome::Passed => styled.green(),
        Outcome::Skipped => styled.dim(),
        Outcome::Undecided => styled.yellow(),
        Outcome::Violated => styled.red().bold(),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Check;

    #[test]
    fn a_line_names_gate_service_verdict_and_remedy() {
        let board = Board {
            started: Instant::now(),
            face: Face::Lines,
        };
        let check = Check::violated("over budget", "17 MB", "make it smaller");
        let line = board.line(&Record::from_checks("frontend", Gate::Budget, vec![check], ""));
        let (_, rest) = line.split_once("] ").unwrap();
        assert_eq!(
            rest,
            "budget  frontend                violated     0.0 s  over budget: 17 MB\n          hint: make it smaller"
        );
    }

    #[test]
    fn colour_takes_no_room() {
        assert_eq!(padded("passed").len(), CELL_WIDTH);
        assert_eq!(
            console::measure_text_width(&padded("\u{1b}[32mpassed\u{1b}[0m")),
            CELL_WIDTH
        );
    }
}
