//! A checkout that can be released: two services, a proof that says they are well, and their images as a layout of a
//! few bytes. What a gate finds is judged elsewhere; here it is what becomes of it in a registry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::checkout::{Checkout, Ended, Fixture, ended};
use crate::stub::{Stub, Then, When};

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
    /// Folder and architecture of the images that are written.
    place: (&'static str, &'static str),
    variables: BTreeMap<&'static str, PathBuf>,
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
            place: ("images", "amd64"),
            variables: BTreeMap::new(),
        };
        releasing.make_key();
        let policy = "[age]\nverdict_max_days = 14\ndatabase_max_days = 7\n\n[trust]\nkey = \"docker/policy/release.pub\"\n";
        releasing.checkout.write("docker/policy/release.toml", policy);
        let ignored =
            "/bin/\n/cache/\n/images/\n/images-arm64/\n/journal/\n/keys/\n/reports/\n/state/\n/target/\n";
        releasing.checkout.write(".gitignore", ignored);
        releasing.git(&["init", "--quiet", "--initial-branch=main"]);
        releasing.make_ready("1.4.2");
        releasing
    }

    /// Everything from now on goes to another registry.
    pub(crate) fn use_registry(&mut self, stub: &Stub) {
        self.use_real_registry(&stub.host(), BTreeMap::new());
    }

    /// The same with what it takes to reach it.
    pub(crate) fn use_real_registry(&mut self, host: &str, variables: BTreeMap<&'static str, PathBuf>) {
        self.registry = host.to_owned();
        self.variables = variables;
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

    pub(crate) fn git(&self, words: &[&str]) -> String {
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
        let (folder, architecture) = self.place;
        let write = |name: &str, text: &str| self.checkout.write(&format!("{folder}/{name}"), text);
        let _ = std::fs::remove_dir_all(self.checkout.path(folder));
        write("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
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
        write("index.json", &index.to_string());
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
            "dirty": false, "platform": format!("linux/{architecture}"), "environment": [], "bases_origin": "local", "bases": {},
            "images": proven.collect::<Vec<_>>(),
        });
        write("proof.json", &proof.to_string());
    }

    /// The same images for another platform, in a folder of their own: its name.
    pub(crate) fn prove_for_arm64(&mut self) -> &'static str {
        let first = std::mem::replace(&mut self.place, ("images-arm64", "arm64"));
        self.prove();
        std::mem::replace(&mut self.place, first).0
    }

    /// An image of a layer that all share, a layer of its own and a configuration; its descriptor.
    fn image(&self, service: &str) -> Value {
        let own = format!("{service}: {}", self.contents[service]).repeat(100);
        let config = json!({ "architecture": self.place.1, "os": "linux", "config": { "Labels": { "of": own.len() } },
            "rootfs": { "type": "layers", "diff_ids": [service] } });
        let (config, base, own) = (config.to_string(), "what all share ".repeat(1000), own);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": self.blob(CONFIG, &config),
            "layers": [self.blob(LAYER, &base), self.blob(LAYER, &own)],
        });
        let mut described = self.blob(MANIFEST, &manifest.to_string());
        described["platform"] = json!({ "os": "linux", "architecture": self.place.1 });
        described
    }

    fn blob(&self, media_type: &str, content: &str) -> Value {
        let hex: String = Sha256::digest(content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.checkout
            .write(&format!("{}/blobs/sha256/{hex}", self.place.0), content);
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
        command.envs(&self.variables);
        command
    }

    pub(crate) fn release(&self, words: &[&str]) -> Ended {
        ended(self.command(words).output().unwrap())
    }

    /// Releases, and gets a signal at the first such request, before it is carried out; how it ended.
    pub(crate) fn signalled(&self, stub: &Stub, signal: &'static str, method: &str, path: &str) -> Ended {
        let pid = Arc::new(Mutex::new(None::<u32>));
        let of_child = pid.clone();
        stub.on(method, path, 1, When::Before, move || {
            // The lock is held until the child is known.
            let pid = of_child.lock().unwrap().unwrap().to_string();
            let sent = Command::new("kill").args([signal, &pid]).status();
            assert!(sent.unwrap().success());
            Then::Cut
        });
        let mut known = pid.lock().unwrap();
        let child = self.command(&[]).spawn().unwrap();
        *known = Some(child.id());
        drop(known);
        let ended = ended(child.wait_with_output().unwrap());
        stub.behave();
        ended
    }

    /// The layers of the n-th service's image, base first.
    pub(crate) fn layers(&self, service: usize) -> Vec<String> {
        let hex = self.digest(service).replace("sha256:", "");
        let manifest: Value =
            serde_json::from_str(&self.read(&format!("images/blobs/sha256/{hex}"))).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers
            .map(|layer| layer["digest"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The folder of a version's journal.
    pub(crate) fn journal(&self, version: &str) -> PathBuf {
        self.checkout
            .path("journal")
            .join(self.registry.replace(':', "+"))
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
