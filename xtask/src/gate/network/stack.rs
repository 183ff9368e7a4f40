//! The running stack: started from the shipped compose files and a generated overlay that pins the tested
//! images and labels everything; asked from inside its own containers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, stream};

use super::Found;
use crate::build::Built;
use crate::catalogue::Service;
use crate::context::{Context, Deadline, poll};
use crate::engine::{Container, ContainerSpec, Engine};
use crate::exit::Failure;
use crate::plan::Plan;
use crate::process::{self, last_lines};
use crate::tool::compose::{self, Config};
use crate::verdict::Check;

/// How many commands run inside containers at a time.
const SIDE_BY_SIDE: usize = 4;

/// A member of the stack that others could reach.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) port: u16,
    /// Addresses on all its networks.
    pub(super) addresses: Vec<String>,
}

pub(super) struct Stack<'a> {
    pub(super) context: &'a Context,
    pub(super) engine: &'a Engine,
    pub(super) plan: &'a Plan,
    images: &'a [Built],
    config: Config,
    containers: BTreeMap<String, Container>,
}

impl<'a> Stack<'a> {
    /// Starts the services of the plan with their stores and the edge; does not wait for anything.
    pub(super) async fn start(
        context: &'a Context,
        engine: &'a Engine,
        plan: &'a Plan,
        images: &'a [Built],
    ) -> Result<Self> {
        let secrets = context.run_dir.join("secrets");
        let generate = context.root.join("compose/secrets/generate");
        let call = process::Call::new([generate.into_os_string(), secrets.clone().into_os_string()]);
        process::run_ok(context, &call.log(context.log("network"))).await?;

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
        up.log = Some(context.log("network"));
        engine.watched(process::run_ok(context, &up)).await?;
        let containers = engine.project(&project(context)).await?.into_iter().collect();
        Ok(Stack {
            context,
            engine,
            plan,
            images,
            config,
            containers,
        })
    }

    /// The names of the services that the plan judges.
    pub(super) fn judged(&self) -> impl Iterator<Item = &str> {
        self.plan.judged().map(|image| image.service.name.as_str())
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.images.iter().map(|image| &image.plan.service)
    }

    pub(super) fn is_judged(&self, service: &str) -> bool {
        self.judged().any(|name| name == service)
    }

    /// The stores that a judged service needs.
    pub(super) fn stores(&self) -> Vec<String> {
        let needs = self
            .plan
            .judged()
            .flat_map(|image| image.service.needs.iter().cloned());
        needs.collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn container(&self, name: &str) -> Result<&Container> {
        let hint = "is it in compose/compose.yaml?";
        self.containers
            .get(name)
            .ok_or_else(|| Failure::undecided(format!("the stack has no '{name}'"), hint).into())
    }

    /// Every member with a port, and where it can be found.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>> {
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
    pub(super) async fn edge_port(&self) -> Result<u16> {
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

    /// The administrator's generated password.
    pub(super) fn admin_password(&self) -> Result<String> {
        let path = self.context.run_dir.join("secrets/admin_password");
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Runs `probe` for some targets from inside a member and returns the answer of each, in order.
    pub(super) async fn probe(&self, from: &str, targets: &[String]) -> Result<Vec<Answer>> {
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
        let lines: Vec<&str> = output.lines().collect();
        let answers = targets
            .iter()
            .map(|target| Answer::find(&lines, target))
            .collect::<Option<Vec<_>>>();
        let why = || {
            Failure::undecided(
                format!("{from} could not probe: {}", last_lines(&output, 3)),
                "see logs/network.log",
            )
        };
        answers.ok_or_else(|| why().into())
    }

    /// A store's image holds no prober: one of the tested binaries probes from inside the store's network.
    async fn probe_beside(&self, from: &str, targets: &[String]) -> Result<String> {
        let image = self.images.first().context("no image to probe with")?;
        let mut command = vec!["probe".to_owned(), "--timeout-ms".into(), TIMEOUT_MS.into()];
        command.extend_from_slice(targets);
        let prober = self
            .engine
            .create(&ContainerSpec {
                name: format!("horme-{}-prober-{from}", self.context.run_id),
                image: image.reference.clone(),
                run_id: self.context.run_id.clone(),
                command,
                network: Some(format!("container:{}", self.container(from)?.id)),
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

    /// Waits until every service says that it is ready; a check for each judged one.
    pub(super) async fn until_ready(&self) -> Result<Found> {
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
    pub(super) async fn ready_by(&self, service: &Service, deadline: Deadline) -> Result<Option<String>> {
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

    /// Writes the log of every member to `logs/network/<name>.log`.
    pub(super) async fn keep_logs(&self) {
        let dir = self.context.run_dir.join("logs/network");
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
pub(super) fn ready_url(service: &Service) -> String {
    format!("http://own.{}:{}/ready", service.name, service.port)
}

/// One line of a probe's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) line: String,
}

impl Answer {
    /// The line about `target`: `<word> <target>[ <more>]`.
    fn find(lines: &[&str], target: &str) -> Option<Self> {
        let about = |line: &&&str| line.split_whitespace().nth(1) == Some(target);
        lines.iter().find(about).map(|line| Answer {
            line: (*line).to_owned(),
        })
    }

    pub(super) fn open(&self) -> bool {
        self.line.starts_with("open ")
    }
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
