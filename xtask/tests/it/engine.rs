//! An engine that goes away, hangs or refuses in the middle of a gate: undecided, never violated and never passed,
//! with the remedy; and nothing stays.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::checkout::{Checkout, Ended, Fixture, ended};
use crate::foreign::left_of;
use crate::relay::{Fault, Relay};

fn checkout(name: &str) -> Checkout {
    let (caller, callee) = (format!("{name}-caller"), format!("{name}-callee"));
    let ends = |name: &str, calls| Fixture {
        mode: "good",
        calls,
        ..Fixture::new(name)
    };
    Checkout::new(vec![
        ends(&caller, vec![callee.clone()]),
        ends(&callee, Vec::new()),
    ])
}

/// Runs a gate over a relay, and asserts that no verdict was made of the engine's trouble.
fn troubled(checkout: &Checkout, words: &[&str], relay: &Relay) -> Ended {
    let mut command = checkout.command(words);
    let said = ended(command.env("DOCKER_HOST", relay.host()).output().unwrap());
    assert!(
        relay.was_set_off(),
        "the engine was never asked for it: {}",
        said.said()
    );
    said
}

/// The outcome of every verdict of a gate, one a service.
fn outcomes(checkout: &Checkout, gate: &str) -> Vec<String> {
    let report = checkout.report();
    let records = report["records"].as_array().unwrap().iter();
    let records = records.filter(|record| record["gate"] == gate);
    records
        .map(|record| record["outcome"].as_str().unwrap().to_owned())
        .collect()
}

/// The engine goes away for two seconds at the first request that holds `at`.
fn goes_away(name: &str, gate: &str, at: &'static str) {
    let checkout = checkout(name);
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    let relay = Relay::new(at, Fault::Gone, Duration::from_secs(2));
    let said = troubled(&checkout, &[gate, "--fresh"], &relay);
    assert_eq!(said.code, Some(3), "{}", said.said());
    // On a busy machine one of the two may have been judged before, or be judged once the engine is back.
    let outcomes = outcomes(&checkout, gate);
    assert!(
        outcomes.contains(&"undecided".to_owned()) && !outcomes.contains(&"violated".to_owned()),
        "{outcomes:?}, {}",
        said.said()
    );
    assert!(said.said().contains("hint: "), "{}", said.said());
    stays_clean(&checkout);
}

/// Once the engine is back nothing of any run is left, at the latest after a sweep.
fn stays_clean(checkout: &Checkout) {
    let cleaned = checkout.run(&["clean"]);
    assert_eq!(cleaned.code, Some(0), "{}", cleaned.said());
    for run in std::fs::read_dir(checkout.path("reports")).unwrap().flatten() {
        let run_id = run.file_name().into_string().unwrap();
        assert_eq!(left_of(checkout, &run_id), Vec::<String>::new());
    }
}

#[test]
fn an_engine_that_goes_away_while_an_image_is_scanned() {
    goes_away("gone-scan", "scan", "/get HTTP");
}

#[test]
fn an_engine_that_goes_away_while_an_image_is_measured() {
    goes_away("gone-budget", "budget", "/get HTTP");
}

#[test]
fn an_engine_that_goes_away_while_an_image_boots() {
    goes_away("gone-boot", "boot", "/start HTTP");
}

#[test]
fn an_engine_that_goes_away_while_it_is_told_to_stop_a_container() {
    goes_away("gone-stop", "boot", "/stop?");
}

#[test]
fn an_engine_that_goes_away_while_a_log_is_read() {
    goes_away("gone-log", "boot", "/logs?");
}

#[test]
fn an_engine_that_goes_away_while_the_stack_starts() {
    goes_away("gone-up", "network", "/networks/create");
}

#[test]
fn an_engine_that_goes_away_while_the_stack_is_probed() {
    goes_away("gone-net", "network", "/exec HTTP");
}

