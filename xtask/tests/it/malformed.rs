//! Files that are broken in every way that files are: one clear error that names the culprit and the remedy, and
//! nothing half done.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::checkout::{Checkout, Ended, Fixture, ended};

/// What stands where a file should be.
enum Instead<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Folder,
    Nothing,
}
use Instead::{Bytes, Folder, Nothing, Text};

fn one(name: &str) -> Checkout {
    Checkout::new(vec![Fixture {
        mode: "good",
        ..Fixture::new(name)
    }])
}

fn put(path: &Path, instead: &Instead) {
    if path.is_dir() {
        std::fs::remove_dir(path).unwrap();
    } else if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    match instead {
        Text(text) => std::fs::write(path, text).unwrap(),
        Bytes(bytes) => std::fs::write(path, bytes).unwrap(),
        Folder => std::fs::create_dir(path).unwrap(),
        Nothing => {}
    }
}

/// Puts each thing in a file's place, and asserts that a command then ends with 2, names the file and what is wrong
/// with it, and has a hint.
fn refused(checkout: &Checkout, file: &str, command: &str, cases: &[(Instead, &str)]) {
    let path = checkout.path(file);
    let good = std::fs::read(&path).ok();
    for (instead, why) in cases {
        put(&path, instead);
        let said = checkout.run(&[command]);
        assert_eq!(said.code, Some(2), "{file}, expected '{why}': {}", said.said());
        for words in [file, *why, "hint: "] {
            assert!(said.stderr.contains(words), "no '{words}' in:\n{}", said.stderr);
        }
        assert!(!said.said().contains("panicked"), "{}", said.said());
    }
    put(&path, &good.as_deref().map_or(Nothing, Bytes));
}

fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no '{from}' in {text}");
    text.replace(from, to)
}

#[test]
fn a_baseline_that_is_no_baseline() {
    let checkout = one("bad-baseline");
    let half = "{\"local\": {\"horme-test-bad-baseline\": {\"unpacked_bytes\": 1";
    let sizes = |bytes: &str| {
        format!(
            "{{\"local\": {{\"horme-test-bad-baseline\": {{\"unpacked_bytes\": {bytes}, \"compressed_bytes\": 1}}}}}}"
        )
    };
    let gone = sizes("1").replace("bad-baseline", "gone");
    refused(
        &checkout,
        "reports/baseline.json",
        "budget",
        &[
            (Text("[]"), "invalid type"),
            (Text(""), "EOF"),
            (Text(half), "EOF"),
            (Text(&sizes("\"1 MB\"")), "invalid type"),
            (Text(&sizes("-1")), "invalid value"),
            (Text(&sizes("1.5")), "invalid type"),
            (Text(&sizes("1, \"more\": 2")), "unknown field `more`"),
            (Text(&gone), "no service has the image 'horme-test-gone'"),
            (Bytes(b"\xff\xfe{}"), "UTF-8"),
            (Folder, "directory"),
        ],
    );
}

#[test]
fn policies_that_are_none() {
    let checkout = one("bad-policy");
    let shipped = |file: &str| std::fs::read_to_string(checkout.path(file)).unwrap();
    let scan = shipped("docker/policy/scan.toml");
    let unknown = format!("{scan}\nseverities = []\n");
    refused(
        &checkout,
        "docker/policy/scan.toml",
        "scan",
        &[
            (Text(&unknown), "unknown field `severities`"),
            (Text(&with(&scan, "when-available", "sometimes")), "sometimes"),
            (Text(&with(&scan, "= 7", "= -7")), "-7"),
            (
                Text(&with(&scan, "\"HIGH\"", "\"HIHG\"")),
                "'HIHG' is none of CRITICAL",
            ),
            (Text("database = "), "docker/policy/scan.toml"),
            (Text(""), "missing field"),
            (Bytes(b"\xff\xfe"), "UTF-8"),
            (Folder, "directory"),
            (Nothing, "No such file"),
        ],
    );
    refused(
        &checkout,
        "docker/policy/budget.toml",
        "budget",
        &[
            (Text("allowed_growth = 5.0"), "unknown field `allowed_growth`"),
            (Text("allowed_growth_percent = \"5\""), "invalid type"),
            (Text("allowed_growth_percent = -5.0"), "allowed_growth_percent"),
            (Text("allowed_growth_percent = nan"), "allowed_growth_percent"),
            (Text(""), "missing field"),
            (Bytes(b"\xff\xfe"), "UTF-8"),
            (Folder, "directory"),
        ],
    );
}

#[test]
fn exceptions_that_say_too_little() {
    let checkout = one("bad-exception");
    let good = "[[exception]]\nid = \"CVE-1\"\npackage = \"p\"\nowner = \"o\"\nreason = \"r\"\nexpires = \"2099-12-31\"\n";
    refused(
        &checkout,
        "docker/policy/exceptions.toml",
        "scan",
        &[
            (Text(&with(good, "2099-12-31", "next year")), "next year"),
            (Text(&with(good, "2099-12-31", "2099-02-30")), "2099-02-30"),
            (Text(&with(good, "\"r\"", "\" \"")), "must say something"),
            (Text(&with(good, "owner = \"o\"\n", "")), "missing field `owner`"),
            (Text(&with(good, "package", "crate")), "unknown field `crate`"),
            (Bytes(b"\xff\xfe"), "UTF-8"),
            (Folder, "directory"),
        ],
    );
}

