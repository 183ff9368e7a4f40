//! `Idempotency-Key`: calls that are made again.

#![expect(
    clippy::unwrap_used,
    reason = "the scenes of a test are functions; what panics there fails it"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use testkit::{Postgres, Redis, Service};

use super::{behind, gateway, log_in, raw};

struct Answered {
    status: u16,
    body: String,
    replayed: bool,
}

impl Answered {
    fn code(&self) -> Value {
        serde_json::from_str::<Value>(&self.body).unwrap_or_default()["code"].take()
    }
}

async fn call(service: &Service, token: &str, key: &str, body: &Value) -> Answered {
    let call = service.request("POST", "/api/dataflow/data/M").bearer_auth(token);
    let answer = call
        .header("idempotency-key", key)
        .json(body)
        .send()
        .await
        .unwrap();
    Answered {
        status: answer.status().as_u16(),
        replayed: answer.headers().get("idempotency-replayed").is_some(),
        body: answer.text().await.unwrap(),
    }
}

async fn arrived(server: &raw::Server, calls: usize) {
    testkit::wait_for("the call to arrive", testkit::PATIENCE, async || {
        (server.seen() == calls).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_a_key_is_made_once() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    // It answers when it may, so that another call can come in between; what it says depends on how often it was asked.
    let held = Arc::new(AtomicBool::new(true));
    let holding = held.clone();
    let server = raw::Server::start(move |number, head| {
        tokio::task::block_in_place(|| {
            while holding.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        if head.contains("x-break") {
            return None;
        }
        let status = if head.contains("x-fail") { 422 } else { 201 };
        Some(raw::answer(status, &format!("number {number}")))
    })
    .await;
    let start = async || {
        let starting = behind(gateway(), &server.url)
            .set("DATABASE_URL", postgres.url())
            .set("REDIS_URL", redis.url())
            .set("REQUEST_TIMEOUT", "5");
        let service = starting.start().await;
        super::says(&service, "ready").await;
        service
    };
    let (first, second) = (start().await, start().await);
    let token = log_in(&first).await;
    let (one, two) = (json!({ "a": 1 }), json!({ "a": 2 }));

    // Both replicas at once: one makes the call, the other is told so.
    let calls = [&first, &second].map(|service| Box::pin(call(service, &token, "k1", &one)));
    let (told, _, rest) = futures_util::future::select_all(calls).await;
    held.store(false, Ordering::SeqCst);
    let made = futures_util::future::join_all(rest).await.remove(0);
    assert_eq!((made.status, made.replayed), (201, false), "{}", made.body);
    assert_eq!((told.status, told.code()), (409, json!("IDEMPOTENCY_IN_FLIGHT")));
    assert_eq!(server.seen(), 1);

    // From then on both give the same answer.
    for service in [&first, &second] {
        let again = call(service, &token, "k1", &one).await;
        assert_eq!(
            (again.status, again.replayed, &again.body),
            (201, true, &made.body)
        );
    }
    let other = call(&second, &token, "k1", &two).await;
    assert_eq!((other.status, other.code()), (409, json!("IDEMPOTENCY_MISMATCH")));
    assert_eq!(call(&first, &token, "k2", &one).await.body, "number 1");
    let wrong = call(&first, &token, &"k".repeat(256), &one).await;
    assert_eq!(
        (wrong.status, wrong.code()),
        (400, json!("IDEMPOTENCY_KEY_INVALID"))
    );

    // A refusal is not kept: the call may be mended and made again.
    let fail = first
        .request("POST", "/api/dataflow/data/M")
        .bearer_auth(&token)
        .header("x-fail", "1");
    let refused = fail
        .header("idempotency-key", "k3")
        .json(&one)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 422);
    let mended = call(&first, &token, "k3", &one).await;
    assert_eq!((mended.status, mended.replayed), (201, false));

    // Nobody knows what was done where an answer is lost: the call is not made again at once.
    let lose = first
        .request("POST", "/api/dataflow/data/M")
        .bearer_auth(&token)
        .header("x-break", "1");
    let lost = lose
        .header("idempotency-key", "k6")
        .json(&one)
        .send()
        .await
        .unwrap();
    assert_eq!(lost.status(), 502);
    let told = call(&second, &token, "k6", &one).await;
    assert_eq!((told.status, told.code()), (409, json!("IDEMPOTENCY_IN_FLIGHT")));

    // A caller that goes away does not take the call along.
    held.store(true, Ordering::SeqCst);
    let asked = server.seen() + 1;
    tokio::select! {
        answered = call(&first, &token, "k4", &one) => panic!("{}", answered.body),
        () = arrived(&server, asked) => {}
    }
    held.store(false, Ordering::SeqCst);
    testkit::wait_for("the answer to be kept", testkit::PATIENCE, async || {
        call(&second, &token, "k4", &one).await.replayed.then_some(())
    })
    .await;
    assert_eq!(server.seen(), asked, "it was made once");

    // A replica dies while it makes the call: its claim is free when the call must be over.
    held.store(true, Ordering::SeqCst);
    let service = start().await;
    tokio::select! {
        answered = call(&service, &token, "k5", &one) => panic!("{}", answered.body),
        () = arrived(&server, asked + 1) => {}
    }
    service.kill().await;
    held.store(false, Ordering::SeqCst);
    let told = call(&second, &token, "k5", &one).await;
    assert_eq!((told.status, told.code()), (409, json!("IDEMPOTENCY_IN_FLIGHT")));
    testkit::wait_for("the claim to end", testkit::PATIENCE, async || {
        let again = call(&second, &token, "k5", &one).await;
        (again.status == 201 && !again.replayed).then_some(())
    })
    .await;
}
