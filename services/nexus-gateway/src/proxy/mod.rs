//! Passing calls on to the services behind the gateway: one pool of connections, a breaker and a tally for each
//! service, bodies that stream both ways.

mod body;
mod tally;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderName, Method, Request, Response, StatusCode, Uri, header, uri::Parts, uri::PathAndQuery},
};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError, connect::HttpConnector};
use kit::{
    Health, Problem,
    upstream::{self, with_causes},
};

use self::{
    body::{Passing, Upload},
    tally::{Outcome, Tally},
};
use crate::{
    config::Edge,
    domain::{
        breaker::{Breaker, Position},
        forwarding::Service,
    },
};

/// By this header a service says that it works, and that a caller's own run is what failed.
const RUN_FAILED: HeaderName = HeaderName::from_static("x-run-failed");

/// The services as the proxy sees them.
pub(crate) struct Proxy {
    client: Client<HttpConnector, Body>,
    targets: [Target; Service::ALL.len()],
    head_timeout: Duration,
    idle_timeout: Duration,
    body_limit_bytes: u64,
    health: Health,
}

struct Target {
    name: &'static str,
    /// `http://host:port`, taken apart.
    base: Option<Parts>,
    breaker: Breaker,
    tally: Tally,
}

impl Proxy {
    pub(crate) fn new(
        bases: &[Option<String>; Service::ALL.len()],
        head_timeout: Duration,
        edge: &Edge,
        health: Health,
    ) -> Self {
        let targets = Service::ALL.map(|service| Target {
            name: service.name(),
            base: base_of(bases[service as usize].as_deref()),
            breaker: Breaker::new(edge.breaker_open),
            tally: Tally::new(service.name()),
        });
        Self {
            client: upstream::client(),
            targets,
            head_timeout,
            idle_timeout: edge.body_idle_timeout,
            body_limit_bytes: edge.body_limit_bytes,
            health,
        }
    }

    /// Sends `request`, whose headers are those for the service already, to `path` of a service, and gives its
    /// answer. What was sent without a body and may be repeated is sent again once where no answer came. A stream of
    /// events ends with the future that `end` makes.
    ///
    /// # Errors
    /// 413 `BODY_TOO_LARGE`, 408 `BODY_TIMEOUT` and 400 `BODY_INCOMPLETE` where the caller's body is at fault;
    /// 502 and 503 `UPSTREAM_UNAVAILABLE`.
    pub(crate) async fn send<E>(
        &self,
        service: Service,
        path: PathAndQuery,
        request: Request<Body>,
        end: impl FnOnce() -> E,
    ) -> Result<Response<Body>, Problem>
    where
        E: Future<Output = ()> + Send + 'static,
    {
        let target = &self.targets[service as usize];
        let (mut parts, body) = request.into_parts();
        parts.uri = target.uri(path)?;
        let (body, upload) = self.upward(body)?;
        let admitted = target.breaker.admit(Instant::now());
        let admitted = admitted.map_err(|wait| target.left_alone(wait))?;
        let repeat = (upload.is_none() && may_be_repeated(&parts.method)).then(|| head(&parts));
        let asked = parts.method == Method::GET;
        let request = Request::from_parts(parts, body);
        let begun = Instant::now();
        let ended = self
            .in_time(self.attempts(request, repeat), upload.as_deref())
            .await;
        let outcome = match &ended {
            Some(Ok(answer)) => Outcome::of(answer.status(), answer.headers().contains_key(RUN_FAILED)),
            _ if upload.as_ref().is_some_and(|upload| upload.failed()) => Outcome::Aborted,
            Some(Err(error)) if error.is_connect() => Outcome::Unreachable,
            Some(Err(_)) => Outcome::Broken,
            None => Outcome::Timeout,
        };
        let now = Instant::now();
        if outcome == Outcome::Aborted {
            drop(admitted);
        } else {
            target
                .tally
                .position(admitted.ended(outcome.counts_as_failure(), now));
        }
        target.tally.count(outcome, now - begun);
        match ended {
            Some(Ok(answer)) => Ok(self.downward(answer, asked, end)),
            ended => Err(target.failed(ended.and_then(Result::err).as_ref(), upload.as_deref())),
        }
    }

    /// How a service's breaker stands.
    pub(crate) fn position(&self, service: Service) -> Position {
        self.targets[service as usize].breaker.position(Instant::now())
    }

    /// The problem of an answer that cannot be used; `detail` is for the log.
    pub(crate) fn broken(&self, service: Service, detail: &str) -> Problem {
        self.targets[service as usize].unavailable(StatusCode::BAD_GATEWAY, detail)
    }

