//! What a person, or a program, sees while a run goes on. Every event of a run goes through its [`Board`], which
//! keeps the timeline and `events.jsonl` and hands it to one face: a live table, plain lines, or JSON.

mod colour;
pub mod github;
mod live;
mod picture;
mod plain;
mod table;
mod text;

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

pub use colour::{Paint, When};
pub use text::{broken, clean, error_width, width};

use crate::cli::{Format, Look};
use crate::event::{self, Event, Judged, Line, Progress, Span};
use crate::report::say;
use crate::verdict::{Gate, Record};

/// The board of one run. Every method may be called from several tasks at once.
#[derive(Debug)]
pub struct Board {
    shared: Arc<Shared>,
    look: Look,
    paint: Paint,
    /// Its end ends the clock.
    _clock: Sender<()>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    face: Face,
    /// All events but details.
    told: Vec<Line>,
    file: Option<File>,
}

#[derive(Debug)]
enum Face {
    /// Nobody looks, or only at the end (`--quiet`).
    Silent,
    /// `--format json`: one event a line.
    Json {
        verbose: bool,
        /// When progress was last told: not more than once a second.
        progress_ms: Option<u64>,
    },
    /// Not a terminal, or `CI` is set, or `--verbose`: one line an event.
    Plain(Box<plain::Plain>),
    Live(Box<live::Live>),
}

/// Whether standard output is a real terminal that may be drawn on.
fn is_live() -> bool {
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
    pub fn new(format: Format, look: Look) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let paint = Paint::decide(look.color, variable, std::io::stdout().is_terminal());
        let face = match format {
            Format::Json => Face::Json {
                verbose: look.verbose,
                progress_ms: None,
            },
            Format::Human if look.quiet => Face::Silent,
            Format::Human if is_live() && !look.verbose => Face::Live(Box::new(live::Live::new(paint))),
            Format::Human => Face::Plain(Box::new(plain::Plain::new(look.verbose, github::is_github()))),
        };
        Self::with(face, look, paint)
    }

    /// A board that nobody looks at.
    pub fn silent() -> Self {
        Self::with(Face::Silent, Look::default(), Paint::default())
    }

    fn with(face: Face, look: Look, paint: Paint) -> Self {
        let every = match &face {
            Face::Live(_) => Some(Duration::from_millis(120)),
            Face::Plain(_) => Some(Duration::from_secs(1)),
            Face::Silent | Face::Json { .. } => None,
        };
        let state = State {
            face,
            told: Vec::new(),
            file: None,
        };
        let shared = Arc::new(Shared {
            started: Instant::now(),
            state: Mutex::new(state),
        });
        let (clock, stopped) = channel();
        if let Some(every) = every {
            let board = Arc::downgrade(&shared);
            std::thread::spawn(move || tick(&board, &stopped, every));
        }
        Board {
            shared,
            look,
            paint,
            _clock: clock,
        }
    }

    pub fn paint(&self) -> Paint {
        self.paint
    }

    pub fn look(&self) -> Look {
        self.look
    }

    /// Writes every event from here on into a file, too. Where that cannot be, it is left out. The file is locked
    /// for as long as the run lives: whoever finds it without a report knows whether it was killed.
    pub fn write_to(&self, path: &Path) {
        let file = File::options().create(true).append(true).open(path).ok();
        self.shared.state().file = file.inspect(|file| drop(file.try_lock()));
    }

    pub fn tell(&self, event: Event) {
        let line = Line {
            at_ms: self.shared.now_ms(),
            event,
        };
        let mut state = self.shared.state();
        state.face.take(&line);
        if line.event.is_detail() {
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

    /// A line of an answer, as it is.
    pub fn line(&self, text: &str) {
        if matches!(self.shared.state().face, Face::Json { .. }) {
            self.note(text);
        } else {
            say(text);
        }
    }

    /// A program's own line for a person, as it is; a program that reads events looks into the log.
    pub fn echo(&self, line: &str) {
        let now_ms = self.shared.now_ms();
        match &mut self.shared.state().face {
            Face::Plain(plain) => say(&plain.echo(line)),
            Face::Live(live) => live.print(line, now_ms),
            Face::Silent | Face::Json { .. } => {}
        }
    }

    /// Where the time went until now.
    pub fn timeline(&self) -> Vec<Span> {
        event::timeline(&self.shared.state().told, self.shared.now_ms())
    }

    /// Leaves the table standing as it is, and folds nothing away from here on.
    pub fn finish(&self) {
        let now_ms = self.shared.now_ms();
        match &mut self.shared.state().face {
            Face::Live(live) => live.finish(now_ms),
            Face::Plain(plain) => plain.finish().iter().for_each(|line| say(line)),
            Face::Silent | Face::Json { .. } => {}
        }
    }
}

/// What did not come to its end leaves no half of a table behind.
impl Drop for Board {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The clock of a board: what is under way takes longer and longer, whether something happens or not.
fn tick(board: &Weak<Shared>, stopped: &Receiver<()>, every: Duration) {
    while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let Some(shared) = board.upgrade() else { return };
        let now_ms = shared.now_ms();
        match &mut shared.state().face {
            Face::Live(live) => live.tick(now_ms),
            Face::Plain(plain) => plain.tick(now_ms).iter().for_each(|line| say(line)),
            Face::Silent | Face::Json { .. } => return,
        }
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Face {
    fn take(&mut self, line: &Line) {
        match self {
            Face::Silent => {}
            Face::Json { verbose, progress_ms } => {
                if is_worth_a_line(line, *verbose, progress_ms) {
                    event::say(line);
                }
            }
            Face::Plain(plain) => plain.take(line).iter().for_each(|text| say(text)),
            Face::Live(live) => live.take(line),
        }
    }
}

fn is_worth_a_line(line: &Line, verbose: bool, progress_ms: &mut Option<u64>) -> bool {
    match &line.event {
        Event::Progress(_) => {
            let is_due = progress_ms.is_none_or(|told| line.at_ms >= told + 1000);
            if is_due {
                *progress_ms = Some(line.at_ms);
            }
            is_due
        }
        event => verbose || !event.is_detail(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_once_a_second_and_programs_where_asked_for() {
        let at = |at_ms, event| Line { at_ms, event };
        let progress = |at_ms| at(at_ms, Event::Progress(Progress::default()));
        let mut told = None;
        let due: Vec<bool> = [0, 999, 1_000, 1_500, 2_100]
            .map(|ms| is_worth_a_line(&progress(ms), false, &mut told))
            .to_vec();
        assert_eq!(due, [true, false, true, false, true]);
        let program = at(
            0,
            Event::ProgramStarted {
                line: "docker".into(),
            },
        );
        assert!(!is_worth_a_line(&program, false, &mut told));
        assert!(is_worth_a_line(&program, true, &mut told));
    }

    #[test]
    fn details_are_in_no_timeline() {
        let board = Board::silent();
        let step = board.step("planning");
        board.progress(Progress::default());
        drop(step);
        assert_eq!(board.shared.state().told.len(), 2);
        assert_eq!(board.timeline()[0].step, "planning");
    }
}
