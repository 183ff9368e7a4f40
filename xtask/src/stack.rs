//! The running stack: started from the shipped compose files and a generated overlay that pins the tested
//! images and labels everything. How it is asked, from inside its own containers, is in `stack/asking.rs`.

mod asking;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::build::Built;
use crate::catalogue::Service;
use crate::context::Context;
use crate::engine::{Container, Engine};
use crate::exit::Failure;
use crate::plan::Plan;
use crate::process;
use crate::story::Variables;
use crate::story::form::GIVEN;
use crate::tool::compose::{self, Config, mounts};
use crate::verdict::{Check, Gate};

pub use asking::{Answer, NOTICE, notices};

/// Checks by service.
pub type Found = BTreeMap<String, Vec<Check>>;

/// The variable by which compose is told where ports are published.
const PUBLISH: &str = "HORME_PUBLISH";

/// `REQUEST_TIMEOUT` of a service that is not told otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A member of the stack that others could reach.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    pub port: u16,
    /// Addresses on all its networks.
    pub addresses: Vec<String>,
}

/// A stack that was started; swept by its run's id, whatever becomes of it.
pub struct Stack<'a> {
    pub context: &'a Context,
    pub engine: &'a Engine,
    pub plan: &'a Plan,
    images: &'a [Built],
    config: Config,
    containers: BTreeMap<String, Container>,
    /// Of the step, and of the folder of the members' logs.
    log: &'static str,
}

impl<'a> Stack<'a> {
    /// Starts the services of the plan with their stores and the edge; does not wait for anything.
    pub async fn start(
        context: &'a Context,
        engine: &'a Engine,
        plan: &'a Plan,
        images: &'a [Built],
        log: &'static str,
    ) -> Result<Self> {
        secrets(context, log).await?;
        let files = compose::files("ci");
        let publish = compose::host(engine.published()?);
        let call = command(context, plan, &publish, &files, &["config", "--format", "json"]);
        let output = process::run_ok(context, &call).await?;
        let config =
            compose::parse_config(&output.stdout).context("the stack's configuration cannot be read")?;
        let members = members(plan, images, &config);
        context.witness.learn_stack(&output.stdout);
        let resolved = context.run_dir.join("compose.config.json");
        let _ = std::fs::write(resolved, context.witness.masked_json(&output.stdout));
        let pinned = images
            .iter()
            .map(|image| (image.plan.service.name.clone(), image.reference.clone()))
            .collect();
        let mut overlay = compose::run_overlay(&config, &context.run_id, &pinned, &members);
        if engine.is_elsewhere() {
            files::copies(
                context,
                engine,
                images,
                &mounts::of(&config, &members, &context.root),
                &mut overlay,
            )
            .await?;
        }
        let path = context.run_dir.join("compose.run.yaml");
        std::fs::write(&path, mounts::text(&overlay)).context("cannot write the run's overlay")?;

        let mut files = files;
        files.push(path);
        let mut words = vec!["up", "--detach", "--no-build", "--quiet-pull"];
        words.extend(members.iter().map(String::as_str));
        let mut up = command(context, plan, &publish, &files, &words).deadline_s(180);
        up.log = Some(context.log(log));
        engine.watched(process::run_ok(context, &up)).await?;
        let containers = engine.project(&project(context)).await?.into_iter().collect();
        Ok(Stack {
            context,
            engine,
            plan,
            images,
            config,
            containers,
            log,
        })
    }

