//! What a person, or a program, sees while a run goes on. Every event of a run goes through its [`Board`], which
//! keeps the timeline and `events.jsonl` and hands it to one face: a live table, plain lines, or JSON.

mod live;
mod plain;

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::cli::Format;
use crate::event::{self, Event, Judged, Line, Progress, Span};
use crate::report::say;
use crate::verdict::{Gate, Record};

/// The board of one run. Every method may be called from several tasks at once.
#[derive(Debug)]
pub struct Board {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    face: Face,
    /// All events but progress.
    told: Vec<Line>,
    file: Option<File>,
}

#[derive(Debug)]
enum Face {
    /// Nobody looks.
    Silent,
    /// `--format json`: one event a line.
    Json,
    /// Not a terminal, or `CI` is set: one line an event.
    Plain,
    Live(Box<live::Live>),
}

/// Whether standard output is a real terminal that may be drawn on.
pub fn is_live() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("CI").is_none()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A step that is under way; it ends where this is dropped.
#[must_use = "the step ends where this is dropped"]
#[derive(Debug)]
pub struct Step<'a> {
    board: &'a Board,
    step: String,
    gate: Option<Gate>,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let (step, gate) = (std::mem::take(&mut self.step), self.gate);
        self.board.tell(Event::StepEnded { step, gate });
    }
}

impl Board {
    pub fn new(format: Format) -> Self {
        Self::with(match (format, is_live()) {
            (Format::Json, _) => Face::Json,
            (Format::Human, true) => Face::Live(Box::default()),
            (Format::Human, false) => Face::Plain,
        })
    }

    /// A board that nobody looks at.
    pub fn silent() -> Self {
        Self::with(Face::Silent)
    }

    fn with(face: Face) -> Self {
        let state = State {
            face,
            told: Vec::new(),
            file: None,
        };
        Board {
            started: Instant::now(),
            state: Mutex::new(state),
        }
    }

    /// Writes every event from here on into a file, too. Where that cannot be, it is left out. The file is locked
    /// for as long as the run lives: whoever finds it without a report knows whether it was killed.
    pub fn write_to(&self, path: &Path) {
        let file = File::create(path).ok();
        self.state().file = file.inspect(|file| drop(file.try_lock()));
    }

    pub fn tell(&self, event: Event) {
        let at_ms = self.started.elapsed().as_millis() as u64;
        let line = Line { at_ms, event };
        let mut state = self.state();
        state.face.take(&line);
        if matches!(line.event, Event::Progress(_)) {
            return;
        }
        if let (Some(file), Ok(text)) = (&mut state.file, serde_json::to_string(&line)) {
            let _ = writeln!(file, "{text}");
        }
        state.told.push(line);
    }

    /// A part of the run begins.
    pub fn step(&self, step: &str) -> Step<'_> {
        self.step_of(None, step)
    }

    /// A part of a gate that looks at the whole stack begins.
    pub fn step_in(&self, gate: Gate, step: &str) -> Step<'_> {
        self.step_of(Some(gate), step)
    }

    fn step_of(&self, gate: Option<Gate>, step: &str) -> Step<'_> {
        let step = step.to_owned();
        self.tell(Event::StepStarted {
            step: step.clone(),
            gate,
        });
        Step {
            board: self,
            step,
            gate,
        }
    }

    /// A gate begins to look at an image.
    pub fn begin(&self, service: &str, gate: Gate) {
        let service = service.to_owned();
        self.tell(Event::GateStarted { service, gate });
    }

    /// A verdict is in.
    pub fn judged(&self, record: &Record) {
        self.tell(Event::Judged(Judged::of(record)));
    }

    pub fn progress(&self, progress: Progress) {
        self.tell(Event::Progress(progress));
    }

    /// Something that the reader should know, whatever the face.
    pub fn note(&self, text: &str) {
        let text = text.to_owned();
        self.tell(Event::Note { text });
    }

    /// Where the time went until now.
    pub fn timeline(&self) -> Vec<Span> {
        let now_ms = self.started.elapsed().as_millis() as u64;
        event::timeline(&self.state().told, now_ms)
    }

    /// Leaves the table standing as it is.
    pub fn finish(&self) {
        if let Face::Live(live) = &self.state().face {
            live.finish();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Face {
    fn take(&mut self, line: &Line) {
        match self {
            Face::Silent => {}
            Face::Json => {
                if let Ok(text) = serde_json::to_string(line) {
                    say(&text);
                }
            }
            Face::Plain => {
                if let Some(text) = plain::line(line) {
                    say(&text);
                }
            }
            Face::Live(live) => live.take(&line.event),
        }
    }
}
