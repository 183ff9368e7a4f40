//! The boot gate: an image alone, without settings or stores, under the constraints of production
//! (read-only root, no capabilities, no new privileges, non-root, limits on memory and processes).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::build::Built;
use crate::catalogue::OnLoss;
use crate::context::{Context, Deadline, poll};
use crate::engine::{Container, ContainerSpec, Engine};
use crate::evidence::Subject;
use crate::gate::step;
use crate::plan::Limits;
use crate::process::last_lines;
use crate::verdict::{Check, Gate, Record};

/// How often a port is asked: short against a boot of some 200 ms.
const POLL_EVERY: Duration = Duration::from_millis(15);

/// What the verdict on one image is true of.
pub fn subject(engine: &Engine, image: &Built, limits: &Limits) -> Subject {
    let service = &image.plan.service;
    let settings = json!({
        "limits": limits, "port": service.port, "needs": service.needs, "on_loss": service.on_loss,
        "version": service.version,
    });
    let digest = [(service.name.clone(), image.digest.clone())];
    Subject::new(
        Gate::Boot,
        &service.name,
        digest,
        settings,
        vec![engine.identity()],
    )
}

/// Judges one image. Its containers are removed before this returns; where it is interrupted, the run's sweep
/// removes them.
pub async fn check(context: &Context, engine: &Engine, image: &Built, limits: &Limits) -> Result<Record> {
    let boot = Boot {
        context,
        engine,
        image,
        limits,
        http: http()?,
    };
    let mut checks = vec![non_root(&image.user)];
    let mut figures = serde_json::Map::new();
    boot.serve(&mut checks, &mut figures).await?;
    checks.push(boot.malformed_settings().await?);
    checks.push(boot.answers_and_ends("--help", &image.plan.service.name).await?);
    checks.push(
        boot.answers_and_ends("--version", &image.plan.service.version)
            .await?,
    );
    let reason = figures
        .get("first_answer_ms")
        .map_or(String::new(), |ms| format!("{ms} ms to the first answer"));
    let mut record = Record::from_checks(&image.plan.service.name, Gate::Boot, checks, reason);
    record.figures = figures;
    Ok(record)
}

struct Boot<'a> {
    context: &'a Context,
    engine: &'a Engine,
    image: &'a Built,
    limits: &'a Limits,
    http: reqwest::Client,
}

fn http() -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5));
    builder.build().context("cannot make an HTTP client")
}

