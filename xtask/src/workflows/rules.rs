//! What must hold of the workflows: who may what, that nothing but this repository's own commands decides, and that
//! what one hands on is what the other takes. Pure: texts in, everything that is wrong out.

use std::collections::{BTreeMap, BTreeSet};

use clap::Parser;

use super::form::{self, Job, Row, Workflow};
use super::tools;
use crate::cli::Cli;
use crate::report;

/// Which workflow is there for which commands, with what they cannot be without.
const COMMANDS: [(&str, &[&[&str]]); 5] = [
    (
        "build.yml",
        &[&["ci", "--setup", "--strict", "--fresh", "--export"]],
    ),
    ("ci.yml", &[&["ci", "--setup", "--strict"]]),
    (
        "nightly.yml",
        &[
            &["faults", "--setup"],
            &["reproduce", "--setup"],
            &["rescan", "--setup"],
            &["selftest", "--setup"],
        ],
    ),
    ("release.yml", &[&["release", "--setup", "--images"]]),
    (
        "test.yml",
        &[&["test", "--setup"], &["test", "--in-image", "--setup"]],
    ),
];

/// Of a pull request, whether it comes from a fork: then it has no right to write, and its job would fail.
const NO_FORK: &str = "github.event.pull_request.head.repo.full_name == github.repository";

pub(super) const UPLOAD: &str = "actions/upload-artifact";
pub(super) const DOWNLOAD: &str = "actions/download-artifact";

/// Everything that is wrong: `<file>: <what>`. `texts`: name of the file -> its content.
pub fn faults(texts: &BTreeMap<String, String>, readme: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut read = BTreeMap::new();
    for (file, text) in texts {
        let mut wrong = |what: String| faults.push(format!("{file}: {what}"));
        match form::parse(text) {
            Err(why) => wrong(why),
            Ok(workflow) => {
                pins(text).into_iter().for_each(&mut wrong);
                rights(&workflow, text).into_iter().for_each(&mut wrong);
                limits(&workflow).into_iter().for_each(&mut wrong);
                commands(file, &workflow).into_iter().for_each(&mut wrong);
                tools::faults(&workflow).into_iter().for_each(&mut wrong);
                artifacts(&workflow).into_iter().for_each(&mut wrong);
                read.insert(file.as_str(), workflow);
            }
        }
    }
    let planned: BTreeSet<&str> = COMMANDS.iter().map(|(file, _)| *file).collect();
    let there: BTreeSet<&str> = texts.keys().map(String::as_str).collect();
    for file in planned.symmetric_difference(&there) {
        faults.push(format!("{file}: there, or known to the rules, and not both"));
    }
    let groups: BTreeSet<&str> = read
        .values()
        .map(|workflow| workflow.concurrency.group.as_str())
        .collect();
    if groups.len() != read.len() {
        faults.push("two workflows share a concurrency group: one would cut the other off".to_owned());
    }
    if let (Some(build), Some(release)) = (read.get("build.yml"), read.get("release.yml")) {
        faults.extend(images(build, release, readme));
    }
    faults
}

/// An action is named by the commit that it is, with the version beside it; a workflow of this repository by its path.
fn pins(text: &str) -> Vec<String> {
    let pinned = regex::Regex::new(r"^[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+$").unwrap();
    let named = text.lines().filter_map(|line| line.trim().split_once("uses: "));
    let named = named.filter(|(before, _)| matches!(*before, "" | "- "));
    let of_ours = |uses: &str| uses.starts_with("./.github/workflows/");
    let loose = named.filter(|(_, uses)| !pinned.is_match(uses) && !of_ours(uses));
    loose
        .map(|(_, uses)| format!("{uses}: name 40 digits of a commit, and ` # v1.2.3`"))
        .collect()
}

