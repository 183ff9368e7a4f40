//! A service without any setting: it lives, answers, and ends when told; several times, for the figures.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{Boot, Found, POLL_EVERY};
use crate::context::{Deadline, poll};
use crate::engine::{Container, ContainerSpec};
use crate::verdict::Check;

/// Starts that are timed, all under the same constraints.
const STARTS: usize = 5;

/// A container that was started, and whether it came to life; if not, what became of it.
pub(super) struct Started {
    pub container: Container,
    pub live: Result<Live, String>,
}

/// A service that answered.
pub(super) struct Live {
    /// Where its published port is asked.
    pub address: SocketAddr,
    pub first_answer_ms: u64,
}

impl Live {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Boot<'_> {
    /// Creates and starts the service, and waits until it lives or `limit` has passed.
    pub(super) async fn begin(&self, spec: ContainerSpec, limit: Duration) -> Result<Started> {
        let spec = ContainerSpec {
            publish: Some(self.image.plan.service.port),
            ..spec
        };
        let begun = Instant::now();
        let container = self.create(&spec).await?;
        let live = match self.engine.try_start(&container).await? {
            Ok(()) => self.until_live(&container, limit).await?,
            Err(why) => Err(why),
        };
        let live = live.map(|address| Live {
            address,
            first_answer_ms: begun.elapsed().as_millis() as u64,
        });
        Ok(Started { container, live })
    }

    pub(super) fn boot_limit(&self) -> Duration {
        Duration::from_millis(self.limits.boot_deadline_ms)
    }

    /// Keeps its log and takes it away.
    pub(super) async fn finish(&self, container: &Container, purpose: &str) -> Result<String> {
        let log = self.keep_log(container, purpose).await?;
        self.context.witness.look(self.engine, container, &log).await;
        self.engine.remove(container).await?;
        Ok(log)
    }

    /// The first start: it lives, says what is missing, says who it is, bears a load, and ends when told.
    /// Returns the settings that it says are missing; `None` where it never lived.
    pub(super) async fn serve(&self, found: &mut Found) -> Result<Option<Vec<String>>> {
        let begun = Instant::now();
        let Started { container, live } = self.begin(self.spec("serve"), self.boot_limit()).await?;
        let live = match live {
            Ok(live) => live,
            Err(why) => {
                found.checks.push(self.never_live(&container, &why).await?);
                self.finish(&container, "serve").await?;
                return Ok(None);
            }
        };
        let ms = live.first_answer_ms;
        found.checks.push(Check::passed(
            "live",
            format!("{ms} ms from create to the first answer"),
        ));
        self.time(&live, begun, found).await;
        let (ready, missing) = self.ready(&live).await;
        found.checks.push(ready);
        found.checks.push(self.identity(&live).await);
        self.load(&container, &live, found).await?;
        let ended = self.ends_when_told(&container, found).await?;
        found.checks.push(ended);
        self.finish(&container, "serve").await?;
        Ok(Some(missing))
    }

    /// More starts of the same, each timed; two of them end in a way of their own.
    pub(super) async fn further_starts(&self, found: &mut Found) -> Result<()> {
        for start in 1..STARTS {
            let purpose = format!("start-{start}");
            let begun = Instant::now();
            let Started { container, live } = self.begin(self.spec(&purpose), self.boot_limit()).await?;
            let live = match live {
                Ok(live) => live,
                Err(why) => {
                    let hint = "it lived at its first start: make starting depend on nothing that changes";
                    found
                        .checks
                        .push(Check::violated("lives at every start", why, hint));
                    self.finish(&container, &purpose).await?;
                    return Ok(());
                }
            };
            self.time(&live, begun, found).await;
            match start {
                1 => found.checks.push(self.in_flight(&container, &live).await?),
                2 => found
                    .checks
                    .push(self.restart_after_sigkill(&container, &live).await?),
                _ => {}
            }
            self.finish(&container, &purpose).await?;
        }
        times(found);
        Ok(())
    }

