//! `cargo xtask test`: the tests of both workspaces on real stores, and one closing line that adds them up.

mod coverage;
mod in_image;

use anyhow::Result;

use crate::bases::{self, Bases};
use crate::cli::TestOptions;
use crate::context::Context;
use crate::engine::Lease;
use crate::event::Progress;
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

/// How long a workspace may compile, and how long its tests may run, in seconds.
const DEADLINE_S: u64 = 3600;

/// By which Rust's test runner knows how many tests it may run at a time.
const THREADS: &str = "RUST_TEST_THREADS";

/// Runs every test. Stores come from the same images as the gates use; a test that needs an engine and finds
/// none fails and says so.
pub async fn run(context: &Context, options: &TestOptions) -> Result<Exit> {
    context.create_run_dir()?;
    context.begin("test");
    let mut all = Tally::default();
    let done = tests(context, options, &mut all).await;
    Ok(ended(context, &all, &options.args, done))
}

/// Runs every test, and sweeps what they left however they ended. Whether both workspaces were well.
async fn tests(context: &Context, options: &TestOptions, all: &mut Tally) -> Result<bool> {
    let board = &context.board;
    let planning = board.step("planning");
    let bases = bases::resolve(context, context.options.bases).await?;
    drop(planning);
    if context.options.setup {
        let _under_way = board.step("set-up");
        setup::provision(context, &bases).await?;
        // Where it cannot be had, the tests of signatures fail and say so; the others need none.
        if let Err(error) = setup::cosign(context).await {
            board.note(&format!("set-up: {error:#}"));
        }
    }
    context.refuse_faulty_engine()?;
    let engine = context.engine().await.ok();
    let lease = Lease::take(&Lease::dir(), &context.run_id, context.estate(engine.as_ref()))?;
    let done = if options.in_image {
        in_image::tests(context, all).await
    } else {
        workspaces(context, &bases, &options.args, all).await
    };
    if let Ok(engine) = context.engine().await
        && engine.sweep(&context.run_id).await.is_ok()
    {
        lease.end();
    }
    done
}

/// How many tests run at a time, unless the variable says it: most of them wait, for containers and programs.
fn threads() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::env::var(THREADS).unwrap_or_else(|_| (2 * processors).to_string())
}

async fn workspaces(context: &Context, bases: &Bases, arguments: &[String], all: &mut Tally) -> Result<bool> {
    let board = &context.board;
    let mut all_well = true;
    for (name, manifest) in WORKSPACES {
        let _under_way = board.step(name);
        // What compiling takes is not taken from the tests' time.
        let mut well = true;
        for call in [building(manifest), running(manifest, arguments)] {
            let mut call = call
                .cwd(&context.root)
                .env(THREADS, threads())
                .deadline_s(DEADLINE_S)
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
            well = output.await?.success();
            if !well {
                break;
            }
        }
        all_well &= well;
    }
    Ok(all_well)
}

/// What a reader is told at the end, and how the run ends.
fn ended(context: &Context, all: &Tally, arguments: &[String], done: Result<bool>) -> Exit {
    let log = context.shown(&context.log("test"));
    let ended = done.and_then(|all_well| all.judged(all_well, arguments, &log).map_err(Into::into));
    context.board.finish();
    let exit = ended.map_or_else(|error| report::told(context, &error), |()| Exit::Passed);
    let summary = &all.summary;
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

    /// # Errors
    /// Exit 1: a test failed, or did not compile. Exit 2: the words that were passed name no test.
    fn judged(&self, all_well: bool, arguments: &[String], log: &str) -> Result<(), Failure> {
        let summary = &self.summary;
        if all_well && summary.failed == 0 && summary.passed > 0 {
            return Ok(());
        }
        if all_well && summary.failed == 0 && !arguments.is_empty() {
            let hint = format!("the words after `--` name none: `{}`", arguments.join(" "));
            return Err(Failure::usage("no test was run", hint));
        }
        let what = match self.failed.len() {
            0 => "tests failed".to_owned(),
            _ => format!("tests failed: {}", self.failed.join(", ")),
        };
        Err(Failure::violated(what, format!("the whole log: {log}")))
    }
}

fn building(manifest: &str) -> Call {
    Call::new([&cargo_test(manifest)[..], &["--no-run"]].concat())
}

fn running(manifest: &str, arguments: &[String]) -> Call {
    let mut argv = [&cargo_test(manifest)[..], &["--no-fail-fast"]].concat();
    if !arguments.is_empty() {
        argv.push("--");
        argv.extend(arguments.iter().map(String::as_str));
    }
    Call::new(argv)
}

fn cargo_test(manifest: &str) -> [&str; 6] {
    [
        "cargo",
        "test",
        "--locked",
        "--workspace",
        "--manifest-path",
        manifest,
    ]
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
        assert_eq!(all.judged(false, &[], "x").unwrap_err().what, "tests failed: c");
        assert_eq!((all.summary.passed, all.summary.failed), (1, 1));
    }

    #[test]
    fn words_that_name_no_test_are_wrong_usage() {
        let mut all = Tally::default();
        all.line("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured");
        let words = ["no-such-test".to_owned()];
        let failure = all.judged(true, &words, "x").unwrap_err();
        assert_eq!(
            (failure.exit, failure.what.as_str()),
            (Exit::Usage, "no test was run")
        );
        assert_eq!(
            all.judged(false, &words, "x").unwrap_err().exit,
            Exit::Violated,
            "did not compile"
        );
        assert_eq!(all.judged(true, &[], "x").unwrap_err().exit, Exit::Violated);
    }
}
