//! The Docker API through bollard: what the engine is, and its troubles. Nothing else speaks to the engine's
//! socket (the docker CLI's plugins, bake and compose, are called through `process.rs`).

mod as_it_is;
mod connect;
mod container;
mod context;
mod copy;
mod image;
mod lease;
mod network;
mod running;
mod sweep;

use std::time::Duration;

use anyhow::Result;
use bollard::errors::Error;
use bollard::models::SystemInfo;
use futures_util::{Stream, StreamExt};

pub use connect::Place;
pub use container::{Constraint, Container, ContainerSpec};
pub use context::{Choice, docker_config};
pub use copy::HostFile;
pub use image::ImageFacts;
pub use lease::{Estate, Lease};
pub use network::{Endpoint, Leads};
pub use running::Usage;
pub use sweep::{Swept, run_tag};

use crate::exit::Failure;

/// The label that every container, network and volume of a run carries; its value is the run's id.
pub const RUN_LABEL: &str = "dev.horme.run";

/// The oldest engine API that has what we use (engine 25).
const MINIMUM_API: (usize, usize) = (1, 44);

/// How long the engine may take over one answer, or over one part of a stream: an engine that hangs is told from
/// one that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to an engine that answered.
#[derive(Clone, Debug)]
#[expect(
    clippy::disallowed_types,
    reason = "this is the one place that speaks to the Docker API"
)]
pub struct Engine {
    docker: bollard::Docker,
    /// The engine's version, e.g. `26.1.5`.
    pub version: String,
    /// The engine's own id, which it keeps over restarts.
    pub id: String,
    /// Whether images live in the containerd store, where an image's id is its manifest's digest.
    pub containerd_store: bool,
    /// Which engine on which kernel, with which protections: what containers do here is true of no other.
    machine: String,
    /// What it runs on: number of processors, architecture, memory in GB.
    pub hardware: String,
    /// What it runs without emulation, as images say it, e.g. `linux/amd64`.
    pub platform: String,
    /// Its protections, e.g. `name=seccomp,profile=builtin`.
    pub security: Vec<String>,
    /// Its machine's name.
    name: String,
    /// Where it is, and who named it.
    pub place: Place,
}

impl Engine {
    /// An engine that answered, and what it said of itself.
    #[expect(
        clippy::disallowed_types,
        reason = "this is the one place that speaks to the Docker API"
    )]
    fn new(docker: bollard::Docker, info: SystemInfo, place: Place) -> Self {
        let containerd_store = info.driver_status.unwrap_or_default().iter().any(|pair| {
            pair.iter()
                .any(|word| word.starts_with("io.containerd.snapshotter"))
        });
        let security = info.security_options.unwrap_or_default();
        let id = info.id.unwrap_or_default();
        let machine = format!(
            "{id} kernel {} cgroup {:?} runtime {} security {:?}",
            info.kernel_version.unwrap_or_default(),
            info.cgroup_version,
            info.default_runtime.unwrap_or_default(),
            security,
        );
        let architecture = info.architecture.clone().unwrap_or_default();
        let hardware = format!(
            "{} {} {}",
            info.ncpu.unwrap_or_default(),
            info.architecture.unwrap_or_default(),
            info.mem_total.unwrap_or_default() / 1_000_000_000
        );
        Engine {
            docker,
            id,
            machine,
            hardware,
            platform: platform(&info.os_type.unwrap_or_default(), &architecture),
            security,
            version: info.server_version.unwrap_or_default(),
            containerd_store,
            name: info.name.unwrap_or_default(),
            place,
        }
    }

    /// Does work that a docker command waits for, and ends it where the engine falls silent: the command itself would
    /// wait for ever.
    ///
    /// # Errors
    /// Those of the work; exit 3 where a ping is not answered.
    pub async fn watched<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            error = self.silence() => Err(error),
        }
    }

    async fn silence(&self) -> anyhow::Error {
        loop {
            tokio::time::sleep(PATIENCE / 3).await;
            let answer = self.docker.ping().await;
            if answer.is_err_and(|error| trouble(&error) == Some(Trouble::Silent)) {
                return silent("answer a ping").into();
            }
        }
    }

    /// Which engine this is and where it runs, for verdicts about what containers do.
    pub fn identity(&self) -> String {
        // What is published on another address than this machine's own is asked over another way.
        let way = self.place.way();
        format!("{} {}{way}", self.words(), self.machine)
    }

    /// Which engine this is, for a reader.
    pub fn words(&self) -> String {
        let store = if self.containerd_store {
            "containerd"
        } else {
            "classic"
        };
        format!("engine {} ({store} image store)", self.version)
    }
}

/// A platform as images say it, from the words of a kernel: `linux`, `x86_64` -> `linux/amd64`.
pub fn platform(os: &str, architecture: &str) -> String {
    let architecture = match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{os}/{architecture}")
}

