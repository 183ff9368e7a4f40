//! The tools, through the protocol, to a classifier that answers and to none.

use serde_json::json;

use super::{classifier, client::Client, mcp_server};

#[tokio::test]
async fn classify_product_reaches_the_classifier() {
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .start()
        .await;
    let (client, _) = Client::initialised(&service).await;
    let answer = client
        .call("classify_product", json!({ "name": "claw hammer", "top_k": 2 }))
        .await;
    let result = &answer["result"];
    assert_eq!(result["isError"], json!(false), "{answer}");
    assert_eq!(
        result["structuredContent"]["sent"],
        json!({ "name": "claw hammer", "top_k": 2 })
    );
    assert!(
        result["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("10101001")
    );
}

#[tokio::test]
async fn wrong_arguments_are_a_result_and_an_unknown_tool_is_an_error() {
    let service = mcp_server()
        .set("CLASSIFICATION_URL", classifier().await)
        .start()
        .await;
    let (client, _) = Client::initialised(&service).await;
    let answer = client.call("classify_product", json!({ "colour": "red" })).await;
    assert_eq!(answer["result"]["isError"], json!(true), "{answer}");
    assert_eq!(answer["result"]["structuredContent"]["code"], "INVALID_ARGUMENTS");
    let answer = client.call("classify", json!({})).await;
    assert_eq!(answer["error"]["code"], json!(-32602), "{answer}");
}

#[tokio::test]
async fn an_absent_classifier_is_a_result_that_says_so() {
    let service = mcp_server()
        .set("CLASSIFICATION_URL", "http://127.0.0.1:9")
        .start()
        .await;
    let (client, _) = Client::initialised(&service).await;
    let answer = client
        .call("classify_product", json!({ "text": "claw hammer" }))
        .await;
    assert_eq!(answer["result"]["isError"], json!(true), "{answer}");
    assert_eq!(
        answer["result"]["structuredContent"]["code"],
        "UPSTREAM_UNAVAILABLE"
    );
    let status = client.call("channel_status", json!({})).await;
    let services = &status["result"]["structuredContent"]["services"];
    assert_eq!(services["classification-service"], "unreachable", "{status}");
}
