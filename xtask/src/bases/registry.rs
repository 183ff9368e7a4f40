//! Whether a container registry answers for an image: asked through buildx for its very digest, or, where there
//! is no buildx yet, by a connection alone.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Call};

/// How long a registry may take before it counts as absent.
const DEADLINE: Duration = Duration::from_secs(5);

/// Whether all references can be had; if not, the reason for the first that cannot.
pub(super) async fn answer(context: &Context, references: Vec<String>) -> Result<(), String> {
    let buildx = process::run(context, &Call::new(["docker", "buildx", "version"])).await;
    let buildx = buildx.is_ok_and(|output| output.success());
    let asked = references.into_iter().map(|reference| async move {
        let answer = if buildx {
            by_digest(context, &reference).await
        } else {
            by_connection(&reference).await
        };
        let name = reference.split('@').next().unwrap_or_default();
        answer.map_err(|why| format!("no registry answers for {name} ({why})"))
    });
    futures_util::future::join_all(asked).await.into_iter().collect()
}

async fn by_digest(context: &Context, reference: &str) -> Result<(), String> {
    let mut call = Call::new(["docker", "buildx", "imagetools", "inspect", "--raw", reference]);
    call.deadline = DEADLINE;
    match process::run(context, &call).await {
        Ok(output) if output.success() => Ok(()),
        Ok(output) => Err(last_words(&output.stderr)),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

async fn by_connection(reference: &str) -> Result<(), String> {
    let host = host(reference);
    let connecting = tokio::task::spawn_blocking(move || {
        let address = (host.as_str(), 443)
            .to_socket_addrs()
            .map_err(|_| "no such host".to_owned())?
            .next();
        let address = address.ok_or("no such host")?;
        TcpStream::connect_timeout(&address, DEADLINE)
            .map(drop)
            .map_err(|error| error.to_string())
    });
    match tokio::time::timeout(DEADLINE, connecting).await {
        Ok(Ok(answer)) => answer,
        _ => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

/// The host of a reference: its first part where that has a dot or a port, Docker's own registry otherwise.
fn host(reference: &str) -> String {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) => first.split(':').next().unwrap_or(first).to_owned(),
        _ => "registry-1.docker.io".to_owned(),
    }
}

/// The end of an error's last line: what it comes down to.
fn last_words(text: &str) -> String {
    let line = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no reason given");
    line.rsplit(": ").next().unwrap_or(line).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_cut_to_its_last_words() {
        let said =
            "ERROR: failed to do request: Head \"x\": dial tcp: lookup r on 10.0.0.1:53: no such host\n";
        assert_eq!(last_words(said), "no such host");
        assert_eq!(last_words(""), "no reason given");
    }

    #[test]
    fn a_reference_without_a_host_is_dockers() {
        assert_eq!(host("gcr.io/distroless/static-debian12:nonroot"), "gcr.io");
        assert_eq!(host("pgvector/pgvector:pg17"), "registry-1.docker.io");
        assert_eq!(host("rust:1.95.0"), "registry-1.docker.io");
    }
}
