//! The page's server as a process, with and without a gateway.

mod health;
mod page;

use testkit::{Service, Starting};

fn frontend() -> Starting {
    Service::new(env!("CARGO_BIN_EXE_frontend"))
}

#[tokio::test]
async fn without_settings_it_is_live_and_names_what_is_missing() {
    let service = frontend().start().await;
    let ready = service.status("/ready", 503).await;
    assert_eq!(ready.body["missing"], serde_json::json!(["GATEWAY_URL"]));
    assert_eq!(service.end().await, Some(0));
}

#[tokio::test]
async fn malformed_settings_are_refused_at_once() {
    let exit = frontend()
        .set("GATEWAY_URL", "gateway")
        .set("GATEWAY_TIMEOUT", "soon")
        .run(&[])
        .await;
    assert_eq!(exit.code, Some(78));
    assert_eq!(exit.stderr.lines().count(), 2, "{}", exit.stderr);
}
