//! `bench services` from outside: a fixture under load on every side; loads that are none; interrupted and killed while
//! a load runs.

use std::io::{BufRead, BufReader};
use std::process::Child;

use serde_json::{Value, json};

use crate::checkout::{Checkout, Fixture, ended, signal};
use crate::foreign::left_of;

/// A checkout with one service, whose image is built.
fn built(name: &str) -> Checkout {
    let checkout = Checkout::new(vec![Fixture::new(name)]);
    put(&checkout, name, "ready", &asking(200));
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    checkout
}

fn asking(status: u16) -> Value {
    json!({"about": "whether it is ready", "connections": 2,
        "request": {"method": "GET", "path": "/ready", "expect": status}})
}

fn put(checkout: &Checkout, name: &str, title: &str, load: &Value) {
    checkout.write(&format!("services/{name}/loads/{title}.json"), &load.to_string());
}

fn latest(checkout: &Checkout) -> String {
    let run = std::fs::read_link(checkout.path("reports/latest")).unwrap();
    run.display().to_string()
}

fn results(checkout: &Checkout) -> Value {
    let text = std::fs::read_to_string(checkout.path("reports/bench-services.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Starts a benchmark that would go on for an hour, and waits until its load runs.
fn under_load(checkout: &Checkout, name: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    let words = ["bench", "services", "--seconds", "600", "--repeat", "100"];
    let mut child = checkout.command(&words).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let (begun, mut said) = (format!("bench: {name}: ready\n"), String::new());
    while !said.ends_with(&begun) {
        assert_ne!(told.read_line(&mut said).unwrap(), 0, "it ended: {said}");
    }
    (child, told)
}

#[test]
fn a_service_is_measured_on_every_side_and_wrong_answers_decide_nothing() {
    let name = "bench-sides";
    let checkout = built(name);
    let settings = json!({"environment": {"COLOUR": "green"}, "idle_mb": 100});
    put(&checkout, name, "settings", &settings);
    let words = ["bench", "services", "--seconds", "0.2", "--repeat", "2"];
    let well = checkout.run(&words);
    assert_eq!(well.code, Some(0), "{}", well.said());
    assert!(
        well.stdout.contains("bench-sides with COLOUR=green"),
        "{}",
        well.stdout
    );
    let results = results(&checkout);
    let load = &results["loads"][0];
    for side in ["process", "container", "published"] {
        let side = &load["sides"][side];
        assert_eq!(
            (
                side["wrong"].as_u64(),
                side["per_second"].as_array().unwrap().len()
            ),
            (Some(0), 2)
        );
    }
    assert_eq!(load["aims"][0]["rounds"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&results["idle"][0]["met"], &results["idle"][1]["met"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(left_of(&checkout, &latest(&checkout)), Vec::<String>::new());

    put(&checkout, name, "ready", &asking(201));
    let wrong = checkout.run(&words);
    assert_eq!(wrong.code, Some(3), "{}", wrong.said());
    assert!(
        wrong.stdout.contains("aim at least 0.95: **not known**"),
        "{}",
        wrong.stdout
    );
    let logs = checkout.path("reports/latest/logs/bench-services");
    assert_ne!(
        std::fs::read_dir(logs).unwrap().count(),
        0,
        "the containers' logs are kept"
    );
}

#[test]
fn an_interruption_is_heard_while_a_load_runs_and_a_kill_is_swept() {
    let name = "bench-ended";
    let checkout = built(name);
    let (child, _told) = under_load(&checkout, name);
    signal(&child, "-INT");
    let interrupted = ended(child.wait_with_output().unwrap());
    assert_eq!(interrupted.code, Some(130), "{}", interrupted.said());
    assert_eq!(left_of(&checkout, &latest(&checkout)), Vec::<String>::new());

    let (mut child, _told_too) = under_load(&checkout, name);
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = latest(&checkout);
    assert_ne!(left_of(&checkout, &killed), Vec::<String>::new());
    // The next benchmark sweeps at its start.
    let next = checkout.run(&["bench", "services", "--seconds", "0.1", "--repeat", "1"]);
    assert_eq!(next.code, Some(0), "{}", next.said());
    assert_eq!(left_of(&checkout, &killed), Vec::<String>::new());
}

#[test]
fn loads_that_are_none_are_refused_before_anything_is_started() {
    let name = "bench-malformed";
    let checkout = Checkout::new(vec![Fixture::new(name)]);
    let step =
        json!({"name": "a", "method": "POST", "path": "/", "body": "${token}", "expect": {"status": 200}});
    let with = |key: &str, value: Value| {
        let mut load = asking(200);
        load[key] = value;
        load
    };
    let direct = json!({"service": "attic", "request": {"method": "GET", "path": "/"}});
    let socket = json!({"about": "x", "socket": {"path": "/ws", "clients": 1, "every_s": 0, "message": {"id": "${n}"}}});
    for (load, why) in [
        (json!([]), "invalid"),
        (with("conections", json!(3)), "unknown field `conections`"),
        (
            with("prepare", json!([step])),
            "prepare 'a': nothing sets ${token}",
        ),
        (with("direct", direct), "'attic' is none that this service calls"),
        (with("aims", json!({"units_per_s": 5})), "units_per_s needs units"),
        (asking(99), "99 is no status"),
        (socket, "every_s: from 0.01"),
    ] {
        put(&checkout, name, "bad", &load);
        let said = checkout.run(&["bench", "services"]);
        assert_eq!(said.code, Some(2), "expected '{why}': {}", said.said());
        for words in ["services/bench-malformed/loads/bad.json: ", why, "hint: "] {
            assert!(said.stderr.contains(words), "no '{words}' in:\n{}", said.stderr);
        }
    }
    std::fs::remove_file(checkout.path("services/bench-malformed/loads/bad.json")).unwrap();
    let none = checkout.run(&["bench", "services", "--service", name]);
    assert_eq!(none.code, Some(2));
    assert!(
        none.stderr.contains("no load: bench-malformed"),
        "{}",
        none.stderr
    );
}
