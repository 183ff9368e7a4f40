//! Events on their way to the stream: written with the change that they tell of, sent afterwards.

use std::time::Duration;

use contract::events::{Event, MOST};
use sqlx::Row;

use super::{Store, Stream};
use crate::error::{Error, Result};

/// Events sent at once.
const BATCH: i64 = 100;
/// One number for all replicas: one of them sends at a time, so that the order stays. "wf-event" in ASCII.
const LOCK: i64 = 0x7766_2d65_7665_6e74;

impl Store {
    /// Ends when this process has written an event, or after `patience`: other replicas may have.
    pub(crate) async fn event_written(&self, patience: Duration) {
        // Either is a reason to look.
        let _ = tokio::time::timeout(patience, self.0.events.notified()).await;
    }

    /// Sends the oldest events; how many they were. They are gone only when the stream has them, so that one may
    /// be sent twice, but none is lost.
    pub(crate) async fn send_events(&self, stream: &Stream) -> Result<usize> {
        let mut change = self.change().await?;
        let mine: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *change)
            .await?;
        if !mine {
            return Ok(0);
        }
        let take = "WITH gone AS (
                DELETE FROM workflow.outbox WHERE place IN (
                    SELECT place FROM workflow.outbox ORDER BY place LIMIT $1)
                RETURNING place, event
            ) SELECT event::text FROM gone ORDER BY place";
        let rows = sqlx::query(take).bind(BATCH).fetch_all(&mut *change).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let events: Vec<Event> = rows
            .iter()
            .map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?))
            .collect::<Result<_>>()?;
        let sent = stream.send(&events).await;
        sent.map_err(|error| Error::Broken(format!("the stream does not take events: {error}")))?;
        change.commit().await?;
        Ok(events.len())
    }

    /// How many events wait.
    pub(crate) async fn events_waiting(&self) -> Result<i64> {
        let count = sqlx::query_scalar("SELECT count(*) FROM workflow.outbox");
        Ok(count.fetch_one(self.pool()?).await?)
    }

    /// Forgets what the stream would not keep either, where it has been away for long.
    pub(crate) async fn trim_events(&self) -> Result<u64> {
        let trim = "DELETE FROM workflow.outbox WHERE place <= (
                SELECT place FROM workflow.outbox ORDER BY place DESC OFFSET $1 LIMIT 1)";
        let gone = sqlx::query(trim)
            .bind(i64::try_from(MOST).unwrap_or(i64::MAX))
            .execute(self.pool()?)
            .await?;
        Ok(gone.rows_affected())
    }
}
