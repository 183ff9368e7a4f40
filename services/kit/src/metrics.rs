//! Prometheus metrics (text format 0.0.4): requests by route and status, and the process's memory.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{Label, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// One recorder a process (the `metrics` facade has no other kind); tests may start several routers.
fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let seconds = [
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            ];
            let matcher = Matcher::Suffix("_duration_seconds".to_owned());
            PrometheusBuilder::new()
                .set_buckets_for_metric(matcher, &seconds)
                .ok()?
                .install_recorder()
                .ok()
        })
        .as_ref()
}

/// Starts recording, so that services may hold counters from the beginning. What ends in `_duration_seconds` has
/// buckets.
pub(crate) fn start() {
    recorder();
}

/// What a histogram is given lies in memory, value for value, until it is put into its buckets.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Keeps what is recorded small, for as long as the runtime lives, whether anybody asks for figures or not.
pub(crate) fn keep_up() {
    if let Some(recorder) = recorder() {
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP_EVERY).await;
                recorder.run_upkeep();
            }
        });
    }
}

/// A method as a label. Whoever asks may invent methods, and each new label stays in memory for good.
fn label_of(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("OTHER")
}

/// Counts and times a request under its route's pattern, so that ids in paths make no new series.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    recorder();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let method = label_of(request.method());
    let begun = Instant::now();
    let response = next.run(request).await;
    let mut labels = Vec::with_capacity(3);
    labels.push(Label::from_static_parts("method", method));
    labels.push(Label::new("route", route));
    histogram!("http_request_duration_seconds", labels.clone()).record(begun.elapsed());
    labels.push(Label::new("status", response.status().as_str().to_owned()));
    counter!("http_requests_total", labels).increment(1);
    response
}

/// `GET /metrics`.
pub(crate) async fn page() -> Response {
    let Some(recorder) = recorder() else {
        return axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    if let Some(bytes) = resident_bytes() {
        gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4");
    ([kind], recorder.render()).into_response()
}

/// Resident memory, from `/proc/self/status` (proc(5), `VmRSS`, in kB).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invented_method_makes_no_label() {
        assert_eq!(label_of(&Method::PATCH), "PATCH");
        for invented in ["BREW", "get", "GETT"] {
            assert_eq!(label_of(&invented.parse().unwrap()), "OTHER", "{invented}");
        }
    }
}
