//! `cargo xtask test`: the tests of both workspaces on real stores, and one closing line that adds them up.

use std::io::Write;

use anyhow::Result;

use crate::bases;
use crate::context::Context;
use crate::engine::{Engine, Lease};
use crate::exit::{Exit, Failure};
use crate::process::{self, Call};
use crate::setup;
use crate::tool::cargo::TestSummary;

/// Runs every test. Stores come from the same images as the gates use; a test that needs an engine and finds
/// none fails and says so.
pub async fn run(context: &Context, arguments: &[String]) -> Result<Exit> {
    context.create_run_dir()?;
    let bases = bases::resolve(context, context.options.bases).await?;
    if context.options.setup {
        setup::provision(context, &bases).await?;
    }
    let engine = Engine::connect().await.ok();
    let lease = Lease::take(&Lease::dir(), &context.run_id, context.estate(engine.as_ref()))?;
    let mut summary = TestSummary::default();
    let mut all_well = true;
    for manifest in ["Cargo.toml", "xtask/Cargo.toml"] {
        let mut call = call(manifest, arguments)
            .cwd(&context.root)
            .deadline_s(3600)
            .log(context.log("test"));
        for (role, image) in &bases.images {
            call = call.env(&format!("HORME_{}_IMAGE", role.to_uppercase()), image.clone());
        }
        let output = process::run_observed(context, &call, |line| {
            summary.add_line(line);
            let _ = writeln!(std::io::stdout(), "{line}");
        })
        .await?;
        all_well &= output.success();
    }
    if let Ok(engine) = Engine::connect().await
        && engine.sweep(&context.run_id).await.is_ok()
    {
        lease.end();
    }
    crate::report::say(&format!(
        "{} passed, {} failed, {} skipped",
        summary.passed, summary.failed, summary.ignored
    ));
    if let Some(signal) = context.interrupted() {
        return Ok(signal);
    }
    if all_well && summary.failed == 0 && summary.passed > 0 {
        return Ok(Exit::Passed);
    }
    Err(Failure::violated(
        "tests failed",
        format!("the whole log: {}", context.shown(&context.log("test"))),
    )
    .into())
}

fn call(manifest: &str, arguments: &[String]) -> Call {
    let mut argv: Vec<String> = [
        "cargo",
        "test",
        "--locked",
        "--workspace",
        "--no-fail-fast",
        "--manifest-path",
        manifest,
    ]
    .map(Into::into)
    .to_vec();
    if !arguments.is_empty() {
        argv.push("--".to_owned());
        argv.extend(arguments.iter().cloned());
    }
    Call::new(argv)
}
