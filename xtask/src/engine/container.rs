//! Containers of a run: created hardened and labelled, asked, stopped, removed.

use std::collections::HashMap;
use std::time::Duration;

use super::{Engine, PATIENCE, RUN_LABEL, is_absent, next, refused};
use crate::exit::Failure;
use anyhow::Result;
use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, ExecConfig, HostConfig, NetworkingConfig, PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};

/// More than this of what a command inside a container says is not kept.
const MOST_SAID: usize = 4 << 20;

/// What to create. Every container of a gate runs under the constraints of production: a read-only root,
/// no capabilities, no new privileges, limits on memory and processes.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    pub name: String,
    pub image: String,
    pub run_id: String,
    pub command: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// A port to publish on a free port of the address by which we reach the engine's machine.
    pub publish: Option<u16>,
    /// A volume by its name, and where it is mounted.
    pub volume: Option<(String, String)>,
    /// `None`: the engine's default bridge. `container:<id>`: inside another container's network.
    pub network: Option<String>,
    /// Its names in that network, besides its own.
    pub aliases: Vec<String>,
    pub memory_bytes: i64,
    pub pids: i64,
    /// Constraints that this one container is spared, to find out which of them a service cannot bear.
    pub spared: Vec<Constraint>,
}

/// One of the constraints of production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraint {
    ReadOnlyRoot,
    NoCapabilities,
    NoNewPrivileges,
    NonRoot,
}

/// A container by its id.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
}

/// What a command inside a container came to.
#[derive(Debug, Clone, Default)]
pub struct Executed {
    pub stdout: String,
    pub stderr: String,
    /// `None`: the engine does not tell.
    pub exit: Option<i64>,
}

impl Executed {
    /// # Errors
    /// Exit 3: it says more than anybody would read.
    fn take(&mut self, part: &LogOutput) -> Result<(), Failure> {
        let (into, message) = match part {
            LogOutput::StdOut { message } => (&mut self.stdout, message),
            LogOutput::StdErr { message } => (&mut self.stderr, message),
            _ => return Ok(()),
        };
        into.push_str(&String::from_utf8_lossy(message));
        if self.stdout.len() + self.stderr.len() <= MOST_SAID {
            return Ok(());
        }
        let what = format!(
            "a command inside a container said more than {} MB",
            MOST_SAID >> 20
        );
        Err(Failure::undecided(what, "let it say less"))
    }

    /// Both streams, one after the other.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// What the engine says of a container.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub running: bool,
    pub exit_code: Option<i64>,
    pub oom_killed: bool,
    /// The main process on the engine's machine; `None` while there is none.
    pub pid: Option<i64>,
    /// What runs in it: the binary's path inside the image.
    pub program: String,
    /// The published port ([`Engine::published`] is the address), where one was asked for.
    pub host_port: Option<u16>,
    /// Network name -> IPv4 address.
    pub addresses: Vec<(String, String)>,
    /// When the main process was started (RFC 3339), to tell a restart from a recovery.
    pub started_at: String,
}

/// The names in its network, where it is to have any.
fn networking(spec: &ContainerSpec) -> Option<NetworkingConfig> {
    let network = spec.network.clone().filter(|_| !spec.aliases.is_empty())?;
    let endpoint = EndpointSettings {
        aliases: Some(spec.aliases.clone()),
        ..Default::default()
    };
    Some(NetworkingConfig {
        endpoints_config: Some(HashMap::from([(network, endpoint)])),
    })
}