/// Nothing by default; what runs our code reads the source alone, but for the job that publishes.
fn rights(workflow: &Workflow, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !workflow.permissions.is_empty() {
        wrong.push("permissions at the top: {} and nothing else".to_owned());
    }
    if text.contains("secrets.") {
        wrong.push("secrets: there is none that a job needs".to_owned());
    }
    for event in ["pull_request_target", "workflow_run"] {
        if workflow.on.to_string().contains(event) {
            wrong.push(format!("{event}: a fork's code would meet a token that writes"));
        }
    }
    for (name, job) in &workflow.jobs {
        let commands: Vec<&str> = job.steps.iter().filter_map(|step| step.run.as_deref()).collect();
        let publishes = commands.iter().any(|run| run.contains(" release "));
        let runs = !commands.is_empty();
        let writes = job.permissions.iter().filter(|(_, level)| *level != "read");
        let writes: Vec<&str> = writes.map(|(scope, _)| scope.as_str()).collect();
        if runs
            && !publishes
            && !(writes.is_empty() && job.permissions.keys().all(|scope| scope == "contents"))
        {
            wrong.push(format!(
                "{name}: it runs our code, and may more than read the source"
            ));
        }
        let hands_token = job.steps.iter().any(|step| {
            step.with
                .values()
                .any(|value| value.to_string().contains("github.token"))
        });
        if hands_token && !publishes {
            wrong.push(format!("{name}: it hands the job's token to a step"));
        }
        let tells = writes
            .iter()
            .any(|scope| ["pull-requests", "security-events"].contains(scope));
        if tells && !job.r#if.as_deref().is_some_and(|when| when.contains(NO_FORK)) {
            wrong.push(format!(
                "{name}: of a fork's pull request it would fail: `{NO_FORK}`"
            ));
        }
    }
    wrong
}

/// No job without an end, no credentials left in a checkout, no artifact that is kept for ever.
fn limits(workflow: &Workflow) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, job) in &workflow.jobs {
        if job.uses.is_none() && (job.timeout_minutes.is_none() || job.runs_on.is_none()) {
            wrong.push(format!("{name}: timeout-minutes and runs-on are needed"));
        }
        for step in &job.steps {
            let input = |input| step.input(input, &Row::new());
            if step.action() == Some("actions/checkout") && input("persist-credentials") != "false" {
                wrong.push(format!("{name}: {:?} leaves credentials behind", step.name));
            }
            let days: u32 = input("retention-days").parse().unwrap_or_default();
            if step.action() == Some(UPLOAD) && !(1..=90).contains(&days) {
                wrong.push(format!("{name}: {:?} has no retention-days up to 90", step.name));
            }
            if step.action() == Some("actions/cache") {
                wrong.push(format!(
                    "{name}: {:?} brings a cache, which nothing here bounds",
                    step.name
                ));
            }
        }
    }
    wrong
}

/// Each step is one command that there is, each command that a workflow is there for occurs, each variable is known.
fn commands(file: &str, workflow: &Workflow) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut occurring = Vec::new();
    for (name, job) in &workflow.jobs {
        match job.commands() {
            Ok(commands) => occurring.extend(commands),
            Err(why) => wrong.push(format!("{name}: {why}")),
        }
        let steps = job.steps.iter().flat_map(|step| step.env.keys());
        for variable in job
            .env
            .keys()
            .chain(steps)
            .filter(|name| name.starts_with("HORME_"))
        {
            if !super::variables().contains(variable) {
                wrong.push(format!("{name}: no command knows {variable}"));
            }
        }
    }
    for argv in &occurring {
        let words = ["cargo xtask"].into_iter().chain(argv.iter().map(String::as_str));
        if let Err(error) = Cli::try_parse_from(words) {
            let why = error.render().to_string();
            wrong.push(format!("`cargo xtask {}`: {why}", argv.join(" ")));
        }
    }
    let planned = COMMANDS.iter().find(|(name, _)| *name == file);
    let mut planned = planned.map(|(_, commands)| commands.to_vec()).unwrap_or_default();
    // One command stands for one alone, and the most demanding choose first.
    planned.sort_by_key(|words| std::cmp::Reverse(words.len()));
    for needed in planned {
        let has_all = |argv: &Vec<String>| {
            argv.first().map(String::as_str) == Some(needed[0])
                && needed.iter().all(|word| argv.iter().any(|given| given == word))
        };
        match occurring.iter().position(has_all) {
            Some(place) => drop(occurring.swap_remove(place)),
            None => wrong.push(format!("no step runs `cargo xtask {}`", needed.join(" "))),
        }
    }
    wrong
}

