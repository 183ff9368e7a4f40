//! docker buildx bake: one definition for all images, and the digests that it reports.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::plan::{ImagePlan, Plan};
use crate::process::Call;

/// The bake definition of some images. Everything that can differ between two builds is in here; attestations
/// are left out, because they would turn the platform manifest into an index.
pub fn definition(root: &Path, plan: &Plan, images: &[ImagePlan], tag: &str) -> Value {
    let targets: BTreeMap<&str, Value> = images
        .iter()
        .map(|image| (image.service.name.as_str(), target(root, plan, image, tag)))
        .collect();
    json!({ "group": { "default": { "targets": targets.keys().collect::<Vec<_>>() } }, "target": targets })
}

fn target(root: &Path, plan: &Plan, image: &ImagePlan, tag: &str) -> Value {
    let mut target = json!({
        "context": root,
        "dockerfile": image.service.dockerfile(),
        "target": "prod",
        "platforms": [plan.platform],
        "args": image.args,
        "tags": [format!("{}:{tag}", image.service.image)],
        "output": ["type=docker"],
        "contexts": plan.bases.contexts,
    });
    if let Some(bundle) = &plan.ca_bundle {
        target["secret"] = json!([format!("id=ca-bundle,src={}", bundle.display())]);
    }
    target
}

/// The definition that puts the stage `stage` of some images into folders beneath `folder`, each under its
/// service's name. Tags nothing.
pub fn export(root: &Path, plan: &Plan, images: &[ImagePlan], stage: &str, folder: &Path) -> Value {
    let targets: BTreeMap<&str, Value> = images
        .iter()
        .map(|image| {
            let name = image.service.name.as_str();
            let mut exported = target(root, plan, image, "");
            exported["target"] = json!(stage);
            exported["tags"] = json!([]);
            exported["output"] = json!([format!("type=local,dest={}", folder.join(name).display())]);
            (name, exported)
        })
        .collect();
    json!({ "group": { "default": { "targets": targets.keys().collect::<Vec<_>>() } }, "target": targets })
}

/// `docker buildx bake` of a definition that [`export`] made.
pub fn export_call(definition: &Path) -> Call {
    let argv = ["docker", "buildx", "bake", "--progress=plain", "--file"].map(Into::into);
    Call::new(argv.into_iter().chain([definition.as_os_str().to_owned()]))
        // Bake asks at a terminal before it writes outside of the working folder; the folder is ours.
        .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
}

/// `docker buildx bake` of a definition; the digests go to `metadata`.
pub fn call(definition: &Path, metadata: &Path) -> Call {
    let argv = ["docker", "buildx", "bake", "--progress=plain", "--file"].map(Into::into);
    let argv = argv
        .into_iter()
        .chain([definition.as_os_str().to_owned(), "--metadata-file".into()]);
    Call::new(argv.chain([metadata.as_os_str().to_owned()]))
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .deadline_s(3600)
}

