//! The parts of Cargo.lock and of the root's Cargo.toml that one image depends on.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

/// `name version` of every crate of the closure -> where it comes from and its checksum, as locked. A crate
/// that the lock file does not hold is absent. A text that is no lock file holds none.
pub fn slice(lock: &str, closure: &BTreeSet<String>) -> BTreeMap<String, String> {
    let lock: Table = lock.parse().unwrap_or_default();
    let packages = lock
        .get("package")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let entries = packages.filter_map(|package| {
        let word = |key: &str| package.get(key).and_then(Value::as_str);
        let id = format!("{} {}", word("name")?, word("version")?);
        let origin = format!(
            "{} {}",
            word("source").unwrap_or("here"),
            word("checksum").unwrap_or("-")
        );
        closure.contains(&id).then_some((id, origin))
    });
    entries.collect()
}

/// What the root's manifest says that reaches a binary of this closure, as canonical text by key: the release
/// profile, what members inherit, patches, and the workspace dependencies that are crates of the closure.
pub fn manifest(text: &str, closure: &BTreeSet<String>) -> BTreeMap<String, String> {
    let manifest: Table = text.parse().unwrap_or_default();
    let mut slice = BTreeMap::new();
    let mut keep = |key: String, value: Option<&Value>| {
        if let Some(value) = value {
            slice.insert(key, canonical(value));
        }
    };
    let workspace = manifest.get("workspace");
    let profile = manifest.get("profile").and_then(|profile| profile.get("release"));
    keep("profile.release".to_owned(), profile);
    keep("patch".to_owned(), manifest.get("patch"));
    keep(
        "workspace.resolver".to_owned(),
        workspace.and_then(|table| table.get("resolver")),
    );
    let inherited = workspace.and_then(|table| table.get("package"));
    keep("workspace.package".to_owned(), inherited);
    let names: BTreeSet<&str> = closure.iter().filter_map(|id| id.split(' ').next()).collect();
    let dependencies = workspace
        .and_then(|table| table.get("dependencies"))
        .and_then(Value::as_table);
    for (key, value) in dependencies.into_iter().flatten() {
        let package = value.get("package").and_then(Value::as_str).unwrap_or(key);
        if names.contains(package) {
            keep(format!("workspace.dependencies.{key}"), Some(value));
        }
    }
    slice
}

/// The same text for the same value, whatever the order of its keys.
fn canonical(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let sorted: BTreeMap<&String, String> =
                table.iter().map(|(key, value)| (key, canonical(value))).collect();
            let entries: Vec<String> = sorted
                .iter()
                .map(|(key, value)| format!("{key} = {value}"))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
version = 4
[[package]]
name = "axum"
version = "0.8.9"
source = "registry+x"
checksum = "aa"
[[package]]
name = "sqlx"
version = "0.9.0"
source = "registry+x"
checksum = "bb"
[[package]]
name = "kit"
version = "0.1.0"
"#;

    fn closure() -> BTreeSet<String> {
        BTreeSet::from(["axum 0.8.9".to_owned(), "kit 0.1.0".to_owned()])
    }

    #[test]
    fn only_the_closure_counts() {
        let first = slice(LOCK, &closure());
        assert_eq!(first.len(), 2);
        assert_eq!(first["kit 0.1.0"], "here -");
        assert_eq!(
            first,
            slice(&LOCK.replace("\"bb\"", "\"cc\""), &closure()),
            "another crate's checksum"
        );
        assert_ne!(first, slice(&LOCK.replace("\"aa\"", "\"cc\""), &closure()));
        assert_eq!(slice("no lock [", &closure()).len(), 0);
    }

    #[test]
    fn the_manifest_counts_where_it_reaches_the_binary() {
        let text = "[workspace]\nmembers = [\"a\"]\n[workspace.dependencies]\naxum = { version = \"1\", features = [\"json\"] }\nsqlx = \"1\"\n[profile.release]\nopt-level = 2\nstrip = true\n[profile.dev]\ndebug = 1\n";
        let first = manifest(text, &closure());
        for other in [
            text.replace("[\"a\"]", "[\"a\", \"b\"]"),
            text.replace("sqlx = \"1\"", "sqlx = \"2\""),
            text.replace("debug = 1", "debug = 2"),
            text.replace(
                "opt-level = 2\nstrip = true",
                "strip = true # shorter\nopt-level = 2",
            ),
            text.replace(
                "version = \"1\", features = [\"json\"]",
                "features = [\"json\"], version = \"1\"",
            ),
        ] {
            assert_eq!(first, manifest(&other, &closure()), "{other}");
        }
        for other in [
            text.replace("opt-level = 2", "opt-level = 3"),
            text.replace("\"json\"", "\"form\""),
        ] {
            assert_ne!(first, manifest(&other, &closure()), "{other}");
        }
    }
}
