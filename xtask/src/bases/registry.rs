//! Whether a container registry answers for an image: asked through buildx for its very digest, or, where there
//! is no buildx yet, by a connection alone.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Call};
use crate::tool::imagetools;

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
    match process::run(context, &imagetools::inspect(reference, DEADLINE)).await {
        Ok(output) if output.success() => Ok(()),
        Ok(output) => Err(imagetools::last_words(&output.stderr)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_a_host_is_dockers() {
        assert_eq!(host("gcr.io/distroless/static-debian12:nonroot"), "gcr.io");
        assert_eq!(host("pgvector/pgvector:pg17"), "registry-1.docker.io");
        assert_eq!(host("rust:1.95.0"), "registry-1.docker.io");
    }
}
