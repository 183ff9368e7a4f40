//! The command line's HTTP: one call with a deadline, and a fault that says what to do about it.

use std::{io::Read, time::Duration};

use http::{Request, header};
use kit::{Secret, Settings};
use serde_json::Value;
use ureq::{Agent, Body};

use super::{AWAY, Fault, REFUSED, USAGE, arguments::Parsed};

const CONNECT: Duration = Duration::from_secs(5);
/// Until an answer begins, and between two parts of it: the gateway's own limits are shorter.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer that is read at once.
const MOST_BYTES: u64 = 64 << 20;

/// One gateway, and who asks.
pub(super) struct Client {
    agent: Agent,
    base: String,
    token: Option<Secret>,
    session: Option<String>,
}

/// An answer of 2xx.
pub(super) struct Reply(http::Response<Body>);

impl Client {
    /// # Errors
    /// Wrong usage: an address that is none, or settings that contradict each other.
    pub(super) fn new(parsed: &Parsed) -> Result<Self, Fault> {
        let mut settings = Settings::from_env();
        let base = match &parsed.url {
            Some(url) => url.clone(),
            None => settings.text("NEXUS_URL").unwrap_or_else(|| {
                let own = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
                here(own("HOST").as_deref(), own("PORT").as_deref())
            }),
        };
        let token = match &parsed.token {
            Some(token) => Some(token.clone()),
            None => settings.text("NEXUS_TOKEN"),
        };
        if let Some(fault) = settings.faults().first() {
            return Err(Fault::usage(fault.clone()));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE));
        Ok(Self {
            agent: config.build().into(),
            base: address(&base)?,
            token: token.map(Secret::new),
            session: parsed.session.clone(),
        })
    }

    pub(super) fn get(&self, path: &str) -> Result<Reply, Fault> {
        self.send("GET", path, None)
    }

    /// # Errors
    /// 1 the gateway refused; 2 a credential that no header can carry; 3 it cannot be reached.
    pub(super) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply, Fault> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::USER_AGENT, concat!("nexus/", env!("CARGO_PKG_VERSION")))
            .header("x-channel", "cli");
        if let Some(session) = &self.session {
            request = request.header("x-session-id", session);
        }
        if let Some(token) = &self.token {
            request = if token.reveal().starts_with("hk_") {
                request.header("x-api-key", token.reveal())
            } else {
                request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()))
            };
        }
        let malformed = |_| Fault::usage("the token or the session is none: no header can carry it");
        let sent = match body {
            None => self.agent.run(request.body(()).map_err(malformed)?),
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                self.agent.run(request.body(body.to_string()).map_err(malformed)?)
            }
        };
        let reply = sent.map_err(|error| self.away(&error))?;
        if reply.status().is_success() {
            return Ok(Reply(reply));
        }
        Err(refused(reply))
    }

    fn away(&self, error: &ureq::Error) -> Fault {
        Fault {
            code: AWAY,
            words: format!("cannot reach {}: {error}", self.base),
            hint: "see that the gateway runs, or name its address by --url or NEXUS_URL".to_owned(),
        }
    }
}

impl Reply {
    /// Whether it comes as server-sent events.
    pub(super) fn is_stream(&self) -> bool {
        let kind = self.0.headers().get(header::CONTENT_TYPE);
        kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
    }

    /// All of it, as it was answered.
    pub(super) fn text(self) -> Result<String, Fault> {
        let mut text = String::new();
        let mut body = self.0.into_body().into_reader().take(MOST_BYTES);
        match body.read_to_string(&mut text) {
            Ok(read) if (read as u64) < MOST_BYTES => Ok(text),
            Ok(_) => Err(Fault::failed(format!("the answer has over {MOST_BYTES} bytes"))),
            Err(error) => Err(broken(&error)),
        }
    }

    /// What comes, as it comes.
    pub(super) fn into_reader(self) -> impl Read {
        self.0.into_body().into_reader()
    }
}

