//! `Idempotency-Key`: a call that is made again with the same key and body gets the first one's answer, from any
//! replica (draft-ietf-httpapi-idempotency-key-header-07). Only such calls have their bodies read here.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use kit::Problem;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::STORE_PATIENCE;
use crate::{
    config::Edge,
    routes::{caller::Caller, sessions},
    state::App,
    store::{Claim, Claimed, Idempotency, Kept, Owner},
};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const LONGEST_KEY: usize = 255;
/// Larger answers are not kept.
const MOST_KEPT_BYTES: usize = 1 << 20;
/// How long the store may take to keep an answer.
const KEEPING: Duration = Duration::from_secs(5);
/// Headers of an answer that are kept with it.
const KEPT_HEADERS: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::LOCATION,
    header::ETAG,
    header::CACHE_CONTROL,
];

/// The key of a call that has one and may.
pub(super) fn key(request: &Request) -> Option<HeaderValue> {
    let key = request.headers().get(KEY)?;
    let path = request.uri().path();
    let ours = path == "/workflows"
        || ["/workflows/", "/executions/", "/api/dataflow/"]
            .iter()
            .any(|root| path.starts_with(root));
    (ours && matches!(*request.method(), Method::POST | Method::PATCH)).then(|| key.clone())
}

/// A call that is to be made once.
pub(super) struct Once<'a> {
    pub(super) app: &'a App,
    pub(super) settings: &'a Edge,
    pub(super) caller: Caller,
}

impl Once<'_> {
    /// The kept answer, or the call's own, which is kept before it is given.
    ///
    /// # Errors
    /// 400 `IDEMPOTENCY_KEY_INVALID`, 409 `IDEMPOTENCY_MISMATCH` and `IDEMPOTENCY_IN_FLIGHT`, 503 without PostgreSQL.
    pub(super) async fn run(
        self,
        key: HeaderValue,
        request: Request,
        next: Next,
    ) -> Result<Response, Problem> {
        let key = key
            .to_str()
            .ok()
            .filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
        let key = key.ok_or_else(|| {
            let words = format!("an Idempotency-Key has 1 to {LONGEST_KEY} visible characters");
            Problem::new(StatusCode::BAD_REQUEST, "IDEMPOTENCY_KEY_INVALID", words)
        })?;
        let (parts, body) = request.into_parts();
        let body = self.read(body).await?;
        let owner = Owner {
            key: key.to_owned(),
            tenant: self.caller.tenant.to_string(),
            username: self.caller.user.to_string(),
        };
        let store = Idempotency::new(self.app.database()?);
        let times = Times::of(self.settings);
        let print = fingerprint(&parts, &body);
        let claimed = tokio::time::timeout(STORE_PATIENCE, store.claim(&owner, &print, times.claim)).await;
        let claimed = claimed.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        match claimed.map_err(lost)? {
            Claimed::Ours(claim) => {
                let request = Request::from_parts(parts, Body::from(body));
                let place = Place { store, owner, claim };
                made(self.app.clone(), place, times, request, next).await
            }
            Claimed::Kept(kept) => Ok(replayed(kept)),
            Claimed::InFlight => Err(Problem::new(
                StatusCode::CONFLICT,
                "IDEMPOTENCY_IN_FLIGHT",
                "a call with this key is under way",
            )
            .header(header::RETRY_AFTER, "1")),
            Claimed::Mismatch => Err(Problem::new(
                StatusCode::CONFLICT,
                "IDEMPOTENCY_MISMATCH",
                "this key was used for another call",
            )),
        }
    }

    async fn read(&self, body: Body) -> Result<Bytes, Problem> {
        let most = usize::try_from(self.settings.body_limit_bytes).unwrap_or(usize::MAX);
        let reading = axum::body::to_bytes(body, most);
        match tokio::time::timeout(self.settings.request_timeout, reading).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if is_too_large(&error) => Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "BODY_TOO_LARGE",
                "the body is too large",
            )),
            Ok(Err(_)) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "BODY_INCOMPLETE",
                "the body ended before its end",
            )),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "BODY_TIMEOUT",
                "the body took too long",
            )),
        }
    }
}

/// How long each part of a call with a key may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Until its answer's body is there, counted from its head.
    gather: Duration,
    /// Until a service that has not answered is given up.
    upstream: Duration,
    /// All of it: nobody else makes the call before.
    claim: Duration,
}

impl Times {
    fn of(settings: &Edge) -> Self {
        Self {
            gather: settings.request_timeout,
            upstream: settings.upstream_timeout.min(settings.request_timeout),
            claim: 2 * settings.request_timeout + KEEPING,
        }
    }

