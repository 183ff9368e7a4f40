//! The self-probe: `healthcheck` asks the service itself, `probe` asks others from inside its network. Images
//! hold no shell and no curl, so the binary brings both.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::Bytes;
use axum::http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};

use crate::settings::Common;
use crate::upstream::with_causes;

/// What asking an address came to.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// After how long; and what the body says of the state (`ready`, `degraded`), where it says so.
    Open(Duration, Option<String>),
    Refused,
    Timeout,
    Unresolved,
    Closed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// A connection.
    Tcp,
    /// A GET that ends with success.
    Http,
    /// An address for a name; nothing is sent there.
    Name,
}

#[derive(Debug, PartialEq, Eq)]
struct Target {
    text: String,
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Target {
    /// `tcp://host:port`, `http://host:port[/path]` or `name://host`.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}': expected tcp://host:port, http://host:port[/path] or name://host");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "tcp" => Scheme::Tcp,
            "name" => Scheme::Name,
            _ => return Err(wrong()),
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match scheme {
            Scheme::Name => (authority, 0),
            _ => {
                let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
                (host, port.parse().map_err(|_| wrong())?)
            }
        };
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Target {
            text: text.to_owned(),
            scheme,
            host: host.to_owned(),
            port,
        })
    }

    async fn ask(&self, limit: Duration) -> Answer {
        let begun = Instant::now();
        match tokio::time::timeout(limit, self.connect_and_get()).await {
            Ok(Ok(state)) => Answer::Open(begun.elapsed(), state),
            Ok(Err(answer)) => answer,
            Err(_) => Answer::Timeout,
        }
    }

    async fn connect_and_get(&self) -> Result<Option<String>, Answer> {
        let found = lookup_host((self.host.trim_matches(['[', ']']), self.port)).await;
        let addresses: Vec<_> = found.map_err(|_| Answer::Unresolved)?.collect();
        if self.scheme == Scheme::Name {
            return if addresses.is_empty() {
                Err(Answer::Unresolved)
            } else {
                Ok(None)
            };
        }
        let mut last = Answer::Unresolved;
        let mut reached = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    reached = Some(stream);
                    break;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => last = Answer::Refused,
                Err(error) if error.kind() == ErrorKind::TimedOut => last = Answer::Timeout,
                Err(error) => last = Answer::Closed(error.to_string()),
            }
        }
        let stream = reached.ok_or(last)?;
        if self.scheme == Scheme::Tcp {
            return Ok(None);
        }
        let closed = |error: &dyn std::error::Error| Answer::Closed(with_causes(error));
        let response = self.get(stream).await.map_err(|error| closed(error.as_ref()))?;
        match response.status() {
            status if status.is_success() => Ok(state_in(response.into_body()).await),
            status => Err(Answer::Closed(format!("status {}", status.as_u16()))),
        }
    }

    /// One GET on a connection of its own, which ends with the answer.
    async fn get(&self, stream: TcpStream) -> Result<Response<Incoming>, BoxError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let path = self.text.splitn(4, '/').nth(3).unwrap_or_default();
        let request = Request::get(format!("/{path}"))
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .body(Empty::<Bytes>::new())?;
        Ok(sender.send_request(request).await?)
    }
}

/// The word at `status` of a JSON object; an answer that is no such thing says nothing.
async fn state_in(mut body: Incoming) -> Option<String> {
    let piece = body.frame().await?.ok()?.into_data().ok()?;
    let body: serde_json::Value = serde_json::from_slice(&piece).ok()?;
    let word = body.get("status")?.as_str()?;
    let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    plain.then(|| word.to_owned())
}

/// One line of `probe`'s output.
struct Line<'a>(&'a str, &'a Answer);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Answer::Open(took, None) => write!(f, "open {} {}ms", self.0, took.as_millis()),
            Answer::Open(took, Some(state)) => write!(f, "open {} {}ms {state}", self.0, took.as_millis()),
            Answer::Refused => write!(f, "refused {}", self.0),
            Answer::Timeout => write!(f, "timeout {}", self.0),
            Answer::Unresolved => write!(f, "unresolved {}", self.0),
            Answer::Closed(why) => write!(f, "closed {} {why}", self.0),
        }
    }
}

/// `probe [--timeout-ms N] <target>...`: asks all at once, prints a line each in the order given. True when all
/// are open.
///
/// # Errors
/// Wrong usage, in words.
pub(crate) async fn probe(arguments: &[String]) -> Result<bool, String> {
    let (limit, targets) = parse(arguments)?;
    let asked: Vec<_> = targets
        .into_iter()
        .map(|target| {
            tokio::spawn(async move {
                let answer = target.ask(limit).await;
                (target.text, answer)
            })
        })
        .collect();
    let mut all_open = true;
    for task in asked {
        let (text, answer) = task.await.map_err(|error| error.to_string())?;
        all_open &= matches!(answer, Answer::Open(..));
        let _ = writeln!(std::io::stdout(), "{}", Line(&text, &answer));
    }
    Ok(all_open)
}

fn parse(arguments: &[String]) -> Result<(Duration, Vec<Target>), String> {
    let mut limit = Duration::from_secs(1);
    let mut targets = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--timeout-ms" {
            let value = words.next().and_then(|value| value.parse().ok());
            limit = Duration::from_millis(value.ok_or("--timeout-ms: expected a number of milliseconds")?);
        } else {
            targets.push(Target::parse(word)?);
        }
    }
    if targets.is_empty() {
        return Err("probe: expected at least one target".to_owned());
    }
    Ok((limit, targets))
}

/// `healthcheck`: whether this service, as it is set, answers `/live` with 200.
pub(crate) async fn healthcheck(common: &Common) -> bool {
    let host = match common.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" | "[::]" => "[::1]",
        host => host,
    };
    let target = Target::parse(&format!("http://{host}:{}/live", common.port));
    let Ok(target) = target else { return false };
    matches!(target.ask(Duration::from_secs(2)).await, Answer::Open(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_checked() {
        let target = Target::parse("http://own.data:8001/ready").unwrap();
        assert_eq!(
            (target.scheme, target.host.as_str(), target.port),
            (Scheme::Http, "own.data", 8001)
        );
        assert_eq!(Target::parse("name://example.com").unwrap().host, "example.com");
        for wrong in [
            "name://",
            "data:8001",
            "ftp://x:1",
            "tcp://x",
            "tcp://:1",
            "tcp://x:port",
        ] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn each_kind_of_answer_is_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ask = async |text: String| {
            Target::parse(&text)
                .unwrap()
                .ask(Duration::from_millis(300))
                .await
        };
        assert!(matches!(
            ask(format!("tcp://127.0.0.1:{port}")).await,
            Answer::Open(..)
        ));
        assert_eq!(
            ask(format!("http://127.0.0.1:{port}/")).await,
            Answer::Timeout,
            "accepts, but never answers"
        );
        drop(listener);
        assert_eq!(ask(format!("tcp://127.0.0.1:{port}")).await, Answer::Refused);
        assert_eq!(
            ask("tcp://no-such-name.invalid:1".to_owned()).await,
            Answer::Unresolved
        );
    }
}
