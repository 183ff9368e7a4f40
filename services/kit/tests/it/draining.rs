//! SIGTERM: ready turns 503, what is in flight is finished, the process ends with 0.

use serde_json::json;
use testkit::Service;

use crate::tiny;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_finished() {
    let service = tiny().set("TINY_URL", "http://x:1").start().await;
    service.ready().await;
    let (slow, url) = (service.request("GET", "/slow/5000"), service.url().to_owned());
    let in_flight = tokio::spawn(async move { slow.send().await?.text().await });
    until_one_came(&service).await;
    let ending = tokio::spawn(service.end());

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let draining = testkit::wait_for("/ready = draining", testkit::PATIENCE, async || {
        let answer = client.get(format!("{url}/ready")).send().await.ok()?;
        (answer.status() == 503).then_some(answer)
    });
    let body: serde_json::Value = draining.await.json().await.unwrap();
    assert_eq!(body["status"], "draining");
    let refused = client.get(format!("{url}/slow/1")).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    let refused: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], json!("DRAINING"));

    assert_eq!(in_flight.await.unwrap().unwrap(), "done");
    assert_eq!(ending.await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_service_ends_at_once_and_a_busy_one_in_time() {
    // Who would wait for what is not there, or for what takes longer, outlasts the test's patience.
    let idle = tiny().set("DRAIN_TIMEOUT", "300").start().await;
    assert_eq!(idle.end().await, Some(0));

    let service = tiny().set("DRAIN_TIMEOUT", "1").start().await;
    let slow = service.request("GET", "/slow/300000");
    let in_flight = tokio::spawn(slow.send());
    until_one_came(&service).await;
    assert_eq!(service.end().await, Some(0));
    assert!(in_flight.await.unwrap().is_err());
}

/// A request must be in before the signal is.
async fn until_one_came(service: &Service) {
    testkit::wait_for("a slow request", testkit::PATIENCE, async || {
        (service.get("/came").await.body == json!(1)).then_some(())
    })
    .await;
}
