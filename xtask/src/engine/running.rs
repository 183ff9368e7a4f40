//! What a running container uses, what it wrote, and signals to it.

use anyhow::Result;
use bollard::query_parameters::{KillContainerOptionsBuilder, StatsOptionsBuilder};

use super::{Container, Engine, next, refused};

/// What a container uses at one moment; `None` is "not known here", never nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, as the kernel accounts it to the container without the page cache that it could drop at
    /// once (the figure that `docker stats` shows).
    pub memory_bytes: Option<u64>,
    /// Threads of all its processes: what the limit on processes counts.
    pub threads: Option<u64>,
    /// Open descriptors of its main process, where the engine runs on this machine and `/proc` lets us look.
    pub descriptors: Option<u64>,
}

impl Engine {
    /// What a container uses now.
    ///
    /// # Errors
    /// The engine's.
    pub async fn usage(&self, container: &Container) -> Result<Usage> {
        let options = StatsOptionsBuilder::default()
            .stream(false)
            .one_shot(true)
            .build();
        let mut stream = Box::pin(self.docker.stats(&container.id, Some(options)));
        let Some(stats) = next(&mut stream, "read a container's figures").await? else {
            return Ok(Usage::default());
        };
        let memory = stats.memory_stats.unwrap_or_default();
        let parts = memory.stats.unwrap_or_default();
        let cache = parts.get("inactive_file").copied().unwrap_or_default();
        let threads = stats.pids_stats.and_then(|pids| pids.current);
        let pid = self.state(container).await?.pid;
        Ok(Usage {
            memory_bytes: memory.usage.map(|usage| usage.saturating_sub(cache)),
            threads: threads.filter(|threads| *threads > 0),
            descriptors: pid.and_then(|pid| descriptors(pid, &container.id)),
        })
    }

    /// Sends a signal by its name, e.g. `SIGTERM`; waits for nothing.
    ///
    /// # Errors
    /// The engine's, also where the container does not run.
    pub async fn kill(&self, container: &Container, signal: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        let sent = self.docker.kill_container(&container.id, Some(options)).await;
        sent.map_err(|error| refused("send a signal to a container", &error))
    }

    /// The paths below its root that differ from the image's, but for those that the engine itself makes.
    ///
    /// # Errors
    /// The engine's.
    pub async fn written(&self, container: &Container) -> Result<Vec<String>> {
        let changes = self.docker.container_changes(&container.id).await;
        let changes = changes.map_err(|error| refused("list what a container changed", &error))?;
        let paths = changes.unwrap_or_default().into_iter().map(|change| change.path);
        let mounts = self.mount_points(container).await?;
        Ok(paths
            .filter(|path| !made_by_engine(path) && !made_for_a_mount(path, &mounts))
            .collect())
    }

    async fn mount_points(&self, container: &Container) -> Result<Vec<String>> {
        let options = None::<bollard::query_parameters::InspectContainerOptions>;
        let found = self.docker.inspect_container(&container.id, options).await;
        let found = found.map_err(|error| refused("inspect a container", &error))?;
        let mounts = found.mounts.unwrap_or_default().into_iter();
        Ok(mounts.filter_map(|mount| mount.destination).collect())
    }
}

/// Mount points and files that the engine lays into every container's root.
fn made_by_engine(path: &str) -> bool {
    let files = [
        "/.dockerenv",
        "/etc",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/mtab",
        "/etc/resolv.conf",
        "/proc",
        "/run",
        "/sys",
    ];
    files.contains(&path) || path == "/dev" || path.starts_with("/dev/")
}

/// Whether a path is a mount point, lies under one or is a folder above one: an image without that folder gets it
/// from the engine.
fn made_for_a_mount(path: &str, mounts: &[String]) -> bool {
    let under = |path: &str, folder: &str| {
        let rest = path.strip_prefix(folder.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    mounts
        .iter()
        .any(|mount| under(path, mount) || under(mount, path))
}

/// Another machine has other processes under the same number: only one that says that it is in this container
/// counts.
fn descriptors(pid: i64, container: &str) -> Option<u64> {
    let process = std::path::Path::new("/proc").join(pid.to_string());
    let groups = std::fs::read_to_string(process.join("cgroup")).ok()?;
    if !groups.contains(container) {
        return None;
    }
    Some(std::fs::read_dir(process.join("fd")).ok()?.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_lays_into_a_root_is_not_the_services_doing() {
        for path in ["/dev", "/dev/shm", "/etc/hosts", "/.dockerenv", "/etc"] {
            assert!(made_by_engine(path), "{path}");
        }
        for path in ["/data", "/etc/passwd", "/device", "/tmp/x"] {
            assert!(!made_by_engine(path), "{path}");
        }
    }

    #[test]
    fn what_the_engine_makes_for_a_volume_is_not_the_services_doing() {
        let mounts = ["/var/data".to_owned()];
        for path in ["/var", "/var/data", "/var/data/x"] {
            assert!(made_for_a_mount(path, &mounts), "{path}");
        }
        for path in ["/va", "/var/x", "/var/database", "/data"] {
            assert!(!made_for_a_mount(path, &mounts), "{path}");
        }
        assert!(!made_for_a_mount("/x", &[]));
    }

    #[test]
    fn a_process_of_another_machine_is_not_counted() {
        assert_eq!(descriptors(std::process::id().into(), "no-such-container"), None);
    }
}
