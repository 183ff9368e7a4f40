//! The workflows of GitHub against the code: a command, a flag, a path or a platform that is renamed on one side alone
//! fails here, and so does a right, a pin or a line of shell that came in unnoticed. Tests only.

mod drift;
mod form;
mod rules;
mod script;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use crate::cli::Cli;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

fn texts() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(root().join(".github/workflows")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    paths.map(text).collect()
}

/// The variables that commands take their settings from.
fn variables() -> BTreeSet<String> {
    let command = Cli::command();
    let arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let known = arguments.filter_map(clap::Arg::get_env);
    known.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn the_workflows_and_the_code_agree() {
    let faults = rules::faults(&texts(), &readme());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whoever looks for a setting looks there: each variable of an argument, in whichever table.
#[test]
fn every_variable_that_a_command_reads_is_in_the_readme() {
    let readme = readme();
    let missing = |name: &String| !readme.contains(&format!("`{name}`"));
    let missing: Vec<String> = variables().into_iter().filter(missing).collect();
    assert!(missing.is_empty(), "README.md does not explain {missing:?}");
}

#[test]
fn whatever_drifts_is_named() {
    for (file, from, to, said) in drift::DRIFT {
        let mut texts = texts();
        let text = texts.get_mut(file).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        *text = text.replace(from, to);
        let faults = rules::faults(&texts, &readme());
        let named = faults.iter().any(|fault| fault.contains(said));
        assert!(named, "{file}: {from:?} -> {to:?}: {faults:?}");
    }
}

#[test]
fn a_workflow_that_no_rule_knows_is_refused_and_so_is_one_that_went() {
    let mut more = texts();
    more.insert(
        "deploy.yml".to_owned(),
        more["test.yml"].replace("test-", "deploy-"),
    );
    let faults = rules::faults(&more, &readme());
    assert!(
        faults.iter().any(|fault| fault.starts_with("deploy.yml: there")),
        "{faults:?}"
    );
    let mut less = texts();
    less.remove("nightly.yml");
    let faults = rules::faults(&less, &readme());
    assert!(
        faults.iter().any(|fault| fault.starts_with("nightly.yml: there")),
        "{faults:?}"
    );
}

/// Whatever has a lock file, a pin or a commit is brought up to date, and nothing on the day of its release.
#[test]
fn everything_that_is_pinned_is_kept_up_to_date() {
    let text = std::fs::read_to_string(root().join(".github/dependabot.yml")).unwrap();
    let config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let updates = config["updates"].as_array().unwrap();
    let folders = |ecosystem: &str| -> Vec<String> {
        let of = updates
            .iter()
            .filter(|update| update["package-ecosystem"] == ecosystem);
        let named = of.flat_map(|update| match update["directories"].as_array() {
            Some(several) => several.clone(),
            None => vec![update["directory"].clone()],
        });
        named.map(|folder| folder.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(folders("github-actions"), ["/"]);
    for (ecosystem, file, known) in [
        ("cargo", "Cargo.lock", &["/", "/xtask"][..]),
        ("docker", "Dockerfile", &["/docker", "/docker/faults"]),
    ] {
        assert_eq!(folders(ecosystem), known);
        for folder in known {
            let entries = std::fs::read_dir(root().join(folder.trim_start_matches('/'))).unwrap();
            let mut names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
            assert!(names.any(|name| name.starts_with(file)), "{folder} has no {file}");
        }
    }
    for update in updates {
        assert!(
            update["cooldown"]["default-days"].as_u64().unwrap() >= 7,
            "{update}"
        );
        assert!(update["groups"].is_object(), "{update}");
    }
}
