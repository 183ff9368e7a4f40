//! A store lost and back: dependents do what their `on_loss` says, stay live, and recover without a restart.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;

use crate::catalogue::{OnLoss, Service};
use crate::context::Deadline;
use crate::stack::{Found, Stack, notices};
use crate::verdict::Check;

/// Stops one store, judges its dependents, starts it again, judges their recovery.
pub(super) async fn check(stack: &Stack<'_>, store: &str) -> Result<Found> {
    let dependents: Vec<&Service> = stack
        .services()
        .filter(|service| service.needs.iter().any(|need| need == store))
        .collect();
    let before = try_join_all(dependents.iter().map(|service| started_at(stack, service))).await?;
    let container = stack.container(store)?;
    stack.engine.stop(container, Duration::from_secs(20)).await?;
    let lost = try_join_all(dependents.iter().map(|service| lost(stack, service, store))).await?;
    stack.engine.start(container).await?;
    let deadline = Deadline::within(Duration::from_millis(stack.plan.limits.recovery_deadline_ms));
    let recovered = dependents.iter().zip(before).map(|(service, before)| async move {
        let why = stack.well_by(service, deadline).await?;
        let now = started_at(stack, service).await?;
        Ok::<_, anyhow::Error>(recovered(store, why, before == now))
    });
    let recovered = try_join_all(recovered).await?;
    let checks = lost
        .into_iter()
        .zip(recovered)
        .map(|(lost, recovered)| vec![lost, recovered]);
    Ok(dependents
        .iter()
        .map(|service| service.name.clone())
        .zip(checks)
        .collect())
}

async fn started_at(stack: &Stack<'_>, service: &Service) -> Result<String> {
    let container = stack.container(&service.name)?;
    Ok(stack.engine.state(container).await?.started_at)
}

async fn lost(stack: &Stack<'_>, service: &Service, store: &str) -> Result<Check> {
    let name = format!("without {store}");
    let wrong = notices(stack, service, store).await?;
    let unlive = stack.unlive(service).await?;
    let word = match service.on_loss.get(store).copied().unwrap_or(OnLoss::NotReady) {
        OnLoss::NotReady => "not ready",
        OnLoss::Degrade => "ready, degraded",
    };
    Ok(match (wrong, unlive) {
        (_, Some(why)) => Check::violated(
            name,
            format!("no longer live: {why}"),
            "liveness is about the process alone",
        ),
        (None, None) => Check::passed(name, format!("{word}, and live")),
        (Some(line), None) => Check::violated(
            name,
            format!("should be {word}: {line}"),
            "make on_loss in its Cargo.toml true",
        ),
    })
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
