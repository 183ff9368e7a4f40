//! What a run needs on this machine: said all at once, each lack with its remedy, and provided where that is
//! ours to do. Nothing that runs already is replaced or reconfigured.

pub mod apt;
mod cosign;
mod engine;
mod fetching;
mod packages;
mod pins;
mod preflight;
mod scanner;
mod tools;
mod version;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

pub use cosign::cosign;
pub use preflight::preflight;
pub use scanner::{named_trivy, scanner_words, trivy};
pub use tools::{database, hadolint};

use crate::bases::{self, Bases};
use crate::cache;
use crate::context::{Context, Deadline, poll};
use crate::engine::Lease;
use crate::exit::Failure;

/// Something that a run lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, e.g. `no Docker engine answers`.
    pub what: String,
    /// What it is needed for, or what is known of the cause.
    pub why: String,
    /// What a person can do.
    pub remedy: String,
    /// What we can do.
    pub fix: Fix,
    /// Without it a run is poorer, not impossible.
    pub optional: bool,
}

/// How we would mend a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// It is not ours to mend.
    ByHand,
    /// Install these Debian packages.
    Packages(Vec<&'static str>),
    /// Start the installed engine.
    StartEngine,
    /// Fetch and unpack the scanner.
    Trivy,
    /// Fetch the Dockerfile linter.
    Hadolint,
    /// Fetch the vulnerability database.
    Database,
    /// Make these local images.
    Bases(Vec<String>),
}

/// Provides whatever [`preflight`] misses, saying each step before it is taken, and looks again.
///
/// # Errors
/// Exit 3 where a required problem is not ours to mend, or where it is still there afterwards; all at once.
pub async fn provision(context: &Context, bases: &Bases) -> Result<()> {
    let _lock = alone(context).await?;
    remove_unfinished(&context.root);
    let problems = preflight(context, bases).await;
    let by_hand: Vec<Problem> = problems
        .iter()
        .filter(|problem| problem.fix == Fix::ByHand)
        .cloned()
        .collect();
    refuse(&by_hand, "mend this by hand, then run again")?;
    if problems.is_empty() {
        context.board.note("setup: nothing to do");
        return Ok(());
    }
    mend(context, &problems).await?;
    // An engine that answers only now reveals what its absence hid: an old plugin, missing images.
    let revealed = preflight(context, bases).await.into_iter();
    let revealed: Vec<Problem> = revealed.filter(|problem| !problems.contains(problem)).collect();
    if !revealed.is_empty() {
        mend(context, &revealed).await?;
    }
    let left = preflight(context, bases).await;
    refuse(&left, "see logs/setup-*.log in the run's folder")
}

/// The scanner and today's database, and nothing else: what looking at a published image takes. Provided where the run
/// may set things up.
///
/// # Errors
/// Exit 3: there is no scanner, or none that may be used.
pub async fn scanner_alone(context: &Context) -> Result<()> {
    if context.options.setup {
        let _lock = alone(context).await?;
        let _under_way = context.board.step("set-up");
        mend(context, &preflight::of_scanner(context).await).await?;
    }
    let hint = "`--setup` provisions what can be provisioned";
    refuse(&preflight::of_scanner(context).await, hint)
}

/// One set-up at a time on this machine: two would install, start and make the same things at once. The lock
/// goes with the process.
async fn alone(context: &Context) -> Result<File> {
    let path = Lease::dir().with_file_name("setup.lock");
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let free = || matches!(file.try_lock(), Ok(()));
    if !free() {
        context
            .board
            .note("setup: another one is under way, waiting for it");
        let waited = poll(
            Deadline::within(LOCK_DEADLINE),
            Duration::from_millis(500),
            || async { (free() || context.cancel.is_cancelled()).then_some(()) },
        );
        if waited.await.is_none() {
            let hint = format!("see who holds {}", path.display());
            return Err(Failure::undecided("another set-up does not come to an end", hint).into());
        }
        // The lock is not ours then, nor is what its holder is working on.
        if context.cancel.is_cancelled() {
            let what = "interrupted while waiting for another set-up";
            return Err(Failure::undecided(what, "run again").into());
        }
    }
    Ok(file)
}

