//! Verdicts and images that are reused: said so, only for the very same subject, and never out of a cache or a
//! registry that cannot be trusted.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use crate::checkout::{Checkout, Fixture, ended, remove_images};
use crate::real_registry::image_of;

fn entries(checkout: &Checkout, kind: &str) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(checkout.path("cache").join(kind)).unwrap();
    folder.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_was_built_and_passed_is_reused_and_said_so() {
    let checkout = Checkout::new(vec![Fixture::new("kept")]);
    let first = checkout.gate("budget");
    assert_eq!(first.code, Some(0), "{}", first.said());
    assert_eq!(checkout.origins("budget"), ["fresh"]);
    let again = checkout.run(&["build"]);
    assert_eq!(again.code, Some(0), "{}", again.said());
    assert!(
        again.stdout.contains("1 passed (1 of them reused)"),
        "{}",
        again.stdout
    );
    assert_eq!(checkout.origins("build"), ["reused"]);
    assert!(
        !checkout.path("reports/latest/logs/build.log").exists(),
        "nothing was built"
    );
    let again = checkout.run(&["budget"]);
    assert!(
        again.stdout.contains("reused") && again.stdout.contains(" ago, run 20"),
        "{}",
        again.stdout
    );
    let fresh = checkout.run(&["budget", "--fresh"]);
    assert!(!fresh.stdout.contains("reused"), "{}", fresh.stdout);
    assert_eq!(checkout.origins("budget"), ["fresh"]);
}

#[test]
fn another_input_is_built_and_judged_again_and_why_names_it() {
    let checkout = Checkout::new(vec![Fixture::new("moved")]);
    checkout.gate("budget");
    let unchanged = checkout.run(&["why", "moved"]);
    assert!(
        unchanged.stdout.contains("nothing differs"),
        "{}",
        unchanged.stdout
    );
    // The Dockerfile copies it by name: an input, though no crate holds it.
    checkout.extend_binary(b"more");
    let why = checkout.run(&["why", "moved"]);
    assert!(why.stdout.contains("\n  bin/fixture changed"), "{}", why.stdout);
    checkout.gate("budget");
    assert_eq!(checkout.origins("budget"), ["fresh"], "another digest");
}

#[test]
fn a_stand_alone_build_gives_the_digest_of_the_joint_one() {
    let checkout = Checkout::new(vec![Fixture::new("alone"), Fixture::new("beside")]);
    // Content that no build has seen: the joint build stands on no cached layer either.
    checkout.extend_binary(&std::process::id().to_le_bytes());
    assert_eq!(checkout.run(&["build"]).code, Some(0));
    let joint = checkout.report()["digests"][0][1].as_str().unwrap().to_owned();
    let plan = checkout.run(&["plan"]);
    let line = plan
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("  alone     "))
        .unwrap();
    let line = line.replace("horme-test-alone:latest", "horme-test-alone:by-hand");
    // In another second: no time of the build may be part of it.
    let second = std::time::SystemTime::now() + std::time::Duration::from_millis(1100);
    while std::time::SystemTime::now() < second {
        std::thread::yield_now();
    }
    let mut words = line.split(' ');
    let mut build = Command::new(words.next().unwrap());
    build
        .args(words)
        .args(["--no-cache", "--load"])
        .current_dir(checkout.path(""));
    let built = ended(build.env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1").output().unwrap());
    assert_eq!(built.code, Some(0), "{}", built.said());
    let alone = docker(&[
        "image",
        "inspect",
        "--format",
        "{{.Id}}",
        "horme-test-alone:by-hand",
    ]);
    assert_eq!(alone, joint);
}