fn non_root(user: &str) -> Check {
    let name = user.split(':').next().unwrap_or_default();
    if matches!(name, "" | "root" | "0") {
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

    /// The service without any setting: it lives, says what is missing, says who it is, and ends when told.
    async fn serve(
        &self,
        checks: &mut Vec<Check>,
        figures: &mut serde_json::Map<String, Value>,
    ) -> Result<()> {
        let spec = ContainerSpec {
            publish: Some(self.image.plan.service.port),
            ..self.spec("serve")
        };
        let begun = Instant::now();
        let container = self.engine.create(&spec).await?;
        self.engine.start(&container).await?;
        let live = self.until_live(&container).await?;
        match live {
            Ok(base) => {
                let first_answer_ms = begun.elapsed().as_millis() as u64;
                figures.insert("first_answer_ms".into(), first_answer_ms.into());
                checks.push(Check::passed(
                    "live",
                    format!("{first_answer_ms} ms from create to the first answer"),
                ));
                checks.push(self.ready(&base).await);
                checks.push(self.identity(&base).await);
                if let Some(bytes) = self.engine.memory_bytes(&container).await? {
                    figures.insert("idle_memory_bytes".into(), bytes.into());
                }
                checks.push(self.ends_when_told(&container, figures).await?);
            }
            Err(check) => checks.push(check),
        }
        self.keep_log(&container, "serve").await?;
        self.engine.remove(&container).await
    }

    /// Asks `/live` until it answers 200; the inner error is the check that says why it never did.
    async fn until_live(&self, container: &Container) -> Result<Result<String, Check>> {
        let limit = Duration::from_millis(self.limits.boot_deadline_ms);
        let ask = async || {
            let state = match self.engine.state(container).await {
                Ok(state) => state,
                Err(error) => return Some(Err(error)),
            };
            if !state.running {
                let memory = if state.oom_killed { ", out of memory" } else { "" };
                return Some(Ok(Err(format!(
                    "ended with exit code {}{memory}",
                    state.exit_code.unwrap_or(-1)
                ))));
            }
            let base = format!("http://127.0.0.1:{}", state.host_port?);
            let answer = self.http.get(format!("{base}/live")).send().await.ok()?;
            answer.status().is_success().then_some(Ok(Ok(base)))
        };
        let answered = match poll(Deadline::within(limit), POLL_EVERY, &ask).await {
            // An engine that hung until the deadline kept us from seeing the service: it is asked once more.
            None => ask().await,
            answered => answered,
        };
        let why = match answered {
            Some(Ok(Ok(base))) => return Ok(Ok(base)),
            Some(Err(error)) => return Err(error),
            Some(Ok(Err(why))) => why,
            None => format!(
                "no 200 from /live on port {} within {} s",
                self.image.plan.service.port,
                limit.as_secs()
            ),
        };
        let log = self.engine.logs(container).await.unwrap_or_default();
        let detail = format!("{why}\n{}", last_lines(&log, 5));
        Ok(Err(Check::violated(
            "never live",
            detail.trim_end(),
            "`docker run` the image by hand; see the log",
        )))
    }

    /// Without its stores it must not claim to be ready, and must name what is missing.
    async fn ready(&self, base: &str) -> Check {
        let (status, body) = match self.json(&format!("{base}/ready")).await {
            Ok(answer) => answer,
            Err(error) => {
                return Check::undecided("ready", format!("/ready gave no JSON: {error:#}"), "see the log");
            }
        };
        let on_loss = &self.image.plan.service.on_loss;
        let required: Vec<&String> = on_loss
            .iter()
            .filter(|(_, effect)| **effect == OnLoss::NotReady)
            .map(|(store, _)| store)
            .collect();
        judge_ready(status, &body, &required)
    }

    /// The binary must be the one that the labels speak of.
    async fn identity(&self, base: &str) -> Check {
        let label = |name: &str| {
            self.image
                .labels
                .get(&format!("org.opencontainers.image.{name}"))
                .cloned()
        };
        let (version, revision) = (label("version"), label("revision"));
        let body = match self.json(&format!("{base}/version")).await {
            Ok((_, body)) => body,
            Err(error) => {
                return Check::undecided(
                    "identity",
                    format!("/version gave no JSON: {error:#}"),
                    "see the log",
                );
            }
        };
        judge_identity(&body, version.as_deref(), revision.as_deref())
    }

    /// SIGTERM must end it with 0 in time.
    async fn ends_when_told(
        &self,
        container: &Container,
        figures: &mut serde_json::Map<String, Value>,
    ) -> Result<Check> {
        let begun = Instant::now();
        let grace = Duration::from_millis(self.limits.stop_deadline_ms);
        self.engine.stop(container, grace).await?;
        let took_ms = begun.elapsed().as_millis() as u64;
        figures.insert("stop_ms".into(), took_ms.into());
        let code = self.engine.state(container).await?.exit_code.unwrap_or(-1);
        Ok(match code {
            0 => Check::passed("ends on SIGTERM", format!("exit code 0 after {took_ms} ms")),
            137 => Check::violated(
                "ends on SIGTERM",
                format!("had to be killed after {} s", grace.as_secs()),
                "handle SIGTERM: stop accepting, finish what is in flight, exit 0",
            ),
            other => Check::violated(
                "ends on SIGTERM",
                format!("exit code {other} instead of 0"),
                "exit 0 when told to end",
            ),
        })
    }

    /// Malformed settings must end it with 78, each fault named.
    async fn malformed_settings(&self) -> Result<Check> {
        let faults = ["PORT=not-a-port", "DRAIN_TIMEOUT=soon"];
        let spec = ContainerSpec {
            env: faults.map(str::to_owned).to_vec(),
            ..self.spec("malformed")
        };
        let (code, log) = self.to_the_end(&spec, "malformed").await?;
        let unnamed: Vec<&str> = faults
            .iter()
            .filter_map(|fault| fault.split('=').next())
            .filter(|name| !log.contains(name))
            .collect();
        Ok(match code {
            Some(78) if unnamed.is_empty() => {
                Check::passed("malformed settings", "exit code 78, every fault named")
            }
            Some(78) => Check::violated(
                "malformed settings",
                format!("exit code 78 without a word on {}", unnamed.join(", ")),
                "report all faults at once, a line each",
            ),
            Some(code) => Check::violated(
                "malformed settings",
                format!("exit code {code} instead of 78 for {}", faults.join(" ")),
                "refuse malformed settings at the start with exit code 78",
            ),
            None => Check::violated(
                "malformed settings",
                format!(
                    "still running after {} s with {}",
                    self.limits.stop_deadline_ms / 1000,
                    faults.join(" ")
                ),
                "refuse malformed settings at the start with exit code 78",
            ),
        })
    }

    async fn answers_and_ends(&self, flag: &str, expected: &str) -> Result<Check> {
        let purpose = flag.trim_start_matches('-');
        let spec = ContainerSpec {
            command: vec![flag.to_owned()],
            ..self.spec(purpose)
        };
        let (code, log) = self.to_the_end(&spec, purpose).await?;
        if code == Some(0) && log.contains(expected) {
            return Ok(Check::passed(flag, "exit code 0"));
        }
        let ended = code.map_or("did not end".to_owned(), |code| format!("ended with {code}"));
        let detail = format!(
            "{ended}; expected 0 and '{expected}' in:\n{}",
            last_lines(&log, 3)
        );
        Ok(Check::violated(
            flag,
            detail.trim_end(),
            format!("`{flag}` must print what the binary is and end with 0"),
        ))
    }

    /// Runs a container to its end: exit code (`None`: still running at the deadline) and log.
    async fn to_the_end(&self, spec: &ContainerSpec, purpose: &str) -> Result<(Option<i64>, String)> {
        let container = self.engine.create(spec).await?;
        self.engine.start(&container).await?;
        let deadline = Deadline::within(Duration::from_millis(self.limits.stop_deadline_ms));
        let ended = poll(deadline, POLL_EVERY, || async {
            // An engine that does not answer is no service that does not end.
            match self.engine.state(&container).await {
                Ok(state) => (!state.running).then_some(Ok(state.exit_code)),
                Err(error) => Some(Err(error)),
            }
        });
        let code = match ended.await.transpose()? {
            Some(code) => code,
            None => {
                let state = self.engine.state(&container).await?;
                state.exit_code.filter(|_| !state.running)
            }
        };
        let log = self.keep_log(&container, purpose).await?;
        self.engine.remove(&container).await?;
        Ok((code, log))
    }

    async fn json(&self, url: &str) -> Result<(u16, Value)> {
        let answer = self.http.get(url).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await?))
    }

    /// Appends a container's log to the step's log; returns it. A log that the engine does not give is no empty one.
    async fn keep_log(&self, container: &Container, purpose: &str) -> Result<String> {
        use std::io::Write;
        let log = self.engine.logs(container).await?;
        let path = self.context.log(&step(Gate::Boot, &self.image.plan.service.name));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        if let Ok(mut file) = file {
            let _ = writeln!(file, "== {purpose}\n{log}");
        }
        Ok(log)
    }
}

