//! What a binary does besides serving: malformed settings end it, `--help` and `--version` answer.

use std::time::Duration;

use anyhow::Result;

use super::Boot;
use crate::engine::ContainerSpec;
use crate::process::last_lines;
use crate::verdict::Check;

impl Boot<'_> {
    /// Malformed settings must end it with 78, each fault named.
    pub(super) async fn malformed_settings(&self) -> Result<Check> {
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

    pub(super) async fn answers_and_ends(&self, flag: &str, expected: &str) -> Result<Check> {
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
            last_lines(&self.context.witness.masked(&log), 3)
        );
        Ok(Check::violated(
            flag,
            detail.trim_end(),
            format!("`{flag}` must print what the binary is and end with 0"),
        ))
    }

    /// Runs a container to its end: exit code (`None`: still running at the deadline) and log. One that ends without
    /// a word is run once more: a busy engine was seen to lose the words of a program that ends at once.
    async fn to_the_end(&self, spec: &ContainerSpec, purpose: &str) -> Result<(Option<i64>, String)> {
        let (code, log) = self.run_once(spec, purpose).await?;
        if code.is_none() || !log.is_empty() {
            return Ok((code, log));
        }
        let again = ContainerSpec {
            name: format!("{}-again", spec.name),
            ..spec.clone()
        };
        self.run_once(&again, &format!("{purpose}, again")).await
    }

    async fn run_once(&self, spec: &ContainerSpec, purpose: &str) -> Result<(Option<i64>, String)> {
        let container = self.create(spec).await?;
        if let Err(why) = self.engine.try_start(&container).await? {
            self.finish(&container, purpose).await?;
            // As a shell says of a command that cannot be run.
            return Ok((Some(127), why));
        }
        let limit = Duration::from_millis(self.limits.stop_deadline_ms);
        let code = self.until_ended(&container, limit).await?;
        Ok((code, self.finish(&container, purpose).await?))
    }
}
