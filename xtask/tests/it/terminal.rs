//! What a run says, and to whom: a program, a log, GitHub, a terminal; and that every error has its remedy.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::checkout::{Checkout, Ended, Fixture, ended, signal};

fn one(name: &str) -> Checkout {
    Checkout::new(vec![Fixture::new(name)])
}

/// Its lint is violated: the user is root.
fn rooted(name: &str) -> Checkout {
    let user = "USER 0";
    Checkout::new(vec![Fixture {
        user,
        ..Fixture::new(name)
    }])
}

fn with(checkout: &Checkout, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = checkout.command(arguments);
    // What this test is run under says nothing of what it tests.
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "GITHUB_ACTIONS"] {
        command.env_remove(name);
    }
    ended(command.envs(variables.iter().copied()).output().unwrap())
}

fn events(stdout: &str) -> Vec<Value> {
    let parsed = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    parsed.collect()
}

#[test]
fn a_program_reads_one_event_a_line_and_nothing_else() {
    let checkout = one("term-json");
    let said = checkout.run(&["lint", "--format", "json"]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    let told = events(&said.stdout);
    assert_eq!(told[0]["event"], "run-started");
    assert!(
        told.iter()
            .any(|event| event["event"] == "judged" && event["gate"] == "lint")
    );
    let last = told.last().unwrap();
    assert_eq!(
        (&last["event"], &last["exit_code"]),
        (&"run-ended".into(), &0.into())
    );
    assert!(said.stderr.is_empty(), "{}", said.stderr);
    let programs = |stdout: &str| {
        events(stdout)
            .iter()
            .any(|event| event["event"] == "program-started")
    };
    assert!(!programs(&said.stdout));
    let verbose = checkout.run(&["lint", "--fresh", "--verbose", "--format", "json"]);
    assert!(programs(&verbose.stdout), "{}", verbose.said());
}

#[test]
fn an_error_is_an_event_too() {
    let checkout = one("term-error");
    // In a run, and before there is one.
    for (words, last) in [
        (["lint", "-s", "nobody"], "run-ended"),
        (["plan", "-s", "nobody"], "error"),
    ] {
        let mut command = checkout.command(&words);
        let said = ended(command.env("HORME_FORMAT", "json").output().unwrap());
        assert_eq!(said.code, Some(2), "{}", said.said());
        let told = events(&said.stdout);
        assert_eq!(told.last().unwrap()["event"], last, "{}", said.stdout);
        let error = told.iter().find(|event| event["event"] == "error").unwrap();
        assert_eq!(error["exit_code"], 2);
        assert!(error["error"].as_str().unwrap().contains("nobody"), "{error}");
        assert!(error["hint"].is_string(), "{error}");
    }
    let swept = checkout.run(&["clean", "--dry-run", "--format", "json"]);
    let told = events(&swept.stdout);
    assert!(
        told.last().unwrap()["text"]
            .as_str()
            .unwrap()
            .starts_with("would sweep"),
        "{}",
        swept.stdout
    );
}

#[test]
fn quiet_says_what_is_not_well_and_the_last_line() {
    let well = one("term-quiet").run(&["lint", "--quiet"]);
    assert_eq!(well.stdout.lines().count(), 1, "{}", well.stdout);
    assert!(
        well.stdout.starts_with("1 passed; exit 0 after "),
        "{}",
        well.stdout
    );
    assert!(
        well.stdout.trim_end().ends_with("/report.html"),
        "{}",
        well.stdout
    );
    let bad = rooted("term-quiet-bad").run(&["lint", "-q"]);
    assert_eq!(bad.code, Some(1), "{}", bad.said());
    let lines: Vec<&str> = bad.stdout.lines().collect();
    assert!(
        lines[0].starts_with("term-quiet-bad lint violated: "),
        "{}",
        bad.stdout
    );
    assert!(
        lines.iter().any(|line| line.starts_with("  hint: ")),
        "{}",
        bad.stdout
    );
    let [bundle, last] = lines[lines.len() - 2..] else {
        panic!("{}", bad.stdout)
    };
    assert!(
        bundle.starts_with("failure bundle: reports/") && bundle.ends_with("/bundle/INDEX.md"),
        "{}",
        bad.stdout
    );
    assert!(last.contains("1 violated; exit 1 after "), "{}", bad.stdout);
}

#[test]
fn verbose_names_steps_and_programs_with_their_times() {
    let said = one("term-verbose").run(&["lint", "-v"]);
    assert!(said.stdout.contains("] planning begins\n"), "{}", said.stdout);
    assert!(said.stdout.contains("] planning ended after "), "{}", said.stdout);
    assert!(said.stdout.contains("] $ cargo metadata "), "{}", said.stdout);
    assert!(
        said.stdout.contains("] # cargo metadata --format-version"),
        "{}",
        said.stdout
    );
}

#[test]
fn on_github_gates_fold_and_what_is_not_well_is_annotated_outside_of_them() {
    let checkout = rooted("term-github");
    let said = with(&checkout, &["lint"], &[("GITHUB_ACTIONS", "true")]);
    assert_eq!(said.code, Some(1), "{}", said.said());
    let at = |beginning: &str| {
        let found = said.stdout.lines().position(|line| line.starts_with(beginning));
        found.unwrap_or_else(|| panic!("no '{beginning}' in:\n{}", said.stdout))
    };
    let annotation = at("::error file=docker/Dockerfile.term-github,line=");
    assert!(at("::group::lint") < at("::endgroup::") && at("::endgroup::") < annotation);
    let groups = |word: &str| said.stdout.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(groups("::group::"), groups("::endgroup::"));
    assert!(
        said.stdout.lines().last().unwrap().contains("exit 1 after"),
        "{}",
        said.stdout
    );
    let early = with(
        &checkout,
        &["lint", "-s", "nobody"],
        &[("GITHUB_ACTIONS", "true")],
    );
    assert!(
        early
            .stdout
            .contains("\n::error title=lint ended early::error: no service"),
        "{}",
        early.said()
    );
}

#[test]
fn colour_is_asked_for_or_refused() {
    let checkout = rooted("term-colour");
    let coloured = |words: &[&str], variables: &[(&str, &str)]| {
        let words: Vec<&str> = ["lint"].iter().chain(words).copied().collect();
        with(&checkout, &words, variables).stdout.contains('\u{1b}')
    };
    assert!(!coloured(&[], &[]), "a pipe");
    assert!(coloured(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(coloured(&["--color", "always"], &[("NO_COLOR", "1")]));
    assert!(!coloured(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!coloured(&["--color=never"], &[("CLICOLOR_FORCE", "1")]));
}

/// The command on a terminal of its own (80 x 24, for it is told no size); nothing where none can be had.
fn on_a_terminal(checkout: &Checkout, words: &str, variables: &[(&str, &str)]) -> Option<String> {
    let mut script = Command::new("script");
    let line = format!("{} {words}", env!("CARGO_BIN_EXE_xtask"));
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    for (name, value) in checkout.command(&[]).get_envs() {
        script.env(name, value.unwrap_or_default());
    }
    for name in [
        "CI",
        "NO_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "GITHUB_ACTIONS",
        "HORME_VULN_DB",
        "HORME_TRIVY",
    ] {
        script.env_remove(name);
    }
    script.env("TERM", "xterm").envs(variables.iter().copied());
    let output = script
        .current_dir(checkout.path(""))
        .stdin(Stdio::null())
        .output();
    output
        .ok()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_terminal_gets_a_table_that_stands() {
    let checkout = rooted("term-live");
    // There will be a note after the table's end.
    checkout.write("reports/history.jsonl/no-file", "");
    let Some(said) = on_a_terminal(&checkout, "lint", &[]) else {
        println!("there is no `script` here: no terminal can be had");
        return;
    };
    assert!(said.contains("image      lint"), "{said:?}");
    assert!(said.contains("A\u{1b}[J"), "drawn in place: {said:?}");
    let (_, since) = said.rsplit_once("image      lint").unwrap();
    assert!(
        since.contains("history.jsonl") && since.contains("failure bundle: "),
        "{said:?}"
    );
    assert!(!since.contains("\u{1b}[J"), "the last table stands: {said:?}");
    assert!(
        said.contains("\u{1b}[1m\u{1b}[31mviolated") || said.contains("\u{1b}[31m\u{1b}[1mviolated"),
        "{said:?}"
    );
    let bare = on_a_terminal(&checkout, "lint", &[("NO_COLOR", "1")]).unwrap();
    assert!(
        bare.contains("violated") && !bare.contains("\u{1b}[31m"),
        "{bare:?}"
    );
    for plain in [("TERM", "dumb"), ("CI", "1")] {
        let said = on_a_terminal(&checkout, "lint", &[plain]).unwrap();
        assert!(said.contains("s] lint    term-live"), "{plain:?}: {said:?}");
        assert!(!said.contains("\u{1b}[J"), "{plain:?}: {said:?}");
    }
}

/// Interrupted, it must not go on without the lock: it would take away what the other one works on.
#[test]
fn a_set_up_that_waits_for_another_is_interrupted_and_touches_nothing() {
    let checkout = one("term-waits");
    assert_eq!(checkout.run(&["lint"]).code, Some(0));
    let earlier = std::fs::read_link(checkout.path("reports/latest")).unwrap();
    checkout.write("state/horme/setup.lock", "");
    checkout.write("target/horme/debian-other.tar", "half");
    let lock = std::fs::File::open(checkout.path("state/horme/setup.lock")).unwrap();
    lock.lock().unwrap();
    let child = checkout.command(&["setup"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let waits = || {
        let events = std::fs::read_to_string(checkout.path("reports/latest/events.jsonl"));
        events.is_ok_and(|events| events.contains("waiting for it"))
    };
    while !waits() {
        assert!(Instant::now() < deadline, "it never waited");
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "-INT");
    let said = ended(child.wait_with_output().unwrap());
    assert_eq!(said.code, Some(130), "{}", said.said());
    assert!(
        said.stdout.contains("not all is there; exit 130 after "),
        "{}",
        said.said()
    );
    assert!(checkout.path("target/horme/debian-other.tar").is_file());
    let report = checkout.run(&["report"]);
    assert_eq!(report.code, Some(3), "{}", report.said());
    assert!(
        report
            .stderr
            .contains("(setup) ended with 130; no gate judged anything"),
        "{}",
        report.said()
    );
    let newest = format!("cargo xtask report {}", earlier.display());
    assert!(report.stderr.contains(&newest), "{}", report.said());
}

#[test]
fn a_refused_variable_is_named() {
    let checkout = one("term-variable");
    for value in ["", "xml"] {
        let said = with(&checkout, &["lint"], &[("HORME_FORMAT", value)]);
        assert_eq!(said.code, Some(2), "{}", said.said());
        assert!(
            said.stderr.contains("\nhint: it comes from HORME_FORMAT"),
            "{}",
            said.stderr
        );
    }
    let said = with(&checkout, &["lint", "--format=xml"], &[("HORME_FORMAT", "json")]);
    assert!(!said.stderr.contains("HORME_FORMAT"), "{}", said.stderr);
}

#[test]
fn a_joint_build_that_fails_is_the_fault_of_the_image_that_failed() {
    let checkout = Checkout::new(vec![Fixture::new("term-fails"), Fixture::new("term-stands")]);
    let dockerfile = std::fs::read_to_string(checkout.path("docker/Dockerfile.term-fails")).unwrap();
    checkout.write(
        "docker/Dockerfile.term-fails",
        &format!("{dockerfile}RUN [\"/nowhere\"]\n"),
    );
    let said = checkout.run(&["build"]);
    assert_eq!(said.code, Some(1), "{}", said.said());
    let lines: Vec<&str> = said.stdout.lines().collect();
    let head = lines
        .iter()
        .find(|line| line.starts_with("term-fails build violated: "));
    assert!(
        head.is_some_and(|line| line.contains("/nowhere")),
        "{}",
        said.said()
    );
    let other = "term-stands build undecided: the joint build failed in term-fails";
    assert!(lines.contains(&other), "{}", said.said());
    assert!(!said.stdout.contains("| ------"), "{}", said.said());
}

/// Ctrl-C while the tests run: told, swept and ended as by an interruption.
#[test]
fn tests_that_are_interrupted_end_with_130() {
    let checkout = one("term-tests");
    checkout.write(
        "services/term-tests/build.rs",
        "fn main() { std::thread::sleep(std::time::Duration::from_secs(60)) }\n",
    );
    let child = checkout.command(&["test"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let log = checkout.path("reports/latest/logs/test.log");
    while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains("Compiling term-tests")) {
        assert!(Instant::now() < deadline, "cargo never began");
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "-INT");
    let said = ended(child.wait_with_output().unwrap());
    assert_eq!(said.code, Some(130), "{}", said.said());
    assert!(
        said.stdout.ends_with("0 passed, 0 failed, 0 skipped\n"),
        "{}",
        said.said()
    );
    assert!(!said.stderr.contains("error: "), "{}", said.stderr);
    let told = std::fs::read_to_string(checkout.path("reports/latest/events.jsonl")).unwrap();
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["exit_code"]),
        (&"run-ended".into(), &130.into())
    );
}

#[test]
fn every_wrong_usage_says_what_is_wrong_and_what_to_do() {
    let checkout = one("term-usage");
    let wrong: [(&[&str], i32); 12] = [
        (&["ci", "--service", "nobody"], 2),
        (&["why", "nobody"], 2),
        (&["lint", "--formt", "json"], 2),
        (&["lint", "--format", "xml"], 2),
        (&["lnt"], 2),
        (&["lint", "--quiet", "--verbose"], 2),
        (&["scan", "--vuln-db", "/nowhere"], 2),
        (&["new", "Bad Name"], 2),
        (&["faults", "--fault", "tired"], 2),
        (&["man", "/proc/nowhere"], 2),
        (&["report", "20260101-000000-none"], 2),
        (&["completions", "basic"], 2),
    ];
    for (words, code) in wrong {
        let said = checkout.run(words);
        assert_eq!(said.code, Some(code), "{words:?}: {}", said.said());
        well_said(&said, &format!("{words:?}"));
    }
    let engineless = with(&checkout, &["boot"], &[("DOCKER_HOST", "tcp://127.0.0.1:1")]);
    assert_eq!(engineless.code, Some(3), "{}", engineless.said());
    well_said(&engineless, "no engine");
    let elsewhere = tempfile::tempdir().unwrap();
    let said = ended(
        checkout
            .command(&["ci"])
            .current_dir(elsewhere.path())
            .output()
            .unwrap(),
    );
    assert_eq!(said.code, Some(2), "{}", said.said());
    well_said(&said, "in no workspace");
}

fn well_said(said: &Ended, of: &str) {
    assert!(said.stderr.starts_with("error: "), "{of}: {}", said.stderr);
    assert!(said.stderr.contains("\nhint: "), "{of}: {}", said.stderr);
}

#[test]
fn a_shell_takes_the_completions_and_each_command_has_a_page() {
    let checkout = one("term-pages");
    let script = checkout.run(&["completions", "bash"]);
    checkout.write("xtask.bash", &script.stdout);
    let mut bash = Command::new("bash");
    // What a shell does when TAB is pressed after `xtask netw`.
    let asked = "source ./xtask.bash; complete -p xtask >&2; COMP_WORDS=(xtask netw); COMP_CWORD=1; \
                 _xtask xtask netw xtask; echo \"${COMPREPLY[@]}\"";
    let said = ended(
        bash.args(["-c", asked])
            .current_dir(checkout.path(""))
            .output()
            .unwrap(),
    );
    assert_eq!(said.stdout.trim(), "network", "{}", said.said());
    let man = checkout.run(&["man", "pages"]);
    assert_eq!(man.code, Some(0), "{}", man.said());
    for page in ["cargo-xtask.1", "cargo-xtask-ci.1", "cargo-xtask-faults.1"] {
        let text = std::fs::read_to_string(checkout.path("pages").join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
}
