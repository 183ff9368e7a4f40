//! The steps of a workflow as a script, for a dry run on one machine: each job in a clone of its own, what jobs hand on
//! copied, actions named and left out. Written by a test, from the workflows themselves: nothing is told twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::form::{self, Job, Row, Step, Workflow};
use super::rules::{DOWNLOAD, UPLOAD};

/// Actions that read a file which another job made, and the input that names it.
const READERS: [(&str, &str); 3] = [
    ("github/codeql-action/upload-sarif", "sarif_file"),
    ("marocchino/sticky-pull-request-comment", "path"),
    ("actions/attest-build-provenance", "subject-checksums"),
];

/// The script of `file`, with the machines of `platform` (`linux-amd64`) alone where a job names platforms. A release
/// is a dry run in it. `texts`: name of the file -> its content.
pub fn script(file: &str, texts: &BTreeMap<String, String>, platform: &str) -> Result<String, String> {
    let mut script = format!(
        "#!/bin/sh\n# A dry run of {file}, made of it by a test of xtask. From the checkout that is meant: sh THIS\n\
         set -eux\nSOURCE=$PWD\nWORK=$(mktemp -d)\nmkdir \"$WORK/artifacts\"\n"
    );
    jobs(&workflow(file, texts)?, texts, platform, &mut script)?;
    script.push_str("\nrm -rf \"$WORK\"\n");
    Ok(script)
}

fn workflow(file: &str, texts: &BTreeMap<String, String>) -> Result<Workflow, String> {
    let text = texts.get(file).ok_or_else(|| format!("there is no {file}"))?;
    form::parse(text)
}

/// Every job after the one that it needs.
fn jobs(
    workflow: &Workflow,
    texts: &BTreeMap<String, String>,
    platform: &str,
    script: &mut String,
) -> Result<(), String> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while done.len() < workflow.jobs.len() {
        let is_next = |(name, job): &(&String, &Job)| {
            let waits = job.needs.as_deref().is_some_and(|needed| !done.contains(needed));
            !done.contains(name.as_str()) && !waits
        };
        let next = workflow.jobs.iter().find(is_next);
        let (name, job) = next.ok_or("jobs wait for one another")?;
        match &job.uses {
            Some(path) => {
                let file = path.rsplit('/').next().unwrap_or_default();
                jobs(&self::workflow(file, texts)?, texts, platform, script)?;
            }
            None => {
                for row in job.rows().iter().filter(|row| is_of(row, platform)) {
                    one(name, job, row, platform, script)?;
                }
            }
        }
        done.insert(name);
    }
    Ok(())
}

fn is_of(row: &Row, platform: &str) -> bool {
    row.get("platform").is_none_or(|named| named == platform)
}

fn one(name: &str, job: &Job, row: &Row, platform: &str, script: &mut String) -> Result<(), String> {
    let values: Vec<&str> = row.values().map(String::as_str).collect();
    let folder = format!("$WORK/{}", [&[name], values.as_slice()].concat().join("-"));
    let has_checkout = job.using("actions/checkout").next().is_some();
    let make = if has_checkout {
        "git clone --quiet \"$SOURCE\""
    } else {
        "mkdir"
    };
    say(
        script,
        &format!("\n# job {name}\n{make} \"{folder}\"\ncd \"{folder}\""),
    );
    for step in &job.steps {
        if let Some(argv) = step.command(row)? {
            let environment = job.env.iter().map(|(name, value)| format!("{name}={value} "));
            let words = on_this_machine(&argv, platform).join(" ");
            say(
                script,
                &format!("{}cargo xtask {words}", environment.collect::<String>()),
            );
        } else {
            action(step, row, script);
        }
    }
    Ok(())
}

