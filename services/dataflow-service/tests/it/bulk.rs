//! Bulk calls: what they write, what they refuse, and that nothing is ever written by half.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use testkit::{Answer, Postgres, Service};

use crate::{WAITING, at_least, ready, refusal};

async fn bulk(service: &Service, operation: &str, body: Value) -> Answer {
    service.post(&format!("/data/Part/bulk/{operation}"), &body).await
}

async fn parts(service: &Service) {
    let fields = json!({
        "sku": { "type": "str", "unique": true, "required": true },
        "stock": { "type": "int", "min": 0 },
        "since": "datetime",
        "tags": "dict",
        "shelf": { "type": "int", "default": 1 },
    });
    let made = service
        .post("/models", &json!({ "name": "Part", "fields": fields }))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
}

async fn count(service: &Service) -> Value {
    let counted = json!({ "parameters": {} });
    service.post("/nodes/PartCountNode/execute", &counted).await.body["result"]["count"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_written_changed_and_deleted_in_one_call() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    parts(&service).await;

    let rows = json!([
        { "sku": "a", "stock": 1, "tags": { "x": [1] }, "shelf": 4 },
        { "sku": "b", "since": "2026-01-31T12:00:00+02:00" },
        { "sku": "c'; drop table parts", "stock": 3 },
    ]);
    let made = bulk(&service, "create", json!({ "data": rows, "return_ids": true })).await;
    assert_eq!(made.status, 200, "{made:?}");
    let wanted = json!({
        "processed": 3, "inserted": 3, "skipped": 0, "ids": made.body["ids"], "batch_size": 1000,
        "operation": "bulk_create", "success": true,
    });
    assert_eq!(made.body, wanted);
    let listed = service.get("/data/Part?limit=10").await.body["records"].clone();
    let row = |sku: &str| {
        listed
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["sku"] == sku)
            .cloned()
            .unwrap()
    };
    assert_eq!(
        (&row("a")["tags"], &row("b")["since"]),
        (&json!({ "x": [1] }), &json!("2026-01-31T10:00:00"))
    );
    let ids: Vec<i64> = ["a", "b"].map(|sku| row(sku)["id"].as_i64().unwrap()).to_vec();

    // The same again: left alone, or named, or changed.
    let again = json!([{ "sku": "a", "stock": 9 }, { "sku": "d" }]);
    let skipped = bulk(&service, "create", json!({ "rows": again })).await.body;
    assert_eq!(
        (&skipped["inserted"], &skipped["skipped"]),
        (&json!(1), &json!(1))
    );
    let named = bulk(
        &service,
        "create",
        json!({ "records": again, "conflict_resolution": "error" }),
    )
    .await;
    assert_eq!(refusal(&named), (409, "DF-711"));
    assert_eq!(
        (&named.body["items"][0]["index"], &named.body["field"]),
        (&json!(0), &json!("sku"))
    );
    let upserted = json!({
        "data": [{ "sku": "a", "stock": 9 }, { "sku": "e" }], "conflict_resolution": "update", "conflict_on": ["sku"],
    });
    let upserted = bulk(&service, "upsert", upserted).await.body;
    let figures = ["processed", "upserted", "total", "inserted", "updated", "skipped"]
        .map(|name| upserted[name].clone());
    assert_eq!(figures, [2, 2, 2, 1, 1, 0].map(Value::from));
    let query = json!({ "filter": { "sku": { "$in": ["a", "e"] } }, "order_by": ["sku"] });
    let rows = service.post("/data/Part/query", &query).await.body["records"].clone();
    assert_eq!(
        (&rows[0]["shelf"], &rows[0]["stock"], &rows[1]["shelf"]),
        (&json!(4), &json!(9), &json!(1)),
        "what was not sent stays in a row that is there: {rows}"
    );
    let left = bulk(&service, "upsert", json!({ "data": [{ "sku": "a" }] }))
        .await
        .body;
    assert!(left["skipped"] == 1 || left["inserted"] == 0, "{left}");

    let changed = json!({ "data": [{ "id": ids[0], "stock": 5 }, { "id": ids[1], "stock": 6 }, { "id": 999, "stock": 1 }] });
    let changed = bulk(&service, "update", changed).await.body;
    assert_eq!(
        (&changed["processed"], &changed["updated"]),
        (&json!(3), &json!(2))
    );
    let changed = json!({ "filter": { "stock": { "$gte": 5 } }, "fields": { "stock": 7 } });
    assert_eq!(bulk(&service, "update", changed).await.body["updated"], 2);
    for sent in [
        json!({ "filter": {}, "fields": { "stock": 0 } }),
        json!({ "filter": {}, "safe_mode": false, "fields": { "stock": 0 } }),
    ] {
        assert_eq!(refusal(&bulk(&service, "update", sent).await), (422, "DF-713"));
    }
    assert_eq!(
        refusal(&bulk(&service, "delete", json!({ "filter": {} })).await),
        (422, "DF-713")
    );
    assert_eq!(
        bulk(&service, "delete", json!({ "data": [ids[0], { "id": ids[1] }] }))
            .await
            .body["deleted"],
        2
    );
    let all = json!({ "filter": {}, "confirmed": true });
    assert_eq!(bulk(&service, "delete", all).await.body["deleted"], 3);
    assert_eq!(count(&service).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_by_item_and_the_rest_goes_as_the_caller_says() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    parts(&service).await;
    let wrong = json!([
        { "sku": "a" }, { "sku": "b", "stock": -1 }, { "stock": 1 }, 7, { "sku": "c", "nope": 1 }, { "sku": "d" },
    ]);
    let refused = bulk(&service, "create", json!({ "data": wrong })).await;
    assert_eq!(refusal(&refused), (422, "DF-101"));
    let items = refused.body["items"].as_array().unwrap();
    let named: Vec<_> = items
        .iter()
        .map(|item| (item["index"].as_i64().unwrap(), item["field"].clone()))
        .collect();
    assert_eq!(
        named,
        [
            (1, json!("stock")),
            (2, json!("sku")),
            (3, Value::Null),
            (4, json!("nope"))
        ]
    );
    assert_eq!(count(&service).await, 0, "nothing was written");

    let go_on = bulk(
        &service,
        "create",
        json!({ "data": wrong, "on_error": "continue" }),
    )
    .await;
    assert_eq!(
        (go_on.status, &go_on.body["success"], &go_on.body["inserted"]),
        (200, &json!(false), &json!(2))
    );
    assert_eq!(
        (&go_on.body["failed"], &go_on.body["errors"][0]["code"]),
        (&json!(4), &json!("DF-101"))
    );

    // What only the database knows: found among many by halving.
    let mut rows: Vec<Value> = (0..2500)
        .map(|n| json!({ "sku": format!("n{n}"), "stock": n }))
        .collect();
    rows[1234] = json!({ "sku": "a", "stock": 1 });
    rows[2001] = json!({ "sku": "d", "stock": 1 });
    let call = |on_error: &str| json!({ "data": rows, "conflict_resolution": "error", "on_error": on_error });
    let refused = bulk(&service, "create", call("abort")).await;
    assert_eq!(refusal(&refused), (409, "DF-711"));
    let named: Vec<_> = refused.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["index"].clone())
        .collect();
    assert_eq!(named, [json!(1234), json!(2001)]);
    assert_eq!(count(&service).await, 2);
    let go_on = bulk(&service, "create", call("continue")).await.body;
    assert_eq!(
        (&go_on["inserted"], &go_on["failed"], &go_on["processed"]),
        (&json!(2498), &json!(2), &json!(2500))
    );
    assert_eq!(count(&service).await, 2500);

    let cases = [
        ("create", json!({}), "data"),
        ("create", json!({ "data": [], "rows": [] }), "rows"),
        ("create", json!({ "data": {} }), "data"),
        ("create", json!({ "data": [], "batch_size": 0 }), "batch_size"),
        (
            "create",
            json!({ "data": [], "conflict_resolution": "maybe" }),
            "conflict_resolution",
        ),
        ("create", json!({ "data": [], "nope": 1 }), "nope"),
        ("create", json!({ "data": vec![0; 50_001] }), "data"),
        (
            "upsert",
            json!({ "data": [], "conflict_on": ["stock"] }),
            "conflict_on",
        ),
        (
            "update",
            json!({ "data": [{ "id": 1, "stock": 1 }, { "id": 1, "stock": 2 }] }),
            "id",
        ),
        ("delete", json!({ "data": [], "filter": { "id": 1 } }), "filter"),
    ];
    for (operation, body, field) in cases {
        let refused = bulk(&service, operation, body).await;
        assert_eq!(refusal(&refused), (422, "DF-101"), "{refused:?}");
        assert_eq!(refused.body["field"], field);
    }
    let empty = bulk(&service, "create", json!({ "data": [] })).await.body;
    assert_eq!(
        (&empty["processed"], &empty["success"]),
        (&json!(0), &json!(true))
    );
}