/// What a set-up that was killed was working on: nobody else is at it, for we hold the lock.
fn remove_unfinished(root: &Path) {
    let entries = std::fs::read_dir(root.join("target/horme")).into_iter().flatten();
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let _ = match (name.starts_with("debian-"), name.starts_with("tools-")) {
            (true, _) => std::fs::remove_file(path),
            (_, true) => std::fs::remove_dir_all(path),
            _ => Ok(()),
        };
    }
    if let Some(caches) = cache::user_folder() {
        tools::remove_unfinished(&caches);
    }
}

/// Longer than the longest set-up from nothing.
const LOCK_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// The machine's own roots of trust in one file, for builds behind a network that signs TLS anew.
pub fn ca_bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named
        .into_iter()
        .chain([Path::new(apt::CA_BUNDLE).to_path_buf()])
        .find(|file| file.is_file())
}

async fn mend(context: &Context, problems: &[Problem]) -> Result<()> {
    let wanted = problems.iter().filter_map(|problem| match &problem.fix {
        Fix::Packages(packages) => Some(packages.iter().copied()),
        _ => None,
    });
    let wanted: BTreeSet<&str> = wanted.flatten().collect();
    let wanted: Vec<&str> = wanted.into_iter().collect();
    if !wanted.is_empty() {
        packages::install(context, &wanted).await?;
    }
    let asks = |fix: Fix| problems.iter().any(|problem| problem.fix == fix);
    let engine_came = problems
        .iter()
        .any(|problem| matches!(&problem.fix, Fix::Packages(names) if names.contains(&engine::PACKAGE)));
    if asks(Fix::StartEngine) || engine_came {
        engine::start(context).await?;
    }
    if asks(Fix::Trivy) {
        fetching::trivy(context).await?;
    }
    if asks(Fix::Hadolint)
        && let Err(error) = fetching::hadolint(context).await
    {
        context.board.note(&format!(
            "setup: hadolint could not be had, our own rules stand alone: {error:#}"
        ));
    }
    if asks(Fix::Database)
        && let Err(error) = tools::fetch_database(context).await
    {
        context.board.note(&format!(
            "setup: no vulnerability database could be had, the scan will say so: {error:#}"
        ));
    }
    for problem in problems {
        if let Fix::Bases(missing) = &problem.fix {
            bases::make(context, &context.engine().await?, missing).await?;
        }
    }
    Ok(())
}

/// An error that lists every required problem; `Ok` where there is none.
pub fn refuse(problems: &[Problem], hint: &str) -> Result<()> {
    let required: Vec<&Problem> = problems.iter().filter(|problem| !problem.optional).collect();
    if required.is_empty() {
        return Ok(());
    }
    let lines = required
        .iter()
        .map(|problem| format!("{}: {}", problem.what, problem.why));
    let mut hints: Vec<String> = required.iter().map(|problem| problem.remedy.clone()).collect();
    hints.push(hint.to_owned());
    Err(Failure::undecided(lines.collect::<Vec<_>>().join("\n"), hints.join("\n")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(what: &str, optional: bool) -> Problem {
        Problem {
            what: what.into(),
            why: "why".into(),
            remedy: format!("mend {what}"),
            fix: Fix::ByHand,
            optional,
        }
    }

    #[test]
    fn every_required_problem_is_said_at_once_with_its_remedy() {
        let error = refuse(
            &[
                problem("engine", false),
                problem("linter", true),
                problem("scanner", false),
            ],
            "then",
        )
        .unwrap_err();
        let (exit, text) = crate::exit::explain(&error);
        assert_eq!(exit, crate::exit::Exit::Undecided);
        assert_eq!(
            text,
            "error: engine: why\nscanner: why\nhint: mend engine\nhint: mend scanner\nhint: then"
        );
    }

    #[test]
    fn what_is_optional_refuses_nothing() {
        assert!(refuse(&[problem("linter", true)], "").is_ok());
    }
}
