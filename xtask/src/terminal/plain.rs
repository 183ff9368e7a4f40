//! Plain lines, for a log: one an event, with the seconds since the run began. What takes long says that it began, and
//! now and then how far it is. On GitHub the lines of a gate are a group that folds.

use super::picture::{Picture, key};
use super::table::clock;
use super::{clean, github};
use crate::event::{Event, Judged, Line};
use crate::verdict::{Gate, Outcome};

/// What is over sooner is not said to have begun.
const WORTH_SAYING_MS: u64 = 2_000;
/// How long a log stays silent.
const SILENCE_MS: u64 = 30_000;
/// The step whose lines are a group of their own.
const SET_UP: &str = "set-up";

#[derive(Debug, Default)]
pub(super) struct Plain {
    picture: Picture,
    /// Steps and programs as well, with their times.
    verbose: bool,
    github: bool,
    /// The group that is open on GitHub.
    group: Option<String>,
    /// What was last said to be under way.
    announced: Option<String>,
    spoke_ms: u64,
}

impl Plain {
    pub(super) fn new(verbose: bool, github: bool) -> Self {
        Plain {
            verbose,
            github,
            ..Plain::default()
        }
    }

    /// The lines that an event is worth.
    pub(super) fn take(&mut self, line: &Line) -> Vec<String> {
        let mut lines = self.regroup(&line.event);
        let text = self.text(line);
        if let Some(text) = text {
            self.spoke_ms = line.at_ms;
            lines.push(format!("{} {text}", stamp(line.at_ms)));
        }
        self.picture.take(line);
        lines
    }

    fn text(&self, line: &Line) -> Option<String> {
        match &line.event {
            Event::RunStarted { run_id, command, at } => Some(format!("{command}: run {run_id}, {at:.0}")),
            // What was left out is told once, as a note.
            Event::Judged(judged) if judged.outcome == Outcome::Skipped => None,
            Event::Judged(judged) => Some(verdict(judged)),
            // What follows the first line is marked: it may be a program's, and begin like one of GitHub's words.
            Event::Note { text } => Some(text.lines().map(clean).collect::<Vec<_>>().join("\n  | ")),
            Event::StepStarted { step, gate } if self.verbose => Some(format!("{}{step} begins", of(*gate))),
            Event::StepEnded { step, gate } => self.ended(step, *gate, line.at_ms),
            Event::GateStarted { service, gate } if self.verbose => {
                Some(format!("{:<8}{service:<24}begins", gate.name()))
            }
            Event::ProgramStarted { line } if self.verbose => Some(format!("$ {}", clean(line))),
            Event::ProgramEnded { line, ended, took_ms } if self.verbose => {
                let program = clean(&line.split(' ').take(3).collect::<Vec<_>>().join(" "));
                Some(format!(
                    "# {program}: {ended} after {:.1} s",
                    *took_ms as f64 / 1000.0
                ))
            }
            _ => None,
        }
    }

    /// The end of a step is worth a line where its beginning was.
    fn ended(&self, step: &str, gate: Option<Gate>, at_ms: u64) -> Option<String> {
        let begun = self.picture.began(step, gate)?;
        let told = self.announced == Some(key(step, gate));
        let seconds = at_ms.saturating_sub(begun) as f64 / 1000.0;
        (self.verbose || told).then(|| format!("{}{step} ended after {seconds:.1} s", of(gate)))
    }

    /// Time went by: the lines that this is worth.
    pub(super) fn tick(&mut self, now_ms: u64) -> Vec<String> {
        let Some(under_way) = self.picture.under_way() else {
            return Vec::new();
        };
        let took = now_ms.saturating_sub(under_way.since_ms);
        let is_new = self.announced.as_ref() != Some(&under_way.key);
        let words = if took >= WORTH_SAYING_MS && is_new {
            format!("{} …", under_way.words())
        } else if now_ms.saturating_sub(self.spoke_ms) >= SILENCE_MS {
            format!("{} ({} so far)", under_way.words(), clock(took))
        } else {
            return Vec::new();
        };
        self.spoke_ms = now_ms;
        self.announced = Some(under_way.key);
        vec![format!("{} {words}", stamp(now_ms))]
    }

