//! What a job's commands need and set-up cannot bring on GitHub's machines.

use super::form::{Row, Step, Workflow};

const COSIGN: &str = "sigstore/cosign-installer";
const ENGINE: &str = "docker/setup-docker-action";
const LOGIN: &str = "docker/login-action";

/// It is there before it is needed, in a version that is written down; and what logs in comes after what compiles.
pub fn faults(workflow: &Workflow) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, job) in &workflow.jobs {
        let place = |action| job.steps.iter().position(|step| step.action() == Some(action));
        let runs = |step: &Step| step.run.is_some();
        let needs_cosign = |step: &Step| step.run.as_deref().is_some_and(signs_or_checks);
        let first = job.steps.iter().position(needs_cosign);
        if first.is_some_and(|first| place(COSIGN).is_none_or(|there| there > first)) {
            wrong.push(format!(
                "{name}: it signs or checks signatures, and {COSIGN} comes not before"
            ));
        }
        let compiled = job.steps.iter().position(runs);
        if place(LOGIN).is_some_and(|login| compiled.is_none_or(|compiled| compiled > login)) {
            wrong.push(format!(
                "{name}: our code is compiled with a registry's login in reach"
            ));
        }
        for (action, input) in [(COSIGN, "cosign-release"), (ENGINE, "version")] {
            for step in job.using(action) {
                if !is_version(&step.input(input, &Row::new())) {
                    wrong.push(format!("{name}: {:?} must name a version: {input}", step.name));
                }
            }
        }
    }
    wrong
}

/// Whether a step's command starts cosign; the tests in an image have none to start.
fn signs_or_checks(run: &str) -> bool {
    let words: Vec<&str> = run.split_whitespace().collect();
    match words.get(2) {
        Some(&"release" | &"rescan" | &"verify") => true,
        Some(&"test") => !words.contains(&"--in-image"),
        _ => false,
    }
}

/// `v1.2.3`
fn is_version(text: &str) -> bool {
    text.strip_prefix('v')
        .is_some_and(|version| semver::Version::parse(version).is_ok())
}
