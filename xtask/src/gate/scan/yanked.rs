//! Yanked crates: what the registry says today of every locked crate. Asked through cargo, as it is configured on
//! this machine, in one call for all services; an answer is kept for a day. Names of hosts go into no report.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::policy::Availability;
use super::remedy;
use crate::cache;
use crate::catalogue::{Service, first_of};
use crate::context::Context;
use crate::fingerprint::lock;
use crate::graph::Graph;
use crate::hash;
use crate::process;
use crate::tool::{cargo, index};
use crate::verdict::Check;

const NAME: &str = "yanked crates";
const ANSWER_HOLDS: Duration = Duration::from_secs(24 * 3600);
/// That nobody answered is remembered too, or every run of a machine without a network would wait for it.
const SILENCE_HOLDS: Duration = Duration::from_secs(10 * 60);
const DEADLINE_S: u64 = 30;

/// What the registries say of the locked crates, by `name version`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    pub yanked: BTreeSet<String>,
    /// Those that no index knows as they are locked.
    pub unknown: BTreeSet<String>,
    /// How many files cargo keeps of the index that cannot be read.
    #[serde(default)]
    pub unread: usize,
    /// How many were asked about.
    pub asked: usize,
}

/// What an answer is about.
#[derive(Serialize)]
struct Question {
    lock: String,
    /// Cargo's own settings: which registries it asks.
    settings: String,
}

/// The answers of today: kept ones, or asked for now. Nothing where no registry answers.
pub async fn ask(context: &Context) -> Option<Answers> {
    let question = question(context);
    if !context.options.fresh
        && let Some(kept) = context.cache.get::<Option<Answers>>("index", &question)
    {
        let holds = if kept.value.is_some() {
            ANSWER_HOLDS
        } else {
            SILENCE_HOLDS
        };
        if kept.age_s() < holds.as_secs() {
            return kept.value;
        }
    }
    let answers = look_up(context).await;
    // An interrupted call is no silence of the registry.
    if !context.cancel.is_cancelled() {
        remember(context, &answers);
    }
    answers
}

/// Keeps what the registries answered, or that they did not.
pub fn remember(context: &Context, answers: &Option<Answers>) {
    context.cache.put("index", &question(context), answers);
}

fn question(context: &Context) -> Question {
    Question {
        lock: hash::of_file(&context.root.join("Cargo.lock")).unwrap_or_default(),
        settings: settings(&context.root),
    }
}

/// Cargo asks with an empty home of its own, so that everything that it keeps there was answered just now.
async fn look_up(context: &Context) -> Option<Answers> {
    let text = std::fs::read_to_string(context.root.join("Cargo.lock")).ok()?;
    let locked = lock::registry_crates(&text);
    if locked.is_empty() {
        return Some(Answers::default());
    }
    let home = Home::create(context).ok()?;
    let call = cargo::ask_registries(&context.root, &home.0).deadline_s(DEADLINE_S);
    let output = process::run(context, &call).await.ok()?;
    output.success().then(|| home.answers(&locked))
}

/// A home for one call of cargo, with the settings and credentials of the real one. Deleted in the end.
struct Home(PathBuf);

impl Home {
    fn create(context: &Context) -> std::io::Result<Self> {
        let parent = cache::user_folder().unwrap_or_else(|| context.root.join("target/horme"));
        let parent = parent.join("registries");
        sweep(&parent);
        let home = Home(parent.join(&context.run_id));
        std::fs::create_dir_all(&home.0)?;
        for name in ["config.toml", "config", "credentials.toml", "credentials"] {
            let real = cargo_home().map(|folder| folder.join(name));
            if let Some(real) = real.filter(|path| path.is_file()) {
                std::os::unix::fs::symlink(real, home.0.join(name))?;
            }
        }
        Ok(home)
    }

