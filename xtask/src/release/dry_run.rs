//! `release --dry-run`: the exact plan, and everything that forbids it. Nothing is written, neither here nor in the
//! registry: it is asked only what it has.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::opening;
use super::plan;
use super::preconditions::{self, Prepared};
use crate::cli::{Format, ReleaseOptions};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::report;

/// # Errors
/// As the release itself would end, with everything that forbids it.
pub async fn run(context: &Context, options: &ReleaseOptions) -> Result<Exit> {
    // Images that are still in the engine alone are laid down for as long as it is asked what of them is there.
    let staging = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut prepared = preconditions::look(context, options, &staging.path().join("images")).await?;
    let waiting = opening::in_the_way(context, options, &prepared.settings).into_iter();
    prepared.problems.extend(waiting.map(preconditions::failure));
    if context.options.format == Format::Json {
        report::say(&serde_json::to_string_pretty(&document(&prepared))?);
        return Ok(worst(&prepared.problems));
    }
    if let Some(plan) = &prepared.plan {
        report::say(plan::describe(plan).trim_end());
        report::say("");
    }
    for note in &prepared.notes {
        report::say(&format!("note: {note}"));
    }
    preconditions::refuse(&prepared.problems)?;
    report::say("nothing forbids it; nothing was touched (--dry-run)");
    Ok(Exit::Passed)
}

fn worst(problems: &[Failure]) -> Exit {
    let exits = problems.iter().map(|problem| problem.exit);
    exits.fold(Exit::Passed, Exit::worst)
}

fn document(prepared: &Prepared) -> Value {
    let problem = |problem: &Failure| {
        let (what, hint) = (&problem.what, &problem.hint);
        json!({ "exit_code": problem.exit.code(), "what": what, "hint": hint })
    };
    json!({
        "plan": prepared.plan,
        "problems": prepared.problems.iter().map(problem).collect::<Vec<_>>(),
        "notes": prepared.notes,
    })
}
