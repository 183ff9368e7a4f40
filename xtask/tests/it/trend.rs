//! The history that runs leave, and the trend that is told from it.

use std::process::Command;

use serde_json::{Value, json};

use crate::checkout::{Checkout, Ended, ended};
use crate::malformed::one;
use crate::surroundings::Mount;

fn git(checkout: &Checkout, words: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=test", "-c", "user.email=test@localhost"]);
    let said = ended(git.args(words).current_dir(checkout.path("")).output().unwrap());
    assert_eq!(said.code, Some(0), "git {words:?}: {}", said.said());
    said.stdout.trim().to_owned()
}

fn commit(checkout: &Checkout, subject: &str) -> String {
    git(checkout, &["add", "--all"]);
    git(
        checkout,
        &["commit", "--quiet", "--allow-empty", "--message", subject],
    );
    git(checkout, &["rev-parse", "HEAD"])
}

/// A history of two runs; the size of `image` differs, and so does the commit.
fn two_runs(checkout: &Checkout, image: &str, commits: [&str; 2]) {
    let run = |number: usize| {
        json!({
            "version": 1, "run_id": format!("20261121-00000{number}-abcd"), "at": format!("2026-11-21T00:00:0{number}Z"),
            "command": "budget", "commit": {"id": commits[number], "branch": "main", "dirty": false}, "bases": "local",
            "exit_code": 0, "took_ms": 10, "steps_ms": {}, "images": {image: {"unpacked_bytes": 7_000_000 + 1_000_000 * number}},
        })
    };
    checkout.write("reports/history.jsonl", &format!("{}\n{}\n", run(0), run(1)));
}

fn told(said: &Ended) -> Value {
    assert_eq!(said.code, Some(0), "{}", said.said());
    serde_json::from_str(&said.stdout).unwrap()
}

#[test]
fn a_jump_is_named_with_the_commit_that_made_it() {
    let checkout = one("trend-jump");
    checkout.write(".gitignore", "reports/\ncache/\nstate/\n");
    git(&checkout, &["init", "--quiet", "--initial-branch=main"]);
    commit(&checkout, "Begin");
    assert_eq!(checkout.gate("budget").code, Some(0));
    commit(&checkout, "Nothing that an image is made of");
    let known = checkout.run(&["ci", "--service", "trend-jump"]);
    assert!(known.stdout.contains("reused"), "{}", known.said());
    checkout.extend_binary(&[7; 700_000]);
    let guilty = commit(&checkout, "Grow <b>far</b> too much");
    assert_eq!(checkout.gate("budget").code, Some(0));

    let said = checkout.run(&["trend", "--metric", "unpacked"]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    let place = format!("at {} \"Grow <b>far</b> too much\" (run", &guilty[..7]);
    assert!(said.stdout.contains(&place), "{}", said.stdout);
    assert!(
        said.stdout.contains("unpacked size of trend-jump:"),
        "{}",
        said.stdout
    );
    assert!(
        said.stdout.lines().all(|line| line.chars().count() <= 80),
        "{}",
        said.stdout
    );
    let page = std::fs::read_to_string(checkout.path("reports/trend.html")).unwrap();
    assert!(page.contains("Grow &lt;b&gt;far&lt;/b&gt;") && !page.contains("<b>far"));

    let told = told(&checkout.run(&["trend", "--format", "json"]));
    let jump = &told["jumps"][0];
    assert_eq!((&jump["bad"], &jump["commits"]), (&json!(guilty), &json!(1)));
    assert_eq!(told["series"][0]["of"], "trend-jump");
    assert_eq!(told["page"], "reports/trend.html");
}

#[test]
fn commits_that_git_does_not_know_are_a_range_of_ids() {
    let checkout = one("trend-lost");
    let (good, bad) = ("a".repeat(40), "b".repeat(40));
    two_runs(&checkout, "trend-lost", [&good, &bad]);
    let said = checkout.run(&["trend"]);
    let place = "in aaaaaaa..bbbbbbb, which git no longer knows";
    assert!(said.stdout.contains(place), "{}", said.said());
    let unknown = checkout.run(&["trend", "--service", "nobody"]);
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown.stderr.contains("they measured trend-lost"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn a_broken_line_is_passed_over_and_the_next_run_has_a_line_of_its_own() {
    let checkout = one("trend-broken");
    two_runs(&checkout, "trend-broken", ["not a commit", "--help"]);
    let path = checkout.path("reports/history.jsonl");
    let mut text = std::fs::read(&path).unwrap();
    text.extend(b"\xff\xfe\n{\"version\":1,\"run_id\":\"cut o");
    std::fs::write(&path, text).unwrap();
    assert_eq!(checkout.run(&["lint"]).code, Some(0));
    let told = told(&checkout.run(&["trend", "--format", "json"]));
    assert_eq!(told["runs"], 3, "{told}");
    let broken = json!([{"line": 3, "why": "not UTF-8"}, {"line": 4, "why": "cut off"}]);
    assert_eq!(told["unreadable_lines"], broken);
    let said = checkout.run(&["trend"]);
    assert!(
        said.stdout
            .contains("2 lines of reports/history.jsonl cannot be read: line 3 (not UTF-8)"),
        "{}",
        said.stdout
    );
}

#[test]
fn without_a_history_there_is_a_sentence() {
    let checkout = one("trend-none");
    let said = checkout.run(&["trend"]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    assert!(
        said.stdout.starts_with("no run was recorded yet"),
        "{}",
        said.stdout
    );
    assert!(!checkout.path("reports/trend.html").exists());
    assert_eq!(told(&checkout.run(&["trend", "--format", "json"]))["runs"], 0);
}

#[test]
fn a_history_that_cannot_be_written_fails_no_run_and_a_page_no_trend() {
    let checkout = one("trend-read-only");
    std::fs::create_dir_all(checkout.path("reports/history.jsonl")).unwrap();
    let said = checkout.run(&["lint"]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    assert!(
        said.stdout.contains("this run is not in the history"),
        "{}",
        said.stdout
    );
    std::fs::remove_dir(checkout.path("reports/history.jsonl")).unwrap();

    two_runs(&checkout, "trend-read-only", ["a", "b"]);
    let Some(_mounted) = Mount::again_read_only(&checkout.path("reports")) else {
        println!("mounts are for root alone: a folder that root cannot write cannot be had here");
        return;
    };
    let said = checkout.run(&["trend"]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    assert!(
        said.stdout.contains("unpacked size of trend-read-only"),
        "{}",
        said.said()
    );
    assert!(said.stderr.contains("no picture: "), "{}", said.stderr);
}
