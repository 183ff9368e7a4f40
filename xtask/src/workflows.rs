//! The workflows of GitHub against the code: a command, a flag, a path or a platform that is renamed on one side alone
//! fails here, and so does a right, a pin or a line of shell that came in unnoticed. Tests only.

mod form;
mod rules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

fn texts() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(root().join(".github/workflows")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    paths.map(text).collect()
}

#[test]
fn the_workflows_and_the_code_agree() {
    let faults = rules::faults(&texts(), &readme());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// In a file, one text for another, and a word of what must then be said.
const DRIFT: [(&str, &str, &str, &str); 38] = [
    // A command, a flag or a variable that is not there, not asked for any more, or more than one.
    (
        "ci.yml",
        "cargo xtask ci --setup --strict",
        "cargo xtask sea --setup --strict",
        "unrecognized subcommand",
    ),
    (
        "ci.yml",
        "cargo xtask ci --setup --strict",
        "cargo xtask ci --setup --very-strict",
        "unexpected argument",
    ),
    (
        "ci.yml",
        "cargo xtask ci --setup --strict",
        "cargo xtask ci --setup",
        "no step runs `cargo xtask ci --setup --strict`",
    ),
    (
        "ci.yml",
        "cargo xtask ci --setup --strict",
        "cargo xtask ci --setup --strict && true",
        "logic of the shell",
    ),
    (
        "ci.yml",
        "cargo xtask ci --setup --strict",
        "cargo xtask ci --setup --strict; true",
        "logic of the shell",
    ),
    (
        "ci.yml",
        "cargo xtask ci --setup --strict",
        "cargo xtask ci --setup --strict $FLAGS",
        "logic of the shell",
    ),
    (
        "ci.yml",
        "run: cargo xtask ci",
        "run: sudo cargo xtask ci",
        "is not one `cargo xtask`",
    ),
    (
        "ci.yml",
        "run: cargo xtask ci",
        "run: |\n          true\n          cargo xtask ci",
        "is not one `cargo xtask`",
    ),
    (
        "ci.yml",
        "run: cargo xtask ci",
        "shell: bash\n        run: cargo xtask ci",
        "shell",
    ),
    (
        "nightly.yml",
        "[faults, selftest, reproduce]",
        "[faults, selftest, reproduced]",
        "unrecognized subcommand",
    ),
    (
        "nightly.yml",
        "[faults, selftest, reproduce]",
        "[faults, reproduce]",
        "no step runs `cargo xtask selftest",
    ),
    (
        "nightly.yml",
        "cargo xtask rescan",
        "cargo xtask scan",
        "no step runs `cargo xtask rescan",
    ),
    (
        "test.yml",
        "cargo xtask test --setup",
        "cargo xtask setup",
        "no step runs `cargo xtask test",
    ),
    (
        "release.yml",
        "HORME_RELEASES_DIR",
        "HORME_JOURNAL",
        "no command knows HORME_JOURNAL",
    ),
    // What is handed on.
    (
        "ci.yml",
        "reports/latest/report.sarif",
        "reports/latest/findings.sarif",
        "no run hands findings.sarif on",
    ),
    (
        "ci.yml",
        "path: for-github/comment.md",
        "path: for-github/report.md",
        "reads what nobody hands on",
    ),
    (
        "ci.yml",
        "            reports/latest/comment.md\n",
        "",
        "reads what nobody hands on",
    ),
    ("ci.yml", "            !reports/*/secrets\n", "", "must leave out"),
    (
        "ci.yml",
        "            reports/*/\n",
        "            target\n",
        "nothing writes target",
    ),
    (
        "build.yml",
        "--export images",
        "--export pictures",
        "exported are",
    ),
    (
        "build.yml",
        "subject-checksums: images/checksums.txt",
        "subject-checksums: images/SHA256SUMS",
        "checksums.txt",
    ),
    (
        "build.yml",
        "platform: [linux-amd64, linux-arm64]",
        "platform: [linux-amd64]",
        "name other platforms",
    ),
    (
        "build.yml",
        "runner: ubuntu-24.04-arm",
        "runner: ubuntu-24.04",
        "is not what ubuntu-24.04 is",
    ),
    (
        "build.yml",
        "linux-arm64",
        "linux-riscv64",
        "README.md knows no `linux/riscv64`",
    ),
    (
        "release.yml",
        " --images images/images-linux-arm64",
        "",
        "--images must name",
    ),
    // Who may what.
    (
        "ci.yml",
        "permissions: {}",
        "permissions:\n  contents: read",
        "permissions at the top",
    ),
    (
        "ci.yml",
        "      contents: read\n    steps:",
        "      contents: write\n    steps:",
        "may more than read the source",
    ),
    (
        "build.yml",
        "      contents: read\n    strategy:",
        "      contents: read\n      id-token: write\n    strategy:",
        "may more than read",
    ),
    (
        "ci.yml",
        " && github.event.pull_request.head.repo.full_name == github.repository",
        "",
        "of a fork's pull request",
    ),
    (
        "ci.yml",
        "  pull_request:\n",
        "  pull_request_target:\n",
        "pull_request_target",
    ),
    (
        "nightly.yml",
        "COMMAND: ${{ matrix.command }}",
        "COMMAND: ${{ secrets.COMMAND }}",
        "secrets",
    ),
    (
        "ci.yml",
        "persist-credentials: false",
        "persist-credentials: true",
        "leaves credentials behind",
    ),
    ("ci.yml", " # v6.0.2", "", "name 40 digits of a commit"),
    (
        "ci.yml",
        "@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2",
        "@v6 # v6.0.2",
        "name 40 digits of a commit",
    ),
    ("ci.yml", "    timeout-minutes: 60\n", "", "timeout-minutes"),
    ("ci.yml", "          retention-days: 30\n", "", "retention-days"),
    (
        "test.yml",
        "test-${{ github.ref }}",
        "ci-${{ github.ref }}",
        "share a concurrency group",
    ),
    (
        "test.yml",
        "  cancel-in-progress: ${{ github.event_name == 'pull_request' }}\n",
        "",
        "cancel-in-progress",
    ),
];

#[test]
fn whatever_drifts_is_named() {
    for (file, from, to, said) in DRIFT {
        let mut texts = texts();
        let text = texts.get_mut(file).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        *text = text.replace(from, to);
        let faults = rules::faults(&texts, &readme());
        let named = faults.iter().any(|fault| fault.contains(said));
        assert!(named, "{file}: {from:?} -> {to:?}: {faults:?}");
    }
}

#[test]
fn a_workflow_that_no_rule_knows_is_refused_and_so_is_one_that_went() {
    let mut more = texts();
    more.insert(
        "deploy.yml".to_owned(),
        more["test.yml"].replace("test-", "deploy-"),
    );
    let faults = rules::faults(&more, &readme());
    assert!(
        faults.iter().any(|fault| fault.starts_with("deploy.yml: there")),
        "{faults:?}"
    );
    let mut less = texts();
    less.remove("nightly.yml");
    let faults = rules::faults(&less, &readme());
    assert!(
        faults.iter().any(|fault| fault.starts_with("nightly.yml: there")),
        "{faults:?}"
    );
}

/// Whatever has a lock file, a pin or a commit is brought up to date, and nothing on the day of its release.
#[test]
fn everything_that_is_pinned_is_kept_up_to_date() {
    let text = std::fs::read_to_string(root().join(".github/dependabot.yml")).unwrap();
    let config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let updates = config["updates"].as_array().unwrap();
    let folders = |ecosystem: &str| -> Vec<String> {
        let of = updates
            .iter()
            .filter(|update| update["package-ecosystem"] == ecosystem);
        let named = of.flat_map(|update| match update["directories"].as_array() {
            Some(several) => several.clone(),
            None => vec![update["directory"].clone()],
        });
        named.map(|folder| folder.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(folders("github-actions"), ["/"]);
    for (ecosystem, file, known) in [
        ("cargo", "Cargo.lock", &["/", "/xtask"][..]),
        ("docker", "Dockerfile", &["/docker", "/docker/faults"]),
    ] {
        assert_eq!(folders(ecosystem), known);
        for folder in known {
            let entries = std::fs::read_dir(root().join(folder.trim_start_matches('/'))).unwrap();
            let mut names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
            assert!(names.any(|name| name.starts_with(file)), "{folder} has no {file}");
        }
    }
    for update in updates {
        assert!(
            update["cooldown"]["default-days"].as_u64().unwrap() >= 7,
            "{update}"
        );
        assert!(update["groups"].is_object(), "{update}");
    }
}