/// The command, with the images of this machine's kind alone, and publishing nothing.
fn on_this_machine(argv: &[String], platform: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in argv {
        let is_elsewhere = word.contains("images-linux-") && !word.ends_with(platform);
        if is_elsewhere && words.last().is_some_and(|flag| flag == "--images") {
            words.pop();
        } else {
            words.push(word.clone());
        }
    }
    if words.first().is_some_and(|command| command == "release") {
        words.push("--dry-run".to_owned());
    }
    words
}

/// What an action does to files; of the others the name.
fn action(step: &Step, row: &Row, script: &mut String) {
    let action = step.action().unwrap_or_default();
    let input = |name| step.input(name, row);
    say(script, &format!("# {}: {action}", step.name));
    if action == UPLOAD {
        let path = input("path");
        // What has patterns in it is for people.
        if !path.contains(['*', '!']) {
            let kept = format!("\"$WORK/artifacts/{}\"", input("name"));
            let paths: Vec<&str> = path.lines().collect();
            let (from, missing) = match paths.as_slice() {
                [folder] => (format!("{folder}/."), input("if-no-files-found")),
                files => (files.join(" "), String::new()),
            };
            let or = if missing == "warn" { " || true" } else { "" };
            say(script, &format!("mkdir -p {kept}\ncp -a {from} {kept}{or}"));
        }
    } else if action == DOWNLOAD {
        let (name, pattern) = (input("name"), input("pattern"));
        let from = if pattern.is_empty() {
            format!("{name}/.")
        } else {
            pattern
        };
        let path = input("path");
        say(
            script,
            &format!("mkdir -p {path}\ncp -a \"$WORK/artifacts\"/{from} {path}"),
        );
    }
    for (_, input_name) in READERS.iter().filter(|(reader, _)| *reader == action) {
        say(script, &format!("test -s {}", input(input_name)));
    }
}

fn say(script: &mut String, line: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(script, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves `target/horme/workflows/<file>.sh`.
    #[test]
    fn a_dry_run_of_each_workflow_is_written_as_a_script() {
        let texts = super::super::texts();
        let platform = match std::env::consts::ARCH {
            "aarch64" => "linux-arm64",
            _ => "linux-amd64",
        };
        let folder = super::super::root().join("target/horme/workflows");
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["ci.yml", "test.yml", "release.yml", "nightly.yml"] {
            let script = script(file, &texts, platform).unwrap();
            std::fs::write(folder.join(format!("{file}.sh")), script).unwrap();
        }
    }

    #[test]
    fn jobs_follow_what_they_need_and_take_what_is_handed_on() {
        let texts = super::super::texts();
        let commands = |script: &str| -> Vec<String> {
            let lines = script.lines().filter(|line| !line.starts_with('#'));
            lines.map(str::to_owned).collect()
        };
        let release = commands(&script("release.yml", &texts, "linux-arm64").unwrap());
        let at = |line: &str| release.iter().position(|found| found == line);
        let order = [
            "cargo xtask ci --setup --strict --fresh --export images",
            "cp -a images/. \"$WORK/artifacts/images-linux-arm64\"",
            "test -s images/checksums.txt",
            "cp -a \"$WORK/artifacts\"/images-* images",
            "HORME_RELEASES_DIR=releases cargo xtask release --setup --images images/images-linux-arm64 --dry-run",
        ];
        let places: Vec<Option<usize>> = order.iter().map(|line| at(line)).collect();
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{release:#?}"
        );
        assert!(!release.iter().any(|line| line.contains("amd64")), "{release:#?}");
        let ci = commands(&script("ci.yml", &texts, "linux-amd64").unwrap());
        assert!(
            ci.contains(&"cargo xtask ci --setup --strict".to_owned()),
            "{ci:#?}"
        );
        assert!(
            ci.contains(&"test -s for-github/report.sarif".to_owned()),
            "{ci:#?}"
        );
        let nightly = commands(&script("nightly.yml", &texts, "linux-amd64").unwrap());
        let runs = nightly.iter().filter(|line| line.starts_with("cargo xtask"));
        assert_eq!(runs.count(), 4, "{nightly:#?}");
    }
}
