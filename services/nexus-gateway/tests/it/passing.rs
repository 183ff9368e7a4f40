//! Passing calls on, seen from the service's side: what arrives, how often, and when none is sent any more.

#![expect(
    clippy::unwrap_used,
    reason = "the scenes of a test are functions; what panics there fails it"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use testkit::{Postgres, Redis, Service};

use super::{Stack, behind, gateway, raw, upstream};

/// Stores that several gateways of one test share.
struct Stores(Postgres, Redis);

impl Stores {
    async fn start() -> Self {
        Self(Postgres::start().await, Redis::start().await)
    }

    async fn gateway(&self, upstream: &str, settings: &[(&str, &str)]) -> (Service, String) {
        let starting = behind(gateway(), upstream)
            .set("DATABASE_URL", self.0.url())
            .set("REDIS_URL", self.1.url());
        let starting = settings
            .iter()
            .fold(starting, |starting, (name, value)| starting.set(name, *value));
        let service = starting.start().await;
        super::says(&service, "ready").await;
        let token = super::log_in(&service).await;
        (service, token)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_repeated_or_not_and_services_left_alone() {
    let stores = Stores::start().await;
    claims_of_clients_do_not_arrive(&stores).await;
    only_what_may_be_is_repeated(&stores).await;
    a_service_that_fails_is_left_alone_and_asked_again(&stores).await;
    nobody_waits_beyond_the_timeout(&stores).await;
    slow_and_broken_callers_are_not_the_services_fault(&stores).await;
    nor_are_runs_that_fail(&stores).await;
}

/// More than it takes to open a breaker.
const MANY: usize = 6;

async fn slow_and_broken_callers_are_not_the_services_fault(stores: &Stores) {
    let echo = upstream::echo().await;
    for (settings, body, status, code) in [
        (
            [("UPSTREAM_TIMEOUT", "1"), ("BODY_IDLE_TIMEOUT", "60")],
            "content-length: 100\r\n\r\n",
            "408",
            "BODY_TIMEOUT",
        ),
        (
            [("UPSTREAM_TIMEOUT", "60"), ("BODY_IDLE_TIMEOUT", "1")],
            "content-length: 100\r\n\r\nsome",
            "408",
            "BODY_TIMEOUT",
        ),
        (
            [("UPSTREAM_TIMEOUT", "60"), ("BODY_IDLE_TIMEOUT", "60")],
            "transfer-encoding: chunked\r\n\r\nno length\r\n",
            "400",
            "BODY_INCOMPLETE",
        ),
    ] {
        let (service, token) = stores.gateway(&echo, &settings).await;
        let sent = format!(
            "POST /api/dataflow/data/M HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\n{body}"
        );
        let callers = (0..MANY).map(|_| raw::send(service.url(), &sent));
        for answer in futures_util::future::join_all(callers).await {
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(code),
                "{answer}"
            );
        }
        let path = "/api/dataflow/data/M";
        let next = super::call(&service, "GET", path, &token, None).await;
        assert_eq!(next.0, 200, "the service is well: {}", next.1);
    }
}

async fn nor_are_runs_that_fail(stores: &Stores) {
    let failed = raw::answer(503, "x").replacen("\r\n", "\r\nx-run-failed: 1\r\n", 1);
    let server = raw::Server::start(move |_, _| Some(failed.clone())).await;
    let (service, token) = stores.gateway(&server.url, &[]).await;
    for _ in 0..MANY {
        let call = service.request("POST", "/mcp").bearer_auth(&token);
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(!answer.headers().contains_key("x-run-failed"));
        assert_eq!(answer.text().await.unwrap(), "x", "the service's own answer");
    }
    assert_eq!(server.seen(), MANY);
}

async fn claims_of_clients_do_not_arrive(stores: &Stores) {
    let server = raw::Server::start(|_, head| Some(raw::answer(200, head))).await;
    let (service, token) = stores.gateway(&server.url, &[]).await;
    let sent = format!(
        "GET /api/dataflow/data/M?x=%2e%2e HTTP/1.1\r\nhost: api.example\r\nauthorization: Bearer {token}\r\n\
         x-user: root\r\nX-User: root\r\nx_user: root\r\nx-tenant-id: other\r\nx_tenant_id: other\r\nx-role: god\r\n\
         x-forwarded-for: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\nx-forwarded-proto: https\r\nforwarded: for=1.2.3.4\r\n\
         x-real-ip: 1.2.3.4\r\nx-private: 1\r\nx-kept: 1\r\ncookie: a=b\r\nconnection: close, x-private, x-role\r\n\r\n"
    );
    let answer = raw::send(service.url(), &sent).await;
    let seen = answer.split("\r\n\r\n").nth(1).expect("a body").to_lowercase();
    let mut lines: Vec<&str> = seen.lines().skip(1).collect();
    lines.sort_unstable();
    let told = |name: &str| {
        lines
            .iter()
            .filter(|line| line.starts_with(name))
            .copied()
            .collect::<Vec<_>>()
    };
    assert!(seen.starts_with("get /data/m?x=%2e%2e http/1.1"), "{seen}");
    assert_eq!(told("x-user"), ["x-user: ada"]);
    assert_eq!(told("x-tenant"), ["x-tenant-id: default"]);
    assert_eq!(told("x-role"), ["x-role: admin"]);
    assert_eq!(told("x-forwarded-for"), ["x-forwarded-for: 127.0.0.1"]);
    assert_eq!(told("x-forwarded-proto"), ["x-forwarded-proto: http"]);
    assert_eq!(told("x-forwarded-host"), ["x-forwarded-host: api.example"]);
    assert_eq!(
        told("forwarded"),
        ["forwarded: for=127.0.0.1;host=\"api.example\";proto=http"]
    );
    assert_eq!(told("x-kept"), ["x-kept: 1"]);
    assert_eq!((told("x-request-id").len(), told("traceparent").len()), (1, 1));
    for gone in [
        "x_",
        "x-private",
        "x-real-ip",
        "cookie",
        "authorization",
        "connection",
    ] {
        assert_eq!(told(gone), [""; 0], "{gone}");
    }
}

async fn only_what_may_be_is_repeated(stores: &Stores) {
    // The first request of each pair gets no answer.
    let server = raw::Server::start(|number, _| (number % 2 == 1).then(|| raw::answer(200, "ok"))).await;
    let (service, token) = stores.gateway(&server.url, &[]).await;
    let call = async |method: &str, body: Option<&str>| {
        let before = server.seen();
        let request = service
            .request(method, "/api/dataflow/data/M/1")
            .bearer_auth(&token);
        let request = match body {
            Some(body) => request.body(body.to_owned()),
            None => request,
        };
        (
            request.send().await.unwrap().status().as_u16(),
            server.seen() - before,
        )
    };
    assert_eq!(call("GET", None).await, (200, 2));
    assert_eq!(call("DELETE", None).await, (200, 2));
    assert_eq!(call("POST", None).await, (502, 1), "may change something twice");
    assert_eq!(call("POST", None).await, (200, 1));
    assert_eq!(call("PUT", Some("x")).await, (502, 1), "its body is gone");
    assert_eq!(call("PUT", Some("x")).await.1, 1);

    let garbled = raw::Server::start(|_, _| Some("no answer at all\r\n\r\n".to_owned())).await;
    let (service, token) = stores.gateway(&garbled.url, &[]).await;
    let answer = service
        .request("GET", "/api/dataflow/models")
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), garbled.seen()),
        (502, 1),
        "bytes came: it has arrived"
    );
}