/// The plain `docker buildx build` that makes the same image as the joint build, as a person would type it.
pub fn plain_build(plan: &Plan, image: &ImagePlan) -> Call {
    let mut argv: Vec<String> = ["docker", "buildx", "build", "--provenance=false", "-f"]
        .map(Into::into)
        .to_vec();
    argv.push(image.service.dockerfile().display().to_string());
    argv.extend(["-t".to_owned(), format!("{}:latest", image.service.image)]);
    for (name, value) in &image.args {
        argv.extend(["--build-arg".to_owned(), format!("{name}={value}")]);
    }
    for (from, to) in &plan.bases.contexts {
        argv.extend(["--build-context".to_owned(), format!("{from}={to}")]);
    }
    if let Some(bundle) = &plan.ca_bundle {
        argv.extend([
            "--secret".to_owned(),
            format!("id=ca-bundle,src={}", bundle.display()),
        ]);
    }
    argv.push(".".to_owned());
    Call::new(argv).env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

/// Target -> manifest digest, from bake's metadata file.
pub fn parse_digests(metadata: &str) -> BTreeMap<String, String> {
    let parsed: Value = serde_json::from_str(metadata).unwrap_or_default();
    let targets = parsed.as_object().cloned().unwrap_or_default().into_iter();
    targets
        .filter_map(|(name, facts)| Some((name, facts.get("containerimage.digest")?.as_str()?.to_owned())))
        .collect()
}

/// The target that a failed bake names (`target frontend: failed to solve: ...`), if it names one.
pub fn failed_target(stderr: &str) -> Option<&str> {
    let line = stderr
        .lines()
        .rev()
        .find(|line| line.contains("target ") && line.contains(": failed to "))?;
    line.split("target ").nth(1)?.split(':').next()
}

/// The target whose step failed (` > [frontend build 3/4] RUN ...:`): all that names it where several were built.
/// What BuildKit does on its own account (` > [frontend internal] load metadata`) is no fault of a target's.
pub fn failed_step(stderr: &str) -> Option<&str> {
    let step = stderr.lines().find_map(|line| line.strip_prefix(" > ["))?;
    let (of, _) = step.split_once(']')?;
    let name = of.split(' ').next()?;
    (!of.ends_with("internal")).then_some(name)
}

/// What the step that failed said, from its first error on (`error[E0425]: cannot find ...`), without the times: at
/// most `most` lines. Of a step that said nothing, BuildKit's own words.
pub fn said_by_failed_step(stderr: &str, most: usize) -> String {
    let lines = stderr
        .lines()
        .skip_while(|line| !line.starts_with(" > ["))
        .skip(1);
    let lines = lines.take_while(|line| !line.starts_with("------"));
    let said: Vec<&str> = lines
        .map(without_time)
        .filter(|line| !line.trim().is_empty())
        .collect();
    let words = match said.iter().position(|line| line.starts_with("error")) {
        Some(first) => said[first..].iter().copied().take(most).collect(),
        None if said.is_empty() => stderr
            .lines()
            .rfind(|line| line.starts_with("ERROR: "))
            .into_iter()
            .collect(),
        // The last line is the likeliest to tell.
        None => {
            let last = &said[said.len().saturating_sub(most)..];
            let head = last.last().copied();
            head.into_iter()
                .chain(last[..last.len() - 1].iter().copied())
                .collect::<Vec<_>>()
        }
    };
    words.join("\n")
}

/// `12.34 error: ...` without its seconds.
fn without_time(line: &str) -> &str {
    match line.split_once(' ') {
        Some((time, rest)) if time.contains('.') && time.parse::<f64>().is_ok() => rest,
        _ => line,
    }
}

/// Whether a failed bake failed in what it was to build: of a single target no name is told.
pub fn failed_to_solve(stderr: &str) -> bool {
    let last = stderr.lines().rev().find(|line| line.starts_with("ERROR: "));
    last.is_some_and(|line| line.starts_with("ERROR: failed to solve: "))
}

/// Whether a failed bake failed in what it was to build: in a step of a Dockerfile, or because that is none. What
/// BuildKit does on its own account tells nothing of it: what it fetches (` > [a internal] load metadata`,
/// ` > [a build 1/2] FROM x`) and what it puts out (` > exporting to image`).
pub fn failed_in_what_is_built(stderr: &str) -> bool {
    let solved = failed_to_solve(stderr) || failed_target(stderr).is_some();
    let step = stderr.lines().find_map(|line| line.strip_prefix(" > "));
    let is_own = |step: &str| {
        let parts = step.strip_prefix('[').and_then(|step| step.split_once("] "));
        parts.is_some_and(|(of, what)| !of.ends_with("internal") && !what.starts_with("FROM "))
    };
    solved && !lost_engine(stderr) && step.is_none_or(is_own)
}

/// Whether a failed bake failed in a command of its own Dockerfile.
pub fn failed_by_itself(stderr: &str) -> bool {
    stderr.contains("did not complete successfully")
}

/// Whether a failed bake failed because the engine went away, whatever target it names.
pub fn lost_engine(stderr: &str) -> bool {
    let words = [
        "failed to receive status",
        "code = Unavailable",
        "Cannot connect to the Docker daemon",
        "closing transport",
        "connection refused",
    ];
    let last: Vec<&str> = stderr.lines().rev().take(6).collect();
    last.iter()
        .filter(|line| line.starts_with("ERROR"))
        .any(|line| words.iter().any(|word| line.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_by_target() {
        let metadata = r#"{"buildx.build.warnings": [], "frontend": {"containerimage.digest": "sha256:ab", "image.name": "x"}}"#;
        assert_eq!(
            parse_digests(metadata),
            BTreeMap::from([("frontend".into(), "sha256:ab".into())])
        );
        assert!(parse_digests("{half").is_empty());
    }

    #[test]
    fn a_failed_bake_names_its_target() {
        let stderr =
            "#9 ERROR: process did not complete\nERROR: target frontend: failed to solve: exit code: 101\n";
        assert_eq!(failed_target(stderr), Some("frontend"));
        assert_eq!(failed_target("ERROR: failed to connect"), None);
    }

    #[test]
    fn of_a_joint_build_the_step_names_the_target() {
        let stderr = "#9 ERROR: exit code: 101\n------\n > [frontend 2/2] RUN x:\n0.1 a\n------\nERROR: failed to solve: exit code: 101\n";
        assert_eq!(failed_step(stderr), Some("frontend"));
        assert_eq!(
            failed_step(" > [frontend internal] load metadata for docker.io/x:\n"),
            None
        );
        assert_eq!(failed_step("ERROR: failed to connect\n"), None);
    }

    #[test]
    fn a_step_that_failed_is_quoted_from_its_first_error_on() {
        let excerpt = "------\nDockerfile.a:12\n--------------------\n  12 | >>> RUN cargo build\n--------------------\n\
                       ERROR: target a: failed to solve: exit code: 101\n";
        let compiled = format!(
            "#9 0.3 error: elsewhere\n------\n > [a build 3/4] RUN cargo build:\n0.401    Compiling a v0.1.0\n\
             12.30 error[E0425]: cannot find value `x`\n12.30  --> services/a/src/main.rs:3:5\n12.31 \n12.4 error: could not compile\n{excerpt}"
        );
        assert_eq!(
            said_by_failed_step(&compiled, 9),
            "error[E0425]: cannot find value `x`\n --> services/a/src/main.rs:3:5\nerror: could not compile"
        );
        let shell = format!("------\n > [a 2/2] RUN x:\n0.1 begins\n0.2 sh: x: not found\n{excerpt}");
        assert_eq!(said_by_failed_step(&shell, 9), "sh: x: not found\nbegins");
        let silent = "ERROR: failed to solve: the Dockerfile cannot be empty\n";
        assert_eq!(said_by_failed_step(silent, 9), silent.trim_end());
    }

    #[test]
    fn a_single_target_that_failed_is_not_named() {
        let stderr = "#2 DONE 0.0s\nERROR: failed to solve: the Dockerfile cannot be empty\n";
        assert_eq!(failed_target(stderr), None);
        assert!(failed_to_solve(stderr));
        assert!(!failed_to_solve("ERROR: failed to connect to the docker API\n"));
    }

    #[test]
    fn what_cannot_be_fetched_is_no_fault_of_what_is_built() {
        let failed =
            |step: &str, why: &str| format!("#9 ERROR: x\n------\n > {step}:\n------\nERROR: {why}\n");
        let away = "failed to solve: rust:1: failed to resolve source metadata for docker.io/library/rust:1: 429 Too Many Requests";
        let named = format!("target frontend: {away}");
        for (step, why) in [
            (
                "[frontend internal] load metadata for docker.io/library/rust:1",
                away,
            ),
            ("[internal] load metadata for docker.io/library/rust:1", &named),
            (
                "[frontend chef 1/4] FROM docker.io/library/rust:1",
                "failed to solve: i/o timeout",
            ),
            (
                "exporting to docker image format",
                "failed to solve: no such file",
            ),
        ] {
            assert!(!failed_in_what_is_built(&failed(step, why)), "{step}");
        }
        for (step, why) in [
            (
                "[frontend build 3/4] RUN cargo build",
                "failed to solve: exit code: 101",
            ),
            ("[2/2] COPY nothing /", "target a: failed to solve: not found"),
        ] {
            assert!(failed_in_what_is_built(&failed(step, why)), "{step}");
        }
        let malformed =
            "ERROR: failed to solve: dockerfile parse error on line 2: unknown instruction: RUNN\n";
        assert!(failed_in_what_is_built(malformed));
        assert!(!failed_in_what_is_built(
            "ERROR: failed to connect to the docker API\n"
        ));
    }

    #[test]
    fn an_engine_that_went_away_is_no_failed_build() {
        let gone = "#9 [a 1/2] COPY\nERROR: target frontend: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF\n";
        assert!(lost_engine(gone) && !failed_in_what_is_built(gone));
        let failed = "#9 0.3 error: connection refused\n------\nERROR: target frontend: failed to solve: process \"curl\" did not complete successfully: exit code: 7\n";
        assert!(!lost_engine(failed), "the service's own trouble");
    }
}