    /// What the indexes say: `locked` has the checksum of each crate, where it has one.
    fn answers(&self, locked: &BTreeMap<String, String>) -> Answers {
        let folders = std::fs::read_dir(self.0.join("registry/index"))
            .into_iter()
            .flatten();
        let indexes: Vec<PathBuf> = folders
            .flatten()
            .map(|entry| entry.path().join(".cache"))
            .collect();
        let mut answers = Answers {
            asked: locked.len(),
            ..Answers::default()
        };
        for (id, checksum) in locked {
            let (name, version) = id.split_once(' ').unwrap_or((id, ""));
            let known = indexes
                .iter()
                .filter_map(|index| std::fs::read(index.join(index::place(name))).ok());
            let known: Vec<_> = known.map(|bytes| index::parse(&bytes)).collect();
            answers.unread += known.iter().filter(|entries| entries.is_none()).count();
            // The very crate that is locked, not one of the same name elsewhere.
            match known
                .iter()
                .flatten()
                .flatten()
                .find(|entry| entry.vers == version && (checksum == "-" || entry.cksum == *checksum))
            {
                Some(entry) if entry.yanked => drop(answers.yanked.insert(id.clone())),
                Some(_) => {}
                None => drop(answers.unknown.insert(id.clone())),
            }
        }
        answers
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Deletes what killed runs left.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let made = entry.metadata().and_then(|facts| facts.modified());
        let age = made.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age.as_secs() > 10 * DEADLINE_S) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn cargo_home() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    named.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
}

/// One hash of the files and variables that tell cargo which registry to ask.
fn settings(root: &Path) -> String {
    let folders = root
        .ancestors()
        .map(|folder| folder.join(".cargo"))
        .chain(cargo_home());
    let files = folders.flat_map(|folder| [folder.join("config.toml"), folder.join("config")]);
    let files = files.filter_map(|file| Some(format!("{} {}", file.display(), hash::of_file(&file).ok()?)));
    let parts: Vec<String> = files.chain(variables(std::env::vars_os())).collect();
    hash::of_parts(parts.iter().map(String::as_str))
}

/// Those of cargo's that concern registries, sorted. Not every variable of a machine is UTF-8.
fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let ours = all.filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let concerns = name.starts_with("CARGO_REGISTR") || name.starts_with("CARGO_SOURCE");
        concerns.then(|| format!("{name}={}", value.to_string_lossy()))
    });
    let mut ours: Vec<String> = ours.collect();
    ours.sort();
    ours
}