async fn a_service_that_fails_is_left_alone_and_asked_again(stores: &Stores) {
    let status = Arc::new(AtomicU16::new(503));
    let told = status.clone();
    let server = raw::Server::start(move |_, _| Some(raw::answer(told.load(Ordering::SeqCst), "x"))).await;
    let (service, token) = stores.gateway(&server.url, &[("BREAKER_OPEN", "5")]).await;
    let call = async || {
        service
            .request("POST", "/api/dataflow/data/M")
            .bearer_auth(&token)
            .send()
            .await
            .unwrap()
    };
    for _ in 0..5 {
        assert_eq!(
            call().await.text().await.unwrap(),
            "x",
            "the service's own answer"
        );
    }
    let refused = call().await;
    assert_eq!((refused.status().as_u16(), server.seen()), (503, 5));
    let wait_s: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=5).contains(&wait_s), "{wait_s}");
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(
        (&body["code"], &body["upstream"]),
        (&"UPSTREAM_UNAVAILABLE".into(), &"dataflow-service".into())
    );
    let metrics = service.metrics().await;
    let open = "gateway_upstream_breaker_open{upstream=\"dataflow-service\"} 1";
    assert!(metrics.contains(open), "{metrics}");
    let board = service.get("/health/services").await.body;
    assert_eq!(board["breakers"]["dataflow-service"], "open", "{board}");
    // Other services are not meant.
    assert_eq!(board["breakers"]["mcp-server"], "closed", "{board}");
    let other = service
        .request("POST", "/api/classify")
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(other.text().await.unwrap(), "x");

    // The probe fails, and it is open again; the next one does not.
    let asked = server.seen();
    testkit::wait_for("a failed probe", testkit::PATIENCE, async || {
        call().await;
        (server.seen() == asked + 1).then_some(())
    })
    .await;
    assert_eq!(call().await.status(), 503);
    assert_eq!(server.seen(), asked + 1, "one probe alone");
    status.store(200, Ordering::SeqCst);
    testkit::wait_for("a good probe", testkit::PATIENCE, async || {
        (call().await.status() == 200).then_some(())
    })
    .await;
    for _ in 0..5 {
        assert_eq!(call().await.status(), 200);
    }
}

