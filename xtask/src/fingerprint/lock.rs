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

/// `name version` of every crate that a registry gave -> its checksum, `-` where none is locked.
pub fn registry_crates(lock: &str) -> BTreeMap<String, String> {
    let entries = packages(lock).into_iter().filter(|package| {
        let source = package.source.as_deref().unwrap_or_default();
        source.starts_with("registry+") || source.starts_with("sparse+")
    });
    entries
        .map(|package| (package.id, package.checksum.unwrap_or("-".to_owned())))
        .collect()
}

/// `name version` of a crate and of everything that it can reach in a lock file, for whatever target: a lock file knows
/// neither targets nor kinds. So a crate of ours reaches what `linked` says of it alone (by its name), not what its
/// tests and its build ask for. A crate that the file does not hold reaches nothing.
pub fn reach(lock: &str, name: &str, linked: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut packages = packages(lock);
    for package in packages.iter_mut().filter(|package| package.source.is_none()) {
        let linked = linked.get(package.name());
        package.dependencies.retain(|asked| {
            let name = asked.split(' ').next().unwrap_or_default();
            linked.is_some_and(|linked| linked.contains(name))
        });
    }
    let mut reached = BTreeSet::new();
    let start = packages.iter().filter(|package| package.name() == name);
    let mut queue: Vec<&Locked> = start.collect();
    while let Some(package) = queue.pop() {
        if reached.insert(package.id.clone()) {
            for asked in &package.dependencies {
                queue.extend(packages.iter().filter(|package| package.is(asked)));
            }
        }
    }
    reached
}

/// An entry of a lock file.
struct Locked {
    /// `name version`.
    id: String,
    source: Option<String>,
    checksum: Option<String>,
    /// `name`, or `name version` where there are several, or with the source in parentheses as well.
    dependencies: Vec<String>,
}

impl Locked {
    fn name(&self) -> &str {
        self.id.split(' ').next().unwrap_or_default()
    }

    fn is(&self, asked: &str) -> bool {
        let mut words = asked.split(' ');
        match (words.next(), words.next()) {
            (Some(name), Some(version)) => self.id == format!("{name} {version}"),
            (Some(name), None) => self.name() == name,
            _ => false,
        }
    }
}

fn packages(lock: &str) -> Vec<Locked> {
    let lock: Table = lock.parse().unwrap_or_default();
    let listed = lock.get("package").and_then(Value::as_array);
    let entries = listed.into_iter().flatten().filter_map(|package| {
        let word = |key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        let dependencies = dependencies.into_iter().flatten().filter_map(Value::as_str);
        Some(Locked {
            id: format!("{} {}", word("name")?, word("version")?),
            source: word("source"),
            checksum: word("checksum"),
            dependencies: dependencies.map(str::to_owned).collect(),
        })
    });
    entries.collect()
}

/// The name in a crate's manifest, and the names of the crates that it links in on whatever target. A name that it
/// takes from the workspace under another is not known here.
pub fn linked(manifest: &str) -> Option<(String, BTreeSet<String>)> {
    let manifest: Table = manifest.parse().ok()?;
    let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
    let targets = manifest.get("target").and_then(Value::as_table);
    let all = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(|target| target.get("dependencies"))
        .chain(manifest.get("dependencies"));
    let all = all.filter_map(Value::as_table).flatten();
    let names = all.map(|(key, value)| {
        let renamed = value.get("package").and_then(Value::as_str);
        renamed.unwrap_or(key).to_owned()
    });
    Some((name, names.collect()))
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
    fn what_a_crate_can_reach_is_read_from_the_lock_file() {
        let lock = r#"
[[package]]
name = "frontend"
version = "0.1.0"
dependencies = ["cc", "kit", "rand 0.8.0", "testkit", "time 0.3.0 (registry+x)"]
[[package]]
name = "kit"
version = "0.1.0"
dependencies = ["kit-macros", "frontend"]
[[package]]
name = "kit-macros"
version = "0.2.0"
[[package]]
name = "testkit"
version = "0.1.0"
[[package]]
name = "cc"
version = "1.0.0"
source = "registry+x"
[[package]]
name = "rand"
version = "0.8.0"
source = "registry+x"
checksum = "aa"
[[package]]
name = "rand"
version = "0.9.0"
source = "sparse+y"
[[package]]
name = "time"
version = "0.3.0"
source = "git+https://x"
"#;
        let manifests = [
            "[package]\nname = \"frontend\"\n[dependencies]\nkit.path = \"../kit\"\nold = { package = \"rand\", version = \"0.8\" }\n\
             [target.'cfg(unix)'.dependencies]\ntime = \"0.3\"\n[dev-dependencies]\ntestkit.path = \"../testkit\"\n\
             [build-dependencies]\ncc = \"1\"\n",
            "[package]\nname = \"kit\"\n[dependencies]\nkit-macros.path = \"m\"\nfrontend = \"1\"\n",
            "[package]\nname = \"testkit\"\n",
        ];
        let linked: BTreeMap<_, _> = manifests.into_iter().filter_map(linked).collect();
        let reached: Vec<String> = reach(lock, "frontend", &linked).into_iter().collect();
        let expected = [
            "frontend 0.1.0",
            "kit 0.1.0",
            "kit-macros 0.2.0",
            "rand 0.8.0",
            "time 0.3.0",
        ];
        assert_eq!(reached, expected);
        assert!(
            reach(lock, "gone", &linked).is_empty() && reach("no lock [", "frontend", &linked).is_empty()
        );
        let unknown: Vec<String> = reach(lock, "frontend", &BTreeMap::new()).into_iter().collect();
        assert_eq!(
            unknown,
            ["frontend 0.1.0"],
            "of a manifest that is not known nothing was linked in"
        );
        let of_registries: Vec<_> = registry_crates(lock).into_iter().collect();
        let expected = [("cc 1.0.0", "-"), ("rand 0.8.0", "aa"), ("rand 0.9.0", "-")];
        assert_eq!(
            of_registries,
            expected.map(|(id, sum)| (id.to_owned(), sum.to_owned()))
        );
    }

    #[test]
    fn the_manifest_counts_where_it_reaches_the_binary() {
        let text = "[workspace]\nmembers = [\"a\"]\n[workspace.dependencies]\naxum = { version = \"1\", features = [\"json\"] }\nsqlx = \"1\"\n[profile.release]\nopt-level = 2\nstrip = true\n[profile.dev]\ndebug = 1\n";
        let first = manifest(text, &closure());
        for other in [
            text.replace("[\"a\"]", "[\"a\", \"b\"]"),
            text.replace("sqlx = \"1\"", "sqlx = \"2\""),
            text.replace("debug = 1", "debug = 2"),
            // What a release is called reaches no binary.
            format!("{text}[workspace.metadata.release]\nversion = \"1.4.2\"\n"),
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
