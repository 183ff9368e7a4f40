//! Why a service never lived: tried once more with one constraint spared at a time.

use std::time::Duration;

use anyhow::Result;

use super::{Boot, Started};
use crate::engine::{Constraint, Container, ContainerSpec};
use crate::process::last_lines;
use crate::verdict::Check;

/// How long each trial may take: a service that only lacked something lives in a fraction of it.
const TRIAL: Duration = Duration::from_secs(3);

/// What it needs -> what is spared, and by which factor its memory grows. In this order: the last two contain
/// others, so they count only where no single one helps.
const TRIALS: [(&str, &[Constraint], i64); 6] = [
    ("a writable root", &[Constraint::ReadOnlyRoot], 1),
    ("more memory", &[], 4),
    ("a capability", &[Constraint::NoCapabilities], 1),
    ("new privileges", &[Constraint::NoNewPrivileges], 1),
    ("root", &[Constraint::NonRoot], 1),
    // A process that is not root holds no capability that its container has.
    (
        "a capability",
        &[Constraint::NonRoot, Constraint::NoCapabilities],
        1,
    ),
];

impl Boot<'_> {
    /// The check on a service that never answered: what became of it, and what it lacked.
    pub(super) async fn never_live(&self, container: &Container, why: &str) -> Result<Check> {
        let lacked = if self.answers_inside(container).await {
            Some("listens on 127.0.0.1 only: it answers inside its container".to_owned())
        } else {
            self.needs().await?
        };
        let log = self.engine.logs(container).await.unwrap_or_default();
        let lacked = lacked.map_or(String::new(), |lacked| format!("{lacked}; "));
        let detail = format!("{lacked}{why}\n{}", last_lines(&log, 5));
        Ok(Check::violated(
            "never live",
            detail.trim_end(),
            "`docker run` the image by hand; see the log",
        ))
    }

    /// Whether its own `probe` finds the port open from inside, where nothing outside does.
    async fn answers_inside(&self, container: &Container) -> bool {
        let Ok(state) = self.engine.state(container).await else {
            return false;
        };
        if !state.running {
            return false;
        }
        let target = format!("tcp://127.0.0.1:{}", self.image.plan.service.port);
        let command = [state.program.as_str(), "probe", "--timeout-ms", "1000", &target];
        let said = self
            .engine
            .exec(container, command.map(str::to_owned).to_vec())
            .await;
        said.is_ok_and(|said| said.starts_with("open "))
    }

    /// The first constraint that it lives without.
    async fn needs(&self) -> Result<Option<String>> {
        for (index, (needed, spared, memory)) in TRIALS.into_iter().enumerate() {
            let purpose = format!("trial-{index}");
            let spec = ContainerSpec {
                spared: spared.to_vec(),
                memory_bytes: self.limits.memory_bytes * memory,
                ..self.spec(&purpose)
            };
            let Started { container, live } = self.begin(spec, TRIAL).await?;
            self.finish(&container, &purpose).await?;
            if live.is_ok() {
                return Ok(Some(format!("needs {needed}: lives with it")));
            }
        }
        Ok(None)
    }
}
