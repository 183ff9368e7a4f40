//! What happened to rows, told after it was committed. A write leaves an event in the outbox within its own
//! transaction; a relay moves events to the stream in Redis: at least once, each with an id of its own.

use std::time::Duration;

use contract::events::{Event, FIELD, MOST, STREAM};
use kit::{Health, OnLoss};
use metrics::{counter, gauge};
use redis::aio::ConnectionManager;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::Store;
use crate::error::{Error, Result};

/// Events moved in one transaction.
const BATCH: i64 = 500;
/// How soon the events of a replica that died are seen; those of this process wake the relay at once.
const EVERY: Duration = Duration::from_secs(1);
/// Writes that come together are told together.
const GATHER: Duration = Duration::from_millis(20);
/// After Redis did not take them.
const BACKOFF: Duration = Duration::from_secs(2);
/// Events kept while Redis is away. The stream itself keeps a tenth of that, so that older ones could not be
/// read there either.
const KEPT: i64 = 10 * MOST as i64;

impl Store {
    /// A write was committed: its event need not wait for the relay's next look.
    pub(super) fn wake_relay(&self) {
        self.0.written.notify_one();
    }

    /// Moves events for ever, and tells `/ready` when they have to wait.
    pub(crate) fn start_relay(&self, health: &Health) {
        let checked = self.clone();
        health.watch("outbox", OnLoss::Degrade, move || {
            let store = checked.clone();
            async move { store.check_outbox().await }
        });
        let store = self.clone();
        tokio::spawn(async move {
            loop {
                let pause = match store.relay().await {
                    Ok(()) => EVERY,
                    Err(error) => {
                        tracing::debug!(%error, "events wait");
                        tokio::time::sleep(BACKOFF).await;
                        continue;
                    }
                };
                // A wait that ends by itself is the usual case.
                let _ = tokio::time::timeout(pause, store.0.written.notified()).await;
                tokio::time::sleep(GATHER).await;
            }
        });
    }

    /// Until nothing is left that another replica does not move.
    async fn relay(&self) -> Result<()> {
        while self.relay_some().await? == BATCH as usize {}
        Ok(())
    }

    /// Rows are locked until Redis has them: another replica skips them, and has them again should this process
    /// die in between.
    async fn relay_some(&self) -> Result<usize> {
        let redis = self.redis()?;
        let mut change = self.begin().await?;
        let taken = "DELETE FROM dataflow.outbox WHERE seq IN (
                SELECT seq FROM dataflow.outbox ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED
            ) RETURNING seq, id::text, kind, tenant, data,
                to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        let mut rows = sqlx::query(taken).bind(BATCH).fetch_all(&mut *change).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        // `RETURNING` promises no order.
        rows.sort_by_key(|row| row.try_get::<i64, _>(0).unwrap_or_default());
        let events = rows.iter().map(event_of).collect::<Result<Vec<_>>>()?;
        self.publish(redis, &events).await?;
        change.commit().await?;
        counter!("dataflow_events_total").increment(events.len() as u64);
        Ok(events.len())
    }

    async fn publish(&self, mut redis: ConnectionManager, events: &[Event]) -> Result<()> {
        let mut pipeline = redis::pipe();
        for event in events {
            let entry = pipeline.cmd("XADD").arg(STREAM).arg("MAXLEN").arg("~").arg(MOST);
            entry
                .arg("*")
                .arg(FIELD)
                .arg(serde_json::to_string(event)?)
                .ignore();
        }
        let sent: redis::RedisResult<()> = pipeline.query_async(&mut redis).await;
        sent.map_err(|error| {
            self.redis_failed(&error);
            Error::Broken("redis does not take events".to_owned())
        })
    }

    /// How many events wait, and that there are not too many.
    async fn check_outbox(&self) -> Result<()> {
        let asked = "SELECT count(*), coalesce(extract(epoch FROM now() - min(at)), 0)::float8, max(seq)
                     FROM dataflow.outbox";
        let row = sqlx::query(asked).fetch_one(self.pool()?).await?;
        let (count, age_s): (i64, f64) = (row.try_get(0)?, row.try_get(1)?);
        gauge!("dataflow_outbox_events").set(count as f64);
        gauge!("dataflow_outbox_oldest_seconds").set(age_s);
        if count > KEPT {
            let newest: i64 = row.try_get::<Option<i64>, _>(2)?.unwrap_or_default();
            self.forget_events(newest - KEPT).await?;
        }
        if age_s > BACKOFF.as_secs_f64() * 2.0 {
            return Err(Error::Broken(format!("{count} events wait for redis")));
        }
        Ok(())
    }

    async fn forget_events(&self, until: i64) -> Result<()> {
        let forgotten = sqlx::query("DELETE FROM dataflow.outbox WHERE seq <= $1")
            .bind(until)
            .execute(self.pool()?)
            .await?
            .rows_affected();
        counter!("dataflow_events_forgotten_total").increment(forgotten);
        tracing::warn!(
            events = forgotten,
            kept = KEPT,
            "redis was away too long: the oldest events are gone"
        );
        Ok(())
    }
}

fn event_of(row: &PgRow) -> Result<Event> {
    Ok(Event {
        id: row.try_get(1)?,
        kind: row.try_get(2)?,
        tenant: row.try_get(3)?,
        data: serde_json::from_str(&row.try_get::<String, _>(4)?)?,
        at: row.try_get(5)?,
    })
}
