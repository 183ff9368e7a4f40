//! The sweep: what a run left behind in the engine is found by its id and removed. Nothing without that id is ever
//! touched.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Result;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use futures_util::future::try_join_all;

use super::{Container, Engine, RUN_LABEL, is_absent, refused};
use crate::context::Deadline;
use crate::exit::Failure;

/// How long a sweep goes on while it still finds something.
const LIMIT: Duration = Duration::from_secs(60);
/// What was under way in the engine when its run ended comes about in this time: while we are waited for, and
/// for a run that was cut off, on a loaded machine.
const BETWEEN: Duration = Duration::from_millis(100);
const OF_THE_DEAD: Duration = Duration::from_secs(1);

/// What was swept, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub processes: usize,
    pub containers: usize,
    pub networks: usize,
    pub volumes: usize,
    pub tags: usize,
    pub folders: usize,
}

impl Swept {
    fn kinds(&self) -> [(usize, &'static str, &'static str); 6] {
        [
            (self.processes, "process", "processes"),
            (self.containers, "container", "containers"),
            (self.networks, "network", "networks"),
            (self.volumes, "volume", "volumes"),
            (self.tags, "image tag", "image tags"),
            (self.folders, "folder", "folders"),
        ]
    }

    pub fn is_nothing(&self) -> bool {
        *self == Swept::default()
    }

    /// `2 containers, 1 network`, or `nothing`.
    pub fn words(&self) -> String {
        let some = self.kinds().into_iter().filter(|(count, ..)| *count > 0);
        let words: Vec<String> = some
            .map(|(count, one, several)| format!("{count} {}", if count == 1 { one } else { several }))
            .collect();
        if words.is_empty() {
            "nothing".to_owned()
        } else {
            words.join(", ")
        }
    }
}

impl std::ops::AddAssign for Swept {
    fn add_assign(&mut self, more: Swept) {
        self.processes += more.processes;
        self.containers += more.containers;
        self.networks += more.networks;
        self.volumes += more.volumes;
        self.tags += more.tags;
        self.folders += more.folders;
    }
}

/// What the engine holds of a run, by id or name.
#[derive(Debug, Default)]
struct Left {
    containers: BTreeSet<String>,
    networks: BTreeSet<String>,
    volumes: BTreeSet<String>,
    tags: BTreeSet<String>,
}

impl Left {
    fn counted(&self) -> Swept {
        Swept {
            containers: self.containers.len(),
            networks: self.networks.len(),
            volumes: self.volumes.len(),
            tags: self.tags.len(),
            ..Swept::default()
        }
    }

    fn extend(&mut self, more: Left) {
        self.containers.extend(more.containers);
        self.networks.extend(more.networks);
        self.volumes.extend(more.volumes);
        self.tags.extend(more.tags);
    }
}

impl Engine {
    /// Removes everything that carries the run's id: containers, networks, volumes, and the run's own tags. Looks
    /// again until nothing is found twice running: what was asked of the engine before may come about meanwhile.
    pub async fn sweep(&self, run_id: &str) -> Result<Swept> {
        self.until_nothing(run_id, true, BETWEEN).await
    }

    /// The same of a run that was cut off.
    pub async fn sweep_dead(&self, run_id: &str) -> Result<Swept> {
        self.until_nothing(run_id, true, OF_THE_DEAD).await
    }

    /// Removes the run's containers, networks and volumes; its images stay.
    pub async fn sweep_resources(&self, run_id: &str) -> Result<Swept> {
        self.until_nothing(run_id, false, BETWEEN).await
    }

    /// What [`Engine::sweep`] would remove.
    pub async fn left(&self, run_id: &str) -> Result<Swept> {
        Ok(self.find(run_id, true).await?.counted())
    }

    async fn until_nothing(&self, run_id: &str, with_tags: bool, between: Duration) -> Result<Swept> {
        let (mut swept, deadline) = (Left::default(), Deadline::within(LIMIT));
        let mut nothing = 0;
        loop {
            let left = self.find(run_id, with_tags).await?;
            nothing = if left.counted().is_nothing() {
                nothing + 1
            } else {
                0
            };
            if nothing == 2 {
                return Ok(swept.counted());
            }
            if nothing == 0 && deadline.passed() {
                let what = format!("{} of run {run_id} keep coming back", left.counted().words());
                return Err(Failure::undecided(what, "`cargo xtask clean` sweeps them later").into());
            }
            self.remove_all(&left).await?;
            swept.extend(left);
            tokio::time::sleep(between).await;
        }
    }

