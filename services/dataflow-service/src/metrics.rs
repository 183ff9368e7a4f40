//! Figures of this service: its pool, its nodes, its slow queries. Labels are models, operations and outcomes,
//! never a caller's text.

use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};

use crate::error::Error;

/// One call of a node, from its first statement to its last.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    model: &'a str,
    operation: &'static str,
    begun: Instant,
}

impl<'a> Call<'a> {
    pub(crate) fn begin(model: &'a str, operation: &'static str) -> Self {
        Call {
            model,
            operation,
            begun: Instant::now(),
        }
    }

    /// Counts it, and names it in the log where it took longer than `slow`.
    pub(crate) fn end<T>(&self, result: &Result<T, Error>, slow: Duration) {
        let took = self.begun.elapsed();
        let outcome = match result {
            Ok(_) => "ok",
            Err(error) => error.class(),
        };
        let model = self.model.to_owned();
        counter!(
            "dataflow_node_calls_total",
            "model" => model.clone(), "operation" => self.operation, "outcome" => outcome
        )
        .increment(1);
        histogram!("dataflow_node_duration_seconds", "operation" => self.operation).record(took);
        if took < slow {
            return;
        }
        counter!("dataflow_slow_calls_total", "model" => model, "operation" => self.operation).increment(1);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            model = self.model,
            node = self.operation,
            took_ms,
            outcome,
            "slow query"
        );
    }
}

/// How long a request waited for a connection.
pub(crate) fn waited(since: Instant, got_one: bool) {
    histogram!("dataflow_pool_wait_duration_seconds").record(since.elapsed());
    if !got_one {
        counter!("dataflow_pool_exhausted_total").increment(1);
    }
}

/// Connections of the pool whose connections touch rows.
pub(crate) fn pool(size: u32, idle: usize, most: u32) {
    let idle = u32::try_from(idle).unwrap_or(size);
    gauge!("dataflow_pool_connections", "state" => "idle").set(f64::from(idle));
    gauge!("dataflow_pool_connections", "state" => "used").set(f64::from(size.saturating_sub(idle)));
    gauge!("dataflow_pool_connections_most").set(f64::from(most));
}
