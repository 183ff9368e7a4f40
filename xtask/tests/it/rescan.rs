//! Published images, looked at again by the real scanner with a real database, from a registry that is another process's.

use std::path::Path;

use serde_json::{Value, json};

use crate::bolt;
use crate::checkout::{Checkout, Ended, Fixture, ended, repository};
use crate::stub::{Content, Login, Look, Stub};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A service, its image in a registry under `latest`, and a database of today.
struct Scene {
    checkout: Checkout,
    stub: Stub,
    name: String,
}

impl Scene {
    /// The image's binary has one crate beside its own.
    fn new(name: &str, of: &str, version: &str) -> Self {
        Self::within(name, of, version, Look::default())
    }

    fn within(name: &str, of: &str, version: &str, look: Look) -> Self {
        let checkout = Checkout::new(vec![Fixture::new(name)]);
        let list = json!({"packages": [
            {"name": name, "version": "0.1.0", "source": "local", "root": true, "dependencies": [1]},
            {"name": of, "version": version, "source": "local"},
        ]});
        checkout.audit(&list);
        let stub = Stub::with(look);
        let scene = Scene {
            checkout,
            stub,
            name: name.to_owned(),
        };
        let manifest = scene.image("amd64");
        scene.put("latest", MANIFEST, &manifest);
        scene
    }

    fn repository(&self) -> String {
        format!("acme/horme-test-{}", self.name)
    }

    fn put(&self, reference: &str, media_type: &str, manifest: &Value) -> Value {
        let bytes = manifest.to_string();
        let content = self.stub.content();
        let digest = content.put_manifest(&self.repository(), reference, media_type, bytes.as_bytes());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// The manifest of an image with the binary in its one layer; its parts are in the registry.
    fn image(&self, architecture: &str) -> Value {
        let layer = layer(&self.checkout.path("bin/fixture"), &self.name);
        let content = self.stub.content();
        let (layer, id) = blob(
            &content,
            &self.repository(),
            "application/vnd.oci.image.layer.v1.tar",
            &layer,
        );
        let config = json!({"architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [id]}, "history": [{"created_by": "COPY"}]});
        let kind = "application/vnd.oci.image.config.v1+json";
        let (config, _) = blob(&content, &self.repository(), kind, config.to_string().as_bytes());
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]})
    }

    fn database(&self, days_old: i64) -> String {
        let folder = self.checkout.path(&format!("vuln-db-{days_old}"));
        let bytes = std::fs::read(repository().join("xtask/src/selftest/database/trivy.db")).unwrap();
        bolt::put(&folder, &bytes, days_old);
        folder.display().to_string()
    }

    fn rescan(&self, days_old: i64) -> Ended {
        let database = self.database(days_old);
        let registry = format!("{}/acme", self.stub.host());
        let mut command = self
            .checkout
            .command(&["rescan", "--vuln-db", &database, "--registry", &registry]);
        // No login of whoever runs the tests.
        command.env("DOCKER_CONFIG", self.checkout.path("no-login"));
        let ended = ended(command.output().unwrap());
        assert_eq!(
            self.stub.writes(),
            Vec::<String>::new(),
            "nothing is written to a registry"
        );
        ended
    }

    fn check(&self, name: &str) -> Value {
        let report = self.checkout.report();
        let checks = report["records"][0]["checks"].as_array().unwrap().clone();
        let found = checks.iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("{checks:?}")).clone()
    }
}

fn blob(content: &Content, repository: &str, media_type: &str, bytes: &[u8]) -> (Value, String) {
    let digest = content.put_blob(repository, bytes);
    let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
    (descriptor, digest)
}

/// A tar archive with one file.
fn layer(file: &Path, name: &str) -> Vec<u8> {
    let bytes = std::fs::read(file).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
    archive.into_inner().unwrap()
}

fn says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.said());
    for word in words {
        assert!(ended.said().contains(word), "{word}: {}", ended.said());
    }
}

#[test]
fn what_can_be_mended_and_nobody_knew_fails_and_is_named() {
    let scene = Scene::new("rescan-new", "smallvec", "0.6.13");
    says(
        &scene.rescan(0),
        1,
        &["CVE-2021-25900", "mended in >= 0.6.14", "--precise 0.6.14"],
    );
    let check = scene.check("new findings");
    assert_eq!(check["outcome"], "violated", "{check}");
    let report = scene.checkout.report();
    let finding = &report["records"][0]["figures"]["findings"][0];
    assert_eq!(
        (&finding["became"], &finding["package"]),
        (&json!("fails"), &json!("smallvec"))
    );
    let run = scene.checkout.path("reports/latest");
    assert!(run.join("report.sarif").is_file() && run.join("comment.md").is_file());
    let left: Vec<_> = std::fs::read_dir(run.join("images"))
        .into_iter()
        .flatten()
        .collect();
    assert!(left.is_empty(), "what was fetched is gone: {left:?}");
    assert!(
        !run.join("proof.json").exists(),
        "it proves nothing that a release could take"
    );

    let exception = "[[exception]]\nid = \"CVE-2021-25900\"\npackage = \"smallvec\"\nowner = \"ann\"\nreason = \"x\"\n\
                     expires = \"2999-01-01\"\n";
    scene.checkout.write("docker/policy/exceptions.toml", exception);
    says(&scene.rescan(0), 0, &["1 passed"]);
}

#[test]
fn what_nobody_can_mend_is_quiet_and_an_old_database_decides_nothing() {
    let scene = Scene::new("rescan-unfixed", "horme-fixture-unfixed", "1.0.0");
    says(&scene.rescan(0), 0, &["1 passed"]);
    says(&scene.rescan(400), 3, &["the database is of"]);
    assert_eq!(scene.check("new findings")["outcome"], "undecided");
}

#[test]
fn each_platform_of_an_index_is_looked_at() {
    let scene = Scene::new("rescan-index", "smallvec", "0.6.13");
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let manifest = scene.image(architecture);
        let mut entry = scene.put("sha256:", MANIFEST, &manifest);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entries.push(entry);
    }
    scene.put(
        "latest",
        INDEX,
        &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}),
    );
    says(&scene.rescan(0), 1, &["CVE-2021-25900"]);
    for platform in ["linux/amd64", "linux/arm64"] {
        let check = scene.check(&format!("new findings ({platform})"));
        assert_eq!(check["outcome"], "violated", "{check}");
    }
}

#[test]
fn nothing_looked_at_decides_nothing() {
    let scene = Scene::new("rescan-nothing", "smallvec", "0.6.13");
    let registry = format!("{}/nobody", scene.stub.host());
    let database = scene.database(0);
    let arguments = ["rescan", "--vuln-db", &database, "--registry", &registry];
    says(
        &scene.checkout.run(&arguments),
        3,
        &["1 skipped", "no image was looked at"],
    );
    let registry = format!("{}/acme", scene.stub.host());
    let mistyped = [
        "rescan",
        "--vuln-db",
        &database,
        "--registry",
        &registry,
        "--tag",
        "lates",
    ];
    says(&scene.checkout.run(&mistyped), 3, &["no image was looked at"]);
    let manifest = scene.image("amd64");
    scene.put("1.4.2", MANIFEST, &manifest);
    says(
        &scene.checkout.run(&mistyped),
        3,
        &["1 undecided", "though 1.4.2 was released"],
    );

    let login = Login::Token {
        users: Vec::new(),
        anonymous: false,
    };
    let look = Look {
        login,
        ..Look::default()
    };
    let closed = Scene::within("rescan-closed", "smallvec", "0.6.13", look);
    says(&closed.rescan(0), 3, &["undecided"]);
}
