//! Taking samples: a program's time, two sides in turn, and our own command as a user types it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::row::Samples;
use crate::cli::BasesMode;
use crate::context::Context;
use crate::process::{self, Call, Output};
use crate::report::{self, Report};

/// Longer than a cold build on a slow machine, in seconds.
pub const DEADLINE_S: u64 = 3600;

/// Runs a program to its end; what it said, and how long it took in seconds.
///
/// # Errors
/// Any other end than status 0.
pub async fn run(context: &Context, call: &Call) -> Result<(f64, Output)> {
    let begun = Instant::now();
    let output = process::run_ok(context, call).await?;
    Ok((begun.elapsed().as_secs_f64(), output))
}

/// How long a program takes, in seconds.
pub async fn timed(context: &Context, call: &Call) -> Result<f64> {
    Ok(run(context, call).await?.0)
}

/// Ours, theirs, ours, theirs: whatever slows the machine down meets both sides. Each is handed the number of
/// the sample, from 0, and returns seconds.
pub async fn in_turn(
    repeat: usize,
    mut ours: impl AsyncFnMut(usize) -> Result<f64>,
    mut theirs: impl AsyncFnMut(usize) -> Result<f64>,
) -> Result<Samples> {
    let mut samples = Samples::default();
    for number in 0..repeat {
        samples.ours.push(ours(number).await?);
        samples.theirs.push(theirs(number).await?);
    }
    Ok(samples)
}

/// `cargo xtask <words>` in the checkout, as a user types it. Settings come by the environment, so that
/// they are the same in every run of the benchmark.
pub fn xtask(root: &Path, bases: BasesMode, words: &[&str]) -> Call {
    let argv = ["cargo", "xtask"].iter().chain(words);
    let bases = bases.to_possible_value();
    let bases = bases.map_or_else(String::new, |value| value.get_name().to_owned());
    Call::new(argv)
        .cwd(root)
        .env("HORME_FORMAT", "human")
        .env("HORME_BASES", bases)
        .deadline_s(DEADLINE_S)
}

/// The report of a run of ours that printed its closing line.
///
/// # Errors
/// No such line, or no report.
pub fn report_of(context: &Context, stdout: &str) -> Result<Report> {
    let run_id = run_id(stdout).context("the run did not say where its report lies")?;
    let folder = context.root.join("reports").join(run_id);
    report::read(&folder.join("report.json"))
}

/// The run's id in its closing line (`...; exit 0 after 12.3 s; reports/<run-id>`).
fn run_id(stdout: &str) -> Option<&str> {
    let last = stdout
        .lines()
        .rev()
        .find_map(|line| line.rsplit_once("; reports/"));
    last.map(|(_, run_id)| run_id.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_names_the_run() {
        let stdout = "a note; reports/old\n6 passed; exit 0 after 4.1 s; reports/20261121-101500-abcd\n";
        assert_eq!(run_id(stdout), Some("20261121-101500-abcd"));
        assert_eq!(run_id("nothing"), None);
    }

    #[test]
    fn our_command_is_the_one_that_a_user_types() {
        let call = xtask(Path::new("/checkout"), BasesMode::Local, &["scan", "--fresh"]);
        assert_eq!(call.shown(), "cargo xtask scan --fresh");
        assert_eq!(call.env["HORME_BASES"], "local");
    }

    #[tokio::test]
    async fn the_sides_take_turns() {
        let order = std::cell::RefCell::new(Vec::new());
        let side = async |name: &'static str, number: usize| {
            order.borrow_mut().push((name, number));
            Ok(number as f64)
        };
        let ours = async |number| side("ours", number).await;
        let theirs = async |number| side("theirs", number).await;
        let samples = in_turn(2, ours, theirs).await.unwrap();
        assert_eq!((samples.ours, samples.theirs), (vec![0.0, 1.0], vec![0.0, 1.0]));
        assert_eq!(
            order.into_inner(),
            [("ours", 0), ("theirs", 0), ("ours", 1), ("theirs", 1)]
        );
    }

    #[tokio::test]
    async fn the_first_failure_ends_the_case() {
        let ours = async |number| if number == 1 { anyhow::bail!("no") } else { Ok(1.0) };
        let ended = in_turn(3, ours, async |_| Ok(1.0)).await;
        assert_eq!(ended.unwrap_err().to_string(), "no");
    }
}
