//! Where services are measured: the shipped stack, with published ports for the services; these and all that they call
//! as processes beside it. All meet the same stores at the same addresses, those of the stack's own networks. Settings
//! are those of compose, with other addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::form::Loads;
use super::process::Process;
use crate::build::Built;
use crate::context::{Context, Deadline, poll};
use crate::engine::{Container, Engine};
use crate::exit::Failure;
use crate::plan::Plan;
use crate::process as programs;
use crate::stack::{self, given};
use crate::story::Variables;
use crate::tool::compose::{self, Config, mounts};

pub const STEP: &str = "bench-services";
/// How long stores and services may take to be ready.
const READY: Duration = Duration::from_secs(90);
const POLL_EVERY: Duration = Duration::from_millis(100);

/// What a bench of services stands on; its containers and networks are swept by the run's id.
pub struct Stage<'a> {
    pub context: &'a Context,
    pub engine: &'a Engine,
    pub plan: &'a Plan,
    pub images: &'a [Built],
    pub given: Variables,
    config: Config,
    /// `own.<member>:<port>`, as settings name it -> where it is reached from this machine.
    addresses: BTreeMap<String, SocketAddr>,
    published: BTreeMap<String, (Container, SocketAddr)>,
    /// The services as processes of this machine.
    processes: BTreeMap<String, Process>,
}

impl<'a> Stage<'a> {
    /// Starts everything that these services need, and waits until it is ready.
    ///
    /// # Errors
    /// Exit 3: something did not start, or was not ready in time.
    pub async fn set(
        context: &'a Context,
        engine: &'a Engine,
        plan: &'a Plan,
        images: &'a [Built],
        loads: &BTreeMap<String, Loads>,
    ) -> Result<Self> {
        let secrets = stack::secrets(context, STEP).await?;
        let publish = compose::host(engine.published()?);
        let files = compose::files("ci");
        let call = stack::command(context, plan, &publish, &files, &["config", "--format", "json"]);
        let output = programs::run_ok(context, &call).await?;
        let config =
            compose::parse_config(&output.stdout).context("the stack's configuration cannot be read")?;
        let mut stage = Stage {
            context,
            engine,
            plan,
            images,
            given: given(context, &secrets)?,
            config,
            addresses: BTreeMap::new(),
            published: BTreeMap::new(),
            processes: BTreeMap::new(),
        };
        stage.start_stack(loads, &publish, files).await?;
        stage.start_processes(loads).await?;
        for (service, (_, address)) in &stage.published {
            ready(service, *address, || false).await?;
        }
        Ok(stage)
    }

