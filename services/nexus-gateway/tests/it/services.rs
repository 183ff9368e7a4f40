//! The public board of all services.

use serde_json::json;

use super::{NOWHERE, Stack, behind, gateway, upstream};

#[tokio::test(flavor = "multi_thread")]
async fn all_well_is_healthy() {
    let stack = Stack::start(&upstream::echo().await).await;
    let board = stack.service.get("/health/services").await;
    assert_eq!(
        (board.status, &board.body["status"]),
        (200, &json!("healthy")),
        "{:?}",
        board.body
    );
    assert_eq!(
        board.body["services"].as_object().map(serde_json::Map::len),
        Some(5)
    );
    let breakers = board.body["breakers"]
        .as_object()
        .expect("a word for each service");
    assert!(breakers.len() == 4 && breakers.values().all(|word| word == "closed"));
}

#[tokio::test]
async fn absent_and_silent_services_are_told_in_time() {
    for url in [format!("http://{NOWHERE}"), upstream::silent().await] {
        let service = behind(gateway(), &url).start().await;
        let begun = std::time::Instant::now();
        let board = service.get("/health/services").await;
        assert_eq!((board.status, &board.body["status"]), (200, &json!("degraded")));
        assert_eq!(board.body["services"]["mcp-server"], "unreachable");
        assert_eq!(board.body["services"]["nexus-gateway"], "not-ready");
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(15),
            "{:?}",
            begun.elapsed()
        );
    }
}
