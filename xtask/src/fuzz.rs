//! `cargo xtask fuzz`: the fuzz targets of the services (`fuzz/fuzz_targets`), each for a while, on inputs that libFuzzer
//! makes up. They are compiled with the flags that cargo-fuzz uses without a sanitizer, which the stable compiler has;
//! there is no unsafe code of ours that a sanitizer would look at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::FuzzOptions;
use crate::context::Context;
use crate::engine::Lease;
use crate::exit::{Exit, Failure};
use crate::process::{self, Call, Output};
use crate::report;

const FOLDER: &str = "fuzz";
/// What libFuzzer needs to see: which edges are taken, and what is compared with what.
const FLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
    "--cfg",
    "fuzzing",
];
/// A cold build, in seconds.
const BUILD_S: u64 = 1800;
/// One input that takes longer than this, or more memory, is a finding.
const LONGEST_INPUT_S: u64 = 10;
const MOST_MEMORY_MB: u64 = 2048;
/// Beyond its time, until it has told what it did.
const GRACE_S: u64 = 120;

/// Builds the targets, lets each run for its time, and prints what came of it.
///
/// # Errors
/// Exit 1: an input broke a target; it is kept and named. Exit 2: no such target. Exit 3: they cannot be built.
pub async fn run(context: &Context, options: &FuzzOptions) -> Result<Exit> {
    context.create_run_dir()?;
    let targets = selected(&context.root.join(FOLDER).join("fuzz_targets"), &options.target)?;
    // By it the next sweep finds what outlives this run where it is killed.
    let lease = Lease::take(&Lease::dir(), &context.run_id, context.estate(None))?;
    let ended = all(context, &targets, options.seconds).await;
    lease.end();
    match context.interrupted() {
        Some(signal) => Ok(signal),
        None => ended,
    }
}

async fn all(context: &Context, targets: &[String], seconds: u64) -> Result<Exit> {
    let host = process::run_ok(context, &Call::new(["rustc", "--print", "host-tuple"])).await?;
    let host = host.stdout.trim().to_owned();
    report::complain("fuzz: building the targets");
    process::run_ok(context, &build(context, &host, targets)).await?;
    let (mut lines, mut broken) = (Vec::new(), Vec::new());
    for target in targets {
        report::complain(&format!("fuzz: {target}, {seconds} s"));
        let output = process::run(context, &fuzzing(context, &host, target, seconds)?).await?;
        let told = Told::read(&output);
        lines.push(told.line(target, seconds, output.success()));
        if !output.success() {
            broken.push(told.finding(context, target, &output));
        }
    }
    report::say(&lines.join("\n"));
    if broken.is_empty() {
        return Ok(Exit::Passed);
    }
    let hint = "run the program of the log's first line with the input alone, to see it break";
    Err(Failure::violated(broken.join("\n"), hint).into())
}

/// The targets that were named, all where none was.
fn selected(folder: &Path, named: &[String]) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        let what = format!("cannot read {}: {error}", folder.display());
        Failure::usage(what, "fuzz targets lie in fuzz/fuzz_targets/*.rs")
    })?;
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let sources = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "rs"));
    let mut known: Vec<String> = sources
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    known.sort();
    if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
        let hint = format!("targets: {}", known.join(", "));
        return Err(Failure::usage(format!("there is no fuzz target '{unknown}'"), hint).into());
    }
    known.retain(|name| named.is_empty() || named.contains(name));
    Ok(known)
}

fn build(context: &Context, host: &str, targets: &[String]) -> Call {
    let mut argv = vec!["cargo", "build", "--release", "--locked", "--target", host];
    for target in targets {
        argv.extend(["--bin", target]);
    }
    Call::new(argv)
        .cwd(context.root.join(FOLDER))
        .env("RUSTFLAGS", FLAGS.join(" "))
        // It would count more.
        .withhold("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_TARGET_DIR", target_dir(context).display().to_string())
        .deadline_s(BUILD_S)
        .log(context.log("fuzz-build"))
}

/// Of their own, whatever the checkout and the caller's environment say: everything is compiled with other flags.
fn target_dir(context: &Context) -> PathBuf {
    context.root.join(FOLDER).join("target")
}

