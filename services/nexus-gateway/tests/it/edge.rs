//! What every call passes first, and what every answer gets last.

#![expect(
    clippy::unwrap_used,
    reason = "the scenes of a test are functions; what panics there fails it"
)]

use testkit::{Redis, Service};

use super::{SECRET, gateway, raw};

/// A gateway that needs no accounts: its limits count by address.
async fn edge(redis: &Redis, settings: &[(&str, &str)]) -> Service {
    let starting = gateway().set("REDIS_URL", redis.url()).set("JWT_SECRET", SECRET);
    let starting = settings
        .iter()
        .fold(starting, |starting, (name, value)| starting.set(name, *value));
    starting.start().await
}

async fn status(service: &Service, from: Option<&str>) -> reqwest::Response {
    let call = service.request("GET", "/nothing");
    let call = match from {
        Some(address) => call.header("x-forwarded-for", address),
        None => call,
    };
    call.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_one_limit_and_proxies_tell_whose() {
    let redis = Redis::start().await;
    let settings = [("RATE_LIMIT_RPM", "40"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let replicas = [edge(&redis, &settings).await, edge(&redis, &settings).await];
    let mut passed = 0;
    for number in 0..60 {
        let answer = status(&replicas[number % 2], Some("1.2.3.4, 203.0.113.1")).await;
        match answer.status().as_u16() {
            404 => passed += 1,
            429 => {
                let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=120).contains(&wait), "{wait}");
                let left = answer.headers()["ratelimit"].to_str().unwrap();
                assert_eq!(left, format!("\"default\";r=0;t={wait}"));
                assert_eq!(answer.headers()["ratelimit-policy"], "\"default\";q=40;w=60");
                let body: serde_json::Value = answer.json().await.unwrap();
                assert_eq!(body["code"], "RATE_LIMITED");
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(passed, 40);
    assert_eq!(
        status(&replicas[0], Some("203.0.113.2")).await.status(),
        404,
        "another client"
    );
    assert_eq!(status(&replicas[0], None).await.status(), 404, "the proxy itself");
    for path in [
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/version",
    ] {
        let call = replicas[0]
            .request("GET", path)
            .header("x-forwarded-for", "203.0.113.1");
        assert_ne!(call.send().await.unwrap().status(), 429, "{path}");
    }

    // Without trusted proxies what is said of the client counts for nothing.
    let plain = edge(&redis, &[("RATE_LIMIT_RPM", "3")]).await;
    let mut answers = Vec::new();
    for number in 0..6 {
        answers.push(
            status(&plain, Some(&format!("198.51.100.{number}")))
                .await
                .status()
                .as_u16(),
        );
    }
    // One came before, and its replica has leased two.
    let passed = answers.iter().filter(|status| **status == 404).count();
    assert!((1..=3).contains(&passed), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_production_is_closed_and_development_is_not() {
    let redis = Redis::start().await;
    // What is leased already is good: two calls.
    let limit = ("RATE_LIMIT_RPM", "40");
    let production = edge(&redis, &[limit]).await;
    let development = edge(&redis, &[limit, ("NEXUS_ENV", "development")]).await;
    assert_eq!(status(&production, None).await.status(), 404);
    redis.stop().await;
    testkit::wait_for("leases to end", testkit::PATIENCE, async || {
        (status(&production, None).await.status() == 503).then_some(())
    })
    .await;
    let refused: serde_json::Value = status(&production, None).await.json().await.unwrap();
    assert_eq!(refused["code"], "SESSION_STORE_UNAVAILABLE");
    assert_eq!(production.get("/health").await.status, 200);
    for _ in 0..8 {
        assert_eq!(status(&development, None).await.status(), 404);
    }
    redis.resume().await;
    testkit::wait_for("the limit to count again", testkit::PATIENCE, async || {
        (status(&production, None).await.status() == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn browsers_are_told_what_they_may() {
    let origins = ("CORS_ORIGINS", "https://app.example,http://localhost:3000");
    let service = gateway().set(origins.0, origins.1).start().await;
    let call = |method: &str, origin: &str| {
        let call = service
            .request(method, "/health")
            .header("origin", origin.to_owned());
        match method {
            "OPTIONS" => call.header("access-control-request-method", "POST"),
            _ => call,
        }
    };
    let preflight = call("OPTIONS", "https://app.example").send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    let headers = preflight.headers();
    assert_eq!(headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(headers["access-control-max-age"], "600");
    assert!(
        headers["access-control-allow-headers"]
            .to_str()
            .unwrap()
            .contains("idempotency-key")
    );
    assert!(headers.get("access-control-allow-credentials").is_none());
    let refused = call("OPTIONS", "https://evil.example").send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.headers().get("access-control-allow-origin").is_none());
    assert!(
        !refused.text().await.unwrap().contains("evil"),
        "the origin is not echoed"
    );
    let answer = call("GET", "http://localhost:3000").send().await.unwrap();
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "http://localhost:3000"
    );
    assert_eq!(answer.headers()["vary"], "origin");
    let other = call("GET", "https://app.example.evil").send().await.unwrap();
    assert!(other.headers().get("access-control-allow-origin").is_none());

    // Every answer has the headers, whoever gives it.
    for path in ["/health", "/nothing", "/auth/me", "/openapi.json", "/docs"] {
        let answer = service.request("GET", path).send().await.unwrap();
        for (name, value) in [
            ("strict-transport-security", "max-age=31536000"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.headers()[name], value, "{path}");
        }
        assert_eq!(
            answer.headers().get_all("content-security-policy").iter().count(),
            1,
            "{path}"
        );
    }

    let exit = gateway().set("CORS_ORIGINS", "*").run(&[]).await;
    assert_eq!(exit.code, Some(78));
    assert!(
        exit.stderr.contains("CORS_ORIGINS: '*' is for development"),
        "{}",
        exit.stderr
    );
}

#[tokio::test]
async fn heads_are_limited() {
    let service = gateway().start().await;
    let head = |bytes: usize| {
        let long = "x".repeat(bytes);
        format!("GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: {long}\r\n\r\n")
    };
    assert!(
        raw::send(service.url(), &head(60_000))
            .await
            .starts_with("HTTP/1.1 200")
    );
    let refused = raw::send(service.url(), &head(70_000)).await;
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
    let refused = raw::send(service.url(), &head(300_000)).await;
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
    let many: String = (0..120).map(|number| format!("x-{number}: 1\r\n")).collect();
    let refused = raw::send(
        service.url(),
        &format!("GET /health HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
    )
    .await;
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
}
