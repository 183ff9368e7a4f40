//! A small checkout in a temporary folder: fixture services, their Dockerfiles and compose files.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) struct Checkout {
    folder: TempDir,
    services: Vec<Fixture>,
}

/// A fixture service; names and ports are its own in every test, so that tests may run side by side.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) mode: &'static str,
    pub(crate) budget: &'static str,
    pub(crate) user: &'static str,
    pub(crate) calls: Vec<String>,
    pub(crate) needs: Vec<String>,
    /// Listens on its own network's address alone, as a service should.
    pub(crate) own_address: bool,
    pub(crate) dockerfile: bool,
}

impl Fixture {
    pub(crate) fn new(name: &str) -> Self {
        Fixture {
            name: name.to_owned(),
            mode: "good",
            budget: "16 MB",
            user: "USER 65532:65532",
            calls: Vec::new(),
            needs: Vec::new(),
            own_address: true,
            dockerfile: true,
        }
    }

    pub(crate) fn image_name(&self) -> String {
        format!("horme-test-{}", self.name)
    }

    fn manifest(&self) -> String {
        format!(
            "[package]\nname = \"{0}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[package.metadata.image]\n\
             name = \"horme-test-{0}\"\nport = 8000\nbudget = \"{1}\"\ncalls = {2:?}\nneeds = {3:?}\n",
            self.name, self.budget, self.calls, self.needs
        )
    }

    fn image(&self) -> String {
        format!(
            "FROM scratch AS dev\nFROM scratch AS ci\nFROM scratch AS prod\nARG IMAGE_VERSION=none\nARG IMAGE_REVISION=none\n\
             LABEL org.opencontainers.image.version=\"$IMAGE_VERSION\" org.opencontainers.image.revision=\"$IMAGE_REVISION\"\n\
             ENV MODE={mode} REVISION=$IMAGE_REVISION\nCOPY --link bin/fixture /{name}\n{user}\n\
             HEALTHCHECK CMD [\"/{name}\", \"probe\", \"--timeout-ms\", \"500\", \"tcp://127.0.0.1:8000\"]\nENTRYPOINT [\"/{name}\"]\n",
            name = self.name,
            mode = self.mode,
            user = self.user
        )
    }

    fn compose(&self) -> Value {
        let mut networks = json!({ &self.name: { "aliases": [format!("own.{}", self.name)] } });
        for callee in self.calls.iter().chain(&self.needs) {
            networks[callee] = json!({});
        }
        let host = if self.own_address {
            format!("own.{}", self.name)
        } else {
            "0.0.0.0".to_owned()
        };
        json!({
            "image": format!("horme-test-{}:latest", self.name),
            "build": { "context": "..", "dockerfile": format!("docker/Dockerfile.{}", self.name) },
            "expose": ["8000"],
            "read_only": true,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "pids_limit": 128,
            "mem_limit": "128m",
            "cpus": 1.0,
            "restart": "always",
            "environment": { "HOST": host },
            "networks": networks,
        })
    }
}

