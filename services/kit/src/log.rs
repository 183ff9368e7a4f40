//! The log: one line of JSON an event on standard output, with the ids of the request that it belongs to.

use std::fmt;

use serde::Serialize;
use tracing::{Event, Subscriber};
use tracing_serde::fields::{AsMap, SerializeFieldMap};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::telemetry::{RequestIds, current_ids};

/// Starts the log. Called once, by `main`.
pub(crate) fn start(level: &str) {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .event_format(Lines)
        .init();
}

/// Takes a request's ids from its task when something is logged: a span would write them down for every request,
/// most of which log nothing.
struct Lines;

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    #[serde(flatten)]
    fields: SerializeFieldMap<'a, Event<'a>>,
    target: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<Span>,
}

#[derive(Serialize)]
struct Span {
    name: &'static str,
    #[serde(flatten)]
    ids: RequestIds,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let line = line(event).map_err(|_| fmt::Error)?;
        writeln!(out, "{line}")
    }
}

fn line(event: &Event<'_>) -> serde_json::Result<String> {
    let mut timestamp = String::with_capacity(32);
    // Writing into a text does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let about = event.metadata();
    serde_json::to_string(&Line {
        timestamp,
        level: about.level().as_str(),
        fields: event.field_map(),
        target: about.target(),
        span: current_ids().map(|ids| Span { name: "request", ids }),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::telemetry::with_ids;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[tokio::test]
    async fn a_line_is_one_object_and_has_the_ids_of_its_request() {
        let kept = Kept::default();
        let log = tracing_subscriber::fmt()
            .event_format(Lines)
            .with_writer(kept.clone())
            .finish();
        let ids = RequestIds {
            request_id: "r-1".into(),
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            span_id: "b7ad6b7169203331".into(),
        };
        let _log = tracing::subscriber::set_default(log);
        tracing::warn!(name = "a \"b\"\n", took_ms = 1.5, kept = true, "said {}", 7);
        with_ids(ids, async { tracing::info!(error = %"why", "within") }).await;
        tracing::debug!("not asked for");

        let written = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = written
            .lines()
            .map(|line| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                let at = line.as_object_mut().unwrap().remove("timestamp").unwrap();
                assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
                line
            })
            .collect();
        let target = "kit::log::tests";
        let expected = json!([
            { "level": "WARN", "message": "said 7", "name": "a \"b\"\n", "took_ms": 1.5, "kept": true,
              "target": target },
            { "level": "INFO", "message": "within", "error": "why", "target": target,
              "span": { "name": "request", "request_id": "r-1",
                        "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331" } },
        ]);
        assert_eq!(Value::from(lines), expected);
    }
}
