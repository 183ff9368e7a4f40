//! This repository's own services, for real: cloned, proven, released to a real registry with TLS and tokens, verified
//! from a machine that knows nothing; then again with one of them changed, and with none. Takes minutes and needs a
//! database of vulnerabilities, so it is run by hand:
//! `HORME_VULN_DB=FOLDER cargo test --manifest-path xtask/Cargo.toml --test it -- --ignored --nocapture own_services`

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::checkout::{Ended, ended, repository};
use crate::real_registry::{ADA, Account, BOB, RealRegistry, image_of};

struct Own {
    folder: TempDir,
    registry: RealRegistry,
}

impl Own {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("main");
        run(Command::new("git")
            .args(["clone", "--quiet"])
            .arg(repository())
            .arg(&main));
        for setting in [["user.name", "x"], ["user.email", "x@example.com"]] {
            run(Command::new("git")
                .arg("-C")
                .arg(&main)
                .arg("config")
                .args(setting));
        }
        let mut cosign = Command::new("cosign");
        cosign.args(["generate-key-pair", "--output-key-prefix", "release"]);
        run(cosign.env("COSIGN_PASSWORD", "").current_dir(folder.path()));
        std::fs::copy(
            folder.path().join("release.pub"),
            main.join("docker/policy/release.pub"),
        )
        .unwrap();
        let mut own = Own {
            registry: registry(&main),
            folder,
        };
        own.append(
            "docker/policy/release.toml",
            "\n[trust]\nkey = \"docker/policy/release.pub\"\n",
        );
        own.bring_database();
        own
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join("main").join(inside)
    }

    fn read(&self, inside: &str) -> String {
        std::fs::read_to_string(self.path(inside)).unwrap()
    }

    fn append(&mut self, inside: &str, more: &str) {
        let text = self.read(inside) + more;
        std::fs::write(self.path(inside), text).unwrap();
    }

    /// The database as if it were of today: how old it may be is tested elsewhere.
    fn bring_database(&self) {
        let from =
            std::env::var("HORME_VULN_DB").expect("HORME_VULN_DB names a Trivy cache folder with a database");
        let to = self.folder.path().join("vulnerabilities");
        run(Command::new("cp").args(["--recursive", &from]).arg(&to));
        let path = to.join("db/metadata.json");
        let mut metadata: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let now = jiff::Timestamp::now().to_string();
        metadata["UpdatedAt"] = json!(now);
        metadata["DownloadedAt"] = json!(now);
        std::fs::write(path, metadata.to_string()).unwrap();
    }

    fn xtask(&self, words: &[&str], who: Account) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(words)
            .current_dir(self.path(""))
            .env("CI", "true")
            .env("COSIGN_PASSWORD", "")
            .env("HORME_RELEASES_DIR", self.folder.path().join("journal"))
            .env("HORME_REGISTRY", format!("{}/acme", self.registry.host()))
            .env("HORME_SIGN_KEY", self.folder.path().join("release.key"))
            .env("HORME_VULN_DB", self.folder.path().join("vulnerabilities"))
            .env_remove("GITHUB_STEP_SUMMARY")
            .envs(self.registry.variables(Some(who)));
        ended(command.output().unwrap())
    }

    /// Commits, tags and proves a version.
    fn make_ready(&mut self, version: &str) {
        let manifest = self.read("Cargo.toml");
        let (before, after) = manifest
            .split_once("[workspace.metadata.release]\nversion = \"")
            .unwrap();
        let (_, after) = after.split_once('"').unwrap();
        let manifest = format!("{before}[workspace.metadata.release]\nversion = \"{version}\"{after}");
        std::fs::write(self.path("Cargo.toml"), manifest).unwrap();
        self.append("CHANGELOG.md", &format!("\n## {version}\n\n- It is released.\n"));
        let git = |words: &[&str]| run(Command::new("git").arg("-C").arg(self.path("")).args(words));
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message", version]);
        git(&["tag", &format!("v{version}")]);
        let begun = Instant::now();
        let said = self.xtask(&["ci"], ADA);
        assert_eq!(said.code, Some(0), "{}", said.said());
        println!(
            "ci for {version}: {:.1} s\n{}",
            begun.elapsed().as_secs_f64(),
            said.stdout
        );
    }

    /// Releases; what it says of itself.
    fn release(&self, words: &[&str]) -> Value {
        let begun = Instant::now();
        let said = self.xtask(&[&["release"], words].concat(), ADA);
        assert_eq!(said.code, Some(0), "{words:?}: {}", said.said());
        println!(
            "release {words:?}: {:.1} s\n{}",
            begun.elapsed().as_secs_f64(),
            said.stdout
        );
        serde_json::from_str(&self.read("reports/latest/release.json")).unwrap()
    }

    /// Every image under a tag, verified from a home where nothing is, by one who may only read: the digests.
    fn verified(&self, told: &Value, tag: &str) -> Vec<String> {
        let images = told["images"].as_array().unwrap().iter();
        let repositories = images.map(|image| image["repository"].as_str().unwrap());
        let verified = repositories.map(|repository| {
            let (image, home) = (
                format!("{}/{repository}:{tag}", self.registry.host()),
                tempfile::tempdir().unwrap(),
            );
            let key = self.folder.path().join("release.pub");
            let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
            command
                .args(["verify", &image, "--format", "json", "--key"])
                .arg(key);
            let places = ["HOME", "XDG_STATE_HOME", "HORME_CACHE_DIR"].map(|name| (name, home.path()));
            command
                .current_dir(self.path(""))
                .envs(places)
                .envs(self.registry.variables(Some(BOB)));
            let said = ended(command.output().unwrap());
            assert_eq!(said.code, Some(0), "{image}: {}", said.said());
            let told: Value = serde_json::from_str(&said.stdout).unwrap();
            told["digest"].as_str().unwrap().to_owned()
        });
        verified.collect()
    }
}

