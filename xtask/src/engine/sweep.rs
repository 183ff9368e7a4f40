//! Leases and the sweep. A run holds a locked lease file while it lives; what a dead run left behind is found
//! by its id and removed. Nothing without the id of one of our own dead leases is ever touched.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use futures_util::future::try_join_all;

use super::{Container, Engine, RUN_LABEL, is_absent, refused};

/// A lock that the kernel drops with the process, however the process ends.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    _file: File,
}

impl Lease {
    /// Takes the lease of a new run. Must be held before the run creates anything.
    pub fn take(dir: &Path, run_id: &str) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let path = dir.join(run_id);
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Lease { path, _file: file })
    }

    /// Gives the lease back: the run left nothing behind.
    pub fn end(self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// The ids of runs whose process is gone but whose lease was never given back.
    pub fn dead(dir: &Path) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return Vec::new();
        };
        let mut dead: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|entry| is_unlocked(&entry.path()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        dead.sort();
        dead
    }

    /// Where leases lie: one folder a user, shared by all checkouts.
    pub fn dir() -> PathBuf {
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        state
            .or_else(home)
            .unwrap_or_else(std::env::temp_dir)
            .join("horme/leases")
    }
}

fn is_unlocked(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => !matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

impl Engine {
    /// Sweeps a run whose lease says that it is dead, and forgets the lease. Returns how many things were
    /// removed; on an error the lease stays, and the next sweep tries again.
    pub async fn sweep_dead(&self, run_id: &str) -> Result<usize> {
        let removed = self.sweep(run_id).await?;
        let _ = std::fs::remove_file(Lease::dir().join(run_id));
        Ok(removed)
    }

    /// Removes everything that carries the run's id: containers, networks, volumes, and the run's own tags.
    /// Returns how many things were removed.
    pub async fn sweep(&self, run_id: &str) -> Result<usize> {
        let tags = self.sweep_tags(run_id).await? + self.sweep_labelled_images(run_id).await?;
        Ok(self.sweep_resources(run_id).await? + tags)
    }

    /// Removes the run's containers, networks and volumes; its images stay.
    pub async fn sweep_resources(&self, run_id: &str) -> Result<usize> {
        let label = HashMap::from([("label", vec![format!("{RUN_LABEL}={run_id}")])]);
        let mut removed = 0;
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&label)
            .build();
        let containers = self.docker.list_containers(Some(options)).await;
        let containers = containers.map_err(|error| refused("list containers", &error))?;
        let ids = containers.into_iter().filter_map(|container| container.id);
        // Side by side: an engine takes its time over each.
        let removals = ids.map(|id| async move { self.remove(&Container { id }).await });
        removed += try_join_all(removals).await?.len();
        removed += self.sweep_networks(&label).await?;
        removed += self.sweep_volumes(&label).await?;
        Ok(removed)
    }

    async fn sweep_networks(&self, label: &HashMap<&str, Vec<String>>) -> Result<usize> {
        let options = ListNetworksOptionsBuilder::default().filters(label).build();
        let networks = self.docker.list_networks(Some(options)).await;
        let networks = networks.map_err(|error| refused("list networks", &error))?;
        let removals = networks.into_iter().map(|network| async move {
            match self.docker.remove_network(&network.id.unwrap_or_default()).await {
                Err(error) if !is_absent(&error) => Err(refused("remove a network", &error)),
                _ => Ok(()),
            }
        });
        Ok(try_join_all(removals).await?.len())
    }

    async fn sweep_volumes(&self, label: &HashMap<&str, Vec<String>>) -> Result<usize> {
        let options = ListVolumesOptionsBuilder::default().filters(label).build();
        let volumes = self.docker.list_volumes(Some(options)).await;
        let volumes = volumes
            .map_err(|error| refused("list volumes", &error))?
            .volumes
            .unwrap_or_default();
        for volume in &volumes {
            let options = RemoveVolumeOptionsBuilder::default().force(true).build();
            match self.docker.remove_volume(&volume.name, Some(options)).await {
                Err(error) if !is_absent(&error) => return Err(refused("remove a volume", &error)),
                _ => {}
            }
        }
        Ok(volumes.len())
    }

    async fn sweep_tags(&self, run_id: &str) -> Result<usize> {
        let pattern = HashMap::from([("reference", vec![format!("*:{}", run_tag(run_id))])]);
        let options = ListImagesOptionsBuilder::default().filters(&pattern).build();
        let images = self.docker.list_images(Some(options)).await;
        let images = images.map_err(|error| refused("list images", &error))?;
        let suffix = format!(":{}", run_tag(run_id));
        let tags = images
            .into_iter()
            .flat_map(|image| image.repo_tags)
            .filter(|tag| tag.ends_with(&suffix));
        let mut removed = 0;
        for tag in tags {
            self.untag(&tag).await?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Images that carry the run's id as a label: fixtures.
    async fn sweep_labelled_images(&self, run_id: &str) -> Result<usize> {
        let label = HashMap::from([("label", vec![format!("{RUN_LABEL}={run_id}")])]);
        let options = ListImagesOptionsBuilder::default().filters(&label).build();
        let images = self.docker.list_images(Some(options)).await;
        let images = images.map_err(|error| refused("list images", &error))?;
        let tags: Vec<String> = images.into_iter().flat_map(|image| image.repo_tags).collect();
        for tag in &tags {
            self.untag(tag).await?;
        }
        Ok(tags.len())
    }
}

/// The tag that images of a run carry while it lasts.
pub fn run_tag(run_id: &str) -> String {
    format!("run-{run_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lease_is_alive_and_an_abandoned_one_is_dead() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lease::take(dir.path(), "held").unwrap();
        let given_back = Lease::take(dir.path(), "given-back").unwrap();
        given_back.end();
        std::fs::write(dir.path().join("abandoned"), "").unwrap();
        assert_eq!(Lease::dead(dir.path()), ["abandoned"]);
        drop(held);
        assert_eq!(
            Lease::dead(dir.path()),
            ["abandoned", "held"],
            "a process that ended without giving back"
        );
    }
}
