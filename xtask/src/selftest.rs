//! `cargo xtask selftest`: every gate against what it must catch. Fixtures are built and judged as services are;
//! each must be caught by the very check that is meant, and nothing else may be wrong with it.

mod binary;
mod checkout;
mod database;
mod fixture;
mod matrix;
mod scene;
mod scenes;

use anyhow::{Context as _, Result};

use crate::bases;
use crate::cli::{Format, SelftestOptions};
use crate::context::Context;
use crate::engine::{Engine, Lease};
use crate::exit::Exit;
use crate::report;
use crate::setup;
use crate::verdict::Gate;
use matrix::{Matrix, Row};

/// The gates that have fixtures: all that judge.
const GATES: [Gate; 6] = [
    Gate::Lint,
    Gate::Scan,
    Gate::Budget,
    Gate::Boot,
    Gate::Network,
    Gate::Faults,
];

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
    let engine = Engine::connect().await?;
    let lease = Lease::take(&Lease::dir(), &context.run_id, context.estate(Some(&engine)))?;
    let played = play(context, options).await;
    // Fixtures' images carry the run's id: they go with it.
    if engine.sweep(&context.run_id).await.is_ok() {
        lease.end();
    }
    if let Some(signal) = context.interrupted() {
        return Ok(signal);
    }
    let matrix = Matrix::new(played?, if options.only.is_empty() { &GATES } else { &[] });
    show(context, options, &matrix)?;
    Ok(if matrix.held() {
        Exit::Passed
    } else {
        Exit::Violated
    })
}

async fn play(context: &Context, options: &SelftestOptions) -> Result<Vec<Row>> {
    let folder = tempfile::Builder::new().prefix("horme-selftest-").tempdir();
    let folder = folder.context("cannot make a folder for the fixtures")?;
    let program = binary::compile(context, folder.path()).await?;
    let mut rows = Vec::new();
    for scene in scenes::all(&context.run_id) {
        if !options.only.is_empty() && !options.only.iter().any(|name| scene.name.contains(name.as_str())) {
            continue;
        }
        let own = folder.path().join(scene.name);
        let played = scene.play(context, &program, &own, options.blind);
        let played = played
            .await
            .with_context(|| format!("the scene '{}'", scene.name))?;
        if context.options.format == Format::Human {
            played.iter().for_each(|row| report::say(&line(row)));
        }
        rows.extend(played);
        if context.interrupted().is_some() {
            break;
        }
    }
    Ok(rows)
}

fn line(row: &Row) -> String {
    let held = if row.held { "held" } else { "FAILED" };
    let mut line = format!("{held:<8}{:<28}{}", row.fixture, row.expected);
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
