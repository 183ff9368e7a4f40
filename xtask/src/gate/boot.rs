//! The boot gate: an image alone, without settings or stores, under the constraints of production
//! (read-only root, no capabilities, no new privileges, non-root, limits on memory and processes).

mod answers;
pub mod cis;
mod commands;
mod endings;
mod load;
mod serve;
mod traces;
mod unlive;

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use self::cis::Benchmark;
use self::serve::Started;
use crate::build::Built;
use crate::context::Context;
use crate::engine::{Container, ContainerSpec, Engine};
use crate::evidence::{self, Subject};
use crate::gate::lint::is_root;
use crate::gate::step;
use crate::hash;
use crate::plan::Limits;
use crate::verdict::{Check, Gate, Record};

/// How often a port is asked: short against a boot of some 200 ms.
const POLL_EVERY: Duration = Duration::from_millis(15);

/// What the verdict on one image is true of.
pub fn subject(
    context: &Context,
    engine: &Engine,
    image: &Built,
    limits: &Limits,
    benchmark: &Benchmark,
) -> Subject {
    let service = &image.plan.service;
    let settings = json!({
        "limits": limits, "port": service.port, "needs": service.needs, "on_loss": service.on_loss,
        "version": service.version, "benchmark": benchmark.policy,
        "dockerfile": hash::of(std::fs::read(context.root.join(service.dockerfile())).unwrap_or_default()),
        "compose": evidence::compose_files(&context.root),
        // Where it is not allowed, no check on descriptors is in the verdict.
        "counts_descriptors": std::fs::read_dir("/proc/1/fd").is_ok(),
    });
    let digest = [(service.name.clone(), image.digest.clone())];
    Subject::new(
        Gate::Boot,
        &service.name,
        digest,
        settings,
        vec![engine.identity(), evidence::compose_plugin()],
    )
}

/// Judges one image. Its containers are removed before this returns; where it is interrupted, the run's sweep
/// removes them.
pub async fn check(
    context: &Context,
    engine: &Engine,
    image: &Built,
    limits: &Limits,
    benchmark: &Benchmark,
) -> Result<Record> {
    let boot = Boot {
        context,
        engine,
        image,
        limits,
        http: http()?,
    };
    let mut found = Found::default();
    if let Some(facts) = engine.image(&image.reference).await? {
        context.witness.learn_env(facts.env.iter().map(String::as_str));
    }
    found.checks.push(non_root(&image.user));
    if let Some(missing) = boot.serve(&mut found).await? {
        boot.further_starts(&mut found).await?;
        found.checks.push(boot.writes_to_its_root().await?);
        found.checks.push(boot.secrets_in_the_log(&missing).await?);
    }
    found.checks.push(boot.malformed_settings().await?);
    found
        .checks
        .push(boot.answers_and_ends("--help", &image.plan.service.name).await?);
    found.checks.push(
        boot.answers_and_ends("--version", &image.plan.service.version)
            .await?,
    );
    boot.benchmark(benchmark, &mut found).await?;
    let reason = found
        .figures
        .get("first_answer_ms")
        .map_or(String::new(), |ms| format!("{ms} ms to the first answer"));
    let mut record = Record::from_checks(&image.plan.service.name, Gate::Boot, found.checks, reason);
    record.figures = found.figures;
    Ok(record)
}

/// What the gate found so far.
#[derive(Default)]
struct Found {
    checks: Vec<Check>,
    figures: serde_json::Map<String, Value>,
    /// Milliseconds from create, a value a start.
    first_answers_ms: Vec<u64>,
    ready_answers_ms: Vec<u64>,
}

struct Boot<'a> {
    context: &'a Context,
    engine: &'a Engine,
    image: &'a Built,
    limits: &'a Limits,
    http: reqwest::Client,
}

fn http() -> Result<reqwest::Client> {
    let builder = crate::http::client().no_proxy().timeout(Duration::from_secs(5));
    builder.build().context("cannot make an HTTP client")
}

fn non_root(user: &str) -> Check {
    let name = user.split(':').next().unwrap_or_default();
    if is_root(user) {
        let detail = if name.is_empty() {
            "the image names no user, so root".to_owned()
        } else {
            format!("user '{user}'")
        };
        return Check::violated(
            "runs as root",
            detail,
            "set `USER 65532:65532` in the last stage of its Dockerfile",
        );
    }
    Check::passed("non-root", format!("user {user}"))
}

impl Boot<'_> {
    fn spec(&self, purpose: &str) -> ContainerSpec {
        ContainerSpec {
            name: format!(
                "horme-{}-boot-{}-{purpose}",
                self.context.run_id, self.image.plan.service.name
            ),
            image: self.image.reference.clone(),
            run_id: self.context.run_id.clone(),
            memory_bytes: self.limits.memory_bytes,
            pids: self.limits.pids,
            ..Default::default()
        }
    }

    /// Creates a container of this gate, which is looked at before it goes.
    async fn create(&self, spec: &ContainerSpec) -> Result<Container> {
        let container = self.engine.create(spec).await?;
        let service = &self.image.plan.service.name;
        let beginning = format!("horme-{}-boot-{service}-", self.context.run_id);
        let purpose = spec.name.strip_prefix(&beginning).unwrap_or(&spec.name);
        self.context
            .witness
            .watch(Gate::Boot, service, purpose, &container);
        Ok(container)
    }

    async fn json(&self, url: &str) -> Result<(u16, Value)> {
        let answer = self.http.get(url).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await?))
    }

    /// Appends a container's log, without secrets, to the step's log; returns it as it came. A log that the engine does not give is no empty one.
    async fn keep_log(&self, container: &Container, purpose: &str) -> Result<String> {
        use std::io::Write;
        let log = self.engine.logs(container).await?;
        let path = self.context.log(&step(Gate::Boot, &self.image.plan.service.name));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        if let Ok(mut file) = file {
            let masked = self.context.witness.masked(&log);
            let _ = writeln!(file, "== {purpose}\n{masked}");
        }
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    #[test]
    fn root_by_any_name_is_refused() {
        for user in ["", "root", "0", "0:0", "root:root", "00", "000:1"] {
            assert_eq!(non_root(user).outcome, Outcome::Violated, "{user}");
        }
        assert_eq!(non_root("65532:65532").outcome, Outcome::Passed);
    }
}
