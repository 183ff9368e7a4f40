//! Files of this machine for containers of an engine elsewhere: copied into a volume of the run's own, because a path
//! of ours means nothing there.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::UploadToContainerOptionsBuilder;

use super::{Constraint, ContainerSpec, Engine, RUN_LABEL, refused};

/// The API that mounts a part of a volume (engine 26).
const PARTS: (usize, usize) = (1, 45);
/// Where the volume is while it is filled.
const INSIDE: &str = "/files";

/// A file or a folder of this machine, and its name in the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFile {
    pub source: PathBuf,
    pub name: String,
}

impl Engine {
    /// Whether a container can be given a single file of a volume.
    pub fn mounts_parts_of_volumes(&self) -> bool {
        let api = self.docker.client_version();
        (api.major_version, api.minor_version) >= PARTS
    }

    /// Creates the volume `name` with these files in it, owners and modes as they are here. An image is needed for
    /// the container that lends its mount; it never runs.
    ///
    /// # Errors
    /// The engine's; a file that cannot be read.
    pub async fn copy_to_volume(&self, name: &str, spec: ContainerSpec, files: &[HostFile]) -> Result<()> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(HashMap::from([(RUN_LABEL.to_owned(), spec.run_id.clone())])),
            ..Default::default()
        };
        let created = self.docker.create_volume(request).await;
        created.map_err(|error| refused("create a volume", &error))?;
        let lender = self
            .create(&ContainerSpec {
                volume: Some((name.to_owned(), INSIDE.to_owned())),
                // Whoever copies writes as the engine, into a root that may be written.
                spared: vec![Constraint::ReadOnlyRoot],
                ..spec
            })
            .await?;
        let options = UploadToContainerOptionsBuilder::default().path(INSIDE).build();
        let body = bollard::body_full(packed(files)?.into());
        let copied = self
            .docker
            .upload_to_container(&lender.id, Some(options), body)
            .await;
        self.remove(&lender).await?;
        copied.map_err(|error| refused("copy files into a volume", &error))
    }
}

/// The files as an archive, each under its name.
fn packed(files: &[HostFile]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for HostFile { source, name } in files {
        let added = match source.is_dir() {
            true => archive.append_dir_all(name, source),
            false => archive.append_path_with_name(source, name),
        };
        added.with_context(|| format!("cannot copy {}", source.display()))?;
    }
    archive.into_inner().context("cannot pack files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_packed_under_their_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("proxy")).unwrap();
        std::fs::write(folder.path().join("proxy/nginx.conf"), "a").unwrap();
        std::fs::write(folder.path().join("secret"), "b").unwrap();
        let file = |source: &str, name: &str| HostFile {
            source: folder.path().join(source),
            name: name.to_owned(),
        };
        let packed = packed(&[file("secret", "0"), file("proxy", "1")]).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let names = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().into_owned());
        let names: Vec<PathBuf> = names.collect();
        for name in ["0", "1/nginx.conf"] {
            assert!(names.contains(&PathBuf::from(name)), "{names:?}");
        }
        assert!(super::packed(&[file("absent", "0")]).is_err());
    }
}
