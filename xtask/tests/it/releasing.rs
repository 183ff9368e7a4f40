//! A checkout that can be released: two services, a proof that says they are well, and their images as a layout of a
//! few bytes. What a gate finds is judged elsewhere; here it is what becomes of it in a registry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::checkout::{Checkout, Ended, Fixture, ended};
use crate::stub::Stub;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const GATES: [&str; 6] = ["build", "lint", "scan", "budget", "boot", "network"];

/// The owner at every registry here.
pub(crate) const OWNER: &str = "acme";

pub(crate) struct Releasing {
    pub(crate) checkout: Checkout,
    services: Vec<String>,
    /// What makes an image of a service another one.
    contents: BTreeMap<String, String>,
    registry: String,
}

impl Releasing {
    /// Two services, `1.4.2` of which is ready to be released to this registry.
    pub(crate) fn new(prefix: &str, stub: &Stub) -> Self {
        let services = vec![format!("{prefix}-a"), format!("{prefix}-b")];
        let checkout = Checkout::new(services.iter().map(|name| Fixture::new(name)).collect());
        let contents = services
            .iter()
            .map(|name| (name.clone(), "first".to_owned()))
            .collect();
        let releasing = Releasing {
            checkout,
            services,
            contents,
            registry: stub.host(),
        };
        releasing.make_key();
        let policy = "[age]\nverdict_max_days = 14\ndatabase_max_days = 7\n\n[trust]\nkey = \"docker/policy/release.pub\"\n";
        releasing.checkout.write("docker/policy/release.toml", policy);
        let ignored = "/bin/\n/cache/\n/images/\n/journal/\n/keys/\n/reports/\n/state/\n/target/\n";
        releasing.checkout.write(".gitignore", ignored);
        releasing.git(&["init", "--quiet", "--initial-branch=main"]);
        releasing.make_ready("1.4.2");
        releasing
    }

    /// Everything from now on goes to another registry.
    pub(crate) fn use_registry(&mut self, stub: &Stub) {
        self.registry = stub.host();
    }

    fn make_key(&self) {
        std::fs::create_dir_all(self.checkout.path("keys")).unwrap();
        let mut cosign = Command::new("cosign");
        cosign.args(["generate-key-pair", "--output-key-prefix", "release"]);
        cosign
            .env("COSIGN_PASSWORD", "")
            .current_dir(self.checkout.path("keys"));
        let made = ended(cosign.output().unwrap());
        assert_eq!(made.code, Some(0), "{}", made.said());
        let public = std::fs::read_to_string(self.checkout.path("keys/release.pub")).unwrap();
        self.checkout.write("docker/policy/release.pub", &public);
    }

