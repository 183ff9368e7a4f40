//! One request, once: over TLS (plainly to this machine alone), with what the registry knows us by; what may pass on
//! its own is told apart from what will not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, Response, StatusCode, Url};

use super::Client;
use super::challenge::{self, Scopes};
use super::retry::{self, Fault};
use crate::exit::Failure;

/// Whether this machine's own registry speaks TLS is known by then.
const PROBE: Duration = Duration::from_secs(10);
/// Of the answers on the way to a blob.
const REDIRECTS: usize = 5;
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

/// An HTTP client for a host: what the system trusts, what docker trusts for it (`<certs.d>/<host>/*.crt`), and no
/// way from TLS into the clear.
///
/// # Errors
/// Exit 2: a certificate that cannot be read.
pub(super) fn http(host: &str, certificates: &Path) -> Result<reqwest::Client> {
    let own = certificates_for(host, certificates)?;
    let builder = || {
        let safe = reqwest::redirect::Policy::custom(|attempt| {
            let is_safe =
                attempt.url().scheme() == "https" || attempt.url().host_str().is_some_and(is_loopback);
            match is_safe && attempt.previous().len() <= REDIRECTS {
                true => attempt.follow(),
                false => attempt.error("it leads in circles, or in the clear"),
            }
        });
        let builder = crate::http::client().redirect(safe).referer(false);
        // As Go's programs do: nobody in between on the way to this machine.
        match is_loopback(bare(host)) {
            true => builder.no_proxy(),
            false => builder,
        }
    };
    let client = builder().tls_certs_merge(own.clone()).build();
    // A machine without any certificate still reaches its own registry.
    let client = client.or_else(|_| builder().tls_certs_only(own).build());
    Ok(client?)
}

fn certificates_for(host: &str, folder: &Path) -> Result<Vec<reqwest::Certificate>> {
    let entries = std::fs::read_dir(folder.join(host)).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "crt"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let read = std::fs::read(&file).map_err(|error| error.to_string());
        let parsed = read.and_then(|pem| {
            let parsed = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())?;
            (!parsed.is_empty())
                .then_some(parsed)
                .ok_or("it holds none".to_owned())
        });
        all.extend(parsed.map_err(|why| {
            Failure::usage(
                format!("{}: no certificate that can be read: {why}", file.display()),
                "put the registry's certificate authority there as PEM, or take the file away",
            )
        })?);
    }
    Ok(all)
}

/// A host without its port.
fn bare(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    }
}

/// Whether a host (without port) is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// What becomes of the way to a host on this machine, once TLS was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Tls,
    Plain,
    /// Nobody is there yet.
    Later,
}

impl Client {
    /// Where the registry is reached: `https://host/`. On this machine alone plainly, where it speaks no TLS.
    async fn base(&self) -> Result<&Url, Fault> {
        let host = match self.host.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let url = |scheme: &str| {
            Url::parse(&format!("{scheme}://{host}/")).map_err(|error| {
                Failure::usage(
                    format!("{host:?} is no registry: {error}"),
                    "name a host, e.g. ghcr.io or 127.0.0.1:5000",
                )
            })
        };
        let decide = async || {
            let secure = url("https")?;
            if !is_loopback(bare(host)) {
                return Ok(secure);
            }
            let asked = self.http.get(secure.join("v2/").map_err(anyhow::Error::from)?);
            match way(&asked.timeout(PROBE).send().await) {
                Way::Tls => Ok(secure),
                Way::Plain => Ok(url("http")?),
                Way::Later => Err(Fault::passing("nobody answers")),
            }
        };
        self.base.get_or_try_init(decide).await
    }

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

fn way(asked: &Result<Response, reqwest::Error>) -> Way {
    match asked {
        Ok(_) => Way::Tls,
        Err(error) if untrusted(error).is_some() => Way::Tls,
        Err(error) if is_refused(error) => Way::Later,
        Err(_) => Way::Plain,
    }
}

/// Every cause of an error; a cause that an I/O error wraps is one of them.
fn causes(error: &reqwest::Error) -> Vec<&(dyn std::error::Error + 'static)> {
    let mut all: Vec<&(dyn std::error::Error + 'static)> = vec![error];
    while let Some(last) = all.last() {
        let wrapped = last
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        match wrapped
            .map(|wrapped| wrapped as &(dyn std::error::Error + 'static))
            .or(last.source())
        {
            Some(next) => all.push(next),
            None => break,
        }
    }
    all
}

fn untrusted(error: &reqwest::Error) -> Option<String> {
    let tls = causes(error)
        .into_iter()
        .filter_map(|cause| cause.downcast_ref::<rustls::Error>());
    let mut why = tls.filter_map(|error| match error {
        rustls::Error::InvalidCertificate(why) => Some(why.to_string()),
        _ => None,
    });
    why.next()
}

fn is_refused(error: &reqwest::Error) -> bool {
    causes(error)
        .into_iter()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plainly_to_this_machine_alone() {
        for host in [
            "127.0.0.1:5000",
            "127.8.9.1",
            "[::1]:5000",
            "localhost:80",
            "localhost",
        ] {
            assert!(is_loopback(bare(host)), "{host}");
        }
        for host in [
            "ghcr.io",
            "10.0.0.1:5000",
            "[2001:db8::1]:5000",
            "localhost.example:5000",
            "127.0.0.1.example",
        ] {
            assert!(!is_loopback(bare(host)), "{host}");
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("127.0.0.1:5000");
        std::fs::create_dir(&own).unwrap();
        assert!(http("127.0.0.1:5000", folder.path()).is_ok());
        std::fs::write(own.join("notes.txt"), "not a certificate").unwrap();
        assert!(http("127.0.0.1:5000", folder.path()).is_ok());
        std::fs::write(own.join("ca.crt"), "not a certificate").unwrap();
        let error = http("127.0.0.1:5000", folder.path()).unwrap_err();
        assert!(error.to_string().contains("ca.crt"), "{error}");
        assert!(http("ghcr.io", folder.path()).is_ok(), "another host's");
    }
}
