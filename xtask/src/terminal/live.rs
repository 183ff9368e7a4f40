//! A table image x gate that stands on the terminal while a run goes on, and one line under it for what is under way.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::event::{Event, Judged};
use crate::verdict::{Gate, Outcome};

/// Nothing is drawn before the table is known.
#[derive(Debug, Default)]
pub(super) struct Live {
    table: Option<Table>,
}

#[derive(Debug)]
struct Table {
    bars: MultiProgress,
    header: ProgressBar,
    status: ProgressBar,
    rows: BTreeMap<String, Row>,
    columns: Vec<Gate>,
}

#[derive(Debug)]
struct Row {
    bar: ProgressBar,
    cells: BTreeMap<Gate, String>,
}

const NAME_WIDTH: usize = 20;
const CELL_WIDTH: usize = 10;

impl Live {
    pub(super) fn take(&mut self, event: &Event) {
        match (&mut self.table, event) {
            (table, Event::Planned { services, gates }) => *table = Some(Table::new(services, gates)),
            (Some(table), event) => table.take(event),
            (None, Event::Note { text }) => crate::report::say(text),
            (None, _) => {}
        }
    }

    /// Leaves the table standing as it is.
    pub(super) fn finish(&self) {
        let Some(table) = &self.table else { return };
        table.status.finish_and_clear();
        table.header.finish();
        table.rows.values().for_each(|row| row.bar.finish());
    }
}

impl Table {
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
        Table {
            bars,
            header,
            status,
            rows,
            columns: columns.to_vec(),
        }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::GateStarted { service, gate } => self.set(service, *gate, "…".to_owned()),
            Event::Judged(judged) => self.set(&judged.service, judged.gate, coloured(judged)),
            Event::StepStarted { step, .. } => self.status.set_message(step.clone()),
            Event::Progress(progress) => self.status.set_message(progress.text.clone()),
            Event::Note { text } => {
                let _ = self.bars.println(text);
            }
            _ => {}
        }
    }

    fn set(&mut self, service: &str, gate: Gate, cell: String) {
        if let Some(row) = self.rows.get_mut(service) {
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
fn coloured(judged: &Judged) -> String {
    let styled = console::style(&judged.word);
    match judged.outcome {
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

    #[test]
    fn colour_takes_no_room() {
        assert_eq!(padded("passed").len(), CELL_WIDTH);
        assert_eq!(
            console::measure_text_width(&padded("\u{1b}[32mpassed\u{1b}[0m")),
            CELL_WIDTH
        );
    }
}