    fn git(&self, words: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.checkout.path(""));
        git.args(["-c", "user.name=x", "-c", "user.email=x@example.com"])
            .args(words);
        let ended = ended(git.output().unwrap());
        assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.said());
        ended.stdout.trim().to_owned()
    }

    /// Makes the image of the n-th service another one; counts from the next version on.
    pub(crate) fn change(&mut self, service: usize, content: &str) {
        self.contents
            .insert(self.services[service].clone(), content.to_owned());
    }

    /// Commits, tags and proves a version.
    pub(crate) fn make_ready(&self, version: &str) {
        let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"services/*\"]\n";
        let release = format!("{workspace}\n[workspace.metadata.release]\nversion = \"{version}\"\n");
        self.checkout.write("Cargo.toml", &release);
        let log = format!("# Changelog\n\n## [{version}] - 2026-11-21\n\n- It is released.\n");
        self.checkout.write("CHANGELOG.md", &log);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", version]);
        self.git(&["tag", &format!("v{version}")]);
        self.prove();
    }

    /// Writes images and proof, as `ci --export` does.
    fn prove(&self) {
        let _ = std::fs::remove_dir_all(self.checkout.path("images"));
        self.checkout
            .write("images/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        let images: Vec<(String, Value)> = self
            .services
            .iter()
            .map(|name| (name.clone(), self.image(name)))
            .collect();
        let named = images.iter().map(|(name, manifest)| {
            let mut named = manifest.clone();
            named["annotations"] =
                json!({ "org.opencontainers.image.ref.name": format!("horme-test-{name}") });
            named
        });
        let index = json!({ "schemaVersion": 2, "manifests": named.collect::<Vec<_>>() });
        self.checkout.write("images/index.json", &index.to_string());
        let now = Command::new("date")
            .args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"])
            .output()
            .unwrap();
        let now = ended(now).stdout.trim().to_owned();
        let proven = images
            .iter()
            .map(|(name, manifest)| proven(name, manifest["digest"].as_str().unwrap(), &now));
        let proof = json!({
            "version": 1, "run_id": "20261121-100000-abcd", "started_at": now, "commit": self.git(&["rev-parse", "HEAD"]),
            "dirty": false, "platform": "linux/amd64", "environment": [], "bases_origin": "local", "bases": {},
            "images": proven.collect::<Vec<_>>(),
        });
        self.checkout.write("images/proof.json", &proof.to_string());
    }

    /// An image of a layer that all share, a layer of its own and a configuration; its descriptor.
    fn image(&self, service: &str) -> Value {
        let own = format!("{service}: {}", self.contents[service]).repeat(100);
        let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Labels": { "of": own.len() } },
            "rootfs": { "type": "layers", "diff_ids": [service] } });
        let (config, base, own) = (config.to_string(), "what all share ".repeat(1000), own);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": self.blob(CONFIG, &config),
            "layers": [self.blob(LAYER, &base), self.blob(LAYER, &own)],
        });
        let mut described = self.blob(MANIFEST, &manifest.to_string());
        described["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        described
    }

    fn blob(&self, media_type: &str, content: &str) -> Value {
        let hex: String = Sha256::digest(content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.checkout
            .write(&format!("images/blobs/sha256/{hex}"), content);
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": content.len() })
    }

    pub(crate) fn repository(&self, service: usize) -> String {
        format!("{OWNER}/horme-test-{}", self.services[service])
    }

    /// The digest that the proof has of the n-th service.
    pub(crate) fn digest(&self, service: usize) -> String {
        let proof: Value = serde_json::from_str(&self.read("images/proof.json")).unwrap();
        proof["images"][service]["digest"].as_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, inside: &str) -> String {
        std::fs::read_to_string(self.checkout.path(inside)).unwrap()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let images = if words.contains(&"--undo") {
            &[][..]
        } else {
            &["--images", "images"]
        };
        let mut command = self.checkout.command(&[&["release"], words, images].concat());
        command
            .env("HORME_REGISTRY", format!("{}/{OWNER}", self.registry))
            .env("HORME_SIGN_KEY", self.checkout.path("keys/release.key"))
            .env("HORME_RELEASES_DIR", self.checkout.path("journal"))
            .env("COSIGN_PASSWORD", "")
            .env("DOCKER_CONFIG", self.checkout.path("state/docker"));
        for name in [
            "GITHUB_ACTIONS",
            "GITHUB_REF",
            "GITHUB_REF_NAME",
            "ACTIONS_ID_TOKEN_REQUEST_URL",
        ] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn release(&self, words: &[&str]) -> Ended {
        ended(self.command(words).output().unwrap())
    }

    /// The folder of a version's journal.
    pub(crate) fn journal(&self, version: &str) -> PathBuf {
        self.checkout
            .path("journal")
            .join(&self.registry)
            .join(OWNER)
            .join(version)
    }

    /// The steps of a version's journal, in order.
    pub(crate) fn steps(&self, version: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.journal(version).join("journal.jsonl")).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

fn proven(service: &str, digest: &str, now: &str) -> Value {
    let records: Vec<Value> = GATES
        .iter()
        .map(|gate| record(service, gate, digest, now))
        .collect();
    json!({
        "service": service, "image": format!("horme-test-{service}"), "crate_version": "0.1.0", "digest": digest,
        "key": "0".repeat(64), "revision": "0".repeat(40), "dockerfile": format!("docker/Dockerfile.{service}"),
        "args": {}, "built_by": "20261121-100000-abcd", "build_started_at": now, "build_finished_at": now,
        "built_with": ["buildx"], "records": records,
        "sbom": { "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [
            { "type": "library", "name": service, "version": "0.1.0", "purl": format!("pkg:cargo/{service}@0.1.0") }
        ] },
    })
}

fn record(service: &str, gate: &str, digest: &str, now: &str) -> Value {
    let figures = match gate {
        "scan" => json!({ "crates_seen": 1, "database_updated_at": now }),
        _ => json!({}),
    };
    json!({
        "service": service, "gate": gate, "outcome": "passed", "reason": "well", "origin": { "kind": "fresh" },
        "digest": digest, "checks": [{ "name": "a thing", "outcome": "passed", "detail": "well" }],
        "figures": figures, "took_ms": 1,
    })
}
