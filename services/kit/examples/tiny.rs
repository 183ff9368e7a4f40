//! The smallest service, for kit's own tests: one slow route, one that reads a body, two settings.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use kit::{Body, Health, OnLoss, Path, Settings};

/// How many slow requests have come.
static CAME: AtomicUsize = AtomicUsize::new(0);

struct Config {
    store: Option<String>,
}

fn read(settings: &mut Settings) -> Config {
    settings.parsed("TINY_COUNT", 1_u8, "a small number");
    Config {
        store: settings.required_url("TINY_URL"),
    }
}

async fn assemble(config: Config, health: Health) -> Router {
    match config.store {
        None => health.unconfigured("store", OnLoss::NotReady),
        Some(_) => health.watch("store", OnLoss::NotReady, async || Ok::<(), String>(())),
    }
    let slow = async |Path(ms): Path<u64>| {
        CAME.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        "done"
    };
    let echo = async |Body(value): Body<serde_json::Value>| axum::Json(value);
    Router::new()
        .route("/slow/{ms}", get(slow))
        .route("/came", get(async || axum::Json(CAME.load(Ordering::SeqCst))))
        .route("/echo", post(echo))
}

fn main() -> ExitCode {
    kit::main(kit::service_info!(8000), read, assemble)
}
