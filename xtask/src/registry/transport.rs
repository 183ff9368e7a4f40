//! One request, once, with what the registry knows us by; what may pass on its own is told apart from what will not.

use std::path::Path;

use anyhow::Result;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, Response, StatusCode, Url};

use super::Client;
use super::challenge::{self, Scopes};
use super::retry::{self, Fault};
use super::trust::{causes, is_loopback, untrusted};
use crate::exit::Failure;

/// Bytes of a file, read at a time.
const PIECE: usize = 64 << 10;

/// A request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scopes: Scopes,
    pub(super) accept: Option<&'static str>,
    pub(super) body: Body<'a>,
}

pub(super) enum Body<'a> {
    Nothing,
    /// With their media type.
    Bytes(&'a [u8], &'a str),
    /// A blob and its size.
    File(&'a Path, u64),
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: Method, url: Url, scopes: Scopes) -> Self {
        Ask {
            method,
            url,
            scopes,
            accept: None,
            body: Body::Nothing,
        }
    }

    pub(super) fn accept(self, accept: &'static str) -> Self {
        let accept = Some(accept);
        Ask { accept, ..self }
    }

    pub(super) fn body(self, body: Body<'a>) -> Self {
        Ask { body, ..self }
    }
}

impl Client {
    /// An address of the registry; `path` without a slash before it.
    pub(super) async fn url(&self, path: &str) -> Result<Url, Fault> {
        let url = self.base().await?.join(path);
        url.map_err(|error| {
            Failure::usage(format!("{path:?} names nothing: {error}"), "see its spelling").into()
        })
    }

    /// Where an answer leads (`Location`, `Link`): absolute or relative to what was asked, never into the clear.
    pub(super) fn follow(&self, from: &Url, to: &str) -> Result<Url, Fault> {
        let url = from.join(to).ok().filter(|url| {
            url.scheme() == "https" || url.scheme() == "http" && url.host_str().is_some_and(is_loopback)
        });
        url.ok_or_else(|| {
            Failure::undecided(
                format!("{}: leads to {to:?}, which is no address over TLS", self.host),
                "a proxy before the registry has to say X-Forwarded-Proto: https",
            )
            .into()
        })
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a request, once more where the registry wants to know who asks. Answers that may pass are faults here;
    /// all others are the caller's to judge.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<Response, Fault> {
        // A place that is another host's has a key of its own in its address.
        let is_ours = ask.url.origin() == self.base().await?.origin();
        let header = match is_ours {
            true => self.authorization(&ask.scopes).await?,
            false => None,
        };
        let mut answer = self.send_as(ask, header.as_ref()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && is_ours {
            let asked = answer.headers().get_all(WWW_AUTHENTICATE);
            let challenge = challenge::parse(asked.iter().filter_map(|value| value.to_str().ok()));
            if let Some(header) = self.renewed(&ask.scopes, challenge, header.as_ref()).await? {
                answer = self.send_as(ask, Some(&header)).await?;
            }
        }
        match passing(&answer) {
            Some(fault) => Err(fault),
            None => Ok(answer),
        }
    }

    async fn send_as(&self, ask: &Ask<'_>, authorization: Option<&HeaderValue>) -> Result<Response, Fault> {
        let mut request = self.http.request(ask.method.clone(), ask.url.clone());
        if let Some(accept) = ask.accept {
            request = request.header(reqwest::header::ACCEPT, accept);
        }
        if let Some(header) = authorization {
            request = request.header(AUTHORIZATION, header);
        }
        let request = match &ask.body {
            Body::Nothing if matches!(ask.method, Method::GET | Method::HEAD | Method::DELETE) => request,
            Body::Nothing => request.header(CONTENT_LENGTH, 0),
            Body::Bytes(bytes, kind) => request.header(CONTENT_TYPE, *kind).body(bytes.to_vec()),
            Body::File(file, size) => {
                let request = request.header(CONTENT_TYPE, "application/octet-stream");
                request.header(CONTENT_LENGTH, *size).body(streamed(file).await?)
            }
        };
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    /// What a connection that failed means.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Fault {
        if let Some(why) = untrusted(error) {
            let folder = self.surroundings.certificates.join(&self.host);
            return Failure::usage(
                format!("{}: its certificate is not trusted: {why}", self.host),
                format!(
                    "put its certificate authority into {}/ca.crt, or name it with SSL_CERT_FILE",
                    folder.display()
                ),
            )
            .into();
        }
        if error.is_redirect() {
            let text = format!("{}: {}", self.host, innermost(error));
            return Failure::undecided(text, "see the registry's settings").into();
        }
        Fault::passing(innermost(error))
    }
}

/// A file as a body, a piece at a time.
async fn streamed(file: &Path) -> Result<reqwest::Body, Fault> {
    use tokio::io::AsyncReadExt;
    let open = tokio::fs::File::open(file).await;
    let open = open.map_err(|error| {
        Failure::usage(
            format!("cannot read {}: {error}", file.display()),
            "export the images anew",
        )
    })?;
    let pieces = futures_util::stream::try_unfold(open, |mut open| async move {
        let mut piece = vec![0; PIECE];
        let length = open.read(&mut piece).await?;
        piece.truncate(length);
        Ok::<_, std::io::Error>((length > 0).then_some((piece, open)))
    });
    Ok(reqwest::Body::wrap_stream(pieces))
}

/// The whole body, where it is no larger than that.
pub(super) async fn read_at_most(mut answer: Response, most: u64) -> Result<Vec<u8>, Fault> {
    let mut all = Vec::new();
    loop {
        let piece = answer.chunk().await;
        let Some(piece) = piece.map_err(|error| Fault::passing(innermost(&error)))? else {
            return Ok(all);
        };
        all.extend_from_slice(&piece);
        if all.len() as u64 > most {
            let path = answer.url().path();
            return Err(Failure::undecided(
                format!("{path}: larger than {most} bytes"),
                "nothing of that kind is so large: see what lies there",
            )
            .into());
        }
    }
}

/// Whether an answer is of those that a second try may better.
pub(super) fn passing(answer: &Response) -> Option<Fault> {
    let status = answer.status();
    let wait = answer
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504).then(|| Fault::Passing {
        what: format!("answers {status}"),
        wait: wait.and_then(|value| retry::retry_after(value, jiff::Timestamp::now())),
    })
}

/// What lies at the bottom says most, and no address with what stands in its query.
fn innermost(error: &reqwest::Error) -> String {
    let words = causes(error).last().map(ToString::to_string);
    let text = words.unwrap_or_default();
    match error.is_connect() {
        true => format!("no connection: {text}"),
        false => format!("the connection was lost: {text}"),
    }
}

/// The value of a header as text.
pub(super) fn header(answer: &Response, name: &str) -> Option<String> {
    let value = answer.headers().get(name)?.to_str().ok()?;
    Some(value.to_owned())
}