fn judge_ready(status: u16, body: &Value, required: &[&String]) -> Check {
    let hint =
        "readiness is /ready: 503 with `checks.<store>.state` and `missing` while something needed is absent";
    let up = |store: &&&String| body["checks"][store.as_str()]["state"] == "up";
    let unnamed = |store: &&&String| body["checks"].get(store.as_str()).is_none();
    if let Some(store) = required.iter().find(up) {
        return Check::violated(
            "ready",
            format!("says that {store} is up, where there is none"),
            hint,
        );
    }
    if status == 200 && !required.is_empty() {
        let stores: Vec<&str> = required.iter().map(|store| store.as_str()).collect();
        return Check::violated(
            "ready without its store",
            format!("200 without {}", stores.join(", ")),
            hint,
        );
    }
    if let Some(store) = required.iter().find(unnamed) {
        return Check::violated("ready", format!("{status} without a word on {store}"), hint);
    }
    let missing = body["missing"].as_array().map_or(0, Vec::len);
    match status {
        200 => Check::passed("ready", "needs nothing, and is ready"),
        503 if missing > 0 || !required.is_empty() => {
            Check::passed("ready", format!("503, names {}", named(body)))
        }
        503 => Check::violated("ready", "503 without naming what is missing", hint),
        other => Check::violated("ready", format!("status {other}, expected 503 or 200"), hint),
    }
}

