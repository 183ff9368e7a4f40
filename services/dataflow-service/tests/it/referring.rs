//! Rows that refer to others: what follows a deletion is told and not answered from the cache, and what is held stays.

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, Row};
use testkit::{Postgres, Service, wait_for};

use crate::{ready, refusal};

async fn model(service: &Service, name: &str, fields: Value, config: Value) {
    let model = json!({ "name": name, "fields": fields, "config": config });
    let made = service.post("/models", &model).await;
    assert_eq!(made.status, 201, "{made:?}");
}

fn by(to: &str, follows: &str) -> Value {
    json!({ "type": "int", "references": to, "on_delete": follows })
}

async fn ask(direct: &mut PgConnection, sql: &'static str) -> Vec<String> {
    let rows = direct.fetch_all(sql).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn create(service: &Service, model: &str, row: Value) -> Value {
    let request = service.request("POST", &format!("/data/{model}")).json(&row);
    let made = request.header("x-tenant-id", "acme").send().await.unwrap();
    assert_eq!(made.status(), 201, "{model} {row}");
    made.json::<Value>().await.unwrap()["id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_deletion_is_told_and_what_is_held_stays() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    let mut direct = PgConnection::connect(&postgres.url()).await.unwrap();
    model(&service, "Maker", json!({ "name": "str" }), json!({})).await;
    let keep = json!({ "retention": { "policy": "delete", "after_days": 30 } });
    model(&service, "Part", json!({ "maker": by("Maker", "cascade") }), keep).await;
    let tenants = json!({ "multi_tenant": true });
    model(
        &service,
        "Mark",
        json!({ "part": by("Part", "cascade") }),
        tenants,
    )
    .await;
    model(
        &service,
        "Tag",
        json!({ "part": by("Part", "set_null") }),
        json!({}),
    )
    .await;
    model(
        &service,
        "Side",
        json!({ "tag": by("Tag", "cascade") }),
        json!({}),
    )
    .await;
    follows(&service, &mut direct).await;
    held(&service, &mut direct).await;
    ids(&service).await;
}

/// Each of them has another version, a tenant's answers included; who is not reached has not.
async fn follows(service: &Service, direct: &mut PgConnection) {
    let versions =
        "SELECT m.name || ' ' || dataflow.version_of(m.name, 'acme') FROM dataflow.model_registry m
                    WHERE m.name <> 'Maker' ORDER BY m.name";
    for many in [false, true] {
        let maker = create(service, "Maker", json!({ "name": "m" })).await;
        let part = create(service, "Part", json!({ "maker": maker })).await;
        create(service, "Mark", json!({ "part": part })).await;
        let tag = create(service, "Tag", json!({ "part": part })).await;
        create(service, "Side", json!({ "tag": tag })).await;
        let before = ask(direct, versions).await;
        sqlx::raw_sql("DELETE FROM dataflow.outbox")
            .execute(&mut *direct)
            .await
            .unwrap();
        let gone = if many {
            let filter = json!({ "filter": { "id": maker } });
            service.post("/data/Maker/bulk/delete", &filter).await.status
        } else {
            let path = format!("/data/Maker/{maker}");
            let gone = service.request("DELETE", &path).send().await.unwrap();
            gone.status().as_u16()
        };
        assert_eq!(gone, 200);
        let after = ask(direct, versions).await;
        let raised: Vec<bool> = before
            .iter()
            .zip(&after)
            .map(|(one, other)| one != other)
            .collect();
        assert_eq!(
            raised,
            [true, true, false, true],
            "Mark, Part, Side, Tag: {after:?}"
        );
        let told = "SELECT kind || ' ' || data FROM dataflow.outbox WHERE kind LIKE '%cascade' ORDER BY kind";
        let of = |name: &str| format!("dataflow.{name}.cascade {{\"of\": \"Maker\", \"model\": \"{name}\"}}");
        assert_eq!(ask(direct, told).await, ["Mark", "Part", "Tag"].map(of));
    }
}

/// Retention leaves a row that another one holds, and does the rest.
async fn held(service: &Service, direct: &mut PgConnection) {
    model(
        service,
        "Lot",
        json!({ "part": by("Part", "restrict") }),
        json!({}),
    )
    .await;
    let parts = json!({ "data": (0..30).map(|_| json!({})).collect::<Vec<_>>() });
    assert_eq!(
        service.post("/data/Part/bulk/create", &parts).await.body["inserted"],
        30
    );
    let held = service.get("/data/Part?limit=1").await.body["records"][0]["id"].clone();
    create(service, "Lot", json!({ "part": held })).await;
    let old = "UPDATE models.parts SET created_at = now() - interval '40 days'";
    sqlx::raw_sql(old).execute(direct).await.unwrap();
    let job = service
        .post("/jobs", &json!({ "kind": "retention", "model": "Part" }))
        .await;
    let path = format!("/jobs/{}", job.body["id"].as_str().unwrap());
    let done = wait_for("retention", testkit::PATIENCE, async || {
        let job = service.get(&path).await.body;
        (job["status"] == "done").then_some(job)
    });
    assert_eq!(done.await["error"], Value::Null);
    let left = service.get("/data/Part").await.body;
    assert_eq!((&left["count"], &left["records"][0]["id"]), (&json!(1), &held));
}

/// Rows that were sent with their ids stand in the way of those that the table makes: these are drawn anew.
async fn ids(service: &Service) {
    model(
        service,
        "Item",
        json!({ "sku": { "type": "str", "unique": true }, "code": { "type": "str", "unique": true } }),
        json!({ "multi_tenant": true }),
    )
    .await;
    let bulk = async |tenant: &str, data: Value| {
        let request = service.request("POST", "/data/Item/bulk/create");
        let request = request
            .header("x-tenant-id", tenant)
            .json(&json!({ "data": data }));
        let answer = request.send().await.unwrap();
        answer.json::<Value>().await.unwrap()["inserted"].clone()
    };
    let sent: Vec<Value> = (1..=2500).map(|id| json!({ "id": id })).collect();
    assert_eq!(bulk("acme", json!(sent)).await, 2500);
    assert_eq!(create(service, "Item", json!({ "sku": "a" })).await, 2501);
    assert_eq!(create(service, "Item", json!({ "id": 2503 })).await, 2503);
    let drawn: Vec<Value> = (0..1200).map(|n| json!({ "code": format!("c{n}") })).collect();
    assert_eq!(bulk("acme", json!(drawn)).await, 1200, "none is passed over");
    assert_eq!(bulk("other", json!([{ "id": 9000 }])).await, 1);
    let taken = json!({ "id": 1 });
    let request = service
        .request("POST", "/data/Item")
        .header("x-tenant-id", "acme");
    let refused = request.json(&taken).send().await.unwrap();
    let refused = testkit::Answer {
        status: refused.status().as_u16(),
        body: refused.json().await.unwrap(),
    };
    assert_eq!(refusal(&refused), (409, "DF-711"));
}