/// What is uploaded is what runs write, and what is read is what was uploaded.
fn artifacts(workflow: &Workflow) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut handed_on = BTreeSet::new();
    for (name, job) in &workflow.jobs {
        for step in job.using(UPLOAD) {
            let path = step.input("path", &Row::new());
            let lines: BTreeSet<&str> = path.lines().collect();
            let hides = ["!reports/latest", "!reports/*/secrets", "!reports/*/images"];
            if lines.contains("reports/*/") && !hides.iter().all(|line| lines.contains(line)) {
                wrong.push(format!(
                    "{name}: {:?} must leave out {}",
                    step.name,
                    hides.join(", ")
                ));
            }
            for line in lines.iter().filter(|line| !line.starts_with('!')) {
                match line.strip_prefix("reports/latest/") {
                    Some(form) if [report::SARIF, report::COMMENT].contains(&form) => {
                        handed_on.insert(form.to_owned());
                    }
                    Some(form) => wrong.push(format!("{name}: no run hands {form} on")),
                    None if ["reports/*/", "images", "releases"].contains(line) => {}
                    None => wrong.push(format!("{name}: nothing writes {line}")),
                }
            }
        }
    }
    let readers = [
        ("github/codeql-action/upload-sarif", "sarif_file", report::SARIF),
        ("marocchino/sticky-pull-request-comment", "path", report::COMMENT),
    ];
    for (name, job) in &workflow.jobs {
        let folder = job
            .using(DOWNLOAD)
            .next()
            .map(|step| step.input("path", &Row::new()));
        for (action, input, form) in readers {
            for step in job.using(action) {
                let expected = format!("{}/{form}", folder.as_deref().unwrap_or_default());
                if step.input(input, &Row::new()) != expected || !handed_on.contains(form) {
                    wrong.push(format!(
                        "{name}: {:?} reads what nobody hands on: {form}",
                        step.name
                    ));
                }
            }
        }
    }
    wrong
}

/// The images of each platform on their way: built on a machine of that kind, attested, and every one published.
fn images(build: &Workflow, release: &Workflow, readme: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let nothing = || "build.yml: prove, attest and release.yml: publish are needed".to_owned();
    let (Some(prove), Some(attest)) = (build.jobs.get("prove"), build.jobs.get("attest")) else {
        return vec![nothing()];
    };
    let Some(publish) = release.jobs.get("publish") else {
        return vec![nothing()];
    };
    let platforms = platforms(prove);
    if platforms != self::platforms(attest) {
        wrong.push("build.yml: attest and prove name other platforms".to_owned());
    }
    for row in prove.rows() {
        let (platform, runner) = (&row["platform"], &row["runner"]);
        if platform.ends_with("arm64") != runner.ends_with("-arm") {
            wrong.push(format!("build.yml: {platform} is not what {runner} is"));
        }
        let shown = format!("`{}`", platform.replacen('-', "/", 1));
        if !readme.contains(&shown) {
            wrong.push(format!("build.yml: README.md knows no {shown}"));
        }
        let handed: BTreeSet<String> = uploads(prove, &row);
        let taken = attest.using(DOWNLOAD).map(|step| step.input("name", &row));
        if taken.filter(|name| !handed.contains(name)).count() > 0 {
            wrong.push(format!(
                "build.yml: attest takes of {platform} what prove does not hand on"
            ));
        }
    }
    let exported = words_after("--export", prove);
    let from = attest
        .using(DOWNLOAD)
        .next()
        .map(|step| step.input("path", &Row::new()));
    for step in attest.using("actions/attest-build-provenance") {
        let expected = format!(
            "{}/{}",
            from.as_deref().unwrap_or_default(),
            crate::proof::CHECKSUMS
        );
        if step.input("subject-checksums", &Row::new()) != expected {
            wrong.push(format!("build.yml: attest must name {expected}"));
        }
    }
    let uploaded = prove
        .using(UPLOAD)
        .next()
        .map(|step| step.input("path", &Row::new()));
    if exported.iter().collect::<BTreeSet<_>>() != uploaded.iter().collect() {
        wrong.push(format!(
            "build.yml: exported are {exported:?}, uploaded {uploaded:?}"
        ));
    }
    let folder = publish
        .using(DOWNLOAD)
        .next()
        .map(|step| step.input("path", &Row::new()));
    let folder = folder.unwrap_or_default();
    let expected: BTreeSet<String> = platforms
        .iter()
        .map(|platform| format!("{folder}/images-{platform}"))
        .collect();
    if words_after("--images", publish) != expected {
        wrong.push(format!("release.yml: --images must name {expected:?}"));
    }
    wrong
}

fn platforms(job: &Job) -> BTreeSet<String> {
    let rows = job.rows().into_iter();
    rows.filter_map(|mut row| row.remove("platform")).collect()
}

/// The names under which a job hands something on.
fn uploads(job: &Job, row: &Row) -> BTreeSet<String> {
    job.using(UPLOAD).map(|step| step.input("name", row)).collect()
}

/// The values that a flag has in a job's commands.
fn words_after(flag: &str, job: &Job) -> BTreeSet<String> {
    let commands = job.commands().unwrap_or_default();
    let pairs = commands.iter().flat_map(|argv| argv.windows(2));
    let named = pairs.filter(|pair| pair[0] == flag);
    named.map(|pair| pair[1].clone()).collect()
}
