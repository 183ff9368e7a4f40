//! Registering models.

use serde_json::json;
use testkit::Postgres;

use crate::{ready, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_registered_once_and_outlives_the_process() {
    let postgres = Postgres::start().await;
    let service = ready(&postgres).await;
    let model = json!({ "name": "Product", "fields": { "sku": { "type": "str", "unique": true }, "price": "float" } });

    let first = service.post("/models", &model).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(first.body["table"], "products");
    assert_eq!(first.body["nodes"][0], "ProductCreateNode");
    assert_eq!(service.post("/models", &model).await.status, 200);
    let other = json!({ "name": "Product", "fields": { "sku": "int" } });
    assert_eq!(refusal(&service.post("/models", &other).await), (409, "DF-302"));
    let same_table = json!({ "name": "product", "fields": { "sku": "int" } });
    assert_eq!(
        refusal(&service.post("/models", &same_table).await),
        (409, "DF-602")
    );

    assert_eq!(service.end().await, Some(0));
    let again = ready(&postgres).await;
    assert_eq!(
        again.get("/models/Product").await.body["fields"]["price"]["type"],
        "float"
    );
    assert_eq!(again.get("/models").await.body["models"][0]["model"], "Product");
    let row = again.post("/data/Product", &json!({ "sku": "a" })).await;
    assert_eq!(row.status, 201, "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_register_together_and_malformed_definitions_are_refused() {
    let postgres = Postgres::start().await;
    let (one, two) = tokio::join!(ready(&postgres), ready(&postgres));
    let model = json!({ "name": "Order", "fields": { "total": "float" } });
    let (first, second) = tokio::join!(one.post("/models", &model), two.post("/models", &model));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201]);
    assert_eq!(one.post("/data/Order", &json!({ "total": 1 })).await.status, 201);
    assert_eq!(two.get("/data/Order/1").await.body["total"], 1.0);

    // What is not known is refused, and not passed over.
    for path in [
        "/data/Order?total=5",
        "/data/Order?limit=secret",
        "/jobs?state=dead",
        "/migrations?modle=Order",
        "/models/Order?confirmed=true",
    ] {
        let method = if path.starts_with("/models") {
            "DELETE"
        } else {
            "GET"
        };
        let refused = one.request(method, path).send().await.expect("an answer");
        assert_eq!(refused.status().as_u16(), 422, "{path}");
        let body: serde_json::Value = refused.json().await.expect("a problem");
        assert_eq!(body["code"], "DF-101", "{path}");
        assert!(!body.to_string().contains("secret"), "{body}");
    }
    let nowhere = one.post("/migrations/rollback/latest", &json!({})).await;
    assert_eq!(refusal(&nowhere), (400, "INVALID_PATH"));

    let wrong = json!({ "name": "x; drop", "fields": { "A": "str", "b": "text" } });
    let refused = one.post("/models", &wrong).await;
    assert_eq!(refusal(&refused), (422, "DF-601"));
    assert_eq!(
        refused.body["faults"].as_array().map(Vec::len),
        Some(3),
        "{refused:?}"
    );
    assert_eq!(
        refusal(&one.post("/models", &json!({ "nome": "X" })).await),
        (422, "INVALID_BODY")
    );
}
