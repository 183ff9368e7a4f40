//! A machine that lacks something: reports that cannot be written, a full disk, no git, no home, two runs at once.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::checkout::{Ended, ended};
use crate::malformed::one;

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
pub(crate) struct Mount(std::path::PathBuf);

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

    /// The folder as it is, but for reading alone.
    pub(crate) fn again_read_only(path: &Path) -> Option<Self> {
        let mount = |options: &str| {
            let mut mount = Command::new("mount");
            mount.args(["-o", options]).args([path, path]);
            mount.output().is_ok_and(|output| output.status.success())
        };
        let bound = mount("bind").then(|| Mount(path.to_path_buf()))?;
        mount("remount,bind,ro").then_some(bound)
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
