//! One build of all images without any cache, into archives: no name in the engine moves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::context::Context;
use crate::engine::Engine;
use crate::exit::Failure;
use crate::plan::Plan;
use crate::process::{self, Output};
use crate::tool::bake;
use crate::tool::baking::Baking;

/// Two cores that others use, too, take a quarter of an hour.
const LIMIT_S: u64 = 2 * 3600;

/// What every build is given.
pub(super) struct Build<'a> {
    pub(super) context: &'a Context,
    pub(super) engine: &'a Engine,
    pub(super) plan: &'a Plan,
}

/// Where the image of a service lies in a folder of archives.
pub(super) fn archive(folder: &Path, service: &str) -> PathBuf {
    folder.join(format!("{service}.tar"))
}

impl Build<'_> {
    /// Builds the files in `root` into `folder`. Service -> digest.
    ///
    /// # Errors
    /// Exit 1: the commit does not build. Exit 3: the build could not be made.
    pub(super) async fn run(
        &self,
        name: &str,
        root: &Path,
        folder: &Path,
    ) -> Result<BTreeMap<String, String>> {
        let board = &self.context.board;
        let _under_way = board.step(&format!("{name} build, without cache"));
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (file, metadata) = (folder.join("bake.json"), folder.join("metadata.json"));
        let definition = bake::definition(root, self.plan, &self.plan.images, "");
        let definition = into_archives(definition, folder);
        std::fs::write(&file, definition.to_string()).context("cannot write bake.json")?;
        let log = self.context.log(&format!("reproduce-{name}"));
        let mut call = bake::call(&file, &metadata)
            .log(&log)
            .deadline_s(LIMIT_S)
            // Bake asks at a terminal before it writes outside of the working folder; the folder is ours.
            .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0");
        call.args.push("--no-cache".into());
        let mut progress = Baking::of(&self.plan.images);
        let baking = process::run_observed(self.context, &call, |line| {
            if let Some(progress) = progress.line(line) {
                board.progress(progress);
            }
        });
        let output = self.engine.watched(baking).await?;
        if !output.success() {
            return Err(refused(&output, &self.context.shown(&log)).into());
        }
        let metadata = std::fs::read_to_string(&metadata).context("bake told no digests")?;
        Ok(bake::parse_digests(&metadata))
    }
}

/// The definition with every image going to an archive of its own, under no name; written as it is for the engine, or
/// its digest would be another one.
fn into_archives(mut definition: Value, folder: &Path) -> Value {
    let targets = definition.get_mut("target").and_then(Value::as_object_mut);
    for (name, target) in targets.into_iter().flatten() {
        let output = target["output"][0].as_str().unwrap_or("type=docker");
        let output = format!("{output},dest={}", archive(folder, name).display());
        target["tags"] = json!([]);
        target["output"] = json!([output]);
    }
    definition
}

/// Why a bake did not end well: by what is built, or by what builds it.
fn refused(output: &Output, log: &str) -> Failure {
    let said = &output.stderr;
    let log = format!("the whole log: {log}");
    if said.contains("no space left on device") {
        return Failure::undecided(
            "no space left on the engine's disk",
            "free some: `docker system df`",
        );
    }
    if bake::failed_in_what_is_built(said) {
        let name = bake::failed_target(said).or(bake::failed_step(said));
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        let words = bake::said_by_failed_step(said, 15);
        return Failure::violated(format!("the commit does not build{name}:\n{words}"), log);
    }
    let what = format!("the build could not run:\n{}", output.last_lines(6));
    Failure::undecided(what, log)
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_base_that_no_registry_gives_is_no_commit_that_does_not_build() {
        let ended = |step: &str| Output {
            stderr: format!(
                "------\n > [a {step}:\n0.1 error: x\n------\nERROR: failed to solve: 429 Too Many Requests\n"
            ),
            stdout: String::new(),
            status: ExitStatus::default(),
        };
        let away = refused(
            &ended("internal] load metadata for docker.io/library/rust:1"),
            "x",
        );
        assert_eq!(away.exit, Exit::Undecided);
        let broken = refused(&ended("build 2/2] RUN cargo build"), "x");
        assert_eq!(
            (broken.exit, broken.what.as_str()),
            (Exit::Violated, "the commit does not build (a):\nerror: x")
        );
    }

    #[test]
    fn every_image_goes_to_an_archive_and_gets_no_name() {
        let definition =
            json!({ "target": { "a": { "tags": ["a:x"], "output": ["type=docker"], "target": "prod" } } });
        let expected = json!({ "target": { "a": { "tags": [], "output": ["type=docker,dest=/f/a.tar"], "target": "prod" } } });
        assert_eq!(into_archives(definition, Path::new("/f")), expected);
    }
}