    /// The services with loads, all that they call, and the stores of all of these.
    fn members(&self, loads: &BTreeMap<String, Loads>) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut services: BTreeSet<String> = loads.keys().cloned().collect();
        loop {
            let called = self
                .images
                .iter()
                .filter(|image| services.contains(&image.plan.service.name));
            let called: Vec<String> = called
                .flat_map(|image| image.plan.service.calls.clone())
                .collect();
            let before = services.len();
            services.extend(called);
            if services.len() == before {
                break;
            }
        }
        let stores = self
            .images
            .iter()
            .filter(|image| services.contains(&image.plan.service.name));
        let stores = stores
            .flat_map(|image| image.plan.service.needs.clone())
            .collect();
        (services, stores)
    }

    async fn start_stack(
        &mut self,
        loads: &BTreeMap<String, Loads>,
        publish: &str,
        mut files: Vec<PathBuf>,
    ) -> Result<()> {
        let (services, stores) = self.members(loads);
        let members: BTreeSet<String> = services.union(&stores).cloned().collect();
        let images = self
            .images
            .iter()
            .map(|image| (image.plan.service.name.clone(), image.reference.clone()));
        let mut overlay =
            compose::run_overlay(&self.config, &self.context.run_id, &images.collect(), &members);
        for name in loads.keys() {
            let port = self.port(name)?;
            overlay["services"][name.as_str()]["ports"] = json!([format!("{publish}::{port}")]);
            // Nothing is published from a network that leads nowhere.
            overlay["networks"][name.as_str()]["internal"] = json!(false);
        }
        for (name, loads) in loads {
            let mut environment = loads.settings.environment.clone();
            environment.insert("HOST".to_owned(), "0.0.0.0".to_owned());
            overlay["services"][name.as_str()]["environment"] = json!(environment);
        }
        let path = self.context.run_dir.join("compose.bench.yaml");
        std::fs::write(&path, mounts::text(&overlay)).context("cannot write the overlay")?;
        files.push(path);
        let mut words = vec!["up", "--detach", "--no-build", "--quiet-pull"];
        words.extend(members.iter().map(String::as_str));
        let up = stack::command(self.context, self.plan, publish, &files, &words);
        let up = up.deadline_s(180).log(self.context.log(STEP));
        self.engine.watched(programs::run_ok(self.context, &up)).await?;
        let address = self.engine.published()?;
        for (name, container) in self.engine.project(&stack::project(self.context)).await? {
            let state = self.engine.state(&container).await?;
            if stores.contains(&name) {
                let port = self.port(&name)?;
                let reached = SocketAddr::new(own_address(&name, &state.addresses)?, port);
                self.addresses.insert(format!("own.{name}:{port}"), reached);
            } else if let Some(port) = state.host_port {
                self.published
                    .insert(name, (container, SocketAddr::new(address, port)));
            }
        }
        Ok(())
    }

    /// Every service, each as a process: a caller meets those that it calls at their addresses.
    async fn start_processes(&mut self, loads: &BTreeMap<String, Loads>) -> Result<()> {
        let (services, _) = self.members(loads);
        let mut ports = BTreeMap::new();
        for name in services {
            let (own, port) = (format!("own.{name}:{}", self.port(&name)?), Port::free()?);
            self.addresses.insert(own, port.address);
            ports.insert(name, port);
        }
        for (name, port) in ports {
            let settings = loads.get(&name).map(|loads| &loads.settings.environment);
            let environment = self.environment(&name, port.address, settings)?;
            let process = Process::start(self, &name, port, environment).await?;
            self.processes.insert(name, process);
        }
        for (name, process) in &self.processes {
            ready(name, process.address, || process.has_ended()).await?;
        }
        Ok(())
    }

    fn port(&self, name: &str) -> Result<u16> {
        let service = self.config.services.get(name);
        let port = service.and_then(compose::ServiceConfig::port);
        let hint = "compose/compose.yaml: `expose: [\"<port>\"]`";
        port.ok_or_else(|| Failure::undecided(format!("'{name}' exposes no port"), hint).into())
    }

    /// A service's settings as compose has them, where it is to listen at `address` and reaches the others from this
    /// machine. Secrets stand in them as they are: they are this run's own.
    pub fn environment(
        &self,
        service: &str,
        address: SocketAddr,
        more: Option<&BTreeMap<String, String>>,
    ) -> Result<BTreeMap<String, String>> {
        let mut environment = BTreeMap::new();
        let set = self
            .config
            .services
            .get(service)
            .map(|config| &config.environment);
        for (name, value) in set.into_iter().flatten() {
            let Some(value) = value else { continue };
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let (name, value) = match (name.strip_suffix("_FILE"), value.strip_prefix("/run/secrets/")) {
                (Some(name), Some(secret)) => (name.to_owned(), self.secret(secret)?),
                _ => (name.clone(), value),
            };
            environment.insert(name, self.reached(&value));
        }
        environment.extend(more.cloned().unwrap_or_default());
        environment.insert("HOST".to_owned(), address.ip().to_string());
        environment.insert("PORT".to_owned(), address.port().to_string());
        Ok(environment)
    }

    fn secret(&self, name: &str) -> Result<String> {
        let file = self
            .config
            .secrets
            .get(name)
            .and_then(|secret| secret["file"].as_str());
        let file = file.with_context(|| format!("compose has no file for the secret '{name}'"))?;
        std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))
    }

    fn reached(&self, value: &str) -> String {
        let replaced = |value: String, (own, address): (&String, &SocketAddr)| {
            value.replace(own.as_str(), &address.to_string())
        };
        self.addresses.iter().fold(value.to_owned(), replaced)
    }

    pub fn image(&self, service: &str) -> Result<&Built> {
        let image = self
            .images
            .iter()
            .find(|image| image.plan.service.name == service);
        image.with_context(|| format!("there is no image of {service}"))
    }

    pub fn process(&self, service: &str) -> Result<&Process> {
        let hint = "name one that it calls, in `direct`";
        self.processes.get(service).ok_or_else(|| {
            Failure::usage(format!("'{service}' is not part of what is measured"), hint).into()
        })
    }

    pub fn published(&self, service: &str) -> Result<&(Container, SocketAddr)> {
        self.published
            .get(service)
            .with_context(|| format!("the engine publishes no port of {service}"))
    }
}

/// A port of this machine that nobody else gets until it is given up, just before a service takes it.
pub struct Port {
    pub address: SocketAddr,
    held: TcpListener,
}

impl Port {
    /// # Errors
    /// Where this machine has none left.
    pub fn free() -> Result<Self> {
        let held = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
        let address = held.local_addr().context("no port is free")?;
        Ok(Port { address, held })
    }

    pub fn give_up(self) -> SocketAddr {
        drop(self.held);
        self.address
    }
}

/// Where a member is found in its own network, straight and not through a program that passes connections on.
fn own_address(name: &str, addresses: &[(String, String)]) -> Result<IpAddr> {
    let own = addresses
        .iter()
        .find(|(network, _)| network.ends_with(&format!("_{name}")));
    let (_, address) = own.with_context(|| format!("{name} has no address in its own network"))?;
    address
        .parse()
        .with_context(|| format!("{name} has no address: '{address}'"))
}

/// Waits until a service says that it is ready; no longer once it has ended.
pub async fn ready(service: &str, address: SocketAddr, has_ended: impl Fn() -> bool) -> Result<()> {
    let http = crate::http::client()
        .no_proxy()
        .timeout(Duration::from_secs(2))
        .build()?;
    let url = format!("http://{address}/ready");
    let answered = poll(Deadline::within(READY), POLL_EVERY, || async {
        if has_ended() {
            return Some(false);
        }
        let answer = http.get(&url).send().await.ok()?;
        answer.status().is_success().then_some(true)
    });
    let what = match answered.await {
        Some(true) => return Ok(()),
        Some(false) => format!("{service} ended before it was ready"),
        None => format!("{service} was not ready within {} s", READY.as_secs()),
    };
    let hint = format!("see logs/{STEP}-{service}.log, and the containers' logs in logs/{STEP}/");
    Err(Failure::undecided(what, hint).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_met_in_its_own_network() {
        let addresses = [("run_edge", "172.18.0.9"), ("run_postgres", "172.19.0.2")];
        let addresses = addresses.map(|(network, address)| (network.to_owned(), address.to_owned()));
        assert_eq!(
            own_address("postgres", &addresses).unwrap().to_string(),
            "172.19.0.2"
        );
        assert!(own_address("redis", &addresses).is_err());
    }

    #[test]
    fn a_port_is_nobody_elses_until_it_is_given_up() {
        let port = Port::free().unwrap();
        assert!(TcpListener::bind(port.address).is_err());
        assert!(TcpListener::bind(port.give_up()).is_ok());
    }
}
