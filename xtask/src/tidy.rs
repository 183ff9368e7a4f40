//! Rules about the repository itself, as tests.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn sources() -> Vec<PathBuf> {
    let mut found = files(&["xtask", "services"]);
    found.retain(|path| path.extension().is_some_and(|kind| kind == "rs"));
    found
}

/// All files in some folders, but for what is built.
fn files(folders: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(dir) = queue.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                found.push(path);
            } else if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                queue.push(path);
            }
        }
    }
    found
}

#[test]
fn every_source_file_says_what_lives_in_it() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|path| !std::fs::read_to_string(path).unwrap().starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "no `//!` at the top: {silent:?}");
}

/// Git takes the markers of a conflict for text like any other.
#[test]
fn no_merge_was_left_half_done() {
    let mut all = files(&["xtask", "services", "docker", "compose"]);
    all.push(root().join("README.md"));
    let torn = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        bytes
            .split(|byte| *byte == b'\n')
            .any(|line| line.starts_with(b"<<<<<<< ") || line.starts_with(b">>>>>>> "))
    };
    let torn: Vec<_> = all.into_iter().filter(torn).collect();
    assert!(torn.is_empty(), "markers of a conflict: {torn:?}");
}

#[test]
fn main_stays_small() {
    let lines = std::fs::read_to_string(root().join("xtask/src/main.rs"))
        .unwrap()
        .lines()
        .count();
    assert!(
        lines < 100,
        "xtask/src/main.rs has {lines} lines: it only parses, dispatches and ends"
    );
    for path in sources()
        .iter()
        .filter(|path| path.ends_with("src/main.rs") && path.starts_with(root().join("services")))
    {
        let lines = std::fs::read_to_string(path).unwrap().lines().count();
        assert!(lines < 50, "{} has {lines} lines", path.display());
    }
}

/// The harness knows no service by name.
#[test]
fn xtask_names_no_service() {
    let services: Vec<String> = std::fs::read_dir(root().join("services"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| {
            let manifest = std::fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
            manifest.contains("[package.metadata.image]")
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        // Test fixtures use the one name that is an ordinary word too.
        .filter(|name| name != "frontend")
        .collect();
    assert!(!services.is_empty());
    for path in sources()
        .iter()
        .filter(|path| path.starts_with(root().join("xtask/src")))
        // A file of tests stands below its `#[cfg(test)]` like any other test.
        .filter(|path| !path.ends_with("tests.rs"))
    {
        let text = std::fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code: String = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for service in &services {
            assert!(
                !code.contains(&format!("\"{service}\"")),
                "{} names {service}",
                path.display()
            );
        }
    }
}

#[test]
fn both_workspaces_and_the_builder_use_one_toolchain() {
    let toolchain = std::fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    let version = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = "))
        .unwrap()
        .trim_matches('"')
        .to_owned();
    let pins = std::fs::read_to_string(root().join("docker/bases/pins.toml")).unwrap();
    assert!(
        pins.contains(&format!("rust:{version}")),
        "docker/bases/pins.toml pins no rust:{version}"
    );
}

#[test]
fn compose_and_the_bases_pin_the_same_images() {
    let compose = std::fs::read_to_string(root().join("compose/compose.yaml")).unwrap();
    let pins: toml::Table = std::fs::read_to_string(root().join("docker/bases/pins.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let text = pins.to_string();
    for role in ["POSTGRES", "REDIS", "PROXY"] {
        let key = format!("${{HORME_{role}_IMAGE:-");
        let start = compose
            .find(&key)
            .unwrap_or_else(|| panic!("compose has no {key}"))
            + key.len();
        let pin = &compose[start..start + compose[start..].find('}').unwrap()];
        assert!(
            text.contains(pin),
            "compose pins {pin}, docker/bases/pins.toml does not"
        );
    }
}

#[test]
fn what_is_built_beside_the_services_pins_the_same_images() {
    let pins = std::fs::read_to_string(root().join("docker/bases/pins.toml")).unwrap();
    let text = std::fs::read_to_string(root().join("docker/faults/Dockerfile")).unwrap();
    let pinned = text.lines().filter_map(|line| line.strip_prefix("FROM "));
    let pinned: Vec<&str> = pinned.filter(|line| line.contains("@sha256:")).collect();
    assert!(!pinned.is_empty());
    for line in pinned {
        let image = line.split_whitespace().next().unwrap();
        assert!(
            pins.contains(&format!("\"{image}\"")),
            "docker/faults/Dockerfile pins {image}"
        );
    }
}

/// An update of a base image comes as a change of a Dockerfile: docker/bases/pins.toml is to be brought after.
#[test]
fn each_dockerfile_pins_the_bases_that_are_written_down() {
    let pins = std::fs::read_to_string(root().join("docker/bases/pins.toml")).unwrap();
    let mut files: Vec<PathBuf> = files(&["docker"]);
    files.retain(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("Dockerfile.")
    });
    assert!(!files.is_empty());
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let named = text.lines().filter_map(|line| line.strip_prefix("FROM "));
        let named = named.filter_map(|line| line.split_whitespace().next());
        for image in named.filter(|image| image.contains([':', '/', '@'])) {
            assert!(
                image.contains("@sha256:") && pins.contains(&format!("upstream = \"{image}\"")),
                "{} stands on {image}; docker/bases/pins.toml does not name it",
                path.display()
            );
        }
    }
}
