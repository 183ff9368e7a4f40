//! Calls to other services: a deadline, one retry of what may be repeated, and the request's ids passed on.

use std::time::Duration;

use axum::body::{Bytes, HttpBody as Body};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::telemetry::current_ids;
use crate::{Identity, Problem, Result};

const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// Before the other side closes what is idle (75 s).
const IDLE: Duration = Duration::from_secs(60);
/// Longest answer that is read: it is held at once.
const MOST_BYTES: usize = 64 << 20;

/// A client for one other service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstream {
    name: &'static str,
    base: Option<String>,
    http: Client<HttpConnector, Full<Bytes>>,
    limit: Duration,
}

/// Another service's answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Upstream {
    /// `base` is `http://host:port`; without it every call fails as unavailable.
    pub fn new(name: &'static str, base: Option<String>, limit: Duration) -> Self {
        Upstream {
            name,
            base,
            http: client(),
            limit,
        }
    }

    /// The other service's name, as people know it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Calls and reads a JSON answer, whatever its status. A `GET` whose connection failed is tried once
    /// more, within the same deadline.
    ///
    /// # Errors
    /// 502 or 503 `UPSTREAM_UNAVAILABLE`: no answer within the deadline, or one that is no JSON.
    pub async fn call(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Answer> {
        self.call_as(&Identity::default(), method, path, body).await
    }

    /// As `call`, on behalf of somebody.
    ///
    /// # Errors
    /// Those of `call`.
    pub async fn call_as(
        &self,
        identity: &Identity,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Answer> {
        let tries = if method == Method::GET { 2 } else { 1 };
        let request = self.request(identity, method, path, body)?;
        let answered = async {
            let mut last = String::new();
            for _ in 0..tries {
                match self.once(request.clone()).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        // For all tries together: who calls us waits no longer than they were told, and a service that is too slow is
        // not asked for the same once more.
        let fault = match tokio::time::timeout(self.limit, answered).await {
            Ok(Ok((status, body))) => return self.read(status, body),
            Ok(Err(error)) => error,
            Err(_) => format!("no answer within {} s", self.limit.as_secs_f64()),
        };
        Err(self.unavailable(StatusCode::SERVICE_UNAVAILABLE, &fault))
    }

    fn request(
        &self,
        identity: &Identity,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Request<Full<Bytes>>> {
        let Some(base) = &self.base else {
            return Err(self.unavailable(StatusCode::SERVICE_UNAVAILABLE, "its address is not set"));
        };
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(Problem::internal)?;
        let is_json = body.is_some();
        let request = Request::builder().method(method).uri(format!("{base}{path}"));
        let mut request = request
            .body(Full::from(body.unwrap_or_default()))
            .map_err(Problem::internal)?;
        let headers = request.headers_mut();
        headers.extend(identity.headers());
        for (name, value) in current_ids().iter().flat_map(crate::RequestIds::headers) {
            if let Ok(value) = HeaderValue::from_maybe_shared(value.into_bytes()) {
                headers.insert(name, value);
            }
        }
        if is_json {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(request)
    }

    /// One attempt: the status, and the whole body.
    async fn once(&self, request: Request<Full<Bytes>>) -> std::result::Result<(StatusCode, Bytes), String> {
        let response = self.http.request(request).await;
        let (head, body) = response.map_err(|error| with_causes(&error))?.into_parts();
        let body = Limited::new(body, MOST_BYTES).collect().await;
        let body = body.map_err(|error| with_causes(error.as_ref()))?;
        Ok((head.status, body.to_bytes()))
    }

    /// `GET` into a type; any other status than 2xx is an error.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.call(Method::GET, path, None::<&()>).await?;
        self.typed(answer)
    }

    /// `POST` of JSON into a type; any other status than 2xx is an error.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let answer = self.call(Method::POST, path, Some(body)).await?;
        self.typed(answer)
    }

    /// As `post`, on behalf of somebody.
    pub async fn post_as<T: DeserializeOwned>(
        &self,
        identity: &Identity,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let answer = self.call_as(identity, Method::POST, path, Some(body)).await?;
        self.typed(answer)
    }

    fn read(&self, status: StatusCode, bytes: Bytes) -> Result<Answer> {
        let body = if bytes.is_empty() {
            // Such as 204.
            Ok(Value::Null)
        } else {
            serde_json::from_slice(&bytes)
        };
        match body {
            Ok(body) => Ok(Answer { status, body }),
            Err(error) => {
                let detail = format!("status {status}: {error}");
                Err(self.unavailable(StatusCode::BAD_GATEWAY, &detail))
            }
        }
    }

    fn typed<T: DeserializeOwned>(&self, answer: Answer) -> Result<T> {
        if !answer.status.is_success() {
            let code = answer.body["code"]
                .as_str()
                .unwrap_or("UPSTREAM_ERROR")
                .to_owned();
            let message = answer.body["error"]
                .as_str()
                .unwrap_or("the other service refused")
                .to_owned();
            let status = if answer.status.is_server_error() {
                StatusCode::BAD_GATEWAY
            } else {
                answer.status
            };
            return Err(Problem::new(status, code, message).field("upstream", self.name));
        }
        serde_json::from_value(answer.body).map_err(|error| {
            self.unavailable(StatusCode::BAD_GATEWAY, &format!("unexpected answer: {error}"))
        })
    }

    /// The problem to answer with where the other service could not be had.
    pub fn unavailable(&self, status: StatusCode, detail: &str) -> Problem {
        tracing::warn!(upstream = self.name, detail, "upstream is unavailable");
        let message = format!("{} does not answer", self.name);
        Problem::new(status, "UPSTREAM_UNAVAILABLE", message).field("upstream", self.name)
    }
}

/// The client of all calls between services: one pool of connections. It follows no redirect: no service may lead us
/// to another host.
pub fn client<B>() -> Client<HttpConnector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_PATIENCE));
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector)
}

/// An error with all that caused it, for the log: the outermost alone says little.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;

    use super::*;

    /// Somebody who takes every connection and, where `keeps`, holds it without a word; and how many came.
    async fn silent(keeps: bool) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                if keeps {
                    kept.push(stream);
                }
            }
        });
        (address, came)
    }

    async fn asked(keeps: bool, method: Method, limit: Duration) -> usize {
        let (address, came) = silent(keeps).await;
        let upstream = Upstream::new("x", Some(address), limit);
        let answer = upstream.call(method, "/", None::<&()>).await;
        assert_eq!(answer.unwrap_err().code(), "UPSTREAM_UNAVAILABLE");
        came.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn a_lost_connection_is_tried_again_and_a_deadline_is_the_end() {
        assert!(asked(true, Method::GET, Duration::from_millis(300)).await <= 1);
        assert_eq!(asked(false, Method::POST, testkit::PATIENCE).await, 1);
        assert_eq!(asked(false, Method::GET, testkit::PATIENCE).await, 2);
    }
}