fn run(command: &mut Command) {
    let said = ended(command.output().unwrap());
    assert_eq!(said.code, Some(0), "{command:?}: {}", said.said());
}

fn registry(checkout: &Path) -> RealRegistry {
    let mut plan = Command::new(env!("CARGO_BIN_EXE_xtask"));
    plan.args(["plan", "--format", "json"]).current_dir(checkout);
    RealRegistry::start(&image_of(&ended(plan.output().unwrap()).stdout))
}

/// How many blobs each image sent.
fn uploaded(told: &Value) -> Vec<u64> {
    let images = told["images"].as_array().unwrap().iter();
    images
        .map(|image| image["sent"]["uploaded"].as_u64().unwrap())
        .collect()
}

#[test]
#[ignore = "takes minutes and a database of vulnerabilities; the first lines of this file say how to run it"]
fn our_own_services_are_released_then_the_one_that_changed_and_given_back() {
    let mut own = Own::new();
    own.make_ready("1.4.2");
    let first = own.release(&[]);
    let digests = own.verified(&first, "1.4.2");
    assert!(
        digests.len() > 1 && uploaded(&first).iter().all(|count| *count > 0),
        "{first}"
    );

    own.append("services/frontend/assets/app.css", "\n/* another look */\n");
    own.make_ready("1.4.3");
    let second = own.release(&[]);
    let sent = uploaded(&second);
    assert_eq!(sent.iter().filter(|count| **count > 0).count(), 1, "{second}");
    let changed = own.verified(&second, "latest");
    let differ = changed.iter().zip(&digests).map(|(now, before)| now != before);
    assert_eq!(
        differ.collect::<Vec<_>>(),
        sent.iter().map(|count| *count > 0).collect::<Vec<_>>()
    );

    own.make_ready("1.4.4");
    let third = own.release(&[]);
    assert_eq!(third["sent"]["uploaded"], json!(0), "{third}");

    own.release(&["--undo", "1.4.4"]);
    own.release(&["--undo", "1.4.3"]);
    assert_eq!(own.verified(&first, "latest"), digests);
}