#[test]
fn an_engine_that_goes_away_while_images_are_built() {
    let checkout = checkout("gone-build");
    let relay = Relay::new("POST /grpc", Fault::Gone, Duration::from_secs(2));
    let said = troubled(&checkout, &["build"], &relay);
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert_eq!(
        outcomes(&checkout, "build"),
        ["undecided", "undecided"],
        "{}",
        said.said()
    );
    stays_clean(&checkout);
}

#[test]
fn a_tag_that_another_run_sets_at_the_same_moment_is_set_again() {
    let checkout = checkout("tag-race");
    let taken = Fault::Refuses("image \"docker.io/library/some:latest\": already exists");
    let said = troubled(&checkout, &["build"], &Relay::new("/tag?", taken, Duration::ZERO));
    assert_eq!(said.code, Some(0), "{}", said.said());
    let other = Fault::Refuses("no space left on device");
    let said = troubled(
        &checkout,
        &["build", "--fresh"],
        &Relay::new("/tag?", other, Duration::ZERO),
    );
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(said.said().contains("no space left on device"), "{}", said.said());
    stays_clean(&checkout);
}

#[test]
fn an_engine_that_hangs_is_told_from_a_service_that_does() {
    let hangs = |name: &'static str, gate: &'static str, at: &'static str| {
        std::thread::spawn(move || {
            let checkout = checkout(name);
            assert_eq!(checkout.run(&["build"]).code, Some(0));
            let relay = Relay::new(at, Fault::Hangs, Duration::from_secs(45));
            let begun = Instant::now();
            let said = troubled(&checkout, &[gate, "--fresh"], &relay);
            assert_eq!(said.code, Some(3), "{}", said.said());
            assert_eq!(
                outcomes(&checkout, gate),
                ["undecided", "undecided"],
                "{}",
                said.said()
            );
            assert!(
                said.said().contains("the engine hangs: it did not"),
                "{}",
                said.said()
            );
            assert!(begun.elapsed() < Duration::from_secs(90), "{}", said.said());
            stays_clean(&checkout);
        })
    };
    let gates = [
        hangs("hung-scan", "scan", "/get HTTP"),
        hangs("hung-boot", "boot", "/start HTTP"),
        hangs("hung-net", "network", "/networks/create"),
    ];
    for gate in gates {
        gate.join().unwrap();
    }
}

#[test]
fn a_socket_that_may_not_be_opened_names_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(folder.path(), 0o755);
    let (socket, program) = (folder.path().join("engine.sock"), folder.path().join("xtask"));
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    open(&socket, 0o600);
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
    let user = Command::new("id").arg("-u").output().unwrap();
    // Root may open every socket: it steps down for this. Others meet one that is closed to them too.
    let mut command = if user.stdout == b"0\n" {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--clear-groups", "--"])
            .arg(&program);
        command
    } else {
        open(&socket, 0o000);
        Command::new(&program)
    };
    command.arg("clean").current_dir(folder.path());
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let said = ended(command.output().unwrap());
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(
        said.stderr.contains("may not be opened by this user"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("hint: join its group"), "{}", said.stderr);
}

#[test]
fn clean_without_an_engine_says_what_to_do() {
    let checkout = checkout("no-engine");
    let mut command = checkout.command(&["clean"]);
    let said = ended(
        command
            .env("DOCKER_HOST", "unix:///nowhere/engine.sock")
            .output()
            .unwrap(),
    );
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(
        said.stderr.contains("no Docker engine answers"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("hint: start the engine"), "{}", said.stderr);
}

#[test]
fn a_lease_that_cannot_be_taken_is_told_before_anything_is_created() {
    let checkout = checkout("no-lease");
    assert_eq!(checkout.run(&["build"]).code, Some(0));
    checkout.write("file", "");
    let mut command = checkout.command(&["boot", "--fresh"]);
    let said = ended(
        command
            .env("XDG_STATE_HOME", checkout.path("file"))
            .output()
            .unwrap(),
    );
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(said.stderr.contains("cannot take the lease"), "{}", said.stderr);
    assert!(said.stderr.contains("XDG_STATE_HOME"), "{}", said.stderr);
    stays_clean(&checkout);
}