async fn nobody_waits_beyond_the_timeout(stores: &Stores) {
    let (service, token) = stores
        .gateway(&upstream::silent().await, &[("UPSTREAM_TIMEOUT", "1")])
        .await;
    let begun = Instant::now();
    let answer = service
        .request("GET", "/api/dataflow/models")
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Another protocol is not spoken, wherever it leads.
    let sent = format!(
        "GET /mcp HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n"
    );
    let answer = raw::send(service.url(), &sent).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("UPGRADE_REFUSED"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_in_little_memory() {
    let stores = Stores::start().await;
    let limit = ("BODY_LIMIT", "200000000");
    let (service, token) = stores.gateway(&upstream::mirror().await, &[limit]).await;
    let post = |body: reqwest::Body| {
        service
            .request("POST", "/api/dataflow/data/M")
            .bearer_auth(&token)
            .body(body)
    };

    // The answer's first piece is read before the call's second one is sent.
    let (pieces, sent) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let sent = futures_util::stream::unfold(sent, async |mut sent| {
        Some((Ok::<_, std::io::Error>(sent.recv().await?), sent))
    });
    pieces.send(b"one".to_vec()).await.unwrap();
    let mut answer = post(reqwest::Body::wrap_stream(sent)).send().await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().as_deref(), Some(&b"one"[..]));
    pieces.send(b"two".to_vec()).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().as_deref(), Some(&b"two"[..]));
    drop(pieces);
    assert_eq!(answer.chunk().await.unwrap(), None);

    let before = service.resident_bytes().await;
    let piece = vec![7_u8; 1 << 20];
    let many = futures_util::stream::iter((0..100).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
    let mut back = post(reqwest::Body::wrap_stream(many))
        .send()
        .await
        .unwrap()
        .bytes_stream();
    let (mut bytes, mut most) = (0, before);
    while let Some(piece) = back.next().await {
        let piece = piece.unwrap();
        if (bytes >> 24) != (bytes + piece.len()) >> 24 {
            most = most.max(service.resident_bytes().await);
        }
        bytes += piece.len();
    }
    assert_eq!(bytes, 100 << 20);
    assert!(most - before < 16e6, "{before} -> {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_wherever_it_is_noticed() {
    let stack = Stack::start(&upstream::echo().await).await;
    let token = stack.token().await;
    let pieces = (0..11).map(|_| Ok::<_, std::io::Error>(vec![7_u8; 1 << 20]));
    let unknown = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let call = stack
        .service
        .request("POST", "/api/dataflow/data/M")
        .bearer_auth(&token);
    let refused = call.body(unknown).send().await.unwrap();
    assert_eq!(refused.status(), 413);
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "BODY_TOO_LARGE");
}
