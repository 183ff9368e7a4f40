//! A store lost and back: dependents do what their `on_loss` says, stay live, and recover without a restart.

use std::time::Duration;

use anyhow::Result;

use super::Found;
use super::stack::{Stack, ready_url};
use crate::catalogue::{OnLoss, Service};
use crate::context::{Deadline, poll};
use crate::verdict::Check;

/// How long a dependent may take to notice: a round of its background checks and one question's patience.
const NOTICE: Duration = Duration::from_secs(15);
/// How often a dependent that should stay ready is asked while the store is away.
const SAMPLES: usize = 5;

/// Stops one store, judges its dependents, starts it again, judges their recovery.
pub(super) async fn check(stack: &Stack<'_>, store: &str) -> Result<Found> {
    let dependents: Vec<&Service> = stack
        .services()
        .filter(|service| service.needs.iter().any(|need| need == store))
        .collect();
    let mut before = Vec::new();
    for service in &dependents {
        before.push(
            stack
                .engine
                .state(stack.container(&service.name)?)
                .await?
                .started_at,
        );
    }
    let container = stack.container(store)?;
    stack.engine.stop(container, Duration::from_secs(20)).await?;
    let mut found = Found::new();
    for service in &dependents {
        let effect = service.on_loss.get(store).copied().unwrap_or(OnLoss::NotReady);
        found.insert(
            service.name.clone(),
            vec![lost(stack, service, store, effect).await?],
        );
    }
    stack.engine.start(container).await?;
    let deadline = Deadline::within(Duration::from_millis(stack.plan.limits.recovery_deadline_ms));
    for (service, started_at) in dependents.iter().zip(before) {
        let why = stack.ready_by(service, deadline).await?;
        let now = stack
            .engine
            .state(stack.container(&service.name)?)
            .await?
            .started_at;
        found
            .entry(service.name.clone())
            .or_default()
            .push(recovered(store, why, started_at == now));
    }
    Ok(found)
}

async fn lost(stack: &Stack<'_>, service: &Service, store: &str, effect: OnLoss) -> Result<Check> {
    let name = format!("without {store}");
    let live = format!("http://own.{}:{}/live", service.name, service.port);
    let targets = [ready_url(service), live];
    let noticed = match effect {
        OnLoss::NotReady => poll(Deadline::within(NOTICE), Duration::from_millis(200), || async {
            let answers = stack.probe(&service.name, &targets).await.ok()?;
            answers[0].line.contains("status 503").then_some(())
        })
        .await
        .is_some(),
        OnLoss::Degrade => stays_ready(stack, service, &targets).await?,
    };
    let answers = stack.probe(&service.name, &targets).await?;
    // While the engine was away nobody could ask: the last answer counts too.
    let as_declared = noticed || (effect == OnLoss::NotReady && answers[0].line.contains("status 503"));
    let word = match effect {
        OnLoss::NotReady => "not ready",
        OnLoss::Degrade => "ready, degraded",
    };
    Ok(if !answers[1].open() {
        Check::violated(
            name,
            format!("no longer live: {}", answers[1].line),
            "liveness is about the process alone",
        )
    } else if as_declared {
        Check::passed(name, format!("{word}, and live"))
    } else {
        Check::violated(
            name,
            format!("should be {word}: {}", answers[0].line),
            "make on_loss in its Cargo.toml true",
        )
    })
}

/// Ready in every sample of a few seconds, long enough to have noticed the loss.
async fn stays_ready(stack: &Stack<'_>, service: &Service, targets: &[String]) -> Result<bool> {
    for _ in 0..SAMPLES {
        if !stack.probe(&service.name, targets).await?[0].open() {
            return Ok(false);
        }
        tokio::time::sleep(NOTICE / (3 * SAMPLES as u32)).await;
    }
    Ok(true)
}

fn recovered(store: &str, why_not: Option<String>, same_process: bool) -> Check {
    let name = format!("{store} is back");
    match why_not {
        Some(why) => Check::violated(name, why, "reconnect with backoff, for ever"),
        None if !same_process => {
            Check::violated(name, "recovered by a restart", "recover inside the process")
        }
        None => Check::passed(name, "ready again without a restart"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    #[test]
    fn a_restart_is_no_recovery() {
        assert_eq!(recovered("postgres", None, true).outcome, Outcome::Passed);
        assert_eq!(recovered("postgres", None, false).outcome, Outcome::Violated);
        assert_eq!(
            recovered("postgres", Some("not ready".into()), true).outcome,
            Outcome::Violated
        );
    }
}