impl Engine {
    /// Creates a container; it does not run yet.
    pub async fn create(&self, spec: &ContainerSpec) -> Result<Container> {
        let port = spec.publish.map(|port| format!("{port}/tcp"));
        let bindings = match &port {
            Some(port) => Some(HashMap::from([(port.clone(), Some(vec![self.binding()?]))])),
            None => None,
        };
        let held = |constraint| !spec.spared.contains(&constraint);
        let host_config = HostConfig {
            readonly_rootfs: Some(held(Constraint::ReadOnlyRoot)),
            cap_drop: held(Constraint::NoCapabilities).then(|| vec!["ALL".into()]),
            security_opt: held(Constraint::NoNewPrivileges).then(|| vec!["no-new-privileges".into()]),
            memory: Some(spec.memory_bytes),
            memory_swap: Some(spec.memory_bytes),
            pids_limit: Some(spec.pids),
            network_mode: spec.network.clone(),
            port_bindings: bindings,
            binds: spec
                .volume
                .as_ref()
                .map(|(name, to)| vec![format!("{name}:{to}")]),
            ..Default::default()
        };
        let body = ContainerCreateBody {
            image: Some(spec.image.clone()),
            cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
            env: Some(spec.env.clone()),
            user: (!held(Constraint::NonRoot)).then(|| "0:0".to_owned()),
            labels: Some(HashMap::from([(RUN_LABEL.to_owned(), spec.run_id.clone())])),
            exposed_ports: port.map(|port| vec![port]),
            host_config: Some(host_config),
            networking_config: networking(spec),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
        let created = self.docker.create_container(Some(options), body).await;
        let created =
            created.map_err(|error| refused(&format!("create a container of {}", spec.image), &error))?;
        if let Some(warning) = unheld(&created.warnings) {
            return Err(Failure::undecided(
                format!("the engine cannot hold a limit of production: {warning}"),
                "run on an engine whose kernel has control groups for memory and processes; see `docker info`",
            )
            .into());
        }
        Ok(Container { id: created.id })
    }

    /// A free port of the only address that is asked.
    fn binding(&self) -> Result<PortBinding> {
        Ok(PortBinding {
            host_ip: Some(self.published()?.to_string()),
            host_port: Some(String::new()),
        })
    }

    pub async fn start(&self, container: &Container) -> Result<()> {
        let answered = self.start_as_it_is(container).await;
        answered.map_err(|error| refused("start a container", &error))
    }

    /// The same, told apart from what is the image's own fault (a program that is absent or not executable): that is
    /// returned, in the engine's words.
    ///
    /// # Errors
    /// The engine's.
    pub async fn try_start(&self, container: &Container) -> Result<Result<(), String>> {
        match self.start_as_it_is(container).await {
            Ok(()) => Ok(Ok(())),
            Err(error) => match unstartable(&error) {
                Some(why) => Ok(Err(why)),
                None => Err(refused("start a container", &error)),
            },
        }
    }

    async fn start_as_it_is(&self, container: &Container) -> Result<(), bollard::errors::Error> {
        let options = None::<bollard::query_parameters::StartContainerOptions>;
        self.docker.start_container(&container.id, options).await
    }

    /// SIGTERM; SIGKILL after `grace`. Returns when the container has ended.
    pub async fn stop(&self, container: &Container, grace: Duration) -> Result<()> {
        let options = StopContainerOptionsBuilder::default()
            .t(grace.as_secs() as i32)
            .build();
        // The engine answers once the container has ended.
        let docker = self.docker.clone().with_timeout(grace + PATIENCE);
        match docker.stop_container(&container.id, Some(options)).await {
            // 304: it had ended already, which is what was asked for.
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 304, .. }) | Ok(()) => {
                Ok(())
            }
            Err(error) => Err(refused("stop a container", &error)),
        }
    }

    /// Removes a container with its anonymous volumes; one that is gone already is fine.
    pub async fn remove(&self, container: &Container) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match self.docker.remove_container(&container.id, Some(options)).await {
            Err(error) if !is_absent(&error) && !is_under_way(&error) => {
                Err(refused("remove a container", &error))
            }
            _ => Ok(()),
        }
    }

    pub async fn state(&self, container: &Container) -> Result<State> {
        let found = self
            .docker
            .inspect_container(
                &container.id,
                None::<bollard::query_parameters::InspectContainerOptions>,
            )
            .await
            .map_err(|error| refused("inspect a container", &error))?;
        let state = found.state.unwrap_or_default();
        let network = found.network_settings.unwrap_or_default();
        let ports = network.ports.unwrap_or_default();
        let host_port = ports
            .values()
            .flatten()
            .flatten()
            .find_map(|binding| binding.host_port.as_ref()?.parse().ok());
        let addresses = network.networks.unwrap_or_default().into_iter();
        let addresses = addresses.filter_map(|(name, end)| Some((name, end.ip_address?)));
        let mut addresses: Vec<_> = addresses.filter(|(_, address)| !address.is_empty()).collect();
        addresses.sort();
        Ok(State {
            running: state.running.unwrap_or_default(),
            exit_code: state.exit_code,
            oom_killed: state.oom_killed.unwrap_or_default(),
            pid: state.pid.filter(|pid| *pid > 0),
            program: found.path.unwrap_or_default(),
            host_port,
            addresses,
            started_at: state.started_at.map(|at| at.to_string()).unwrap_or_default(),
        })
    }

    /// Standard output and error of a container, from its start.
    pub async fn logs(&self, container: &Container) -> Result<String> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let mut stream = Box::pin(self.docker.logs(&container.id, Some(options)));
        let mut text = String::new();
        while let Some(part) = next(&mut stream, "read a container's log").await? {
            text.push_str(&part.to_string());
        }
        Ok(text)
    }

    /// Runs a command inside a running container to its end; returns what it said on both streams.
    pub async fn exec(&self, container: &Container, command: Vec<String>) -> Result<String> {
        let ended = self.exec_to_end(container, command, Vec::new()).await?;
        Ok(ended.said())
    }

    /// The same, with variables (`NAME=value`) of its own, and with its exit code.
    pub async fn exec_to_end(
        &self,
        container: &Container,
        command: Vec<String>,
        environment: Vec<String>,
    ) -> Result<Executed> {
        let failed = |error: bollard::errors::Error| refused("run a command inside a container", &error);
        let config = ExecConfig {
            cmd: Some(command),
            env: Some(environment),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = self
            .docker
            .create_exec(&container.id, config)
            .await
            .map_err(failed)?;
        let started = self
            .docker
            .start_exec(&exec.id, None::<bollard::exec::StartExecOptions>)
            .await;
        let mut ended = Executed::default();
        if let StartExecResults::Attached {
            output: mut stream, ..
        } = started.map_err(failed)?
        {
            while let Some(part) = next(&mut stream, "run a command inside a container").await? {
                ended.take(&part)?;
            }
        }
        ended.exit = self
            .docker
            .inspect_exec(&exec.id)
            .await
            .map_err(failed)?
            .exit_code;
        Ok(ended)
    }

    /// The containers of a compose project: service name -> container, running or not.
    pub async fn project(&self, project: &str) -> Result<Vec<(String, Container)>> {
        let filters = HashMap::from([("label", vec![format!("com.docker.compose.project={project}")])]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let listed = self.docker.list_containers(Some(options)).await;
        let listed = listed.map_err(|error| refused("list containers", &error))?;
        let mut services: Vec<_> = listed
            .into_iter()
            .filter_map(|container| {
                let service = container.labels?.get("com.docker.compose.service")?.clone();
                Some((service, Container { id: container.id? }))
            })
            .collect();
        services.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(services)
    }
}

/// What the engine answers where an image holds nothing that it could start: 400, unlike its own faults. The words
/// end with the cause.
fn unstartable(error: &bollard::errors::Error) -> Option<String> {
    let bollard::errors::Error::DockerResponseServerError {
        status_code: 400,
        message,
    } = error
    else {
        return None;
    };
    let cause = message
        .split_once("exec: ")
        .map_or(message.as_str(), |(_, cause)| cause);
    Some(format!("cannot be started: {}", cause.trim()))
}

/// A limit that the engine says it does not hold.
fn unheld(warnings: &[String]) -> Option<&str> {
    let discarded = |warning: &&String| warning.to_lowercase().contains("discarded");
    warnings.iter().find(discarded).map(String::as_str)
}

/// Whether the engine said that it is removing the container already.
fn is_under_way(error: &bollard::errors::Error) -> bool {
    matches!(
        error,
        bollard::errors::Error::DockerResponseServerError { status_code: 409, message }
            if message.contains("already in progress")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16, message: &str) -> bollard::errors::Error {
        bollard::errors::Error::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_command_that_does_not_stop_talking_is_not_listened_to_for_ever() {
        let part = LogOutput::StdErr {
            message: vec![b'x'; MOST_SAID / 2].into(),
        };
        let mut ended = Executed::default();
        ended.take(&part).unwrap();
        ended.take(&part).unwrap();
        let why = ended.take(&part).unwrap_err();
        assert!(why.what.contains("more than 4 MB"), "{}", why.what);
    }

    #[test]
    fn an_image_that_cannot_be_started_is_told_from_an_engine_that_fails() {
        let words = "failed to create task for container: runc create failed: unable to start container process: \
                     exec: \"/x\": permission denied: unknown";
        assert_eq!(
            unstartable(&answer(400, words)).as_deref(),
            Some("cannot be started: \"/x\": permission denied: unknown")
        );
        assert_eq!(unstartable(&answer(500, words)), None);
    }

    #[test]
    fn a_limit_that_is_not_held_is_no_warning_to_be_dropped() {
        let swap = "Your kernel does not support swap limit capabilities. Memory limited without swap.";
        let pids = "Your kernel does not support PIDs limit capabilities. PIDs limit discarded.";
        assert_eq!(unheld(&[swap.to_owned(), pids.to_owned()]), Some(pids));
        assert_eq!(unheld(&[swap.to_owned()]), None);
    }
}
