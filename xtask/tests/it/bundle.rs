//! The failure bundle: what of a failed run can be understood elsewhere, and that no secret goes with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::checkout::{Checkout, Fixture, ended, signal};
use crate::relay::{Fault, Relay};

fn bundle(checkout: &Checkout) -> PathBuf {
    checkout.path("reports/latest/bundle")
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn data(path: &Path) -> Value {
    serde_json::from_str(&text(path)).unwrap()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn a_service_that_dies_leaves_all_that_tells_why_and_a_passed_run_nothing() {
    let checkout = Checkout::new(vec![
        Fixture {
            mode: "dies",
            ..Fixture::new("bd-dies")
        },
        Fixture::new("bd-well"),
    ]);
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    assert!(!bundle(&checkout).exists(), "nothing failed");
    assert_eq!(checkout.report()["bundle"], Value::Null);

    let ended = checkout.run(&["boot"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(ended.stdout.contains("/bundle/INDEX.md"), "{}", ended.stdout);
    let (folder, report) = (bundle(&checkout), checkout.report());
    assert_eq!(report["bundle"], "bundle");
    let state = &data(&folder.join("boot-bd-dies/serve/inspect.json"))["State"];
    assert_eq!(
        (&state["ExitCode"], &state["OOMKilled"]),
        (&json!(9), &json!(false))
    );
    let record = data(&folder.join("boot-bd-dies/record.json"));
    assert_eq!(record["outcome"], "violated");
    assert_eq!(data(&folder.join("report.json"))["bundle"], "bundle");
    let image = data(&folder.join("images/bd-dies.json"));
    assert!(
        image["history"].as_array().is_some_and(|steps| !steps.is_empty()),
        "{image}"
    );
    for name in ["Dockerfile", "Cargo.toml", "step.log"] {
        assert!(folder.join("boot-bd-dies").join(name).is_file(), "{name}");
    }
    for name in [
        "engine.json",
        "environment.json",
        "events.jsonl",
        "report.md",
        "policy/docker/policy/cis.toml",
    ] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    assert!(!folder.join("boot-bd-well").exists(), "it passed");
    let index = text(&folder.join("INDEX.md"));
    for said in [
        "bd-dies boot: violated",
        "**never live**",
        "boot-bd-dies/serve/container.log",
    ] {
        assert!(index.contains(said), "{said} in {index}");
    }
    assert!(!index.contains("What could not be had"), "{index}");
    for file in files(&folder) {
        let name = file.strip_prefix(&folder).unwrap().display().to_string();
        assert!(
            name == "INDEX.md" || index.contains(&format!("]({name})")),
            "{name} is in no index"
        );
    }
}

/// Secrets of every origin that a run knows of: name -> value.
const SECRETS: [(&str, &str); 7] = [
    ("generated", "5f0c1d7e9ab34c62"),
    ("generated-in-an-address", "c0ffee99d00d77aa"),
    ("of-a-file", "tr0ub4dor&3-\"quoted\"-secret"),
    ("second-line-of-a-file", "second-line/with+more=="),
    ("of-a-variable", "v4r1able-t0ken-value"),
    ("of-the-image", "1mage-passw0rd-value"),
    ("of-the-callers-environment", "c4ller-own-s3cret"),
];

/// A stack whose only service is given secrets in every way, tells them all, and ends.
fn telling(checkout: &Checkout) {
    let [generated, address, file, second, variable, image, _] = SECRETS.map(|(_, value)| value);
    let script = format!(
        "#!/bin/sh\nset -eu\nmkdir -p \"$1\"\nprintf '%s' '{generated}' >\"$1/admin_password\"\n\
         printf '%s' 'postgres://u:{address}@db/x' >\"$1/database_url\"\nchmod 0444 \"$1\"/*\n"
    );
    checkout.write("compose/secrets/generate", &script);
    checkout.write("own-secret", &format!("{file}\n{second}\n"));
    let path = "compose/compose.yaml";
    let mut stack: Value = serde_json::from_str(&text(&checkout.path(path))).unwrap();
    let service = &mut stack["services"]["bd-tells"];
    service["environment"]["API_TOKEN"] = json!(variable);
    service["secrets"] = json!(["admin_password", "database_url", "own"]);
    stack["secrets"] = json!({
        "admin_password": { "file": "${HORME_SECRETS_DIR}/admin_password" },
        "database_url": { "file": "${HORME_SECRETS_DIR}/database_url" },
        "own": { "file": checkout.path("own-secret") },
    });
    checkout.write(path, &stack.to_string());
    let path = "docker/Dockerfile.bd-tells";
    let dockerfile = text(&checkout.path(path));
    checkout.write(
        path,
        &dockerfile.replace("ENV MODE=", &format!("ENV DB_PASSWORD={image} MODE=")),
    );
}

#[test]
fn nothing_secret_leaves_with_a_stack_that_fails() {
    let checkout = Checkout::new(vec![Fixture {
        mode: "tells-all",
        ..Fixture::new("bd-tells")
    }]);
    telling(&checkout);
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    let mut command = checkout.command(&["network"]);
    command.env("CALLER_API_TOKEN", SECRETS[6].1);
    let ended = ended(command.output().unwrap());
    assert_eq!(ended.code, Some(1), "{}", ended.said());

    let folder = bundle(&checkout);
    let member = folder.join("network-stack/bd-tells");
    let log = text(&member.join("container.log"));
    for said in [
        "API_TOKEN=***",
        "admin_password=***",
        "own=***",
        "MODE=tells-all",
        "thread panicked",
    ] {
        assert!(log.contains(said), "{said} in {log}");
    }
    assert_eq!(data(&member.join("inspect.json"))["State"]["ExitCode"], 9);
    let networks = data(&folder.join("network-stack/networks.json"));
    assert!(
        networks[0]["members"]["bd-tells"]["names"]
            .to_string()
            .contains("own.bd-tells"),
        "{networks}"
    );
    let events = text(&folder.join("network-stack/engine-events.jsonl"));
    assert!(events.contains("\"Action\":\"die\""), "{events}");
    let config = data(&folder.join("network-stack/compose.config.json"));
    assert_eq!(config["services"]["bd-tells"]["environment"]["API_TOKEN"], "***");
    let index = text(&folder.join("INDEX.md"));
    assert!(
        index.contains("Look first into [`network-stack/bd-tells/container.log`]"),
        "{index}"
    );
    assert!(
        index.contains("bd-tells of the network stack had ended with exit code 9"),
        "{index}"
    );
    // Neither the bundle nor anything else that any run wrote, the build's either.
    for file in files(&checkout.path("reports")) {
        let bytes = std::fs::read(&file).unwrap();
        let said = String::from_utf8_lossy(&bytes);
        for (origin, secret) in SECRETS {
            assert!(
                !holds(&said, secret),
                "the secret {origin} stands in {}",
                file.display()
            );
        }
    }
}

#[test]
fn nothing_secret_stays_of_a_build_that_fails() {
    let checkout = Checkout::new(vec![Fixture::new("bd-unbuilt")]);
    let path = "docker/Dockerfile.bd-unbuilt";
    let dockerfile = text(&checkout.path(path));
    let failing = "ENV DB_PASSWORD=1mage-passw0rd-value\nCOPY no-such-file /x\nENV MODE=";
    assert!(dockerfile.contains("ENV MODE="));
    checkout.write(path, &dockerfile.replace("ENV MODE=", failing));
    let built = checkout.run(&["build"]);
    assert_ne!(built.code, Some(0), "{}", built.said());
    assert!(bundle(&checkout).join("INDEX.md").is_file());
    let log = text(&checkout.path("reports/latest/logs/build.log"));
    assert!(log.contains("DB_PASSWORD=***"), "the builder quotes it: {log}");
    for file in files(&checkout.path("reports")) {
        let said = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        assert!(!holds(&said, "1mage-passw0rd-value"), "{}", file.display());
    }
}

/// A secret as it is, escaped, in an address, in Base64 or in hex, or two thirds of it.
fn holds(text: &str, secret: &str) -> bool {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret);
    let escape = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        plain if plain.is_ascii_alphanumeric() => char::from(plain).to_string(),
        other => format!("%{other:02X}"),
    };
    let address: String = secret.bytes().map(escape).collect();
    let json = Value::from(secret).to_string();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms = [
        secret,
        json.trim_matches('"'),
        &hex,
        &address,
        &base64[..base64.len() - 2],
        &secret[..secret.len() * 2 / 3],
        &secret[secret.len() / 3..],
    ];
    forms.iter().any(|form| text.contains(form))
}

#[test]
fn an_interrupted_run_keeps_what_stood_then() {
    let checkout = Checkout::new(vec![Fixture {
        mode: "never-live",
        ..Fixture::new("bd-hangs")
    }]);
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    let child = checkout.command(&["boot"]).spawn().unwrap();
    wait_for_a_container(&checkout);
    signal(&child, "-INT");
    let begun = Instant::now();
    let ended = ended(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.said());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let serve = bundle(&checkout).join("boot-bd-hangs/serve");
    let inspect = data(&serve.join("inspect.json"));
    assert_eq!(inspect["State"]["Running"], true, "{inspect}");
    assert!(data(&serve.join("stats.json"))["memory_stats"].is_object());
    let index = text(&bundle(&checkout).join("INDEX.md"));
    assert!(
        index.contains("bd-hangs boot: undecided") && index.contains("interrupted"),
        "{index}"
    );
}

#[test]
fn an_engine_that_hangs_costs_the_bundle_a_file_and_not_the_run() {
    let checkout = Checkout::new(vec![Fixture::new("bd-hung")]);
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    let relay = Relay::new("/start HTTP", Fault::Hangs, Duration::from_secs(45));
    let begun = Instant::now();
    let mut command = checkout.command(&["boot", "--fresh"]);
    let ended = ended(command.env("DOCKER_HOST", relay.host()).output().unwrap());
    assert_eq!(ended.code, Some(3), "{}", ended.said());
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    let index = text(&bundle(&checkout).join("INDEX.md"));
    for said in [
        "the engine hangs",
        "What could not be had",
        "inspect of serve: the engine gave no answer in time",
    ] {
        assert!(index.contains(said), "{said} in {index}");
    }
    assert!(bundle(&checkout).join("boot-bd-hung/record.json").is_file());
    let cleaned = checkout.run(&["clean"]);
    assert_eq!(cleaned.code, Some(0), "{}", cleaned.said());
}

fn wait_for_a_container(checkout: &Checkout) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "no container of the run appeared");
        if let Ok(run) = std::fs::read_link(checkout.path("reports/latest")) {
            let filter = format!("label=dev.horme.run={}", run.display());
            let listed = Command::new("docker")
                .args(["ps", "--quiet", "--filter", &filter])
                .output();
            if !listed.unwrap().stdout.is_empty() {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn wrong_usage_leaves_no_bundle_and_a_faulty_policy_none_either() {
    let checkout = Checkout::new(vec![Fixture::new("bd-asked")]);
    let ended = checkout.run(&["lint", "--service", "nobody"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(!bundle(&checkout).exists());
    checkout.write("docker/policy/cis.toml", "nonsense = 1\n");
    let ended = checkout.run(&["lint"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(!bundle(&checkout).exists());
}
