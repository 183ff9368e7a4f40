//! `cargo xtask selftest`: every gate against what it must catch. Fixtures are built and judged as services are;
//! each must be caught by the very check that is meant, and nothing else may be wrong with it.

mod binary;
mod checkout;
mod database;
mod fixture;
mod matrix;
mod scene;
mod scenes;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, stream};

use crate::bases;
use crate::cli::{Format, SelftestOptions};
use crate::context::Context;
use crate::engine::Lease;
use crate::event::Progress;
use crate::exit::{Exit, Failure};
use crate::report;
use crate::setup;
use crate::verdict::Gate;
use matrix::{Matrix, Row};
use scene::Scene;

/// The folder of the fixtures' checkouts, inside the run's; swept with the run.
pub const CHECKOUTS: &str = "checkouts";

/// How many scenes are played at a time: most of them wait for somebody.
const SIDE_BY_SIDE: usize = 3;

/// Plays every scene (or those that were named) and prints the matrix.
///
/// # Errors
/// Where a scene cannot be set up: exit 3, nothing was judged then.
pub async fn run(context: &Context, options: &SelftestOptions) -> Result<Exit> {
    context.create_run_dir()?;
    let bases = bases::resolve(context, context.options.bases).await?;
    if context.options.setup {
        setup::provision(context, &bases).await?;
    }
    let engine = context.engine().await?;
    let lease = Lease::take(&Lease::dir(), &context.run_id, context.estate(Some(&engine)))?;
    let played = play(context, options).await;
    let _ = std::fs::remove_dir_all(context.run_dir.join(CHECKOUTS));
    // Fixtures' images carry the run's id: they go with it.
    if engine.sweep(&context.run_id).await.is_ok() {
        lease.end();
    }
    if let Some(signal) = context.interrupted() {
        return Ok(signal);
    }
    // All that judge must have fixtures, a gate that is added later too; where some were left out, nobody knows.
    let mut gates = Gate::COLUMNS.to_vec();
    gates.retain(|gate| options.only.is_empty() && *gate != Gate::Build);
    let matrix = Matrix::new(played?, &gates);
    show(context, options, &matrix)?;
    Ok(if matrix.held() {
        Exit::Passed
    } else {
        Exit::Violated
    })
}

async fn play(context: &Context, options: &SelftestOptions) -> Result<Vec<Row>> {
    let folder = context.run_dir.join(CHECKOUTS);
    std::fs::create_dir_all(&folder).context("cannot make a folder for the fixtures")?;
    let program = binary::compile(context, &folder).await?;
    let all = scenes::all(&context.run_id);
    let asked = |scene: &&Scene| {
        options.only.is_empty() || options.only.iter().any(|word| scene.name.contains(word.as_str()))
    };
    let asked: Vec<&Scene> = all.iter().filter(asked).collect();
    if asked.is_empty() {
        let names: Vec<&str> = all.iter().map(|scene| scene.name).collect();
        let what = format!(
            "--only: no scene's name has '{}' in it",
            options.only.join("' or '")
        );
        return Err(Failure::usage(what, format!("scenes: {}", names.join(", "))).into());
    }
    let (total, board) = (asked.len() as u64, &context.board);
    let mut asked: Vec<(usize, &Scene)> = asked.into_iter().enumerate().collect();
    // The longest first: none is left over for the end.
    asked.sort_by_key(|(_, scene)| Reverse(scene.cases.len()));
    let plays = asked.into_iter().map(|(place, scene)| {
        let own = folder.join(scene.name);
        let program = &program;
        async move {
            let played = scene.play(context, program, &own, options.blind).await;
            played
                .map(|rows| (place, rows))
                .with_context(|| format!("the scene '{}'", scene.name))
        }
    });
    let mut plays = stream::iter(plays).buffer_unordered(SIDE_BY_SIDE);
    let _under_way = board.step("playing scenes");
    let mut rows = BTreeMap::new();
    for done in 1.. {
        let Some(played) = plays.next().await else { break };
        let (place, played) = played?;
        played.iter().for_each(|row| board.echo(&line(row)));
        rows.insert(place, played);
        board.progress(Progress {
            done: Some(done),
            total: Some(total),
            unit: Some("scenes".to_owned()),
            ..Progress::default()
        });
    }
    Ok(rows.into_values().flatten().collect())
}

fn line(row: &Row) -> String {
    let held = if row.held { "held" } else { "FAILED" };
    // Within a scene of its own, or among others of its gate.
    let name = format!("{}: {}", row.scene, row.fixture);
    let mut line = format!("{held:<8}{name:<48}{}", row.expected);
    if !row.held {
        line.push_str(&format!("\n        found: {}", row.found));
    }
    line
}

fn show(context: &Context, options: &SelftestOptions, matrix: &Matrix) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = context.run_dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let json = serde_json::to_string_pretty(matrix)?;
    write("selftest.json", &json)?;
    write("selftest.md", &matrix.markdown())?;
    if context.options.format == Format::Json {
        report::say(&json);
        return Ok(());
    }
    for (gate, lost) in &matrix.weakened {
        report::say(&format!(
            "without {:<10}{} would get through",
            gate.name(),
            lost.len()
        ));
    }
    if let Some(gate) = options.blind {
        report::say(&format!("the {} gate was blinded on purpose", gate.name()));
    }
    report::say(&format!(
        "{}; {}",
        matrix.summary(),
        context.shown(&context.run_dir.join("selftest.md"))
    ));
    Ok(())
}