/// The answer broke off.
pub(super) fn broken(error: &std::io::Error) -> Fault {
    Fault {
        code: AWAY,
        words: format!("the answer broke off: {error}"),
        hint: "the gateway ended or was restarted: try again".to_owned(),
    }
}

/// The refusal in the gateway's own words.
fn refused(reply: http::Response<Body>) -> Fault {
    let status = reply.status();
    let wait = reply.headers().get(header::RETRY_AFTER);
    let wait = wait.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = Reply(reply).text().unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let code = body["code"].as_str().unwrap_or("no code");
    let hint = match (status.as_u16(), code, wait) {
        (401, ..) => {
            "give a token by --token, NEXUS_TOKEN or NEXUS_TOKEN_FILE; POST /auth/login makes one".to_owned()
        }
        (403, ..) => "the token's user may not do this".to_owned(),
        (404, "WORKFLOW_UNKNOWN", _) => "nexus list tells the workflows".to_owned(),
        (_, _, Some(wait)) => format!("try again in {wait} s"),
        _ => match body["correlation_id"].as_str() {
            Some(id) => format!("the gateway's log has more under {id}"),
            None => String::new(),
        },
    };
    let error = body["error"].as_str().unwrap_or("the gateway refused");
    let field = body["field"]
        .as_str()
        .map(|field| format!("{field}: "))
        .unwrap_or_default();
    Fault {
        code: REFUSED,
        words: format!("{field}{error} ({}, {code})", status.as_u16()),
        hint,
    }
}

/// The gateway of this very container, where `HOST` or `PORT` tell where it listens.
fn here(host: Option<&str>, port: Option<&str>) -> String {
    let host = match host {
        None if port.is_none() => "localhost",
        None | Some("0.0.0.0") => "127.0.0.1",
        Some("::" | "[::]") => "::1",
        Some(host) => host.trim_start_matches('[').trim_end_matches(']'),
    };
    let port = port.unwrap_or("8000");
    // RFC 3986 section 3.2.2.
    if host.contains(':') {
        format!("http://[{host}]:{port}")
    } else {
        format!("http://{host}:{port}")
    }
}

/// An address without a path, a query or credentials.
fn address(text: &str) -> Result<String, Fault> {
    let wrong = || Fault {
        hint: "give --url or NEXUS_URL such as http://localhost:8000".to_owned(),
        code: USAGE,
        words: "the gateway's address is none: expected http(s)://host:port without credentials".to_owned(),
    };
    let base = text.trim_end_matches('/');
    let uri: http::Uri = base.parse().map_err(|_| wrong())?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    let nothing_more = uri.path() == "/" && uri.query().is_none();
    if scheme && authority && nothing_more {
        Ok(base.to_owned())
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_its_container_it_finds_its_own_gateway() {
        assert_eq!(here(None, None), "http://localhost:8000");
        assert_eq!(here(Some("0.0.0.0"), Some("9000")), "http://127.0.0.1:9000");
        assert_eq!(here(Some("own.gateway"), None), "http://own.gateway:8000");
        assert_eq!(here(None, Some("81")), "http://127.0.0.1:81");
        assert_eq!(here(Some("::"), Some("81")), "http://[::1]:81");
        for host in ["fd00::7", "[fd00::7]"] {
            assert_eq!(here(Some(host), None), "http://[fd00::7]:8000");
        }
    }

    #[test]
    fn an_address_is_checked_and_never_told_with_its_credentials() {
        assert_eq!(
            address("http://localhost:8000/").as_deref(),
            Ok("http://localhost:8000")
        );
        assert_eq!(
            address("https://gateway.example").as_deref(),
            Ok("https://gateway.example")
        );
        for wrong in [
            "localhost:8000",
            "ftp://h",
            "http://u:geheim@h:1",
            "http://h/x",
            "http://h?x",
            "",
        ] {
            let fault = address(wrong).unwrap_err();
            assert!(fault.code == USAGE && !fault.words.contains("geheim"), "{wrong}");
        }
    }
}
