//! The only SQL and Redis: definitions, runs with their history and signals in a schema of their own, and events
//! on their way to the stream.

mod bell;
mod executions;
mod leases;
mod outbox;
mod reading;
mod schema;
mod signals;
mod stream;
mod workflows;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres, Transaction};
use tokio::sync::Notify;

use crate::config::Config;
use crate::error::{Error, Result};

pub(crate) use bell::{Bell, Rings};
pub(crate) use executions::{Ending, Entry, error_of};
pub(crate) use reading::Wanted;
pub(crate) use stream::Stream;
pub(crate) use workflows::{Kept, Registration};

/// One number for all replicas; "workflow" in ASCII.
const LOCK: i64 = 0x776f_726b_666c_6f77;
/// PostgreSQL cancels what takes longer.
const STATEMENT_TIMEOUT_MS: &str = "10000";

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Option<PgPool>,
    keepers_pool: Option<PgPool>,
    /// Whether the tables are there since the database last came.
    prepared: AtomicBool,
    /// This process among the replicas: whose runs are whose.
    owner: String,
    lease: Duration,
    /// Told when an event was written that waits to be sent.
    events: Notify,
}

impl Store {
    /// A store that connects when it is first asked.
    pub(crate) fn new(config: &Config) -> Self {
        let pool = |connections| {
            let options = config.database.clone()?;
            let pool = PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(config.acquire_timeout)
                .connect_lazy_with(options.options([("statement_timeout", STATEMENT_TIMEOUT_MS)]));
            Some(pool)
        };
        Store(Arc::new(Inner {
            // One more is the bell's, for good.
            pool: pool(config.pool_size.saturating_add(1)),
            keepers_pool: pool(1),
            prepared: AtomicBool::new(false),
            owner: uuid::Uuid::new_v4().to_string(),
            lease: config.lease,
            events: Notify::new(),
        }))
    }

    /// Whether the database answers. When it comes, its tables are prepared; so again when it has been away,
    /// since it may have come back empty.
    pub(crate) async fn check(&self) -> Result<()> {
        let asked = if self.is_prepared() {
            self.ping().await
        } else {
            self.prepare().await
        };
        self.0.prepared.store(asked.is_ok(), Ordering::Relaxed);
        asked
    }

    /// Whether the database answered when it was last asked.
    pub(crate) fn is_prepared(&self) -> bool {
        self.0.prepared.load(Ordering::Relaxed)
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(self.pool()?).await?;
        Ok(())
    }

    async fn prepare(&self) -> Result<()> {
        let mut change = self.change().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(LOCK)
            .execute(&mut *change)
            .await?;
        schema::change(&mut change).await?;
        change.commit().await?;
        Ok(())
    }

    /// A transaction, begun in a task of its own, which no caller who goes away can stop halfway: sqlx 0.9 gives a
    /// connection whose `BEGIN` was given up back to the pool inside of that transaction, and what is written by it
    /// next is never committed.
    async fn change(&self) -> Result<Transaction<'static, Postgres>> {
        let connection = self.pool()?.acquire().await?;
        let begun = tokio::spawn(Transaction::begin(connection, None)).await;
        Ok(begun.map_err(|error| Error::Broken(error.to_string()))??)
    }

    /// Of the keeper alone, so that callers who take all of the others do not keep it from renewing its leases.
    fn keepers_pool(&self) -> Result<&PgPool> {
        self.0.keepers_pool.as_ref().ok_or(Error::NoDatabase)
    }

    fn pool(&self) -> Result<&PgPool> {
        self.0.pool.as_ref().ok_or(Error::NoDatabase)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use serde_json::{Map, json};

    use super::*;

    async fn store(postgres: &testkit::Postgres) -> Store {
        let url = postgres.url();
        let mut settings = kit::Settings::from_lookup(move |name| match name {
            "DATABASE_URL" => Some(url.clone()),
            "DB_POOL_SIZE" => Some("1".to_owned()),
            _ => None,
        });
        let store = Store::new(&Config::read(&mut settings));
        store.prepare().await.unwrap();
        store
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_signal_that_was_taken_and_not_told_is_told_again_to_the_same_step() {
        let postgres = testkit::Postgres::start().await;
        let (store, nobody) = (store(&postgres).await, kit::Identity::default());
        let definition = json!({ "name": "w", "nodes": [{ "id": "a", "type": "SignalWait", "config": { "signal": "go" } }] });
        let workflow = serde_json::from_value(definition).unwrap();
        let workflow = crate::domain::workflow::Workflow::define(workflow).unwrap();
        store.register(&workflow).await.unwrap();
        let kept = store.latest("w").await.unwrap();
        let running = contract::workflow::Status::Running;
        assert!(
            store
                .begin("e", &kept, running, &Map::new(), &nobody)
                .await
                .unwrap()
        );
        assert!(store.signal("e", "go", &json!(1), &nobody).await.unwrap());
        for (step, payload) in [("a", Some(json!(1))), ("a", Some(json!(1))), ("b", None)] {
            assert_eq!(
                store.take_signal("e", "go", step).await.unwrap(),
                payload,
                "{step}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_written_after_a_change_that_was_given_up_is_kept() {
        let postgres = testkit::Postgres::start().await;
        let store = store(&postgres).await;
        let other = PgPool::connect(&postgres.url()).await.unwrap();
        sqlx::query("CREATE TABLE kept (polls int)")
            .execute(&other)
            .await
            .unwrap();
        // Given up after one poll, after a few more, and so on until it has begun.
        let (mut polls, mut written, mut begun) = (1, 0, false);
        while !begun {
            let mut change = Box::pin(store.change());
            for _ in 0..polls {
                begun = std::future::poll_fn(|context| Poll::Ready(change.as_mut().poll(context).is_ready()))
                    .await;
                if begun {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(change);
            polls += 1 + polls / 8;
            written += 1;
            let write = sqlx::query("INSERT INTO kept VALUES ($1)").bind(polls);
            write.execute(store.pool().unwrap()).await.unwrap();
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM kept")
                .fetch_one(&other)
                .await
                .unwrap();
            assert_eq!(count, written, "given up before {polls} polls");
        }
    }
}