    /// Closes the group that is open: what comes now must not be folded away.
    pub(super) fn finish(&mut self) -> Vec<String> {
        self.group
            .take()
            .map(|_| github::END.to_owned())
            .into_iter()
            .collect()
    }

    /// A program's own line. None of them speaks to GitHub.
    pub(super) fn echo(&self, line: &str) -> String {
        let speaks = line.trim_start().starts_with("::") || line.contains("##[");
        match self.github && speaks {
            true => format!("| {}", line.replace("##[", "## [")),
            false => line.to_owned(),
        }
    }

    /// The lines that close one group and open the next, where an event belongs to another one.
    fn regroup(&mut self, event: &Event) -> Vec<String> {
        let wanted = match event {
            // It is worth no line.
            Event::Judged(judged) if judged.outcome == Outcome::Skipped => return Vec::new(),
            Event::GateStarted { gate, .. } => Some(gate.name().to_owned()),
            Event::Judged(judged) => Some(judged.gate.name().to_owned()),
            Event::StepStarted { gate: Some(gate), .. } => Some(gate.name().to_owned()),
            Event::StepStarted { step, gate: None } if step == SET_UP => Some(step.clone()),
            Event::StepStarted { gate: None, .. } if self.group.as_deref() != Some(SET_UP) => None,
            Event::StepEnded { step, gate: None } if step == SET_UP => None,
            _ => return Vec::new(),
        };
        if !self.github || wanted == self.group {
            return Vec::new();
        }
        let mut lines = self.finish();
        lines.extend(wanted.iter().map(|name| github::group(name)));
        self.group = wanted;
        lines
    }
}

fn of(gate: Option<Gate>) -> String {
    gate.map(|gate| format!("{}: ", gate.name())).unwrap_or_default()
}

fn stamp(at_ms: u64) -> String {
    format!("[{:>6.1}s]", at_ms as f64 / 1000.0)
}

