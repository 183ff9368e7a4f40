//! The way to a registry: which certificates are trusted for it, TLS everywhere, plain HTTP to this machine alone and
//! only where it speaks no TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use reqwest::{Response, StatusCode, Url};

use super::Client;
use super::retry::Fault;
use crate::exit::Failure;

/// Whether this machine's own registry speaks TLS is known by then.
const PROBE: Duration = Duration::from_secs(10);
/// Of the answers on the way to a blob.
const REDIRECTS: usize = 5;

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
    /// Nobody is there yet, or hung up.
    Unclear,
}

impl Client {
    /// Where the registry is reached: `https://host/`. On this machine alone plainly, where it speaks no TLS.
    pub(super) async fn base(&self) -> Result<&Url, Fault> {
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
            let plain = url("http")?;
            let way = match way(&self.probe(&secure).await) {
                Way::Unclear if speaks_plainly(&self.probe(&plain).await) => Way::Plain,
                way => way,
            };
            match way {
                Way::Tls => Ok(secure),
                Way::Plain => Ok(plain),
                Way::Unclear => Err(Fault::passing("nobody answers")),
            }
        };
        self.base.get_or_try_init(decide).await
    }

    async fn probe(&self, base: &Url) -> Result<Response, reqwest::Error> {
        let mut url = base.clone();
        url.set_path("v2/");
        self.http.get(url).timeout(PROBE).send().await
    }
}

fn way(asked: &Result<Response, reqwest::Error>) -> Way {
    let Err(error) = asked else { return Way::Tls };
    let all = causes(error);
    let mut tls = all
        .iter()
        .filter_map(|cause| cause.downcast_ref::<rustls::Error>());
    match tls.next() {
        // What came was no TLS: a server of plain HTTP that complains.
        Some(rustls::Error::InvalidMessage(_)) => Way::Plain,
        Some(_) => Way::Tls,
        None => Way::Unclear,
    }
}

/// Whether a plain question had an answer, and not the one that servers of TLS give to it (400).
fn speaks_plainly(asked: &Result<Response, reqwest::Error>) -> bool {
    asked
        .as_ref()
        .is_ok_and(|answer| answer.status() != StatusCode::BAD_REQUEST)
}

/// Every cause of an error; a cause that an I/O error wraps is one of them.
pub(super) fn causes(error: &reqwest::Error) -> Vec<&(dyn std::error::Error + 'static)> {
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

pub(super) fn untrusted(error: &reqwest::Error) -> Option<String> {
    let tls = causes(error)
        .into_iter()
        .filter_map(|cause| cause.downcast_ref::<rustls::Error>());
    let mut why = tls.filter_map(|error| match error {
        rustls::Error::InvalidCertificate(why) => Some(why.to_string()),
        _ => None,
    });
    why.next()
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
