//! An image's own binary as a process of this machine: taken out of the image, started with its settings, ended with
//! its value.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;

use super::stage::{Port, STEP, Stage};
use crate::archive;
use crate::build::Built;
use crate::process::{self, Call};

/// Longer than any bench.
const DEADLINE_S: u64 = 4 * 3600;

/// A service as a process.
pub struct Process {
    pub address: SocketAddr,
    program: PathBuf,
    running: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whoever waits for a program ends it by being dropped.
        self.running.abort();
    }
}

impl Process {
    /// Starts it at a port that is kept for it until then; does not wait for anything.
    pub async fn start(
        stage: &Stage<'_>,
        service: &str,
        port: Port,
        environment: BTreeMap<String, String>,
    ) -> Result<Self> {
        let image = stage.image(service)?;
        let archive = image.export(stage.engine).await?.clone();
        let folder = stage.context.run_dir.join("bench").join(service);
        std::fs::create_dir_all(&folder)?;
        let program = take_out(image, &archive, &folder)?;
        let mut call = Call::new([&program]).deadline_s(DEADLINE_S);
        call = call.log(stage.context.log(&format!("{STEP}-{service}")));
        // As in a container: what the image and the stack set, and nothing of whoever runs this.
        call = call.withhold("");
        call.env.extend(image_environment(&image.env));
        call.env.extend(environment);
        let context = stage.context.clone();
        let address = port.give_up();
        let running = tokio::spawn(async move {
            if let Err(error) = process::run(&context, &call).await
                && context.interrupted().is_none()
            {
                crate::report::complain(&format!("bench: {error:#}"));
            }
        });
        Ok(Process {
            address,
            program,
            running,
        })
    }

    /// Whether it has ended, which it is not told to.
    pub fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Its resident memory in MB; `None` where it does not run.
    pub fn memory_mb(&self) -> Option<f64> {
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let mine = processes.filter(|entry| {
            std::fs::read_link(entry.path().join("exe")).is_ok_and(|program| program == self.program)
        });
        let pid = mine
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .next()?;
        resident_mb(pid)
    }
}

/// The resident memory of a process of this machine, in MB (`VmRSS` of proc(5), which counts in kB of 1024 bytes).
pub fn resident_mb(pid: i64) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

/// The resident memory of a process and of all that it started, in MB; what they share counts for each.
pub fn family_mb(pid: i64) -> Option<f64> {
    let own = resident_mb(pid)?;
    let others = std::fs::read_dir("/proc").ok()?.flatten();
    let parents: Vec<(i64, i64)> = others
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(elder) = family.get(next).copied() {
        let children = parents.iter().filter(|(_, parent)| *parent == elder);
        family.extend(children.map(|(pid, _)| *pid));
        next += 1;
    }
    let children = family.into_iter().skip(1).filter_map(resident_mb);
    Some(own + children.sum::<f64>())
}

fn parent(pid: i64) -> Option<i64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

fn image_environment(variables: &[String]) -> impl Iterator<Item = (String, String)> {
    let pairs = variables.iter().filter_map(|variable| variable.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// The program that an image starts, as a file of `folder`.
fn take_out(image: &Built, archive: &Path, folder: &Path) -> Result<PathBuf> {
    let configuration = archive::configuration(archive, &image.digest)?;
    let started = configuration.config.entrypoint.unwrap_or_default();
    let started = started.first().context("the image starts nothing")?;
    let wanted = started.trim_start_matches('/').to_owned();
    let mut content = None;
    let layers = archive::layers(archive, &image.digest)?;
    archive::unpack(archive, &layers, |layer| {
        for entry in tar::Archive::new(layer).entries()? {
            let mut entry = entry?;
            if entry.path()?.to_string_lossy().trim_start_matches("./") == wanted {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                content = Some(bytes);
            }
        }
        Ok(())
    })?;
    let content = content.with_context(|| format!("the image holds no {started}"))?;
    let path = folder.join("program");
    std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    std::fs::canonicalize(&path).with_context(|| format!("cannot find {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_process_is_read() {
        let own = resident_mb(i64::from(std::process::id())).unwrap();
        assert!((1.0..2000.0).contains(&own), "{own}");
        assert_eq!((resident_mb(-1), family_mb(-1)), (None, None));
        assert!(family_mb(i64::from(std::process::id())).unwrap() > 1.0);
    }
}