#[test]
fn another_image_under_the_name_of_a_key_is_not_taken_for_the_one_that_was_built() {
    let checkout = Checkout::new(vec![Fixture::new("usurped"), Fixture::new("usurper")]);
    assert_eq!(checkout.run(&["build"]).code, Some(0));
    let digest = || {
        let report = checkout.report();
        let mut digests = report["digests"].as_array().unwrap().iter();
        digests.find(|pair| pair[0] == "usurped").unwrap()[1].clone()
    };
    let built = digest();
    let plan = checkout.run(&["plan", "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    let key = plan["images"][0]["key"].as_str().unwrap();
    let name = format!("horme-test-usurped:key-{}", &key[..32]);
    docker(&["tag", "horme-test-usurper:latest", &name]);
    let again = checkout.run(&["build"]);
    assert_eq!(again.code, Some(0), "{}", again.said());
    assert_eq!(
        checkout
            .origins("build")
            .iter()
            .filter(|origin| *origin == "fresh")
            .count(),
        1
    );
    assert_eq!(digest(), built);
}

#[test]
fn what_was_violated_is_looked_at_again() {
    let checkout = Checkout::new(vec![Fixture {
        budget: "10 kB",
        ..Fixture::new("still-fat")
    }]);
    for _ in 0..2 {
        let ended = checkout.gate("budget");
        assert_eq!(ended.code, Some(1), "{}", ended.said());
        assert_eq!(checkout.origins("budget"), ["fresh"]);
    }
}

#[test]
fn a_damaged_entry_is_discarded_with_a_word_and_never_trusted() {
    let checkout = Checkout::new(vec![Fixture::new("hurt")]);
    checkout.gate("budget");
    type Damage = fn(String) -> String;
    let damages: [(Damage, &str); 3] = [
        (
            |text| text[..text.len() / 2].to_owned(),
            "it is cut off or damaged",
        ),
        (|text| text.replace("passed", "PASSED"), "it is damaged"),
        (
            |text| text.replace("\"version\":1", "\"version\":7"),
            "it is of version 7, not 1",
        ),
    ];
    for (damage, word) in damages {
        for path in entries(&checkout, "budget") {
            std::fs::write(&path, damage(std::fs::read_to_string(&path).unwrap())).unwrap();
        }
        let ended = checkout.run(&["budget"]);
        assert_eq!(ended.code, Some(0), "{}", ended.said());
        assert!(
            ended.stdout.contains(word),
            "'{word}' is not in:\n{}",
            ended.stdout
        );
        assert_eq!(checkout.origins("budget"), ["fresh"]);
    }
}

#[test]
fn a_cache_that_cannot_be_written_costs_the_reuse_and_nothing_else() {
    let checkout = Checkout::new(vec![Fixture::new("unkept")]);
    checkout.write("cache", "a file where the folder should be");
    for _ in 0..2 {
        let ended = checkout.gate("budget");
        assert_eq!(ended.code, Some(0), "{}", ended.said());
        assert!(
            ended.stdout.contains("nothing can be kept in the cache"),
            "{}",
            ended.stdout
        );
        assert_eq!(checkout.origins("budget"), ["fresh"]);
    }
}

#[test]
fn a_full_or_read_only_disk_under_the_cache_is_said_and_leaves_no_half_entry() {
    // A file system of 64 kB, full but for what the first entry needs.
    let checkout = Checkout::new(vec![Fixture::new("crammed")]);
    let dir = checkout.path("cache");
    std::fs::create_dir(&dir).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&dir)
        .output();
    if !mounted.unwrap().status.success() {
        // Only root may mount.
        return;
    }
    // Fails half-way, with no room left.
    let _ = std::fs::write(dir.join("filler"), vec![0; 64 * 1024]);
    let ended = checkout.gate("budget");
    let left: Vec<PathBuf> = entries_below(&dir)
        .into_iter()
        .filter(|path| !path.ends_with("filler"))
        .collect();
    let mut remount = Command::new("mount");
    remount.args(["-o", "remount,ro"]).arg(&dir).output().unwrap();
    let read_only = checkout.run(&["budget"]);
    Command::new("umount").arg(&dir).output().unwrap();
    assert_eq!(read_only.code, Some(0), "{}", read_only.said());
    assert!(
        read_only.stdout.contains("Read-only file system"),
        "{}",
        read_only.stdout
    );
    assert_eq!(ended.code, Some(0), "{}", ended.said());
    assert!(
        ended.stdout.contains("nothing can be kept in the cache"),
        "{}",
        ended.stdout
    );
    assert!(left.is_empty(), "{left:?}");
}

fn entries_below(dir: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(entries_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn two_runs_at_once_share_a_cache() {
    let checkout = Checkout::new(vec![Fixture::new("shared")]);
    checkout.gate("budget");
    let runs: Vec<_> = (0..3)
        .map(|_| checkout.command(&["budget", "--fresh"]).spawn().unwrap())
        .collect();
    for run in runs {
        let ended = ended(run.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{}", ended.said());
        assert!(!ended.stdout.contains("cache"), "{}", ended.stdout);
    }
    let after = checkout.run(&["budget"]);
    assert!(
        after.stdout.contains("1 passed (1 of them reused)"),
        "{}",
        after.stdout
    );
}

#[test]
fn a_file_that_changes_while_its_image_is_built_leaves_no_image_under_the_old_key() {
    let checkout = Checkout::new(vec![Fixture::new("hasty")]);
    // A step that lasts some seconds: nobody answers there.
    let slow = "FROM scratch AS build\nCOPY bin/fixture /wait\n\
                RUN [\"/wait\", \"probe\", \"--timeout-ms\", \"4000\", \"tcp://10.255.255.1:9\"]\n";
    let path = "docker/Dockerfile.hasty";
    let text = std::fs::read_to_string(checkout.path(path)).unwrap();
    let text = text.replace("COPY --link bin/fixture /hasty", "COPY --from=build /wait /hasty");
    checkout.write(path, &format!("{slow}{text}"));
    let run = checkout.command(&["build"]).spawn().unwrap();
    let log = checkout.path("reports/latest/logs/build.log");
    let begun = std::time::Instant::now();
    while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains("[build 2/2] RUN")) {
        assert!(begun.elapsed().as_secs() < 60, "the build does not begin");
        std::thread::yield_now();
    }
    checkout.write("services/hasty/src/main.rs", "fn main() { /* another */ }\n");
    let ended = ended(run.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(3), "{}", ended.said());
    let word = "services/hasty/src/main.rs changed while the image was being built";
    assert!(ended.stdout.contains(word), "{}", ended.stdout);
    assert!(!checkout.path("cache/image").exists(), "nothing was recorded");
}

/// Answers every request with one status, or, without one, never.
pub(crate) fn registry(status: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Some(status) = status {
                let _ = stream.read(&mut [0; 4096]);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            } else {
                held.push(stream);
            }
        }
    });
    format!("{address}/nobody")
}

