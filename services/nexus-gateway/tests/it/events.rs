//! Events of runs and rows, heard at another replica than the one that was asked.
#![expect(
    clippy::unwrap_used,
    reason = "the scenes of a test are functions; what panics there fails it"
)]

use std::time::Duration;

use contract::events::{Event, FIELD, STREAM};
use serde_json::{Value, json};

use super::rig::{Rig, Stream, ask, refusal, whole};

#[tokio::test(flavor = "multi_thread")]
async fn events_are_heard_by_those_who_may_and_want_to() {
    let rig = Rig::start().await;
    runs_are_heard_at_the_other_replica(&rig).await;
    other_tenants_and_types_are_not_heard(&rig).await;
    who_was_away_goes_on_where_it_was(&rig).await;
    a_slow_listener_is_told_what_it_lost(&rig).await;
    a_place_beyond_the_end_silences_nobody(&rig).await;
    what_is_malformed_is_refused(&rig).await;
    streams_end_with_their_key(&rig).await;
    a_stream_ends_with_its_token_and_with_its_gateway(rig).await;
}

async fn listen(rig: &Rig, query: &str, after: Option<&str>) -> Stream {
    let request = rig.two.request("GET", &format!("/events/stream{query}"));
    let request = request.bearer_auth(&rig.token);
    Stream::open(match after {
        Some(id) => request.header("last-event-id", id),
        None => request,
    })
    .await
}

/// Tells events as dataflow does: their ids in the stream.
async fn tell(rig: &Rig, kind: &str, tenant: Option<&str>, values: &[Value]) -> Vec<String> {
    let client = redis::Client::open(rig.redis.url()).unwrap();
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let mut redis = client
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .unwrap();
    let mut ids = Vec::new();
    for values in values.chunks(200) {
        let mut pipe = redis::pipe();
        for value in values {
            let event = Event {
                id: uuid::Uuid::new_v4().to_string(),
                kind: kind.to_owned(),
                tenant: tenant.map(str::to_owned),
                at: "2026-01-01T00:00:00Z".to_owned(),
                data: value.clone(),
            };
            let text = serde_json::to_string(&event).unwrap();
            pipe.cmd("XADD").arg(STREAM).arg("*").arg(FIELD).arg(text);
        }
        let told: Vec<String> = pipe.query_async(&mut redis).await.unwrap();
        ids.extend(told);
    }
    ids
}

async fn runs_are_heard_at_the_other_replica(rig: &Rig) {
    let mut heard = listen(rig, "?event_type=handler.*", None).await;
    rig.register().await;
    let run = rig
        .post(
            "/workflows/greet/execute",
            &json!({ "inputs": { "name": "you" } }),
        )
        .await;
    let id = &run.body["execution_id"];
    let mut names = Vec::new();
    while names.len() < 4 {
        let told = heard.next().await.unwrap();
        assert!(!told.id.is_empty() && told.data["type"] == told.name.as_str());
        if told.name != "handler.registered" {
            assert_eq!(
                (&told.data["data"]["execution_id"], &told.data["tenant"]),
                (id, &json!("default"))
            );
        }
        names.push(told.name);
    }
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "handler.called",
            "handler.completed",
            "handler.registered",
            "handler.registered"
        ]
    );
}

async fn other_tenants_and_types_are_not_heard(rig: &Rig) {
    let mut heard = listen(rig, "?event_type=dataflow.Product.create,dataflow.Order.*", None).await;
    tell(
        rig,
        "dataflow.Product.create",
        Some("other"),
        &[json!({ "n": 1 })],
    )
    .await;
    tell(
        rig,
        "dataflow.Product.update",
        Some("default"),
        &[json!({ "n": 2 })],
    )
    .await;
    tell(
        rig,
        "dataflow.Product.create",
        Some("default"),
        &[json!({ "n": 3 })],
    )
    .await;
    tell(rig, "dataflow.Order.bulk_create", None, &[json!({ "n": 4 })]).await;
    for n in [3, 4] {
        assert_eq!(heard.next().await.unwrap().data["data"]["n"], json!(n));
    }
    assert!(heard.silent().await);
}

/// None lost and none twice, while more is being told.
async fn who_was_away_goes_on_where_it_was(rig: &Rig) {
    let numbers = |from: u32, to: u32| (from..to).map(|n| json!({ "n": n })).collect::<Vec<_>>();
    let ids = tell(rig, "dataflow.A.create", Some("default"), &numbers(0, 500)).await;
    tell(rig, "dataflow.A.create", Some("other"), &numbers(0, 50)).await;
    let mut heard = listen(rig, "?event_type=dataflow.A.*", Some(&ids[9])).await;
    tell(rig, "dataflow.A.create", Some("default"), &numbers(500, 600)).await;
    for n in 10..600 {
        let told = heard.next().await.unwrap();
        assert_eq!(
            (told.data["data"]["n"].as_u64(), told.name.as_str()),
            (Some(n), "dataflow.A.create")
        );
    }
    tell(rig, "dataflow.A.create", Some("default"), &numbers(600, 601)).await;
    assert_eq!(heard.next().await.unwrap().data["data"]["n"], 600);
    assert!(heard.silent().await);
    let mut late = listen(rig, "?event_type=dataflow.A.*", Some("1-1")).await;
    let lagged = late.next().await.unwrap();
    assert_eq!(
        (lagged.name.as_str(), &lagged.data),
        ("lagged", &json!({ "missed": null }))
    );
    assert_eq!(late.next().await.unwrap().data["data"]["n"], 0);
}

