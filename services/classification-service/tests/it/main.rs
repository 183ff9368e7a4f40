//! The classifier as a process, with Redis, without it, and while it comes and goes.

mod cache;
mod classify;

use testkit::{Service, Starting};

fn classifier() -> Starting {
    Service::new(env!("CARGO_BIN_EXE_classification-service"))
}

/// A classifier whose cache does not answer: nothing here depends on it.
async fn alone() -> Service {
    classifier().set("REDIS_URL", "redis://127.0.0.1:9").start().await
}

#[tokio::test]
async fn without_settings_it_is_live_and_names_what_is_missing() {
    let service = classifier().start().await;
    let ready = service.status("/ready", 503).await;
    assert_eq!(ready.body["missing"], serde_json::json!(["REDIS_URL"]));
    assert_eq!(ready.body["checks"]["redis"]["state"], "unconfigured");
    assert_eq!(service.end().await, Some(0));
}

#[tokio::test]
async fn malformed_settings_are_refused_at_once_and_without_secrets() {
    let starting = classifier().set("REDIS_URL", "geheim").set("CACHE_TTL", "x");
    let exit = starting.run(&[]).await;
    assert_eq!(exit.code, Some(78));
    assert_eq!(exit.stderr.lines().count(), 2, "{}", exit.stderr);
    assert!(!exit.stderr.contains("geheim"));
}