    /// The names of the services that the plan judges.
    pub fn judged(&self) -> impl Iterator<Item = &str> {
        self.plan.judged().map(|image| image.service.name.as_str())
    }

    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.images.iter().map(|image| &image.plan.service)
    }

    pub fn is_judged(&self, service: &str) -> bool {
        self.judged().any(|name| name == service)
    }

    /// The stores that a judged service needs.
    pub fn stores(&self) -> Vec<String> {
        let needs = self
            .plan
            .judged()
            .flat_map(|image| image.service.needs.iter().cloned());
        needs.collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub fn container(&self, name: &str) -> Result<&Container> {
        let hint = "is it in compose/compose.yaml?";
        self.containers
            .get(name)
            .ok_or_else(|| Failure::undecided(format!("the stack has no '{name}'"), hint).into())
    }

    /// Every member with a port, and where it can be found.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        for (name, container) in &self.containers {
            if let Some(port) = self
                .config
                .services
                .get(name)
                .and_then(compose::ServiceConfig::port)
            {
                let addresses = self.engine.state(container).await?.addresses;
                let addresses = addresses.into_iter().map(|(_, address)| address).collect();
                nodes.push(Node {
                    name: name.clone(),
                    port,
                    addresses,
                });
            }
        }
        Ok(nodes)
    }

    /// Where the edge is asked: at the only published port.
    pub async fn edge(&self) -> Result<SocketAddr> {
        for container in self.containers.values() {
            if let Some(port) = self.engine.state(container).await?.host_port {
                return Ok(SocketAddr::new(self.engine.published()?, port));
            }
        }
        Err(Failure::undecided(
            "the stack publishes no port",
            "compose/compose.ci.yaml publishes the edge",
        )
        .into())
    }

    /// The variables that every story is given.
    pub fn given(&self) -> Result<Variables> {
        given(self.context, &self.context.run_dir.join("secrets"))
    }

    /// The engine's names of all networks that members of the stack are in.
    pub async fn networks(&self) -> Result<BTreeSet<String>> {
        let mut networks = BTreeSet::new();
        for container in self.containers.values() {
            let endpoints = self.engine.endpoints(container).await?;
            networks.extend(endpoints.into_iter().map(|endpoint| endpoint.network));
        }
        Ok(networks)
    }

    pub fn images(&self) -> &'a [Built] {
        self.images
    }

    pub fn is_store(&self, name: &str) -> bool {
        self.services()
            .any(|service| service.needs.iter().any(|need| need == name))
    }

    /// Whether compose puts a member into the network of another.
    pub fn joins(&self, name: &str, other: &str) -> bool {
        let service = self.config.services.get(name);
        service.is_some_and(|service| service.networks.contains_key(other))
    }

    /// The port of a member, as compose exposes it.
    pub fn port(&self, name: &str) -> Result<u16> {
        let service = self.config.services.get(name);
        let port = service.and_then(compose::ServiceConfig::port);
        let hint = "compose/compose.yaml: `expose: [\"<port>\"]`";
        port.ok_or_else(|| Failure::undecided(format!("'{name}' exposes no port"), hint).into())
    }

    /// How long a service may take over a request, as compose sets it.
    pub fn request_timeout(&self, service: &str) -> Duration {
        let environment = self
            .config
            .services
            .get(service)
            .map(|config| &config.environment);
        let value = environment.and_then(|environment| environment.get("REQUEST_TIMEOUT")?.as_ref());
        let text = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        text.and_then(|text| text.trim_end_matches('s').trim().parse().ok())
            .map_or(REQUEST_TIMEOUT, Duration::from_secs)
    }

    /// Writes the log of every member, without secrets, to `logs/<step>/<name>.log`.
    pub async fn keep_logs(&self) {
        let dir = self.context.run_dir.join("logs").join(self.log);
        if std::fs::create_dir_all(&dir).is_err() {
            return;
        }
        for container in self.containers.values() {
            if let Ok(inspect) = self.engine.inspected(container).await {
                self.context.witness.learn_container(&inspect);
            }
        }
        for (name, container) in &self.containers {
            let text = self
                .engine
                .logs(container)
                .await
                .unwrap_or_else(|error| format!("{error:#}\n"));
            let text = self.context.witness.masked(&text);
            let _ = std::fs::write(dir.join(format!("{name}.log")), text);
        }
    }
}

/// Puts checks to those that there are.
pub fn merge(into: &mut Found, more: Found) {
    for (service, checks) in more {
        into.entry(service).or_default().extend(checks);
    }
}

/// What kept a gate from looking on, said of every judged service beside what had been found by then.
pub fn cut_short<'a>(
    found: &mut Found,
    judged: impl IntoIterator<Item = &'a str>,
    gate: Gate,
    error: &anyhow::Error,
) {
    let hint = error
        .downcast_ref::<Failure>()
        .and_then(|failure| failure.hint.clone());
    let hint = hint.unwrap_or_else(|| format!("see logs/{}.log", gate.name()));
    let check = Check::undecided(gate.name(), format!("{error:#}"), hint);
    for service in judged {
        found.entry(service.to_owned()).or_default().push(check.clone());
    }
}

/// Makes the secrets of a run's stack, in a folder of the run.
pub async fn secrets(context: &Context, log: &str) -> Result<PathBuf> {
    let secrets = context.run_dir.join("secrets");
    let generate = context.root.join("compose/secrets/generate");
    let call = process::Call::new([generate.into_os_string(), secrets.clone().into_os_string()]);
    process::run_ok(context, &call.log(context.log(log))).await?;
    // Whatever is written from here on holds none of them.
    context.witness.learn_folder(&secrets);
    Ok(secrets)
}

/// The variables that every story is given.
pub fn given(context: &Context, secrets: &Path) -> Result<Variables> {
    let path = secrets.join("admin_password");
    let password =
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let values = [context.run_id.replace('-', "_"), "admin".to_owned(), password];
    Ok(GIVEN.map(str::to_owned).into_iter().zip(values).collect())
}

pub fn project(context: &Context) -> String {
    format!("horme-{}", context.run_id)
}

/// A compose command over the run's project, with its images and secrets.
pub fn command(
    context: &Context,
    plan: &Plan,
    publish: &str,
    files: &[PathBuf],
    words: &[&str],
) -> process::Call {
    let mut call = compose::call(&context.root, Some(&project(context)), files, words);
    let secrets = context.run_dir.join("secrets").display().to_string();
    call = call.env("HORME_SECRETS_DIR", secrets).env(PUBLISH, publish);
    for (role, image) in &plan.bases.images {
        call = call.env(&format!("HORME_{}_IMAGE", role.to_uppercase()), image.clone());
    }
    call
}

/// The images of the plan, their stores, and whatever else the stack has that is no service of ours.
fn members(plan: &Plan, images: &[Built], config: &Config) -> BTreeSet<String> {
    let mut members: BTreeSet<String> = images
        .iter()
        .map(|image| image.plan.service.name.clone())
        .collect();
    members.extend(
        images
            .iter()
            .flat_map(|image| image.plan.service.needs.iter().cloned()),
    );
    let ours = |name: &String| plan.left_out.contains(name) || members.contains(name);
    let edge = config
        .services
        .iter()
        .filter(|(name, service)| !ours(name) && !service.ports.is_empty());
    let edge: Vec<String> = edge.map(|(name, _)| name.clone()).collect();
    members.extend(edge);
    members
}
