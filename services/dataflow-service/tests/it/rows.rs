//! Rows, through nodes and over REST.

use serde_json::{Value, json};
use testkit::{Answer, Postgres, Service};

use crate::{ready, refusal};

async fn node(service: &Service, name: &str, parameters: Value) -> Answer {
    service
        .post(
            &format!("/nodes/{name}/execute"),
            &json!({ "parameters": parameters }),
        )
        .await
}

async fn products(postgres: &Postgres) -> Service {
    let service = ready(postgres).await;
    let fields = json!({
        "title": { "type": "str", "required": true },
        "sku": { "type": "str", "unique": true },
        "stock": { "type": "int", "default": 0, "min": 0 },
        "price": "float", "sold": "bool", "since": "datetime", "tags": "dict", "sizes": "list",
    });
    let made = service
        .post("/models", &json!({ "name": "Product", "fields": fields }))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_goes_in_and_comes_back_unchanged() {
    let postgres = Postgres::start().await;
    let service = products(&postgres).await;
    // What upstream's sanitiser rewrites must be stored as it is.
    let title = "please select from the menu'; drop table legs /* note */ \u{1F528}";
    let row = json!({
        "title": title, "sku": "A-1", "price": 19.99, "sold": true, "since": "2026-01-31T12:00:00+02:00",
        "tags": { "a": [1, null] }, "sizes": [1, "two"],
    });
    let made = node(&service, "ProductCreateNode", row).await;
    assert_eq!(made.status, 200, "{made:?}");
    let id = made.body["result"]["id"].as_i64().unwrap();

    let read = node(&service, "ProductReadNode", json!({ "id": id })).await.body["result"].clone();
    assert_eq!(read["found"], true);
    assert_eq!(read["title"], title);
    assert_eq!(
        (&read["price"], &read["stock"], &read["sold"]),
        (&json!(19.99), &json!(0), &json!(true))
    );
    assert_eq!(read["since"], "2026-01-31T10:00:00", "converted to UTC");
    assert_eq!(
        (&read["tags"], &read["sizes"]),
        (&json!({ "a": [1, null] }), &json!([1, "two"]))
    );
    assert_eq!(
        service.get(&format!("/data/Product/{id}")).await.body["title"],
        title
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_changed_counted_and_deleted() {
    let postgres = Postgres::start().await;
    let service = products(&postgres).await;
    for (title, stock) in [("saw", 1), ("drill", 5), ("nail", 9)] {
        let made = service
            .post("/data/Product", &json!({ "title": title, "stock": stock }))
            .await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let changed =
        json!({ "filter": { "id": 1 }, "fields": { "stock": 2, "updated_at": "2026-01-01T00:00:00" } });
    let changed = node(&service, "ProductUpdateNode", changed).await.body["result"].clone();
    assert_eq!(
        (&changed["updated"], &changed["stock"]),
        (&json!(true), &json!(2))
    );
    let nobody = json!({ "filter": { "id": 99 }, "fields": { "stock": 2 } });
    let nobody = node(&service, "ProductUpdateNode", nobody).await.body["result"].clone();
    assert_eq!(nobody, json!({ "id": 99, "updated": false }));

    let filter =
        json!({ "filter": { "stock": { "$gte": 5 }, "title": { "$like": "%l%" } }, "order_by": ["-stock"] });
    let listed = node(&service, "ProductListNode", filter).await.body["result"].clone();
    assert_eq!(
        (&listed["count"], &listed["records"][0]["title"]),
        (&json!(2), &json!("nail"))
    );
    let count = node(&service, "ProductListNode", json!({ "count_only": true })).await;
    assert_eq!(count.body["result"], json!({ "count": 3 }));
    let page = service.get("/data/Product?limit=1&offset=1").await;
    assert_eq!(page.body["records"][0]["title"], "drill", "newest first");

    let deleted = node(&service, "ProductDeleteNode", json!({ "id": 1 })).await.body["result"].clone();
    assert_eq!(deleted, json!({ "id": 1, "deleted": true }));
    let gone = node(
        &service,
        "ProductReadNode",
        json!({ "id": 1, "raise_on_not_found": false }),
    )
    .await;
    assert_eq!(gone.body["result"], json!({ "id": 1, "found": false }));
    assert_eq!(refusal(&service.get("/data/Product/1").await), (404, "DF-703"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why_and_tells_no_values() {
    let postgres = Postgres::start().await;
    let service = products(&postgres).await;
    let row = json!({ "title": "a", "sku": "secret-sku" });
    assert_eq!(service.post("/data/Product", &row).await.status, 201);
    let twice = service.post("/data/Product", &row).await;
    assert_eq!(refusal(&twice), (409, "DF-711"));
    assert_eq!(twice.body["field"], "sku");
    assert!(!twice.body.to_string().contains("secret-sku"));

    let cases = [
        ("ProductCreateNode", json!({}), (422, "DF-101")),
        (
            "ProductCreateNode",
            json!({ "title": "b", "stock": 3_000_000_000_i64 }),
            (422, "DF-101"),
        ),
        (
            "ProductCreateNode",
            json!({ "title": "b", "since": "2026-99-99" }),
            (422, "DF-101"),
        ),
        (
            "ProductCreateNode",
            json!({ "data": { "title": "b" } }),
            (422, "DF-101"),
        ),
        ("ProductReadNode", json!({}), (422, "DF-702")),
        ("ProductReadNode", json!({ "id": 77 }), (404, "DF-703")),
        (
            "ProductListNode",
            json!({ "filter": { "title": { "$regex": "(" } } }),
            (422, "DF-701"),
        ),
        (
            "ProductListNode",
            json!({ "filter": { "title": { "$where": "1" } } }),
            (422, "DF-701"),
        ),
        ("NopeReadNode", json!({}), (404, "DF-700")),
    ];
    for (name, parameters, wanted) in cases {
        let answer = node(&service, name, parameters.clone()).await;
        assert_eq!(refusal(&answer), wanted, "{name} {parameters}: {answer:?}");
        assert!(answer.body["correlation_id"].is_string());
    }
    assert_eq!(refusal(&service.get("/data/Nope/1").await), (404, "DF-603"));
}
