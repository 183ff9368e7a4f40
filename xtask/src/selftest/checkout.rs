//! A checkout of fixtures in a folder of its own: manifests, lock file, Dockerfiles, compose files, policies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::fixture::Fixture;

/// Where it lies and what it holds.
#[derive(Debug)]
pub struct Checkout {
    pub root: PathBuf,
    pub fixtures: Vec<Fixture>,
}

impl Checkout {
    /// Writes it; pins and policies are those of `repository`. The binaries are put there by the caller.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(root: &Path, repository: &Path, fixtures: Vec<Fixture>) -> std::io::Result<Self> {
        let checkout = Checkout {
            root: root.to_path_buf(),
            fixtures,
        };
        checkout.put("xtask/Cargo.toml", "")?;
        checkout.put(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"services/*\"]\n",
        )?;
        for fixture in &checkout.fixtures {
            let dir = format!("services/{}", fixture.name);
            checkout.put(&format!("{dir}/Cargo.toml"), &fixture.manifest())?;
            checkout.put(&format!("{dir}/src/main.rs"), "fn main() {}\n")?;
            for (path, text) in &fixture.files {
                checkout.put(&format!("bin/{}.files/{path}", fixture.name), text)?;
            }
            if fixture.dockerfile {
                checkout.put(
                    &format!("docker/Dockerfile.{}", fixture.name),
                    &fixture.image_file(),
                )?;
            }
        }
        checkout.crates_and_lock()?;
        checkout.compose()?;
        for folder in [
            "docker/bases",
            "docker/faults",
            "docker/policy",
            "compose/secrets",
        ] {
            copy(&repository.join(folder), &root.join(folder))?;
        }
        Ok(checkout)
    }

    /// Empty crates for all that the fixtures depend on, and a lock file that cargo accepts as it is.
    fn crates_and_lock(&self) -> std::io::Result<()> {
        let mut entries: BTreeMap<(String, String), String> = BTreeMap::new();
        for fixture in &self.fixtures {
            entries.insert((fixture.name.clone(), String::new()), fixture.lock_entry());
            for (name, version) in &fixture.crates {
                let dir = format!("crates/{name}-{version}");
                let manifest = format!(
                    "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2024\"\nlicense = \"MIT\"\n"
                );
                self.put(&format!("{dir}/Cargo.toml"), &manifest)?;
                self.put(&format!("{dir}/src/lib.rs"), "")?;
                let entry = format!("\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
                entries.insert(((*name).to_owned(), (*version).to_owned()), entry);
            }
        }
        let entries: Vec<String> = entries.into_values().collect();
        self.put("Cargo.lock", &format!("version = 4\n{}", entries.concat()))
    }

    fn compose(&self) -> std::io::Result<()> {
        let services: serde_json::Map<_, _> = self
            .fixtures
            .iter()
            .map(|fixture| (fixture.name.clone(), fixture.compose()))
            .collect();
        let networks: serde_json::Map<_, _> = self
            .fixtures
            .iter()
            .map(|fixture| (fixture.name.clone(), json!({ "internal": true })))
            .collect();
        let base = json!({ "name": "horme-fixtures", "services": services, "networks": networks });
        self.put("compose/compose.yaml", &base.to_string())?;
        for environment in ["dev", "stage", "prod", "ci"] {
            self.put(&format!("compose/compose.{environment}.yaml"), "{}")?;
        }
        Ok(())
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// Writes one file, with the folders that it needs.
    pub fn put(&self, inside: &str, text: &str) -> std::io::Result<()> {
        let path = self.path(inside);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, text)
    }

    /// Changes the compose file.
    pub fn edit_compose(&self, edit: impl FnOnce(&mut serde_json::Value)) -> std::io::Result<()> {
        let text = std::fs::read_to_string(self.path("compose/compose.yaml"))?;
        let mut compose = serde_json::from_str(&text)?;
        edit(&mut compose);
        self.put("compose/compose.yaml", &compose.to_string())
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
