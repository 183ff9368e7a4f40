//! The HTML page of a run, from outside: what it links to is there, and `report --open` opens it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::checkout::{Checkout, Ended, ended};
use crate::malformed::one;

/// `report --open` on a desktop whose opener is ours, or on none.
fn open(checkout: &Checkout, display: &str) -> Ended {
    let mut path = vec![checkout.path("desktop")];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let mut command = checkout.command(&["report", "--open"]);
    command
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("DISPLAY", display)
        .env_remove("WAYLAND_DISPLAY");
    ended(command.output().unwrap())
}

/// An opener that writes down what it is given.
fn desktop(checkout: &Checkout) {
    let opened = checkout.path("opened");
    let script = format!(
        "#!/bin/sh\necho \"$1\" > {0}.new && mv {0}.new {0}\n",
        opened.display()
    );
    checkout.write("desktop/xdg-open", &script);
    let executable = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(checkout.path("desktop/xdg-open"), executable).unwrap();
}

fn awaited(path: &Path) -> String {
    let begun = Instant::now();
    while !path.exists() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_page_links_to_what_is_there_and_opens() {
    let checkout = one("page-alpha");
    desktop(&checkout);
    let run = checkout.run(&["lint"]);
    let page = checkout.path("reports/latest/report.html");
    let text = std::fs::read_to_string(&page).unwrap();
    let links: Vec<&str> = text
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|link| !link.starts_with('#'))
        .collect();
    assert!(
        links.contains(&"logs/lint-page-alpha.log"),
        "{links:?} {}",
        run.said()
    );
    for link in links {
        assert!(page.with_file_name(link).is_file(), "{link}");
    }

    // A run of before there were pages.
    std::fs::remove_file(&page).unwrap();
    let said = open(&checkout, "");
    assert_eq!(said.code, Some(0), "{}", said.said());
    assert!(
        said.stdout.contains("/report.html\nno desktop here"),
        "{}",
        said.stdout
    );
    assert!(page.is_file());
    assert!(!checkout.path("opened").exists());

    let said = open(&checkout, ":9");
    assert_eq!(said.code, Some(0), "{}", said.said());
    let opened = awaited(&checkout.path("opened"));
    assert_eq!(Path::new(opened.trim()), page.canonicalize().unwrap());
}

#[test]
fn a_run_that_was_killed_has_no_page_to_open_and_says_so() {
    let checkout = one("page-beta");
    let began =
        r#"{"at_ms":0,"event":"run-started","run_id":"r-1","command":"ci","at":"2026-11-21T10:00:00Z"}"#;
    checkout.write("reports/r-1/events.jsonl", began);
    checkout.write("reports/r-1/logs/build.log", "");
    for form in [["--open", "r-1"], ["--format=html", "r-1"]] {
        let said = checkout.run(&["report", form[0], form[1]]);
        assert_eq!(said.code, Some(3), "{}", said.said());
        assert!(said.stderr.contains("was killed"), "{}", said.stderr);
        assert!(
            said.stderr.contains("hint: run again: `cargo xtask ci`"),
            "{}",
            said.stderr
        );
    }
}
