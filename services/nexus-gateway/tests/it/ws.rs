//! `/ws`: who is let in, what is answered, and every way in which a connection ends.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::Path,
    routing::{get, post},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{
    replicas::{Replicas, send, signed, token},
    socket::{Answer, PATIENCE, Socket, ask, closed, connected, next, open, oversized},
};

/// A stand-in for the engine: every workflow answers with what was bound.
async fn engine() -> String {
    let listed = json!({ "orders": { "type": "workflow", "description": "", "version": "1.0.0", "tags": [],
        "endpoints": [] } });
    let run = async |Path(name): Path<String>, Json(call): Json<Value>| {
        if name == "missing" {
            let told = json!({ "error": "no such workflow", "code": "WORKFLOW_UNKNOWN" });
            return (axum::http::StatusCode::NOT_FOUND, Json(told));
        }
        let outputs = json!({ "bound": { "call": call } });
        let answer = json!({ "outputs": outputs, "execution_time": 0.5, "workflow_id": "w", "execution_id": "e",
            "version": "1.0.0" });
        (axum::http::StatusCode::OK, Json(answer))
    };
    let router = Router::new()
        .route("/ready", get(async || Json(json!({ "status": "ready" }))))
        .route("/workflows", get(async move || Json(listed)))
        .route("/workflows/{name}/execute", post(run));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("the port that was bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_is_settled_before_the_upgrade() {
    let listed = "https://app.example.org,https://*.shop.example";
    let replicas = Replicas::with("http://127.0.0.1:9", &[("WS_ALLOWED_ORIGINS", listed)]).await;
    let url = replicas.one.url();
    let good = token("ada");
    let bearer = format!("Bearer {good}");
    let code = |refused: Answer| {
        let body = String::from_utf8(refused.body().clone().unwrap_or_default()).unwrap();
        let told: Value = serde_json::from_str(&body).unwrap_or_default();
        assert!(!body.contains("evil"), "the origin is not repeated: {body}");
        (
            refused.status().as_u16(),
            told["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let expired = format!("Bearer {}", signed("ada", "acme", -5));
    for (headers, expected) in [
        (vec![], (401, "missing_token")),
        (vec![("authorization", "Bearer x.y.z")], (401, "invalid_token")),
        (vec![("authorization", expired.as_str())], (401, "token_expired")),
        (
            vec![("sec-websocket-protocol", "bearer, x.y.z")],
            (401, "invalid_token"),
        ),
        (
            vec![
                ("authorization", bearer.as_str()),
                ("origin", "https://evil.example"),
            ],
            (403, "ORIGIN_REFUSED"),
        ),
        (
            vec![("authorization", bearer.as_str()), ("origin", "null")],
            (403, "ORIGIN_REFUSED"),
        ),
        (
            vec![
                ("authorization", bearer.as_str()),
                ("x-session-id", "00000000000000000000000000000000"),
            ],
            (404, "SESSION_NOT_FOUND"),
        ),
    ] {
        let refused = open(url, "/ws", &headers).await.expect_err("it is refused");
        let (status, told) = code(refused);
        assert_eq!((status, told.as_str()), expected, "{headers:?}");
    }
    // By header, by subprotocol (which is chosen, without the token) and by query; from a page that is listed.
    let protocol = format!("bearer, {good}");
    let query = format!("/ws?token={good}");
    let origin = ("origin", "https://a.shop.example");
    for (path, headers) in [
        ("/ws", vec![("authorization", bearer.as_str()), origin]),
        ("/ws", vec![("sec-websocket-protocol", protocol.as_str())]),
        (query.as_str(), vec![("origin", "https://app.example.org")]),
    ] {
        let (mut socket, answer) = open(url, path, &headers).await.expect("it is let in");
        let chosen = answer
            .headers()
            .get("sec-websocket-protocol")
            .map(|value| value.to_str().unwrap());
        let asked = headers.iter().any(|(name, _)| *name == "sec-websocket-protocol");
        assert_eq!(chosen, asked.then_some("bearer"));
        assert_eq!(next(&mut socket).await["event"], "connected");
    }
    let plain = send(&replicas.one, "GET", "/ws", &good, None).await;
    assert_eq!(
        (plain.status, &plain.body["code"]),
        (426, &json!("UPGRADE_REQUIRED"))
    );
}

async fn each_refusal_has_its_code(socket: &mut Socket) {
    for (text, code, id) in [
        ("{", -32700, Value::Null),
        ("[]", -32600, Value::Null),
        (r#"{"id": 5}"#, -32600, json!(5)),
        (r#"{"id": 6, "method": "session.gett"}"#, -32601, json!(6)),
        (r#"{"id": 7, "method": "missing"}"#, -32601, json!(7)),
        (
            r#"{"id": 8, "method": "session.get", "params": {"session_id": "x"}}"#,
            -32000,
            json!(8),
        ),
        (
            r#"{"id": 9, "method": "workflow.run", "params": {}}"#,
            -32000,
            json!(9),
        ),
    ] {
        socket.send(Message::text(text)).await.expect("sent");
        let answer = next(socket).await;
        assert_eq!(
            (&answer["error"]["code"], &answer["id"]),
            (&json!(code), &id),
            "{answer}"
        );
        if id == 6 {
            let words = answer["error"]["message"].as_str().expect("words");
            assert!(words.contains("'session.get'"), "{words}");
        }
        if id == 8 {
            let data = &answer["error"]["data"];
            assert_eq!(
                (&data["code"], &data["status"]),
                (&json!("SESSION_NOT_FOUND"), &json!(404))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_answer_as_http_does() {
    let replicas = Replicas::with(&engine().await, &[]).await;
    let one = &replicas.one;
    let ada = token("ada");
    let mut socket = connected(one.url(), &ada).await;
    assert_eq!(
        ask(&mut socket, "ping", json!({})).await["result"],
        json!({ "pong": true })
    );
    each_refusal_has_its_code(&mut socket).await;

    // A workflow by its name binds the envelope; its answer is that of HTTP.
    let parameters = json!({ "sku": 7 });
    let by_name = ask(&mut socket, "orders", parameters.clone()).await;
    let body = json!({ "parameters": parameters });
    let by_http = send(one, "POST", "/workflows/orders/execute", &ada, Some(body)).await;
    assert_eq!((by_http.status, &by_http.body), (200, &by_name["result"]));
    let by_run = json!({ "workflow": "orders", "parameters": parameters });
    assert_eq!(
        ask(&mut socket, "workflow.run", by_run).await["result"],
        by_http.body
    );
    let listed = ask(&mut socket, "workflow.list", json!({})).await;
    assert_eq!(
        listed["result"],
        send(one, "GET", "/workflows", &ada, None).await.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_the_same_as_over_http() {
    let replicas = Replicas::start().await;
    let (one, other) = (&replicas.one, &replicas.other);
    let ada = token("ada");
    let mut socket = connected(one.url(), &ada).await;
    let made = ask(
        &mut socket,
        "session.create",
        json!({ "shared_data": { "a": 1 } }),
    )
    .await;
    let id = made["result"]["session_id"].as_str().unwrap().to_owned();
    let patch = json!({ "shared_data": { "b": 2 } });
    send(other, "PATCH", &format!("/sessions/{id}"), &ada, Some(patch)).await;
    // The connection knows which session is meant.
    let seen = ask(&mut socket, "session.get", json!({})).await["result"].clone();
    assert_eq!(seen["shared_data"], json!({ "a": 1, "b": 2 }));
    assert_eq!(seen["active_channels"], json!(["api", "websocket"]));
    let other_version = json!({ "shared_data": {}, "expected_version": 1 });
    let stale = ask(&mut socket, "session.update", other_version).await;
    assert_eq!(stale["error"]["data"]["code"], "SESSION_CHANGED", "{stale}");
    let bearer = format!("Bearer {ada}");
    let headers = [("authorization", bearer.as_str()), ("x-session-id", id.as_str())];
    let (mut joined, _) = open(other.url(), "/ws", &headers).await.expect("it is let in");
    next(&mut joined).await;
    assert_eq!(
        ask(&mut joined, "session.get", json!({})).await["result"]["session_id"],
        json!(id)
    );
    let ended = ask(&mut joined, "session.end", json!({})).await;
    assert_eq!(
        ended["result"],
        json!({ "session_id": id, "status": "terminated" })
    );
    assert_eq!(
        send(one, "GET", &format!("/sessions/{id}"), &ada, None)
            .await
            .status,
        404
    );
    let gone = ask(&mut socket, "session.get", json!({})).await;
    assert_eq!(gone["error"]["data"]["code"], "SESSION_NOT_FOUND");
}

/// Writes an event into the stream, as the engine and dataflow do.
async fn tell(redis: &mut redis::aio::MultiplexedConnection, tenant: &str, kind: &str, data: Value) {
    let event =
        json!({ "id": "1", "type": kind, "tenant": tenant, "at": "2026-01-01T00:00:00Z", "data": data });
    let mut add = redis::cmd("XADD");
    add.arg(contract::events::STREAM)
        .arg("*")
        .arg(contract::events::FIELD)
        .arg(event.to_string());
    add.query_async::<String>(redis).await.expect("an entry");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_to_who_asked_and_a_slow_reader_is_dropped() {
    let replicas = Replicas::start().await;
    let client = redis::Client::open(replicas.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let mut socket = connected(replicas.one.url(), &token("ada")).await;
    let told = ask(&mut socket, "subscribe", json!({ "event_type": "dataflow.*" })).await;
    assert_eq!(told["result"], json!({ "subscribed": ["dataflow.*"] }));
    let wrong = ask(&mut socket, "subscribe", json!({ "event_type": "a b" })).await;
    assert_eq!(wrong["error"]["data"]["code"], "EVENT_TYPE_INVALID", "{wrong}");
    // The reader of the stream may still be on its way to it.
    let kind = "dataflow.Product.create";
    let heard = tokio::time::timeout(PATIENCE, async {
        loop {
            tell(&mut redis, "other", kind, json!({ "n": 0 })).await;
            tell(&mut redis, "acme", "handler.called", json!({ "n": 1 })).await;
            tell(&mut redis, "acme", kind, json!({ "n": 2 })).await;
            let heard = tokio::time::timeout(Duration::from_millis(300), socket.next()).await;
            if let Ok(heard) = heard {
                return heard;
            }
        }
    });
    let heard = heard.await.expect("an event in time");
    let heard: Value = serde_json::from_str(heard.unwrap().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(
        (&heard["event"], &heard["data"]["data"]["n"]),
        (&json!(kind), &json!(2)),
        "{heard}"
    );
    assert_eq!(heard["data"]["tenant"], "acme");

    // More than the network's buffers and the queue can hold, and nobody reads.
    let large = "x".repeat(100_000);
    for n in 0..200 {
        tell(&mut redis, "acme", kind, json!({ "n": n, "text": large })).await;
    }
    assert_eq!(closed(socket).await, Some(1013));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_as_those_over_http_are() {
    let replicas = Replicas::with(&engine().await, &[("RATE_LIMIT_RPM", "20")]).await;
    let ada = token("ada");
    let mut socket = connected(replicas.one.url(), &ada).await;
    let mut passed = 0;
    let refused = loop {
        let answer = ask(&mut socket, "workflow.list", json!({})).await;
        if answer["error"].is_object() {
            break answer["error"].clone();
        }
        passed += 1;
    };
    // The opening was one of them; a lease more may pass where a minute ended meanwhile.
    assert!((1..40).contains(&passed), "{passed} passed");
    assert_eq!(
        (&refused["code"], &refused["data"]["code"]),
        (&json!(-32000), &json!("RATE_LIMITED"))
    );
    let wait_s = refused["data"]["retry_after_s"].as_u64().unwrap();
    assert!((1..=60).contains(&wait_s), "{refused}");
    let topic = json!({ "event_type": "dataflow.*" });
    let told = ask(&mut socket, "subscribe", topic).await;
    assert_eq!(told["error"]["data"]["code"], "RATE_LIMITED", "{told}");
    assert_eq!(ask(&mut socket, "ping", json!({})).await["result"]["pong"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_has_its_code() {
    let replicas = Replicas::with("http://127.0.0.1:9", &[("WS_MAX_PER_USER", "2")]).await;
    let url = replicas.one.url();
    // Users of their own: one whose end is told may hold its place for a moment more.
    let mut socket = connected(url, &token("binary")).await;
    socket.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(closed(socket).await, Some(1003));

    // Just under the limit is read; over it is not.
    let mut socket = connected(url, &token("long")).await;
    let padded = |bytes: usize| format!("{{\"id\":1,\"method\":\"ping\",\"x\":\"{}\"}}", "x".repeat(bytes));
    socket.send(Message::text(padded((1 << 20) - 100))).await.unwrap();
    assert_eq!(next(&mut socket).await["result"]["pong"], true);
    assert_eq!(oversized(socket).await, Some(1009));

    let lost = format!("Bearer {}", token("lost"));
    let (socket, _) = open(url, "/ws/else", &[("authorization", &lost)])
        .await
        .expect("it is let in");
    assert_eq!(closed(socket).await, Some(4004));

    // Two are allowed, of which each that ends makes room.
    let ada = token("ada");
    let bearer = format!("Bearer {ada}");
    let (first, _second) = (connected(url, &ada).await, connected(url, &ada).await);
    let (third, _) = open(url, "/ws", &[("authorization", &bearer)])
        .await
        .expect("it is let in");
    assert_eq!(closed(third).await, Some(4013));
    connected(url, &token("eve")).await;
    drop(first);
    testkit::wait_for("room again", PATIENCE, async || {
        let (mut socket, _) = open(url, "/ws", &[("authorization", &bearer)]).await.ok()?;
        let first = tokio::time::timeout(PATIENCE, socket.next()).await.ok()??.ok()?;
        first.is_text().then_some(())
    })
    .await;

    // A token that expires meanwhile ends its connection, and the end of the process is told.
    let brief = connected(url, &signed("brief", "acme", 10)).await;
    assert_eq!(closed(brief).await, Some(1008));
    let idle = connected(replicas.other.url(), &token("idle")).await;
    let (code, exit) = tokio::join!(closed(idle), replicas.other.end());
    assert_eq!((code, exit), (Some(1001), Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_pings_is_kept_and_who_does_not_is_dropped() {
    let replicas = Replicas::with("http://127.0.0.1:9", &[("WS_PING_INTERVAL", "5")]).await;
    let silent = connected(replicas.one.url(), &token("silent")).await;
    let mut idle = connected(replicas.other.url(), &token("idle")).await;
    let answering = async {
        // Whoever said nothing would be dropped before the third.
        for _ in 0..3 {
            let message = tokio::time::timeout(PATIENCE, idle.next()).await;
            let message = message.expect("a ping in time");
            assert!(matches!(message, Some(Ok(Message::Ping(_)))), "{message:?}");
        }
    };
    let (bytes, ()) = tokio::join!(unanswered(silent), answering);
    // A close frame (RFC 6455 section 5.5.1): final, its length, its code.
    let close = bytes
        .windows(4)
        .any(|at| at[0] == 0x88 && at[2..] == 1011_u16.to_be_bytes());
    assert!(close, "{bytes:?}");
}

/// Reads to the end what a connection receives, below the protocol, which would answer pings.
async fn unanswered(mut socket: Socket) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(socket.get_mut(), &mut bytes);
    let read = tokio::time::timeout(PATIENCE, reading).await;
    // A reset is an end, too.
    let _ = read.expect("an end in time");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_connections() {
    let stack = super::Stack::start("http://127.0.0.1:9").await;
    let ada = stack.token().await;
    let socket = connected(stack.service.url(), &ada).await;
    let out = send(&stack.service, "POST", "/auth/logout", &ada, None).await;
    assert_eq!(out.status, 204, "{:?}", out.body);
    assert_eq!(closed(socket).await, Some(1008));

    // So does a key that is removed. What was done meanwhile is in the audit log.
    let eve = stack.token().await;
    let key = send(
        &stack.service,
        "POST",
        "/auth/keys",
        &eve,
        Some(json!({ "name": "robot" })),
    )
    .await;
    let headers = [("x-api-key", key.body["key"].as_str().expect("a key"))];
    let (mut socket, _) = open(stack.service.url(), "/ws", &headers)
        .await
        .expect("it is let in");
    assert_eq!(next(&mut socket).await["event"], "connected");
    assert_eq!(ask(&mut socket, "ping", json!({})).await["result"]["pong"], true);
    let made = ask(&mut socket, "session.create", json!({})).await;
    assert!(made["result"].is_object(), "{made}");
    let failed = ask(&mut socket, "workflow.cancel", json!({ "execution_id": "e-1" })).await;
    let failed = failed["error"]["data"]["status"].as_u64().expect("a status");
    for (action, target, outcome) in [
        ("ws session.create", Value::Null, "200".to_owned()),
        ("ws workflow.cancel", json!("e-1"), failed.to_string()),
    ] {
        let path = format!("/audit?action={}", action.replace(' ', "%20"));
        let entry = testkit::wait_for(action, PATIENCE, async || {
            let log = send(&stack.service, "GET", &path, &eve, None).await.body;
            log["entries"].get(0).cloned()
        });
        let entry = entry.await;
        assert_eq!(
            (
                &entry["user"],
                &entry["target"],
                &entry["outcome"],
                &entry["client"]
            ),
            (&json!("ada"), &target, &json!(outcome), &json!("127.0.0.1")),
            "{entry}"
        );
    }
    let path = format!("/auth/keys/{}", key.body["id"].as_str().expect("its id"));
    assert_eq!(
        send(&stack.service, "DELETE", &path, &eve, None).await.status,
        204
    );
    assert_eq!(closed(socket).await, Some(1008));
    let bearer = format!("Bearer {ada}");
    let refused = open(stack.service.url(), "/ws", &[("authorization", &bearer)]).await;
    assert_eq!(refused.expect_err("it is refused").status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_connections_are_cheap() {
    let replicas = Replicas::with("http://127.0.0.1:9", &[("WS_MAX_PER_USER", "2000")]).await;
    let (url, ada) = (replicas.one.url(), token("ada"));
    drop(connected(url, &ada).await);
    let before = replicas.one.resident_bytes().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let opening = (0..50).map(|_| connected(url, &ada));
        sockets.extend(futures_util::future::join_all(opening).await);
    }
    let each = (replicas.one.resident_bytes().await - before) / sockets.len() as f64;
    assert!(each < 40_000.0, "{each} bytes for each of {}", sockets.len());
    for socket in sockets.iter_mut().step_by(100) {
        assert_eq!(ask(socket, "ping", json!({})).await["result"]["pong"], true);
    }
}
