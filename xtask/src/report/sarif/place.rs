//! Where a finding is: a line of Cargo.lock, of a Dockerfile or of another file of the checkout that its words name,
//! else the Dockerfile of the image.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The files that results point into.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    root: PathBuf,
    lock: String,
}

/// A file, relative to the checkout, and its line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: String,
    pub line: usize,
}

impl Sources {
    pub fn read(root: &Path) -> Self {
        Sources {
            root: root.to_path_buf(),
            lock: std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default(),
        }
    }

    #[cfg(test)]
    pub fn of_lock(lock: &str) -> Self {
        Sources {
            root: PathBuf::from("/nowhere"),
            lock: lock.to_owned(),
        }
    }

    /// A package in Cargo.lock.
    pub fn package(&self, package: &str, version: &str) -> Option<Place> {
        let name = format!("name = \"{package}\"");
        let version = format!("version = \"{version}\"");
        let lines: Vec<&str> = self.lock.lines().collect();
        let at = lines
            .windows(2)
            .position(|two| two[0] == name && two[1] == version)?;
        Some(Place {
            path: "Cargo.lock".to_owned(),
            line: at + 1,
        })
    }

    /// The base of a service's image: the last FROM of its Dockerfile that names an image.
    pub fn base(&self, service: &str) -> Place {
        let mut place = self.image(service);
        let text = std::fs::read_to_string(self.root.join(&place.path)).unwrap_or_default();
        let from = |line: &str| {
            line.get(..5)
                .is_some_and(|word| word.eq_ignore_ascii_case("FROM "))
        };
        let last = text.lines().enumerate().filter(|(_, line)| from(line)).last();
        place.line = last.map_or(place.line, |(index, _)| index + 1);
        place
    }

    /// The head of a service's Dockerfile.
    pub fn image(&self, service: &str) -> Place {
        Place {
            path: format!("docker/Dockerfile.{service}"),
            line: 1,
        }
    }

    /// The first file of the checkout that some words name (`docker/Dockerfile.x:12`), if any.
    pub fn named(&self, words: &str) -> Option<Place> {
        words.split_whitespace().find_map(|word| {
            let word = word.trim_matches(|end: char| !end.is_alphanumeric());
            let mut parts = word.split(':');
            let path = parts.next().filter(|path| self.is_source(path))?;
            let line = parts.next().and_then(|line| line.parse().ok());
            Some(Place {
                path: path.to_owned(),
                line: line.filter(|line| *line > 0).unwrap_or(1),
            })
        })
    }

    /// A Dockerfile always, even one that is missing; any other file if it is there.
    fn is_source(&self, path: &str) -> bool {
        let inside = path.contains('/') && path.split('/').all(|part| !part.is_empty() && part != "..");
        inside && (path.starts_with("docker/Dockerfile.") || self.root.join(path).is_file())
    }
}

impl Place {
    /// As SARIF has it, with the images that it concerns.
    pub fn location(&self, services: &[&str]) -> Value {
        let images = services.iter();
        let images: Vec<Value> = images
            .map(|service| json!({ "name": service, "fullyQualifiedName": service, "kind": "module" }))
            .collect();
        json!({
            "physicalLocation": {
                "artifactLocation": { "uri": crate::report::words::link(&self.path), "uriBaseId": "%SRCROOT%" },
                "region": { "startLine": self.line },
            },
            "logicalLocations": images,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_a_file_of_the_checkout_and_its_line() {
        let root = tempfile::tempdir().unwrap();
        for path in ["compose/compose.yaml", "docker/policy/scan.toml"] {
            std::fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(path), "").unwrap();
        }
        let sources = Sources::read(root.path());
        for (words, expected) in [
            (
                "docker/Dockerfile.x:12: USER root",
                Some(("docker/Dockerfile.x", 12)),
            ),
            (
                "see (compose/compose.yaml:3:7), too",
                Some(("compose/compose.yaml", 3)),
            ),
            (
                "docker/policy/scan.toml: severity: unknown",
                Some(("docker/policy/scan.toml", 1)),
            ),
            ("docker/Dockerfile.x:0", Some(("docker/Dockerfile.x", 1))),
            ("/etc/passwd:1 ../x/y:2 and compose/none.yaml:3", None),
            ("12:30 of 3/4", None),
        ] {
            let found = sources.named(words);
            let found = found.as_ref().map(|place| (place.path.as_str(), place.line));
            assert_eq!(found, expected, "{words}");
        }
    }

    #[test]
    fn a_base_is_named_by_the_last_stage() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("docker")).unwrap();
        let text = "# syntax\nFROM a AS build\nRUN x\nFROM b AS prod\nCOPY y z\n";
        std::fs::write(root.path().join("docker/Dockerfile.x"), text).unwrap();
        assert_eq!(Sources::read(root.path()).base("x").line, 4);
        assert_eq!(Sources::read(root.path()).base("none").line, 1);
    }
}
