//! The look itself: Trivy on an image's archive, what the files of its layers are, and nothing of any policy.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::database::Database;
use super::files::{self, OddFile};
use super::{Scanner, bill, layers::Layers};
use crate::build::Built;
use crate::context::Context;
use crate::engine::Engine;
use crate::exit::Failure;
use crate::gate::step;
use crate::process;
use crate::tool::trivy::{self, Report, Scanners};
use crate::verdict::Gate;

/// What a scan found, before any policy.
#[derive(Serialize, Deserialize)]
pub struct Seen {
    pub report: Report,
    pub crates: BTreeSet<String>,
    pub odd_files: Vec<OddFile>,
    pub layers: Layers,
}

/// Runs Trivy; gives what it found, and the bill of materials. The bill is another form of the report where there is a
/// database; without one it is a look of its own, and the crates come from it.
pub async fn look(
    context: &Context,
    engine: &Engine,
    scanner: &Scanner,
    image: &Built,
) -> Result<(Seen, Value)> {
    let archive = image.export(engine).await?;
    let name = step(Gate::Scan, &image.plan.service.name);
    let output = context.run_dir.join("scan").join(format!("{name}.json"));
    let cache = context.run_dir.join("scan").join(format!("{name}.cache"));
    std::fs::create_dir_all(&cache).context("cannot create the scan's folder")?;
    let (dir, scanners) = match &scanner.database {
        Some(database) => (database.dir.as_path(), Scanners::All),
        None => (cache.as_path(), Scanners::WithoutDatabase),
    };
    // Every call leaves a folder among the temporary ones.
    let temporary = cache.display().to_string();
    let call = trivy::scan(&scanner.trivy, archive, dir, &output, scanners).env("TMPDIR", temporary.as_str());
    let text = report(context, call, &output, &name, scanner).await?;
    scanner.database.as_ref().map_or(Ok(()), unchanged)?;
    let mut report = trivy::parse(&text).map_err(|error| unreadable(&name, &error.to_string()))?;
    let dockerfile = std::fs::read_to_string(context.root.join(image.plan.service.dockerfile()));
    let layers = Layers::read(&text, &dockerfile.unwrap_or_default())
        .map_err(|error| unreadable(&name, &error.to_string()))?;
    let mut crates: BTreeSet<String> = report.crates().collect();
    let bill = context.run_dir.join("scan").join(format!("{name}.cdx.json"));
    let call = match scanner.database {
        Some(_) => trivy::convert(&scanner.trivy, &output, &bill),
        None => trivy::bill(&scanner.trivy, archive, dir, &bill),
    };
    let text = self::report(context, call.env("TMPDIR", temporary), &bill, &name, scanner).await?;
    if scanner.database.is_none() {
        crates = trivy::crates_in_bill(&text)
            .map_err(|error| unreadable(&name, &error.to_string()))?
            .into_iter()
            .collect();
    }
    let bill = bill::keep(context, image, &scanner.trivy, &text)
        .map_err(|error| unreadable(&name, &error.to_string()))?;
    let _ = std::fs::remove_dir_all(&cache);
    report
        .results
        .iter_mut()
        .for_each(|result| result.packages.clear());
    let (archive, digest) = (archive.clone(), image.digest.clone());
    let odd_files = tokio::task::spawn_blocking(move || files::odd(&archive, &digest)).await??;
    let seen = Seen {
        report,
        crates,
        odd_files,
        layers,
    };
    Ok((seen, bill))
}

/// Whether the database is still the file that was walked and hashed. Trivy takes one away that it cannot read, and
/// finds nothing in the empty one that it makes instead.
fn unchanged(database: &Database) -> Result<()> {
    if database.is_as_it_was() {
        return Ok(());
    }
    let why = format!("{}: it changed while it was asked", database.file().display());
    let hint = "another run has fetched a newer one, or the scanner took a damaged one away: run again";
    Err(Failure::undecided(why, hint).into())
}

/// The text of a report that this very call has written.
async fn report(
    context: &Context,
    call: process::Call,
    output: &Path,
    name: &str,
    scanner: &Scanner,
) -> Result<String> {
    let _ = std::fs::remove_file(output);
    let call = call.log(context.log(name)).deadline_s(scanner.policy.deadline_s);
    let ended = process::run(context, &call).await?;
    match std::fs::read_to_string(output) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unreadable(name, &error.to_string())),
        Err(_) => {
            let why = format!(
                "Trivy ended with {} and wrote no report: {}",
                ended.status,
                telling(&ended.stderr).unwrap_or_else(|| ended.last_lines(3))
            );
            let database = scanner.database.as_ref().map(|database| {
                format!(
                    "; where it names the database: another one, --vuln-db DIR (asked was {})",
                    database.file().display()
                )
            });
            let hint = format!("see logs/{name}.log{}", database.unwrap_or_default());
            Err(Failure::undecided(why, hint).into())
        }
    }
}

/// The line that says why: a trace of the stack may follow it.
fn telling(said: &str) -> Option<String> {
    let begins = ["panic:", "fatal error:", "unexpected fault"];
    let mut lines = said.lines().filter(|line| {
        let line = line.trim();
        begins.iter().any(|word| line.starts_with(word)) || line.contains("FATAL")
    });
    lines.next().map(str::to_owned)
}

fn unreadable(name: &str, why: &str) -> anyhow::Error {
    Failure::undecided(
        format!("Trivy's report cannot be used: {why}"),
        format!("see logs/{name}.log; scan again, or with another scanner: --trivy FILE"),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::scan::policy::DatabasePolicy;
    use crate::gate::scan::testing::scanner;

    #[test]
    fn a_database_that_was_replaced_since_it_was_walked_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("db")).unwrap();
        let mut database = scanner(Some(1), DatabasePolicy::Required).database.unwrap();
        database.dir = folder.path().to_path_buf();
        std::fs::write(database.file(), "walked").unwrap();
        database.seen_as = crate::evidence::file(&database.file());
        assert!(unchanged(&database).is_ok());
        // Before the scanner was even called.
        std::fs::write(folder.path().join("other"), "walked").unwrap();
        std::fs::rename(folder.path().join("other"), database.file()).unwrap();
        let (exit, words) = crate::exit::explain(&unchanged(&database).unwrap_err());
        assert_eq!(exit, crate::exit::Exit::Undecided);
        assert!(
            words.contains("db/trivy.db: it changed while it was asked"),
            "{words}"
        );
    }
}