    /// Whether nobody can tell if the call was made: its answer was lost (502, 504) or did not come in time, which is
    /// a 503 that took so long. Other 503s are told before a service has the call.
    fn leave_open(self, status: StatusCode, took: Duration) -> bool {
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => true,
            StatusCode::SERVICE_UNAVAILABLE => took >= self.upstream,
            _ => false,
        }
    }
}

/// Where an answer is kept.
struct Place {
    store: Idempotency,
    owner: Owner,
    claim: Claim,
}

impl Place {
    async fn release(&self) -> sqlx::Result<()> {
        self.store.release(&self.owner, self.claim).await
    }
}

/// Makes the call to its end, even if its caller goes away: another one may come for the answer.
async fn made(
    app: App,
    place: Place,
    times: Times,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let making = kit::carrying_ids(async move {
        let begun = Instant::now();
        let response = sessions::follow(&app, request, next).await;
        match times.leave_open(response.status(), begun.elapsed()) {
            // The claim stays to its end: made again at once, the call might be made twice.
            true => response,
            false => keep(&place, times.gather, response).await,
        }
    });
    match tokio::spawn(making).await {
        Ok(response) => Ok(response),
        Err(error) => Err(Problem::internal(error)),
    }
}

/// Keeps an answer that may be kept, and gives the claim back for any other.
async fn keep(place: &Place, patience: Duration, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let endless = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let too_large = body.size_hint().lower() > MOST_KEPT_BYTES as u64;
    let gathered = match parts.status.as_u16() < 400 && !endless && !too_large {
        true => gather(body, patience).await,
        false => Gathered::More(body),
    };
    let (noted, body) = match gathered {
        Gathered::All(bytes) => {
            let kept = Kept {
                status: parts.status.as_u16(),
                headers: kept_headers(&parts.headers),
                body: bytes.to_vec(),
            };
            let noted = match place.store.keep(&place.owner, place.claim, &kept).await {
                Ok(false) => place.release().await,
                noted => noted.map(drop),
            };
            (noted, Body::from(bytes))
        }
        Gathered::More(body) => (place.release().await, body),
        Gathered::Late(body) => (Ok(()), body),
    };
    if let Err(error) = noted {
        // The call was made: that its answer cannot be given twice is no reason not to give it once.
        tracing::warn!(%error, "an answer cannot be kept for its key");
    }
    Response::from_parts(parts, body)
}

enum Gathered {
    All(Bytes),
    /// Too large, or broken: what was read, with the rest.
    More(Body),
    /// Not there in time: the same.
    Late(Body),
}

async fn gather(body: Body, patience: Duration) -> Gathered {
    let until = Instant::now() + patience;
    let mut rest = body.into_data_stream();
    let mut gathered: Vec<u8> = Vec::new();
    loop {
        let piece = match tokio::time::timeout_at(until, rest.next()).await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Gathered::All(Bytes::from(gathered)),
            Err(_) => {
                let before = futures_util::stream::iter([Ok(Bytes::from(gathered))]);
                return Gathered::Late(Body::from_stream(before.chain(rest)));
            }
        };
        let (piece, fits) = match piece {
            Ok(bytes) => {
                let fits = gathered.len() + bytes.len() <= MOST_KEPT_BYTES;
                (Ok(bytes), fits)
            }
            Err(error) => (Err(error), false),
        };
        match piece {
            Ok(bytes) if fits => gathered.extend_from_slice(&bytes),
            piece => {
                let before = futures_util::stream::iter([Ok(Bytes::from(gathered)), piece]);
                return Gathered::More(Body::from_stream(before.chain(rest)));
            }
        }
    }
}

fn replayed(kept: Kept) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = (status, kept.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    for (name, value) in kept.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |name: &HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
    KEPT_HEADERS
        .iter()
        .filter_map(|name| Some((name.to_string(), text(name)?)))
        .collect()
}

/// What makes two calls the same: method, path, query, kind and body.
fn fingerprint(parts: &Parts, body: &[u8]) -> Vec<u8> {
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let mut hash = Sha256::new();
    for part in [
        parts.method.as_str().as_bytes(),
        parts.uri.to_string().as_bytes(),
        kind.map_or(&b""[..], HeaderValue::as_bytes),
        body,
    ] {
        // The length keeps two parts apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

fn lost(error: sqlx::Error) -> Problem {
    Problem::unavailable(
        "IDEMPOTENCY_STORE_UNAVAILABLE",
        "the store of answers does not answer",
        error,
    )
}

/// Named by its words: its type belongs to a library that is not ours to depend on.
fn is_too_large(error: &dyn std::error::Error) -> bool {
    let mut cause = Some(error);
    while let Some(one) = cause {
        if one.to_string() == "length limit exceeded" {
            return true;
        }
        cause = one.source();
    }
    false
}

#[cfg(test)]
mod tests;
