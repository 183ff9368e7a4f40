//! The running stack: started from the shipped compose files and a generated overlay that pins the tested
//! images and labels everything; asked from inside its own containers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, stream};

use crate::build::Built;
use crate::catalogue::{OnLoss, Service};
use crate::context::{Context, Deadline, poll};
use crate::engine::{Container, ContainerSpec, Engine};
use crate::exit::Failure;
use crate::plan::Plan;
use crate::process::{self, last_lines};
use crate::story::Variables;
use crate::story::form::GIVEN;
use crate::tool::compose::{self, Config};
use crate::verdict::Check;

/// Checks by service.
pub type Found = BTreeMap<String, Vec<Check>>;

/// How many commands run inside containers at a time.
const SIDE_BY_SIDE: usize = 4;

/// `REQUEST_TIMEOUT` of a service that is not told otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a dependent may take to notice a loss: a round of its background checks and one question's patience.
pub const NOTICE: Duration = Duration::from_secs(15);

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
        let secrets = context.run_dir.join("secrets");
        let generate = context.root.join("compose/secrets/generate");
        let call = process::Call::new([generate.into_os_string(), secrets.clone().into_os_string()]);
        process::run_ok(context, &call.log(context.log(log))).await?;

        let files = compose::files("ci");
        let call = command(context, plan, &files, &["config", "--format", "json"]);
        let output = process::run_ok(context, &call).await?;
        let config =
            compose::parse_config(&output.stdout).context("the stack's configuration cannot be read")?;
        let members = members(plan, images, &config);
        let pinned = images
            .iter()
            .map(|image| (image.plan.service.name.clone(), image.reference.clone()))
            .collect();
        let overlay = compose::run_overlay(&config, &context.run_id, &pinned, &members);
        let path = context.run_dir.join("compose.run.yaml");
        std::fs::write(&path, serde_json::to_vec_pretty(&overlay)?)
            .context("cannot write the run's overlay")?;

        let mut files = files;
        files.push(path);
        let mut words = vec!["up", "--detach", "--no-build", "--quiet-pull"];
        words.extend(members.iter().map(String::as_str));
        let mut up = command(context, plan, &files, &words).deadline_s(180);
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

    /// The port of 127.0.0.1 that leads to the edge: the only published one.
    pub async fn edge_port(&self) -> Result<u16> {
        for container in self.containers.values() {
            if let Some(port) = self.engine.state(container).await?.host_port {
                return Ok(port);
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
        let path = self.context.run_dir.join("secrets/admin_password");
        let password =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let values = [
            self.context.run_id.replace('-', "_"),
            "admin".to_owned(),
            password,
        ];
        Ok(GIVEN.map(str::to_owned).into_iter().zip(values).collect())
    }

    /// Runs `probe` for some targets from inside a member and returns the answer of each, in order.
    pub async fn probe(&self, from: &str, targets: &[String]) -> Result<Vec<Answer>> {
        let output = match self.services().find(|service| service.name == from) {
            Some(service) => {
                let mut words = vec![
                    format!("/{}", service.name),
                    "probe".into(),
                    "--timeout-ms".into(),
                    TIMEOUT_MS.into(),
                ];
                words.extend_from_slice(targets);
                self.engine.exec(self.container(from)?, words).await?
            }
            None => self.probe_beside(from, targets).await?,
        };
        answers(from, targets, &output)
    }

    /// A store's image holds no prober: one of the tested binaries probes from inside the store's network.
    async fn probe_beside(&self, from: &str, targets: &[String]) -> Result<String> {
        let network = format!("container:{}", self.container(from)?.id);
        self.prober(&network, from, targets).await
    }

    /// Runs `probe` in a container of its own, inside a network.
    pub async fn probe_inside(&self, network: &str, name: &str, targets: &[String]) -> Result<Vec<Answer>> {
        let output = self.prober(network, name, targets).await?;
        answers(name, targets, &output)
    }

    async fn prober(&self, network: &str, name: &str, targets: &[String]) -> Result<String> {
        let image = self.images.first().context("no image to probe with")?;
        let mut command = vec!["probe".to_owned(), "--timeout-ms".into(), TIMEOUT_MS.into()];
        command.extend_from_slice(targets);
        let prober = self
            .engine
            .create(&ContainerSpec {
                name: format!("horme-{}-prober-{name}", self.context.run_id),
                image: image.reference.clone(),
                run_id: self.context.run_id.clone(),
                command,
                network: Some(network.to_owned()),
                memory_bytes: self.plan.limits.memory_bytes,
                pids: self.plan.limits.pids,
                ..Default::default()
            })
            .await?;
        self.engine.start(&prober).await?;
        let deadline = Deadline::within(Duration::from_secs(20));
        poll(deadline, Duration::from_millis(50), || async {
            self.engine
                .state(&prober)
                .await
                .ok()
                .filter(|state| !state.running)
        })
        .await;
        let output = self.engine.logs(&prober).await?;
        self.engine.remove(&prober).await?;
        Ok(output)
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

    /// Waits until every service says that it is ready; a check for each judged one.
    pub async fn until_ready(&self) -> Result<Found> {
        let deadline = Deadline::within(Duration::from_millis(self.plan.limits.stack_deadline_ms));
        let asked = self.services().map(|service| async move {
            let ready = self.ready_by(service, deadline).await;
            (service.name.clone(), ready)
        });
        let asked: Vec<_> = stream::iter(asked).buffer_unordered(SIDE_BY_SIDE).collect().await;
        let mut found = Found::new();
        for (service, why) in asked {
            let check = match why? {
                None => Check::passed("ready", "with its stores"),
                Some(why) => Check::violated(
                    "never ready",
                    why,
                    "see logs/network of the run; `/ready` names what is missing",
                ),
            };
            if self.is_judged(&service) || check.outcome != crate::verdict::Outcome::Passed {
                found.entry(service).or_default().push(check);
            }
        }
        Ok(found)
    }

    /// `None` once `/ready` answers 200; otherwise why it does not. What the engine could not tell is an error.
    pub async fn ready_by(&self, service: &Service, deadline: Deadline) -> Result<Option<String>> {
        let container = self.container(&service.name)?;
        let url = ready_url(service);
        loop {
            let state = self.engine.state(container).await?;
            if !state.running {
                return Ok(Some(format!(
                    "ended with exit code {}",
                    state.exit_code.unwrap_or(-1)
                )));
            }
            // A probe fails when its service ends beneath it: the next round tells.
            let answered = self.probe(&service.name, std::slice::from_ref(&url)).await;
            if answered.as_ref().is_ok_and(|answers| answers[0].open()) {
                return Ok(None);
            }
            if deadline.passed() {
                let last = &answered?[0].line;
                return Ok(Some(format!(
                    "not ready within {} s: {last}",
                    deadline.limit.as_secs()
                )));
            }
            tokio::time::sleep(Duration::from_millis(200).min(deadline.left())).await;
        }
    }

    /// As [`Stack::ready_by`], where `degraded` is not yet well.
    pub async fn well_by(&self, service: &Service, deadline: Deadline) -> Result<Option<String>> {
        loop {
            if let Some(why) = self.ready_by(service, deadline).await? {
                return Ok(Some(why));
            }
            let answers = self.probe(&service.name, &[ready_url(service)]).await?;
            if answers[0].open() && !answers[0].degraded() {
                return Ok(None);
            }
            if deadline.passed() {
                let limit = deadline.limit.as_secs();
                return Ok(Some(format!("not well within {limit} s: {}", answers[0].line)));
            }
            tokio::time::sleep(Duration::from_millis(200).min(deadline.left())).await;
        }
    }

    /// All services are ready and none is degraded, or nothing more can be asked of the stack.
    ///
    /// # Errors
    /// Exit 3, naming the first that is not.
    pub async fn all_ready(&self, when: &str) -> Result<()> {
        let deadline = Deadline::within(Duration::from_millis(self.plan.limits.stack_deadline_ms));
        let asked = self.services().map(|service| async move {
            let why = self.well_by(service, deadline).await?;
            Ok::<_, anyhow::Error>(why.map(|why| format!("{}: {why}", service.name)))
        });
        let asked: Vec<_> = stream::iter(asked).buffer_unordered(SIDE_BY_SIDE).collect().await;
        for why in asked {
            if let Some(why) = why? {
                return Err(Failure::undecided(format!("{when}: {why}"), "see the members' logs").into());
            }
        }
        Ok(())
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

    /// How long a service may take over a request: the longest that compose sets for any of them.
    pub fn request_timeout(&self) -> Duration {
        let set = self.services().map(|service| {
            let environment = self
                .config
                .services
                .get(&service.name)
                .map(|config| &config.environment);
            let value = environment.and_then(|environment| environment.get("REQUEST_TIMEOUT")?.as_ref());
            let text = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            text.and_then(|text| text.trim_end_matches('s').parse().ok())
                .map_or(REQUEST_TIMEOUT, Duration::from_secs)
        });
        set.max().unwrap_or(REQUEST_TIMEOUT)
    }

    /// Writes the log of every member to `logs/<step>/<name>.log`.
    pub async fn keep_logs(&self) {
        let dir = self.context.run_dir.join("logs").join(self.log);
        if std::fs::create_dir_all(&dir).is_err() {
            return;
        }
        for (name, container) in &self.containers {
            let text = self
                .engine
                .logs(container)
                .await
                .unwrap_or_else(|error| format!("{error:#}\n"));
            let _ = std::fs::write(dir.join(format!("{name}.log")), text);
        }
    }
}

/// How long a probe waits: longer than any answer inside one engine, short enough for hundreds of refusals.
const TIMEOUT_MS: &str = "1500";

/// A service's readiness at the only address that it listens on.
pub fn ready_url(service: &Service) -> String {
    format!("http://own.{}:{}/ready", service.name, service.port)
}

/// One line of a probe's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub line: String,
}

impl Answer {
    /// The line about `target`: `<word> <target>[ <more>]`.
    fn find(lines: &[&str], target: &str) -> Option<Self> {
        let about = |line: &&&str| line.split_whitespace().nth(1) == Some(target);
        lines.iter().find(about).map(|line| Answer {
            line: (*line).to_owned(),
        })
    }

    pub fn open(&self) -> bool {
        self.line.starts_with("open ")
    }

    /// Ready, without one of its stores.
    pub fn degraded(&self) -> bool {
        self.open() && self.line.ends_with(" degraded")
    }
}

/// Waits until a service says that a store is lost, as its `on_loss` declares; otherwise what it says instead.
/// One that is to stay ready must be so in every answer.
pub async fn notices(stack: &Stack<'_>, service: &Service, store: &str) -> Option<String> {
    let effect = service.on_loss.get(store).copied().unwrap_or(OnLoss::NotReady);
    let deadline = Deadline::within(NOTICE);
    let url = ready_url(service);
    loop {
        // A probe fails when its service ends beneath it: the last round tells.
        let line = match stack.probe(&service.name, std::slice::from_ref(&url)).await {
            Ok(answers) => {
                let answer = &answers[0];
                match effect {
                    OnLoss::NotReady if answer.line.contains("status 503") => return None,
                    OnLoss::Degrade if answer.degraded() => return None,
                    OnLoss::Degrade if !answer.open() => return Some(answer.line.clone()),
                    _ => answer.line.clone(),
                }
            }
            Err(error) => format!("{error:#}"),
        };
        if deadline.passed() {
            return Some(line);
        }
        tokio::time::sleep(Duration::from_millis(100).min(deadline.left())).await;
    }
}

/// Puts checks to those that there are.
pub fn merge(into: &mut Found, more: Found) {
    for (service, checks) in more {
        into.entry(service).or_default().extend(checks);
    }
}

/// The answer about each target, in order; an output without one says that the prober itself failed.
fn answers(from: &str, targets: &[String], output: &str) -> Result<Vec<Answer>> {
    let lines: Vec<&str> = output.lines().collect();
    let answers = targets
        .iter()
        .map(|target| Answer::find(&lines, target))
        .collect::<Option<Vec<_>>>();
    let why = || {
        let what = format!("{from} could not probe: {}", last_lines(output, 3));
        Failure::undecided(what, "see the members' logs")
    };
    answers.ok_or_else(|| why().into())
}

fn project(context: &Context) -> String {
    format!("horme-{}", context.run_id)
}

/// A compose command over the run's project, with its images and secrets.
fn command(context: &Context, plan: &Plan, files: &[PathBuf], words: &[&str]) -> process::Call {
    let mut call = compose::call(&context.root, Some(&project(context)), files, words);
    let secrets = context.run_dir.join("secrets").display().to_string();
    call = call.env("HORME_SECRETS_DIR", secrets);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probes_answers_are_found_by_target() {
        let lines = ["refused tcp://10.0.0.2:80", "open http://own.a:8000/ready 3ms"];
        assert!(Answer::find(&lines, "http://own.a:8000/ready").unwrap().open());
        assert!(!Answer::find(&lines, "tcp://10.0.0.2:80").unwrap().open());
        assert_eq!(Answer::find(&lines, "tcp://10.0.0.2:8"), None);
    }
}