fn forbidden() -> Failure {
    Failure::undecided(
        "the engine's socket may not be opened by this user",
        "join its group (`sudo usermod -aG docker $USER`, then log in again), or point DOCKER_HOST to an engine of yours",
    )
}

/// What kept an engine from answering at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Forbidden,
    Gone,
    Silent,
}

fn trouble(error: &Error) -> Option<Trouble> {
    if matches!(error, Error::RequestTimeoutError) {
        return Some(Trouble::Silent);
    }
    if matches!(error, Error::DockerResponseServerError { .. }) {
        return None;
    }
    let kind = match error {
        Error::IOError { err } => Some(err.kind()),
        _ => causes(error).find_map(|cause| Some(cause.downcast_ref::<std::io::Error>()?.kind())),
    };
    match kind {
        Some(std::io::ErrorKind::PermissionDenied) => Some(Trouble::Forbidden),
        Some(_) => Some(Trouble::Gone),
        // What is broken off has no cause that the system would name.
        None => causes(error)
            .any(|cause| cause.to_string().contains("connection"))
            .then_some(Trouble::Gone),
    }
}

fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The cause beneath all causes: the words that say something.
fn innermost(error: &Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// An engine's refusal in our own words. One that fell silent or went away meanwhile is told from one that said no.
fn refused(what: &str, error: &Error) -> anyhow::Error {
    let failure = match trouble(error) {
        Some(Trouble::Forbidden) => forbidden(),
        Some(Trouble::Gone) => Failure::undecided(
            format!("the engine went away: it could not {what}: {}", innermost(error)),
            "was it restarted? see that `docker info` answers; then run again",
        ),
        Some(Trouble::Silent) => silent(what),
        None => Failure::undecided(
            format!("the engine could not {what}: {error}"),
            "look at the engine's log; then run again",
        ),
    };
    failure.into()
}

fn silent(what: &str) -> Failure {
    Failure::undecided(
        format!(
            "the engine hangs: it did not {what} within {} s",
            PATIENCE.as_secs()
        ),
        "see that `docker info` answers and look at the engine's log; then run again",
    )
}

/// The next part of what the engine streams.
async fn next<T>(
    stream: &mut (impl Stream<Item = Result<T, Error>> + Unpin),
    what: &str,
) -> Result<Option<T>> {
    next_within(PATIENCE, stream, what).await
}

async fn next_within<T>(
    patience: Duration,
    stream: &mut (impl Stream<Item = Result<T, Error>> + Unpin),
    what: &str,
) -> Result<Option<T>> {
    match tokio::time::timeout(patience, stream.next()).await {
        Ok(part) => part.transpose().map_err(|error| refused(what, &error)),
        Err(_) => Err(silent(what).into()),
    }
}

/// Whether the engine said "there is no such thing".
fn is_absent(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine found in its way what somebody else made at the same moment; it says so with a 500.
fn exists_already(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { message, .. } if message.ends_with("already exists"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::explain;

    fn broken(kind: std::io::ErrorKind) -> Error {
        Error::IOError { err: kind.into() }
    }

    #[test]
    fn a_platform_is_said_as_images_say_it() {
        assert_eq!(platform("linux", "x86_64"), "linux/amd64");
        assert_eq!(platform("linux", "aarch64"), "linux/arm64");
        assert_eq!(platform("linux", "riscv64"), "linux/riscv64");
    }

    #[test]
    fn what_keeps_an_engine_from_answering_is_told_apart() {
        use std::io::ErrorKind::{ConnectionRefused, PermissionDenied};
        assert_eq!(trouble(&broken(PermissionDenied)), Some(Trouble::Forbidden));
        assert_eq!(trouble(&broken(ConnectionRefused)), Some(Trouble::Gone));
        assert_eq!(trouble(&Error::RequestTimeoutError), Some(Trouble::Silent));
        let said_no = Error::DockerResponseServerError {
            status_code: 500,
            message: "no connection to the registry".into(),
        };
        assert_eq!(trouble(&said_no), None, "it answered");
    }

    #[test]
    fn each_trouble_has_its_remedy() {
        let (_, text) = explain(&refused(
            "list images",
            &broken(std::io::ErrorKind::PermissionDenied),
        ));
        assert!(text.contains("usermod -aG docker"), "{text}");
        let (_, text) = explain(&refused("list images", &Error::RequestTimeoutError));
        assert!(
            text.contains("hangs: it did not list images within 30 s"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_stream_that_falls_silent_has_an_end() {
        let mut silence = futures_util::stream::pending::<Result<u8, Error>>();
        let patience = Duration::from_millis(10);
        let error = next_within(patience, &mut silence, "export x").await.unwrap_err();
        assert!(error.to_string().contains("did not export x within"), "{error}");
    }
}
