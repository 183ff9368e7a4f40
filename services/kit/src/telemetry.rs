//! The ids that tie together what is logged, here and by other services: `X-Request-ID` and W3C Trace Context
//! (`traceparent`, level 1).

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use serde::Serialize;

/// The ids of the request that is being served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestIds {
    pub request_id: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits: our own span, the parent of what we call.
    pub span_id: String,
}

tokio::task_local! {
    static CURRENT: RequestIds;
}

/// The ids of the current request; `None` outside one.
pub fn current_ids() -> Option<RequestIds> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Takes the current request's ids along, for work that is spawned and outlives its request.
pub fn carrying_ids<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let ids = current_ids();
    async move {
        match ids {
            Some(ids) => CURRENT.scope(ids, work).await,
            None => work.await,
        }
    }
}

/// Works for a request whose ids came by another way than this process's HTTP handlers.
pub fn with_ids<F: Future>(ids: RequestIds, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(ids, work)
}

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl RequestIds {
    /// Takes over what a caller sent where it is well-formed; makes up the rest.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let sendable =
            |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        let request_id = text(&REQUEST_ID)
            .filter(sendable)
            .map_or_else(new_id, str::to_owned);
        let own = new_id();
        let span_id = own[16..].to_owned();
        let trace_id = text(&TRACEPARENT).and_then(trace_id_of).unwrap_or(own);
        RequestIds {
            request_id,
            trace_id,
            span_id,
        }
    }

    /// The headers for a call to another service.
    pub fn headers(&self) -> [(HeaderName, String); 2] {
        let traceparent = format!("00-{}-{}-01", self.trace_id, self.span_id);
        [(REQUEST_ID, self.request_id.clone()), (TRACEPARENT, traceparent)]
    }
}

thread_local! {
    /// Keys from the system's randomness, one pair a thread, and how many ids were made of them.
    static IDS: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
}

/// 32 hex digits: a keyed hash (SipHash) of a number that never comes again. Nobody guesses the next one without the
/// keys; asking the system for every id would cost each request two calls of it. For ids, not for secrets.
fn new_id() -> String {
    IDS.with(|(keys, made)| {
        let number = made.get();
        made.set(number.wrapping_add(1));
        let halves = [keys.hash_one((number, 0)), keys.hash_one((number, 1))];
        hex(halves.map(u64::to_be_bytes).as_flattened())
    })
}

/// Two digits a byte. Each request needs it twice, and `format!` makes an id take twice the instructions.
fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(digits).collect()
}

/// The trace id of `00-<32 hex>-<16 hex>-<2 hex>`, unless it is malformed or all zero (section 3.2.2.3).
fn trace_id_of(traceparent: &str) -> Option<String> {
    let parts: Vec<&str> = traceparent.split('-').collect();
    let [version, trace, span, _flags] = parts[..] else {
        return None;
    };
    let hex = |text: &str, length| {
        text.len() == length
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let valid = version == "00" && hex(trace, 32) && hex(span, 16) && trace.bytes().any(|b| b != b'0');
    valid.then(|| trace.to_owned())
}

/// Gives every request its ids, one log line, and echoes the request id.
pub(crate) async fn trace<F>(mut request: Request, serve: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let ids = RequestIds::from_headers(request.headers());
    request.extensions_mut().insert(ids.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let echo = HeaderValue::from_str(&ids.request_id);
    let begun = std::time::Instant::now();
    let serving = async {
        let response = serve(request).await;
        let status = response.status().as_u16();
        let took_ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        if is_probe(&path) {
            tracing::debug!(%method, path, status, took_ms, "served");
        } else {
            tracing::info!(%method, path, status, took_ms, "served");
        }
        response
    };
    let mut response = CURRENT.scope(ids, serving).await;
    if let Ok(echo) = echo {
        response.headers_mut().insert(REQUEST_ID, echo);
    }
    response
}

/// Probes come every second or so; they are logged at `debug` alone, and answered while draining.
pub fn is_probe(path: &str) -> bool {
    matches!(
        path,
        "/live" | "/health" | "/healthz" | "/ready" | "/readyz" | "/startup" | "/metrics"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_callers_ids_are_kept_and_a_new_span_is_opened() {
        let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let ids = RequestIds::from_headers(&headers(&[("traceparent", sent), ("x-request-id", "r-1")]));
        assert_eq!(
            (ids.request_id.as_str(), ids.trace_id.as_str()),
            ("r-1", "0af7651916cd43dd8448eb211c80319c")
        );
        assert_ne!(ids.span_id, "b7ad6b7169203331");
        assert_eq!(
            ids.headers()[1].1,
            format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", ids.span_id)
        );
    }

    #[test]
    fn ids_never_come_again_on_whatever_thread() {
        let some = || (0..1000).map(|_| new_id()).collect::<Vec<_>>();
        let other = std::thread::spawn(some);
        let mut all = [some(), other.join().unwrap()].concat();
        assert!(
            all.iter()
                .all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
        );
        // The halves, too: the second one is a span's id.
        let halves: std::collections::BTreeSet<_> = all.iter().map(|id| id[16..].to_owned()).collect();
        all.sort();
        all.dedup();
        assert_eq!((all.len(), halves.len()), (2000, 2000));
    }

    #[test]
    fn malformed_ids_are_replaced() {
        for wrong in [
            "",
            "00-xyz",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "01-0-0-0",
        ] {
            assert_eq!(trace_id_of(wrong), None, "{wrong}");
        }
        let ids = RequestIds::from_headers(&headers(&[("x-request-id", "two words")]));
        assert_eq!(ids.request_id.len(), 32);
    }
}
