//! `reproduce` on small checkouts under git: what is the same passes, and what is not is named by its file. The images
//! are made by a shell of the builder's, nothing is compiled.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::checkout::{Checkout, Ended, Fixture, builder, ended};

/// A checkout of services with what makes the one file of each image, committed.
fn checkout(services: &[(&str, &str)]) -> Checkout {
    let checkout = Checkout::new(services.iter().map(|(name, _)| Fixture::new(name)).collect());
    for (name, makes) in services {
        let file = format!(
            "FROM {} AS build\nRUN mkdir /out && ({makes}) > /out/file && touch -d @0 /out/file\n\
             FROM scratch AS dev\nFROM scratch AS ci\nFROM scratch AS prod\nARG IMAGE_REVISION=none\n\
             LABEL org.opencontainers.image.revision=\"$IMAGE_REVISION\"\nCOPY --link --from=build /out/file /file\n",
            builder()
        );
        checkout.write(&format!("docker/Dockerfile.{name}"), &file);
    }
    commit(&checkout);
    checkout
}

/// Puts a checkout under git, as it is.
pub(crate) fn commit(checkout: &Checkout) {
    checkout.write(".gitignore", "/reports\n/state\n/cache\n/bin\n");
    git(checkout, &["init", "--quiet"]);
    git(checkout, &["add", "--all"]);
    git(checkout, &["commit", "--quiet", "--message", "first"]);
}

fn git(checkout: &Checkout, words: &[&str]) {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=test", "-c", "user.email=test@localhost"])
        .args(words);
    let said = ended(git.current_dir(checkout.path("")).output().unwrap());
    assert_eq!(said.code, Some(0), "git {words:?}: {}", said.said());
}

fn reproduce(checkout: &Checkout) -> (Ended, Value) {
    let ended = checkout.run(&["reproduce", "--bases", "local", "--format", "json"]);
    let document = serde_json::from_str(&ended.stdout).unwrap_or_default();
    (ended, document)
}

/// The one difference that is told of an image, and whether a second build was made.
fn told(document: &Value, service: &str) -> (Vec<String>, bool) {
    let images = document["images"].as_array().unwrap();
    let image = images.iter().find(|image| image["service"] == service).unwrap();
    let lines = image["differences"].as_array().unwrap().iter();
    let lines = lines.map(|line| line.as_str().unwrap().to_owned()).collect();
    (lines, !image["second"].is_null())
}

#[test]
fn a_random_file_is_named_and_what_is_even_is_the_same() {
    let checkout = checkout(&[
        ("repro-even", "echo same"),
        ("repro-random", "head -c 8 /dev/urandom"),
    ]);
    checkout.write("services/repro-even/src/other.rs", "");
    let (ended, document) = reproduce(&checkout);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert_eq!(told(&document, "repro-even"), (Vec::new(), true));
    let (lines, _) = told(&document, "repro-random");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("layer 1 (COPY ") && lines[0].ends_with(": /file: content"),
        "{lines:?}"
    );
    let notes = document["notes"].to_string();
    assert!(
        notes.contains("services/repro-even/src/other.rs") && notes.contains("this machine made"),
        "{notes}"
    );
    // Nothing of it stays: no clone, no archive, no name in the engine.
    assert!(!checkout.path("reports/latest/reproduce").exists());
    let mut list = Command::new("docker");
    list.args(["image", "ls", "--quiet", "horme-test-repro-random"]);
    assert_eq!(crate::checkout::ended(list.output().unwrap()).stdout, "");
}

#[test]
fn the_time_in_a_file_is_refuted_by_one_build_where_an_image_was_proven() {
    let checkout = checkout(&[("repro-even-too", "echo same"), ("repro-time", "date +%s%N")]);
    let built = checkout.run(&["build", "--bases", "local"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    let (ended, document) = reproduce(&checkout);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let (lines, again) = told(&document, "repro-time");
    assert!(
        lines.len() == 1 && lines[0].ends_with(": /file: content"),
        "{lines:?}"
    );
    assert!(!again, "one build is enough to refute");
    assert_eq!(told(&document, "repro-even-too"), (Vec::new(), false));
    let alone = checkout.run(&["reproduce", "--bases", "local", "--service", "repro-even-too"]);
    assert_eq!(alone.code, Some(0), "{}", alone.said());
    assert!(
        alone.stdout.contains("1 of 1 images the same"),
        "{}",
        alone.said()
    );
}

#[test]
fn a_commit_that_does_not_build_is_no_difference() {
    let checkout = checkout(&[("repro-broken", "no-such-program")]);
    let ended = checkout.run(&["reproduce", "--bases", "local"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    let said = ended.said();
    assert!(
        said.contains("does not build") && said.contains("no-such-program"),
        "{said}"
    );
}

#[test]
fn what_a_killed_run_left_is_swept() {
    let checkout = checkout(&[("repro-slow", "sleep 60; echo same")]);
    let mut run = checkout
        .command(&["reproduce", "--bases", "local"])
        .spawn()
        .unwrap();
    let left = checkout.path("reports/latest/reproduce/first-images/bake.json");
    assert!(appears(&left, &mut run), "the build did not begin");
    run.kill().unwrap();
    run.wait().unwrap();
    let swept = checkout.run(&["clean"]);
    assert_eq!(swept.code, Some(0), "{}", swept.said());
    assert!(swept.said().contains("1 folder"), "{}", swept.said());
    assert!(!checkout.path("reports/latest/reproduce").exists());
}

fn appears(path: &std::path::Path, run: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !path.exists() {
        if Instant::now() > deadline || run.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}
