//! The nodes' parameters and results, model configs, and every type of field.

use serde_json::{Value, json};
use testkit::{Answer, Postgres, Service};

use crate::{ready, refusal};

async fn model(service: &Service, definition: Value) {
    let made = service.post("/models", &definition).await;
    assert_eq!(made.status, 201, "{made:?}");
}

async fn node(service: &Service, name: &str, parameters: Value) -> Answer {
    let path = format!("/nodes/{name}/execute");
    service.post(&path, &json!({ "parameters": parameters })).await
}

/// A node's result.
async fn result(service: &Service, name: &str, parameters: Value) -> Value {
    let answer = node(service, name, parameters).await;
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
    answer.body["result"].clone()
}

/// As a tenant: what REST answers.
async fn as_tenant(service: &Service, tenant: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
    let request = service.request(method, path).header("X-Tenant-ID", tenant);
    let request = if method == "GET" {
        request
    } else {
        request.json(&body)
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_take_what_dataflow_takes() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    let fields =
        json!({ "sku": { "type": "str", "unique": true, "max": 20 }, "shop": "str", "stock": "int" });
    model(&service, json!({ "name": "Product", "fields": fields })).await;

    // Create or update: one row, twice.
    let upsert = json!({ "where": { "sku": "a" }, "create": { "stock": 1 }, "update": { "stock": 2 } });
    let first = result(&service, "ProductUpsertNode", upsert.clone()).await;
    assert_eq!(
        (&first["created"], &first["action"], &first["record"]["stock"]),
        (&json!(true), &json!("created"), &json!(1))
    );
    let second = result(&service, "ProductUpsertNode", upsert).await;
    assert_eq!(
        (&second["created"], &second["action"], &second["record"]["stock"]),
        (&json!(false), &json!("updated"), &json!(2))
    );
    assert_eq!(second["record"]["id"], first["record"]["id"]);
    let other = json!({ "where": { "sku": "a", "shop": "elsewhere" }, "update": { "stock": 3 } });
    assert_eq!(
        refusal(&node(&service, "ProductUpsertNode", other).await),
        (409, "DF-711")
    );
    let unkeyed = json!({ "where": { "stock": 2 }, "update": {} });
    assert_eq!(
        refusal(&node(&service, "ProductUpsertNode", unkeyed).await),
        (422, "DF-707")
    );

    // An update in its old form says so; a condition that does not hold leaves the row.
    let old = json!({ "conditions": { "id": 1 }, "updates": { "stock": 5, "updated_at": "2026-01-01" } });
    let old = node(&service, "ProductUpdateNode", old).await;
    assert_eq!(
        (
            &old.body["result"]["stock"],
            old.body["warnings"].as_array().map(Vec::len)
        ),
        (&json!(5), Some(3))
    );
    let held = json!({ "filter": { "id": 1, "stock": { "$gt": 9 } }, "fields": { "stock": 0 } });
    assert_eq!(
        result(&service, "ProductUpdateNode", held).await,
        json!({ "id": 1, "updated": false })
    );
    assert_eq!(
        result(&service, "ProductUpdateNode", json!({ "id": 1, "stock": 6 })).await["stock"],
        6
    );
    let read = json!({ "record_id": 1, "conditions": { "stock": 7 }, "raise_on_not_found": false });
    assert_eq!(
        result(&service, "ProductReadNode", read).await,
        json!({ "id": 1, "found": false })
    );

    // Bulk nodes and their plain siblings are told apart; counting tells the truth.
    let data = json!({ "data": [{ "sku": "b" }, { "sku": "c" }] });
    assert_eq!(
        result(&service, "ProductBulkCreateNode", data).await["inserted"],
        2
    );
    assert_eq!(
        result(&service, "ProductListNode", json!({ "count_only": true })).await,
        json!({ "count": 3 })
    );
    let page = service
        .post(
            "/data/Product/query",
            &json!({ "filter": { "sku": { "$in": ["b", "c", "x"] } }, "limit": 1 }),
        )
        .await;
    assert_eq!(
        (&page.body["count"], &page.body["records"][0]["sku"]),
        (&json!(1), &json!("c"))
    );
    let count = service
        .post(
            "/data/Product/count",
            &json!({ "filter": { "sku": { "$nin": ["b"] } } }),
        )
        .await;
    assert_eq!(count.body, json!({ "count": 2 }));
    let elsewhere = json!({ "database_url": "postgres://elsewhere/x" });
    assert_eq!(
        refusal(&node(&service, "ProductListNode", elsewhere).await),
        (422, "DF-101")
    );

    // The catalogue knows all eleven.
    let nodes = service.get("/nodes").await.body["nodes"].as_array().map(Vec::len);
    assert_eq!(nodes, Some(11));
    let list = service.get("/nodes/ProductListNode").await;
    assert_eq!(list.body["parameters"]["properties"]["limit"]["default"], 10);
    let bulk = service.get("/nodes/ProductBulkUpsertNode").await;
    assert_eq!(
        bulk.body["parameters"]["properties"]["conflict_resolution"]["default"],
        "skip"
    );
    assert_eq!(
        refusal(&service.get("/nodes/ProductNopeNode").await),
        (404, "DF-700")
    );
    let schema = service.get("/models/Product/schema").await;
    assert_eq!(schema.body["properties"]["sku"]["maxLength"], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_config_holds_for_every_node() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    let fields = json!({ "key": { "type": "str", "unique": true, "max": 9 }, "text": "str" });

    // Deleted rows stay, and are seen where they are asked for.
    model(
        &service,
        json!({ "name": "Note", "fields": fields, "config": { "soft_delete": true } }),
    )
    .await;
    assert_eq!(
        service.post("/data/Note", &json!({ "key": "a" })).await.status,
        201
    );
    assert_eq!(
        result(&service, "NoteDeleteNode", json!({ "id": 1 })).await["deleted"],
        true
    );
    assert_eq!(
        result(&service, "NoteDeleteNode", json!({ "id": 1 })).await["deleted"],
        false
    );
    let gone = service.get("/data/Note/1").await;
    assert_eq!(refusal(&gone), (404, "DF-703"));
    assert!(
        !gone.body["error"].to_string().contains('1'),
        "no value is told: {gone:?}"
    );
    assert_eq!(result(&service, "NoteCountNode", json!({})).await["count"], 0);
    assert_eq!(
        result(&service, "NoteCountNode", json!({ "include_deleted": true })).await["count"],
        1
    );
    let gone = result(
        &service,
        "NoteReadNode",
        json!({ "id": 1, "include_deleted": true }),
    )
    .await;
    assert!(gone["deleted_at"].is_string(), "{gone}");
    let back = json!({ "where": { "key": "a" }, "update": { "text": "again" } });
    assert_eq!(
        result(&service, "NoteUpsertNode", back).await["record"]["deleted_at"],
        Value::Null
    );
    assert_eq!(service.get("/data/Note/1").await.body["text"], "again");

    // What is append-only is neither changed nor deleted.
    model(
        &service,
        json!({ "name": "Entry", "fields": { "text": "str" }, "config": { "append_only": true } }),
    )
    .await;
    assert_eq!(
        service.post("/data/Entry", &json!({ "text": "a" })).await.status,
        201
    );
    for (name, parameters) in [
        ("EntryUpdateNode", json!({ "id": 1, "text": "b" })),
        ("EntryDeleteNode", json!({ "id": 1 })),
        ("EntryUpsertNode", json!({ "where": { "id": 1 }, "update": {} })),
        ("EntryBulkDeleteNode", json!({ "filter": { "id": 1 } })),
    ] {
        assert_eq!(
            refusal(&node(&service, name, parameters).await),
            (422, "DF-714"),
            "{name}"
        );
    }

    // A tenant has its own rows, and its own unique values.
    let config = json!({ "multi_tenant": true });
    model(
        &service,
        json!({ "name": "Paper", "fields": fields, "config": config }),
    )
    .await;
    assert_eq!(
        refusal(&service.get("/data/Paper").await),
        (403, "TENANT_REQUIRED")
    );
    assert_eq!(
        refusal(&node(&service, "PaperBulkDeleteNode", json!({ "filter": { "id": 1 } })).await),
        (403, "TENANT_REQUIRED")
    );
    for tenant in ["a", "b"] {
        let made = as_tenant(
            &service,
            tenant,
            "POST",
            "/data/Paper",
            json!({ "key": "x", "text": tenant }),
        )
        .await;
        assert_eq!((made.0, made.1.get("tenant_id")), (201, None));
    }
    let twice = as_tenant(&service, "a", "POST", "/data/Paper", json!({ "key": "x" })).await;
    assert_eq!((twice.0, &twice.1["field"]), (409, &json!("key")));
    let claimed = json!({ "key": "y", "tenant_id": "b" });
    assert_eq!(
        as_tenant(&service, "a", "POST", "/data/Paper", claimed).await.0,
        422
    );
    let listed = as_tenant(&service, "b", "GET", "/data/Paper", Value::Null)
        .await
        .1;
    assert_eq!(
        (&listed["count"], &listed["records"][0]["text"]),
        (&json!(1), &json!("b"))
    );
    let theirs = format!("/data/Paper/{}", listed["records"][0]["id"]);
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = as_tenant(&service, "a", method, &theirs, json!({ "text": "mine" })).await;
        assert_eq!(answer.0, 404, "{method}: {answer:?}");
    }
    let upsert = json!({ "where": { "key": "x" }, "update": { "text": "new" } });
    assert_eq!(
        as_tenant(&service, "a", "POST", "/data/Paper/upsert", upsert)
            .await
            .1["created"],
        false
    );
    assert_eq!(
        as_tenant(&service, "b", "GET", &theirs, Value::Null).await.1["text"],
        "b"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back_as_it_went_in() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    let definition = json!({ "name": "Thing", "fields": {
        "id": "uuid", "at": "datetime", "moment": "timestamp", "more": "json", "blob": "bytes", "ref": "uuid",
        "price": "decimal", "text": "str", "size": { "type": "decimal", "min": 1, "max": 5 },
        "code": { "type": "str", "pattern": "^[A-Z]{2}-[0-9]+$", "max": 8 }, "n": "float",
    } });
    let made = service.post("/models?strict=true", &definition).await;
    assert_eq!(
        (made.status, &made.body["faults"][0]["code"]),
        (422, &json!("VAL-006")),
        "{made:?}"
    );
    let made = service.post("/models", &definition).await;
    assert_eq!(
        (made.status, &made.body["warnings"][0]["field"]),
        (201, &json!("at"))
    );

    // Every plane of Unicode, and what looks like SQL or JSON.
    let text = "'; DROP TABLE things; -- \\u0000 $1 %s\u{1}\u{7f}\u{e9}e\u{301}\u{ffff}\u{10000}\u{1f528}\u{2fa1d}\u{e0001}\u{fffff}\u{10ffff}\n\t\"\\";
    let row = json!({
        "at": "2026-01-31T12:00:00+02:00", "moment": "2026-01-31T12:00:00+02:00", "more": [text, { text: null }, 1.5],
        "blob": "AAH/".repeat(40), "ref": "6F9619FF-8B86-D011-B42D-00C04FC964FF",
        "price": "12345678901234567890.1234567890", "text": text, "size": 2.5, "code": "AB-12", "n": 1e300,
    });
    let made = service.post("/data/Thing", &row).await;
    assert_eq!(made.status, 201, "{made:?}");
    let read = service
        .get(&format!("/data/Thing/{}", made.body["id"].as_str().unwrap()))
        .await
        .body;
    for same in ["more", "blob", "price", "text", "code", "n"] {
        assert_eq!(read[same], row[same], "{same}");
    }
    assert_eq!(
        (&read["at"], &read["moment"]),
        (&json!("2026-01-31T10:00:00"), &json!("2026-01-31T10:00:00+00:00"))
    );
    assert_eq!(
        (&read["ref"], &read["size"]),
        (&json!("6f9619ff-8b86-d011-b42d-00c04fc964ff"), &json!("2.5"))
    );
    let found = service
        .post(
            "/data/Thing/count",
            &json!({ "filter": { "text": text, "price": row["price"], "blob": row["blob"] } }),
        )
        .await;
    assert_eq!(found.body["count"], 1);

    // What does not fit is told by its field, and is no failure of ours.
    for (field, wrong) in [
        ("n", json!("1")),
        ("size", json!("5.01")),
        ("size", json!(0)),
        ("price", json!("NaN")),
        ("code", json!("ab-1")),
        ("code", json!("AB-123456")),
        ("blob", json!("?")),
        ("ref", json!("x")),
        ("text", json!("a\u{0}")),
        ("more", json!({ "a\u{0}": 1 })),
        ("at", json!("2026-02-30")),
        ("moment", json!("tomorrow")),
        ("id", json!("7")),
    ] {
        let refused = service.post("/data/Thing", &json!({ field: wrong })).await;
        assert_eq!(
            (refused.status, &refused.body["field"]),
            (422, &json!(field)),
            "{wrong}: {refused:?}"
        );
    }
    let long: String = (0..2000)
        .map(|n: u32| char::from_u32(0x4e00 + n * 7919 % 20_000).unwrap())
        .collect();
    let marks = json!({ "name": "Mark", "fields": { "id": "str" } });
    model(&service, marks).await;
    assert_eq!(
        refusal(&service.post("/data/Mark", &json!({ "id": long })).await),
        (422, "DF-715")
    );
    for (filter, code) in [
        (json!({ "text": { "$regex": "(" } }), 422),
        (json!({ "code": { "$in": vec!["x"; 70_000] } }), 200),
        (json!({ "text": { "$like": "a\\" } }), 422),
        (json!({ "at": { "$gt": "294277-01-01" } }), 422),
        (json!({ "price": { "$lt": "1e401" } }), 422),
    ] {
        let answer = service
            .post("/data/Thing/query", &json!({ "filter": filter }))
            .await;
        assert_eq!(answer.status, code, "{answer:?}");
    }
}
