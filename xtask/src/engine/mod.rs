//! The Docker API through bollard: connecting, and what the engine is. Nothing else speaks to the engine's
//! socket (the docker CLI's plugins, bake and compose, are called through `process.rs`).

mod container;
mod image;
mod network;
mod sweep;

use std::time::Duration;

use anyhow::Result;

pub use container::{Container, ContainerSpec};
pub use image::ImageFacts;
pub use network::Endpoint;
pub use sweep::{Lease, run_tag};

use crate::exit::Failure;

/// The label that every container, network and volume of a run carries; its value is the run's id.
pub const RUN_LABEL: &str = "dev.horme.run";

/// The oldest engine API that has what we use (engine 25).
const MINIMUM_API: (usize, usize) = (1, 44);

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
    /// Whether images live in the containerd store, where an image's id is its manifest's digest.
    pub containerd_store: bool,
    /// Which engine on which kernel, with which protections: what containers do here is true of no other.
    machine: String,
}

impl Engine {
    /// Connects to `DOCKER_HOST`, or to the local socket.
    ///
    /// # Errors
    /// Exit 3 where no engine answers within 5 s, or where it is too old.
    pub async fn connect() -> Result<Self> {
        let connecting = async {
            #[expect(
                clippy::disallowed_types,
                reason = "this is the one place that speaks to the Docker API"
            )]
            let docker = bollard::Docker::connect_with_defaults()?;
            let docker = docker.negotiate_version().await?;
            let info = docker.info().await?;
            Ok::<_, bollard::errors::Error>((docker, info))
        };
        let answered = tokio::time::timeout(Duration::from_secs(5), connecting).await;
        let (docker, info) = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(no_engine(&error.to_string())),
            Err(_) => return Err(no_engine("no answer within 5 s")),
        };
        let api = docker.client_version();
        if (api.major_version, api.minor_version) < MINIMUM_API {
            return Err(Failure::undecided(
                format!(
                    "the engine speaks API {}.{} only",
                    api.major_version, api.minor_version
                ),
                "an engine of version 25 or newer is needed; a running engine is never replaced by us",
            )
            .into());
        }
        let containerd_store = info.driver_status.unwrap_or_default().iter().any(|pair| {
            pair.iter()
                .any(|word| word.starts_with("io.containerd.snapshotter"))
        });
        let machine = format!(
            "{} kernel {} cgroup {:?} runtime {} security {:?}",
            info.id.unwrap_or_default(),
            info.kernel_version.unwrap_or_default(),
            info.cgroup_version,
            info.default_runtime.unwrap_or_default(),
            info.security_options.unwrap_or_default(),
        );
        Ok(Engine {
            docker,
            machine,
            version: info.server_version.unwrap_or_default(),
            containerd_store,
        })
    }

    /// Which engine this is and where it runs, for verdicts about what containers do.
    pub fn identity(&self) -> String {
        format!("{} {}", self.words(), self.machine)
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

fn no_engine(why: &str) -> anyhow::Error {
    Failure::undecided(
        format!("no Docker engine answers: {why}"),
        "start the engine, point DOCKER_HOST to one, or let `cargo xtask setup` provision it",
    )
    .into()
}

/// An engine's refusal in our own words.
fn refused(what: &str, error: &bollard::errors::Error) -> anyhow::Error {
    Failure::undecided(
        format!("the engine could not {what}: {error}"),
        "look at the engine's log; then run again",
    )
    .into()
}

/// Whether the engine said "there is no such thing".
fn is_absent(error: &bollard::errors::Error) -> bool {
    matches!(
        error,
        bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }
    )
}