    /// `None`: it took too long. A service's time begins when it has all that it is sent; until then it is the
    /// caller who may be late, and who is not waited for any longer either.
    async fn in_time<T>(&self, sending: impl Future<Output = T>, upload: Option<&Upload>) -> Option<T> {
        let mut sending = pin!(sending);
        if let Some(upload) = upload {
            tokio::select! {
                ended = &mut sending => return Some(ended),
                () = upload.through() => {}
                () = tokio::time::sleep(self.head_timeout) => {
                    upload.stands_still();
                    return None;
                }
            }
        }
        tokio::time::timeout(self.head_timeout, sending).await.ok()
    }

    async fn attempts(
        &self,
        request: Request<Body>,
        repeat: Option<Request<Body>>,
    ) -> Result<Response<Incoming>, ClientError> {
        match (self.client.request(request).await, repeat) {
            (Err(error), Some(again)) if !has_answered(&error) => self.client.request(again).await,
            (ended, _) => ended,
        }
    }

    /// The caller's body on its way to a service; with the place where it tells how it gets on, unless it is empty.
    fn upward(&self, body: Body) -> Result<(Body, Option<Arc<Upload>>), Problem> {
        if body.is_end_stream() {
            return Ok((Body::empty(), None));
        }
        if body.size_hint().lower() > self.body_limit_bytes {
            return Err(body::too_large());
        }
        let upload = Arc::new(Upload::default());
        let passing = Passing::new(body, self.idle_timeout).limited(self.body_limit_bytes, upload.clone());
        Ok((Body::new(passing), Some(upload)))
    }

    fn downward<E>(&self, answer: Response<Incoming>, asked: bool, end: impl FnOnce() -> E) -> Response<Body>
    where
        E: Future<Output = ()> + Send + 'static,
    {
        let (mut parts, body) = answer.into_parts();
        parts.headers.remove(RUN_FAILED);
        if body.is_end_stream() {
            return Response::from_parts(parts, Body::new(body));
        }
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let events = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let mut passing = Passing::new(body, self.idle_timeout);
        if events {
            // One that was asked for by GET would outlast any drain: its client is told to come back by its end. One
            // that answers a POST ends with the work, which draining waits for.
            let health = asked.then(|| self.health.clone());
            let end = end();
            passing = passing.until(async move {
                match health {
                    Some(health) => tokio::select! {
                        () = health.draining() => {}
                        () = end => {}
                    },
                    None => end.await,
                }
            });
        }
        Response::from_parts(parts, Body::new(passing))
    }
}

impl Target {
    fn uri(&self, path: PathAndQuery) -> Result<Uri, Problem> {
        let Some(base) = &self.base else {
            return Err(self.unavailable(StatusCode::SERVICE_UNAVAILABLE, "its address is not set"));
        };
        let mut parts = Parts::default();
        parts.scheme.clone_from(&base.scheme);
        parts.authority.clone_from(&base.authority);
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(Problem::internal)
    }

    fn left_alone(&self, wait: Duration) -> Problem {
        self.tally.count(Outcome::Refused, Duration::ZERO);
        let wait_s = wait.as_secs_f64().ceil().max(1.0);
        self.problem(StatusCode::SERVICE_UNAVAILABLE)
            .header(header::RETRY_AFTER, format!("{wait_s}"))
    }

    /// `None`: there was no answer in time.
    fn failed(&self, error: Option<&ClientError>, upload: Option<&Upload>) -> Problem {
        if let Some(problem) = upload.and_then(Upload::problem) {
            return problem;
        }
        match error {
            None => self.unavailable(StatusCode::SERVICE_UNAVAILABLE, "no answer in time"),
            Some(error) if error.is_connect() => {
                self.unavailable(StatusCode::SERVICE_UNAVAILABLE, &with_causes(error))
            }
            Some(error) => self.unavailable(StatusCode::BAD_GATEWAY, &with_causes(error)),
        }
    }

    fn unavailable(&self, status: StatusCode, detail: &str) -> Problem {
        tracing::warn!(upstream = self.name, detail, "upstream is unavailable");
        self.problem(status)
    }

    fn problem(&self, status: StatusCode) -> Problem {
        Problem::new(
            status,
            "UPSTREAM_UNAVAILABLE",
            format!("{} does not answer", self.name),
        )
        .field("upstream", self.name)
    }
}

fn base_of(url: Option<&str>) -> Option<Parts> {
    url?.parse().ok().map(Uri::into_parts)
}

/// RFC 9110 section 9.2.2.
fn may_be_repeated(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}

/// The same request again, without a body.
fn head(parts: &axum::http::request::Parts) -> Request<Body> {
    let mut again = Request::new(Body::empty());
    again.method_mut().clone_from(&parts.method);
    again.uri_mut().clone_from(&parts.uri);
    again.headers_mut().clone_from(&parts.headers);
    again
}

/// Whether something came back that could not be read: then the call has arrived, and is not repeated.
fn has_answered(error: &ClientError) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<hyper::Error>());
    cause.is_some_and(hyper::Error::is_parse)
}
