//! Engines that docker's contexts name, builders, and a build cache in a registry: meant as docker means them, and no
//! build fails for a cache.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::checkout::{Checkout, Ended, Fixture, ended, remove_images};
use crate::reuse::{RealRegistry, registry};

/// A folder of docker's configuration with contexts in it: name -> address.
fn contexts(checkout: &Checkout, current: &str, contexts: &[(&str, &str)]) -> PathBuf {
    let folder = checkout.path("docker-config");
    for (name, host) in contexts {
        let host = format!("host={host}");
        let made = Command::new("docker")
            .env("DOCKER_CONFIG", &folder)
            .args(["context", "create", name, "--docker", &host])
            .output();
        let made = ended(made.unwrap());
        assert_eq!(made.code, Some(0), "{}", made.said());
    }
    let config = json!({ "currentContext": current }).to_string();
    checkout.write("docker-config/config.json", &config);
    folder
}

/// Runs a command with that configuration, and nothing else that names an engine.
fn told(checkout: &Checkout, folder: &PathBuf, words: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = checkout.command(words);
    command
        .env_remove("DOCKER_HOST")
        .env_remove("DOCKER_CONTEXT")
        .env("DOCKER_CONFIG", folder);
    ended(command.envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn the_current_context_is_the_engine_for_us_and_for_bake() {
    let checkout = Checkout::new(vec![Fixture::new("mach-context")]);
    let socket = std::env::var("DOCKER_HOST").unwrap_or("unix:///var/run/docker.sock".to_owned());
    let folder = contexts(
        &checkout,
        "near",
        &[("near", &socket), ("far", "tcp://127.0.0.1:1")],
    );
    let built = told(&checkout, &folder, &["build"], &[]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    let words = format!("engine at {socket}, named by the context 'near' (currentContext in ");
    assert!(built.stdout.contains(&words), "{}", built.stdout);
    let said = checkout.report()["environment"].to_string();
    assert!(said.contains("named by the context 'near'"), "{said}");

    let far = told(&checkout, &folder, &["build"], &[("DOCKER_CONTEXT", "far")]);
    assert_eq!(far.code, Some(3), "{}", far.said());
    let words = "(at tcp://127.0.0.1:1, named by the context 'far' (DOCKER_CONTEXT))";
    assert!(far.stderr.contains(words), "{}", far.stderr);

    let planned = told(&checkout, &folder, &["plan"], &[("DOCKER_CONTEXT", "far")]);
    assert_eq!(planned.code, Some(0), "{}", planned.said());
    assert!(
        planned.stdout.contains("no engine answers: planned for linux/"),
        "{}",
        planned.stdout
    );

    let other = [("BUILDX_BUILDER", "default")];
    let foreign = told(&checkout, &folder, &["build", "--fresh"], &other);
    assert_eq!(foreign.code, Some(3), "{}", foreign.said());
    for words in [
        "the builder 'default' (docker) is another engine's",
        "`BUILDX_BUILDER=near`",
    ] {
        assert!(foreign.stdout.contains(words), "{}", foreign.said());
    }

    let host = [("DOCKER_CONTEXT", "far"), ("DOCKER_HOST", socket.as_str())];
    let overruled = told(&checkout, &folder, &["build"], &host);
    assert_eq!(overruled.code, Some(0), "{}", overruled.said());
}

#[test]
fn a_faulty_context_is_wrong_configuration_with_file_and_key() {
    let checkout = Checkout::new(vec![Fixture::new("mach-faulty")]);
    let folder = contexts(&checkout, "far", &[("far", "tcp://127.0.0.1:1")]);
    let metas = std::fs::read_dir(folder.join("contexts/meta")).unwrap();
    let meta = metas
        .map(|entry| entry.unwrap().path().join("meta.json"))
        .next()
        .unwrap();
    let faulty = r#"{"Name":"far","Endpoints":{"docker":{"Host":"gopher://x"}}}"#;
    std::fs::write(&meta, faulty).unwrap();
    let commands = [
        &["build"][..],
        &["boot"],
        &["setup"],
        &["clean"],
        &["plan"],
        &["why", "mach-faulty"],
    ];
    for words in commands {
        let said = told(&checkout, &folder, words, &[]);
        assert_eq!(said.code, Some(2), "{words:?}: {}", said.said());
        let named = format!("{}: Endpoints.docker.Host: ", meta.display());
        assert!(said.stderr.contains(&named), "{words:?}: {}", said.stderr);
    }
    let said = told(&checkout, &folder, &["build"], &[("DOCKER_CONTEXT", "nobody")]);
    assert_eq!(said.code, Some(2), "{}", said.said());
    assert!(
        said.stderr.contains("there is no docker context 'nobody'"),
        "{}",
        said.stderr
    );
}

#[test]
fn steps_that_were_put_into_a_registry_are_found_there() {
    let checkout = Checkout::new(vec![Fixture::new("mach-cached")]);
    let registry = RealRegistry::start(&checkout);
    let repository = format!("{}/cache", registry.owner);
    let put = checkout.run(&["build", "--cache-to", &repository, "--cache-from", &repository]);
    assert_eq!(put.code, Some(0), "{}", put.said());
    assert!(put.stdout.contains("steps put there"), "{}", put.stdout);
    assert!(
        !put.stdout.contains("built without it"),
        "an empty cache is no trouble: {}",
        put.stdout
    );
    let digest = checkout.report()["digests"][0][1].clone();

    remove_images("horme-test-mach-cached");
    let taken = checkout.run(&["build", "--fresh", "--cache-from", &repository]);
    assert_eq!(taken.code, Some(0), "{}", taken.said());
    let log = std::fs::read_to_string(checkout.path("reports/latest/logs/build.log")).unwrap();
    let import = format!("importing cache manifest from {repository}:mach-cached");
    assert!(log.contains(&import), "{log}");
    assert_eq!(checkout.report()["digests"][0][1], digest);
}

#[test]
fn a_cache_whose_registry_refuses_or_hangs_fails_nothing_and_is_not_waited_for() {
    let checkout = Checkout::new(vec![Fixture::new("mach-hung")]);
    for status in [Some("401 Unauthorized"), Some("500 Internal Server Error"), None] {
        let repository = registry(status);
        let begun = Instant::now();
        let said = checkout.run(&[
            "build",
            "--fresh",
            "--cache-from",
            &repository,
            "--cache-to",
            &repository,
        ]);
        assert_eq!(said.code, Some(0), "{status:?}: {}", said.said());
        assert!(
            said.stdout.contains("built without it"),
            "{status:?}: {}",
            said.stdout
        );
        assert!(
            said.stdout.contains("no steps put there"),
            "{status:?}: {}",
            said.stdout
        );
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{status:?}: {:?}",
            begun.elapsed()
        );
    }
    let refused = checkout.run(&["build", "--cache-to", "no-registry"]);
    assert_eq!(refused.code, Some(2), "{}", refused.said());
    assert!(
        refused.stderr.contains("is no repository without a tag"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_builder_that_does_not_see_the_engines_bases_is_undecided() {
    let checkout = Checkout::new(vec![Fixture::new("mach-builder")]);
    let folder = contexts(&checkout, "default", &[]);
    let made = Command::new("docker")
        .env("DOCKER_CONFIG", &folder)
        .args([
            "buildx",
            "create",
            "--name",
            "elsewhere",
            "--driver",
            "remote",
            "tcp://127.0.0.1:1",
        ])
        .output();
    let made = ended(made.unwrap());
    assert_eq!(made.code, Some(0), "{}", made.said());
    let mut command = checkout.command(&["build", "--bases", "local"]);
    command
        .env("DOCKER_CONFIG", &folder)
        .env("BUILDX_BUILDER", "elsewhere");
    let said = ended(command.output().unwrap());
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(
        said.stdout
            .contains("the builder 'elsewhere' (remote) does not see the base images"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("BUILDX_BUILDER=default"), "{}", said.stdout);
}
