//! The key of an image: each kind of input that is declared changes it once, and `why` says which; what is not
//! declared changes nothing. In a copy of this repository, so that the keys are those of real services.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::copy::Copy;

/// What the plan says of each service.
struct Planned {
    key: String,
    revision: String,
}

fn planned(copy: &Copy) -> BTreeMap<String, Planned> {
    let ended = copy.xtask(&["plan", "--bases", "local", "--format", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    let plan: Value = serde_json::from_str(&ended.stdout).unwrap();
    let images = plan["images"].as_array().unwrap().iter().map(|image| {
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let planned = Planned {
            key: word(&image["key"]),
            revision: word(&image["args"]["IMAGE_REVISION"]),
        };
        (word(&image["service"]["name"]), planned)
    });
    images.collect()
}

/// The services whose key differs between two plans.
fn changed(before: &BTreeMap<String, Planned>, after: &BTreeMap<String, Planned>) -> BTreeSet<String> {
    let other = |name: &&String| before[*name].key != after[*name].key;
    after.keys().filter(other).cloned().collect()
}

/// Two services that do not depend on each other, and a library of both: whatever they are called.
struct Cast {
    all: BTreeSet<String>,
    one: String,
    other: String,
    library: String,
}

fn cast(copy: &Copy) -> Cast {
    let all: BTreeSet<String> = planned(copy).into_keys().collect();
    let mut names = all.iter().cloned();
    let (one, other) = (names.next().unwrap(), names.next().unwrap());
    let folders = std::fs::read_dir(copy.path("services")).unwrap();
    let crates: BTreeSet<String> = folders
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let manifest = |name: &String| copy.read(&format!("services/{name}/Cargo.toml"));
    let everywhere = |name: &&String| {
        all.iter()
            .all(|user| manifest(user).contains(&format!("\n{name} = ")))
    };
    let library = crates.difference(&all).find(everywhere).unwrap().clone();
    Cast {
        all,
        one,
        other,
        library,
    }
}

fn append(copy: &Copy, file: &str, text: &str) {
    copy.write(file, &format!("{}{text}", copy.read(file)));
}

fn replace(copy: &Copy, file: &str, from: &str, to: &str) {
    let text = copy.read(file);
    assert!(text.contains(from), "{file} has no '{from}'");
    copy.write(file, &text.replacen(from, to, 1));
}

type Mutate<'a> = Box<dyn Fn(&Copy) + 'a>;

/// Each kind of declared input, changed once: whose keys change.
#[test]
fn what_is_declared_changes_the_key() {
    let copy = Copy::new();
    copy.commit("all");
    let Cast {
        all,
        one,
        other,
        library,
    } = cast(&copy);
    let only_one = BTreeSet::from([one.clone()]);
    let source = format!("services/{one}/src/lib.rs");
    let mutations: Vec<(&str, BTreeSet<String>, Mutate)> = vec![
        (
            "a source file",
            only_one.clone(),
            Box::new(|copy| append(copy, &source, "\n// more\n")),
        ),
        (
            "a new file",
            only_one.clone(),
            Box::new(|copy| copy.write(&format!("services/{one}/src/more.txt"), "")),
        ),
        (
            "a file's mode",
            only_one.clone(),
            Box::new(|copy| {
                let mode = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(copy.path(&source), mode).unwrap();
            }),
        ),
        (
            "its Dockerfile",
            only_one,
            Box::new(|copy| append(copy, &format!("docker/Dockerfile.{one}"), "\n# more\n")),
        ),
        (
            "a shared crate",
            all.clone(),
            Box::new(|copy| append(copy, &format!("services/{library}/src/lib.rs"), "\n// more\n")),
        ),
        (
            "the profile",
            all.clone(),
            Box::new(|copy| replace(copy, "Cargo.toml", "codegen-units = 16", "codegen-units = 8")),
        ),
        (
            "a base image",
            all.clone(),
            Box::new(|copy| append(copy, "docker/bases/runtime.Dockerfile", "\n# more\n")),
        ),
        (
            "a feature of the joint build, asked for by another",
            all.clone(),
            Box::new(|copy| {
                let manifest = format!("services/{other}/Cargo.toml");
                replace(
                    copy,
                    &manifest,
                    "tokio = { workspace = true",
                    "tokio = { features = [\"test-util\"], workspace = true",
                );
            }),
        ),
    ];
    for (what, expected, mutate) in mutations {
        let before = planned(&copy);
        mutate(&copy);
        let after = planned(&copy);
        // What a feature reaches is its users; it must reach beyond the one that asked for it.
        let found = changed(&before, &after);
        let reached = what.starts_with("a feature") && found.len() > 1;
        assert!(
            reached || found == expected,
            "{what}: {found:?}, not {expected:?}"
        );
        copy.commit(what);
    }
}

#[test]
fn what_is_not_declared_changes_nothing() {
    let copy = Copy::new();
    copy.commit("all");
    let Cast { one, other, .. } = cast(&copy);
    let before = planned(&copy);
    copy.write("README.md", "# More\n");
    copy.write("xtask/more.rs", "// more\n");
    append(&copy, "compose/compose.yaml", "\n# more\n");
    append(&copy, "Cargo.toml", "\n# more\n");
    append(&copy, "Cargo.lock", "\n# more\n");
    append(&copy, &format!("docker/Dockerfile.{other}"), "\n# more\n");
    append(&copy, &format!("services/{other}/src/lib.rs"), "\n// more\n");
    // Tests alone ask for it: no build of binaries turns it on. (It is `other`'s own file: its key changes.)
    replace(
        &copy,
        &format!("services/{other}/Cargo.toml"),
        "[dev-dependencies]\n",
        "[dev-dependencies]\ntokio = { workspace = true, features = [\"test-util\"] }\n",
    );
    copy.write(&format!("services/{one}/README.md"), "# More\n");
    std::fs::create_dir_all(copy.path(&format!("services/{one}/tests/more"))).unwrap();
    copy.write(&format!("services/{one}/tests/more/main.rs"), "//! More.\n");
    assert_eq!(changed(&before, &planned(&copy)), BTreeSet::from([other.clone()]));
    copy.commit("elsewhere");
    let after = planned(&copy);
    assert_eq!(changed(&before, &after), BTreeSet::from([other.clone()]));
    assert_eq!(
        before[&one].revision, after[&one].revision,
        "a commit elsewhere is not its revision"
    );
    assert_ne!(before[&other].revision, after[&other].revision);
}

#[test]
fn a_revision_is_the_last_commit_that_touched_the_inputs_and_says_dirty() {
    let copy = Copy::new();
    let unknown = planned(&copy);
    assert!(
        unknown.values().all(|planned| planned.revision == "unknown"),
        "without git"
    );
    copy.commit("all");
    let Cast { one, other, .. } = cast(&copy);
    let first = planned(&copy);
    assert_eq!(first[&one].revision.len(), 40);
    append(&copy, &format!("services/{one}/src/lib.rs"), "\n// more\n");
    let edited = planned(&copy);
    assert_eq!(edited[&one].revision, format!("{}-dirty", first[&one].revision));
    assert_eq!(edited[&other].revision, first[&other].revision);
    copy.commit("one");
    let committed = planned(&copy);
    assert_eq!(committed[&one].revision.len(), 40);
    assert_ne!(committed[&one].revision, first[&one].revision);
    assert_ne!(
        committed[&one].key, edited[&one].key,
        "a label that said `-dirty` is not reused"
    );
    // A file that git ignores, but that the build would see, is no part of any commit.
    copy.write(".gitignore", "*.secret\n");
    copy.commit("ignore");
    copy.write(&format!("services/{one}/src/a.secret"), "x");
    assert!(planned(&copy)[&one].revision.ends_with("-dirty"));
}

#[test]
fn where_two_branches_meet_the_merge_is_the_revision_of_what_both_touched() {
    let copy = Copy::new();
    copy.commit("all");
    let Cast {
        one, other, library, ..
    } = cast(&copy);
    copy.git(&["checkout", "--quiet", "-b", "side"]);
    append(&copy, &format!("services/{one}/src/lib.rs"), "\n// more\n");
    copy.commit("one");
    copy.git(&["checkout", "--quiet", "main"]);
    append(&copy, &format!("services/{library}/src/lib.rs"), "\n// more\n");
    let on_main = copy.commit("library");
    copy.git(&["merge", "--quiet", "--message", "merge", "side"]);
    let merge = copy.git(&["rev-parse", "HEAD"]);
    let after = planned(&copy);
    assert_eq!(after[&one].revision, merge, "neither branch alone has its inputs");
    assert_eq!(after[&other].revision, on_main, "the merge brought it nothing");
}

#[test]
fn a_service_that_was_never_built_says_so_and_an_unknown_one_finds_its_neighbour() {
    let copy = Copy::new();
    let Cast { one, .. } = cast(&copy);
    let ended = copy.xtask(&["why", &one, "--bases", "local"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert!(
        ended.stdout.contains("was never built in this checkout"),
        "{}",
        ended.stdout
    );
    let ended = copy.xtask(&["why", &one[1..]]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(
        ended.stderr.contains(&format!("did you mean '{one}'")),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_malformed_dockerignore_is_named() {
    let copy = Copy::new();
    copy.write(".dockerignore", "ok\n[z\n");
    let ended = copy.xtask(&["plan", "--bases", "local"]);
    assert_eq!(ended.code, Some(2), "{}", ended.said());
    assert!(
        ended.stderr.contains(".dockerignore: '[z' is no pattern"),
        "{}",
        ended.stderr
    );
}
