//! docker/bases/pins.toml: for each role the upstream reference with its digest, who else pins the same one,
//! and the local recipe that takes its place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::exit::Failure;

pub(super) type Pins = BTreeMap<String, Pin>;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pin {
    /// `name:tag@sha256:<64 hex digits>`, as Dockerfiles and compose name it.
    pub(super) upstream: String,
    /// The recipe's name: docker/bases/`<local>`.Dockerfile.
    pub(super) local: String,
    /// Unrelated public projects that pin the same digest: two at least.
    corroborated_by: BTreeSet<String>,
}

/// Reads and checks the pins of the checkout at `root`.
///
/// # Errors
/// Exit 2, every fault at once.
pub(super) fn load(root: &Path) -> Result<Pins> {
    let path = root.join("docker/bases/pins.toml");
    let wrong = |why: String| Failure::usage(why, "docker/bases/README.md says what a pin is made of");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
    let pins = parse(&text).map_err(wrong)?;
    let absent = pins
        .values()
        .map(|pin| format!("docker/bases/{}.Dockerfile", pin.local));
    let absent: Vec<String> = absent.filter(|recipe| !root.join(recipe).is_file()).collect();
    if absent.is_empty() {
        Ok(pins)
    } else {
        Err(wrong(format!("no recipe {}", absent.join(", no recipe "))).into())
    }
}

pub(super) fn parse(text: &str) -> Result<Pins, String> {
    let pins: Pins =
        toml::from_str(text).map_err(|error| format!("docker/bases/pins.toml: {}", error.message()))?;
    let faults: Vec<String> = pins.iter().filter_map(|(role, pin)| fault(role, pin)).collect();
    if faults.is_empty() {
        Ok(pins)
    } else {
        Err(faults.join("\n"))
    }
}

fn fault(role: &str, pin: &Pin) -> Option<String> {
    let at = format!("docker/bases/pins.toml: [{role}]");
    if !is_pinned(&pin.upstream) {
        return Some(format!(
            "{at} upstream '{}' is not name:tag@sha256:<64 hex digits>",
            pin.upstream
        ));
    }
    let sources = pin.corroborated_by.len();
    (sources < 2).then(|| format!("{at} the digest is corroborated by {sources} of the two projects needed"))
}

fn is_pinned(reference: &str) -> bool {
    let Some((name, digest)) = reference.split_once("@sha256:") else {
        return false;
    };
    let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    tagged
        && digest.len() == 64
        && digest
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_said_at_once() {
        let text = "[a]\nupstream = \"x:1\"\nlocal = \"a\"\ncorroborated_by = [\"a\", \"b\"]\n[b]\nupstream = \"y@sha256:00\"\nlocal = \"b\"\ncorroborated_by = [\"a\", \"b\"]\n";
        let said = parse(text).unwrap_err();
        assert!(said.contains("[a]") && said.contains("[b]"), "{said}");
    }

    #[test]
    fn a_digest_needs_two_sources() {
        let text = format!(
            "[a]\nupstream = \"x:1@sha256:{}\"\nlocal = \"a\"\ncorroborated_by = [\"a\", \"a\"]\n",
            "0".repeat(64)
        );
        assert!(parse(&text).unwrap_err().contains("by 1 of the two"));
    }

    #[test]
    fn a_port_is_not_a_tag() {
        let digest = "0".repeat(64);
        assert!(!is_pinned(&format!("host:5000/name@sha256:{digest}")));
        assert!(is_pinned(&format!("host:5000/name:1@sha256:{digest}")));
    }

    #[test]
    fn the_pins_of_this_repository_hold() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let pins = load(&root).unwrap();
        assert!(pins.contains_key("builder") && pins.contains_key("runtime"));
    }

    fn dockerfiles() -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker");
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.is_file() && path.to_string_lossy().contains("/Dockerfile."));
        files.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    #[test]
    fn dockerfiles_stand_on_the_pinned_bases() {
        let pins = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
        let texts = dockerfiles();
        assert!(!texts.is_empty());
        for base in texts
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| line.strip_prefix("FROM "))
        {
            let base = base.split(' ').next().unwrap();
            let pinned = pins.values().any(|pin| pin.upstream == base);
            assert!(pinned || !base.contains(':'), "pins.toml has no {base}");
        }
    }

    /// What makes the joint build cook once, and the tests run once: every step up to the shared crates is the same
    /// text everywhere, and so are the stages of the tests.
    #[test]
    fn dockerfiles_are_alike_up_to_their_own_crate_and_in_their_tests() {
        let part = |text: &str, from: &str, to: &str| {
            let begin = text.find(from).unwrap();
            let length = text[begin..].find(to).unwrap();
            text[begin..begin + length].to_owned()
        };
        let shared = |text: &str| {
            let tests = part(text, "\nFROM libraries AS dev", "\n# What ships.");
            assert!(
                tests.contains(" AS ci\n") && tests.contains(" AS coverage\n"),
                "{tests}"
            );
            [part(text, "\nFROM ", "\nFROM libraries AS build"), tests]
        };
        let texts = dockerfiles();
        assert!(texts.iter().all(|text| shared(text) == shared(&texts[0])));
    }
}
