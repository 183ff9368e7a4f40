//! The service as a process, against a real PostgreSQL.

#![expect(
    clippy::unwrap_used,
    reason = "a test says by panicking what is wrong; helpers are part of tests"
)]

mod bulk;
mod cache;
mod cancelled;
mod derive;
mod events;
mod failures;
mod filters;
mod jobs;
mod lifecycle;
mod migrations;
mod models;
mod nodes;
mod referring;
mod rows;
mod tenancy;
mod vector;

use sqlx::{Connection, Executor, PgConnection, Row};
use testkit::{Answer, Postgres, Redis, Service, wait_for};

/// The service with its database, ready.
async fn ready(postgres: &Postgres) -> Service {
    let service = binary().set("DATABASE_URL", postgres.url()).start().await;
    service.ready().await;
    service
}

/// The service with both stores, ready. Several of them may begin at once.
async fn replica(postgres: &Postgres, redis: &Redis) -> Service {
    let service = bare()
        .set("DATABASE_URL", postgres.url())
        .set("REDIS_URL", redis.url())
        .set("DB_ACQUIRE_TIMEOUT", "20")
        .start()
        .await;
    service.ready().await;
    service
}

/// With an address of Redis where none is: its loss only slows.
fn binary() -> testkit::Starting {
    bare().set("REDIS_URL", "redis://127.0.0.1:9")
}

/// Without any setting.
fn bare() -> testkit::Starting {
    Service::new(env!("CARGO_BIN_EXE_dataflow-service"))
}

/// Status and code of a refusal.
fn refusal(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or_default())
}

/// The first column of the database's own answer.
async fn number(postgres: &Postgres, sql: &'static str) -> i64 {
    let mut direct = PgConnection::connect(&postgres.url())
        .await
        .expect("the database is asked directly");
    let row = direct
        .fetch_one(sql)
        .await
        .expect("the database is asked directly");
    row.get(0)
}

/// Waits until a number of the database's is at least so large.
async fn at_least(postgres: &Postgres, least: i64, sql: &'static str) {
    wait_for(sql, testkit::PATIENCE, async || {
        (number(postgres, sql).await >= least).then_some(())
    })
    .await;
}

/// Sessions that wait for a lock of another one.
const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted";
