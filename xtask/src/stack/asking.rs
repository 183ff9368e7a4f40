//! Asking a running stack: `probe` from inside its members, readiness waited for, losses noticed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, stream};

use super::{Found, Stack};
use crate::catalogue::{OnLoss, Service};
use crate::context::{Deadline, poll};
use crate::engine::{Container, ContainerSpec};
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
        let output = self.output(&prober).await;
        // Also where it failed: the next one has the same name.
        self.engine.remove(&prober).await?;
        output
    }

    async fn output(&self, prober: &Container) -> Result<String> {
        self.engine.start(prober).await?;
        let deadline = Deadline::within(Duration::from_secs(20));
        poll(deadline, Duration::from_millis(50), || async {
            let state = self.engine.state(prober).await.ok();
            state.filter(|state| !state.running)
        })
        .await;
        self.engine.logs(prober).await
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
        let url = ready_url(service);
        loop {
            if let Some(ended) = self.ended(service).await? {
                return Ok(Some(ended));
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
            let answer = match self.asked(service, &ready_url(service)).await? {
                Said::Ended(how) => return Ok(Some(how)),
                Said::Answer(answer) => answer,
            };
            if answer.open() && !answer.degraded() {
                return Ok(None);
            }
            if deadline.passed() {
                let limit = deadline.limit.as_secs();
                return Ok(Some(format!("not well within {limit} s: {}", answer.line)));
            }
            tokio::time::sleep(Duration::from_millis(200).min(deadline.left())).await;
        }
    }

    /// `None` while a service runs; otherwise how it ended.
    async fn ended(&self, service: &Service) -> Result<Option<String>> {
        let state = self.engine.state(self.container(&service.name)?).await?;
        let how = || format!("ended with exit code {}", state.exit_code.unwrap_or(-1));
        Ok((!state.running).then(how))
    }

    /// Asks a service for one thing. One that ended is told, not asked; what else could not be asked is an error.
    async fn asked(&self, service: &Service, url: &str) -> Result<Said> {
        let asked = self.probe(&service.name, &[url.to_owned()]).await;
        said(self.ended(service).await?, asked)
    }

    /// `None` while a service is live; otherwise what it says instead, twice running: one late answer is none.
    pub async fn unlive(&self, service: &Service) -> Result<Option<String>> {
        let url = format!("http://own.{}:{}/live", service.name, service.port);
        let mut late = false;
        loop {
            match self.asked(service, &url).await? {
                Said::Ended(how) => return Ok(Some(how)),
                Said::Answer(answer) if answer.open() => return Ok(None),
                Said::Answer(answer) if late => return Ok(Some(answer.line)),
                Said::Answer(_) => late = true,
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
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

/// What came of asking a service.
#[derive(Debug)]
enum Said {
    Answer(Answer),
    /// How.
    Ended(String),
}

/// An end explains why nothing could be asked; where the service runs, the engine or the prober did not.
fn said(ended: Option<String>, asked: Result<Vec<Answer>>) -> Result<Said> {
    match ended {
        Some(how) => Ok(Said::Ended(how)),
        None => asked.map(|mut answers| Said::Answer(answers.swap_remove(0))),
    }
}

/// `None` once a service says that a store is lost, as its `on_loss` declares; otherwise what it says instead.
/// One that is to stay ready must be so: two answers running that it is not are one too many.
///
/// # Errors
/// What the engine could not tell until the end: that is no answer of the service.
pub async fn notices(stack: &Stack<'_>, service: &Service, store: &str) -> Result<Option<String>> {
    let effect = service.on_loss.get(store).copied().unwrap_or(OnLoss::NotReady);
    let deadline = Deadline::within(NOTICE);
    let url = ready_url(service);
    let mut unready = false;
    loop {
        let last = deadline.passed();
        match stack.asked(service, &url).await {
            Ok(Said::Ended(how)) => return Ok(Some(how)),
            Ok(Said::Answer(answer)) => {
                if says(effect, &answer) {
                    return Ok(None);
                }
                let again = std::mem::replace(&mut unready, !answer.open());
                if last || (effect == OnLoss::Degrade && again && unready) {
                    return Ok(Some(answer.line));
                }
            }
            Err(error) if last => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(100).min(deadline.left())).await;
    }
}

/// Whether an answer says what the loss of a store is declared to do.
fn says(effect: OnLoss, answer: &Answer) -> bool {
    match effect {
        OnLoss::NotReady => answer.line.contains("status 503"),
        OnLoss::Degrade => answer.degraded(),
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

    #[test]
    fn one_that_ended_is_told_and_one_that_could_not_be_asked_is_not() {
        let hangs = || anyhow::anyhow!("the engine hangs");
        let ended = said(Some("ended with exit code 101".into()), Err(hangs())).unwrap();
        assert!(matches!(ended, Said::Ended(how) if how == "ended with exit code 101"));
        let running = said(None, Err(hangs())).unwrap_err();
        assert!(running.to_string().contains("the engine hangs"), "{running}");
        let line = "refused http://own.a:8000/live".to_owned();
        let asked = said(None, Ok(vec![Answer { line }])).unwrap();
        assert!(matches!(asked, Said::Answer(answer) if !answer.open()));
    }

    #[test]
    fn what_a_loss_is_declared_to_do_is_what_readiness_must_say() {
        let answer = |line: &str| Answer { line: line.into() };
        let refused = answer("refused http://own.a:8000/ready status 503");
        let degraded = answer("open http://own.a:8000/ready 3ms degraded");
        assert!(says(OnLoss::NotReady, &refused) && !says(OnLoss::Degrade, &refused));
        assert!(says(OnLoss::Degrade, &degraded) && !says(OnLoss::NotReady, &degraded));
    }
}