fn verdict(judged: &Judged) -> String {
    let seconds = judged.took_ms as f64 / 1000.0;
    let (service, gate, word) = (&judged.service, judged.gate.name(), &judged.word);
    let reason = clean(&judged.reason);
    format!("{gate:<8}{service:<24}{word:<10}{seconds:>6.1} s  {reason}")
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::{at, begun, crates, judged, step};
    use super::*;

    /// Everything that a run says in lines; a number is a tick of the clock.
    fn told(plain: &mut Plain, happens: Vec<(u64, Option<Event>)>) -> String {
        let mut lines = Vec::new();
        for (at_ms, event) in happens {
            lines.extend(match event {
                Some(event) => plain.take(&at(at_ms, event)),
                None => plain.tick(at_ms),
            });
        }
        lines.extend(plain.finish());
        lines.join("\n")
    }

    fn ended(step: &str) -> Event {
        let step = step.to_owned();
        Event::StepEnded { step, gate: None }
    }

    fn note(text: &str) -> Event {
        Event::Note {
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_quick_step_says_nothing_and_a_long_one_how_far_it_is() {
        let happens = vec![
            (0, Some(step("planning", None))),
            (1_000, None),
            (1_100, Some(ended("planning"))),
            (1_200, Some(begun("frontend", Gate::Build))),
            (2_200, None),
            (3_200, None),
            (4_200, Some(crates("compiling serde", 45, Some(219)))),
            (20_000, None),
            (33_200, None),
            (34_200, None),
            (
                40_000,
                Some(judged("frontend", Gate::Build, Outcome::Passed, "1f2e")),
            ),
            (41_000, Some(step("cleaning up", None))),
            (44_000, None),
            (45_000, Some(ended("cleaning up"))),
        ];
        insta::assert_snapshot!(told(&mut Plain::new(false, false), happens), @r"
        [   3.2s] build: frontend …
        [  33.2s] build: frontend: 45 of 219 crates, compiling serde (0:32 so far)
        [  40.0s] build   frontend                passed       0.0 s  1f2e
        [  44.0s] cleaning up …
        [  45.0s] cleaning up ended after 4.0 s
        ");
    }

    #[test]
    fn images_that_follow_each_other_are_not_announced_one_by_one() {
        let passed = |name: &str| judged(name, Gate::Boot, Outcome::Passed, "287 ms");
        let happens = vec![
            (0, Some(begun("a", Gate::Boot))),
            (2_000, None),
            (5_000, Some(passed("a"))),
            (5_000, Some(begun("b", Gate::Boot))),
            (9_000, None),
            (10_000, Some(passed("b"))),
        ];
        insta::assert_snapshot!(told(&mut Plain::new(false, false), happens), @r"
        [   2.0s] boot: a …
        [   5.0s] boot    a                       passed       0.0 s  287 ms
        [  10.0s] boot    b                       passed       0.0 s  287 ms
        ");
    }

    #[test]
    fn on_github_each_gate_is_a_group_and_the_end_is_outside_of_it() {
        let happens = vec![
            (0, Some(step("set-up", None))),
            (5, Some(note("setup: nothing to do"))),
            (6, Some(ended("set-up"))),
            (7, Some(note("registries answer"))),
            (7, Some(judged("b", Gate::Boot, Outcome::Skipped, "left out"))),
            (8, Some(begun("a", Gate::Lint))),
            (9, Some(judged("a", Gate::Lint, Outcome::Violated, "a root user"))),
            (10, Some(begun("a", Gate::Network))),
            (11, Some(step("stories", Some(Gate::Network)))),
            (12, Some(judged("a", Gate::Network, Outcome::Passed, "6 edges"))),
        ];
        insta::assert_snapshot!(told(&mut Plain::new(false, true), happens), @r"
        ::group::set-up
        [   0.0s] setup: nothing to do
        ::endgroup::
        [   0.0s] registries answer
        ::group::lint
        [   0.0s] lint    a                       violated     0.0 s  check: a root user
        ::endgroup::
        ::group::network
        [   0.0s] network a                       passed       0.0 s  6 edges
        ::endgroup::
        ");
    }

    #[test]
    fn verbose_tells_steps_and_programs_with_their_times() {
        let line = "docker buildx bake".to_owned();
        let ended_ = Event::ProgramEnded {
            line: line.clone(),
            ended: "exit status: 0".into(),
            took_ms: 1_500,
        };
        let happens = vec![
            (0, Some(step("planning", None))),
            (1, Some(Event::ProgramStarted { line })),
            (1_501, Some(ended_)),
            (1_600, Some(ended("planning"))),
            (1_700, Some(begun("a", Gate::Lint))),
        ];
        insta::assert_snapshot!(told(&mut Plain::new(true, false), happens), @r"
        [   0.0s] planning begins
        [   0.0s] $ docker buildx bake
        [   1.5s] # docker buildx bake: exit status: 0 after 1.5 s
        [   1.6s] planning ended after 1.6 s
        [   1.7s] lint    a                       begins
        ");
    }

    #[test]
    fn what_programs_say_cannot_draw_nor_speak_to_github() {
        let happens = vec![(0, Some(note("bad \u{1b}[2Jname\u{7}\r!\n::error::x")))];
        assert_eq!(
            told(&mut Plain::new(false, false), happens),
            "[   0.0s] bad name!\n  | ::error::x"
        );
        let github = Plain::new(false, true);
        let echoed =
            ["::error::x", "  ::group::y", "##[error]z", "test a::b ... ok"].map(|line| github.echo(line));
        assert_eq!(
            echoed,
            [
                "| ::error::x",
                "|   ::group::y",
                "| ## [error]z",
                "test a::b ... ok"
            ]
        );
        assert_eq!(Plain::new(false, false).echo("::error::x"), "::error::x");
    }
}
