//! How far a bake is, by the lines that it prints: crates compiled, layers packed, bytes fetched. A file of its own:
//! what is told of a build decides nothing about the image, and so belongs to no image's key.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalogue::printed_size;
use crate::event::Progress;
use crate::plan::ImagePlan;

/// The command that compiles every dependency once.
const COOK: &str = "cargo chef cook";

#[derive(Debug, Default)]
pub struct Baking {
    /// How much of the build context was sent, as it is told.
    pub context_size: Option<String>,
    /// How many crates a step that compiles all of them compiles.
    crates: Option<u64>,
    /// Step number -> what it does.
    steps: BTreeMap<u64, Step>,
}

#[derive(Debug, Default)]
struct Step {
    /// Its words between brackets, e.g. `frontend cook 2/2`.
    name: String,
    compiles_all: bool,
    compiled: BTreeSet<String>,
}

impl Baking {
    /// Of a plan with these images: their crates are compiled once for all of them. (Cargo leaves out the few that turn
    /// out not to be used; where services are left out by name it compiles more than is known here.)
    pub fn of(images: &[ImagePlan]) -> Self {
        let crates = images.iter().flat_map(|image| image.inputs.features.keys());
        let crates = crates.collect::<BTreeSet<_>>().len() as u64;
        Baking {
            crates: Some(crates).filter(|count| *count > 0),
            ..Baking::default()
        }
    }

    /// What a line of plain output says of the progress, if it says anything.
    pub fn line(&mut self, line: &str) -> Option<Progress> {
        if let Some(size) = context_size(line) {
            self.context_size = Some(size.to_owned());
        }
        let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        let crates = self.crates;
        let step = self.steps.entry(number).or_default();
        if let Some((name, command)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            step.name = name.to_owned();
            step.compiles_all = command.contains(COOK);
            return Some(text(format!("[{name}]{}", short(command))));
        }
        if let Some((_, compiled)) = rest.split_once(" Compiling ") {
            let name = compiled.split(' ').next().unwrap_or(compiled);
            step.compiled.insert(compiled.trim().to_owned());
            let done = step.compiled.len() as u64;
            // What it compiles more than it was thought to is no reason to count beyond the end.
            let total = crates.filter(|total| step.compiles_all && done <= *total);
            return Some(counted(format!("compiling {name}"), done, total, "crates"));
        }
        if let Some((done, total)) = fetched(rest) {
            return Some(counted(
                format!("fetching [{}]", step.name),
                done,
                Some(total),
                "bytes",
            ));
        }
        rest.starts_with("exporting layers")
            .then(|| text(format!("[{}] packing layers", step.name)))
    }
}

/// The size of the build context, from the line that says that it was sent (`transferring context: 1.2MB done`).
fn context_size(line: &str) -> Option<&str> {
    let size = line
        .split_once("transferring context: ")?
        .1
        .split_whitespace()
        .next()?;
    // What is unchanged is not sent again, and the names alone are some bytes.
    (size.ends_with("kB") || size.ends_with("MB") || size.ends_with("GB")).then_some(size)
}

/// `sha256:0f3c... 10.49MB / 30.43MB 1.2s`: a layer on its way from a registry.
fn fetched(rest: &str) -> Option<(u64, u64)> {
    let words: Vec<&str> = rest.split(' ').collect();
    let [layer, done, "/", total, ..] = words[..] else {
        return None;
    };
    layer
        .starts_with("sha256:")
        .then_some((printed_size(done)?, printed_size(total)?))
}

/// The first word of a command, which says what kind of a step it is: `RUN`, `COPY`.
fn short(command: &str) -> String {
    command
        .split_whitespace()
        .next()
        .map(|word| format!(" {word}"))
        .unwrap_or_default()
}

fn text(text: String) -> Progress {
    Progress {
        text,
        ..Progress::default()
    }
}

fn counted(text: String, done: u64, total: Option<u64>, unit: &str) -> Progress {
    Progress {
        text,
        done: Some(done),
        total,
        unit: Some(unit.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baking(crates: u64) -> Baking {
        let crates = Some(crates);
        Baking {
            crates,
            ..Baking::default()
        }
    }

    #[test]
    fn crates_are_counted_by_step_and_against_the_total_where_all_are_compiled() {
        let mut baking = baking(2);
        let step =
            baking.line("#29 [workflow-engine cook 2/2] RUN --mount=type=secret cargo chef cook --release");
        assert_eq!(step.unwrap().text, "[workflow-engine cook 2/2] RUN");
        baking.line("#31 [a build 2/2] RUN cargo auditable build");
        let mut told = |line: &str| {
            let progress = baking.line(line).unwrap();
            (progress.text, progress.done, progress.total)
        };
        let compiling = |name: &str| format!("compiling {name}");
        assert_eq!(
            told("#29 12.34    Compiling axum v0.8.9"),
            (compiling("axum"), Some(1), Some(2))
        );
        assert_eq!(
            told("#31 1.1    Compiling kit v0.1.0 (/build/kit)"),
            (compiling("kit"), Some(1), None)
        );
        assert_eq!(
            told("#29 12.50    Compiling axum v0.7.0"),
            (compiling("axum"), Some(2), Some(2))
        );
        assert_eq!(
            told("#29 12.50    Compiling axum v0.7.0").1,
            Some(2),
            "the same one again"
        );
        assert_eq!(
            told("#29 12.60    Compiling more v1.0.0"),
            (compiling("more"), Some(3), None)
        );
    }

    #[test]
    fn layers_on_their_way_are_told_in_bytes() {
        let mut baking = baking(2);
        baking.line("#5 [a context rust:1.95] docker.io/library/rust");
        let told = baking.line("#5 sha256:0f3c 10.49MB / 30.43MB 1.2s").unwrap();
        assert_eq!((told.done, told.total), (Some(10_490_000), Some(30_430_000)));
        assert_eq!(told.text, "fetching [a context rust:1.95]");
        baking.line("#66 [frontend] exporting to image");
        assert_eq!(
            baking.line("#66 exporting layers").unwrap().text,
            "[frontend] packing layers"
        );
        assert_eq!(baking.line("#66 DONE 0.1s"), None);
        assert_eq!(baking.line("whatever"), None);
    }

    #[test]
    fn the_contexts_size_is_found() {
        assert_eq!(
            context_size("#7 transferring context: 812.31kB 0.1s done"),
            Some("812.31kB")
        );
        assert_eq!(context_size("#7 transferring context: 2B done"), None);
        assert_eq!(context_size("#7 DONE 0.1s"), None);
    }
}
