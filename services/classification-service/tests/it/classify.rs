//! Questions and answers over HTTP.

use serde_json::json;

use super::alone;

#[tokio::test]
async fn a_product_gets_its_code_with_the_hierarchy() {
    let service = alone().await;
    for path in ["/classify", "/api/classify/product"] {
        let question = json!({ "id": "p-1", "name": "Cordless drill", "description": "18v lithium battery" });
        let answer = service.post(path, &question).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let found = &answer.body["unspsc"];
        assert_eq!(
            (&found["code"], &found["level"]),
            (&json!("20101001"), &json!("commodity"))
        );
        let hierarchy: Vec<&str> = found["hierarchy"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["code"].as_str().unwrap())
            .collect();
        assert_eq!(hierarchy, ["20000000", "20100000", "20101000", "20101001"]);
        assert!(found["confidence"].as_f64().unwrap() > 0.3);
        assert_eq!(
            (&answer.body["id"], &answer.body["abstained"]),
            (&json!("p-1"), &json!(false))
        );
    }
}

#[tokio::test]
async fn an_unknown_thing_gets_no_code() {
    let answer = alone()
        .await
        .post("/classify", &json!({ "text": "fresh bananas" }))
        .await;
    assert_eq!((answer.status, &answer.body["abstained"]), (200, &json!(true)));
    assert!(answer.body["unspsc"]["code"].is_null());
    assert!(answer.body["reason"].is_string());
}

#[tokio::test]
async fn questions_that_cannot_be_answered_are_refused_with_a_code() {
    let service = alone().await;
    let cases = [
        (json!({}), 422, "INVALID_QUESTION"),
        (
            json!({ "text": "x", "systems": ["etim"] }),
            422,
            "INVALID_QUESTION",
        ),
        (json!({ "text": "x".repeat(9000) }), 422, "INVALID_QUESTION"),
        (json!({ "text": "x", "colour": 1 }), 422, "INVALID_BODY"),
        (json!([]), 422, "INVALID_BODY"),
    ];
    for (question, status, code) in cases {
        let answer = service.post("/classify", &question).await;
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (status, Some(code)),
            "{question}"
        );
    }
    assert_eq!(service.get("/classify").await.status, 405);
}

#[tokio::test]
async fn codes_can_be_looked_up() {
    let service = alone().await;
    let answer = service.get("/codes/unspsc/10101000").await;
    assert_eq!((answer.status, &answer.body["title"]), (200, &json!("Hammers")));
    assert_eq!(answer.body["children"].as_array().map(Vec::len), Some(3));
    assert_eq!(answer.body["parents"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        service.get("/codes/unspsc/99999999").await.body["code"],
        "UNKNOWN_CODE"
    );
    assert_eq!(service.get("/codes/unspsc/x").await.body["code"], "INVALID_CODE");
}
