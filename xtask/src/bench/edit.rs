//! One edit in a copy of the checkout: the joint bake against cargo on the host, both warm.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Bench;
use super::checkout::Checkout;
use super::dependency::{self, Locked};
use super::measure::{in_turn, timed};
use super::row::{Row, Samples};
use crate::catalogue::{Catalogue, Service};
use crate::process::{self, Call};
use crate::tool::cargo;

/// No target is set.
const NONE: &str = "-";

pub async fn service(bench: &Bench<'_>) -> Vec<Row> {
    let row = row(
        "edit-service",
        &format!("an edit of {}", bench.service.name),
        "1.5",
    );
    vec![sources(bench, row, &bench.service.dir).await]
}

pub async fn library(bench: &Bench<'_>) -> Vec<Row> {
    let case = "edit-kit";
    vec![match shared_crate(&bench.service, &bench.catalogue) {
        Some(dir) => {
            sources(
                bench,
                row(case, &format!("an edit of {}", dir.display()), NONE),
                dir,
            )
            .await
        }
        None => row(case, "an edit of a shared crate", NONE).note(format!(
            "{} stands on no crate of this workspace",
            bench.service.name
        )),
    }]
}

pub async fn dependency(bench: &Bench<'_>) -> Vec<Row> {
    let row = row(
        "add-dependency",
        &format!("one dependency more of {}", bench.service.name),
        NONE,
    );
    let found = match found(bench).await {
        Ok(found) => found,
        Err(error) => return vec![row.failed(&error)],
    };
    if found.is_empty() {
        return vec![row.note("no other service has a crate that this one has not: nothing to add")];
    }
    let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    let row = row.note(format!(
        "a crate of other services each time ({}): nothing is downloaded on the host; the lock file is brought up to date before the clock starts",
        names.join(", ")
    ));
    let edit = async |checkout: &Checkout, number: usize| add(checkout, &bench.service, &found[number]).await;
    let samples = samples(bench, &row.name, found.len(), edit).await;
    vec![row.measured(samples)]
}

fn row(case: &str, what: &str, target: &str) -> Row {
    Row::new(case, format!("joint bake after {what}"), target)
        .against("`cargo build --release --workspace --locked` on the host after the same edit")
        .note("in a copy of the checkout, both sides warm; the edit comes before the clock starts")
}

/// A row about an edit of one crate's sources.
async fn sources(bench: &Bench<'_>, row: Row, dir: &Path) -> Row {
    let edit = async |checkout: &Checkout, _| append(&checkout.context.root.join(dir));
    let samples = samples(bench, &row.name, bench.repeat, edit).await;
    row.measured(samples)
}

/// Both sides in turn, after the same edit: first ours, then the host's.
async fn samples(
    bench: &Bench<'_>,
    case: &str,
    repeat: usize,
    mut edit: impl AsyncFnMut(&Checkout, usize) -> Result<()>,
) -> Result<Samples> {
    let checkout = bench.checkout().await?;
    let root = &checkout.context.root;
    let host = || checkout.host_build().log(bench.log(&format!("{case}-host")));
    // Warm-up of both sides; an earlier case may have done it.
    timed(bench.context, &host()).await?;
    bench.forget_images().await?;
    timed(bench.context, &bench.bake(case, root, &checkout.plan().await?)?).await?;
    in_turn(
        repeat,
        async |number| {
            edit(checkout, number).await?;
            bench.forget_images().await?;
            let bake = bench.bake(case, root, &checkout.plan().await?)?;
            timed(bench.context, &bake).await
        },
        async |_| timed(bench.context, &host()).await,
    )
    .await
}

/// The first crate of this workspace that the service stands on and that has no image of its own.
fn shared_crate<'a>(service: &'a Service, catalogue: &Catalogue) -> Option<&'a PathBuf> {
    let has_image = |dir: &PathBuf| catalogue.services.iter().any(|service| service.dir == *dir);
    service.source_dirs.iter().find(|dir| !has_image(dir))
}

/// A number that no cache has seen, of this benchmark or of an earlier one: milliseconds since 1970.
fn fresh_number() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// One function more in a crate.
fn append(dir: &Path) -> Result<()> {
    let library = dir.join("src/lib.rs");
    let file = if library.is_file() {
        library
    } else {
        dir.join("src/main.rs")
    };
    let said = || format!("cannot edit {}", file.display());
    let mut text = std::fs::read_to_string(&file).with_context(said)?;
    text.push_str(&function(fresh_number()));
    std::fs::write(&file, text).with_context(said)
}

fn function(number: i64) -> String {
    format!("\n#[allow(dead_code)]\npub fn bench_{number}() -> i64 {{\n    {number}\n}}\n")
}

/// The dependencies to add, one for each sample.
async fn found(bench: &Bench<'_>) -> Result<Vec<Locked>> {
    let checkout = bench.checkout().await?;
    let metadata = process::run_ok(bench.context, &cargo::metadata(&checkout.context.root)).await?;
    let locked = dependency::locked(&metadata.stdout)?;
    let mut found = dependency::candidates(&bench.service, &checkout.catalogue().await?, &locked);
    found.truncate(bench.repeat);
    Ok(found)
}

async fn add(checkout: &Checkout, service: &Service, candidate: &Locked) -> Result<()> {
    let file = checkout.context.root.join(&service.dir).join("Cargo.toml");
    let said = || format!("cannot edit {}", file.display());
    let manifest = std::fs::read_to_string(&file).with_context(said)?;
    let manifest = dependency::added(&manifest, candidate, fresh_number());
    std::fs::write(&file, manifest).with_context(said)?;
    let update = Call::new(["cargo", "update", "--workspace", "--offline"]).cwd(&checkout.context.root);
    process::run_ok(&checkout.context, &update).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_edited_in_its_library_or_else_in_its_binary() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("src/main.rs");
        std::fs::create_dir(dir.path().join("src")).unwrap();
        std::fs::write(&main, "fn main() {}\n").unwrap();
        append(dir.path()).unwrap();
        let edited = std::fs::read_to_string(&main).unwrap();
        assert!(edited.starts_with("fn main() {}\n\n#[allow(dead_code)]\npub fn bench_"));
        let library = dir.path().join("src/lib.rs");
        std::fs::write(&library, "").unwrap();
        append(dir.path()).unwrap();
        assert!(
            std::fs::read_to_string(&library)
                .unwrap()
                .contains("pub fn bench_")
        );
        assert_eq!(std::fs::read_to_string(&main).unwrap(), edited);
    }

    #[test]
    fn an_edit_is_a_function_of_its_own_name() {
        assert_eq!(
            function(7),
            "\n#[allow(dead_code)]\npub fn bench_7() -> i64 {\n    7\n}\n"
        );
    }
}
