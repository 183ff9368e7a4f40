//! A service in a container beside its process: in this machine's network, under the limits of production.

use std::net::SocketAddr;

use anyhow::Result;

use super::figures::Aim;
use super::form::Settings;
use super::process::family_mb;
use super::stage::{Port, Stage, ready};
use crate::engine::{Container, ContainerSpec};

const MEMORY_BYTES: i64 = 1 << 30;
const PIDS: i64 = 512;

/// A container, and where its service listens.
pub struct Beside {
    pub container: Container,
    pub address: SocketAddr,
}

impl Beside {
    /// Starts it, and waits until it is ready.
    pub async fn start(stage: &Stage<'_>, name: &str, settings: &Settings) -> Result<Self> {
        let port = Port::free()?;
        let address = port.address;
        let environment = stage.environment(name, address, Some(&settings.environment))?;
        let spec = ContainerSpec {
            name: format!("horme-{}-bench-{name}", stage.context.run_id),
            image: stage.image(name)?.reference.clone(),
            run_id: stage.context.run_id.clone(),
            env: environment
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            network: Some("host".to_owned()),
            memory_bytes: MEMORY_BYTES,
            pids: PIDS,
            ..ContainerSpec::default()
        };
        let container = stage.engine.create(&spec).await?;
        port.give_up();
        stage.engine.start(&container).await?;
        ready(name, address, || false).await?;
        Ok(Beside { container, address })
    }
}

/// The memory that a service takes before any load, as a process and in a container.
///
/// # Errors
/// The service does not run as a process.
pub async fn idle(stage: &Stage<'_>, name: &str, settings: &Settings, beside: &Beside) -> Result<Vec<Aim>> {
    let Some(aim) = settings.idle_mb else {
        return Ok(Vec::new());
    };
    let process = stage.process(name)?.memory_mb();
    let contained = memory_of(stage, &beside.container).await;
    let of = |side: &str, got| Aim::at_most(format!("{name}, {side}"), aim, "MB", got);
    Ok(vec![of("process", process), of("container", contained)])
}

/// The resident memory of all processes of a container, in MB.
pub async fn memory_of(stage: &Stage<'_>, container: &Container) -> Option<f64> {
    family_mb(stage.engine.state(container).await.ok()?.pid?)
}
