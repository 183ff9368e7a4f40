//! Ends that are not quiet: SIGTERM while a request is under way, and SIGKILL.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::serve::{Live, Started};
use super::{Boot, POLL_EVERY};
use crate::context::{Deadline, poll};
use crate::engine::Container;
use crate::verdict::Check;

/// A request has begun when its first bytes have arrived: through the engine's proxy that takes a moment, which
/// nothing outside the container can observe.
const ARRIVING: Duration = Duration::from_millis(200);
/// How long the service has with the signal before the request's last line comes.
const SIGNALLED: Duration = Duration::from_millis(200);

const IN_FLIGHT: &str = "in-flight requests";
const ANSWER: &str = "on SIGTERM answer what has begun, then exit 0";

impl Boot<'_> {
    /// A request that has begun before SIGTERM must get its whole answer; then the service ends with 0.
    pub(super) async fn in_flight(&self, container: &Container, live: &Live) -> Result<Check> {
        let Err(why) = self.told_midway(container, live, ARRIVING).await? else {
            return self.ends_after_its_answer(container).await;
        };
        // On a busy machine the signal may overtake the request's first bytes: once more, with more time for them.
        let Started { container, live } = self.begin(self.spec("in-flight"), self.boot_limit()).await?;
        let again = match &live {
            Ok(live) => self.told_midway(&container, live, 10 * ARRIVING).await?,
            Err(why) => Err(why.clone()),
        };
        let check = match again {
            Ok(()) => self.ends_after_its_answer(&container).await?,
            Err(_) => {
                let detail = format!("a request that had begun before SIGTERM: {why}");
                Check::violated(IN_FLIGHT, detail, ANSWER)
            }
        };
        self.finish(&container, "in-flight").await?;
        Ok(check)
    }

    async fn ends_after_its_answer(&self, container: &Container) -> Result<Check> {
        let grace = Duration::from_millis(self.limits.stop_deadline_ms);
        Ok(match self.until_ended(container, grace).await? {
            Some(0) => Check::passed(
                IN_FLIGHT,
                "one begun before SIGTERM was answered, then exit code 0",
            ),
            Some(code) => Check::violated(IN_FLIGHT, format!("answered, then exit code {code}"), ANSWER),
            None => Check::violated(
                IN_FLIGHT,
                format!("answered, but still running after {} s", grace.as_secs()),
                ANSWER,
            ),
        })
    }

    /// Sends the first lines of a request, SIGTERM, and the last line: whether a whole answer came. An engine that is
    /// slow with the signal is no service that is slow with its answer.
    async fn told_midway(
        &self,
        container: &Container,
        live: &Live,
        arriving: Duration,
    ) -> Result<Result<(), String>> {
        let grace = Duration::from_millis(self.limits.stop_deadline_ms);
        let mut stream = match in_time(grace, begin_request(live.address)).await {
            Ok(stream) => stream,
            Err(why) => return Ok(Err(why)),
        };
        tokio::time::sleep(arriving).await;
        self.engine.kill(container, "SIGTERM").await?;
        tokio::time::sleep(SIGNALLED).await;
        let answer = in_time(grace, async {
            let mut answer = Vec::new();
            stream.write_all(b"Connection: close\r\n\r\n").await?;
            stream.read_to_end(&mut answer).await?;
            Ok(answer)
        });
        Ok(answer
            .await
            .and_then(|answer| whole(&String::from_utf8_lossy(&answer))))
    }

    /// Its exit code, once it has ended; `None` where it still runs in the end.
    pub(super) async fn until_ended(&self, container: &Container, limit: Duration) -> Result<Option<i64>> {
        let ended = poll(Deadline::within(limit), POLL_EVERY, || async {
            // An engine that does not answer is no service that does not end.
            match self.engine.state(container).await {
                Ok(state) => (!state.running).then_some(Ok(state.exit_code)),
                Err(error) => Some(Err(error)),
            }
        });
        match ended.await.transpose()? {
            Some(code) => Ok(code),
            // An engine that hung until the deadline kept us from seeing its end: it is asked once more.
            None => {
                let state = self.engine.state(container).await?;
                Ok(state.exit_code.filter(|_| !state.running))
            }
        }
    }

    /// Killed and started again, the same container must live again and be the same.
    pub(super) async fn restart_after_sigkill(&self, container: &Container, live: &Live) -> Result<Check> {
        let name = "restart after SIGKILL";
        let hint = "start from whatever a killed predecessor left behind";
        let before = self.json(&live.url("/version")).await.ok();
        self.engine.kill(container, "SIGKILL").await?;
        self.until_ended(container, Duration::from_millis(self.limits.stop_deadline_ms))
            .await?;
        self.engine.start(container).await?;
        let again = match self.until_live(container, self.boot_limit()).await? {
            Ok(address) => Live {
                address,
                first_answer_ms: 0,
            },
            Err(why) => {
                return Ok(Check::violated(
                    name,
                    format!("killed and started again: {why}"),
                    hint,
                ));
            }
        };
        let after = self.json(&again.url("/version")).await.ok();
        let [before, after] = [&before, &after].map(|said| said.as_ref().map(|(_, body)| body));
        if let Some(detail) = another(before, after) {
            return Ok(Check::violated(name, detail, hint));
        }
        Ok(Check::passed(name, "live again, the same version"))
    }
}

async fn begin_request(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n")
        .await?;
    Ok(stream)
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// What differs between two answers of `/version`, as far as they say who it is.
fn another(before: Option<&Value>, after: Option<&Value>) -> Option<String> {
    let Some(before) = before else {
        return Some("/version gave no JSON before it was killed".to_owned());
    };
    let Some(after) = after else {
        return Some("it lives again, but /version gives no JSON".to_owned());
    };
    let differing = ["version", "revision"]
        .into_iter()
        .find(|key| before[key] != after[key])?;
    Some(format!(
        "it lives again with {differing} {} instead of {}",
        after[differing], before[differing]
    ))
}

/// Whether an answer is a 200 with as many bytes as it says.
fn whole(answer: &str) -> Result<(), String> {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return Err(format!("cut off after {} bytes", answer.len()));
    };
    let status = head.split_whitespace().nth(1).unwrap_or("none");
    if status != "200" {
        return Err(format!("status {status}"));
    }
    let said = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    match said {
        Some(said) if said != body.len() => Err(format!("{} of {said} bytes of its body", body.len())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_restarted_service_is_the_same_by_version_and_revision() {
        let (one, other) = (
            json!({"version": "1", "pid": 1}),
            json!({"version": "1", "pid": 2}),
        );
        assert_eq!(another(Some(&one), Some(&other)), None);
        let newer = json!({"version": "2"});
        let told = another(Some(&one), Some(&newer)).unwrap();
        assert!(told.contains("version \"2\" instead of \"1\""), "{told}");
        assert!(
            another(None, Some(&one))
                .unwrap()
                .contains("before it was killed")
        );
        assert!(another(Some(&one), None).is_some());
    }

    #[tokio::test]
    async fn what_does_not_come_has_an_end_and_a_word() {
        let never = in_time(
            Duration::from_millis(5),
            std::future::pending::<std::io::Result<()>>(),
        );
        assert_eq!(never.await, Err("no answer in time".to_owned()));
    }

    #[test]
    fn an_answer_is_whole_with_all_that_it_promised() {
        assert_eq!(whole("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), Ok(()));
        assert!(
            whole("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}")
                .unwrap_err()
                .contains("2 of 9")
        );
        assert!(whole("HTTP/1.1 503 Gone\r\n\r\n").unwrap_err().contains("503"));
        assert!(whole("").unwrap_err().contains("cut off"));
    }
}
