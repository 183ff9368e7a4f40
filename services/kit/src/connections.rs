//! The connections of a service: accepted until told to end, limited in what one may send and how slowly, and
//! closed after the request that they are at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{debug, warn};

use crate::patient::Patient;

/// A request's head may be as long; hyper answers 431 to a longer one, and to more than a hundred headers.
const HEAD_MAX_BYTES: usize = 64 * 1024;
/// How long a head may take to arrive; it is also how long a connection may be idle. Longer than clients of ours
/// keep theirs (60 s), so that none is closed under a call.
const HEAD_PATIENCE: Duration = Duration::from_secs(75);
/// How long an answer, or a message of an upgraded connection, may wait for the other side to read.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// Serves every connection until `end`, and then until each has answered what it was asked. One over `most` waits,
/// not accepted yet, until another one ends.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    most: usize,
    end: impl Future<Output = ()>,
) {
    let (closing, open) = watch::channel(false);
    let places = Arc::new(Semaphore::new(most));
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            (place, accepted) = next(&listener, &places) => match accepted {
                Ok((stream, peer)) => {
                    let stream = Patient::new(stream, WRITE_PATIENCE, place);
                    tokio::spawn(serve(stream, peer, router.clone(), open.clone()));
                }
                Err(error) => refused(&error).await,
            },
            () = &mut end => break,
        }
    }
    drop((listener, open));
    closing.send_replace(true);
    closing.closed().await;
}

/// The next connection, and its place.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (
    Option<OwnedSemaphorePermit>,
    std::io::Result<(TcpStream, SocketAddr)>,
) {
    let place = match places.clone().try_acquire_owned() {
        Ok(place) => Some(place),
        Err(_) => {
            warn!("MAX_CONNECTIONS are open; more have to wait");
            // Nobody closes the semaphore.
            places.clone().acquire_owned().await.ok()
        }
    };
    (place, undelayed(listener).await)
}

async fn undelayed(listener: &TcpListener) -> std::io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "the connection keeps its delay");
    }
    Ok((stream, peer))
}

/// A client that went away is no matter; without descriptors left, waiting is all that helps.
async fn refused(error: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        warn!(%error, "a connection cannot be accepted");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn serve(stream: Patient, peer: SocketAddr, router: Router, mut closing: watch::Receiver<bool>) {
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => Some(ended),
        _ = closing.wait_for(|closing| *closing) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection has failed");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(stream: &mut TcpStream) {
        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut bytes = [0; 1024];
        let read = tokio::time::timeout(testkit::PATIENCE, stream.read(&mut bytes)).await;
        String::from_utf8_lossy(&bytes[..read.unwrap().unwrap()]).into_owned()
    }

    #[tokio::test]
    async fn one_too_many_waits_until_another_one_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        tokio::spawn(accept(listener, router, 1, std::future::pending()));

        let mut first = TcpStream::connect(address).await.unwrap();
        ask(&mut first).await;
        assert!(answer(&mut first).await.ends_with("here"));
        let mut second = TcpStream::connect(address).await.unwrap();
        ask(&mut second).await;
        for _ in 0..10 {
            ask(&mut first).await;
            assert!(answer(&mut first).await.ends_with("here"));
        }
        let early = second.try_read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(early, Err(std::io::ErrorKind::WouldBlock));
        drop(first);
        assert!(answer(&mut second).await.ends_with("here"));
    }
}