/// Judges the crates in one service's binary.
pub fn judge(service: &Service, graph: &Graph, answers: Option<&Answers>, policy: Availability) -> Check {
    let may_be_open = |check: Check| match policy {
        Availability::WhenAvailable => check.tolerated(),
        Availability::Required => check,
    };
    let Some(answers) = answers else {
        let hint = "`cargo update --workspace --dry-run` says why; a registry must be in reach once a day";
        return may_be_open(Check::undecided(NAME, "no registry answers", hint));
    };
    let mut yanked = service.crates.intersection(&answers.yanked).peekable();
    if let Some(first) = yanked.peek() {
        let hint = remedy::of_yanked(graph, first);
        let words =
            yanked.map(|id| format!("{id} ({})", graph.path_words(&service.name, &service.crates, id)));
        return Check::violated(NAME, words.collect::<Vec<_>>().join("; "), hint);
    }
    let unknown: Vec<&str> = service
        .crates
        .intersection(&answers.unknown)
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        let detail = format!("no registry says anything of {}", first_of(&unknown));
        let hint = match answers.unread {
            0 => "vendored crates and local folders have no index: ask where a registry is in reach",
            _ => {
                "this cargo keeps its index in a layout that is not read here: use the toolchain of rust-toolchain.toml"
            }
        };
        return may_be_open(Check::undecided(NAME, detail, hint));
    }
    Check::passed(
        NAME,
        format!("none; {} locked crates were asked about", answers.asked),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::service;
    use crate::graph::tests::graph;
    use crate::tool::index::tests::kept;
    use crate::verdict::Outcome;

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn judged(requirement: &str, answers: Option<&Answers>) -> Check {
        let graph = graph(&[
            ("frontend 0.1.0", "^1", "axum 1.0.0"),
            ("axum 1.0.0", requirement, "odd 1.2.0"),
        ]);
        let service = service("frontend", &["frontend 0.1.0", "axum 1.0.0", "odd 1.2.0"]);
        judge(&service, &graph, answers, Availability::WhenAvailable)
    }

    fn answers(yanked: &[&str], unknown: &[&str]) -> Answers {
        Answers {
            yanked: set(yanked),
            unknown: set(unknown),
            asked: 2,
            unread: 0,
        }
    }

    #[test]
    fn a_yanked_crate_of_the_binary_is_named_with_its_path_and_a_way_out() {
        let check = judged("^1", Some(&answers(&["odd 1.2.0"], &["axum 1.0.0"])));
        assert_eq!(check.outcome, Outcome::Violated);
        assert_eq!(check.detail, "odd 1.2.0 (frontend -> axum 1.0.0 -> odd)");
        assert_eq!(check.hint.as_deref(), Some("cargo update -p odd@1.2.0"));
        let check = judged("=1.2.0", Some(&answers(&["odd 1.2.0"], &[])));
        assert_eq!(
            check.hint.as_deref(),
            Some("axum 1.0.0 must move first: it asks for this very version")
        );
        let elsewhere = judged("^1", Some(&answers(&["other 9.0.0"], &["another 9.0.0"])));
        assert_eq!(elsewhere.outcome, Outcome::Passed, "of another binary");
    }

    #[test]
    fn a_variable_that_is_no_text_is_no_matter() {
        use std::os::unix::ffi::OsStringExt;
        let odd = || OsString::from_vec(vec![0xff]);
        let all = [
            (odd(), "x".into()),
            ("HOME".into(), odd()),
            ("CARGO_SOURCE_A".into(), odd()),
        ];
        assert_eq!(variables(all.into_iter()), ["CARGO_SOURCE_A=\u{fffd}"]);
    }

    #[test]
    fn silence_is_undecided_never_passed() {
        for check in [
            judged("^1", None),
            judged("^1", Some(&answers(&[], &["odd 1.2.0"]))),
        ] {
            assert_eq!((check.outcome, check.tolerated), (Outcome::Undecided, true));
        }
        let hint = |unread| {
            let answers = Answers {
                unread,
                ..answers(&[], &["odd 1.2.0"])
            };
            judged("^1", Some(&answers)).hint.unwrap()
        };
        assert!(hint(0).contains("vendored") && hint(1).contains("toolchain"));
        let graph = graph(&[]);
        let strict = judge(&service("frontend", &[]), &graph, None, Availability::Required);
        assert!(!strict.tolerated);
    }

    #[test]
    fn the_index_is_asked_for_the_very_crate_that_is_locked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir
            .path()
            .join("registry/index/x-1/.cache")
            .join(index::place("smallvec"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, kept(&[("0.6.13", true), ("0.6.14", false)])).unwrap();
        let locked = [
            ("smallvec 0.6.13", "c0.6.13"),
            ("smallvec 0.6.14", "c0.6.14"),
            ("smallvec 0.6.15", "-"),
            ("absent 1.0.0", "-"),
        ];
        let home = Home(dir.path().to_path_buf());
        let ask = |locked: &[(&str, &str)]| {
            home.answers(
                &locked
                    .iter()
                    .map(|(id, sum)| ((*id).to_owned(), (*sum).to_owned()))
                    .collect(),
            )
        };
        let said = ask(&locked);
        assert_eq!(said.yanked, set(&["smallvec 0.6.13"]));
        assert_eq!(said.unknown, set(&["smallvec 0.6.15", "absent 1.0.0"]));
        assert_eq!(said.unread, 0);
        let other = ask(&[("smallvec 0.6.13", "another")]);
        assert_eq!(
            other.unknown,
            set(&["smallvec 0.6.13"]),
            "another archive of the same name"
        );
        std::fs::write(&file, b"\x04 of a newer cargo").unwrap();
        let said = ask(&locked[..1]);
        assert_eq!((said.unread, said.unknown), (1, set(&["smallvec 0.6.13"])));
    }
}
