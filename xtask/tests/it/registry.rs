//! A registry in a folder: an index in git, and archives of crates. No network, no server.

use std::path::PathBuf;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::checkout::{Checkout, ended};

/// What a crate in it says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// A line of its manifest: `license = "MIT"`.
    pub(crate) licence: &'static str,
    pub(crate) yanked: bool,
}

impl Crate {
    fn archive(&self) -> Vec<u8> {
        let (name, version) = (self.name, self.version);
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n{}\n[lib]\n",
            self.licence
        );
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, text) in [("Cargo.toml", manifest.as_str()), ("src/lib.rs", "")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            let path = format!("{name}-{version}/{path}");
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    fn checksum(&self) -> String {
        let digest = Sha256::digest(self.archive());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn index_line(&self) -> String {
        let line = json!({
            "name": self.name, "vers": self.version, "deps": [], "cksum": self.checksum(), "features": {},
            "yanked": self.yanked
        });
        format!("{line}\n")
    }
}

/// Gives a checkout with one service a registry of its own, and the service a locked dependency on the crate. The
/// binary of the service lists both, as cargo-auditable would have written it.
pub(crate) fn depend(checkout: &Checkout, service: &str, on: Crate) {
    publish(checkout, &[on]);
    let index = format!("file://{}", index(checkout).display());
    checkout.write(
        ".cargo/config.toml",
        &format!("[registries.here]\nindex = \"{index}\"\n"),
    );
    let path = format!("services/{service}/Cargo.toml");
    let manifest = std::fs::read_to_string(checkout.path(&path)).unwrap();
    let (name, version) = (on.name, on.version);
    let asked = format!("[dependencies]\n{name} = {{ version = \"{version}\", registry = \"here\" }}\n");
    checkout.write(&path, &format!("{manifest}\n{asked}"));
    let mut packages = [
        format!("name = \"{service}\"\nversion = \"0.1.0\"\ndependencies = [\"{name}\"]\n"),
        format!(
            "name = \"{name}\"\nversion = \"{version}\"\nsource = \"registry+{index}\"\nchecksum = \"{}\"\n",
            on.checksum()
        ),
    ];
    packages.sort();
    checkout.write(
        "Cargo.lock",
        &format!(
            "version = 4\n\n[[package]]\n{}\n[[package]]\n{}",
            packages[0], packages[1]
        ),
    );
    checkout.audit(&json!({ "packages": [
        { "name": service, "version": "0.1.0", "source": "local", "dependencies": [1], "root": true },
        { "name": name, "version": version, "source": "registry" },
    ]}));
}

/// Writes versions of one crate into the registry, in place of what it said of it.
pub(crate) fn publish(checkout: &Checkout, versions: &[Crate]) {
    let archives = checkout.path("registry/archives");
    std::fs::create_dir_all(&archives).unwrap();
    for package in versions {
        let name = format!("{}-{}.crate", package.name, package.version);
        std::fs::write(archives.join(name), package.archive()).unwrap();
    }
    let dl = format!("file://{}/{{crate}}-{{version}}.crate", archives.display());
    checkout.write("registry/index/config.json", &json!({ "dl": dl }).to_string());
    let name = versions[0].name;
    let path = format!("registry/index/{}/{}/{name}", &name[..2], &name[2..4]);
    let lines: String = versions.iter().map(Crate::index_line).collect();
    checkout.write(&path, &lines);
    for words in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message", "x"],
    ] {
        let mut git = Command::new("git");
        git.arg("-C").arg(index(checkout));
        git.args(["-c", "user.name=x", "-c", "user.email=x@example.com"])
            .args(words);
        let ended = ended(git.output().unwrap());
        assert_eq!(ended.code, Some(0), "{}", ended.said());
    }
}

fn index(checkout: &Checkout) -> PathBuf {
    checkout.path("registry/index")
}
