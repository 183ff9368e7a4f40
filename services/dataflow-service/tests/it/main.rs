//! The service as a process, against a real PostgreSQL.

mod lifecycle;
mod models;
mod rows;

use testkit::{Answer, Postgres, Service};

/// The service with its database, ready.
async fn ready(postgres: &Postgres) -> Service {
    let service = binary().set("DATABASE_URL", postgres.url()).start().await;
    service.ready().await;
    service
}

fn binary() -> testkit::Starting {
    Service::new(env!("CARGO_BIN_EXE_dataflow-service"))
}

/// Status and code of a refusal.
fn refusal(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or_default())
}