#[test]
fn metadata_that_says_what_cannot_be() {
    let checkout = one("bad-metadata");
    let good = std::fs::read_to_string(checkout.path("services/bad-metadata/Cargo.toml")).unwrap();
    let port = |port: &str| with(&good, "port = 8000", &format!("port = {port}"));
    let more = |line: &str| format!("{good}{line}\n");
    let range = "image.port: expected a number from 1 to 65535";
    refused(
        &checkout,
        "services/bad-metadata/Cargo.toml",
        "plan",
        &[
            (Text(&port("0")), range),
            (Text(&port("70000")), range),
            (Text(&port("-1")), range),
            (Text(&port("80.5")), range),
            (Text(&port("\"8000\"")), range),
            (Text(&with(&good, "port = 8000\n", "")), range),
            (Text(&more("retries = 3")), "image.retries: unknown key"),
            (
                Text(&more("needs = \"redis\"")),
                "image.needs: expected a list of names",
            ),
            (
                Text(&more("needs = [\"redis\"]\non_loss = { redis = \"explode\" }")),
                "image.on_loss.redis: expected \"degrade\" or \"not-ready\"",
            ),
            (
                Text(&more("needs = [\"redis\"]\non_loss = { postgres = \"degrade\" }")),
                "image.on_loss.postgres: not among image.needs",
            ),
            (
                Text(&more("on_loss = \"degrade\"")),
                "image.on_loss: expected a table",
            ),
        ],
    );
}

/// The verdicts of `lint` on the only service: exit code 1, and the words.
fn linted(checkout: &Checkout, words: &[&str]) {
    let said = checkout.run(&["lint", "--fresh"]);
    assert_eq!(said.code, Some(1), "{}", said.said());
    for words in words {
        assert!(said.stdout.contains(words), "no '{words}' in:\n{}", said.stdout);
    }
}

#[test]
fn dockerfiles_that_are_none() {
    let checkout = one("bad-dockerfile");
    let file = "docker/Dockerfile.bad-dockerfile";
    let elf = b"\x7fELF\x02\x01\x01\x00\xff\xfe\x00\n";
    refused(
        &checkout,
        file,
        "plan",
        &[
            (Bytes(elf), "no text"),
            (Folder, "directory"),
            (Nothing, "missing"),
        ],
    );
    // One that is empty is a violation of the gates that look at it.
    checkout.write(file, "");
    linted(&checkout, &["bad-dockerfile", file]);
    let said = checkout.run(&["build"]);
    assert_eq!(said.code, Some(1), "{}", said.said());
    let report = checkout.report().to_string();
    assert!(report.contains("the Dockerfile cannot be empty"), "{report}");
}

#[test]
fn a_dockerfile_of_another_systems_line_ends_is_read_like_any() {
    let (checkout, plain) = (one("crlf-dockerfile"), one("lf-dockerfile"));
    let path = checkout.path("docker/Dockerfile.crlf-dockerfile");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    let (there, here) = (checkout.run(&["lint"]), plain.run(&["lint"]));
    assert_eq!(there.code, here.code, "{}{}", there.said(), here.said());
    let (there, here) = (
        checkout.checks("crlf-dockerfile", "lint"),
        plain.checks("lf-dockerfile", "lint"),
    );
    assert_eq!(there, here);
    assert_eq!(checkout.run(&["build"]).code, Some(0));
}

#[test]
fn compose_files_that_are_none() {
    let checkout = one("bad-compose");
    for broken in ["services: [", "services:\n\t- x", "\u{0}", "[]", "services: 7"] {
        checkout.write("compose/compose.prod.yaml", broken);
        linted(&checkout, &["compose prod"]);
    }
    let built = checkout.run(&["build"]);
    assert_eq!(built.code, Some(0), "{}", built.said());
    checkout.write("compose/compose.ci.yaml", "services: [");
    let said = checkout.run(&["network"]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(
        said.stdout.contains("network undecided") || said.stdout.contains("undecided"),
        "{}",
        said.said()
    );
    assert!(said.stdout.contains("compose.ci.yaml"), "{}", said.said());
}

/// Reports that cannot be written: undecided, with the remedy.
fn unwritable(said: &Ended) {
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(said.stderr.contains("reports"), "{}", said.stderr);
    assert!(
        said.stderr.contains("hint: make the reports folder writable"),
        "{}",
        said.stderr
    );
}

#[test]
fn reports_that_cannot_be_written() {
    let checkout = one("bad-reports");
    checkout.write("reports", "a file");
    unwritable(&checkout.run(&["lint"]));
    std::fs::remove_file(checkout.path("reports")).unwrap();
    // Also for root, which permissions do not bind.
    std::fs::create_dir(checkout.path("reports")).unwrap();
    let mounted = Mount::read_only(&checkout.path("reports"));
    if let Some(_mounted) = mounted {
        unwritable(&checkout.run(&["lint"]));
    } else {
        std::fs::set_permissions(checkout.path("reports"), PermissionsExt::from_mode(0o555)).unwrap();
        unwritable(&checkout.run(&["lint"]));
    }
}

#[test]
fn reports_on_a_full_disk() {
    let checkout = one("full-reports");
    std::fs::create_dir(checkout.path("reports")).unwrap();
    let Some(_mounted) = Mount::small(&checkout.path("reports")) else {
        println!("mounts are for root alone: a full disk cannot be had here");
        return;
    };
    assert_eq!(checkout.run(&["build"]).code, Some(0), "as long as there is room");
    fill(&checkout.path("reports/filler"));
    let said = checkout.run(&["scan", "--fresh"]);
    assert_eq!(said.code, Some(3), "{}", said.said());
    assert!(said.stderr.contains("No space left"), "{}", said.stderr);
    assert!(
        said.stderr
            .contains("hint: make the reports folder writable and free some space"),
        "{}",
        said.stderr
    );
    assert_eq!(checkout.run(&["clean"]).stdout, "swept nothing of dead runs\n");
}

fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for block in [65536, 512, 1] {
        while std::io::Write::write_all(&mut file, &vec![0; block]).is_ok() {}
    }
}