#[test]
fn a_registry_that_refuses_fails_nothing() {
    let checkout = Checkout::new(vec![Fixture::new("offered")]);
    let statuses = [
        Some("401 Unauthorized"),
        Some("429 Too Many Requests"),
        Some("500 Internal Server Error"),
        None,
    ];
    // First without any proof of ours, then with the digest recorded and the image gone from the engine.
    for round in ["offers nothing that fits", "does not give it"] {
        for status in statuses {
            remove_images("horme-test-offered");
            let ended = checkout.run(&["build", "--from", &registry(status)]);
            assert_eq!(ended.code, Some(0), "{status:?}: {}", ended.said());
            assert!(
                ended.stdout.contains("built here instead"),
                "{status:?}: {}",
                ended.stdout
            );
            assert!(ended.stdout.contains(round), "{status:?}: {}", ended.stdout);
            if let Some(number) = status.and_then(|status| status.split(' ').next()) {
                assert!(ended.stdout.contains(number), "{number}: {}", ended.stdout);
            }
            assert_eq!(checkout.origins("build"), ["fresh"]);
            if round == "offers nothing that fits" {
                std::fs::remove_dir_all(checkout.path("cache/image")).unwrap();
            }
        }
        checkout.run(&["build"]);
    }
}

/// A real registry in a container, of the image that set-up made or the one that is pinned.
pub(crate) struct RealRegistry {
    container: String,
    pub(crate) owner: String,
}

impl RealRegistry {
    pub(crate) fn start(checkout: &Checkout) -> Self {
        let plan = checkout.run(&["plan", "--format", "json"]);
        let image = image_of(&plan.stdout);
        let container = docker(&["run", "--detach", "--rm", "--publish", "127.0.0.1::5000", &image]);
        let address = docker(&["port", &container, "5000/tcp"]);
        let registry = RealRegistry {
            container,
            owner: format!("{address}/someone"),
        };
        let begun = std::time::Instant::now();
        while std::net::TcpStream::connect(&address).is_err() || !answers(&address) {
            assert!(begun.elapsed().as_secs() < 30, "the registry does not answer");
            std::thread::yield_now();
        }
        registry
    }

    fn push(&self, image: &str, repository: &str, tag: &str) {
        let name = format!("{}/{repository}:{tag}", self.owner);
        docker(&["tag", image, &name]);
        docker(&["push", "--quiet", &name]);
        docker(&["image", "rm", &name]);
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["rm", "--force", "--volumes", &self.container])
            .output();
    }
}

fn answers(address: &str) -> bool {
    let Ok(mut stream) = std::net::TcpStream::connect(address) else {
        return false;
    };
    let asked = stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains("200 OK")
}

fn docker(arguments: &[&str]) -> String {
    let ended = ended(Command::new("docker").args(arguments).output().unwrap());
    assert_eq!(ended.code, Some(0), "docker {arguments:?}: {}", ended.said());
    ended.stdout.trim().to_owned()
}

#[test]
fn a_registrys_image_is_taken_by_the_digest_that_was_recorded_and_by_no_name() {
    let checkout = Checkout::new(vec![Fixture::new("fetched"), Fixture::new("impostor")]);
    assert_eq!(checkout.run(&["build"]).code, Some(0));
    let digest = checkout.report()["digests"][0][1].as_str().unwrap().to_owned();
    let registry = RealRegistry::start(&checkout);
    registry.push("horme-test-fetched", "horme-test-fetched", "whatever");
    remove_images("horme-test-fetched");
    let fetched = checkout.run(&["build", "--from", &registry.owner]);
    assert_eq!(fetched.code, Some(0), "{}", fetched.said());
    assert!(
        fetched.stdout.contains("2 passed (2 of them reused)"),
        "{}",
        fetched.stdout
    );
    assert_eq!(checkout.report()["digests"][0][1], digest.as_str());

    // Another image under the very name that the inputs' key gives: no digest of ours speaks for it.
    let plan = checkout.run(&["plan", "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    let key = plan["images"][1]["key"].as_str().unwrap();
    registry.push(
        "horme-test-fetched",
        "horme-test-impostor",
        &format!("key-{}", &key[..32]),
    );
    std::fs::remove_dir_all(checkout.path("cache/image")).unwrap();
    remove_images("horme-test-impostor");
    let built = checkout.run(&["build", "--service", "impostor", "--from", &registry.owner]);
    assert!(built.stdout.contains("nothing proves it"), "{}", built.stdout);
    assert_eq!(built.code, Some(0), "{}", built.said());
    assert_ne!(checkout.report()["digests"][0][1], digest.as_str());
}
