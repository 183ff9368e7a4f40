//! A bounded burst of requests, and what it leaves behind: memory, threads, descriptors.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::{Stream, StreamExt, stream};
use serde_json::json;

use super::serve::Live;
use super::{Boot, Found, http};
use crate::context::{Deadline, poll};
use crate::engine::{Container, Usage};
use crate::verdict::Check;

const REQUESTS: usize = 2000;
const AT_A_TIME: usize = 16;
const PATHS: [&str; 3] = ["/live", "/version", "/metrics"];
/// Descriptors that a service may hold more of after the burst than before it: an event queue, a pool's first.
const DESCRIPTORS_GAINED: u64 = 8;
/// How long the whole burst may take: some hundred times what a service needs for it.
const LIMIT: Duration = Duration::from_secs(60);
/// How long connections may take to close after the burst.
const CLOSING: Duration = Duration::from_secs(3);

impl Boot<'_> {
    /// Measures before a burst of requests and right after it.
    pub(super) async fn load(&self, container: &Container, live: &Live, found: &mut Found) -> Result<()> {
        let idle = self.engine.usage(container).await?;
        let begun = Instant::now();
        let failed = burst(live).await?;
        let took_ms = begun.elapsed().as_millis() as u64;
        let state = self.engine.state(container).await?;
        let loaded = self.engine.usage(container).await.unwrap_or_default();
        let after = self.once_closed(container, idle, loaded).await;
        for (when, usage) in [("idle", idle), ("loaded", loaded)] {
            let descriptors = if when == "idle" { idle.descriptors } else { after };
            let figures = [
                ("memory_bytes", usage.memory_bytes),
                ("threads", usage.threads),
                ("descriptors", descriptors),
            ];
            for (what, value) in figures {
                let value = value.map_or(json!("unknown"), |value| json!(value));
                found.figures.insert(format!("{when}_{what}"), value);
            }
        }
        let killed = !state.running || state.oom_killed;
        found.checks.push(answers(failed, took_ms));
        found
            .checks
            .push(memory(loaded.memory_bytes, killed, self.limits.memory_bytes));
        // Unknown is no verdict: the figures say so. A service that was killed has been judged already.
        if let (Some(before), Some(after), false) = (idle.descriptors, after, killed) {
            found.checks.push(descriptors(before, after));
        }
        Ok(())
    }

    /// The descriptors once the burst's connections are closed, or as many as are left in the end.
    async fn once_closed(&self, container: &Container, idle: Usage, loaded: Usage) -> Option<u64> {
        let allowed = idle.descriptors? + DESCRIPTORS_GAINED;
        let closed = poll(Deadline::within(CLOSING), Duration::from_millis(50), || async {
            let now = self.engine.usage(container).await.ok()?.descriptors?;
            (now <= allowed).then_some(now)
        });
        match closed.await {
            Some(now) => Some(now),
            None => self
                .engine
                .usage(container)
                .await
                .map_or(loaded.descriptors, |usage| usage.descriptors),
        }
    }
}

/// How many requests got no 200. The client goes with the burst, and its connections with it.
async fn burst(live: &Live) -> Result<usize> {
    let client = http()?;
    let requests = (0..REQUESTS).map(|number| {
        let request = client.get(live.url(PATHS[number % PATHS.len()]));
        async move {
            let answer = request.send().await.ok()?;
            let fine = answer.status() == 200;
            answer.bytes().await.ok().filter(|_| fine)
        }
    });
    Ok(REQUESTS - fine(stream::iter(requests), LIMIT).await)
}

/// How many of some requests were answered within the limit; the rest is given up.
async fn fine<T>(requests: impl Stream<Item: Future<Output = Option<T>>>, limit: Duration) -> usize {
    requests
        .buffer_unordered(AT_A_TIME)
        .take_until(tokio::time::sleep(limit))
        .filter(|answer| std::future::ready(answer.is_some()))
        .count()
        .await
}

fn answers(failed: usize, took_ms: u64) -> Check {
    if failed == 0 {
        let detail = format!("{REQUESTS} requests, {AT_A_TIME} at a time, in {took_ms} ms");
        return Check::passed("answers under load", detail);
    }
    Check::violated(
        "answers under load",
        format!(
            "{failed} of {REQUESTS} requests to {} got no 200 within {} s",
            PATHS.join(", "),
            LIMIT.as_secs()
        ),
        "see the log: it must answer 16 requests at a time within its memory",
    )
}

fn memory(bytes: Option<u64>, killed: bool, limit: i64) -> Check {
    let name = "memory under load";
    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let limit = limit.max(0) as u64;
    let hint = "bound what a request may hold, and give it back when the request ends";
    match bytes {
        _ if killed => {
            let detail = format!(
                "killed or ended under {REQUESTS} requests, with a limit of {}",
                mb(limit)
            );
            Check::violated(name, detail, hint)
        }
        Some(bytes) if bytes > limit / 10 * 9 => {
            let detail = format!(
                "{} after {REQUESTS} requests, of {} allowed",
                mb(bytes),
                mb(limit)
            );
            Check::violated(name, detail, hint)
        }
        Some(bytes) => Check::passed(name, format!("{} of {}", mb(bytes), mb(limit))),
        None => Check::undecided(name, "the engine gives no figure", "see `docker stats`"),
    }
}

fn descriptors(before: u64, after: u64) -> Check {
    if after <= before + DESCRIPTORS_GAINED {
        return Check::passed("descriptors", format!("{before} idle, {after} after the load"));
    }
    Check::violated(
        "descriptors",
        format!("{before} before {REQUESTS} requests, {after} after them"),
        "close what a request opens when it ends",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    #[test]
    fn a_leak_is_more_than_a_few() {
        assert_eq!(descriptors(9, 17).outcome, Outcome::Passed);
        assert_eq!(descriptors(9, 18).outcome, Outcome::Violated);
    }

    #[tokio::test]
    async fn a_service_that_stops_answering_holds_the_gate_for_a_while_only() {
        let requests = stream::iter(0..100).map(|number| async move {
            if number >= 30 {
                std::future::pending::<()>().await;
            }
            (number % 3 > 0).then_some(())
        });
        assert_eq!(fine(requests, Duration::from_millis(20)).await, 20);
    }

    #[test]
    fn memory_near_its_limit_or_a_killed_service_is_violated() {
        assert_eq!(memory(Some(50), false, 100).outcome, Outcome::Passed);
        assert_eq!(memory(Some(91), false, 100).outcome, Outcome::Violated);
        assert_eq!(memory(Some(1), true, 100).outcome, Outcome::Violated);
        assert_eq!(memory(None, false, 100).outcome, Outcome::Undecided);
    }
}