/// A file system over a folder, for as long as the value lives; `None` where that may not be had.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(path: &Path, options: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(path);
        let done = mount.output().is_ok_and(|output| output.status.success());
        done.then(|| Mount(path.to_path_buf()))
    }

    fn read_only(path: &Path) -> Option<Self> {
        Self::new(path, "ro")
    }

    fn small(path: &Path) -> Option<Self> {
        Self::new(path, "size=2m")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn without_git_and_without_commits_the_revision_is_unknown_and_said_to_be() {
    let checkout = one("no-git");
    let said = checkout.run(&["build"]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    assert!(said.stdout.contains("reads `unknown`"), "{}", said.stdout);
    let mut git = Command::new("git");
    let made = git
        .args(["init", "--quiet"])
        .current_dir(checkout.path(""))
        .status();
    assert!(made.unwrap().success());
    let said = checkout.run(&["build", "--fresh"]);
    assert_eq!(said.code, Some(0), "{}", said.said());
    assert!(
        said.stdout.contains("reads `unknown`"),
        "no commits yet: {}",
        said.stdout
    );
    // A machine without the program: everything else on PATH stays.
    let bin = checkout.path("bin-without-git");
    std::fs::create_dir(&bin).unwrap();
    for name in ["cargo", "rustc", "docker"] {
        let found = Command::new("which").arg(name).output().unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        std::os::unix::fs::symlink(found.trim(), bin.join(name)).unwrap();
    }
    let mut command = checkout.command(&["plan", "--fresh"]);
    let said = ended(command.env("PATH", &bin).output().unwrap());
    assert_eq!(said.code, Some(0), "{}", said.said());
    assert!(said.said().contains("reads `unknown`"), "{}", said.said());
}

#[test]
fn without_a_home_state_and_cache_have_a_place_of_their_own() {
    let checkout = one("no-home");
    assert_eq!(checkout.run(&["build"]).code, Some(0));
    let home = std::path::PathBuf::from(std::env::var("HOME").unwrap());
    let homeless = |words: &[&str]| {
        let mut command = checkout.command(words);
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            command.env(
                name,
                std::env::var_os(name).unwrap_or_else(|| home.join(folder).into()),
            );
        }
        for name in ["HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        command.env("TMPDIR", checkout.path("bin"));
        command
    };
    let said = ended(
        homeless(&["plan"])
            .env_remove("HORME_CACHE_DIR")
            .output()
            .unwrap(),
    );
    assert_eq!(said.code, Some(0), "{}", said.said());
    let kept = std::fs::read_dir(checkout.path("target/horme/results")).unwrap();
    assert!(kept.count() > 0, "the cache is the checkout's own");
    // The tools that set-up keeps are found where the caches are.
    let mut boot = homeless(&["boot", "--fresh"]);
    let said = ended(boot.env("XDG_CACHE_HOME", home.join(".cache")).output().unwrap());
    assert_eq!(said.code, Some(0), "{}", said.said());
    let mut state = std::fs::read_dir(checkout.path("bin")).unwrap().flatten();
    assert!(
        state.any(|entry| entry.file_name().to_string_lossy().starts_with("state-of-")),
        "leases lie in a folder of this user's own"
    );
}

#[test]
fn two_runs_at_once_in_one_checkout_do_not_disturb_each_other() {
    let checkout = one("twice");
    let start = || checkout.command(&["ci", "--fresh"]).spawn().unwrap();
    let runs = [start(), start()];
    for run in runs {
        let said = ended(run.wait_with_output().unwrap());
        // The fixture's binary lists no crates: its scan alone is violated.
        assert_eq!(said.code, Some(1), "{}", said.said());
        assert!(said.stdout.contains("5 passed, 1 violated;"), "{}", said.said());
    }
    assert_eq!(checkout.run(&["clean"]).stdout, "swept nothing of dead runs\n");
}