    async fn find(&self, run_id: &str, with_tags: bool) -> Result<Left> {
        let label = HashMap::from([("label", vec![format!("{RUN_LABEL}={run_id}")])]);
        Ok(Left {
            containers: self.containers_of(&label).await?,
            networks: self.networks_of(&label).await?,
            volumes: self.volumes_of(&label).await?,
            tags: if with_tags {
                self.tags_of(run_id).await?
            } else {
                BTreeSet::new()
            },
        })
    }

    async fn containers_of(&self, label: &HashMap<&str, Vec<String>>) -> Result<BTreeSet<String>> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(label)
            .build();
        let containers = self.docker.list_containers(Some(options)).await;
        let containers = containers.map_err(|error| refused("list containers", &error))?;
        Ok(containers
            .into_iter()
            .filter_map(|container| container.id)
            .collect())
    }

    async fn networks_of(&self, label: &HashMap<&str, Vec<String>>) -> Result<BTreeSet<String>> {
        let options = ListNetworksOptionsBuilder::default().filters(label).build();
        let networks = self.docker.list_networks(Some(options)).await;
        let networks = networks.map_err(|error| refused("list networks", &error))?;
        Ok(networks.into_iter().filter_map(|network| network.id).collect())
    }

    async fn volumes_of(&self, label: &HashMap<&str, Vec<String>>) -> Result<BTreeSet<String>> {
        let options = ListVolumesOptionsBuilder::default().filters(label).build();
        let volumes = self.docker.list_volumes(Some(options)).await;
        let volumes = volumes.map_err(|error| refused("list volumes", &error))?.volumes;
        Ok(volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| volume.name)
            .collect())
    }

    async fn tags_of(&self, run_id: &str) -> Result<BTreeSet<String>> {
        let suffix = format!(":{}", run_tag(run_id));
        let named = self.tags_by("reference", format!("*{suffix}")).await?;
        let mut tags: BTreeSet<String> = named.into_iter().filter(|tag| tag.ends_with(&suffix)).collect();
        // Images that carry the run's id as a label, fixtures, go with all their names.
        tags.extend(self.tags_by("label", format!("{RUN_LABEL}={run_id}")).await?);
        Ok(tags)
    }

    async fn tags_by(&self, filter: &str, value: String) -> Result<Vec<String>> {
        let filters = HashMap::from([(filter, vec![value])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let images = self.docker.list_images(Some(options)).await;
        let images = images.map_err(|error| refused("list images", &error))?;
        Ok(images.into_iter().flat_map(|image| image.repo_tags).collect())
    }

    /// Containers first: what they use cannot be removed beneath them.
    async fn remove_all(&self, left: &Left) -> Result<()> {
        // Side by side: an engine takes its time over each.
        let containers = left.containers.iter().cloned();
        let removals = containers.map(|id| async move { self.remove(&Container { id }).await });
        try_join_all(removals).await?;
        let removals = left.networks.iter().map(|id| async move {
            match self.docker.remove_network(id).await {
                Err(error) if !is_absent(&error) => Err(refused("remove a network", &error)),
                _ => Ok(()),
            }
        });
        try_join_all(removals).await?;
        for name in &left.volumes {
            let options = RemoveVolumeOptionsBuilder::default().force(true).build();
            match self.docker.remove_volume(name, Some(options)).await {
                Err(error) if !is_absent(&error) => return Err(refused("remove a volume", &error)),
                _ => {}
            }
        }
        for tag in &left.tags {
            self.untag(tag).await?;
        }
        Ok(())
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
    fn what_was_swept_is_told_by_kind() {
        let mut swept = Swept {
            containers: 2,
            tags: 1,
            ..Swept::default()
        };
        swept += Swept {
            networks: 1,
            ..Swept::default()
        };
        assert_eq!(swept.words(), "2 containers, 1 network, 1 image tag");
        assert_eq!(Swept::default().words(), "nothing");
    }
}