async fn a_slow_listener_is_told_what_it_lost(rig: &Rig) {
    let mut slow = listen(rig, "?event_type=dataflow.Slow.*", None).await;
    let mut quick = listen(rig, "?event_type=dataflow.Slow.*", None).await;
    let values: Vec<Value> = (0..4000)
        .map(|n| json!({ "n": n, "pad": "x".repeat(8000) }))
        .collect();
    tell(rig, "dataflow.Slow.create", Some("default"), &values).await;
    // Nobody reads meanwhile: what the connection cannot hold waits in the process, and there 256 at most. Once
    // another has heard the last, the gateway has told them all.
    while quick.next().await.unwrap().data["data"]["n"] != 3999 {}
    let (mut got, mut missed) = (0, 0);
    while got + missed < 4000 {
        let told = slow.next().await.unwrap();
        if told.name == "lagged" {
            missed += told.data["missed"].as_u64().unwrap();
        } else {
            got += 1;
        }
    }
    assert!(missed > 0 && got >= 256, "{got} heard, {missed} missed");
    assert_eq!(got + missed, 4000, "the count is right");
}

async fn a_place_beyond_the_end_silences_nobody(rig: &Rig) {
    let mut heard = listen(rig, "?event_type=dataflow.Late.*", Some("99999999999999-0")).await;
    assert_eq!(heard.next().await.unwrap().name, "lagged");
    tell(rig, "dataflow.Late.create", Some("default"), &[json!({ "n": 1 })]).await;
    assert_eq!(heard.next().await.unwrap().data["data"]["n"], 1);
}

/// The gateway's own, and one that it passes on.
async fn streams_end_with_their_key(rig: &Rig) {
    let run = rig.held().await;
    let made = rig.post("/auth/keys", &json!({ "name": "robot" })).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let key = made.body["key"].as_str().unwrap();
    let open = async |path: &str| Stream::open(rig.one.request("GET", path).header("x-api-key", key)).await;
    let mut own = open("/events/stream?event_type=none").await;
    let mut passed = open(&format!("/executions/{run}/events")).await;
    let begun = passed.next().await.unwrap();
    assert!(!begun.id.is_empty(), "{begun:?}");
    let path = format!("/auth/keys/{}", made.body["id"].as_str().unwrap());
    let gone = ask(&rig.one, &rig.token, "DELETE", &path, None).await;
    assert_eq!(gone.status, 204, "{:?}", gone.body);
    while own.next().await.is_some() {}
    while passed.next().await.is_some() {}
    assert_eq!(
        rig.get(&format!("/executions/{run}")).await.body["status"],
        "waiting"
    );

    // Whoever comes with a good credential goes on after what was heard, to the run's end.
    let request = rig.two.request("GET", &format!("/executions/{run}/events"));
    let request = request.bearer_auth(&rig.token).header("last-event-id", &begun.id);
    let mut resumed = Stream::open(request).await;
    let signal = rig
        .post(&format!("/workflows/{run}/signals/go"), &json!({}))
        .await;
    assert_eq!(signal.status, 202, "{:?}", signal.body);
    let mut seen = Vec::new();
    while let Some(told) = resumed.next().await {
        seen.push(told);
    }
    assert!(
        !seen.is_empty() && seen.iter().all(|told| told.id != begun.id),
        "{seen:?}"
    );
}

async fn what_is_malformed_is_refused(rig: &Rig) {
    let bare = rig.two.get("/events/stream").await;
    assert_eq!(refusal(&bare), (401, "missing_token"));
    let wrong = ask(&rig.two, &rig.token, "GET", "/events/stream?event_type=a*b", None).await;
    assert_eq!(refusal(&wrong), (422, "EVENT_TYPE_INVALID"));
    let request = rig.two.request("GET", "/events/stream").bearer_auth(&rig.token);
    let wrong = request.header("last-event-id", "yesterday").send().await.unwrap();
    assert_eq!(wrong.status(), 422);
}

async fn a_stream_ends_with_its_token_and_with_its_gateway(rig: Rig) {
    let brief = rig.another().set("TOKEN_TTL", "6").start().await;
    whole(&brief).await;
    let credentials = json!({ "username": "ada", "password": super::PASSWORD });
    let token = brief.post("/auth/login", &credentials).await.body["access_token"].clone();
    let request = brief
        .request("GET", "/events/stream")
        .bearer_auth(token.as_str().unwrap());
    let mut short = Stream::open(request).await;
    let mut long = listen(&rig, "?event_type=none", None).await;
    while short.next().await.is_some() {}
    assert!(long.silent().await);
    let ended = tokio::join!(rig.two.end(), async { while long.next().await.is_some() {} });
    assert_eq!(ended.0, Some(0));
}
