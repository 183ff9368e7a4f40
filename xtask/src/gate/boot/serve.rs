//! A service without any setting: it lives, answers, and ends when told.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::{Boot, POLL_EVERY};
use crate::context::{Deadline, poll};
use crate::engine::{Container, ContainerSpec};
use crate::process::last_lines;
use crate::verdict::Check;

impl Boot<'_> {
    /// The service without any setting: it lives, says what is missing, says who it is, and ends when told.
    pub(super) async fn serve(
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
        self.keep_log(&container, "serve").await;
        self.engine.remove(&container).await
    }

    /// Asks `/live` until it answers 200; the inner error is the check that says why it never did.
    pub(super) async fn until_live(&self, container: &Container) -> Result<Result<String, Check>> {
        let limit = Duration::from_millis(self.limits.boot_deadline_ms);
        let answered = poll(Deadline::within(limit), POLL_EVERY, || async {
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
        });
        let why = match answered.await {
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

    /// SIGTERM must end it with 0 in time.
    pub(super) async fn ends_when_told(
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
}
