//! `cargo xtask new` in a copy of this repository's own services, Dockerfiles and compose files: what it adds can
//! be read, locked and composed, and what it refuses changes nothing.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::checkout::ended;
use crate::copy::{Copy, Files};

/// A name that no service will ever have, so that the repository may grow; so with the others below.
const NAME: &str = "zz-new";

/// What stands before the stages of a service's own, without the first line, which names the image.
fn shared_part(dockerfile: &str) -> &str {
    let (_, rest) = dockerfile.split_once('\n').unwrap();
    rest.split_once("\nFROM libraries ").unwrap().0
}

/// The services as `plan` sees them, by name.
fn planned(copy: &Copy) -> BTreeMap<String, Value> {
    let plan = copy.xtask(&["plan", "--format", "json"]);
    assert_eq!(plan.code, Some(0), "{}", plan.said());
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let images = plan["images"].as_array().unwrap().iter();
    let services = images.map(|image| image["service"].clone());
    services
        .map(|service| (service["name"].as_str().unwrap().to_owned(), service))
        .collect()
}

/// What was there still is: every line of it, in its order.
fn lost_nothing(before: &Files, copy: &Copy) {
    let after = copy.files();
    for (path, old) in before {
        let (old, new) = (
            String::from_utf8_lossy(old),
            String::from_utf8_lossy(&after[path]),
        );
        let mut lines = new.lines();
        let all = old.lines().all(|line| lines.any(|found| found == line));
        assert!(all, "{} lost a line", path.display());
    }
}

fn shares_its_stages_with_all(copy: &Copy) {
    let new = copy.read(&format!("docker/Dockerfile.{NAME}"));
    for path in copy.files().keys() {
        let path = path.to_string_lossy();
        if path.starts_with("docker/Dockerfile.") {
            assert_eq!(shared_part(&new), shared_part(&copy.read(&path)), "{path}");
        }
    }
}

fn stands_in(copy: &Copy, environment: &str) {
    let overlay = format!("compose/compose.{environment}.yaml");
    let mut docker = Command::new("docker");
    docker.args(["compose", "--file", "compose/compose.yaml", "--file", &overlay]);
    docker.args(["config", "--format", "json"]);
    let config = ended(docker.current_dir(copy.root()).output().unwrap());
    assert_eq!(config.code, Some(0), "{environment}: {}", config.said());
    let config: Value = serde_json::from_str(&config.stdout).unwrap();
    let entry = &config["services"][NAME];
    assert_eq!(entry["image"], format!("horme-{NAME}:latest"));
    assert_eq!(entry["expose"][0], "18077");
    assert_eq!(entry["networks"][NAME]["aliases"][0], format!("own.{NAME}"));
    // Only for development does a service's network lead outside.
    let internal = config["networks"][NAME]["internal"] == true;
    assert_eq!(internal, environment != "dev", "{environment}");
}

#[test]
fn a_new_service_is_read_locked_and_composed() {
    let copy = Copy::new();
    let before = copy.files();
    let made = copy.xtask(&["new", NAME, "--port", "18077", "--description", "Keeps prices."]);
    assert_eq!(made.code, Some(0), "{}", made.said());
    let next = format!("cargo xtask ci --service {NAME}");
    assert!(made.stdout.contains(&next), "{}", made.stdout);

    let service = &planned(&copy)[NAME];
    assert_eq!(service["image"], format!("horme-{NAME}"));
    assert_eq!(service["port"], 18077);
    lost_nothing(&before, &copy);
    shares_its_stages_with_all(&copy);
    for environment in ["dev", "stage", "prod", "ci"] {
        stands_in(&copy, environment);
    }
    copy.refuses(
        &["new", NAME],
        &format!("the name '{NAME}' is taken: services/{NAME}"),
    );
    copy.refuses(&["new", "zz-other", "--port", "18077"], "port 18077 is taken by");
}

#[test]
fn a_port_that_is_left_out_is_a_free_one() {
    let copy = Copy::new();
    let made = copy.xtask(&["new", NAME]);
    assert_eq!(made.code, Some(0), "{}", made.said());
    let services = planned(&copy);
    let port = services[NAME]["port"].as_u64().unwrap();
    assert!(port >= 8004, "{port}");
    let same = services.values().filter(|service| service["port"] == port);
    assert_eq!(same.count(), 1, "{port}");
}

#[test]
fn what_cannot_be_added_is_refused_and_nothing_changes() {
    let copy = Copy::new();
    copy.refuses(&["new", "Price_List"], "did you mean 'price-list'?");
    copy.refuses(&["new", "match"], "'match' cannot name a service");
    copy.refuses(&["new", "redis"], "compose/compose.yaml (services)");
    copy.refuses(&["new", "edge"], "compose/compose.yaml (networks)");
    copy.refuses(&["new", "serde-json"], "a crate in Cargo.lock");
    copy.refuses(&["new", "classification"], "the image horme-classification of ");
    copy.refuses(
        &["new", "zz-page", "--port", "8088"],
        "port 8088 is taken by compose/compose.dev.yaml",
    );
    copy.refuses(&["new", "zz-page", "--description", "a \"b\""], "--description");

    let compose = copy.read("compose/compose.prod.yaml");
    copy.write(
        "compose/compose.prod.yaml",
        &compose.replace("&prod", "&production"),
    );
    copy.refuses(
        &["new", "zz-page"],
        "compose/compose.prod.yaml cannot be added to: it has no anchor `&prod`",
    );
    copy.write("compose/compose.prod.yaml", "{}\n");
    copy.refuses(
        &["new", "zz-page"],
        "compose/compose.prod.yaml cannot be added to: it has no mapping `services:`",
    );
}

#[test]
fn what_fails_midway_is_taken_back() {
    let copy = Copy::new();
    // A workspace that takes in no crate that begins with z.
    let manifest = copy.read("Cargo.toml");
    copy.write(
        "Cargo.toml",
        &manifest.replace("members = [\"services/*\"]", "members = [\"services/[a-y]*\"]"),
    );
    copy.refuses(
        &["new", "zz-page"],
        "Cargo.lock did not gain the one entry 'zz-page'",
    );
}