/// Killed in the middle of a write: a row of it, now an early and now a late one, waits for another transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_bulk_write_leaves_nothing_half_done_and_loses_nothing_acknowledged() {
    let postgres = Postgres::start().await;
    let first = ready(&postgres).await;
    parts(&first).await;
    first.kill().await;
    let mut direct = PgConnection::connect(&postgres.url()).await.unwrap();
    let over = "SELECT 1 - count(*) FROM pg_stat_activity
                WHERE application_name = 'dataflow-service' AND xact_start IS NOT NULL";
    for (round, row) in [1, 1234, 4998].into_iter().enumerate() {
        let service = ready(&postgres).await;
        let small = json!({ "data": [{ "sku": format!("{round} small") }] });
        assert_eq!(bulk(&service, "create", small).await.status, 200);
        let mut holds = direct.begin().await.unwrap();
        let held = "INSERT INTO models.parts (sku) VALUES ($1)";
        let held = sqlx::query(held).bind(format!("{round} {row}"));
        held.execute(&mut *holds).await.unwrap();
        let rows: Vec<Value> = (0..5000)
            .map(|n| json!({ "sku": format!("{round} {n}") }))
            .collect();
        let request = service.request("POST", "/data/Part/bulk/create");
        let writing = tokio::spawn(request.json(&json!({ "data": rows, "batch_size": 50 })).send());
        at_least(&postgres, 1, WAITING).await;
        service.kill().await;
        assert!(writing.await.unwrap().is_err(), "nothing is acknowledged");
        holds.rollback().await.unwrap();
        // PostgreSQL notices a lost client when it next reads from it or writes to it.
        at_least(&postgres, 1, over).await;
        let after = ready(&postgres).await;
        assert_eq!(count(&after).await, json!(round + 1));
        after.kill().await;
    }
}
