//! Settings that are absent or malformed.

use serde_json::json;
use testkit::Service;

use super::gateway;

#[tokio::test]
async fn without_settings_it_is_live_and_names_what_is_missing() {
    let service = Service::new(env!("CARGO_BIN_EXE_nexus-gateway")).start().await;
    assert_eq!(service.get("/health").await.body["status"], "healthy");
    let ready = service.status("/ready", 503).await;
    let expected = [
        "DATABASE_URL",
        "REDIS_URL",
        "JWT_SECRET",
        "DATAFLOW_URL",
        "WORKFLOW_URL",
        "CLASSIFICATION_URL",
        "MCP_URL",
    ];
    assert_eq!(ready.body["missing"], json!(expected));
    let login = service
        .post("/auth/login", &json!({ "username": "a", "password": "b" }))
        .await;
    assert_eq!(
        (login.status, login.body["code"].as_str()),
        (503, Some("NOT_CONFIGURED"))
    );
    assert_eq!(service.end().await, Some(0));
}

#[tokio::test]
async fn malformed_settings_are_refused_at_once_and_without_secrets() {
    let starting = Service::new(env!("CARGO_BIN_EXE_nexus-gateway"))
        .set("JWT_SECRET", "geheim")
        .set("DATABASE_URL", "geheim")
        .set("REDIS_URL", "geheim")
        .set("MCP_URL", "mcp")
        .set("DRAIN_TIMEOUT", "soon");
    let exit = starting.run(&[]).await;
    assert_eq!(exit.code, Some(78));
    assert_eq!(exit.stderr.lines().count(), 5, "{}", exit.stderr);
    assert!(
        exit.stderr
            .contains("JWT_SECRET: expected at least 32 bytes, got 6"),
        "{}",
        exit.stderr
    );
    assert!(!exit.stderr.contains("geheim"), "{}", exit.stderr);
}

#[tokio::test]
async fn a_secret_may_come_from_a_file() {
    let exit = gateway().set("JWT_SECRET_FILE", "/nowhere").run(&[]).await;
    assert_eq!(exit.code, Some(78));
    assert!(exit.stderr.contains("JWT_SECRET"), "{}", exit.stderr);
}