fn named(body: &Value) -> String {
    let missing = body["missing"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let names: Vec<&str> = missing.collect();
    if names.is_empty() {
        "its stores".to_owned()
    } else {
        names.join(", ")
    }
}

fn judge_identity(body: &Value, version: Option<&str>, revision: Option<&str>) -> Check {
    let hint = "the binary in the image is not the one that its labels speak of: build it again";
    let (Some(version), Some(revision)) = (version, revision) else {
        let detail = "the image has no org.opencontainers.image.version and .revision";
        return Check::violated(
            "identity",
            detail,
            "set both labels in the last stage of its Dockerfile",
        );
    };
    for (name, expected) in [("version", version), ("revision", revision)] {
        let found = body[name].as_str().unwrap_or("nothing");
        if found != expected {
            return Check::violated(
                "identity",
                format!("reports {name} {found}, its label says {expected}"),
                hint,
            );
        }
    }
    Check::passed(
        "identity",
        format!(
            "version {version}, revision {}",
            revision.chars().take(12).collect::<String>()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;
    use serde_json::json;

    #[test]
    fn readiness_without_a_store_must_be_refused_and_must_name_it() {
        let postgres = "postgres".to_owned();
        let required = [&postgres];
        let down = json!({"checks": {"postgres": {"state": "unconfigured"}}, "missing": ["DATABASE_URL"]});
        assert_eq!(judge_ready(503, &down, &required).outcome, Outcome::Passed);
        assert_eq!(judge_ready(200, &down, &required).name, "ready without its store");
        assert_eq!(
            judge_ready(503, &json!({"missing": ["X"]}), &required).outcome,
            Outcome::Violated
        );
        let up = json!({"checks": {"postgres": {"state": "up"}}});
        assert_eq!(judge_ready(503, &up, &required).outcome, Outcome::Violated);
    }

    #[test]
    fn a_service_without_stores_may_be_ready_or_name_a_setting() {
        assert_eq!(judge_ready(200, &json!({}), &[]).outcome, Outcome::Passed);
        assert_eq!(
            judge_ready(503, &json!({"missing": ["GATEWAY_URL"]}), &[]).outcome,
            Outcome::Passed
        );
        assert_eq!(
            judge_ready(503, &json!({"missing": []}), &[]).outcome,
            Outcome::Violated
        );
        assert_eq!(judge_ready(500, &json!({}), &[]).outcome, Outcome::Violated);
    }

    #[test]
    fn a_stale_binary_is_caught_by_its_revision() {
        let body = json!({"version": "0.1.0", "revision": "abc"});
        assert_eq!(
            judge_identity(&body, Some("0.1.0"), Some("abc")).outcome,
            Outcome::Passed
        );
        assert_eq!(
            judge_identity(&body, Some("0.1.0"), Some("def")).outcome,
            Outcome::Violated
        );
        assert_eq!(
            judge_identity(&body, Some("0.2.0"), Some("abc")).outcome,
            Outcome::Violated
        );
        assert_eq!(judge_identity(&body, None, None).outcome, Outcome::Violated);
    }

    #[test]
    fn root_by_any_name_is_refused() {
        for user in ["", "root", "0", "0:0", "root:root"] {
            assert_eq!(non_root(user).outcome, Outcome::Violated, "{user}");
        }
        assert_eq!(non_root("65532:65532").outcome, Outcome::Passed);
    }
}
