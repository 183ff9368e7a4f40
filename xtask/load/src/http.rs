//! Load over HTTP/1.1, on connections that are kept.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HOST};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{Measured, Template, all};

/// How long a connection, or an answer, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of an unexpected answer is told.
const SHOWN: usize = 200;

/// A request, again and again.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub path: Template,
    pub headers: Vec<(String, Template)>,
    pub body: Option<Template>,
    /// Any other status is wrong.
    pub expected: StatusCode,
}

/// What is put on one address.
#[derive(Debug, Clone)]
pub struct Load {
    pub target: SocketAddr,
    pub request: Request,
    /// Requests under way at once.
    pub connections: usize,
    /// Before what is measured.
    pub warm_up: Duration,
    pub time: Duration,
    /// The number of the first request; each connection takes every `connections`th from its own.
    pub first: u64,
}

/// Puts the load on, to its end; it ends with its caller.
pub async fn run(load: &Load) -> Measured {
    let connections = 0..load.connections;
    all(connections.map(|place| connection(load.clone(), place as u64))).await
}

async fn connection(load: Load, place: u64) -> Measured {
    let mut measured = Measured::nothing();
    let mut number = load.first + place;
    let mut sender = None;
    let begin = Instant::now() + load.warm_up;
    let end = begin + load.time;
    // One answer at least, however long it takes: no sample is without a figure.
    while Instant::now() < end || measured.answered + measured.wrong == 0 {
        let sent = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, ask(&mut sender, &load, number)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        match answer {
            Ok(()) if sent >= begin => measured.saw(sent.elapsed()),
            Ok(()) => {}
            Err(what) => {
                measured.missed(what);
                sender = None;
                // A service that refuses is not to be asked in a hot loop.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        number += load.connections as u64;
    }
    measured.took = begin.elapsed();
    measured
}

async fn ask(sender: &mut Option<SendRequest<Full<Bytes>>>, load: &Load, number: u64) -> Result<(), String> {
    let request = request(load, number)?;
    let mut ready = match sender.take().filter(|sender| !sender.is_closed()) {
        Some(ready) => ready,
        None => connect(load.target).await?,
    };
    let answer = ready.send_request(request).await;
    let answer = answer.map_err(|error| format!("no answer: {error}"))?;
    let status = answer.status();
    let ends = answer
        .headers()
        .get(CONNECTION)
        .is_some_and(|word| word == "close");
    *sender = (!ends).then_some(ready);
    if status == load.request.expected {
        return drain(answer.into_body()).await;
    }
    let body = answer.into_body().collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let shown: String = String::from_utf8_lossy(&body).chars().take(SHOWN).collect();
    Err(format!("status {}: {shown}", status.as_u16()))
}

async fn drain(mut body: hyper::body::Incoming) -> Result<(), String> {
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| format!("the answer broke off: {error}"))?;
    }
    Ok(())
}

async fn connect(target: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(target).await;
    let stream = stream.map_err(|error| format!("no connection to {target}: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("no connection to {target}: {error}"))?;
    // It ends with the sender; how is told by the request that it carried.
    tokio::spawn(connection);
    Ok(sender)
}

fn request(load: &Load, number: u64) -> Result<hyper::Request<Full<Bytes>>, String> {
    let path = load.request.path.fill(number);
    let uri = hyper::Uri::from_maybe_shared(path).map_err(|error| format!("no path: {error}"))?;
    let mut request = hyper::Request::builder()
        .method(load.request.method.clone())
        .uri(uri)
        .header(HOST, load.target.to_string());
    for (name, value) in &load.request.headers {
        request = request.header(name, value.fill(number).as_ref());
    }
    let body = load.request.body.as_ref().map(|body| body.fill(number));
    request
        .body(Full::new(body.unwrap_or_default()))
        .map_err(|error| format!("no request: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every request on a connection with this, until the connection ends.
    async fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = vec![0; 4096];
                    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        address
    }

    fn load(target: SocketAddr) -> Load {
        Load {
            target,
            request: Request {
                method: Method::GET,
                path: Template::parse("/${n%10}").unwrap(),
                headers: vec![("x-number".into(), Template::parse("${n}").unwrap())],
                body: None,
                expected: StatusCode::OK,
            },
            connections: 3,
            warm_up: Duration::from_millis(20),
            time: Duration::from_millis(100),
            first: 1,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn answers_are_counted_and_timed() {
        let target = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let measured = run(&load(target)).await;
        assert_eq!((measured.wrong, &measured.first_wrong), (0, &None));
        assert!(
            measured.answered > 10 && measured.quantile_ms(0.5).is_some(),
            "{measured:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_that_its_service_closes_is_not_used_again() {
        let target = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        let measured = run(&load(target)).await;
        assert_eq!((measured.wrong, &measured.first_wrong), (0, &None));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_slow_answer_is_a_sample_all_the_same() {
        let target = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let load = Load {
            time: Duration::ZERO,
            warm_up: Duration::ZERO,
            ..load(target)
        };
        assert_eq!(run(&load).await.answered, 3, "one of each connection");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_unexpected_answer_is_wrong_and_told() {
        let target = answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy").await;
        let measured = run(&load(target)).await;
        assert_eq!(measured.answered, 0);
        assert_eq!(measured.first_wrong.as_deref(), Some("status 503: busy"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_there_is_wrong_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        drop(listener);
        let measured = run(&load(target)).await;
        assert!(measured.wrong > 0 && measured.first_wrong.unwrap().starts_with("no connection to"));
    }
}