    /// Asks until the port answers `/live` with 200: where that was, or what became of the service instead.
    pub(super) async fn until_live(
        &self,
        container: &Container,
        limit: Duration,
    ) -> Result<Result<SocketAddr, String>> {
        let published = self.engine.published()?;
        // The status of the last answer; 0: none.
        let status = AtomicU16::new(0);
        let ask = async || {
            let state = match self.engine.state(container).await {
                Ok(state) => state,
                Err(error) => return Some(Err(error)),
            };
            if !state.running {
                let memory = if state.oom_killed { ", out of memory" } else { "" };
                let code = state.exit_code.unwrap_or(-1);
                return Some(Ok(Err(format!("ended with exit code {code}{memory}"))));
            }
            let address = SocketAddr::new(published, state.host_port?);
            let asked = self.http.get(format!("http://{address}/live"));
            let answer = asked.send().await.ok()?;
            status.store(answer.status().as_u16(), Ordering::Relaxed);
            answer.status().is_success().then_some(Ok(Ok(address)))
        };
        let answered = match poll(Deadline::within(limit), POLL_EVERY, &ask).await {
            // An engine that hung until the deadline kept us from seeing the service: it is asked once more.
            None => ask().await,
            answered => answered,
        };
        answered.unwrap_or_else(|| {
            let port = self.image.plan.service.port;
            let last = match status.load(Ordering::Relaxed) {
                0 => String::new(),
                status => format!(", which answers {status}"),
            };
            Ok(Err(format!(
                "no 200 from /live on port {port}{last} within {} s",
                limit.as_secs()
            )))
        })
    }

    /// Notes when it first answered, and when `/ready` did: with 200, or with a 503 that names something.
    async fn time(&self, live: &Live, begun: Instant, found: &mut Found) {
        found.first_answers_ms.push(live.first_answer_ms);
        let answered = poll(Deadline::within(Duration::from_secs(1)), POLL_EVERY, || async {
            let (status, body) = self.json(&live.url("/ready")).await.ok()?;
            let names = body["missing"].is_array() || body["checks"].is_object();
            (status == 200 || status == 503 && names).then_some(())
        });
        if answered.await.is_some() {
            found.ready_answers_ms.push(begun.elapsed().as_millis() as u64);
        }
    }

    /// SIGTERM must end it with 0 in time.
    async fn ends_when_told(&self, container: &Container, found: &mut Found) -> Result<Check> {
        let name = "ends on SIGTERM";
        let before = self.engine.state(container).await?;
        if !before.running {
            let code = before.exit_code.unwrap_or(-1);
            let detail = format!("had ended before it was told, with exit code {code}");
            return Ok(Check::violated(
                name,
                detail,
                "see the log: nothing but a signal may end it",
            ));
        }
        let begun = Instant::now();
        let grace = Duration::from_millis(self.limits.stop_deadline_ms);
        self.engine.stop(container, grace).await?;
        let took_ms = begun.elapsed().as_millis() as u64;
        found.figures.insert("stop_ms".into(), took_ms.into());
        let code = self.engine.state(container).await?.exit_code.unwrap_or(-1);
        Ok(match code {
            0 => Check::passed(name, format!("exit code 0 after {took_ms} ms")),
            137 => Check::violated(
                name,
                format!("had to be killed after {} s", grace.as_secs()),
                "handle SIGTERM: stop accepting, finish what is in flight, exit 0",
            ),
            other => Check::violated(
                name,
                format!("exit code {other} instead of 0"),
                "exit 0 when told to end",
            ),
        })
    }
}

/// Median, 95th percentile (nearest rank) and all values of what was timed.
fn times(found: &mut Found) {
    let (first, ready) = (&found.first_answers_ms, &found.ready_answers_ms);
    let figures = [
        ("first_answer_ms", percentile(first, 50)),
        ("first_answer_p95_ms", percentile(first, 95)),
        ("first_answers_ms", json!(first)),
        ("ready_answer_ms", percentile(ready, 50)),
        ("ready_answer_p95_ms", percentile(ready, 95)),
        ("ready_answers_ms", json!(ready)),
    ];
    found
        .figures
        .extend(figures.map(|(name, value)| (name.to_owned(), value)));
}

fn percentile(values: &[u64], percent: usize) -> Value {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted
        .get(rank - 1)
        .map_or(json!("unknown"), |value| json!(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values_and_of_none_it_is_unknown() {
        assert_eq!(percentile(&[5, 1, 4, 2, 3], 50), 3);
        assert_eq!(percentile(&[5, 1, 4, 2, 3], 95), 5);
        assert_eq!(percentile(&[7], 50), 7);
        assert_eq!(percentile(&[], 50), "unknown");
    }
}
