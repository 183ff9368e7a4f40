//! Asking a running stack: `probe` from inside its members, readiness waited for, losses noticed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, stream};

use super::{Found, Stack};
use crate::catalogue::{OnLoss, Service};
use crate::context::{Deadline, poll};
use crate::engine::ContainerSpec;
use crate::exit::Failure;
use crate::process::last_lines;
use crate::verdict::Check;

/// How many commands run inside containers at a time.
const SIDE_BY_SIDE: usize = 4;

/// How long a dependent may take to notice a loss: a round of its background checks and one question's patience.
pub const NOTICE: Duration = Duration::from_secs(15);

/// How long a probe waits: longer than any answer inside one engine, short enough for hundreds of refusals.
const TIMEOUT_MS: &str = "1500";

impl Stack<'_> {
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
}

/// A service's readiness at the only address that it listens on.
fn ready_url(service: &Service) -> String {
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
