//! `test --in-image`: the target `ci` of every service, in one bake: the services' tests inside the images' own build
//! environment, without network, and the lines that they ran.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Tally;
use super::coverage::Coverage;
use crate::build::fitness;
use crate::context::Context;
use crate::exit::Failure;
use crate::plan::Plan;
use crate::planning;
use crate::process;
use crate::report;
use crate::tool::bake;
use crate::verdict::Gate;

/// The stages: where the tests are run, and what they leave.
const RUN: &str = "ci";
const LEFT: &str = "coverage";
/// The target that takes it out: no crate's name.
const LEFT_TARGET: &str = "coverage--";
/// What marks a run of the tests: they are run once for each.
const MARK: &str = "TESTS_RUN";
const LIMIT_S: u64 = 3600;

/// Runs them, and tells the coverage. Whether all was well.
///
/// # Errors
/// Exit 2: an unknown service. Exit 3: the build could not be made.
pub(super) async fn tests(context: &Context, all: &mut Tally) -> Result<bool> {
    let engine = context.engine().await?;
    let board = &context.board;
    let planning = board.step("planning");
    let catalogue = planning::read_catalogue(context).await?;
    let (plan, notes) = planning::work_out(context, &catalogue, &[Gate::Build]).await?;
    drop(planning);
    notes.iter().for_each(|note| board.note(note));
    fitness::refuse_unfit(context, &engine, &plan).await?;
    let folder = context.run_dir.join(LEFT);
    let (file, log) = (context.run_dir.join("bake.json"), context.log("test"));
    let definition = definition(context, &plan, &folder);
    std::fs::write(&file, serde_json::to_vec_pretty(&definition)?).context("cannot write bake.json")?;
    let call = bake::export_call(&file).log(&log).deadline_s(LIMIT_S);
    let under_way = board.step("tests inside the images' build");
    let running = process::run_observed(context, &call, |line| {
        let line = said(line);
        if let Some(progress) = all.line(line) {
            board.progress(progress);
        }
        if line.starts_with("test ") {
            board.echo(line);
        }
    });
    let output = engine.watched(running).await?;
    drop(under_way);
    if output.success() {
        tell(context, &folder).await;
        return Ok(true);
    }
    if !bake::failed_in_what_is_built(&output.stderr) {
        let what = format!("the tests could not be run:\n{}", output.last_lines(6));
        let hint = format!("the whole log: {}", context.shown(&log));
        return Err(Failure::undecided(what, hint).into());
    }
    report::complain(&bake::said_by_failed_step(&output.stderr, 40));
    Ok(false)
}

/// Every service's target `ci`, and what the tests left in it to `folder`. Services that share the stage, which they
/// all do as they come, share the run.
fn definition(context: &Context, plan: &Plan, folder: &Path) -> Value {
    let mut definition = bake::definition(&context.root, plan, &plan.images, "");
    let mut left = None;
    let targets = definition.get_mut("target").and_then(Value::as_object_mut);
    for (_, target) in targets.into_iter().flatten() {
        target["target"] = json!(RUN);
        target["tags"] = json!([]);
        target["output"] = json!(["type=cacheonly"]);
        target["args"][MARK] = json!(context.run_id);
        left.get_or_insert_with(|| target.clone());
    }
    if let Some(mut left) = left {
        left["target"] = json!(LEFT);
        left["output"] = json!([format!("type=local,dest={}", folder.display())]);
        definition["target"][LEFT_TARGET] = left;
        if let Some(names) = definition["group"]["default"]["targets"].as_array_mut() {
            names.push(json!(LEFT_TARGET));
        }
    }
    definition
}

/// A line of a build's step (`#12 3.456 test a ... ok`) as the step said it.
fn said(line: &str) -> &str {
    let step = line.strip_prefix('#').and_then(|rest| rest.split_once(' '));
    match step.and_then(|(_, rest)| rest.split_once(' ')) {
        Some((time, said)) if time.contains('.') && time.parse::<f64>().is_ok() => said,
        _ => line,
    }
}

/// Writes `coverage.lcov`, `coverage.json` and `coverage.md` into the run's folder, and tells the figures. No figure is
/// no failure: it judges nothing.
async fn tell(context: &Context, folder: &Path) {
    let (from, root, to) = (folder.to_owned(), context.root.clone(), context.run_dir.clone());
    let read = tokio::task::spawn_blocking(move || -> Result<Coverage> {
        let coverage = Coverage::read(&from, &root)?;
        let json = json!({ "crates": coverage.by_crate(), "in_all": coverage.in_all() });
        std::fs::write(to.join("coverage.lcov"), coverage.lcov())?;
        std::fs::write(to.join("coverage.json"), serde_json::to_vec_pretty(&json)?)?;
        std::fs::write(to.join("coverage.md"), coverage.table())?;
        Ok(coverage)
    });
    // A panic of the parser's is an answer, too.
    let read = read.await.map_err(anyhow::Error::from).and_then(|read| read);
    let _ = std::fs::remove_dir_all(folder);
    let board = &context.board;
    match read {
        Ok(coverage) => {
            for (name, lines) in coverage.by_crate() {
                board.line(&format!(
                    "coverage {name:<24} {:>7}  {} of {} lines",
                    lines.percent(),
                    lines.covered,
                    lines.all
                ));
            }
            let all = coverage.in_all();
            board.line(&format!(
                "coverage {:<24} {:>7}  {} of {} lines",
                "in all",
                all.percent(),
                all.covered,
                all.all
            ));
        }
        Err(error) => board.note(&format!("no coverage can be told: {error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_s_line_is_read_without_its_number_and_time() {
        assert_eq!(said("#23 12.34 test a::b ... ok"), "test a::b ... ok");
        assert_eq!(said("#23 [ci 1/1] RUN x"), "#23 [ci 1/1] RUN x");
        assert_eq!(said("ERROR: failed"), "ERROR: failed");
    }
}