/// What a command came to.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Checkout {
    pub(crate) fn new(services: Vec<Fixture>) -> Self {
        let checkout = Checkout {
            folder: tempfile::tempdir().unwrap(),
            services,
        };
        checkout.write("xtask/Cargo.toml", "");
        checkout.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"services/*\"]\n",
        );
        let mut lock = "version = 4\n".to_owned();
        let mut sorted: Vec<&Fixture> = checkout.services.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        for service in sorted {
            lock.push_str(&format!(
                "\n[[package]]\nname = \"{}\"\nversion = \"0.1.0\"\n",
                service.name
            ));
            checkout.write(
                &format!("services/{}/Cargo.toml", service.name),
                &service.manifest(),
            );
            checkout.write(
                &format!("services/{}/src/main.rs", service.name),
                "fn main() {}\n",
            );
            if service.dockerfile {
                checkout.write(&format!("docker/Dockerfile.{}", service.name), &service.image());
            }
        }
        checkout.write("Cargo.lock", &lock);
        checkout.write_compose();
        copy(&repository().join("docker/bases"), &checkout.path("docker/bases"));
        copy(
            &repository().join("docker/faults"),
            &checkout.path("docker/faults"),
        );
        copy(
            &repository().join("docker/policy"),
            &checkout.path("docker/policy"),
        );
        copy(
            &repository().join("compose/secrets"),
            &checkout.path("compose/secrets"),
        );
        std::fs::create_dir_all(checkout.path("bin")).unwrap();
        std::fs::copy(fixture_binary(), checkout.path("bin/fixture")).unwrap();
        checkout.extend_binary(b"");
        checkout
    }

    fn write_compose(&self) {
        let services: serde_json::Map<_, _> = self
            .services
            .iter()
            .map(|service| (service.name.clone(), service.compose()))
            .collect();
        let networks: serde_json::Map<_, _> = self
            .services
            .iter()
            .map(|service| (service.name.clone(), json!({ "internal": true })))
            .collect();
        let base = json!({ "name": "horme-test", "services": services, "networks": networks });
        self.write("compose/compose.yaml", &base.to_string());
        for environment in ["dev", "stage", "prod", "ci"] {
            self.write(&format!("compose/compose.{environment}.yaml"), "{}");
        }
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    pub(crate) fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Makes the fixture's binary another one, which does the same. Its time is always the same: COPY keeps it.
    pub(crate) fn extend_binary(&self, more: &[u8]) {
        let binary = std::fs::File::options()
            .append(true)
            .open(self.path("bin/fixture"));
        let mut binary = binary.unwrap();
        std::io::Write::write_all(&mut binary, more).unwrap();
        binary.set_modified(std::time::UNIX_EPOCH).unwrap();
    }

    /// Makes the fixture's binary one that lists its crates, as cargo-auditable writes them.
    pub(crate) fn audit(&self, packages: &Value) {
        let list = self.path("audit");
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut zlib, packages.to_string().as_bytes()).unwrap();
        std::fs::write(&list, zlib.finish().unwrap()).unwrap();
        compile(&self.path("bin/fixture"), "symbols", Some(&list));
        self.extend_binary(b"");
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).current_dir(self.folder.path());
        command
            .env("CI", "true")
            .env("XDG_STATE_HOME", self.path("state"))
            .env("HORME_CACHE_DIR", self.path("cache"))
            .env_remove("HORME_VULN_DB")
            .env_remove("HORME_TRIVY")
            .env_remove("GITHUB_STEP_SUMMARY");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).output().unwrap())
    }

    /// The word of each verdict of a gate in the latest report, by service: `fresh`, or `reused` from a run.
    pub(crate) fn origins(&self, gate: &str) -> Vec<String> {
        let report = self.report();
        let records = report["records"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|record| record["gate"] == gate);
        records
            .map(|record| record["origin"]["kind"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Builds the images, then runs one gate alone.
    pub(crate) fn gate(&self, gate: &str) -> Ended {
        let built = self.run(&["build"]);
        assert_eq!(built.code, Some(0), "{}", built.said());
        self.run(&[gate])
    }

    /// The latest run's report.
    pub(crate) fn report(&self) -> Value {
        let text = std::fs::read_to_string(self.path("reports/latest/report.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// `name: outcome` of every check of a gate on a service in the latest report.
    pub(crate) fn checks(&self, service: &str, gate: &str) -> Vec<String> {
        let report = self.report();
        let records = report["records"].as_array().unwrap();
        let record = records
            .iter()
            .find(|record| record["service"] == service && record["gate"] == gate)
            .unwrap();
        let checks = record["checks"].as_array().unwrap().iter();
        checks
            .map(|check| {
                format!(
                    "{}: {}",
                    check["name"].as_str().unwrap(),
                    check["outcome"].as_str().unwrap()
                )
            })
            .collect()
    }
}

impl Drop for Checkout {
    /// The images of a checkout go with it, under all their names.
    fn drop(&mut self) {
        for service in &self.services {
            remove_images(&service.image_name());
        }
    }
}

/// Takes every tag of an image away.
pub(crate) fn remove_images(repository: &str) {
    let mut list = Command::new("docker");
    list.args(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository]);
    let listed = list
        .output()
        .map(ended)
        .map(|ended| ended.stdout)
        .unwrap_or_default();
    let tags: Vec<&str> = listed.lines().collect();
    if !tags.is_empty() {
        let _ = Command::new("docker")
            .args(["image", "rm", "--force"])
            .args(tags)
            .output();
    }
}

pub(crate) fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// What the repository's own Dockerfiles build on.
pub(crate) fn builder() -> String {
    let pins = std::fs::read_to_string(repository().join("docker/bases/pins.toml")).unwrap();
    let pins: toml::Table = toml::from_str(&pins).unwrap();
    pins["builder"]["upstream"].as_str().unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// The fixture service as a static binary, compiled once for all tests.
fn fixture_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| compiled("fixture-service", "symbols"))
}

/// The same with its symbols.
pub(crate) fn fixture_twin() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| compiled("fixture-twin", "debuginfo"))
}

fn compiled(name: &str, strip: &str) -> PathBuf {
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    compile(&binary, strip, None);
    binary
}

/// Compiles the fixture service, with the compressed list of crates in that file where there is one.
fn compile(binary: &Path, strip: &str, audit: Option<&Path>) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/service.rs");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "-O", "-C", &format!("strip={strip}")]);
    rustc.args(["-C", "target-feature=+crt-static", "--check-cfg", "cfg(crates)"]);
    rustc
        .args(["--target", "x86_64-unknown-linux-gnu", "-o"])
        .arg(binary)
        .arg(source);
    if let Some(audit) = audit {
        rustc.args(["--cfg", "crates"]).env("CRATES", audit);
    }
    let rustc = ended(rustc.output().unwrap());
    assert_eq!(rustc.code, Some(0), "{}", rustc.said());
}

/// Sends a signal to a program that was started here.
pub fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(sent.success());
}
