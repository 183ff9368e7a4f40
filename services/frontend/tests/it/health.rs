//! What the page is told, with a gateway that answers, one that errs, and none.

use axum::{Json, Router, http::StatusCode, routing::get};
use serde_json::{Value, json};

use super::frontend;

/// A stand-in for the gateway.
async fn gateway(status: StatusCode, body: Value) -> String {
    let answer = move || async move { (status, Json(body)) };
    let router = Router::new().route("/health/services", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("the port that was bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn the_gateways_words_are_passed_on() {
    let said = json!({ "status": "degraded", "services": { "mcp-server": "not-ready" }, "secret": 1 });
    let service = frontend()
        .set("GATEWAY_URL", gateway(StatusCode::OK, said).await)
        .start()
        .await;
    let answer = service.get("/api/health").await;
    let expected =
        json!({ "status": "degraded", "gateway": "reachable", "services": { "mcp-server": "not-ready" } });
    assert_eq!((answer.status, answer.body), (200, expected));
    assert_eq!(service.ready().await.body["status"], "ready");
}

#[tokio::test]
async fn without_a_gateway_it_says_so_and_stays_ready() {
    let broken = gateway(StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": "x" })).await;
    for url in [broken, "http://127.0.0.1:9".to_owned()] {
        let service = frontend().set("GATEWAY_URL", url).start().await;
        let answer = service.get("/api/health").await;
        assert_eq!(
            (answer.status, &answer.body["gateway"]),
            (200, &json!("unreachable"))
        );
        assert_eq!(service.get("/ready").await.status, 200);
    }
}
