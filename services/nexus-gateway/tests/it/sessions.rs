//! Sessions: one state on two replicas and every channel, until its end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::Service;

use super::{
    replicas::{Replicas, read, send, signed, token},
    upstream,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_session_on_two_replicas_loses_no_write_and_ends_at_once() {
    let replicas = Replicas::start().await;
    let (one, other) = (&replicas.one, &replicas.other);
    let ada = token("ada");
    let made = send(
        one,
        "POST",
        "/sessions",
        &ada,
        Some(json!({ "shared_data": { "cart": [1] } })),
    )
    .await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    assert_eq!(
        (&made.body["mode"], &made.body["ttl"]),
        (&json!("sliding"), &json!(3600))
    );
    let id = made.body["session_id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    let path = format!("/sessions/{id}");

    let seen = send(other, "GET", &path, &ada, None).await;
    assert_eq!(
        (seen.status, &seen.body["shared_data"]["cart"]),
        (200, &json!([1]))
    );

    let patch = async |service: &Service, key: String| {
        let body = json!({ "shared_data": { key: true } });
        send(service, "PATCH", &path, &ada, Some(body)).await.status
    };
    let both =
        |n: usize| async move { tokio::join!(patch(one, format!("a{n}")), patch(other, format!("b{n}"))) };
    let written = futures_util::future::join_all((0..50).map(both)).await;
    assert!(
        written.iter().all(|statuses| *statuses == (200, 200)),
        "{written:?}"
    );
    let seen = send(one, "GET", &path, &ada, None).await.body;
    assert_eq!(
        seen["shared_data"].as_object().map(serde_json::Map::len),
        Some(101)
    );
    assert_eq!(seen["version"], 101);

    let stale = json!({ "shared_data": { "x": 1 }, "expected_version": 7 });
    let stale = send(other, "PATCH", &path, &ada, Some(stale)).await;
    assert_eq!(
        (stale.status, &stale.body["code"]),
        (409, &json!("SESSION_CHANGED"))
    );
    assert_eq!(stale.body["version"], 101);
    let large = json!({ "shared_data": { "x": "x".repeat(70_000) } });
    let large = send(other, "PATCH", &path, &ada, Some(large)).await;
    assert_eq!(
        (large.status, &large.body["code"]),
        (413, &json!("SESSION_TOO_LARGE"))
    );

    nobody_else_sees(other, &path).await;
    let listed = send(other, "GET", "/sessions", &ada, None).await;
    assert_eq!(listed.body["sessions"][0]["session_id"], json!(id));

    assert_eq!(send(one, "DELETE", &path, &ada, None).await.status, 204);
    for service in [one, other] {
        assert_eq!(send(service, "GET", &path, &ada, None).await.status, 404);
    }
    assert_eq!(patch(other, "late".to_owned()).await, 404);
    assert_eq!(one.get("/sessions").await.status, 401);
}

/// Nobody else sees that it exists, be it by the same name in another tenant.
async fn nobody_else_sees(service: &Service, path: &str) {
    for stranger in [token("eve"), signed("ada", "other", 60)] {
        for (method, body) in [("GET", None), ("PATCH", Some(json!({}))), ("DELETE", None)] {
            let refused = send(service, method, path, &stranger, body).await;
            assert_eq!(
                (refused.status, &refused.body["code"]),
                (404, &json!("SESSION_NOT_FOUND"))
            );
        }
        let listed = send(service, "GET", "/sessions", &stranger, None).await;
        assert_eq!(listed.body["sessions"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_with_the_header_join_it_by_their_channel() {
    let replicas = Replicas::with(&upstream::echo().await, &[("SESSION_MAX_PER_USER", "2")]).await;
    let ada = token("ada");
    let made = send(&replicas.one, "POST", "/sessions", &ada, None).await.body;
    let id = made["session_id"].as_str().unwrap();
    let call = |method: &str, path: &str, token: &str| {
        let request = replicas.other.request(method, path).bearer_auth(token);
        request.header("x-session-id", id)
    };
    // The service behind receives it, once, although it was sent twice.
    let passed = read(call("GET", "/api/dataflow/models", &ada).header("x-session-id", "forged")).await;
    assert_eq!(
        (passed.status, &passed.body["headers"]["x-session-id"]),
        (200, &json!(id))
    );
    let passed = read(call("POST", "/mcp", &ada).json(&json!({}))).await;
    assert_eq!(passed.body["headers"]["x-session-id"], json!(id));
    read(call("GET", "/auth/me", &ada).header("x-channel", "cli")).await;
    let context = json!({ "context": { "page": "/cart" } });
    let path = format!("/sessions/{id}/channels/websocket");
    let joined = send(&replicas.one, "POST", &path, &ada, Some(context)).await;
    assert_eq!(
        joined.body["active_channels"],
        json!(["api", "cli", "mcp", "websocket"])
    );
    assert_eq!(joined.body["channel_contexts"]["websocket"]["page"], "/cart");
    let wrong = send(
        &replicas.one,
        "POST",
        &format!("/sessions/{id}/channels/fax"),
        &ada,
        None,
    )
    .await;
    assert_eq!(
        (wrong.status, &wrong.body["code"]),
        (422, &json!("UNKNOWN_CHANNEL"))
    );
    let told = send(
        &replicas.one,
        "GET",
        &format!("/sessions/{id}/events"),
        &ada,
        None,
    )
    .await;
    let kinds: Vec<&Value> = told.body["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["type"])
        .collect();
    assert_eq!(kinds[..2], ["session.created", "channel.joined"]);
    assert_eq!(
        told.body["events"].as_array().map(Vec::len),
        joined.body["event_count"].as_u64().map(|n| n as usize)
    );

    // A session that is not the caller's stops the call before any service sees it.
    let refused = read(call("GET", "/api/dataflow/models", &token("eve"))).await;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (404, &json!("SESSION_NOT_FOUND"))
    );
    // Where nothing is proven, the route decides.
    let public = replicas
        .one
        .request("GET", "/health/services")
        .header("x-session-id", id);
    assert_eq!(read(public).await.status, 200);

    assert_eq!(
        send(&replicas.one, "POST", "/sessions", &ada, None).await.status,
        201
    );
    let third = send(&replicas.other, "POST", "/sessions", &ada, None).await;
    assert_eq!(
        (third.status, &third.body["code"]),
        (409, &json!("SESSION_LIMIT"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sliding_session_outlives_a_fixed_one() {
    let sliding = Replicas::with("http://127.0.0.1:9", &[("SESSION_TTL", "60")]).await;
    let client = redis::Client::open(sliding.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let ada = token("ada");
    // When it ends, by Redis's clock, in milliseconds.
    let mut ends = async |id: &str| {
        let mut asked = redis::cmd("PEXPIRETIME");
        let at_ms: i64 = asked
            .arg(format!("session:{id}"))
            .query_async(&mut redis)
            .await
            .unwrap();
        at_ms
    };
    let made = send(&sliding.one, "POST", "/sessions", &ada, None).await.body;
    let id = made["session_id"].as_str().unwrap();
    let path = format!("/sessions/{id}");
    let first = ends(id).await;
    let listed = send(&sliding.one, "GET", "/sessions", &ada, None).await;
    assert_eq!(listed.body["sessions"][0]["session_id"], json!(id));
    assert_eq!(ends(id).await, first, "being listed is no use of it");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(send(&sliding.other, "GET", &path, &ada, None).await.status, 200);
    assert!(ends(id).await > first, "a use is");

    let fixed = behind_redis(&sliding, "fixed").await;
    let made = send(&fixed, "POST", "/sessions", &ada, None).await.body;
    assert_eq!(made["mode"], "fixed");
    let id = made["session_id"].as_str().unwrap();
    let path = format!("/sessions/{id}");
    let first = ends(id).await;
    testkit::wait_for("its end, although it is used", testkit::PATIENCE, async || {
        let used = send(&fixed, "GET", &path, &ada, None).await;
        (used.status == 404).then_some(())
    })
    .await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(now.as_millis() as i64 >= first, "not before its time");
    // The one that was used, too, outlives it; and then it is in no list.
    let listed = send(&sliding.one, "GET", "/sessions", &ada, None).await.body;
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(1), "{listed}");
}

/// One more gateway over the same Redis, with the other mode.
async fn behind_redis(replicas: &Replicas, mode: &str) -> Service {
    let starting = super::behind(super::gateway(), "http://127.0.0.1:9")
        .set("REDIS_URL", replicas.redis.url())
        .set("SESSION_TTL", "3")
        .set("SESSION_MODE", mode);
    let service = starting.start().await;
    testkit::wait_for("redis to be known", testkit::PATIENCE, async || {
        (send(&service, "GET", "/sessions", &token("ada"), None)
            .await
            .status
            == 200)
            .then_some(())
    })
    .await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_sessions_refuse_and_the_process_is_well() {
    let replicas = Replicas::start().await;
    let ada = token("ada");
    let made = send(&replicas.one, "POST", "/sessions", &ada, None).await.body;
    let path = format!("/sessions/{}", made["session_id"].as_str().unwrap());
    replicas.redis.stop().await;
    for (method, path) in [
        ("GET", path.as_str()),
        ("POST", "/sessions"),
        ("DELETE", path.as_str()),
    ] {
        let refused = send(&replicas.one, method, path, &ada, None).await;
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (503, &json!("SESSION_STORE_UNAVAILABLE"))
        );
    }
    assert_eq!(replicas.one.get("/health").await.status, 200);
    replicas.redis.resume().await;
    testkit::wait_for("sessions again", testkit::PATIENCE, async || {
        (send(&replicas.one, "POST", "/sessions", &ada, None).await.status == 201).then_some(())
    })
    .await;
}
