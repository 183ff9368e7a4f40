//! `cargo xtask test`: the tests of both workspaces on real stores, and one closing line that adds them up.

use anyhow::Result;

use crate::bases;
use crate::context::Context;
use crate::engine::{Engine, Lease};
use crate::event::{Event, Progress};
use crate::exit::{Exit, Failure};
use crate::process::{self, Call};
use crate::report;
use crate::setup;
use crate::tool::cargo::TestSummary;

/// The two workspaces: what a reader calls them, and their manifests.
const WORKSPACES: [(&str, &str); 2] = [
    ("tests of the services", "Cargo.toml"),
    ("tests of the pipeline", "xtask/Cargo.toml"),
];

/// Runs every test. Stores come from the same images as the gates use; a test that needs an engine and finds
/// none fails and says so.
pub async fn run(context: &Context, arguments: &[String]) -> Result<Exit> {
    context.create_run_dir()?;
    context.begin("test");
    let board = &context.board;
    let planning = board.step("planning");
    let bases = bases::resolve(context, context.options.bases).await?;
    drop(planning);
    if context.options.setup {
        let _under_way = board.step("set-up");
        setup::provision(context, &bases).await?;
    }
    let engine = Engine::connect().await.ok();
    let lease = Lease::take(&Lease::dir(), &context.run_id, context.estate(engine.as_ref()))?;
    let mut all = Tally::default();
    let mut all_well = true;
    for (name, manifest) in WORKSPACES {
        let _under_way = board.step(name);
        let mut call = call(manifest, arguments)
            .cwd(&context.root)
            .deadline_s(3600)
            .log(context.log("test"));
        for (role, image) in &bases.images {
            call = call.env(&format!("HORME_{}_IMAGE", role.to_uppercase()), image.clone());
        }
        let output = process::run_observed(context, &call, |line| {
            if let Some(progress) = all.line(line) {
                board.progress(progress);
            }
            board.echo(line);
        });
        all_well &= output.await?.success();
    }
    if let Ok(engine) = Engine::connect().await
        && engine.sweep(&context.run_id).await.is_ok()
    {
        lease.end();
    }
    Ok(ended(context, &all, all_well))
}

/// What a reader is told at the end, and how the run ends.
fn ended(context: &Context, all: &Tally, all_well: bool) -> Exit {
    let summary = &all.summary;
    let well = all_well && summary.failed == 0 && summary.passed > 0;
    let exit = match context.interrupted() {
        Some(signal) => signal,
        None if well => Exit::Passed,
        None => Exit::Violated,
    };
    context.board.finish();
    if exit == Exit::Violated {
        let hint = format!("the whole log: {}", context.shown(&context.log("test")));
        let failure = anyhow::Error::from(Failure::violated(all.failure(), hint));
        context.board.tell(Event::error(&failure));
        report::complain(&crate::exit::explain(&failure).1);
    }
    let closing = format!(
        "{} passed, {} failed, {} skipped",
        summary.passed, summary.failed, summary.ignored
    );
    context.end(exit.code(), &closing, &closing);
    exit
}

/// What the tests came to so far, by the lines that cargo prints.
#[derive(Debug, Default)]
struct Tally {
    summary: TestSummary,
    /// Crates compiled, then tests run.
    compiled: u64,
    run: u64,
    /// Names of tests that failed.
    failed: Vec<String>,
}

impl Tally {
    fn line(&mut self, line: &str) -> Option<Progress> {
        self.summary.add_line(line);
        let counted = |text: &str, done: u64, unit: &str| Progress {
            text: text.to_owned(),
            done: Some(done),
            total: None,
            unit: Some(unit.to_owned()),
        };
        if let Some(name) = line.trim_start().strip_prefix("Compiling ") {
            self.compiled += 1;
            let name = name.split(' ').next().unwrap_or(name);
            return Some(counted(&format!("compiling {name}"), self.compiled, "crates"));
        }
        let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        self.run += 1;
        if end == "FAILED" {
            self.failed.push(name.to_owned());
        }
        Some(counted(name, self.run, "tests"))
    }

    fn failure(&self) -> String {
        match self.failed.len() {
            0 => "tests failed".to_owned(),
            _ => format!("tests failed: {}", self.failed.join(", ")),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_and_tests_are_counted_and_failures_named() {
        let mut all = Tally::default();
        let compiling = all.line("   Compiling kit v0.1.0 (/x/services/kit)").unwrap();
        assert_eq!(
            (compiling.text.as_str(), compiling.done),
            ("compiling kit", Some(1))
        );
        let said = "running 2 tests\ntest a::b ... ok\ntest c ... FAILED\n\
                    test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured";
        let told: Vec<Progress> = said.lines().filter_map(|line| all.line(line)).collect();
        assert_eq!((told.len(), told[1].done), (2, Some(2)));
        assert_eq!(all.failure(), "tests failed: c");
        assert_eq!((all.summary.passed, all.summary.failed), (1, 1));
    }
}
