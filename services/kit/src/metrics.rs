//! Prometheus metrics (text format 0.0.4): requests by route and status, and the process's memory.

use std::sync::OnceLock;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// One recorder a process (the `metrics` facade has no other kind); tests may start several routers.
fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let seconds = [
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            ];
            let matcher = Matcher::Full("http_request_duration_seconds".to_owned());
            PrometheusBuilder::new()
                .set_buckets_for_metric(matcher, &seconds)
                .ok()?
                .install_recorder()
                .ok()
        })
        .as_ref()
}

/// Counts and times a request under its route's pattern, so that ids in paths make no new series.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    recorder();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let method = request.method().as_str().to_owned();
    let begun = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    let labels = [("method", method), ("route", route), ("status", status)];
    counter!("http_requests_total", &labels).increment(1);
    histogram!("http_request_duration_seconds", &labels[..2]).record(begun.elapsed());
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
