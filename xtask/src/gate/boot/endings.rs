//! Ends that are not quiet: SIGTERM while a request is under way, and SIGKILL.

use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::serve::Live;
use super::{Boot, POLL_EVERY};
use crate::context::{Deadline, poll};
use crate::engine::Container;
use crate::verdict::Check;

/// A request has begun when its first bytes have arrived: through the engine's proxy that takes a moment, which
/// nothing outside the container can observe.
const ARRIVING: Duration = Duration::from_millis(200);
/// How long the service has with the signal before the request's last line comes.
const SIGNALLED: Duration = Duration::from_millis(200);

impl Boot<'_> {
    /// A request that has begun before SIGTERM must get its whole answer; then the service ends with 0.
    pub(super) async fn in_flight(&self, container: &Container, live: &Live) -> Result<Check> {
        let name = "in-flight requests";
        let hint = "on SIGTERM answer what has begun, then exit 0";
        let grace = Duration::from_millis(self.limits.stop_deadline_ms);
        let answered = tokio::time::timeout(grace, self.told_midway(container, live)).await;
        let answer = match answered {
            Ok(told) => told?,
            Err(_) => Err("no answer in time".to_owned()),
        };
        if let Err(why) = answer.and_then(|answer| whole(&answer)) {
            let detail = format!("a request that had begun before SIGTERM: {why}");
            return Ok(Check::violated(name, detail, hint));
        }
        Ok(match self.until_ended(container, grace).await? {
            Some(0) => Check::passed(name, "one begun before SIGTERM was answered, then exit code 0"),
            Some(code) => Check::violated(name, format!("answered, then exit code {code}"), hint),
            None => Check::violated(
                name,
                format!("answered, but still running after {} s", grace.as_secs()),
                hint,
            ),
        })
    }

    /// Sends the first lines of a request, SIGTERM, and the last line: the answer as it came.
    async fn told_midway(&self, container: &Container, live: &Live) -> Result<Result<String, String>> {
        let broken = |error: std::io::Error| error.to_string();
        let mut stream = match TcpStream::connect(("127.0.0.1", live.port)).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(broken(error))),
        };
        if let Err(error) = stream
            .write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n")
            .await
        {
            return Ok(Err(broken(error)));
        }
        tokio::time::sleep(ARRIVING).await;
        self.engine.kill(container, "SIGTERM").await?;
        tokio::time::sleep(SIGNALLED).await;
        let mut answer = Vec::new();
        let done = async {
            stream.write_all(b"Connection: close\r\n\r\n").await?;
            stream.read_to_end(&mut answer).await
        };
        Ok(match done.await {
            Ok(_) => Ok(String::from_utf8_lossy(&answer).into_owned()),
            Err(error) => Err(broken(error)),
        })
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
            Ok(port) => Live {
                port,
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
        if before.is_none() || before != after {
            let detail = "it lives again, but /version does not say the same as before";
            return Ok(Check::violated(name, detail, hint));
        }
        Ok(Check::passed(name, "live again, the same version"))
    }
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
