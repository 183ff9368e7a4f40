//! Why a service never lived: tried once more with one constraint spared at a time.

use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpStream;

use super::{Boot, Started};
use crate::engine::{Constraint, Container, ContainerSpec};
use crate::exit::Failure;
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

/// A port that is open on 127.0.0.1 inside its container; `own`: on its network's address too.
#[derive(Debug, PartialEq, Eq)]
struct Open {
    own: bool,
}

/// Reads what a probe said of 127.0.0.1 and of the own address.
fn told(said: &str, targets: &[String; 2]) -> Option<Open> {
    let [local, own] = targets.each_ref().map(|target| {
        let mut words = said.lines().map(|line| line.split_whitespace());
        words.any(|mut words| words.next() == Some("open") && words.next() == Some(target))
    });
    (local || own).then_some(Open { own })
}

impl Boot<'_> {
    /// The check on a service that never answered: what became of it, and what it lacked.
    pub(super) async fn never_live(&self, container: &Container, why: &str) -> Result<Check> {
        let lacked = match self.open_inside(container).await {
            Some(Open { own: false }) => {
                Some("listens on 127.0.0.1 only: it answers inside its container".to_owned())
            }
            Some(Open { own: true }) => {
                self.reached(container).await?;
                self.needs().await?
            }
            None => self.needs().await?,
        };
        let log = self.engine.logs(container).await.unwrap_or_default();
        let log = self.context.witness.masked(&log);
        let lacked = lacked.map_or(String::new(), |lacked| format!("{lacked}; "));
        let detail = format!("{lacked}{why}\n{}", last_lines(&log, 5));
        Ok(Check::violated(
            "never live",
            detail.trim_end(),
            "`docker run` the image by hand; see the log",
        ))
    }

    /// What its own `probe` finds from inside; `None` where the port is not open there, or nothing can be told.
    async fn open_inside(&self, container: &Container) -> Option<Open> {
        let state = self.engine.state(container).await.ok()?;
        if !state.running {
            return None;
        }
        let (_, own) = state.addresses.first()?;
        let port = self.image.plan.service.port;
        let targets = [format!("tcp://127.0.0.1:{port}"), format!("tcp://{own}:{port}")];
        let command = [&state.program, "probe", "--timeout-ms", "1000"].map(str::to_owned);
        let command = command.into_iter().chain(targets.clone()).collect();
        let said = self.engine.exec(container, command).await.ok()?;
        told(&said, &targets)
    }

    /// Whether the port that the engine publishes can be reached from here at all.
    async fn reached(&self, container: &Container) -> Result<()> {
        let port = self.engine.state(container).await?.host_port;
        let published = self.engine.published()?;
        let connecting = TcpStream::connect((published, port.unwrap_or_default()));
        match tokio::time::timeout(TRIAL, connecting).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Failure::undecided(
                format!("the service listens, but the port that the engine publishes on its {published} cannot be reached from here"),
                "let its machine be reached on all ports, or run there: the boot gate asks services from outside",
            )
            .into()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_listens_on_its_own_address_or_on_the_local_one_alone() {
        let targets = ["tcp://127.0.0.1:8000", "tcp://172.17.0.2:8000"].map(str::to_owned);
        let told = |said: &str| told(said, &targets);
        let both = "open tcp://127.0.0.1:8000 1ms\nopen tcp://172.17.0.2:8000 1ms\n";
        assert_eq!(told(both), Some(Open { own: true }));
        let local = "open tcp://127.0.0.1:8000 1ms\nrefused tcp://172.17.0.2:8000\n";
        assert_eq!(told(local), Some(Open { own: false }));
        assert_eq!(told("refused tcp://127.0.0.1:8000\n"), None);
        assert_eq!(told("open tcp://127.0.0.1:80 1ms\n"), None);
    }
}