fn fuzzing(context: &Context, host: &str, target: &str, seconds: u64) -> Result<Call> {
    let folder = context.root.join(FOLDER);
    // What it finds out goes to the first folder; the seeds stay as they are.
    let (found, seeds) = (
        folder.join("found").join(target),
        folder.join("corpus").join(target),
    );
    for path in [&found, &seeds] {
        std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    let kept = context.run_dir.join(format!("{target}-"));
    let program = target_dir(context).join(host).join("release").join(target);
    let argv = [
        program.display().to_string(),
        format!("-max_total_time={seconds}"),
        format!("-timeout={LONGEST_INPUT_S}"),
        format!("-rss_limit_mb={MOST_MEMORY_MB}"),
        "-print_final_stats=1".to_owned(),
        format!("-artifact_prefix={}", kept.display()),
        found.display().to_string(),
        seeds.display().to_string(),
    ];
    let call = Call::new(argv).log(context.log(&format!("fuzz-{target}")));
    Ok(call.deadline_s(seconds + GRACE_S))
}

/// What libFuzzer tells at its end.
#[derive(Debug, Default, PartialEq)]
struct Told {
    inputs: Option<u64>,
    /// Edges of the program that some input took.
    covered: Option<u64>,
    /// The input that broke it.
    kept: Option<String>,
}

impl Told {
    fn read(output: &Output) -> Self {
        let mut told = Told::default();
        for line in output.stderr.lines() {
            if let Some(inputs) = line.strip_prefix("stat::number_of_executed_units:") {
                told.inputs = inputs.trim().parse().ok();
            }
            if let Some((_, after)) = line.split_once(" cov: ") {
                told.covered = after
                    .split(' ')
                    .next()
                    .and_then(|edges| edges.parse().ok())
                    .or(told.covered);
            }
            if let Some((_, path)) = line.split_once("Test unit written to ") {
                told.kept = Some(path.trim().to_owned());
            }
        }
        told
    }

    fn line(&self, target: &str, seconds: u64, well: bool) -> String {
        let number = |value: Option<u64>| value.map_or("?".to_owned(), |value| value.to_string());
        let word = if well { "nothing found" } else { "BROKEN" };
        let time = Duration::from_secs(seconds).as_secs();
        format!(
            "{target}: {word}; {} inputs in {time} s, {} edges covered",
            number(self.inputs),
            number(self.covered)
        )
    }

    fn finding(&self, context: &Context, target: &str, output: &Output) -> String {
        match &self.kept {
            Some(path) => format!("{target}: broken by {}", context.shown(Path::new(path))),
            None => format!(
                "{target}: ended with {}:\n{}",
                output.status,
                output.last_lines(12)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn targets_are_found_and_an_unknown_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.rs", "a.rs", "notes.md"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(selected(folder.path(), &[]).unwrap(), ["a", "b"]);
        assert_eq!(selected(folder.path(), &["b".to_owned()]).unwrap(), ["b"]);
        let unknown = selected(folder.path(), &["c".to_owned()]).unwrap_err();
        assert_eq!(unknown.to_string(), "there is no fuzz target 'c'");
    }

    #[test]
    fn what_is_built_is_what_is_started() {
        let context = Context::new("/checkout".into(), crate::cli::RunOptions::default());
        let build = build(&context, "host", &["a".to_owned()]);
        assert_eq!(build.env["CARGO_TARGET_DIR"], "/checkout/fuzz/target");
        assert!(target_dir(&context).starts_with(&build.env["CARGO_TARGET_DIR"]));
    }

    #[test]
    fn what_libfuzzer_says_is_read() {
        let stderr = "#2\tINITED cov: 12 ft: 13 corp: 1/1b\n#999\tREDUCE cov: 345 ft: 900\n\
            Test unit written to /r/reports/x/token-crash-ab\nstat::number_of_executed_units: 12345\n";
        let output = Output {
            status: std::process::ExitStatus::from_raw(77 << 8),
            stdout: String::new(),
            stderr: stderr.to_owned(),
        };
        let told = Told::read(&output);
        assert_eq!((told.inputs, told.covered), (Some(12_345), Some(345)));
        assert_eq!(told.kept.as_deref(), Some("/r/reports/x/token-crash-ab"));
        assert_eq!(
            told.line("token", 60, false),
            "token: BROKEN; 12345 inputs in 60 s, 345 edges covered"
        );
    }
}
